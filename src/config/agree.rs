//! What single values cannot tell: whether routes, keys, listeners and upstreams agree with one another.

use std::collections::{BTreeMap, BTreeSet};

use super::entries::Cleartext;
use super::finding::Wrong;
use super::place::Place;
use super::walk::Walk;
use super::{Address, Config, CredentialKind, Key, Mode, NamedListener, Redact, Route, Upstream};
use crate::id::RouteName;
use crate::origin::{Origin, Scheme};
use crate::scope::Scopes;

/// Reports what disagrees, and warns of what may be meant otherwise.
pub(super) fn check(config: &Config, cleartext: &Cleartext, walk: &mut Walk) {
    prefixes(config, walk);
    upstreams(config, cleartext, walk);
    apps(config, walk);
    open_routes(config, walk);
    addresses(config, walk);
    listeners(config, walk);
    limits(config, walk);
    observers(config, walk);
    peers(config, walk);
}

/// Two keys with one user: nobody could say which of them a process is.
fn peers(config: &Config, walk: &mut Walk) {
    let mut taken = BTreeMap::new();
    for (name, key) in &config.keys {
        let Some(uid) = key.peer else { continue };
        if let Some(other) = taken.insert(uid, name) {
            let path = format!("keys.{name}.peer");
            let wrong = Wrong::new(format!("the same user as `keys.{other}`"), "give each user one key");
            walk.fault(&path, walk.place(&path), wrong);
        }
    }
    let unix = |address: &Address| !matches!(address, Address::Tcp(_));
    if config.all_listeners().any(|named| unix(&named.listener.address)) {
        return;
    }
    for (name, _) in config.keys.iter().filter(|(_, key)| key.peer.is_some()) {
        let path = format!("keys.{name}.peer");
        let doubt = Wrong::new(
            "nobody is told by this: no listener is a Unix socket",
            "add `[listeners.NAME] address = \"unix:PATH\"`",
        );
        walk.warn(&path, walk.place(&path), doubt);
    }
}

/// Two routes with one prefix: a request could go as either credential.
fn prefixes(config: &Config, walk: &mut Walk) {
    let mut taken: BTreeMap<&str, &RouteName> = BTreeMap::new();
    // What was added at run time stands back.
    let mut routes: Vec<_> = config.routes.iter().collect();
    routes.sort_by_key(|(name, _)| walk.place(&format!("routes.{name}")) == Place::Managed);
    for (name, route) in routes {
        let prefix = route.prefix.as_str().trim_end_matches('/');
        if let Some(other) = taken.insert(prefix, name) {
            let what = format!("the same prefix as {}", called(config, other, walk));
            let hint = "give one of them another `prefix`";
            let key = format!("routes.{name}.prefix");
            walk.fault(&key, walk.place(&key), Wrong::new(what, hint));
        }
    }
}

fn called(config: &Config, name: &RouteName, walk: &Walk) -> String {
    let place = walk.place(&format!("routes.{name}.prefix"));
    match config.routes.get(name) {
        Some(route) if !walk.knows(&format!("routes.{name}.prefix")) => {
            format!("`routes.{name}`, the default route of credential `{}` ({place})", route.credential)
        }
        _ => format!("`routes.{name}` ({place})"),
    }
}

/// security.md 40: a secret goes in clear text to loopback only, and only where that is said.
fn upstreams(config: &Config, cleartext: &Cleartext, walk: &mut Walk) {
    let mut default_is_refused = false;
    for (name, route) in &config.routes {
        let managed = walk.place(&format!("routes.{name}")) == Place::Managed;
        let own = managed || walk.has(&format!("routes.{name}.upstream"));
        let permitted = config.upstream.danger_cleartext_upstream || cleartext.contains(name);
        let address = config.upstream.address.as_deref().filter(|_| route.upstream.has_url_of(&config.upstream.url));
        let proxy = config.upstream.proxy.as_ref();
        let Some(wrong) = clear(&route.upstream, address, proxy, permitted) else { continue };
        if own {
            let key = format!("routes.{name}.upstream");
            walk.fault(&key, walk.place(&key), wrong);
        } else if !default_is_refused {
            default_is_refused = true;
            walk.fault("upstream.url", walk.place("upstream.url"), wrong);
        }
    }
}

/// The same of the places that secrets of an OAuth app go to, or come back to.
fn apps(config: &Config, walk: &mut Walk) {
    let Upstream { url, address, proxy, danger_cleartext_upstream: permitted, .. } = &config.upstream;
    for (name, credential) in &config.credentials {
        let CredentialKind::OAuth2(app) = &credential.kind else { continue };
        for (setting, place) in app.places() {
            let address = address.as_deref().filter(|_| place.origin().has_url_of(url));
            if let Some(wrong) = clear(place.origin(), address, proxy.as_ref(), *permitted) {
                let key = format!("credentials.{name}.oauth2.{setting}");
                walk.fault(&key, walk.place(&key), wrong);
            }
        }
    }
}

fn clear(origin: &Origin, address: Option<&str>, proxy: Option<&Origin>, permitted: bool) -> Option<Wrong> {
    let reached = address.and_then(|address| Origin::parse(&format!("http://{address}")).ok());
    let loopback = [Some(origin), reached.as_ref(), proxy].into_iter().flatten().all(Origin::is_loopback);
    match origin.scheme() {
        Scheme::Https => None,
        Scheme::Http if !loopback => {
            Some(Wrong::new("would send a secret in clear text beyond loopback", "write `https://`"))
        }
        Scheme::Http if permitted => None,
        Scheme::Http => Some(Wrong::new(
            "would send a secret in clear text",
            "write `https://`, or, for a simulator on loopback, `danger_cleartext_upstream = true`",
        )),
    }
}

/// An open route beyond loopback takes a word of its own (contract.md 3, "Who may call"): without it callers need a key at the
/// listeners that go there, and at the others they need none.
fn open_routes(config: &Config, walk: &mut Walk) {
    let wide: Vec<_> = config.all_listeners().filter(|named| named.listener.address.is_wide()).collect();
    let Some(first) = wide.first() else { return };
    let what = format!("does not open the route at `{}`, which goes beyond loopback: a key is needed there", first.key);
    for (name, _) in config.routes.iter().filter(|(_, route)| route.anonymous && !route.danger_anonymous) {
        let key = format!("routes.{name}.anonymous");
        let hint = "nothing, if that is meant; `danger_anonymous = true` as well opens it there too";
        walk.warn(&key, walk.place(&key), Wrong::new(what.clone(), hint));
    }
}

/// Two listeners on one address; port 0 is a port of its own each time.
fn addresses(config: &Config, walk: &mut Walk) {
    let of_proxy =
        config.all_listeners().map(|named| (format!("{}.address", named.key), named.listener.address.clone()));
    let admin = ("admin.address".to_owned(), Address::Tcp(config.admin.address));
    let metrics = config.metrics.address.map(|address| ("metrics.address".to_owned(), Address::Tcp(address)));
    let mut taken: Vec<(String, Address)> = Vec::new();
    for (key, address) in of_proxy.chain([admin]).chain(metrics) {
        if let Some((other, _)) = taken.iter().find(|(_, known)| collide(known, &address)) {
            let what = format!("the same address as `{other}` ({})", walk.place(other));
            walk.fault(&key, walk.place(&key), Wrong::new(what, "give one of them another address"));
        }
        taken.push((key, address));
    }
}

fn collide(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) => one == other && one.port() != 0,
        (Address::Unix(one), Address::Unix(other)) => one.path == other.path,
        // systemd's sockets are told apart by their names.
        _ => false,
    }
}

fn is_wide(config: &Config) -> bool {
    config.all_listeners().any(|named| named.listener.address.is_wide())
}

fn listeners(config: &Config, walk: &mut Walk) {
    let admin = (!config.admin.address.ip().is_loopback() && config.admin.tls.is_none()).then(|| "admin".to_owned());
    let plain = |named: &NamedListener<'_>| named.listener.address.is_wide() && named.listener.tls.is_none();
    for table in config.all_listeners().filter(plain).map(|named| named.key).chain(admin) {
        let what = "a plain listener beyond loopback: keys cross the network in clear text";
        let hint = "set `tls`, bind it to loopback, or keep the network between callers and the gateway private";
        let key = format!("{table}.address");
        walk.warn(&key, walk.place(&key), Wrong::new(what, hint));
    }
    if config.upstream.redact == Redact::Off {
        let doubt = Wrong::new("secrets that come back in a body are not looked for", "leave it at `\"plain\"`");
        walk.warn("upstream.redact", walk.place("upstream.redact"), doubt);
    }
    if config.credentials.is_empty() {
        let doubt =
            Wrong::new("no credential: nothing is forwarded", "set `CLOSE_API_KEY`, or add `[credentials.NAME]`");
        walk.warn("credentials", walk.place("credentials"), doubt);
    }
}

fn limits(config: &Config, walk: &mut Walk) {
    if config.keys.is_empty() && is_wide(config) {
        let doubt =
            Wrong::new("no key: beyond loopback every request is refused", "set `CLOSEGATE_KEY`, or add `[keys.NAME]`");
        walk.warn("keys", walk.place("keys"), doubt);
    }
    for (name, key) in config.keys.iter().filter(|(_, key)| is_unlimited(key)) {
        let path = format!("keys.{name}");
        let place = walk.place(&path);
        // The key of the two-variable start has nowhere to say a limit.
        if matches!(&place, Place::Variable(variable) if variable.starts_with("CLOSEGATE_KEY")) {
            continue;
        }
        let what = format!("a key without limits: it may ask {} for ever", reach(key));
        walk.warn(path, place, Wrong::new(what, "add `scopes`, `allow` or `deny` rules, a `rate`, or `expires`"));
    }
    // Once for all routes: there may be many of both.
    let opened: BTreeSet<&RouteName> = config.keys.values().flat_map(|key| &key.routes).collect();
    let is_unreachable =
        |name: &RouteName, route: &Route| !config.keys.is_empty() && !route.anonymous && !opened.contains(name);
    for (name, _) in config.routes.iter().filter(|(name, route)| is_unreachable(name, route)) {
        let doubt = Wrong::new("no key may use this route", "add it to the `routes` of a key, or remove it");
        let key = format!("routes.{name}");
        walk.warn(&key, walk.place(&key), doubt);
    }
}

fn is_unlimited(key: &Key) -> bool {
    let ruled = key.scopes.is_some_and(|scopes| scopes != Scopes::ALL)
        || !key.rules.allow.is_empty()
        || !key.rules.deny.is_empty();
    key.expires.is_none() && key.limits.is_empty() && !(ruled && key.mode == Mode::Enforce)
}

/// A key whose scopes and rules refuse nothing.
fn observers(config: &Config, walk: &mut Walk) {
    for (name, _) in config.keys.iter().filter(|(_, key)| key.mode == Mode::Observe) {
        let path = format!("keys.{name}.mode");
        let doubt = Wrong::new(
            "scopes and rules of this key refuse nothing: they are noted in its records alone",
            "leave `mode` out once the records show no more `code`",
        );
        walk.warn(&path, walk.place(&path), doubt);
    }
}

fn reach(key: &Key) -> &'static str {
    if key.routes.len() == 1 { "whatever its route allows" } else { "whatever its routes allow" }
}
