//! HTTP/2 towards the upstream (RFC 9113): many exchanges at once on a connection that a task of its own drives.
//!
//! What a task writes waits until the driver's next turn, and goes out with what all others wrote; what came in is
//! handed out the same way. The driver always reads before it writes: a connection that turns out to be closed has then
//! written nothing of the requests that found it closed, and they may all be sent again.

mod body;
mod exchange;
mod request;
mod trunk;
mod wire;

pub(super) use body::Reading;
pub(super) use exchange::Waiting;
pub(super) use trunk::{Claim, Trunk};

use std::io;

/// What an error says, without the words of the peer: they may hold anything, also what was sent to it.
fn cause(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(reason) => io::Error::other(reason.description()),
        None => error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into()),
    }
}
