//! Requests out: a bounded pool a worker, one exchange at a time on a connection, nothing ever followed.
//!
//! [`Pool`] is a [`tower::Service`], so that tests and benches can put a `service_fn` in its place. A connection serves
//! one slot only, and a slot is one credential at one origin (security.md 26). HTTP/1.1 towards the upstream is spoken
//! here: the parser is `httparse`, the rest is writing a head and following lengths and chunks, inside the task of the
//! request that needs it. There is no hand-over between tasks, a request that was not taken is still there to be sent
//! again, and what is ambiguous in an answer is refused where a general client would guess. An idle connection costs
//! nothing until it is taken again, when it is polled once to see whether it still lives (security.md 32).

mod body;
mod exchange;
mod link;
mod pool;
mod request;
mod response;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;

use bytes::Bytes;
use http::Request;
use hyper::body::Body;

pub use body::AnswerBody;
pub use exchange::Exchange;
pub use pool::{Limits, Pool, Shared, Slot};

use crate::chunked::ChunkFault;
use crate::net::ConnectError;

/// The body of a request out.
pub trait Upload: Body<Data = Bytes, Error = Self::Fault> + Unpin + 'static {
    /// Why it may end early.
    type Fault: Into<Box<dyn Error + Send + Sync>>;
}

impl<B> Upload for B
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Fault = B::Error;
}

/// A request on its way out.
pub struct Call<B> {
    /// The request as the upstream shall see it: path and query only, `Host` and `Authorization` set.
    pub request: Request<B>,
    /// Which credential at which origin: the place of its [`Slot`] in the pool.
    pub slot: usize,
    /// Which connections will do.
    pub freshness: Freshness,
}

/// Which connection a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// A pooled one that the reactor does not know to be closed; for requests that may be sent again.
    Pooled,
    /// A pooled one whose socket was looked at just now, or a new one; for requests that must not be sent twice.
    Proven,
    /// A new one.
    New,
}

/// Why a request has no answer.
#[derive(Debug)]
pub struct SendError<B> {
    /// What went wrong.
    pub fault: SendFault,
    /// Whether the connection had served a request before.
    pub reused: bool,
    /// How far the exchange had come.
    pub progress: Progress,
    /// The request, when nothing of its body was taken: it can be sent again where that is safe.
    pub request: Option<Box<Request<B>>>,
}

/// How far an exchange had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// No byte of the request was written.
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
    Connect(#[from] ConnectError),
    /// `upstream.max_connections` are open.
    #[error("all connections to upstreams are in use")]
    Exhausted,
    /// The upstream closed the connection before an answer.
    #[error("the upstream closed the connection before an answer")]
    Closed(#[source] Option<io::Error>),
    /// The upstream's answer is not HTTP/1.1, or not unambiguous HTTP/1.1.
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
    /// The connection ended inside the body.
    #[error("the connection to the upstream ended inside the answer")]
    Ended,
    /// Nothing came for `upstream.body_timeout`.
    #[error("the upstream stopped in the middle of its answer")]
    Timeout,
}
