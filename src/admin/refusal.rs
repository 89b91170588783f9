//! Why something that was asked for is not done: a stable code, what happened, and what to do about it.

use std::fmt;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::Place;

/// Why something is not done; `Display` is for people. It repeats names, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// What happened, values in backticks.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What is wrong with which field, for `invalid`.
    pub fields: Vec<FieldFault>,
}

/// The stable codes of the admin API; `docs/admin-api.md` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is no JSON, or not what is expected: its detail says where.
    Malformed,
    /// No token, no session, or none that is valid.
    Unauthenticated,
    /// The token's role does not allow it.
    Forbidden,
    /// A request by cookie without the session's CSRF token.
    CsrfMissing,
    /// A browser sends this from another site.
    OriginRefused,
    /// There is no such thing.
    NotFound,
    /// The path does not know this method.
    MethodNotAllowed,
    /// The name is taken.
    Conflict,
    /// Others depend on it.
    InUse,
    /// The configuration declares it: it is changed there.
    ReadOnly,
    /// It is not in a state for this.
    WrongState,
    /// Somebody changed it since it was read.
    PreconditionFailed,
    /// The request's body is too long.
    TooLarge,
    /// The request's body is of another type than `application/json`.
    UnsupportedMediaType,
    /// The `Host` is not one of this listener's.
    HostRefused,
    /// A field has a value that cannot be used.
    Invalid,
    /// Close refuses the credential.
    CredentialRefused,
    /// Close did not grant an authorization.
    AuthorizationRefused,
    /// The token is wrong, and too many wrong ones wait for an answer.
    TooManyAttempts,
    /// A fault of closegate itself.
    Internal,
    /// Close could not be asked, and without its answer this cannot be done.
    UpstreamUnreachable,
    /// The store cannot be reached.
    StoreUnavailable,
    /// The gateway cannot be reached; the command line says so.
    GatewayUnreachable,
}

/// What is wrong with a field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldFault {
    /// Its path in the request: `name`, `method.api_key`, `allow[2]`.
    #[schema(example = "name")]
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// The kinds of things that are managed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Credentials of Close.
    Credential,
    /// Routes.
    Route,
    /// Gateway keys.
    Key,
}

impl Refusal {
    /// A refusal with a code and what happened.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), hint: None, fields: Vec::new() }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// There is no such thing.
    pub fn not_found(kind: Kind, name: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {kind} `{name}`"))
    }

    /// The name is taken, by something managed or by what the configuration declares there.
    pub fn taken(kind: Kind, name: impl fmt::Display, declared: Option<&Place>) -> Self {
        match declared {
            Some(place) => Self::new(Code::Conflict, format!("the {kind} `{name}` is declared in {place}"))
                .hint("choose another name, or change it there"),
            None => Self::new(Code::Conflict, format!("there is a {kind} `{name}` already"))
                .hint("choose another name, or change the one there is"),
        }
    }

    /// The configuration declares it.
    pub fn read_only(kind: Kind, name: impl fmt::Display, declared: &Place) -> Self {
        let detail = format!("the {kind} `{name}` is declared in {declared}, and can be changed only there");
        Self::new(Code::ReadOnly, detail).hint("edit the file; it is loaded again at once")
    }

    /// Somebody changed it since it was read.
    pub fn stale(kind: Kind, name: impl fmt::Display) -> Self {
        Self::new(Code::PreconditionFailed, format!("the {kind} `{name}` was changed since it was read"))
            .hint("read it again, and decide anew")
    }

    /// Fields have values that cannot be used.
    pub fn invalid(fields: Vec<FieldFault>) -> Self {
        let detail = match fields.as_slice() {
            [only] => format!("`{}`: {}", only.field, only.what),
            _ => format!("{} fields have values that cannot be used", fields.len()),
        };
        Self { code: Code::Invalid, detail, hint: None, fields }
    }

    /// One field has a value that cannot be used.
    pub fn field(field: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::invalid(vec![FieldFault { field: field.into(), what: what.into(), hint: Some(hint.into()) }])
    }

    /// The store cannot be reached; nothing is different.
    pub fn store_unavailable(why: impl fmt::Display) -> Self {
        Self::new(Code::StoreUnavailable, format!("the store cannot be reached: {why}"))
            .hint("nothing is changed; known credentials and keys go on; try again once the store is back")
    }

    /// A fault of closegate itself; the log has more.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "closegate failed at this; its log says more")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        for fault in self.fields.iter().filter(|_| self.fields.len() > 1) {
            write!(f, "\n  `{}`: {}", fault.field, fault.what)?;
        }
        let hints = self.fields.iter().filter_map(|fault| fault.hint.as_ref()).chain(&self.hint);
        hints.into_iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credential => "credential",
            Self::Route => "route",
            Self::Key => "key",
        })
    }
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 23] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::CsrfMissing,
        Self::OriginRefused,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::InUse,
        Self::ReadOnly,
        Self::WrongState,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::HostRefused,
        Self::Invalid,
        Self::CredentialRefused,
        Self::AuthorizationRefused,
        Self::TooManyAttempts,
        Self::Internal,
        Self::UpstreamUnreachable,
        Self::StoreUnavailable,
        Self::GatewayUnreachable,
    ];

    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::CsrfMissing | Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict
            | Self::InUse
            | Self::ReadOnly
            | Self::WrongState
            | Self::CredentialRefused
            | Self::AuthorizationRefused => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::HostRefused => StatusCode::MISDIRECTED_REQUEST,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamUnreachable | Self::StoreUnavailable | Self::GatewayUnreachable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The code in the API's spelling: `not_found`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::CsrfMissing => "csrf_missing",
            Self::OriginRefused => "origin_refused",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::InUse => "in_use",
            Self::ReadOnly => "read_only",
            Self::WrongState => "wrong_state",
            Self::PreconditionFailed => "precondition_failed",
            Self::TooLarge => "too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::HostRefused => "host_refused",
            Self::Invalid => "invalid",
            Self::CredentialRefused => "credential_refused",
            Self::AuthorizationRefused => "authorization_refused",
            Self::TooManyAttempts => "too_many_attempts",
            Self::Internal => "internal",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::StoreUnavailable => "store_unavailable",
            Self::GatewayUnreachable => "gateway_unreachable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_as_they_are_sent() {
        for code in Code::ALL {
            assert_eq!(serde_json::json!(code), code.as_str());
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn a_refusal_tells_people_what_to_do() {
        let place = Place::File { name: "closegate.toml".into(), line: Some(8) };
        assert_eq!(
            Refusal::taken(Kind::Credential, "sales", Some(&place)).to_string(),
            "the credential `sales` is declared in closegate.toml:8\nhint: choose another name, or change it there"
        );
        let mut two = Refusal::field("name", "no name", "letters");
        assert_eq!(two.to_string(), "`name`: no name\nhint: letters");
        two.fields.push(FieldFault { field: "rate".to_owned(), what: "no rate".to_owned(), hint: None });
        assert_eq!(
            Refusal::invalid(two.fields).to_string(),
            "2 fields have values that cannot be used\n  `name`: no name\n  `rate`: no rate\nhint: letters"
        );
    }
}
