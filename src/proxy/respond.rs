//! Errors become responses here and nowhere else (contract.md 4).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use super::error::ProxyError;
use crate::id::RequestId;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("closegate-request-id");
const ERROR: HeaderName = HeaderName::from_static("closegate-error");
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
    if telling.status == 503 {
        headers.insert(RETRY_AFTER, HeaderValue::from(error.retry_after()));
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
    let body = serde_json::json!({
        "error": error.to_string(),
        "closegate": { "code": code, "hint": hint, "request_id": request_id.as_str() },
    });
    Bytes::from(body.to_string())
}
