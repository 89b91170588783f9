//! Requests that the gateway refused, one by one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A request that the gateway refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusalView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Its id, as in the answer and in the access record.
    pub request_id: String,
    /// The gateway key, by name; none where it presented none that is known.
    #[schema(example = "reporting")]
    pub key: Option<String>,
    /// The route, where it came so far.
    #[schema(example = "sales")]
    pub route: Option<String>,
    /// The method; `_OTHER` for one that HTTP does not name.
    #[schema(example = "POST")]
    pub method: String,
    /// The path without its query; keys in it are masked, and a long one is cut.
    #[schema(example = "/sales/api/v1/lead/")]
    pub path: Option<String>,
    /// The operation of the catalogue.
    pub endpoint: Option<String>,
    /// The scope that it takes.
    pub scope: Option<String>,
    /// The status of the answer.
    #[schema(example = 403)]
    pub status: u16,
    /// The gateway's code.
    #[schema(example = "scope_missing")]
    pub code: String,
    /// From where: an address, or `unix`.
    #[schema(example = "192.0.2.7")]
    pub from: String,
    /// What the client calls itself; masked and cut like the path.
    pub user_agent: Option<String>,
}

/// Which refusals are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RefusalQuery {
    /// At most so many, the newest first.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// Only those of one gateway key, by its name.
    pub key: Option<String>,
    /// Only those with one code.
    #[param(example = "scope_missing")]
    pub code: Option<String>,
}
