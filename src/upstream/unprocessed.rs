//! Answers that say that a request was not processed: with them goes the request's head, so that it can be sent again.
//!
//! A 429 was turned away before it was looked at (close-api.md 3.4), a 401 before anything was done for it (RFC 9110
//! 15.5.2). Whether it is sent again is decided elsewhere; a head costs nothing to give back, and much to keep aside.

use http::request::Parts;
use http::{Request, Response, StatusCode};

/// The head of a request that was not processed: an extension of the answer that says so.
#[derive(Clone)]
pub struct Unprocessed(pub Parts);

impl Unprocessed {
    /// Whether an answer of this status says so.
    pub fn is_told_by(status: StatusCode) -> bool {
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS)
    }

    /// Gives the head back with an answer that says so.
    pub(super) fn give_back<B>(request: Request<()>, mut answer: Response<B>) -> Response<B> {
        if Self::is_told_by(answer.status()) {
            answer.extensions_mut().insert(Self(request.into_parts().0));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_processed_comes_back() {
        for (status, comes_back) in [(401, true), (429, true), (200, false), (403, false), (408, false), (503, false)] {
            let request = Request::builder().uri("/a?b").header("x-tz-offset", "-4").body(()).unwrap();
            let answer = Unprocessed::give_back(request, Response::builder().status(status).body(()).unwrap());
            let head = answer.extensions().get::<Unprocessed>();
            assert_eq!(head.is_some(), comes_back, "{status}");
            assert!(head.is_none_or(|head| head.0.uri == "/a?b" && head.0.headers["x-tz-offset"] == "-4"));
        }
    }
}
