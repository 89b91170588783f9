//! Which credentials and gateway keys are asked for, and in which order: what a screen of many needs of them, page by page.

use std::cmp::Ordering;

use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::page::{Part, opened};
use crate::admin::model::{CredentialState, CredentialView, KeyState, KeyView, Standing};
use crate::admin::refusal::Refusal;
use crate::id::CredentialName;

/// Which credentials are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct CredentialQuery {
    /// At most so many, by name.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u64>,
    /// Where the page before this one ended: its `next`.
    #[param(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    cursor: Option<String>,
    /// Only those with this text in their name, description, organization, user or key id; case does not matter.
    #[param(max_length = 100)]
    q: Option<String>,
    /// Only some.
    #[param(inline)]
    show: Option<CredentialShow>,
}

/// Some of the credentials.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CredentialShow {
    /// Those that cannot be used, though nobody disabled them, and those that were added while Close could not be asked.
    Attention,
    /// Those in use.
    Ready,
    /// Those that somebody disabled.
    Disabled,
}

/// Which gateway keys are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyQuery {
    /// At most so many, in their order.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u64>,
    /// Where the page before this one ended: its `next`. In another order than by name, one that is gone meanwhile begins anew.
    #[param(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    cursor: Option<String>,
    /// Only those with this text in their name, description, id or routes; case does not matter.
    #[param(max_length = 100)]
    q: Option<String>,
    /// Only some.
    #[param(inline)]
    show: Option<KeyShow>,
    /// Only those that may use this route.
    #[param(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    route: Option<String>,
    /// Only those that may use a route of this credential.
    #[param(pattern = "^[a-z0-9][a-z0-9-]{0,62}$")]
    credential: Option<String>,
    /// In which order; by default by name.
    #[param(inline)]
    order: Option<KeyOrder>,
}

/// Some of the keys.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum KeyShow {
    /// Those that can be used.
    Active,
    /// Those of them that were not used for 30 days, nor made within them; one of the configuration, of which nobody knows since
    /// when there is one, if no use of it was seen.
    Unused,
    /// Those that are revoked or expired.
    Ended,
}

/// An order of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum KeyOrder {
    /// By name.
    Name,
    /// The one that was used last first.
    Used,
    /// The one that expires next first.
    Expires,
}

impl CredentialQuery {
    /// That part of all credentials.
    pub(super) fn page(self, all: Vec<CredentialView>) -> Result<Response, Refusal> {
        let Self { limit, cursor, q, show } = self;
        let part = Part { limit, cursor, q, order: None };
        part.of(all, |one| show.is_none_or(|show| show.holds(one)))
    }
}

impl CredentialShow {
    fn holds(self, one: &CredentialView) -> bool {
        let usable =
            matches!(one.state, CredentialState::Ready | CredentialState::Suspect | CredentialState::Refreshing);
        let disabled = one.state == CredentialState::Disabled;
        match self {
            Self::Attention => !usable && !disabled || is_unproven(one),
            Self::Ready => usable,
            Self::Disabled => disabled,
        }
    }
}

/// Whether Close never accepted what somebody added; one of the configuration is not asked for that.
fn is_unproven(one: &CredentialView) -> bool {
    one.state == CredentialState::Ready && one.standing == Standing::Unverified && one.source.is_managed()
}

impl KeyQuery {
    /// The credential of whose routes keys are asked for.
    pub(super) fn credential(&self) -> Result<Option<CredentialName>, Refusal> {
        self.credential.as_deref().map(|name| opened("credential", name)).transpose()
    }

    /// That part of all keys: of those that may use one of the routes, if some are given.
    pub(super) fn page(self, all: Vec<KeyView>, among: Option<Vec<String>>) -> Result<Response, Refusal> {
        let Self { limit, cursor, q, show, route, order, .. } = self;
        let route = route.map(|name| opened("route", &name)).transpose()?;
        let since = Timestamp::now() - LATELY;
        let uses = |one: &KeyView, name: &str| one.routes.iter().any(|route| route == name);
        let fits = |one: &KeyView| {
            show.is_none_or(|show| show.holds(one, since))
                && route.as_ref().is_none_or(|route| uses(one, route.as_str()))
                && among.as_ref().is_none_or(|routes| routes.iter().any(|route| uses(one, route)))
        };
        Part { limit, cursor, q, order: order.and_then(KeyOrder::comparing) }.of(all, fits)
    }
}

impl KeyShow {
    fn holds(self, one: &KeyView, since: Timestamp) -> bool {
        let active = one.state == KeyState::Active;
        match self {
            Self::Active => active,
            Self::Unused => active && one.last_used_at.or(one.created_at).is_none_or(|at| at < since),
            Self::Ended => !active,
        }
    }
}

impl KeyOrder {
    /// Nothing for the order that every list has.
    fn comparing(self) -> Option<fn(&KeyView, &KeyView) -> Ordering> {
        match self {
            Self::Name => None,
            Self::Used => Some(|one, other| other.last_used_at.cmp(&one.last_used_at)),
            Self::Expires => Some(|one, other| {
                let when = |key: &KeyView| (key.expires_at.is_none(), key.expires_at);
                when(one).cmp(&when(other))
            }),
        }
    }
}

/// What was used in this time was used lately.
const LATELY: SignedDuration = SignedDuration::from_hours(30 * 24);
