//! One exchange as a future: take or open a connection, hand the request over, drive the connection to the answer.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::body::AnswerBody;
use super::link::{Link, Tracked};
use super::pool::Inner;
use super::{Call, Progress, SendError, SendFault, Upload};
use crate::clock::Deadline;

type Opening<B> = Pin<Box<dyn Future<Output = Result<Box<Link<B>>, SendFault>>>>;
type Answer<B> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Tracked<B>>>>>>>;

/// The future of [`super::Pool`]: ends with the head of the answer.
pub struct Exchange<B: Upload> {
    pool: Rc<Inner<B>>,
    slot: usize,
    stage: Stage<B>,
}

enum Stage<B: Upload> {
    /// A request that waits for a connection.
    Opening(Opening<B>, Request<B>),
    /// A request that waits for its answer.
    Waiting(Waiting<B>),
    Over,
}

struct Waiting<B: Upload> {
    link: Box<Link<B>>,
    answer: Answer<B>,
    deadline: Deadline,
    /// Bytes written when the deadline was set last.
    written: u64,
}

impl<B: Upload> Exchange<B> {
    pub(super) fn new(pool: Rc<Inner<B>>, call: Call<B>) -> Self {
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
                Err(SendError { fault, reused: false, progress: Progress::Nothing, unsent: Some(Box::new(request)) })
            }
        })
    }
}

impl<B: Upload> Waiting<B> {
    fn begin(pool: &Rc<Inner<B>>, mut link: Box<Link<B>>, request: Request<B>) -> Self {
        link.meter.begin(!request.body().is_end_stream());
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, Tracked::new(body, link.meter.clone()));
        let answer: Answer<B> = Box::pin(link.sender.try_send_request(request));
        let deadline = Deadline::new(&pool.sweep);
        deadline.set(pool.limits.response_timeout);
        Self { link, answer, deadline, written: 0 }
    }

    /// Drives the connection, then looks for the answer; the answer can only come out of that, so that nobody needs
    /// to be woken for it.
    fn poll(&mut self, cx: &mut Context<'_>, pool: &Inner<B>) -> Poll<Result<Response<Incoming>, Failed<B>>> {
        let over = self.link.drive(cx).is_ready();
        match self.answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) => return Poll::Ready(Ok(response)),
            Poll::Ready(Err(mut error)) => {
                let unsent = error.take_message().and_then(reclaim).map(Box::new);
                return Poll::Ready(Err(Failed { fault: self.classify(error.into_error()), unsent }));
            }
            Poll::Pending if over => return failed(SendFault::Closed(None)),
            Poll::Pending => {}
        }
        if self.link.meter.is_spent() {
            return failed(SendFault::Malformed(None));
        }
        let written = self.link.meter.written();
        if written != self.written {
            self.written = written;
            self.deadline.set(pool.limits.response_timeout);
        }
        match self.deadline.poll_passed(cx) {
            Poll::Ready(()) => failed(SendFault::Timeout),
            Poll::Pending => Poll::Pending,
        }
    }

    fn classify(&self, error: hyper::Error) -> SendFault {
        if error.is_user() || error.is_body_write_aborted() {
            SendFault::Upload
        } else if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
            SendFault::Malformed(Some(error))
        } else {
            SendFault::Closed(Some(error))
        }
    }
}

struct Failed<B> {
    fault: SendFault,
    unsent: Option<Box<Request<B>>>,
}

fn failed<T, B>(fault: SendFault) -> Poll<Result<T, Failed<B>>> {
    Poll::Ready(Err(Failed { fault, unsent: None }))
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
            Ok(response) => accept(&this.pool, this.slot, waiting, response),
            Err(Failed { fault, unsent }) => {
                Err(SendError { fault, reused: waiting.link.reused, progress: waiting.link.meter.progress(), unsent })
            }
        })
    }
}

/// An answer that leaves no doubt about its end: no tunnel (security.md 11), one length in one form (33).
fn accept<B: Upload>(
    pool: &Rc<Inner<B>>,
    slot: usize,
    waiting: Waiting<B>,
    response: Response<Incoming>,
) -> Result<Response<AnswerBody<B>>, SendError<B>> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS || !has_one_length(response.headers()) {
        return Err(SendError {
            fault: SendFault::Malformed(None),
            reused: waiting.link.reused,
            progress: Progress::Answered,
            unsent: None,
        });
    }
    waiting.link.meter.end_head();
    Ok(response.map(|incoming| AnswerBody::new(pool.clone(), slot, waiting.link, waiting.deadline, incoming)))
}

/// The codec takes `2, 2`, two equal lines and `gzip, chunked`, and hands them on as they came.
fn has_one_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => true,
        (Some(length), None) => length.as_bytes().iter().all(u8::is_ascii_digit) && lengths.next().is_none(),
        (None, Some(coding)) => coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none(),
        (Some(_), Some(_)) => false,
    }
}

fn reclaim<B: Upload>(request: Request<Tracked<B>>) -> Option<Request<B>> {
    let (parts, body) = request.into_parts();
    body.into_inner().map(|body| Request::from_parts(parts, body))
}
