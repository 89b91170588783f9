//! What configuration reads of the environment: `CLOSEGATE__…` and a few names, and of secrets only that they exist.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::finding::{Finding, Wrong};
use super::place::Place;

/// A snapshot of the environment, reduced to what configuration may know.
#[derive(Clone, Default)]
pub struct Environment {
    /// What configuration reads: its own settings, and where files lie.
    variables: BTreeMap<String, OsString>,
    /// Every variable there is, without its value.
    held: BTreeMap<String, Held>,
}

/// All that is known of a variable that may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    Something,
}

impl Environment {
    /// The environment of the process.
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Whether a variable is there, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.held.contains_key(name)
    }

    /// Whether there is something in a variable; none when it is not set.
    pub(super) fn held(&self, name: &str) -> Option<Held> {
        self.held.get(name).copied()
    }

    /// The value of a variable that names a file or a folder, unless it is empty.
    pub(super) fn path(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The settings among the variables, as a tree for figment, and the faults of those that are none.
    pub(super) fn settings(&self) -> (Variables, Vec<Finding>) {
        let mut settings = Variables::default();
        let mut faults = Vec::new();
        for (variable, value) in &self.variables {
            let Some(path) = variable.strip_prefix(PREFIX) else { continue };
            let added = match value.to_str() {
                Some(value) => settings.add(variable, path, value),
                None => Err(Wrong::new("the value is not UTF-8", "give a text")),
            };
            if let Err(wrong) = added {
                faults.push(wrong.at(shown_path(path), Place::Variable(shown_name(variable))));
            }
        }
        (settings, faults)
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    /// Keeps the variables that configuration reads; of all others, secrets among them, their presence alone.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let mut kept = Self::default();
        for (name, value) in variables {
            let Ok(name) = name.into().into_string() else { continue };
            let value = value.into();
            let held = if value.is_empty() { Held::Nothing } else { Held::Something };
            kept.held.insert(name.clone(), held);
            if VALUES.contains(&name.as_str()) || name.starts_with(PREFIX) {
                kept.variables.insert(name, value);
            }
        }
        kept
    }
}

/// The settings of the environment: raw texts by path, with the variable each came from.
#[derive(Default)]
pub(super) struct Variables {
    entries: Dict,
    names: BTreeMap<String, String>,
}

impl Variables {
    fn add(&mut self, variable: &str, path: &str, value: &str) -> Result<(), Wrong> {
        let keys = keys(path);
        let Some((last, tables)) = keys.split_last().filter(|_| keys.iter().all(|key| !key.is_empty())) else {
            return Err(Wrong::new("not a setting's name", "`listen.address` is `CLOSEGATE__LISTEN__ADDRESS`"));
        };
        let twice = || Wrong::new("set by two variables at once", "keep one of them");
        let mut entries = &mut self.entries;
        for table in tables {
            let below = entries.entry(table.clone()).or_insert_with(|| Value::from(Dict::new()));
            let Value::Dict(_, inner) = below else { return Err(twice()) };
            entries = inner;
        }
        if entries.contains_key(last) {
            return Err(twice());
        }
        entries.insert(last.clone(), Value::from(value));
        self.names.insert(keys.join("."), shown_name(variable));
        Ok(())
    }
}

impl Provider for Variables {
    fn metadata(&self) -> Metadata {
        let names = self.names.clone();
        Metadata::named("environment").interpolater(move |_, keys| {
            let name = names.get(&keys.join(".")).cloned();
            // As a shell spells it: names of variables have no dash.
            let spelled = || keys.join("__").to_ascii_uppercase().replace('-', "_");
            name.unwrap_or_else(|| shown_name(&format!("{PREFIX}{}", spelled())))
        })
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.entries.clone()))
    }
}

/// `LISTEN__ADDRESS` as keys. Names of credentials, routes and keys have dashes where shells allow only underscores.
fn keys(path: &str) -> Vec<String> {
    let mut keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
    if let [table, name, ..] = keys.as_mut_slice()
        && NAMED.contains(&table.as_str())
    {
        *name = name.replace('_', "-");
    }
    keys
}

fn shown_path(path: &str) -> String {
    keys(path).iter().fold(String::new(), |path, key| super::place::join(&path, key))
}

/// A variable's name as it may be printed.
fn shown_name(variable: &str) -> String {
    variable.split("__").map(super::place::shown).collect::<Vec<_>>().join("__")
}

const PREFIX: &str = "CLOSEGATE__";
const NAMED: [&str; 4] = ["credentials", "routes", "keys", "listeners"];
const VALUES: [&str; 8] = [
    "CLOSE_API_KEY_FILE",
    "CLOSEGATE_KEY_FILE",
    "CLOSEGATE_CONFIG",
    "CREDENTIALS_DIRECTORY",
    "XDG_CONFIG_HOME",
    "HOME",
    "STATE_DIRECTORY",
    "XDG_STATE_HOME",
];
