//! Administrative events: who did what, when and from where; never a secret.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::session::Actor;

/// Something that somebody did, or was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Grows from event to event.
    pub id: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: the name of a token, or of a user of the command line (`cli:alice`).
    #[schema(example = "admin")]
    pub actor: String,
    /// What: `credential.add`, `key.revoke`, `session.open`, `session.refused` and so on.
    #[schema(example = "credential.add")]
    pub action: String,
    /// To what: the name of a credential, a route or a key.
    #[schema(example = "sales")]
    pub subject: Option<String>,
    /// From where: an address.
    #[schema(example = "192.0.2.7")]
    pub from: Option<String>,
    /// More, by action.
    #[schema(value_type = Object)]
    pub detail: serde_json::Map<String, serde_json::Value>,
}

/// Something to be noted now.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Who, and from where.
    pub by: Actor,
    /// What.
    pub action: &'static str,
    /// To what.
    pub subject: Option<String>,
    /// More; no secret.
    pub detail: serde_json::Map<String, serde_json::Value>,
}

/// Which events are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// At most so many, the newest first.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// Where the page before this one ended: its `next`.
    #[param(value_type = Option<String>, example = "4711", pattern = "^[0-9]{1,19}$")]
    pub cursor: Option<String>,
    /// Only those of one actor.
    #[param(min_length = 1, max_length = 100)]
    pub actor: Option<String>,
    /// Only those of one action, or of all that begin so (`key.`).
    #[param(min_length = 1, max_length = 100)]
    pub action: Option<String>,
    /// Only those on one thing, by its name.
    #[param(min_length = 1, max_length = 100)]
    pub subject: Option<String>,
}

/// Events, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// This page's.
    pub data: Vec<EventView>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}
