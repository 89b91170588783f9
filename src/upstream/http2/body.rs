//! The second half of an exchange: DATA as it comes, until the stream ends, and never taken for ended when it was reset.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream};

use super::cause;
use super::request::{Sending, Unsent};
use super::trunk::Claim;
use super::wire::Mark;
use crate::clock::Deadline;
use crate::task;
use crate::upstream::{BodyFault, Upload};

/// An answer's body; dropping it early resets its stream, and nothing else.
pub(in crate::upstream) struct Reading<B: Upload> {
    /// Nothing once the body is over, or its stream failed.
    open: Option<Open<B>>,
    /// How much is to come, if the head said it.
    left: Option<u64>,
    /// The last piece, by the length that the head said: it waits until the stream has ended with it.
    last: Option<Bytes>,
    deadline: Deadline,
    timeout: Duration,
    /// What had passed over the connection when the piece was first waited for.
    waits: Option<Mark>,
}

struct Open<B: Upload> {
    /// Before the stream: what is not sent of the request ends first.
    upload: Option<Beside<B>>,
    stream: RecvStream,
    claim: Claim,
}

/// The request's body, which is still on its way up: a task of its own sends it, so that a client that reads nothing
/// before it has sent everything does not wait for itself. It ends with the answer at the latest.
struct Beside<B: Upload> {
    sending: Rc<RefCell<Sending<B>>>,
    reason: Reason,
    _writer: task::Attached,
}

impl<B: Upload> Reading<B> {
    pub(super) fn new(
        claim: Claim,
        stream: RecvStream,
        upload: Option<Sending<B>>,
        left: Option<u64>,
        deadline: Deadline,
        timeout: Duration,
    ) -> Self {
        deadline.clear();
        let open = Some(Open { upload: upload.map(Beside::begin), stream, claim });
        let mut reading = Self { open, left, last: None, deadline, timeout, waits: None };
        if reading.open.as_ref().is_some_and(|open| open.stream.is_end_stream()) {
            reading.finish();
        } else if left == Some(0) {
            reading.see_off();
        }
        reading
    }

    /// Whether the body is over.
    pub(in crate::upstream) fn is_over(&self) -> bool {
        self.open.is_none() && self.last.is_none()
    }

    /// How much is to come, where that is known.
    pub(in crate::upstream) fn left(&self) -> Option<u64> {
        if self.is_over() {
            Some(0)
        } else {
            self.left.map(|left| left + self.last.as_ref().map_or(0, Bytes::len) as u64)
        }
    }

    /// The next piece; nothing at the end.
    pub(in crate::upstream) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        loop {
            let Some(open) = &mut self.open else { return Poll::Ready(self.last.take().map(Ok)) };
            let Poll::Ready(data) = open.stream.poll_data(cx) else { return self.wait(cx) };
            match data {
                Some(Ok(data)) => {
                    self.waits = None;
                    // Taken is read: the peer may send as much again. A stream that is over needs no window.
                    let _ = open.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    let ended = open.stream.is_end_stream();
                    if ended {
                        self.finish();
                    }
                    if self.left == Some(0) && !ended {
                        self.last.get_or_insert(data);
                    } else if !data.is_empty() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                // Trailers, if there are any, stay where they are.
                None => self.finish(),
                Some(Err(error)) => {
                    self.open = None;
                    let invalid = error.is_library();
                    return Poll::Ready(Some(Err(if invalid {
                        BodyFault::Malformed
                    } else {
                        BodyFault::Cut(cause(error))
                    })));
                }
            }
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        let Some(open) = &self.open else { return Poll::Ready(None) };
        let mark = *self.waits.get_or_insert_with(|| {
            self.deadline.set(self.timeout);
            open.claim.mark()
        });
        ready!(self.deadline.poll_passed(cx));
        open.claim.give_up(mark);
        self.open = None;
        Poll::Ready(Some(Err(BodyFault::Timeout)))
    }

    /// The end of an answer without a body, whose stream has yet to end: to reset it would be no way to thank for it.
    fn see_off(&mut self) {
        if let Some(open) = self.open.take_if(|open| open.upload.is_none()) {
            let deadline = self.deadline.sibling();
            deadline.set(self.timeout);
            task::spawn_local(open.end(deadline));
        }
        self.finish();
    }

    /// The end of the body. What the request has not sent, nobody waits for: the peer has answered without.
    fn finish(&mut self) {
        if let Some(Open { upload: Some(upload), .. }) = &mut self.open {
            upload.reason = Reason::NO_ERROR;
        }
        self.open = None;
    }
}

impl<B: Upload> Open<B> {
    /// Waits for the end of a stream that has nothing more to say.
    async fn end(mut self, deadline: Deadline) {
        poll_fn(|cx| match self.stream.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) if data.is_empty() => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => deadline.poll_passed(cx),
        })
        .await;
    }
}

impl<B: Upload> Beside<B> {
    fn begin(sending: Sending<B>) -> Self {
        let sending = Rc::new(RefCell::new(sending));
        let own = sending.clone();
        let writer = task::spawn_attached(async move {
            let sent = poll_fn(|cx| own.borrow_mut().poll(cx)).await;
            // A request that was cut must not look like a whole one.
            if matches!(sent, Err(Unsent::Body)) {
                own.borrow_mut().stop(Reason::CANCEL);
            }
        });
        Self { sending, reason: Reason::CANCEL, _writer: writer }
    }
}

impl<B: Upload> Drop for Beside<B> {
    fn drop(&mut self) {
        self.sending.borrow_mut().stop(self.reason);
    }
}
