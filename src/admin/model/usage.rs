//! Usage: how many requests, errors, bytes and how long, by key, route, endpoint or credential.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which usage is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// What a row stands for; by default a key.
    #[param(inline)]
    pub by: Option<UsageBy>,
    /// How far back, such as `24h`; by default a day.
    #[param(example = "24h", pattern = "^[0-9]{1,6}(ms|s|m|h|d)$")]
    pub since: Option<String>,
}

/// What a row of usage stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageBy {
    /// A gateway key.
    #[default]
    Key,
    /// A route.
    Route,
    /// An operation of Close's API.
    Endpoint,
    /// A credential.
    Credential,
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// From when on.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// What a row stands for.
    pub by: UsageBy,
    /// The rows, those with most requests first.
    pub rows: Vec<UsageRow>,
    /// What Close's rate limits leave.
    pub headroom: Vec<Headroom>,
}

/// What one key, route, endpoint or credential has used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// Its name.
    pub name: String,
    /// Requests.
    pub requests: u64,
    /// Those that ended with a status of 400 or above, 429 apart.
    pub errors: u64,
    /// Those that ended with 429.
    pub rate_limited: u64,
    /// Bytes of requests' bodies.
    pub request_bytes: u64,
    /// Bytes of responses' bodies.
    pub response_bytes: u64,
    /// Mean time to the end of a response, in milliseconds; nothing without a request.
    pub mean_ms: Option<f64>,
    /// The time that 95 of 100 requests kept, in milliseconds, to the next bound of the histogram.
    pub p95_ms: Option<f64>,
}

/// What a rate limit of Close leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Headroom {
    /// The credential.
    pub credential: String,
    /// The group of endpoints that shares the limit.
    pub group: String,
    /// Requests in the window.
    pub limit: f64,
    /// Requests that are left in it.
    pub remaining: f64,
    /// Seconds until it begins anew.
    pub reset_seconds: f64,
}
