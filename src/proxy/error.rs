//! Everything the gateway itself answers with: one code each, whose fault it was, what people and clients are told.

use crate::catalogue::Demand;
use crate::edge::{BodyFault, WireFault};
use crate::keys::{Exceeded, Limit};
use crate::net::{ConnectError, TunnelFault};
use crate::pace::Exhausted;
use crate::path::PathFault;
use crate::upstream::SendFault;
use crate::vault::Unavailable;

/// Why a request has no answer of the upstream (contract.md 4, "Errors made by the gateway").
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The bytes were refused before they became a request.
    #[error(transparent)]
    Wire(#[from] WireFault),
    /// The body's bytes broke their framing, or did not come.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The request is well-formed HTTP but not one that may be forwarded.
    #[error("{0}")]
    Malformed(&'static str),
    /// A gateway key stands in the path or query.
    #[error("a key in the path or query would end in logs")]
    KeyInTarget,
    /// The path is not canonical.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// More than one key was presented.
    #[error("two keys were presented")]
    KeyAmbiguous,
    /// A key is needed and none was presented.
    #[error("a gateway key is needed")]
    KeyMissing,
    /// The key presented is unknown, expired or revoked.
    #[error("the gateway key is not valid")]
    KeyInvalid,
    /// The key lacks the scope that the request takes.
    #[error("the key lacks the scope `{}`", demand.as_str())]
    ScopeMissing {
        /// What it takes.
        demand: Demand,
    },
    /// The key has asked as much as it may.
    #[error("{}", exceeded(.0))]
    KeyLimited(Exceeded),
    /// A rule refuses the method on the path.
    #[error("this method and path are not permitted")]
    PathDenied,
    /// A web page of another origin sent the request.
    #[error("requests of other origins are refused")]
    OriginRefused,
    /// The path leads to endpoints that hand out secrets.
    #[error("endpoints that hold secrets are never forwarded")]
    SecretsEndpoint,
    /// No route that the caller may use matches.
    #[error("no route matches this path")]
    NoRoute,
    /// TRACE.
    #[error("this method is not served")]
    MethodRefused,
    /// The body is longer than `listen.max_body`.
    #[error("the request's body is too large")]
    BodyTooLarge,
    /// The host is not one of the gateway's.
    #[error("this host name is not served here")]
    HostRefused {
        /// The name asked for, when it is one that a `hosts` line may hold.
        asked: Option<String>,
    },
    /// The credential cannot be used.
    #[error("the credential is not available: {reason}")]
    CredentialUnavailable {
        /// Why.
        reason: &'static str,
        /// Seconds until it is worth trying again.
        retry_after: u64,
    },
    /// The upstream's rate limit is exhausted, and the wait would be longer than `pace.max_wait`.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The exchange with the upstream failed.
    #[error(transparent)]
    Send(#[from] SendFault),
    /// A trusted proxy asks for more of one client than `listen.max_connections_per_peer` at once.
    #[error("too many requests of one client are in flight")]
    Crowded,
    /// The upstream's answer is in a content coding that cannot be undone, and may hide the secret.
    #[error("the upstream's answer is in a content coding that is not known here, or is a part of a coded one")]
    ContentCoding,
    /// The client left before an answer.
    #[error("the client left")]
    ClientLeft,
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    Draining,
    /// A fault of the gateway's own.
    #[error("the gateway failed")]
    Internal,
}

/// How an error is told.
pub(super) struct Telling {
    /// HTTP status.
    pub(super) status: u16,
    /// The stable code.
    pub(super) code: &'static str,
    /// The registered type of RFC 9209 2.3.
    pub(super) proxy_status: &'static str,
    /// What to do about it.
    pub(super) hint: &'static str,
}

impl From<Unavailable> for ProxyError {
    fn from(Unavailable { reason, retry_after }: Unavailable) -> Self {
        Self::CredentialUnavailable { reason, retry_after }
    }
}

impl ProxyError {
    /// Seconds after which a retry makes sense, for 429 and 503.
    pub(super) fn retry_after(&self) -> u64 {
        match self {
            Self::KeyLimited(exceeded) => exceeded.retry_after.max(1),
            Self::CredentialUnavailable { retry_after, .. } => (*retry_after).max(1),
            Self::Exhausted(exhausted) => exhausted.seconds(),
            _ => 1,
        }
    }

    /// Whether where the next request begins is in doubt.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Wire(_) | Self::Body(_) | Self::BodyTooLarge | Self::ClientLeft | Self::Draining)
    }

    pub(super) fn telling(&self) -> Telling {
        match self {
            Self::Wire(fault) => tell_wire(*fault),
            Self::Body(BodyFault::Malformed(_)) | Self::Malformed(_) => MALFORMED,
            Self::KeyInTarget => tell(
                400,
                "request_malformed",
                "http_request_error",
                "send the key in a header; this one may stand in a log by now: have it revoked",
            ),
            Self::Body(BodyFault::Timeout) => TIMED_OUT,
            Self::Path(_) => tell(
                400,
                "path_not_canonical",
                DENIED,
                "send the path in its plain form: no dot segments, no encoded slashes, no encoded letters",
            ),
            Self::KeyAmbiguous => {
                tell(400, "key_ambiguous", DENIED, "send one `Authorization` line, or one `Closegate-Key` line")
            }
            Self::KeyMissing => tell(
                401,
                "key_missing",
                DENIED,
                "send a gateway key as the user name of Basic, as a Bearer token or as `Closegate-Key`; whoever runs this gateway makes one with `closegate key create`",
            ),
            Self::KeyInvalid => tell(
                401,
                "key_invalid",
                DENIED,
                "the key is unknown, expired or revoked: ask whoever runs this gateway for a new one",
            ),
            Self::ScopeMissing { .. } => tell(
                403,
                "scope_missing",
                DENIED,
                "ask whoever runs this gateway for a key with this scope; `closegate endpoints` lists what takes which",
            ),
            Self::KeyLimited(exceeded) => tell_limit(exceeded.limit),
            Self::PathDenied => {
                tell(403, "path_denied", DENIED, "the rules of the key or of the route refuse this method and path")
            }
            Self::OriginRefused => {
                tell(403, "origin_refused", DENIED, "a web page may not call the gateway; call it from a program")
            }
            Self::SecretsEndpoint => tell(
                403,
                "secrets_endpoint",
                DENIED,
                "OAuth and API key endpoints are for Close's own pages; the gateway holds the credential so that tools need none",
            ),
            Self::NoRoute => tell(
                404,
                "no_route",
                "destination_not_found",
                "begin the path with the prefix of a route that this key may use",
            ),
            Self::MethodRefused => tell(405, "method_refused", DENIED, "TRACE and CONNECT are not served"),
            Self::BodyTooLarge => tell(413, "body_too_large", DENIED, "send less, or raise listen.max_body"),
            Self::HostRefused { .. } => tell(421, "host_refused", DENIED, "call the gateway by one of its own names"),
            Self::CredentialUnavailable { .. } => tell(
                503,
                "credential_unavailable",
                "proxy_configuration_error",
                "the credential behind this route cannot be used now; whoever runs the gateway sees why on /readyz",
            ),
            Self::Exhausted(_) => tell(
                429,
                "upstream_rate_limited",
                "http_request_denied",
                "all callers of this credential share Close's limit for this group of endpoints: wait as long as `Retry-After` says, or ask whoever runs the gateway to raise pace.max_wait",
            ),
            Self::Send(fault) => tell_send(fault),
            Self::ContentCoding => tell(
                502,
                "upstream_invalid",
                "http_response_content_coding",
                "ask for no other codings than gzip, deflate, br and zstd in `Accept-Encoding`; a secret could hide in any other",
            ),
            // It may have ended its own side only, and read on.
            Self::ClientLeft => MALFORMED,
            Self::Crowded => tell(
                503,
                "overloaded",
                "connection_limit_reached",
                "too many requests of this client are in flight; try again",
            ),
            Self::Draining => tell(
                503,
                "draining",
                "destination_unavailable",
                "try again: another instance, or this one after its restart, will answer",
            ),
            Self::Internal => {
                tell(500, "internal", "proxy_internal_error", "this is a fault of the gateway; its log says where")
            }
        }
    }
}

const DENIED: &str = "http_request_denied";
const MALFORMED: Telling = tell(
    400,
    "request_malformed",
    "http_request_error",
    "send a plain HTTP/1.1 request; this one leaves doubt about its meaning",
);
const TIMED_OUT: Telling = tell(408, "request_timeout", "http_request_error", "send the request without long pauses");

const fn tell(status: u16, code: &'static str, proxy_status: &'static str, hint: &'static str) -> Telling {
    Telling { status, code, proxy_status, hint }
}

const fn tell_limit(limit: Limit) -> Telling {
    match limit {
        Limit::Rate => tell(429, "key_rate_limited", DENIED, "ask less often: the limit is the `rate` of the key"),
        Limit::Concurrency => tell(
            429,
            "key_concurrency_limited",
            DENIED,
            "wait for the answers to earlier requests: the limit is the `concurrency` of the key",
        ),
        Limit::Daily => {
            tell(429, "key_quota_exhausted", DENIED, "the `daily_quota` of the key begins anew at 00:00 UTC")
        }
    }
}

fn exceeded(exceeded: &Exceeded) -> String {
    let Exceeded { limit, most, window, .. } = exceeded;
    match limit {
        Limit::Rate => format!("the key has asked more often than {most} times in {window} s"),
        Limit::Concurrency => format!("the key has {most} requests in flight, as many as it may"),
        Limit::Daily => format!("the key has made the {most} requests that it may make in a day"),
    }
}

fn tell_wire(fault: WireFault) -> Telling {
    match fault {
        WireFault::Malformed(_) => MALFORMED,
        WireFault::Method => ProxyError::MethodRefused.telling(),
        WireFault::UriTooLong => tell(
            414,
            "uri_too_long",
            DENIED,
            "send long filters in a body: POST /api/v1/data/search/, or X-HTTP-Method-Override",
        ),
        WireFault::HeadTooLarge => tell(431, "headers_too_large", DENIED, "send fewer or shorter headers"),
        WireFault::HeadTimeout => TIMED_OUT,
    }
}

fn tell_send(fault: &SendFault) -> Telling {
    const CLOSED: &str = "the upstream ended the connection; whether it acted on the request is not known";
    match fault {
        SendFault::Connect(error) => tell_connect(error),
        SendFault::Exhausted => {
            tell(503, "overloaded", "connection_limit_reached", "too many requests are in flight; try again")
        }
        SendFault::Closed(_) => tell(502, "upstream_closed", "connection_terminated", CLOSED),
        SendFault::Refused => tell(
            502,
            "upstream_closed",
            "connection_terminated",
            "the upstream refused the request twice and did not act on it; try again",
        ),
        SendFault::Malformed => tell(
            502,
            "upstream_invalid",
            "http_protocol_error",
            "the upstream's answer was not understood, and was dropped",
        ),
        SendFault::Timeout => tell(
            504,
            "upstream_timeout",
            "http_response_timeout",
            "the upstream did not answer in time; whether it acted on the request is not known",
        ),
        SendFault::Upload => MALFORMED,
    }
}

/// No connection to the upstream; not a byte of the request was sent.
fn tell_connect(error: &ConnectError) -> Telling {
    match error {
        ConnectError::Resolve(_) => unreachable("dns_error"),
        ConnectError::Prohibited(_) => tell(
            503,
            "upstream_unreachable",
            "destination_ip_prohibited",
            "nothing was sent: the upstream's name leads to an address that is not public; the log of the gateway says which setting permits that",
        ),
        ConnectError::Connect(_) => unreachable("connection_refused"),
        ConnectError::Tunnel(fault) => tell_tunnel(fault),
        ConnectError::ConnectTimeout => unreachable("connection_timeout"),
        ConnectError::Tls(_) => tell(
            502,
            "upstream_tls",
            "tls_certificate_error",
            "the upstream's certificate, version of TLS or version of HTTP is not acceptable; nothing was sent",
        ),
        ConnectError::TlsTimeout => tell(504, "upstream_timeout", "connection_timeout", UNREACHED),
    }
}

const fn unreachable(proxy_status: &'static str) -> Telling {
    tell(503, "upstream_unreachable", proxy_status, UNREACHED)
}

/// The proxy before the upstream is the next hop that the types of RFC 9209 2.3 speak of.
const fn tell_tunnel(fault: &TunnelFault) -> Telling {
    match fault {
        TunnelFault::Resolve(_) => unreachable("dns_error"),
        TunnelFault::Connect(_) => unreachable("connection_refused"),
        TunnelFault::Ended(_) => unreachable("connection_terminated"),
        // It asks for a password, and the gateway has none.
        TunnelFault::Refused(407) => unreachable("proxy_configuration_error"),
        TunnelFault::Refused(_) => unreachable("destination_unavailable"),
        TunnelFault::Malformed(_) => unreachable("http_protocol_error"),
    }
}

const UNREACHED: &str = "nothing was sent; try again";
