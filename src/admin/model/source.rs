//! Where a thing was declared, and which version of it somebody saw.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::Place;

/// Where a credential, a route or a key was declared. Only what is `managed` can be changed through the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// What kind of place that is.
    pub kind: SourceKind,
    /// The configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "closegate.toml")]
    pub file: Option<String>,
    /// The line in it, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 12)]
    pub line: Option<usize>,
    /// The environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
}

/// The kinds of places where things are declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Added at run time; it lies in the store.
    Managed,
    /// The configuration file.
    File,
    /// The environment.
    Environment,
    /// Nowhere: it follows from something else, such as the route that a credential has by default.
    Default,
}

/// How often a managed thing has been changed: its `ETag`. `0` for what the configuration file declares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Source {
    /// Of what lies in the store.
    pub fn managed() -> Self {
        Self { kind: SourceKind::Managed, file: None, line: None, variable: None }
    }

    /// Of what the configuration declares.
    pub fn of(place: &Place) -> Self {
        let nowhere = Self { kind: SourceKind::Default, file: None, line: None, variable: None };
        match place {
            Place::Default => nowhere,
            Place::File { name, line } => {
                Self { kind: SourceKind::File, file: Some(name.to_string()), line: *line, ..nowhere }
            }
            Place::Managed => Self::managed(),
            Place::Variable(name) => Self { kind: SourceKind::Environment, variable: Some(name.clone()), ..nowhere },
        }
    }

    /// Whether it can be changed at run time.
    pub fn is_managed(&self) -> bool {
        self.kind == SourceKind::Managed
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.file, self.line, &self.variable) {
            (SourceKind::Managed, ..) => f.write_str("managed"),
            (SourceKind::File, Some(file), Some(line), _) => write!(f, "{file}:{line}"),
            (SourceKind::File, Some(file), None, _) => f.write_str(file),
            (SourceKind::Environment, _, _, Some(name)) => write!(f, "env {name}"),
            (SourceKind::File | SourceKind::Environment | SourceKind::Default, ..) => f.write_str("default"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_reads_as_the_place_does() {
        for place in [
            Place::Default,
            Place::File { name: "closegate.toml".into(), line: Some(8) },
            Place::File { name: "closegate.toml".into(), line: None },
            Place::Variable("CLOSE_API_KEY".to_owned()),
        ] {
            assert_eq!(Source::of(&place).to_string(), place.to_string());
            assert!(!Source::of(&place).is_managed());
        }
        assert_eq!(Source::managed().to_string(), "managed");
    }
}
