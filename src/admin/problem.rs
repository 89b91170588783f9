//! Errors as they are sent: `application/problem+json` (RFC 9457) with a stable `code`.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::refusal::{Code, FieldFault, Refusal};
use super::respond::json;

/// An error of RFC 9457.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: the code says what kind of problem it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: String,
    /// The status in words.
    #[schema(example = "Conflict")]
    title: String,
    /// The status.
    #[schema(minimum = 400, maximum = 599, example = 409)]
    status: u16,
    /// For programs.
    code: Code,
    /// What happened.
    #[schema(example = "there is a credential `sales` already")]
    detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// What is wrong with which field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldFault>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.code.status();
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: refusal.code,
            detail: refusal.detail,
            hint: refusal.hint,
            errors: refusal.fields,
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let Problem { code, detail, hint, errors, .. } = problem;
        Self { code, detail, hint, fields: errors }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.code;
        let status = code.status();
        let mut response = json(status, "application/problem+json", &Problem::from(self));
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"closegate admin\""));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
