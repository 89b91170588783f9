//! One exchange as a future: take or open a connection, write the request, read the head of the answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};

use super::body::AnswerBody;
use super::link::Link;
use super::pool::Inner;
use super::request::{Sending, Unsent};
use super::response::{Head, take_head};
use super::{Call, Progress, SendError, SendFault, Upload};
use crate::clock::Deadline;

type Opening = Pin<Box<dyn Future<Output = Result<Box<Link>, SendFault>>>>;

/// The future of [`super::Pool`]: ends with the head of the answer.
pub struct Exchange<B: Upload> {
    pool: Rc<Inner>,
    slot: usize,
    stage: Stage<B>,
}

enum Stage<B: Upload> {
    /// A request that waits for a connection.
    Opening(Opening, Request<B>),
    /// A request that waits for its answer.
    Waiting(Waiting<B>),
    Over,
}

struct Waiting<B: Upload> {
    link: Box<Link>,
    request: Request<()>,
    sending: Sending<B>,
    deadline: Deadline,
    /// Bytes written when the deadline was set last.
    written: u64,
    /// Why the connection takes no more of the request; an answer may have come before that.
    broken: Option<io::Error>,
}

impl<B: Upload> Exchange<B> {
    pub(super) fn new(pool: Rc<Inner>, call: Call<B>) -> Self {
        let Call { request, slot, freshness } = call;
        let stage = match pool.take(slot, freshness) {
            Some(link) => Stage::Waiting(Waiting::begin(&pool, link, request)),
            None => Stage::Opening(Box::pin(pool.clone().open(slot)), request),
        };
        Self { pool, slot, stage }
    }

    fn open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError<B>>> {
        let Stage::Opening(opening, _) = &mut self.stage else { return Poll::Ready(Ok(())) };
        let opened = ready!(opening.as_mut().poll(cx));
        let Stage::Opening(_, request) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Poll::Ready(Ok(()));
        };
        Poll::Ready(match opened {
            Ok(link) => {
                self.stage = Stage::Waiting(Waiting::begin(&self.pool, link, request));
                Ok(())
            }
            Err(fault) => {
                Err(SendError { fault, reused: false, progress: Progress::Nothing, request: Some(Box::new(request)) })
            }
        })
    }
}

impl<B: Upload> Waiting<B> {
    fn begin(pool: &Rc<Inner>, mut link: Box<Link>, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, ());
        link.begin();
        let sending = Sending::begin(&mut link, &request, body);
        let deadline = Deadline::new(&pool.sweep);
        deadline.set(pool.limits.response_timeout);
        Self { link, request, sending, deadline, written: 0, broken: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>, pool: &Inner) -> Poll<Result<Head, SendFault>> {
        if self.broken.is_none() {
            match self.sending.poll(&mut self.link, cx) {
                Poll::Ready(Err(Unsent::Body)) => return Poll::Ready(Err(SendFault::Upload)),
                Poll::Ready(Err(Unsent::Connection(error))) => self.broken = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
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
                Ok(None) if self.link.read() <= MAX_HEAD => {}
                Ok(None) | Err(_) => return Poll::Ready(Err(SendFault::Malformed)),
            }
        }
    }

    fn fail(self, fault: SendFault) -> SendError<B> {
        let (reused, progress) = (self.link.reused, self.link.progress());
        let (parts, ()) = self.request.into_parts();
        let body = self.sending.into_untouched();
        let request = body.map(|body| Box::new(Request::from_parts(parts, body)));
        SendError { fault, reused, progress, request }
    }
}

impl<B: Upload> Future for Exchange<B> {
    type Output = Result<Response<AnswerBody<B>>, SendError<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(this.open(cx))?;
        let Stage::Waiting(waiting) = &mut this.stage else { return Poll::Pending };
        let outcome = ready!(waiting.poll(cx, &this.pool));
        let Stage::Waiting(waiting) = std::mem::replace(&mut this.stage, Stage::Over) else { return Poll::Pending };
        Poll::Ready(match outcome {
            Err(fault) => Err(waiting.fail(fault)),
            Ok(Head { response, framing, keeps_alive }) => {
                let Waiting { link, sending, deadline, broken, .. } = waiting;
                let upload = (!sending.is_done()).then_some(sending).filter(|_| broken.is_none());
                let reusable = keeps_alive && broken.is_none();
                let body = AnswerBody::new(this.pool.clone(), this.slot, link, deadline, framing, upload, reusable);
                Ok(response.map(|()| body))
            }
        })
    }
}

/// Room for a head, and for the body of most answers behind it.
const ROOM: usize = 8 * 1024;
/// Most bytes before the end of an answer's head, interim answers among them (security.md 36).
const MAX_HEAD: u64 = 64 * 1024;
