//! Requests out: a bounded pool a worker, nothing ever followed, each connection for one credential only.
//!
//! [`Pool`] is a [`tower::Service`], so that tests and benches can put a `service_fn` in its place. A connection serves
//! one slot only, and a slot is one credential at one origin (security.md 26).
//!
//! HTTP/1.1 towards the upstream is spoken here (`http1`): the parser is `httparse`, the rest is writing a head and
//! following lengths and chunks, inside the task of the request that needs it. There is no hand-over between tasks, a
//! request that was not taken is still there to be sent again, and what is ambiguous in an answer is refused where a
//! general client would guess. An idle connection costs nothing until it is taken again, when it is polled once to see
//! whether it still lives (security.md 32).
//!
//! HTTP/2 (`http2`) is the `h2` crate, without a client above it: that crate alone knows whether a request that failed
//! was processed, and a stream that was reset is never taken for one that ended. `lane` says when which is used.

mod body;
mod exchange;
mod fault;
mod http1;
mod http2;
mod lane;
mod opening;
mod pool;
mod seat;
mod unprocessed;

#[cfg(test)]
mod tests;

use std::error::Error;

use bytes::Bytes;
use http::{Method, Request};
use hyper::body::Body;

pub use body::AnswerBody;
pub use exchange::Exchange;
pub use fault::{BodyFault, Progress, SendError, SendFault};
pub use pool::{Limits, Pool, Shared, Slot};
pub use unprocessed::Unprocessed;

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

/// What a request says about the body behind its head (RFC 9110 8.6).
enum Announced {
    /// There is none, and none is expected.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// It ends where it ends.
    Unknown,
}

impl Announced {
    fn of<B: Upload>(method: &Method, body: &B) -> Self {
        let expected = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
        match if body.is_end_stream() { Some(0) } else { body.size_hint().exact() } {
            Some(0) if !expected => Self::Nothing,
            Some(length) => Self::Length(length),
            None => Self::Unknown,
        }
    }
}

/// What a request's head has promised and its body has yet to keep.
#[derive(Debug, Clone, Copy)]
struct Owed(Option<u64>);

/// A body is longer or shorter than its head says.
#[derive(Debug)]
struct Broken;

impl Owed {
    fn of(announced: &Announced) -> Self {
        match announced {
            Announced::Nothing => Self(Some(0)),
            Announced::Length(length) => Self(Some(*length)),
            Announced::Unknown => Self(None),
        }
    }

    /// So many bytes more go out.
    fn keep(&mut self, bytes: usize) -> Result<(), Broken> {
        match &mut self.0 {
            None => Ok(()),
            Some(left) => left.checked_sub(bytes as u64).map(|rest| *left = rest).ok_or(Broken),
        }
    }

    /// That was all.
    fn end(self) -> Result<(), Broken> {
        if self.0.unwrap_or_default() == 0 { Ok(()) } else { Err(Broken) }
    }
}

/// The header lines of an answer that are read; Close sends about fifteen.
const MAX_FIELDS: usize = 128;
/// Most bytes before the end of an answer's head, interim answers among them (security.md 36).
const MAX_HEAD: u32 = 64 * 1024;
