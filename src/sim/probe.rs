//! Endpoints under `/sim/` that Close does not have: what tests and benches of a gateway need from an upstream.

use bytes::Bytes;
use http::header::{HeaderName, LOCATION};
use http::{Response, StatusCode};
use serde_json::json;

use super::accepted::Accepted;
use super::answer::{self, Answer, Body};
use super::params::{self, Params};
use super::wire::Head;

/// Whether the answer begins before the request's body has ended.
pub(super) fn streams(head: &Head) -> bool {
    head.path().trim_end_matches('/') == "/sim/echo"
}

/// Answers a request for `/sim/{what}`.
pub(super) fn answer(what: &str, head: &Head, caller: &Accepted) -> Answer {
    let segments: Vec<_> = what.trim_end_matches('/').split('/').collect();
    let found = match segments.as_slice() {
        ["echo"] => Some(echo(head)),
        ["headers"] => Some(headers(head)),
        ["bytes", length] => length.parse().ok().map(|length| pattern(length, None)),
        ["chunked", length] => length.parse().ok().map(|length| pattern(length, Some(chunk_size(head)))),
        ["slow", pieces] => pieces.parse().ok().map(|pieces| text(Body::Gated(pieces))),
        ["reflect", place] => reflect(place, caller),
        _ => None,
    };
    found.unwrap_or_else(|| answer::error(StatusCode::NOT_FOUND, "The simulator has no such probe."))
}

fn text(body: Body) -> Answer {
    answer::typed(Response::new(body), "text/plain")
}

fn echo(head: &Head) -> Answer {
    let media_type = head.text("content-type").unwrap_or("application/octet-stream");
    answer::typed(Response::new(Body::Echo), media_type)
}

fn headers(head: &Head) -> Answer {
    let lines: Vec<_> = head.headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))).collect();
    answer::json(StatusCode::OK, &json!({ "method": head.method, "target": head.target, "headers": lines }))
}

fn pattern(length: u64, chunk: Option<usize>) -> Answer {
    text(Body::Pattern { length, chunk })
}

fn chunk_size(head: &Head) -> usize {
    let asked = Params::parse(head.query()).first("chunk").and_then(|size| size.parse().ok());
    asked.unwrap_or(1024_usize).clamp(1, 1 << 20)
}

/// Repeats the caller's secret, as no upstream should.
fn reflect(place: &str, caller: &Accepted) -> Option<Answer> {
    let secret = caller.secret();
    let body = |shown: &str| text(Body::Whole(Bytes::from(format!("before {shown} after"))));
    match place {
        "header" => Some(answer::with(body("nothing"), HeaderName::from_static("x-reflected"), secret)),
        "location" => {
            let place = format!("https://files.example/?token={secret}");
            Some(answer::with(answer::whole(StatusCode::FOUND, ""), LOCATION, &place))
        }
        "body" => Some(body(secret)),
        "json" => Some(answer::json(StatusCode::OK, &json!({ "secret": secret }))),
        "percent" => Some(body(&params::encode(secret))),
        "base64" => Some(body(caller.authorization().split(' ').next_back().unwrap_or_default())),
        "split" => Some(text(Body::Pieces { pieces: halves(secret), trailer: None })),
        "trailer" => {
            let trailer = format!("x-reflected: {secret}");
            Some(text(Body::Pieces { pieces: vec![Bytes::from_static(b"nothing")], trailer: Some(trailer) }))
        }
        _ => None,
    }
}

/// The secret's two halves, each in a piece of its own, amid other text.
fn halves(secret: &str) -> Vec<Bytes> {
    let (first, second) = secret.as_bytes().split_at(secret.len() / 2);
    vec![[b"before ", first].concat().into(), [second, b" after"].concat().into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_reflected_in_each_form() {
        let caller = Accepted::basic("sales", "user", "a \"b\"/c");
        let shown = |place: &str| match reflect(place, &caller).unwrap().into_body() {
            Body::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Body::Pieces { pieces, .. } => String::from_utf8(pieces.concat()).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(shown("body"), "before a \"b\"/c after");
        assert_eq!(shown("split"), shown("body"));
        assert_eq!(shown("json"), r#"{"secret":"a \"b\"/c"}"#);
        assert_eq!(shown("percent"), "before a%20%22b%22%2Fc after");
        assert_eq!(shown("base64"), "before dXNlcjphICJiIi9j after");
        assert_eq!(reflect("header", &caller).unwrap().headers()["x-reflected"], "a \"b\"/c");
        assert!(reflect("nowhere", &caller).is_none());
    }
}
