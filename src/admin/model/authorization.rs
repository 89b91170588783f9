//! An authorization that somebody waits for while a browser goes through it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::refusal::{Code, Refusal};

/// From where a browser leaves for Close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// From where it was begun: what comes back must be that browser.
    Here,
    /// From a link, which somebody is given who opens it; what becomes of it can be waited for.
    ByLink,
}

/// Which authorization is waited for.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Awaited {
    /// The `state` that was given where it was begun.
    pub state: String,
}

/// What has become of an authorization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// How it stands.
    pub outcome: Outcome,
    /// Why it is refused.
    pub code: Option<Code>,
    /// The same for people.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How an authorization stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nobody has come back yet: ask again.
    Waiting,
    /// The credential is authorized.
    Authorized,
    /// It came to nothing.
    Refused,
    /// Nobody came back in time.
    Expired,
}

impl Progress {
    /// One that needs no words.
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, code: None, detail: None, hint: None }
    }

    /// It came to nothing.
    pub fn refused(refusal: &Refusal) -> Self {
        let Refusal { code, detail, hint, fields: _ } = refusal.clone();
        Self { outcome: Outcome::Refused, code: Some(code), detail: Some(detail), hint }
    }

    /// Whether it is authorized; nothing while it is waited for.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn end(self) -> Option<Result<(), Refusal>> {
        let Self { outcome, code, detail, hint } = self;
        let code = code.unwrap_or(Code::AuthorizationRefused);
        match outcome {
            Outcome::Waiting => None,
            Outcome::Authorized => Some(Ok(())),
            Outcome::Refused => Some(Err(Refusal { hint, ..Refusal::new(code, detail.unwrap_or_default()) })),
            Outcome::Expired => Some(Err(Refusal::new(code, "nobody has come back from Close within ten minutes")
                .hint(
                    "begin again; where the browser cannot reach the gateway, paste the address that it was sent to",
                ))),
        }
    }
}
