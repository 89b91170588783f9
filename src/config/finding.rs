//! What was found wrong or doubtful in a configuration: key, source, fault and hint, never a value.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::Config;
use super::place::{self, Origins, Place};

/// One fault or warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The key's path, such as `credentials.sales.api_key`.
    pub key: String,
    /// Where its value came from.
    #[serde(rename = "source")]
    pub place: Place,
    /// What is wrong, without the value.
    pub what: Cow<'static, str>,
    /// What to write instead.
    pub hint: Cow<'static, str>,
}

/// Every fault of a configuration, at least one.
#[derive(Clone)]
pub struct Faults {
    faults: Vec<Finding>,
    part: Option<Box<Part>>,
}

/// What could be typed in spite of the faults. Keys and paths in it may be secrets in the wrong place: no `Debug`.
#[derive(Clone)]
struct Part {
    config: Config,
    origins: Origins,
}

/// Why one value is not what its key takes; the walk adds key and place.
#[derive(Debug)]
pub(super) struct Wrong {
    what: Cow<'static, str>,
    hint: Cow<'static, str>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<Cow<'static, str>>, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }

    pub(super) fn at(self, key: impl Into<String>, place: Place) -> Finding {
        Finding { key: key.into(), place, what: self.what, hint: self.hint }
    }
}

impl Finding {
    /// Three lines for people: `LABEL: key: what`, the source, the hint.
    pub fn labelled(&self, label: &str) -> String {
        let Self { key, place, what, hint } = self;
        format!("{label}: {key}: {what}\n  --> {place}\n  hint: {hint}")
    }
}

impl Faults {
    pub(super) fn new(mut faults: Vec<Finding>) -> Self {
        faults.sort_by_key(|fault| fault.place.line());
        Self { faults, part: None }
    }

    /// The same faults, of a configuration of which so much could be typed; what is named like a secret is left out.
    pub(super) fn of(self, mut config: Config, origins: Origins) -> Self {
        config.credentials.retain(|name, _| place::shown(name.as_str()) == name.as_str());
        config.keys.retain(|name, _| place::shown(name.as_str()) == name.as_str());
        Self { part: Some(Box::new(Part { config, origins })), ..self }
    }

    /// What could be typed in spite of the faults; where a setting is wrong its default stands, and a table that
    /// cannot be used is missing. None when the sources could not be read at all.
    pub fn part(&self) -> Option<&Config> {
        self.part.as_ref().map(|part| &part.config)
    }

    /// Where a key came from, as far as the sources could be read.
    pub fn place(&self, key: &str) -> Place {
        self.part.as_ref().map_or(Place::Default, |part| place::of(&part.origins, key))
    }

    /// Whether there is a fault of a key, of the table around it or of what stands below it.
    pub fn concern(&self, key: &str) -> bool {
        let below = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
        self.iter().any(|fault| fault.key == key || below(&fault.key, key) || below(key, &fault.key))
    }

    /// Adds what was found wrong later; the order stays that of the file.
    pub fn append(&mut self, more: impl IntoIterator<Item = Finding>) {
        self.faults.extend(more);
        self.faults.sort_by_key(|fault| fault.place.line());
    }

    /// The faults, in the order of the file, those of the environment last.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.faults.iter()
    }

    /// `{"faults": [{"key", "source", "what", "hint"}, …]}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "faults": self.faults })
    }
}

impl FromIterator<Finding> for Faults {
    fn from_iter<I: IntoIterator<Item = Finding>>(faults: I) -> Self {
        Self::new(faults.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Finding> for Faults {
    fn from(fault: Finding) -> Self {
        Self::new(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.faults.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "\n\n" })?;
            f.write_str(&fault.labelled("error"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults.fmt(f)
    }
}

impl std::error::Error for Faults {}
