//! The path of a request: canonical or refused, and never re-encoded.

use std::borrow::Cow;

/// Why a path is not canonical (contract.md 4 "Path", security.md 22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Does not begin with `/`.
    #[error("the path does not begin with a slash")]
    Relative,
}

/// A path that was found canonical; its bytes are those that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPath<'a>(&'a str);

impl<'a> RequestPath<'a> {
    /// Finds the path (without its query) canonical, or says why not.
    pub fn parse(path: &'a str) -> Result<Self, PathFault> {
        if path.starts_with('/') { Ok(Self(path)) } else { Err(PathFault::Relative) }
    }

    /// The path as it came.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// A path as every decision reads it: repeated slashes are one, a trailing slash makes no difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionPath<'a>(Cow<'a, str>);

impl<'a> DecisionPath<'a> {
    /// The form for decisions of a canonical path (as the upstream sees it).
    pub fn of(path: &'a str) -> Self {
        Self(Cow::Borrowed(path))
    }

    /// Without a trailing slash (but `/` itself), without repeated ones.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A route's prefix: `/`, or segments without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// Parses `/`, `/sales` or `/team/sales`.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        RequestPath::parse(text).map(|path| Self(path.as_str().to_owned()))
    }

    /// The prefix as text; `/` for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
