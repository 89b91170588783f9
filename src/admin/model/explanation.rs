//! What would become of a request, as it is told to operators.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The request that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// The method.
    #[param(example = "GET")]
    pub method: String,
    /// The path that the tool asks the gateway for, with or without its query.
    #[param(example = "/sales/api/v1/lead/")]
    pub path: String,
    /// The name of the gateway key that it presents; by default none.
    #[param(example = "reporting")]
    pub key: Option<String>,
}

/// What would become of a request at the listener of `[listen]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// Whether it would be sent.
    pub sent: bool,
    /// Whether the gateway itself would answer it.
    pub answered_here: bool,
    /// Why it would not be sent.
    pub refusal: Option<Objection>,
    /// Why it would not be sent if its key were not only observed.
    pub observed: Option<Objection>,
    /// Where it leads, if it comes so far.
    pub way: Option<WayView>,
    /// The keys with which it would be sent, where it would be refused: by name, 20 at most.
    pub keys: Vec<String>,
}

/// Why a request would be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Objection {
    /// The status.
    #[schema(example = 403)]
    pub status: u16,
    /// The gateway's code.
    #[schema(example = "scope_missing")]
    pub code: String,
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub hint: String,
}

/// Where a request leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WayView {
    /// The route.
    #[schema(example = "sales")]
    pub route: String,
    /// Whether the path begins with the route's prefix; if not, the route is the first of the key's.
    pub prefix_in_path: bool,
    /// As whom it is sent.
    #[schema(example = "sales")]
    pub credential: String,
    /// The operation of the catalogue.
    pub endpoint: Option<String>,
    /// The scope that it takes; `write|send` where the body decides.
    #[schema(example = "read")]
    pub scope: String,
    /// The URL at the upstream; of a request that is refused without its query.
    pub upstream: String,
    /// What the rules of the route say.
    pub by_route: RulingView,
    /// What the rules of the key say.
    pub by_key: Option<RulingView>,
}

/// What a set of rules says of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulingView {
    /// Which way.
    pub ruling: Sieve,
    /// The rule that decides.
    pub rule: Option<String>,
}

/// How rules decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sieve {
    /// A `deny` covers it.
    Denied,
    /// There is an `allow`, and none covers it.
    Unlisted,
    /// An `allow` covers it.
    Allowed,
    /// No `deny` covers it, and there is no `allow`.
    Unruled,
}
