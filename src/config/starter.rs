//! The start with two variables: `CLOSE_API_KEY` makes a credential and its route, `CLOSEGATE_KEY` a key for it.

use super::environment::Environment;
use super::finding::Wrong;
use super::place::Place;
use super::raw::{Node, Raw, Table};
use super::walk::Walk;

/// Adds credential, route and key `default` to a tree without a credential. The secrets stay where they are.
pub(super) fn add(tree: &mut Table, environment: &Environment, walk: &mut Walk) {
    let configured = entries(tree, "credentials").is_none_or(|credentials| !credentials.is_empty());
    let credential = if configured { None } else { reference(CREDENTIAL, environment, walk) };
    if let Some((secret, place)) = credential {
        add_credential(tree, secret, &place);
    } else if environment.has(KEY[0]) || environment.has(KEY[1]) {
        return unused(tree, environment, walk);
    }
    if entries(tree, "keys").is_some_and(|keys| keys.contains_key(NAME)) {
        return unused(tree, environment, walk);
    }
    if let Some((secret, place)) = reference(KEY, environment, walk) {
        let routes = Node { raw: Raw::List(vec![Node::text(NAME, place.clone())]), place: place.clone() };
        let key = Node::table([("secret", secret), ("routes", routes)], place);
        insert(tree, "keys", key);
    }
}

fn add_credential(tree: &mut Table, secret: Node, place: &Place) {
    insert(tree, "credentials", Node::table([("api_key", secret)], place.clone()));
    let names_it = |(name, route): (&String, &Node)| name != NAME && says(route, "credential") == Some(NAME);
    if entries(tree, "routes").is_some_and(|routes| routes.iter().any(names_it)) {
        return;
    }
    if entries(tree, "routes").is_some_and(|routes| !routes.contains_key(NAME)) {
        insert(tree, "routes", Node::table([], place.clone()));
    }
    let route = tree.get_mut("routes").and_then(below).and_then(|routes| routes.get_mut(NAME)).and_then(below);
    if let Some(route) = route {
        route.entry("prefix".to_owned()).or_insert_with(|| Node::text("/", place.clone()));
    }
}

/// The reference that one of two variables makes.
fn reference(pair: [&'static str; 2], environment: &Environment, walk: &mut Walk) -> Option<(Node, Place)> {
    let [value, file] = pair;
    let place = |name: &str| Place::Variable(name.to_owned());
    if environment.has(value) && environment.has(file) {
        let what = format!("`{value}` and `{file}` are both set");
        walk.fault(value, place(value), Wrong::new(what, "unset one of them"));
        return None;
    }
    if environment.has(value) {
        let name = Node::text(value, place(value));
        return Some((Node::table([("env", name)], place(value)), place(value)));
    }
    if !environment.has(file) {
        return None;
    }
    let Some(path) = environment.path(file).and_then(|path| path.to_str()) else {
        walk.fault(file, place(file), Wrong::new("expected the path of a file", "an absolute path in UTF-8"));
        return None;
    };
    Some((Node::table([("file", Node::text(path, place(file)))], place(file)), place(file)))
}

/// A gateway key that somebody set and that opens nothing would be missed too late.
fn unused(tree: &Table, environment: &Environment, walk: &mut Walk) {
    for variable in KEY.into_iter().filter(|name| environment.has(name)) {
        let referenced = entries(tree, "keys").is_some_and(|keys| keys.values().any(|key| mentions(key, variable)));
        if !referenced {
            let what = "is not used: it makes a key only when `CLOSE_API_KEY` makes the credential";
            let hint = "add `[keys.default]` with `secret = { env = \"CLOSEGATE_KEY\" }` and `routes`, or unset it";
            walk.warn(variable, Place::Variable(variable.to_owned()), Wrong::new(what, hint));
        }
    }
}

fn mentions(node: &Node, variable: &str) -> bool {
    match &node.raw {
        Raw::Text(text) => text == variable,
        Raw::Table(entries) => entries.values().any(|node| mentions(node, variable)),
        _ => false,
    }
}

/// A table of the tree, empty when it is not there; none when something else stands in its place.
fn entries<'t>(tree: &'t Table, key: &str) -> Option<&'t Table> {
    match tree.get(key).map(|node| &node.raw) {
        None => Some(&NOTHING),
        Some(Raw::Table(entries)) => Some(entries),
        Some(_) => None,
    }
}

fn says<'t>(route: &'t Node, key: &str) -> Option<&'t str> {
    match &route.raw {
        Raw::Table(entries) => entries.get(key).and_then(|node| match &node.raw {
            Raw::Text(text) => Some(text.as_str()),
            _ => None,
        }),
        _ => None,
    }
}

fn below(node: &mut Node) -> Option<&mut Table> {
    match &mut node.raw {
        Raw::Table(entries) => Some(entries),
        _ => None,
    }
}

fn insert(tree: &mut Table, table: &str, node: Node) {
    let around = Node::table([], node.place.clone());
    if let Some(entries) = below(tree.entry(table.to_owned()).or_insert(around)) {
        entries.insert(NAME.to_owned(), node);
    }
}

static NOTHING: Table = Table::new();
const NAME: &str = "default";
const CREDENTIAL: [&str; 2] = ["CLOSE_API_KEY", "CLOSE_API_KEY_FILE"];
const KEY: [&str; 2] = ["CLOSEGATE_KEY", "CLOSEGATE_KEY_FILE"];
