//! Where a setting came from, in the words that faults and `check` print.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The source of a setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nothing said otherwise.
    Default,
    /// The configuration file.
    File {
        /// Its path, relative to the working directory when it lies below.
        name: Arc<str>,
        /// The line of the key, counted from 1.
        line: Option<usize>,
    },
    /// An environment variable, by name.
    Variable(String),
    /// The store: it was added at run time.
    Managed,
}

/// Where each known key of the configuration came from, by its path (`listen.address`).
pub type Origins = BTreeMap<String, Place>;

impl Place {
    /// Where two findings stand to each other when all are listed: by line, then the environment.
    pub(super) fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => line.unwrap_or(0),
            Self::Default | Self::Variable(_) | Self::Managed => usize::MAX,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line: Some(line) } => write!(f, "{name}:{line}"),
            Self::File { name, line: None } => f.write_str(name),
            Self::Variable(name) => write!(f, "env {name}"),
            Self::Managed => f.write_str("managed"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a key came from; of one that was not given, where the table around it did.
pub(super) fn of(origins: &Origins, key: &str) -> Place {
    let mut key = key;
    loop {
        match (origins.get(key), key.rsplit_once('.')) {
            (Some(place), _) if *place != Place::Default => return place.clone(),
            (_, Some((table, _))) => key = table,
            (_, None) => return Place::Default,
        }
    }
}

/// The path of a key below another, fit to be printed.
pub(super) fn join(path: &str, key: &str) -> String {
    let key = shown(key);
    if path.is_empty() { key.into_owned() } else { format!("{path}.{key}") }
}

/// A key as it may be printed: one that could be a secret in the wrong place is masked.
pub(super) fn shown(key: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if key.len() <= 64 && key.bytes().all(plain) && !looks_secret(key) {
        Cow::Borrowed(key)
    } else {
        Cow::Borrowed("***")
    }
}

/// Whether a name can be shown as it is: one that could be a secret in the wrong place is masked everywhere.
pub fn is_plain_name(name: &str) -> bool {
    shown(name) == name
}

/// Whether a text has the shape of a key of Close or of the gateway, or is one long run of letters and digits.
pub(super) fn looks_secret(text: &str) -> bool {
    looks_like_key(text) || text.split(|c: char| !c.is_ascii_alphanumeric()).any(|run| run.len() >= 24)
}

/// Whether a text begins like a key of Close or of the gateway.
pub(super) fn looks_like_key(text: &str) -> bool {
    ["api_", "cgk_", "oa2"].iter().any(|mark| text.starts_with(mark)) && text.len() > 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_and_what_could_be_a_secret_is_not() {
        for plain in ["max_connections_per_peer", "danger_cleartext_upstream", "sales", "nightly-warehouse-sync-2026"] {
            assert_eq!(shown(plain), plain);
        }
        for odd in ["a b", "api_0123456789", "cgk_01jx_7kq2m9", "0123456789abcdef01234567", "é"] {
            assert_eq!(shown(odd), "***");
        }
    }

    #[test]
    fn a_place_reads_like_a_compilers() {
        let place = Place::File { name: "closegate.toml".into(), line: Some(12) };
        assert_eq!(place.to_string(), "closegate.toml:12");
        assert_eq!(Place::Variable("CLOSEGATE__LOG__LEVEL".to_owned()).to_string(), "env CLOSEGATE__LOG__LEVEL");
        assert_eq!(Place::Default.to_string(), "default");
    }
}
