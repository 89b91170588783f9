//! What a key would need at least, by what it really used.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key::Scope;

/// The least scopes and rules that cover what a key really used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suggestion {
    /// The key.
    pub key: String,
    /// From when on its usage was looked at: what is kept, by the day (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// The scopes that it needs; none where it has done nothing.
    pub scopes: Vec<Scope>,
    /// The rules that allow what it did, and nothing else.
    #[schema(example = json!(["GET /api/v1/lead/*"]))]
    pub allow: Vec<String>,
    /// What it did, by operation, the most frequent first.
    pub used: Vec<UsedOperation>,
    /// Requests to paths that Close does not document: no rule here covers them.
    pub undocumented: u64,
    /// What to look at before it is taken over.
    pub notes: Vec<String>,
}

/// An operation of Close that a key used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsedOperation {
    /// The method.
    pub method: String,
    /// The path template.
    pub endpoint: String,
    /// The scope that it takes.
    pub scope: String,
    /// How often it was used; what was refused is not counted.
    pub requests: u64,
}
