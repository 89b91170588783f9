//! The merged tree before it is typed: every value with the place it came from.
//!
//! A node may hold a secret that somebody wrote into the wrong place: it is never printed and has no `Debug`.

use std::collections::BTreeMap;

use figment::value::{Tag, Value};
use figment::{Figment, Profile};

use super::SecretRef;
use super::environment::Variables;
use super::file::FileTree;
use super::finding::{Faults, Wrong};
use super::place::Place;

/// The entries of a table.
pub(super) type Table = BTreeMap<String, Node>;

/// A value of the tree.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) raw: Raw,
    pub(super) place: Place,
}

/// What a value is, before anybody asks what it should be.
#[derive(Clone)]
pub(super) enum Raw {
    Text(String),
    Flag(bool),
    Whole(i128),
    Other,
    List(Vec<Node>),
    Table(Table),
    /// A reference that no file can spell: to what lies in the store.
    Stored(SecretRef),
}

impl Node {
    pub(super) fn text(text: impl Into<String>, place: Place) -> Self {
        Self { raw: Raw::Text(text.into()), place }
    }

    pub(super) fn table(entries: impl IntoIterator<Item = (&'static str, Self)>, place: Place) -> Self {
        let entries = entries.into_iter().map(|(key, node)| (key.to_owned(), node)).collect();
        Self { raw: Raw::Table(entries), place }
    }

    /// The text of a variable: it may stand for a number, a flag or a list.
    pub(super) fn variable(&self) -> Option<&str> {
        match (&self.raw, &self.place) {
            (Raw::Text(text), Place::Variable(_)) => Some(text),
            _ => None,
        }
    }
}

/// Merges the file and the environment, the environment last.
pub(super) fn merge(file: Option<FileTree>, variables: Variables) -> Result<Table, Faults> {
    let lines = file.as_ref().map(FileTree::lines);
    let mut figment = Figment::new();
    if let Some(file) = file {
        figment = figment.merge(file);
    }
    figment = figment.merge(variables);
    let reader = Reader { figment: &figment, lines: lines.unwrap_or_default() };
    // Both providers always yield a tree; the message of an error would hold a value, so it is not passed on.
    let merged = figment.find_value("").map_err(|_| Wrong::new(UNMERGED, UNMERGED_HINT).at("", Place::Default))?;
    Ok(match merged {
        Value::Dict(_, entries) => reader.table(entries, &mut Vec::new()),
        _ => Table::new(),
    })
}

struct Reader<'a> {
    figment: &'a Figment,
    lines: BTreeMap<String, Place>,
}

impl Reader<'_> {
    fn table(&self, entries: BTreeMap<String, Value>, path: &mut Vec<String>) -> Table {
        let mut table = Table::new();
        for (key, value) in entries {
            path.push(key.clone());
            table.insert(key, self.node(value, path));
            path.pop();
        }
        table
    }

    fn node(&self, value: Value, path: &mut Vec<String>) -> Node {
        let place = self.place(value.tag(), &value, path);
        let raw = match value {
            Value::String(_, text) => Raw::Text(text),
            Value::Bool(_, flag) => Raw::Flag(flag),
            Value::Num(_, number) => number.to_i128().map_or(Raw::Other, Raw::Whole),
            Value::Dict(_, entries) => Raw::Table(self.table(entries, path)),
            Value::Array(_, elements) => Raw::List(self.list(elements, path)),
            Value::Char(..) | Value::Empty(..) => Raw::Other,
        };
        Node { raw, place }
    }

    fn list(&self, elements: Vec<Value>, path: &mut Vec<String>) -> Vec<Node> {
        let mut list = Vec::with_capacity(elements.len());
        for (at, element) in elements.into_iter().enumerate() {
            path.push(at.to_string());
            list.push(self.node(element, path));
            path.pop();
        }
        list
    }

    /// A table of both sources stands where the file has it; every other value where the tag of figment says.
    fn place(&self, tag: Tag, value: &Value, path: &[String]) -> Place {
        let metadata = self.figment.get_metadata(tag);
        let from_file = metadata.is_some_and(|metadata| metadata.source.is_some());
        let in_file = self.lines.get(&path.join("."));
        match (in_file, metadata) {
            (Some(place), _) if from_file || value.as_dict().is_some() => place.clone(),
            (_, Some(metadata)) => Place::Variable(metadata.interpolate(&Profile::Default, path)),
            (_, None) => Place::Default,
        }
    }
}

const UNMERGED: &str = "the sources of the configuration cannot be merged";
const UNMERGED_HINT: &str = "give each setting once, in the file or in the environment";
