//! The first half of an exchange: the request is written and the head of the answer read, both as they come.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};

use super::body::Reading;
use super::link::Link;
use super::request::{Sending, Unsent};
use super::response::{Head, take_head};
use crate::clock::Deadline;
use crate::upstream::lane::Lane;
use crate::upstream::pool::Inner;
use crate::upstream::{MAX_HEAD, SendError, SendFault, Unprocessed, Upload};

/// A request that waits for its answer.
pub(in crate::upstream) struct Waiting<B: Upload> {
    link: Box<Link>,
    request: Request<()>,
    sending: Sending<B>,
    deadline: Deadline,
    /// Bytes written when the deadline was set last.
    written: u64,
    /// Why the connection takes no more of the request; an answer may have come before that.
    broken: Option<io::Error>,
}

impl<B: Upload> Waiting<B> {
    /// Writes the request on the connection as far as it goes at once.
    pub(in crate::upstream) fn begin(pool: &Inner, mut link: Box<Link>, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, ());
        link.begin();
        let sending = Sending::begin(&mut link, &request, body);
        let deadline = Deadline::new(&pool.sweep);
        deadline.set(pool.limits.response_timeout);
        Self { link, request, sending, deadline, written: 0, broken: None }
    }

    /// Writes on, and waits for the head of the answer.
    pub(in crate::upstream) fn poll(&mut self, cx: &mut Context<'_>, pool: &Inner) -> Poll<Result<Head, SendFault>> {
        if self.broken.is_none() {
            match self.sending.poll(&mut self.link, cx) {
                Poll::Ready(Err(Unsent::Stale)) => return Poll::Ready(Err(SendFault::Closed(None))),
                Poll::Ready(Err(Unsent::Body)) => return Poll::Ready(Err(SendFault::Upload)),
                Poll::Ready(Err(Unsent::Connection(error))) => self.broken = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        if self.sending.is_held() {
            // Whatever came now would be no answer to it. Its next turn is on the way.
            return Poll::Pending;
        }
        if let Poll::Ready(head) = self.poll_head(cx) {
            return Poll::Ready(head);
        }
        if self.sending.waits_for_body() || self.link.written() != self.written {
            self.written = self.link.written();
            self.deadline.set(pool.limits.response_timeout);
        }
        self.deadline.poll_passed(cx).map(|()| Err(SendFault::Timeout))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, SendFault>> {
        loop {
            match ready!(self.link.poll_fill(cx, ROOM)) {
                Ok(0) => return Poll::Ready(Err(SendFault::Closed(self.broken.take()))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(SendFault::Closed(Some(error)))),
            }
            match take_head(&mut self.link, self.request.method()) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) if self.link.read() <= u64::from(MAX_HEAD) => {}
                Ok(None) | Err(_) => return Poll::Ready(Err(SendFault::Malformed)),
            }
        }
    }

    /// The head is there: what is left of the exchange.
    pub(in crate::upstream) fn read(self, pool: Rc<Inner>, lane: Rc<Lane>, head: Head) -> Response<Reading> {
        let Self { link, request, sending, deadline, broken, .. } = self;
        let upload = (!sending.is_done()).then_some(sending).filter(|_| broken.is_none());
        let reusable = head.keeps_alive && broken.is_none();
        let reading = |()| Reading::new(pool, lane, link, deadline, head.framing, upload, reusable);
        Unprocessed::give_back(request, head.response.map(reading))
    }

    /// There is no head: what is known of the exchange.
    pub(in crate::upstream) fn fail(self, fault: SendFault) -> SendError<B> {
        let (reused, progress) = (self.link.reused, self.link.progress());
        let body = self.sending.into_untouched();
        let request = Box::new(self.request.map(|()| body));
        SendError { fault, reused, progress, request }
    }
}

/// Room for a head, and for the body of most answers behind it.
const ROOM: usize = 8 * 1024;
