//! The effective configuration, what a reload came to, and the catalogue.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::source::Source;

/// A setting of the configuration; none is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingView {
    /// Its path.
    #[schema(example = "listen.address")]
    pub key: String,
    /// Its value as the file would spell it, without quotes; `unset` when there is none.
    #[schema(example = "127.0.0.1:8080")]
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reload {
    /// Whether anything is different now.
    pub changed: bool,
    /// The settings that differ from those of the start, and wait for a restart.
    pub waiting: Vec<String>,
}

/// An operation of Close's API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct EndpointView {
    /// The method.
    #[schema(example = "GET")]
    pub method: String,
    /// The path with `{…}` for what varies: what records and metrics call it.
    #[schema(example = "/api/v1/lead/{id}/")]
    pub endpoint: String,
    /// The group that shares a rate limit.
    pub group: String,
    /// What a key needs to call it.
    #[schema(example = "read")]
    pub scope: String,
}
