//! What goes wrong between the gateway and the upstream, and how little of it a client may notice (security.md 4).

mod answers;
mod leaving;
mod pressure;
mod reuse;
mod timeouts;

use crate::raw::{Answer, Raw};
use crate::world::{KEY, World};

/// An answer that ends where it says.
pub(crate) const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// The head of a request with [`KEY`] and further lines (each with its CRLF).
pub(crate) fn head(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{lines}\r\n")
}

pub(crate) fn get() -> String {
    head("GET", "/sales/api/v1/me/", "")
}

fn post(body: &str) -> String {
    head("POST", "/sales/api/v1/lead/", &format!("Content-Length: {}\r\n", body.len())) + body
}

/// An error of the gateway's own: status, code and the shape of its body.
pub(crate) fn assert_error(answer: &Answer, status: u16, code: &str, context: &str) {
    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{context}: {}", answer.text());
    let body = answer.json();
    assert_eq!(body["closegate"]["code"], code, "{context}");
    assert!(body["error"].is_string() && body["closegate"]["hint"].is_string(), "{context}");
    assert_eq!(body["closegate"]["request_id"], answer.header("closegate-request-id").unwrap(), "{context}");
    let status_line = answer.header("proxy-status").unwrap();
    assert!(status_line.starts_with("closegate; error=") && status_line.contains(code), "{context}: {status_line}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{context}");
    let retry_after: Option<u64> = answer.header("retry-after").map(|value| value.parse().unwrap());
    assert_eq!(retry_after.is_some_and(|seconds| seconds >= 1), status == 503, "{context}");
}

/// Sends on a connection and reads the answer.
pub(crate) fn exchange(client: &mut Raw, request: &str) -> Answer {
    assert!(client.send(request));
    client.answer()
}

/// The record of the request that ended last, once so many have.
pub(crate) fn record(world: &World, count: usize) -> serde_json::Value {
    let records = world.records.wait_for(count);
    assert_eq!(records.len(), count, "{records:#?}");
    records.last().unwrap().clone()
}
