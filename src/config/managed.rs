//! What was added at run time, as tables of the same tree that the file and the environment make: it is typed and checked
//! by the same walk, stands back where the file takes a name, and never keeps the rest from being used.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::entries::Names;
use super::finding::{Finding, Wrong};
use super::place::{Place, join};
use super::raw::{Node, Raw, Table};
use super::{Faults, SecretRef};

/// The tables that can be added at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `[credentials.NAME]`.
    Credential,
    /// `[routes.NAME]`.
    Route,
    /// `[keys.NAME]`.
    Key,
}

/// A table that was added at run time, in the words of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    kind: Kind,
    name: String,
    settings: Map<String, Value>,
    /// Where the reference to its secret stands, such as `basic.password`, and the reference.
    secret: Option<(&'static str, SecretRef)>,
}

/// Everything that was added at run time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managed(Vec<Addition>);

impl Kind {
    /// The table around those of this kind.
    pub fn table(self) -> &'static str {
        match self {
            Self::Credential => "credentials",
            Self::Route => "routes",
            Self::Key => "keys",
        }
    }
}

impl Addition {
    /// A table with these settings, none of which is a secret.
    pub fn new(kind: Kind, name: impl Into<String>, settings: Map<String, Value>) -> Self {
        Self { kind, name: name.into(), settings, secret: None }
    }

    /// The same with a reference to its secret at a setting, such as `api_key` or `basic.password`.
    pub fn with_secret(self, setting: &'static str, reference: SecretRef) -> Self {
        Self { secret: Some((setting, reference)), ..self }
    }

    /// Its path as faults spell it, such as `keys.reporting`: what could be a secret is masked.
    pub fn key(&self) -> String {
        join(self.kind.table(), &self.name)
    }

    /// Whether a fault is one of this table.
    pub(super) fn is_concerned(&self, fault: &Finding) -> bool {
        let rest = fault.key.strip_prefix(&self.key());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// What a fault says against this table: one of its own, or one that it brings upon what is in use.
    pub(super) fn objection(&self, fault: &Finding, in_use: &[&Self]) -> Option<Finding> {
        if self.is_concerned(fault) {
            return Some(fault.clone());
        }
        let harmed = in_use.iter().find(|known| known.is_concerned(fault))?;
        let setting = fault.key.strip_prefix(&harmed.key()).filter(|_| harmed.kind == self.kind).unwrap_or_default();
        Some(Finding {
            key: [&self.key(), setting].concat(),
            place: Place::Managed,
            what: format!("would put `{}` out of use: it would have {}", harmed.key(), fault.what).into(),
            hint: fault.hint.clone(),
        })
    }

    fn node(&self) -> Node {
        let mut settings = table(&self.settings);
        if let Some((setting, reference)) = &self.secret {
            let node = Node { raw: Raw::Stored(reference.clone()), place: Place::Managed };
            place(&mut settings, setting, node);
        }
        Node { raw: Raw::Table(settings), place: Place::Managed }
    }
}

impl Managed {
    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one up.
    pub fn push(&mut self, addition: Addition) {
        self.0.push(addition);
    }

    /// The same with this one, in place of what has its kind and name.
    pub fn with(&self, addition: Addition) -> Self {
        let other = |known: &&Addition| known.kind != addition.kind || known.name != addition.name;
        let mut with = Self(self.0.iter().filter(other).cloned().collect());
        with.push(addition);
        with
    }
}

/// What of the additions goes into a tree, and what there is to say about the rest.
pub(super) struct Overlay<'m> {
    standing: Vec<&'m Addition>,
    warnings: Vec<Finding>,
}

impl<'m> Overlay<'m> {
    /// Leaves out what has a name of the tree: the file wins.
    pub(super) fn over(tree: &Table, managed: &'m Managed) -> Self {
        let names = Names::of(tree);
        let (hidden, standing) = managed.0.iter().partition::<Vec<_>, _>(|addition| names.take(addition));
        let warnings = hidden.into_iter().map(|addition| {
            let what = "stays out of use: the configuration declares the same name";
            Wrong::new(what, "rename it there, or remove the managed one").at(addition.key(), Place::Managed)
        });
        Self { standing, warnings: warnings.collect() }
    }

    /// The tree with what is left of them.
    pub(super) fn tree(&mut self, tree: &Table) -> Table {
        let mut tree = tree.clone();
        for addition in &self.standing {
            let around = Node { raw: Raw::Table(Table::new()), place: Place::Managed };
            if let Some(tables) = below(tree.entry(addition.kind.table().to_owned()).or_insert(around)) {
                tables.insert(addition.name.clone(), addition.node());
            }
        }
        self.leave_lost_routes(&mut tree);
        tree
    }

    /// Takes out every addition that a fault concerns, with the fault as a warning; `Err` when none is concerned, and
    /// nothing but what the sources say can be at fault.
    pub(super) fn without_faulty(&mut self, faults: Faults) -> Result<(), Faults> {
        let before = self.standing.len();
        let concerned = |addition: &Addition| faults.iter().find(|fault| addition.is_concerned(fault));
        let mut warnings = Vec::new();
        self.standing.retain(|addition| {
            let fault = concerned(addition);
            warnings.extend(fault.map(|fault| Finding {
                what: format!("stays out of use: {}: {}", fault.key, fault.what).into(),
                key: addition.key(),
                place: Place::Managed,
                hint: fault.hint.clone(),
            }));
            fault.is_none()
        });
        self.warnings.append(&mut warnings);
        if self.standing.len() == before { Err(faults) } else { Ok(()) }
    }

    /// What is left of the additions.
    pub(super) fn standing(self) -> Vec<&'m Addition> {
        self.standing
    }

    pub(super) fn warnings(self) -> Vec<Finding> {
        self.warnings
    }

    /// A key outlives a route that is gone: it goes on with its other ones.
    fn leave_lost_routes(&mut self, tree: &mut Table) {
        let names = Names::of(tree);
        for addition in self.standing.iter().filter(|addition| addition.kind == Kind::Key) {
            let Some(settings) = tree.get_mut("keys").and_then(below).and_then(|keys| keys.get_mut(&addition.name))
            else {
                continue;
            };
            let routes = below(settings).and_then(|key| key.get_mut("routes"));
            let Some(Raw::List(routes)) = routes.map(|node| &mut node.raw) else { continue };
            if routes.iter().any(|route| names.has_route(route)) {
                routes.retain(|route| names.has_route(route));
            }
        }
    }
}

impl Names {
    fn take(&self, addition: &Addition) -> bool {
        let taken: &BTreeSet<String> = match addition.kind {
            Kind::Credential => &self.credentials,
            Kind::Route => &self.routes,
            Kind::Key => &self.keys,
        };
        taken.contains(&addition.name)
    }

    fn has_route(&self, node: &Node) -> bool {
        matches!(&node.raw, Raw::Text(name) if self.routes.contains(name))
    }
}

fn below(node: &mut Node) -> Option<&mut Table> {
    match &mut node.raw {
        Raw::Table(entries) => Some(entries),
        _ => None,
    }
}

/// Puts a node at a path, through tables that are made where there is none.
fn place(tree: &mut Table, path: &str, node: Node) {
    let Some((table, rest)) = path.split_once('.') else {
        tree.insert(path.to_owned(), node);
        return;
    };
    let around = Node { raw: Raw::Table(Table::new()), place: Place::Managed };
    if let Some(entries) = below(tree.entry(table.to_owned()).or_insert(around)) {
        place(entries, rest, node);
    }
}

fn table(settings: &Map<String, Value>) -> Table {
    settings.iter().filter_map(|(key, value)| Some((key.clone(), node(value)?))).collect()
}

/// A value as the file would have it; none for what is not set.
fn node(value: &Value) -> Option<Node> {
    let raw = match value {
        Value::Null => return None,
        Value::Bool(flag) => Raw::Flag(*flag),
        Value::Number(number) => number.as_i64().map_or(Raw::Other, |number| Raw::Whole(number.into())),
        Value::String(text) => Raw::Text(text.clone()),
        Value::Array(elements) => Raw::List(elements.iter().filter_map(node).collect()),
        Value::Object(entries) => Raw::Table(table(entries)),
    };
    Some(Node { raw, place: Place::Managed })
}
