//! Errors become responses here and nowhere else (contract.md 4).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use super::error::{Allowance, ProxyError};
use crate::id::RequestId;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("closegate-request-id");
const ERROR: HeaderName = HeaderName::from_static("closegate-error");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

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
    if let Some(value) = error.allowance().and_then(|allowance| rate_limit(&allowance)) {
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
    let mut body = serde_json::json!({
        "error": error.to_string(),
        "closegate": { "code": code, "hint": hint, "request_id": request_id.as_str() },
    });
    if let Some(Allowance { limit, window, reset, of }) = error.allowance() {
        // Close's clients look for these, some in the one place and some in the other, and fail without (close-api.md 6.2).
        body["error"] = serde_json::json!({
            "message": error.to_string(),
            "rate_reset": reset,
            "rate_limit": limit,
            "rate_window": window,
            "rate_limit_type": of,
        });
        body["rate_reset"] = reset.into();
    }
    Bytes::from(body.to_string())
}

/// As Close documents it, with whole seconds: its own client reads no others (close-api.md 6.2).
fn rate_limit(allowance: &Allowance) -> Option<HeaderValue> {
    let Allowance { limit, reset, .. } = allowance;
    HeaderValue::from_str(&format!("limit={limit}, remaining=0, reset={reset}")).ok()
}
