//! A request's body as it arrives, whichever version of HTTP carries it, with the time that it may take.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::line::{BodyFault, Line};
use crate::clock::Deadline;

/// A request's body; it never ends cleanly when it was cut.
pub struct RequestBody {
    incoming: Incoming,
    watch: Watch,
    /// The last piece of what a stream announced, until the stream ends: only then was it not too much.
    held: Option<Bytes>,
    /// What was read ahead and is still to be given.
    ahead: Bytes,
    /// Whether the end was seen when it was read ahead.
    over: bool,
}

/// What there is of a body that was read ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ahead {
    /// All of it.
    Whole(Bytes),
    /// More than was asked for.
    More,
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
        Self::watched(incoming, watch)
    }

    /// The body of an HTTP/2 stream, with the longest time between two pieces of it.
    pub(super) fn of_stream(incoming: Incoming, deadline: impl FnOnce() -> Deadline, timeout: Duration) -> Self {
        let watch = if incoming.is_end_stream() {
            Watch::Nothing
        } else {
            Watch::Time { deadline: deadline(), timeout, waiting: false }
        };
        Self::watched(incoming, watch)
    }

    fn watched(incoming: Incoming, watch: Watch) -> Self {
        Self { incoming, watch, held: None, ahead: Bytes::new(), over: false }
    }

    /// Reads the body until its end, or until there are more than so many bytes. Whoever reads it later is given the same
    /// bytes, and the rest behind them; trailers are lost.
    pub async fn read_ahead(&mut self, most: usize) -> Result<Ahead, RequestBodyFault> {
        let mut read = BytesMut::from(std::mem::take(&mut self.ahead));
        while !self.over && read.len() <= most {
            match poll_fn(|cx| self.poll_next(cx)).await.transpose()? {
                Some(frame) => read.extend(frame.into_data()),
                None => self.over = true,
            }
        }
        self.ahead = read.freeze();
        let whole = self.over && self.ahead.len() <= most;
        Ok(if whole { Ahead::Whole(self.ahead.clone()) } else { Ahead::More })
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFault>>> {
        loop {
            let frame = match ready!(self.poll_incoming(cx)) {
                Some(Ok(frame)) => frame,
                // The codec takes a reset without an error for an end: it is none of a request.
                None if self.is_cut() => return Poll::Ready(Some(Err(RequestBodyFault::Gone))),
                None if self.held.is_some() => return Poll::Ready(self.held.take().map(Frame::data).map(Ok)),
                ended => {
                    self.held = None;
                    return Poll::Ready(ended);
                }
            };
            match frame.into_data() {
                Ok(data) if self.is_last_of_open_stream() => self.hold(data),
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(trailers) if self.held.is_none() => return Poll::Ready(Some(Ok(trailers))),
                // They end the stream; nobody misses them.
                Err(_) => {}
            }
        }
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
        if !this.ahead.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.ahead)))));
        }
        if this.over { Poll::Ready(None) } else { this.poll_next(cx) }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && (self.over || (self.held.is_none() && self.incoming.is_end_stream()))
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.len() as u64;
        if self.over {
            return SizeHint::with_exact(ahead);
        }
        // What announces no body and does not end either is as long as it turns out to be.
        let rest = if self.is_last_of_open_stream() { SizeHint::default() } else { self.incoming.size_hint() };
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(ahead + rest),
            None => SizeHint::default(),
        }
    }
}

impl RequestBody {
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBodyFault>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending => self.watch.poll_fault(cx).map(|fault| Some(Err(fault.into()))),
            Poll::Ready(Some(Err(_))) => {
                let known = self.watch.known_fault();
                Poll::Ready(Some(Err(known.map_or(RequestBodyFault::Gone, RequestBodyFault::Body))))
            }
            Poll::Ready(frame) => {
                self.watch.progress();
                Poll::Ready(frame.map(|frame| frame.map_err(|_| RequestBodyFault::Gone)))
            }
        }
    }

    /// Whether a stream goes on beyond all that it announced: with its end alone, or with a fault (RFC 9113 8.1.1).
    fn is_last_of_open_stream(&self) -> bool {
        matches!(self.watch, Watch::Time { .. })
            && self.incoming.size_hint().exact() == Some(0)
            && !self.incoming.is_end_stream()
    }

    /// Whether a stream that is over did not end as the request's end.
    fn is_cut(&self) -> bool {
        matches!(self.watch, Watch::Time { .. }) && !self.incoming.is_end_stream()
    }

    fn hold(&mut self, data: Bytes) {
        // An empty piece may follow; more than was announced never comes here.
        if !data.is_empty() {
            self.held = Some(data);
        }
    }
}
