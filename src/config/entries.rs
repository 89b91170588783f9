//! The tables with names: credentials, routes and gateway keys, and what they call one another.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Wrong;
use super::nearest;
use super::place::{Place, looks_secret};
use super::raw::{Node, Raw, Table};
use super::walk::{Section, Split, Walk};
use super::{
    Credential, CredentialKind, Endpoint, Former, Key, KeySecret, Route, Token, TokenRole, kinds, limit, oauth, secret,
};
use crate::id::{CredentialName, KeyName, NameFault, RouteName, TokenName};
use crate::origin::{Origin, Reach};
use crate::path::Prefix;
use crate::rule::Rules;

/// The routes that say `danger_cleartext_upstream = true` themselves.
pub(super) type Cleartext = BTreeSet<RouteName>;

/// The names that tables may call one another by, those of faulty tables among them.
pub(super) struct Names {
    pub(super) credentials: BTreeSet<String>,
    pub(super) routes: BTreeSet<String>,
    pub(super) keys: BTreeSet<String>,
    /// Credentials without a route that names them.
    unrouted: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(tree: &Table) -> Self {
        let credentials: BTreeSet<String> = keys_of(tree, "credentials").map(|(name, _)| name.clone()).collect();
        let routes: BTreeSet<String> = keys_of(tree, "routes").map(|(name, _)| name.clone()).collect();
        let keys = keys_of(tree, "keys").map(|(name, _)| name.clone()).collect();
        // What is managed has the routes that were added for it, and takes no default route from what is not.
        let declared = |(_, node): &(&String, &Node)| node.place != Place::Managed;
        let routed = keys_of(tree, "routes").filter(declared).map(|(name, route)| credential_of(name, route));
        let routed: BTreeSet<&str> = routed.collect();
        let unrouted = keys_of(tree, "credentials").filter(declared).map(|(name, _)| name);
        let unrouted: BTreeSet<String> = unrouted.filter(|name| !routed.contains(name.as_str())).cloned().collect();
        let routes = routes.union(&unrouted).cloned().collect();
        Self { credentials, routes, keys, unrouted }
    }
}

/// The credentials; people come back to `redirect` from an OAuth flow that does not say where.
pub(super) fn credentials(
    root: &mut Section<'_>,
    walk: &mut Walk,
    redirect: &Endpoint,
    reach: Reach,
) -> BTreeMap<CredentialName, Credential> {
    let mut credentials = BTreeMap::new();
    for (name, mut at) in root.named(walk, "credentials") {
        let name = named(walk, &at, CredentialName::parse(name));
        let description = at.optional(walk, "description", kinds::text);
        let organization = at.optional(walk, "organization", organization);
        let kind = credential_kind(walk, &mut at, redirect, reach);
        at.close(walk);
        if let (Some(name), Some(kind)) = (name, kind) {
            credentials.insert(name, Credential { description, organization, kind });
        }
    }
    credentials
}

pub(super) fn routes(
    root: &mut Section<'_>,
    walk: &mut Walk,
    names: &Names,
    upstream: &Origin,
) -> (BTreeMap<RouteName, Route>, Cleartext) {
    let mut routes = BTreeMap::new();
    let mut cleartext = Cleartext::new();
    for (name, mut at) in root.named(walk, "routes") {
        let id = named(walk, &at, RouteName::parse(name));
        let danger = at.or(walk, "danger_cleartext_upstream", false, kinds::flag);
        let reach = at.or(walk, "danger_private_upstream", upstream.reach(), kinds::reach);
        let route = route(walk, &mut at, name, names, upstream).map(|route| route.reaching(reach));
        at.close(walk);
        if let (Some(id), Some(route)) = (id, route) {
            if danger {
                cleartext.insert(id.clone());
            }
            routes.insert(id, route);
        }
    }
    for name in &names.unrouted {
        add_default_route(walk, &mut routes, name, upstream);
    }
    (routes, cleartext)
}

pub(super) fn keys(root: &mut Section<'_>, walk: &mut Walk, names: &Names) -> BTreeMap<KeyName, Key> {
    let mut keys = BTreeMap::new();
    for (name, mut at) in root.named(walk, "keys") {
        let name = named(walk, &at, KeyName::parse(name));
        let description = at.optional(walk, "description", kinds::text);
        let peer = at.node(walk, "peer").and_then(|node| peer(walk, at.key("peer"), node));
        let secret = key_secret(walk, &mut at, peer);
        let former = at.managed(walk, "former").and_then(|node| former(walk, at.key("former"), node));
        let created = at.managed_value(walk, "created", kinds::moment);
        let routes = key_routes(walk, &mut at, names);
        let scopes = limit::scopes(walk, &mut at);
        let rules = rules(walk, &mut at);
        let mode = limit::mode(walk, &mut at);
        let limits = limit::limits(walk, &mut at);
        let expires = at.optional(walk, "expires", kinds::moment);
        at.close(walk);
        if let (Some(name), Some(secret)) = (name, secret) {
            let key = Key { description, secret, former, peer, routes, scopes, rules, mode, limits, created, expires };
            keys.insert(name, key);
        }
    }
    keys
}

/// `[admin.tokens.NAME]`.
pub(super) fn tokens(admin: &mut Section<'_>, walk: &mut Walk) -> BTreeMap<TokenName, Token> {
    let mut tokens = BTreeMap::new();
    for (name, mut at) in admin.named(walk, "tokens") {
        let name = named(walk, &at, TokenName::parse(name));
        let secret = secret::required(walk, &mut at, "secret");
        let role = at.optional(walk, "role", kinds::choice(ROLES));
        if at.is_table() && at.count(&["role"]) == 0 {
            let hint = "`role = \"admin\"`, or `\"viewer\"` for one that changes nothing";
            walk.fault(at.key("role"), at.place().clone(), Wrong::new("missing", hint));
        }
        at.close(walk);
        if let (Some(name), Some(secret), Some(role)) = (name, secret, role) {
            tokens.insert(name, Token { secret, role });
        }
    }
    tokens
}

fn credential_kind(walk: &mut Walk, at: &mut Section<'_>, redirect: &Endpoint, reach: Reach) -> Option<CredentialKind> {
    let api_key = at.node(walk, "api_key");
    let basic = at.node(walk, "basic");
    let bearer = at.node(walk, "bearer");
    let oauth2 = at.node(walk, "oauth2");
    let given = at.count(&["api_key", "basic", "bearer", "oauth2"]);
    if given != 1 && at.is_table() {
        let what = if given == 0 { "nothing to inject" } else { "more than one kind of credential" };
        let hint =
            "exactly one of `api_key`, `oauth2`, `bearer`, `basic`, such as `api_key = { env = \"CLOSE_API_KEY\" }`";
        walk.fault(at.path(), at.place().clone(), Wrong::new(what, hint));
    }
    // All are read, so that each says its own faults.
    let api_key = api_key.and_then(|node| self::api_key(walk, at.key("api_key"), node));
    let basic = basic.and_then(|node| self::basic(walk, at.key("basic"), node));
    let bearer = bearer.and_then(|node| secret::reference(walk, at.key("bearer"), node)).map(CredentialKind::Bearer);
    let oauth2 = oauth2.and_then(|node| oauth::read(walk, at.key("oauth2"), node, redirect, reach));
    api_key.or(basic).or(bearer).or(oauth2).filter(|_| given == 1)
}

/// One reference, or `{ current = …, next = … }`.
fn api_key(walk: &mut Walk, path: String, node: &Node) -> Option<CredentialKind> {
    let two = |entries: &Table| entries.contains_key("current") || entries.contains_key("next");
    if !matches!(&node.raw, Raw::Table(entries) if two(entries)) {
        return Some(CredentialKind::ApiKey { current: secret::reference(walk, path, node)?, next: None });
    }
    let mut at = Section::of(walk, path, node);
    let current = secret::required(walk, &mut at, "current");
    let next = at.node(walk, "next").and_then(|node| secret::reference(walk, at.key("next"), node));
    at.close(walk);
    Some(CredentialKind::ApiKey { current: current?, next })
}

fn basic(walk: &mut Walk, path: String, node: &Node) -> Option<CredentialKind> {
    let mut at = Section::of(walk, path, node);
    if !at.is_table() {
        return None;
    }
    let username = at.optional(walk, "username", user_name);
    if at.count(&["username"]) == 0 {
        let hint = "`basic = { username = \"NAME\", password = { env = \"VARIABLE\" } }`";
        walk.fault(at.key("username"), at.place().clone(), Wrong::new("missing", hint));
    }
    let password = secret::required(walk, &mut at, "password");
    at.close(walk);
    Some(CredentialKind::Basic { username: username?, password: password? })
}

/// Any name that people give it; the same one makes credentials share limits.
fn organization(node: &Node) -> Result<String, Wrong> {
    let name = kinds::text(node)?;
    if name.trim().is_empty() || name.chars().any(char::is_control) || super::place::looks_like_key(&name) {
        return Err(Wrong::new(
            "expected a name",
            "the same one on each credential of that organisation, such as `\"acme\"`",
        ));
    }
    Ok(name)
}

/// RFC 7617 2: a user name holds no colon and no control character.
fn user_name(node: &Node) -> Result<String, Wrong> {
    let name = kinds::text(node)?;
    if name.is_empty() || name.contains(|c: char| c == ':' || c.is_control()) || super::place::looks_like_key(&name) {
        return Err(Wrong::new("expected a user name", "a text without `:`; a secret belongs into `password`"));
    }
    Ok(name)
}

fn route(walk: &mut Walk, at: &mut Section<'_>, name: &str, names: &Names, upstream: &Origin) -> Option<Route> {
    let prefix = at.optional(walk, "prefix", kinds::prefix);
    let given = at.count(&["prefix"]) == 1;
    let prefix = prefix.or_else(|| Prefix::parse(&format!("/{name}")).ok().filter(|_| !given));
    let credential = route_credential(walk, at, name, names);
    // All of it is read before any of it is missed: every fault is named at once.
    let upstream = at.or(walk, "upstream", upstream.clone(), kinds::origin);
    let rules = rules(walk, at);
    let anonymous = at.or(walk, "anonymous", false, kinds::flag);
    let danger_anonymous = at.or(walk, "danger_anonymous", false, kinds::flag);
    Some(Route { prefix: prefix?, credential: credential?, upstream, rules, anonymous, danger_anonymous })
}

impl Route {
    fn reaching(self, reach: Reach) -> Self {
        Self { upstream: self.upstream.reaching(reach), ..self }
    }
}

fn route_credential(walk: &mut Walk, at: &mut Section<'_>, name: &str, names: &Names) -> Option<CredentialName> {
    let node = at.node(walk, "credential");
    let place = node.map_or(at.place(), |node| &node.place).clone();
    let called = match node.map(kinds::text) {
        Some(Err(wrong)) => {
            walk.fault(at.key("credential"), place, wrong);
            return None;
        }
        Some(Ok(called)) => called,
        None => name.to_owned(),
    };
    if !names.credentials.contains(&called) {
        let what =
            if node.is_some() { "no such credential" } else { "missing, and no credential has the route's name" };
        let wrong = Wrong::new(what, known(&called, &names.credentials, "credential"));
        walk.fault(at.key("credential"), place, wrong);
    }
    CredentialName::parse(&called).ok()
}

/// The route of a credential that no route names: prefix `/NAME`.
fn add_default_route(walk: &mut Walk, routes: &mut BTreeMap<RouteName, Route>, name: &str, upstream: &Origin) {
    // A faulty name was reported where it stands.
    let (Ok(credential), Ok(prefix)) = (CredentialName::parse(name), Prefix::parse(&format!("/{name}"))) else {
        return;
    };
    let id = credential.default_route();
    if routes.contains_key(&id) {
        let path = format!("routes.{id}");
        let wrong = Wrong::new(
            format!("takes the name of the default route of credential `{credential}`, which no route names"),
            format!("rename this route, or add one with `credential = \"{credential}\"`"),
        );
        return walk.fault(&path, walk.place(&path), wrong);
    }
    walk.note(format!("routes.{id}"), walk.place(&format!("credentials.{name}")));
    let rules = Rules::default();
    let upstream = upstream.clone();
    routes.insert(id, Route { prefix, credential, upstream, rules, anonymous: false, danger_anonymous: false });
}

fn key_secret(walk: &mut Walk, at: &mut Section<'_>, peer: Option<u32>) -> Option<KeySecret> {
    let hash = at.optional(walk, "hash", kinds::digest).map(KeySecret::Digest);
    let secret = at.node(walk, "secret").and_then(|node| secret::reference(walk, at.key("secret"), node));
    let given = at.count(&["hash", "secret"]);
    if given == 0 && at.count(&["peer"]) == 1 {
        return peer.map(|_| KeySecret::Peer);
    }
    if given != 1 && at.is_table() {
        let what = if given == 0 { "nothing to recognise the key by" } else { "both `hash` and `secret`" };
        let hint = "exactly one of `hash = \"sha256:…\"` and `secret = { file = \"PATH\" }`";
        walk.fault(at.path(), at.place().clone(), Wrong::new(what, hint));
    }
    hash.or(secret.map(KeySecret::Reference)).filter(|_| given == 1)
}

/// `{ hash = …, until = … }`, of keys that were rotated at run time.
fn former(walk: &mut Walk, path: String, node: &Node) -> Option<Former> {
    let mut at = Section::of(walk, path, node);
    let digest = at.optional(walk, "hash", kinds::digest);
    let until = at.optional(walk, "until", kinds::moment);
    at.close(walk);
    Some(Former { digest: digest?, until: until? })
}

/// `{ uid = … }`.
fn peer(walk: &mut Walk, path: String, node: &Node) -> Option<u32> {
    let mut at = Section::of(walk, path, node);
    if at.is_table() && at.count(&["uid"]) == 0 {
        let wrong = Wrong::new("missing", "`peer = { uid = 1000 }`; `id -u NAME` prints the number");
        walk.fault(at.key("uid"), at.place().clone(), wrong);
    }
    let uid = at.optional(walk, "uid", user);
    at.close(walk);
    uid.and_then(|uid| u32::try_from(uid).ok())
}

/// The number of a user that stands for that user alone.
fn user(node: &Node) -> Result<usize, Wrong> {
    match kinds::count(0..=MAX_UID)(node)? {
        OVERFLOW_UID => Err(Wrong::new(
            format!("`{OVERFLOW_UID}` stands for every user whom the system cannot name"),
            "give the client a user of its own; those of another user namespace (containers) all look like this one",
        )),
        uid => Ok(uid),
    }
}

fn key_routes(walk: &mut Walk, at: &mut Section<'_>, names: &Names) -> Vec<RouteName> {
    let known_route = |node: &Node| {
        let called = kinds::text(node)?;
        let wrong = || Wrong::new("no such route", known(&called, &names.routes, "route"));
        names.routes.contains(&called).then_some(()).ok_or_else(wrong)?;
        // A faulty name was reported where it stands.
        Ok(RouteName::parse(&called).ok())
    };
    let given = at.list(walk, "routes", Split::Commas, known_route);
    if at.is_table() && at.is_empty("routes") {
        let place = walk.place(&at.key("routes"));
        let shown = names.routes.iter().find(|name| RouteName::parse(name).is_ok() && !looks_secret(name));
        let hint = shown.map_or_else(
            || "declare a credential or a route first, and name it in `routes`".to_owned(),
            |route| format!("name those that it may use, such as `routes = [\"{route}\"]`"),
        );
        walk.fault(at.key("routes"), place, Wrong::new("a key without a route opens nothing", hint));
    }
    given.into_iter().flatten().flatten().collect()
}

fn rules(walk: &mut Walk, at: &mut Section<'_>) -> Rules {
    let allow = at.list(walk, "allow", Split::Never, kinds::rule).unwrap_or_default();
    let deny = at.list(walk, "deny", Split::Never, kinds::rule).unwrap_or_default();
    Rules { allow, deny }
}

fn named<N>(walk: &mut Walk, at: &Section<'_>, name: Result<N, NameFault>) -> Option<N> {
    let hint = "such as `sales` or `nightly-sync`";
    name.map_err(|fault| walk.fault(at.path(), at.place().clone(), Wrong::new(fault.to_string(), hint))).ok()
}

fn known(called: &str, names: &BTreeSet<String>, what: &str) -> String {
    let shown = names.iter().map(String::as_str).filter(|name| RouteName::parse(name).is_ok() && !looks_secret(name));
    nearest::suggest(called, shown).unwrap_or_else(|| format!("no {what} is declared"))
}

fn keys_of<'t>(tree: &'t Table, table: &str) -> impl Iterator<Item = (&'t String, &'t Node)> {
    let entries = tree.get(table).and_then(|node| match &node.raw {
        Raw::Table(entries) => Some(entries),
        _ => None,
    });
    entries.into_iter().flatten()
}

/// The credential a route names: what it says, else its own name.
fn credential_of<'t>(name: &'t str, route: &'t Node) -> &'t str {
    match &route.raw {
        Raw::Table(entries) => match entries.get("credential").map(|node| &node.raw) {
            Some(Raw::Text(called)) => called,
            _ => name,
        },
        _ => name,
    }
}

/// The greatest number of a user; the one after it means none.
const MAX_UID: usize = u32::MAX as usize - 1;
/// What the system says of a user that has no number here (`/proc/sys/kernel/overflowuid`, user_namespaces(7)).
const OVERFLOW_UID: usize = 65_534;

const ROLES: &[(&str, TokenRole)] = &[("admin", TokenRole::Admin), ("viewer", TokenRole::Viewer)];
