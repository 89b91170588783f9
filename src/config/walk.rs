//! The walk that types the tree: it knows which keys were asked for, and gathers faults, warnings and origins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Config;
use super::environment::{Environment, Held};
use super::file;
use super::finding::{Faults, Finding, Wrong};
use super::nearest;
use super::place::{self, Origins, Place};
use super::raw::{Node, Raw, Table};

/// What a walk gathers.
pub(super) struct Walk {
    folders: Folders,
    environment: Environment,
    faults: Vec<Finding>,
    warnings: Vec<Finding>,
    origins: Origins,
}

/// What a configuration is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be used: what it refers to must be there.
    Use,
    /// For the names in it.
    Names,
}

/// What relative paths are relative to, and whether files must be there.
#[derive(Clone)]
pub(super) struct Folders {
    file: PathBuf,
    working: PathBuf,
    purpose: Purpose,
}

/// How a variable's text is taken apart when a list is wanted; `["a", "b"]` always works.
#[derive(Clone, Copy)]
pub(super) enum Split {
    /// At commas.
    Commas,
    /// Not at all: elements may contain commas.
    Never,
}

/// A table that is being read; what is not asked for before `close` is unknown.
pub(super) struct Section<'t> {
    path: String,
    place: Place,
    entries: Option<&'t Table>,
    known: Vec<&'static str>,
}

impl Folders {
    /// Paths of the file are relative to its folder, those of variables to the working directory.
    pub(super) fn new(file: Option<&Path>, working: &Path, purpose: Purpose) -> Self {
        let folder = file.and_then(Path::parent).unwrap_or(working);
        Self { file: folder.to_owned(), working: working.to_owned(), purpose }
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The same where files need not be there.
    pub(super) fn for_names(self) -> Self {
        Self { purpose: Purpose::Names, ..self }
    }

    pub(super) fn absolute(&self, path: &str, place: &Place) -> PathBuf {
        match place {
            Place::File { .. } => self.file.join(path),
            Place::Default | Place::Variable(_) | Place::Managed => self.working.join(path),
        }
    }
}

impl Walk {
    /// A walk that begins with what was found before it.
    pub(super) fn new(
        folders: Folders,
        environment: Environment,
        faults: Vec<Finding>,
        warnings: Vec<Finding>,
    ) -> Self {
        Self { folders, environment, faults, warnings, origins: BTreeMap::new() }
    }

    pub(super) fn folders(&self) -> Folders {
        self.folders.clone()
    }

    /// What the configuration is loaded for.
    pub(super) fn purpose(&self) -> Purpose {
        self.folders.purpose()
    }

    /// Whether there is something in a variable of the environment; none when it is not set.
    pub(super) fn held(&self, variable: &str) -> Option<Held> {
        self.environment.held(variable)
    }

    /// The value of a variable that names a file or a folder, unless it is empty.
    pub(super) fn path(&self, variable: &str) -> Option<PathBuf> {
        self.environment.path(variable).map(PathBuf::from)
    }

    pub(super) fn fault(&mut self, key: impl Into<String>, place: Place, wrong: Wrong) {
        self.faults.push(wrong.at(key, place));
    }

    pub(super) fn warn(&mut self, key: impl Into<String>, place: Place, doubt: Wrong) {
        self.warnings.push(doubt.at(key, place));
    }

    /// Whether a key was given.
    pub(super) fn has(&self, key: &str) -> bool {
        self.origins.get(key).is_some_and(|place| *place != Place::Default)
    }

    /// Whether a key is part of a table that was read, given or not.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.origins.contains_key(key)
    }

    /// Says where a key stands that no source has.
    pub(super) fn note(&mut self, key: String, place: Place) {
        self.origins.insert(key, place);
    }

    /// Where a key came from; of one that was not given, where the table around it did.
    pub(super) fn place(&self, key: &str) -> Place {
        place::of(&self.origins, key)
    }

    /// The faults and warnings so far.
    pub(super) fn findings(self) -> (Vec<Finding>, Vec<Finding>) {
        (self.faults, self.warnings)
    }

    /// What was typed with warnings and origins, or all faults.
    pub(super) fn end(self, config: Config) -> Result<(Config, Vec<Finding>, Origins), Faults> {
        if self.faults.is_empty() {
            Ok((config, self.warnings, self.origins))
        } else {
            Err(Faults::new(self.faults).of(config, self.origins))
        }
    }
}

impl<'t> Section<'t> {
    pub(super) fn root(tree: &'t Table) -> Self {
        Self { path: String::new(), place: Place::Default, entries: Some(tree), known: Vec::new() }
    }

    /// The table that a node must be; an empty one and a fault when it is something else.
    pub(super) fn of(walk: &mut Walk, path: String, node: &'t Node) -> Self {
        let entries = match &node.raw {
            Raw::Table(entries) => Some(entries),
            _ => {
                let hint = format!("`[{path}]` begins it in the file; a variable sets one of its keys");
                walk.fault(&path, node.place.clone(), Wrong::new("expected a table", hint));
                None
            }
        };
        walk.origins.insert(path.clone(), node.place.clone());
        Self { path, place: node.place.clone(), entries, known: Vec::new() }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The path of a key of this table.
    pub(super) fn key(&self, key: &str) -> String {
        place::join(&self.path, key)
    }

    /// How many of some keys are given.
    pub(super) fn count(&self, keys: &[&str]) -> usize {
        keys.iter().filter(|key| self.entries.is_some_and(|entries| entries.contains_key(**key))).count()
    }

    /// Whether a list is not given or has no element.
    pub(super) fn is_empty(&self, key: &str) -> bool {
        match self.entries.and_then(|entries| entries.get(key)).map(|node| &node.raw) {
            None => true,
            Some(Raw::List(elements)) => elements.is_empty(),
            Some(Raw::Text(text)) => text.trim().is_empty(),
            Some(_) => false,
        }
    }

    /// Whether the table could be read at all; when not, its missing keys are no further fault.
    pub(super) fn is_table(&self) -> bool {
        self.entries.is_some()
    }

    /// The value of a key as it is; the key is known from then on.
    pub(super) fn node(&mut self, walk: &mut Walk, key: &'static str) -> Option<&'t Node> {
        self.known.push(key);
        let node = self.entries.and_then(|entries| entries.get(key));
        walk.origins.insert(self.key(key), node.map_or(Place::Default, |node| node.place.clone()));
        node
    }

    /// The same of a setting that only what was added at run time has: elsewhere it is unknown.
    pub(super) fn managed(&mut self, walk: &mut Walk, key: &'static str) -> Option<&'t Node> {
        if self.place == Place::Managed { self.node(walk, key) } else { None }
    }

    /// The same, as a value that may be left out.
    pub(super) fn managed_value<T>(
        &mut self,
        walk: &mut Walk,
        key: &'static str,
        kind: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.place == Place::Managed { self.optional(walk, key, kind) } else { None }
    }

    /// A table below this one.
    pub(super) fn section(&mut self, walk: &mut Walk, key: &'static str) -> Section<'t> {
        match self.node(walk, key) {
            Some(node) => Section::of(walk, self.key(key), node),
            None => Section { path: self.key(key), place: Place::Default, entries: None, known: Vec::new() },
        }
    }

    /// The tables of a table whose keys are names, such as `[credentials.NAME]`.
    pub(super) fn named(&mut self, walk: &mut Walk, key: &'static str) -> Vec<(&'t str, Section<'t>)> {
        let around = self.section(walk, key);
        let entries = around.entries.into_iter().flatten();
        entries.map(|(name, node)| (name.as_str(), Section::of(walk, around.key(name), node))).collect()
    }

    /// A value that may be left out.
    pub(super) fn optional<T>(
        &mut self,
        walk: &mut Walk,
        key: &'static str,
        kind: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.node(walk, key)?;
        kind(node).map_err(|wrong| walk.fault(self.key(key), node.place.clone(), wrong)).ok()
    }

    /// A value with a default.
    pub(super) fn or<T>(
        &mut self,
        walk: &mut Walk,
        key: &'static str,
        default: T,
        kind: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> T {
        self.optional(walk, key, kind).unwrap_or(default)
    }

    /// A list, with a fault for every element that is wrong; none when the key is not given.
    pub(super) fn list<T>(
        &mut self,
        walk: &mut Walk,
        key: &'static str,
        split: Split,
        kind: impl Fn(&Node) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let node = self.node(walk, key)?;
        let path = self.key(key);
        let mut take = |at: usize, element: &Node| {
            let wrong = |wrong| walk.fault(format!("{path}[{at}]"), element.place.clone(), wrong);
            kind(element).map_err(wrong).ok()
        };
        if let Raw::List(elements) = &node.raw {
            return Some(elements.iter().enumerate().filter_map(|(at, element)| take(at, element)).collect());
        }
        if let Some(elements) = node.variable().and_then(|text| elements(text, split)) {
            let texts = elements.into_iter().map(|text| Node::text(text, node.place.clone()));
            return Some(texts.enumerate().filter_map(|(at, element)| take(at, &element)).collect());
        }
        walk.fault(path, node.place.clone(), Wrong::new("expected a list", "write `[\"…\", \"…\"]`"));
        None
    }

    /// Ends the table: every key that nobody asked for is unknown.
    pub(super) fn close(self, walk: &mut Walk) {
        for (key, node) in self.entries.into_iter().flatten() {
            if !self.known.contains(&key.as_str()) {
                let hint = nearest::suggest(key, self.known.iter().copied()).unwrap_or_default();
                walk.fault(self.key(key), node.place.clone(), Wrong::new("unknown setting", hint));
            }
        }
    }
}

fn elements(text: &str, split: Split) -> Option<Vec<String>> {
    let text = text.trim();
    match split {
        _ if text.starts_with('[') => file::array(text),
        _ if text.is_empty() => Some(Vec::new()),
        Split::Commas => Some(text.split(',').map(|element| element.trim().to_owned()).collect()),
        Split::Never => Some(vec![text.to_owned()]),
    }
}
