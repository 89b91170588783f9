//! The configuration file as a provider of figment, with the line of every key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use toml_edit::{Document, Item, TableLike};

use super::finding::{Finding, Wrong};
use super::place::Place;

/// A configuration file that was read and is TOML.
pub(super) struct FileTree {
    path: PathBuf,
    entries: Dict,
    lines: BTreeMap<String, Place>,
}

impl FileTree {
    /// Parses the text; a fault of syntax names line and column and shows nothing of the text.
    pub(super) fn parse(path: &Path, name: &Arc<str>, text: &str) -> Result<Self, Box<Finding>> {
        let document = Document::parse(text).map_err(|error| Box::new(syntax(name, text, &error)))?;
        let mut reader = Reader { newlines: newlines(text), name, lines: BTreeMap::new() };
        let entries = reader.table(document.as_table(), "");
        Ok(Self { path: path.to_owned(), entries, lines: reader.lines })
    }

    /// The place of every key and element by its path, as the file spells it.
    pub(super) fn lines(&self) -> BTreeMap<String, Place> {
        self.lines.clone()
    }
}

impl Provider for FileTree {
    fn metadata(&self) -> Metadata {
        Metadata::from("TOML file", self.path.as_path())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.entries.clone()))
    }
}

/// The elements of `[…]`, as an environment variable may hold them; none when it is no such array.
pub(super) fn array(text: &str) -> Option<Vec<String>> {
    let array: toml_edit::Value = text.parse().ok()?;
    array.as_array()?.iter().map(|element| element.as_str().map(str::to_owned)).collect()
}

struct Reader<'a> {
    /// The offset of each: a file of many keys is not read from its beginning for every one of them.
    newlines: Vec<usize>,
    name: &'a Arc<str>,
    lines: BTreeMap<String, Place>,
}

impl Reader<'_> {
    fn table(&mut self, table: &dyn TableLike, path: &str) -> Dict {
        let mut entries = Dict::new();
        for (key, item) in table.iter() {
            let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
            self.note(&path, span);
            entries.insert(key.to_owned(), self.item(item, &path));
        }
        entries
    }

    fn item(&mut self, item: &Item, path: &str) -> Value {
        match item {
            Item::None => Value::from(false),
            Item::Value(value) => self.value(value, path),
            Item::Table(table) => Value::from(self.table(table, path)),
            Item::ArrayOfTables(tables) => {
                tables.iter().map(|table| Value::from(self.table(table, path))).collect::<Vec<_>>().into()
            }
        }
    }

    fn value(&mut self, value: &toml_edit::Value, path: &str) -> Value {
        match value {
            toml_edit::Value::String(text) => Value::from(text.value().as_str()),
            toml_edit::Value::Integer(number) => Value::from(*number.value()),
            toml_edit::Value::Float(number) => Value::from(*number.value()),
            toml_edit::Value::Boolean(flag) => Value::from(*flag.value()),
            toml_edit::Value::Datetime(time) => Value::from(time.value().to_string()),
            toml_edit::Value::Array(elements) => self.array(elements, path),
            toml_edit::Value::InlineTable(table) => Value::from(self.table(table, path)),
        }
    }

    fn array(&mut self, elements: &toml_edit::Array, path: &str) -> Value {
        let mut array = Vec::with_capacity(elements.len());
        for (at, element) in elements.iter().enumerate() {
            let path = format!("{path}.{at}");
            self.note(&path, element.span());
            array.push(self.value(element, &path));
        }
        Value::from(array)
    }

    fn note(&mut self, path: &str, span: Option<std::ops::Range<usize>>) {
        let line = span.map(|span| self.newlines.partition_point(|newline| *newline < span.start) + 1);
        self.lines.insert(path.to_owned(), Place::File { name: self.name.clone(), line });
    }
}

fn syntax(name: &Arc<str>, text: &str, error: &toml_edit::TomlError) -> Finding {
    let position = error.span().map(|span| position(text, span.start));
    let place = Place::File { name: name.clone(), line: position.map(|(line, _)| line) };
    let column = position.map_or_else(String::new, |(_, column)| format!(" (column {column})"));
    Wrong::new(
        format!("the file is not TOML{column}: {}", error.message()),
        "texts stand in quotes, tables are `[name]`, and a key or a table is given once",
    )
    .at("syntax", place)
}

fn newlines(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect()
}

/// Line and column of an offset, counted from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}
