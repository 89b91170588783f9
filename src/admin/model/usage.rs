//! Usage: how many requests, errors, bytes and how long, by key, route, endpoint, credential or status.

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
    /// How far back, such as `24h`; by default a day. Up to a day it is counted by the minute, further back by the day
    /// (UTC), of which 90 are kept.
    #[param(example = "24h", pattern = "^[0-9]{1,6}(ms|s|m|h|d)$")]
    pub since: Option<String>,
    /// Only requests with this gateway key.
    pub key: Option<String>,
    /// Only requests on this route.
    pub route: Option<String>,
    /// Only requests with this credential.
    pub credential: Option<String>,
    /// Only requests of this operation, such as `GET /api/v1/lead/`.
    pub endpoint: Option<String>,
    /// Into how many steps of time the answer's `chart` is divided, at most; without it there is none.
    #[param(minimum = 1, maximum = 1440)]
    pub points: Option<u32>,
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
    /// An operation of Close's API: `GET /api/v1/lead/`; `none` where it is not documented or was not looked up.
    Endpoint,
    /// A credential.
    Credential,
    /// How it ended: `2xx`, `3xx`, `4xx`, `5xx`.
    Status,
}

impl UsageBy {
    /// The word for it, as in the query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Route => "route",
            Self::Endpoint => "endpoint",
            Self::Credential => "credential",
            Self::Status => "status",
        }
    }
}

/// What was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// From when on: the beginning of the minute or day that was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// What a row stands for.
    pub by: UsageBy,
    /// The rows, those with most requests first; at most a thousand. What was removed stands under the name that it had.
    /// `_other` are those beyond the bounds of what is counted apart.
    pub rows: Vec<UsageRow>,
    /// All rows together, those beyond the first thousand among them.
    pub total: UsageRow,
    /// How it went over time, where `points` was asked for.
    pub chart: Option<UsageChart>,
    /// What Close's rate limits leave.
    pub headroom: Vec<Headroom>,
}

/// What one key, route, endpoint, credential or status has used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// Its name.
    pub name: String,
    /// Requests.
    pub requests: u64,
    /// Those that ended with a status of 400 or above, 429 apart.
    pub errors: u64,
    /// Those that ended with 429, be it Close's or the gateway's own.
    pub rate_limited: u64,
    /// Those that the gateway answered itself, with an error.
    pub refused: u64,
    /// Bytes of requests' bodies.
    pub request_bytes: u64,
    /// Bytes of responses' bodies.
    pub response_bytes: u64,
    /// Requests that were held for a rate limit of Close.
    pub waits: u64,
    /// How long they were held, all together, in milliseconds.
    pub waited_ms: u64,
    /// Mean time to the end of a response, in milliseconds; nothing without a request.
    pub mean_ms: Option<f64>,
    /// The time that 50 of 100 requests kept, in milliseconds: an estimate, the upper bound of its bucket (1, 2.5, 5, 10,
    /// 25, 50, 100, 250, 500 ms, 1, 2.5, 5, 10, 30, 60 s).
    pub p50_ms: Option<f64>,
    /// The time that 95 of 100 requests kept, in milliseconds, likewise.
    pub p95_ms: Option<f64>,
    /// The time that 99 of 100 requests kept, in milliseconds, likewise.
    pub p99_ms: Option<f64>,
}

/// How usage went over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageChart {
    /// How long a step is, in seconds; the first begins at `since`.
    pub step_seconds: u64,
    /// A line for each of the ten rows with most requests, and one for the others together, if there are any.
    pub lines: Vec<UsageLine>,
}

/// How one row went over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageLine {
    /// The row's name; nothing for the others together.
    pub name: Option<String>,
    /// Requests in each step.
    pub requests: Vec<u64>,
    /// Those that ended with a status of 400 or above, 429 apart.
    pub errors: Vec<u64>,
    /// Those that ended with 429.
    pub rate_limited: Vec<u64>,
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
