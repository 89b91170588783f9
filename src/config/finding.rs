//! What was found wrong or doubtful in a configuration: key, source, fault and hint, never a value.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::place::Place;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Faults {
    faults: Vec<Finding>,
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
        Self { faults }
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
        Self { faults: vec![fault] }
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

impl std::error::Error for Faults {}
