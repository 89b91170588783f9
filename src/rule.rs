//! Rules of the form `METHOD[,METHOD] PATTERN`: what a route or a key allows and denies.

use http::Method;

use crate::path::DecisionPath;

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// Not of the form `METHOD[,METHOD] PATTERN`.
    #[error("a rule is `METHOD[,METHOD] PATTERN`, such as `GET,HEAD /api/v1/lead/**`")]
    Malformed,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {}

/// The rules of one route or key: `deny` wins over `allow`; with any `allow` the rest is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is permitted; empty: everything.
    pub allow: Vec<Rule>,
    /// What is refused, whatever `allow` says.
    pub deny: Vec<Rule>,
}

impl Rule {
    /// Parses `GET,HEAD /api/v1/**` or `* /api/v1/lead/*`.
    pub fn parse(_text: &str) -> Result<Self, RuleFault> {
        Err(RuleFault::Malformed)
    }
}

impl Rules {
    /// Whether the method on the path (as the upstream sees it) is permitted.
    pub fn permit(&self, _method: &Method, _path: &DecisionPath<'_>) -> bool {
        self.allow.is_empty()
    }
}
