//! Why an exchange failed, and how far it had come: whether it may be tried again hangs on that.

use std::io;
use std::sync::Arc;

use http::Request;
use rustls::AlertDescription;

use crate::chunked::ChunkFault;
use crate::net::{ConnectError, Offer};

/// Why a request has no answer.
#[derive(Debug)]
pub struct SendError<B> {
    /// What went wrong.
    pub fault: SendFault,
    /// Whether the connection was there before the request.
    pub reused: bool,
    /// How far the exchange had come.
    pub progress: Progress,
    /// The request, with its body when nothing of that was taken: it can be sent again where that is safe.
    pub request: Box<Request<Option<B>>>,
}

/// How far an exchange had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// No byte of the request was written, or the upstream said that it has not acted on it.
    Nothing,
    /// Bytes of the request were written, none of an answer came.
    Written,
    /// Bytes of an answer came.
    Answered,
}

/// What went wrong in an exchange.
#[derive(Debug, thiserror::Error)]
pub enum SendFault {
    /// There is no connection.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
    /// `upstream.max_connections` are open.
    #[error("all connections to upstreams are in use")]
    Exhausted,
    /// The upstream closed the connection, or the stream, before an answer.
    #[error("the upstream closed the connection before an answer")]
    Closed(#[source] Option<io::Error>),
    /// The upstream said that it has not acted on the request (RFC 9113 8.7).
    #[error("the upstream refused the request before it acted on it")]
    Refused,
    /// The upstream's answer is not HTTP, or not unambiguous HTTP.
    #[error("the upstream's answer is malformed")]
    Malformed,
    /// No answer within `upstream.response_timeout`.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The request's body ended in an error; the upstream has not seen its end.
    #[error("the request's body was cut off")]
    Upload,
}

/// Why an answer's body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// The connection failed inside the body.
    #[error("the upstream's answer was cut off")]
    Cut(#[source] io::Error),
    /// The chunks of the body are none.
    #[error("the upstream's answer broke its framing: {}", .0.0)]
    Framing(ChunkFault),
    /// The stream of the body broke the rules of HTTP/2: lengths that disagree, among others.
    #[error("the upstream's answer broke the rules of HTTP/2")]
    Malformed,
    /// The connection ended inside the body.
    #[error("the connection to the upstream ended inside the answer")]
    Ended,
    /// Nothing came for `upstream.body_timeout`.
    #[error("the upstream stopped in the middle of its answer")]
    Timeout,
}

impl SendFault {
    /// The same for another who waited for the same connection.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Connect(error) => Self::Connect(error.clone()),
            Self::Exhausted => Self::Exhausted,
            Self::Closed(error) => Self::Closed(error.as_ref().map(|error| error.kind().into())),
            Self::Refused => Self::Refused,
            Self::Malformed => Self::Malformed,
            Self::Timeout => Self::Timeout,
            Self::Upload => Self::Upload,
        }
    }

    /// The upstream speaks TLS, but not the HTTP/2 that it must.
    pub(super) fn no_http2() -> Self {
        let why = "the upstream does not agree to HTTP/2, and `upstream.http` is \"h2\"";
        ConnectError::Tls(io::Error::new(io::ErrorKind::Unsupported, why)).into()
    }

    /// The same, said plainly where HTTP/2 was all that was offered.
    pub(super) fn told_for(self, offer: Offer) -> Self {
        if offer == Offer::Http2 && self.refuses_protocol() { Self::no_http2() } else { self }
    }

    /// Whether the handshake failed because the upstream speaks nothing that was offered (RFC 7301 3.2).
    pub(super) fn refuses_protocol(&self) -> bool {
        let Self::Connect(error) = self else { return false };
        let ConnectError::Tls(error) = &**error else { return false };
        let alert = error.get_ref().and_then(|error| error.downcast_ref());
        matches!(alert, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
    }
}

impl From<ConnectError> for SendFault {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Arc::new(error))
    }
}
