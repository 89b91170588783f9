//! A request's body as it arrives, whichever version of HTTP carries it, with the time that it may take.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::line::{BodyFault, Line};
use crate::clock::Deadline;

/// A request's body; it never ends cleanly when it was cut.
pub struct RequestBody {
    incoming: Incoming,
    watch: Watch,
}

/// Who notices that a body breaks its framing, or does not come.
enum Watch {
    /// Nobody needs to: there is no body.
    Nothing,
    /// The guard of an HTTP/1 connection, which says so on the line.
    Guard { line: Rc<Line>, number: u64 },
    /// The codec of HTTP/2; the time is kept here.
    Time { deadline: Deadline, timeout: Duration, waiting: bool },
}

/// Why a request's body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyFault {
    /// Its bytes broke their framing, or did not come.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The client left.
    #[error("the client left inside the request's body")]
    Gone,
}

impl RequestBody {
    /// The body of message `number` of an HTTP/1 connection.
    pub(super) fn guarded(incoming: Incoming, line: &Rc<Line>, number: u64) -> Self {
        let watch = if incoming.is_end_stream() { Watch::Nothing } else { Watch::Guard { line: line.clone(), number } };
        Self { incoming, watch }
    }

    /// The body of an HTTP/2 stream, with the longest time between two pieces of it.
    pub(super) fn of_stream(incoming: Incoming, deadline: impl FnOnce() -> Deadline, timeout: Duration) -> Self {
        let watch = if incoming.is_end_stream() {
            Watch::Nothing
        } else {
            Watch::Time { deadline: deadline(), timeout, waiting: false }
        };
        Self { incoming, watch }
    }
}

impl Watch {
    /// A piece came.
    fn progress(&mut self) {
        if let Self::Time { waiting, .. } = self {
            *waiting = false;
        }
    }

    /// No piece is there: why none will come, once that is known.
    fn poll_fault(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        match self {
            Self::Nothing => Poll::Pending,
            Self::Guard { line, number } => line.fault_of(*number, cx).map_or(Poll::Pending, Poll::Ready),
            Self::Time { deadline, timeout, waiting } => {
                if !std::mem::replace(waiting, true) {
                    deadline.set(*timeout);
                }
                deadline.poll_passed(cx).map(|()| BodyFault::Timeout)
            }
        }
    }

    fn known_fault(&self) -> Option<BodyFault> {
        match self {
            Self::Guard { line, number } => line.known_fault_of(*number),
            Self::Nothing | Self::Time { .. } => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFault>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Pending => this.watch.poll_fault(cx).map(|fault| Some(Err(fault.into()))),
            Poll::Ready(Some(Err(_))) => {
                let known = this.watch.known_fault();
                Poll::Ready(Some(Err(known.map_or(RequestBodyFault::Gone, RequestBodyFault::Body))))
            }
            Poll::Ready(frame) => {
                this.watch.progress();
                Poll::Ready(frame.map(|frame| frame.map_err(|_| RequestBodyFault::Gone)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
