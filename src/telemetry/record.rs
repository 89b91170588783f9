//! What is told of one request when it has ended: the only thing that reaches metrics and the access record.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

use super::names::Label;
use crate::id::RequestId;

/// Who gave the answer: `origin` of the access record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// Nobody: the client left before there was one.
    Client,
    /// The gateway itself.
    Gateway,
    /// The upstream.
    Upstream,
}

/// Who asked: `client_addr` of the access record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Somebody at an address.
    Address(IpAddr),
    /// A process of this machine on a Unix socket, and its user where the system says so: `unix:1000`.
    Unix(Option<u32>),
}

impl Answerer {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }
}

/// Why a request was sent upstream again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// A connection that had served before was closed before an answer.
    Closed,
    /// The upstream refused the stream before it acted on it.
    Refused,
    /// The upstream's rate limit was exhausted.
    RateLimited,
    /// The access token was refused, and another one asked for.
    Renewed,
}

impl Retry {
    const ALL: [Self; 4] = [Self::Closed, Self::Refused, Self::RateLimited, Self::Renewed];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::Renewed => "renewed",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Why a request was sent again: once for each reason at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retries(u8);

impl Retries {
    /// Adds a reason; whether it was there before stays to be asked.
    pub fn add(&mut self, retry: Retry) {
        self.0 |= retry.bit();
    }

    /// Whether it was sent again for this reason.
    pub fn contains(self, retry: Retry) -> bool {
        self.0 & retry.bit() != 0
    }

    /// The reasons.
    pub fn iter(self) -> impl Iterator<Item = Retry> {
        Retry::ALL.into_iter().filter(move |retry| self.contains(*retry))
    }
}

/// One request, ended.
#[derive(Debug)]
pub struct Record {
    /// When its first byte was seen.
    pub started: Instant,
    /// The route on which it counts as in flight.
    pub began: Option<Label>,
    /// Its id.
    pub request_id: RequestId,
    /// Where it came from.
    pub client: Client,
    /// The gateway key, by name.
    pub key: Label,
    /// The route.
    pub route: Label,
    /// The credential.
    pub credential: Label,
    /// The method, when there was one.
    pub method: Option<Method>,
    /// The target, of which only the path is ever written.
    pub target: Option<PathAndQuery>,
    /// The operation of the catalogue.
    pub endpoint: Option<&'static str>,
    /// The scope that it took.
    pub scope: Option<&'static str>,
    /// The status sent to the client; 499 when the client left.
    pub status: u16,
    /// The gateway's own error code; also why an answer of the upstream ended early.
    pub code: Option<&'static str>,
    /// Who gave the answer.
    pub origin: Answerer,
    /// How often it was sent upstream.
    pub attempts: u8,
    /// How long it was held back for the upstream's rate limit.
    pub paced: Duration,
    /// From sending it upstream to the first byte of the answer.
    pub upstream_first_byte: Option<Duration>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// `User-Agent` as it came.
    pub user_agent: Option<HeaderValue>,
    /// `traceparent` as it came; only a valid trace id is written.
    pub traceparent: Option<HeaderValue>,
    /// The upstream's own id of the exchange.
    pub upstream_trace_id: Option<HeaderValue>,
    /// Why it was sent again, if it was.
    pub retries: Retries,
    /// Secrets that were overwritten in the answer.
    pub redactions: u32,
    /// Whether the answer ended early.
    pub truncated: bool,
}

/// A method as a label: a place in `METHODS`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct MethodLabel(u8);

impl MethodLabel {
    /// The label of a method, also of one that could not be read.
    pub(super) fn of(method: Option<&Method>) -> Self {
        Self(match method {
            Some(&Method::GET) => 0,
            Some(&Method::POST) => 1,
            Some(&Method::PUT) => 2,
            Some(&Method::DELETE) => 3,
            Some(&Method::HEAD) => 4,
            Some(&Method::PATCH) => 5,
            Some(&Method::OPTIONS) => 6,
            Some(&Method::TRACE) => 7,
            Some(&Method::CONNECT) => 8,
            Some(_) | None => 9,
        })
    }

    pub(super) fn as_str(self) -> &'static str {
        METHODS[usize::from(self.0)]
    }
}

/// The methods that have a name of their own in metrics and records, and the name of all others.
const METHODS: [&str; 10] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "TRACE", "CONNECT", "_OTHER"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_invent_a_method_label() {
        for odd in ["cgk_0123456789abcdef", "get"] {
            let odd = Method::from_bytes(odd.as_bytes()).unwrap();
            assert_eq!(MethodLabel::of(Some(&odd)).as_str(), "_OTHER");
        }
        assert_eq!(MethodLabel::of(None).as_str(), "_OTHER");
        for name in &METHODS[..9] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(MethodLabel::of(Some(&method)).as_str(), *name);
        }
    }
}
