//! Errors become responses here and nowhere else (contract.md 4).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use serde_json::{Value, json};

use super::error::ProxyError;
use crate::id::RequestId;
use crate::keys::Exceeded;
use crate::pace::{Exhausted, Limited};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("closegate-request-id");
const ERROR: HeaderName = HeaderName::from_static("closegate-error");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The response for an error, with its JSON body.
pub(super) fn respond(error: &ProxyError, request_id: &RequestId) -> Response<Bytes> {
    let telling = error.telling();
    let mut response = Response::new(body(error, telling.code, &hint(error), request_id));
    *response.status_mut() = StatusCode::from_u16(telling.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ERROR, HeaderValue::from_static(telling.code));
    let proxy_status = format!("closegate; error={}; details=\"{}\"", telling.proxy_status, telling.code);
    if let Ok(value) = HeaderValue::from_str(&proxy_status) {
        headers.insert(PROXY_STATUS, value);
    }
    headers.insert(REQUEST_ID, request_id.header());
    if matches!(telling.status, 429 | 503) {
        headers.insert(RETRY_AFTER, HeaderValue::from(error.retry_after()));
    }
    if let Some(limits) = limits(error)
        && let Ok(value) = HeaderValue::from_str(&limits.header())
    {
        headers.insert(RATE_LIMIT, value);
    }
    if telling.status == 401 {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"closegate\""));
    }
    if error.ends_connection() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What to do about an error; of a host that is not served, the line that would serve it.
pub(super) fn hint(error: &ProxyError) -> Cow<'static, str> {
    match error {
        ProxyError::HostRefused { asked: Some(host) } => {
            Cow::Owned(format!("to serve it here: [listen] hosts = [\"{host}\"]"))
        }
        _ => Cow::Borrowed(error.telling().hint),
    }
}

fn body(error: &ProxyError, code: &str, hint: &str, request_id: &RequestId) -> Bytes {
    let own = json!({ "code": code, "hint": hint, "request_id": request_id.as_str() });
    let body = match limits(error) {
        None => json!({ "error": error.to_string(), "closegate": own }),
        Some(limits) => limits.body(&error.to_string(), &own),
    };
    Bytes::from(body.to_string())
}

/// What a 429 tells of the limit, if the error is one.
fn limits(error: &ProxyError) -> Option<Limits> {
    match error {
        ProxyError::KeyLimited(Exceeded { most, window, .. }) => {
            Some(Limits { limit: *most, reset: error.retry_after(), window: *window, kind: "key" })
        }
        ProxyError::Exhausted(exhausted) => Some(Limits::of_upstream(exhausted)),
        _ => None,
    }
}

/// A limit as Close's clients read it, each in its own way (close-api.md 6.2).
struct Limits {
    limit: u64,
    /// Whole seconds, at least one: a client reads `0.59` as none.
    reset: u64,
    /// Whole seconds.
    window: u64,
    /// Whose limit it is.
    kind: &'static str,
}

impl Limits {
    fn of_upstream(exhausted: &Exhausted) -> Self {
        let kind = match exhausted.by {
            Limited::ByKey => "key",
            Limited::ByOrganization => "organization",
        };
        let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        Self {
            limit: exhausted.limit.unwrap_or_default().into(),
            reset: exhausted.seconds(),
            window: exhausted.window.map_or(1, seconds).max(1),
            kind,
        }
    }

    /// With commas and in this order, as the official client wants it.
    fn header(&self) -> String {
        format!("limit={}, remaining=0, reset={}", self.limit, self.reset)
    }

    /// The fields that some clients want inside `error`, and some beside it.
    fn body(&self, message: &str, own: &Value) -> Value {
        let Self { limit, reset, window, kind } = self;
        let fields = json!({
            "message": message,
            "rate_reset": reset,
            "rate_limit": limit,
            "rate_window": window,
            "rate_limit_type": kind,
        });
        let mut body = fields.clone();
        body["error"] = fields;
        body["closegate"] = own.clone();
        body
    }
}
