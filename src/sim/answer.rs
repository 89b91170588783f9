//! An answer before it is written: status, headers, and a body that may be made while it is sent.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// An answer of the simulator.
pub(super) type Answer = Response<Body>;

/// A body, and how it is sent.
#[derive(Debug)]
pub(super) enum Body {
    /// As it is, with `content-length`.
    Whole(Bytes),
    /// So many bytes of the alphabet; in chunks of a size, or with `content-length`.
    Pattern { length: u64, chunk: Option<usize> },
    /// One chunk a piece, each flushed; then the trailer line.
    Pieces { pieces: Vec<Bytes>, trailer: Option<String> },
    /// So many chunks, each sent when the gate lets one through.
    Gated(u32),
    /// The request's own body, as it comes.
    Echo,
}

/// JSON, as nearly all of Close's answers are.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    let answer = whole(status, value.to_string());
    typed(answer, "application/json")
}

/// A body without a type.
pub(super) fn whole(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::Whole(body.into()));
    *answer.status_mut() = status;
    answer
}

/// `{"error": …}`.
pub(super) fn error(status: StatusCode, text: &str) -> Answer {
    json(status, &json!({ "error": text }))
}

/// An answer with a header more, when the value can be one.
pub(super) fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// An answer of a media type.
pub(super) fn typed(answer: Answer, media_type: &str) -> Answer {
    with(answer, CONTENT_TYPE, media_type)
}

/// Adds what Close sends with every answer (close-api.md 4.4).
pub(super) fn dress(headers: &mut HeaderMap, trace: &str) {
    for (name, value) in USUAL {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value) in [(DATE, date.as_str()), (HeaderName::from_static("trace-id"), trace)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
}

/// The alphabet from an offset on: what a body of a pattern consists of.
pub(super) fn pattern(offset: u64, length: usize) -> Bytes {
    let start = (offset % 26) as u8;
    (0..length).map(|at| b'a' + (start + (at % 26) as u8) % 26).collect()
}

const USUAL: [(&str, &str); 9] = [
    ("vary", "Accept, Accept-Encoding"),
    ("x-frame-options", "DENY"),
    ("x-xss-protection", "1; mode=block"),
    ("x-content-type-options", "nosniff"),
    ("strict-transport-security", "max-age=31556926; includeSubDomains"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("set-cookie", "session=; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=0; Path=/"),
    ("x-envoy-upstream-service-time", "4"),
    ("server", "envoy"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_goes_on_where_it_stopped() {
        assert_eq!(pattern(0, 28).as_ref(), b"abcdefghijklmnopqrstuvwxyzab");
        let parts = [pattern(0, 20), pattern(20, 20)].concat();
        assert_eq!(parts, pattern(0, 40));
    }

    #[test]
    fn every_answer_looks_like_closes() {
        let mut answer = error(StatusCode::UNAUTHORIZED, "Unauthorized");
        dress(answer.headers_mut(), "0123");
        let headers = answer.headers();
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["server"], "envoy");
        assert!(headers["date"].to_str().unwrap().ends_with(" GMT"));
        assert!(headers.contains_key("set-cookie") && headers.contains_key("strict-transport-security"));
    }
}
