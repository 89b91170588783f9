//! The first half of an exchange: the request becomes a stream, and the head of its answer is waited for.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http::{Method, Request, Response, StatusCode};

use super::body::Reading;
use super::cause;
use super::request::{Sending, Unsent, head};
use super::trunk::Claim;
use super::wire::Mark;
use crate::clock::Deadline;
use crate::upstream::lane::Lane;
use crate::upstream::pool::Inner;
use crate::upstream::{MAX_FIELDS, Progress, SendError, SendFault, Unprocessed, Upload};

/// A request that waits for its answer.
pub(in crate::upstream) struct Waiting<B: Upload> {
    lane: Rc<Lane>,
    claim: Claim,
    request: Request<()>,
    response: ResponseFuture,
    sending: Sending<B>,
    /// The stream takes no more of the request; an answer may have come before that.
    broken: bool,
    deadline: Deadline,
    /// Bytes handed over when the deadline was set last.
    sent: u64,
    /// Interim answers so far.
    interim: u32,
    reused: bool,
    /// What had passed over the connection when the request joined it.
    mark: Mark,
}

/// Why there is no answer.
pub(in crate::upstream) enum Failure {
    /// Found here.
    Own(SendFault),
    /// Found by the connection.
    Stream(h2::Error),
}

/// The head of an answer, and the stream of its body.
pub(in crate::upstream) struct Head {
    response: Response<RecvStream>,
    /// How long the body says it is.
    length: Option<u64>,
}

impl<B: Upload> Waiting<B> {
    /// Begins the stream; its first bytes go when the connection's driver has its turn.
    pub(in crate::upstream) fn begin(
        pool: &Inner,
        lane: &Rc<Lane>,
        claim: Claim,
        request: Request<B>,
    ) -> Result<Self, SendError<B>> {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, ());
        let (mark, reused, ends) = (claim.mark(), claim.reuses(), body.is_end_stream());
        match claim.send(head(&request, &body, &lane.slot.origin), ends) {
            Ok((response, stream)) => {
                let sending = Sending::new(stream, request.method(), body, ends);
                let deadline = Deadline::new(&pool.sweep);
                deadline.set(pool.limits.response_timeout);
                let lane = lane.clone();
                let (broken, sent, interim) = (false, 0, 0);
                Ok(Self { lane, claim, request, response, sending, broken, deadline, sent, interim, reused, mark })
            }
            Err(error) => {
                let fault = SendFault::Closed(error.map(cause));
                let request = Box::new(request.map(|()| Some(body)));
                Err(SendError { fault, reused, progress: Progress::Nothing, request })
            }
        }
    }

    /// Sends on, and waits for the head of the answer.
    pub(in crate::upstream) fn poll(&mut self, cx: &mut Context<'_>, pool: &Inner) -> Poll<Result<Head, Failure>> {
        if !self.broken {
            match self.sending.poll(cx) {
                Poll::Ready(Err(Unsent::Body)) => return Poll::Ready(Err(Failure::Own(SendFault::Upload))),
                Poll::Ready(Err(Unsent::Stream)) => self.broken = true,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        if let Poll::Ready(head) = self.poll_head(cx) {
            return Poll::Ready(head);
        }
        if self.sending.waits_for_body() || self.sending.sent() != self.sent {
            self.sent = self.sending.sent();
            self.deadline.set(pool.limits.response_timeout);
        }
        ready!(self.deadline.poll_passed(cx));
        self.claim.give_up(self.mark);
        Poll::Ready(Err(Failure::Own(SendFault::Timeout)))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        const MALFORMED: Failure = Failure::Own(SendFault::Malformed);
        while let Some(interim) = ready!(self.response.poll_informational(cx)) {
            let interim = interim.map_err(Failure::Stream)?;
            self.interim += 1;
            // A tunnel is nothing that was asked for, and not even HTTP/2 (RFC 9113 8.6).
            if self.interim > MAX_INTERIM || interim.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(MALFORMED));
            }
        }
        let response = ready!(Pin::new(&mut self.response).poll(cx)).map_err(Failure::Stream)?;
        Poll::Ready(match length(response.headers()) {
            Ok(length) if response.headers().len() <= MAX_FIELDS => Ok(Head { response, length }),
            _ => Err(MALFORMED),
        })
    }

    /// The head is there: what is left of the exchange.
    pub(in crate::upstream) fn read(self, pool: &Inner, head: Head) -> Response<Reading<B>> {
        let Self { claim, request, sending, broken, deadline, .. } = self;
        let (parts, stream) = head.response.into_parts();
        let bodiless = *request.method() == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = if bodiless { Some(0) } else { head.length };
        let upload = (!sending.is_done() && !broken).then_some(sending);
        let reading = Reading::new(claim, stream, upload, length, deadline, pool.limits.body_timeout);
        let mut response = Response::new(reading);
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        Unprocessed::give_back(request, response)
    }

    /// There is no head: what is known of the exchange.
    pub(in crate::upstream) fn fail(self, failure: Failure) -> SendError<B> {
        let untouched = self.claim.mark().written == self.mark.written;
        let (fault, refused) = match failure {
            Failure::Own(fault) => (fault, false),
            Failure::Stream(error) => self.judge(error),
        };
        let progress = match self.interim {
            0 if refused || untouched => Progress::Nothing,
            0 => Progress::Written,
            _ => Progress::Answered,
        };
        let body = self.sending.into_untouched();
        let request = Box::new(self.request.map(|()| body));
        SendError { fault, reused: self.reused, progress, request }
    }

    /// What an error of the stream means, and whether it says that the request was not acted on: the stream is above
    /// the last that a GOAWAY names, or was refused by name (RFC 9113 8.7).
    fn judge(&self, error: h2::Error) -> (SendFault, bool) {
        if error.reason() == Some(Reason::HTTP_1_1_REQUIRED) {
            self.lane.demands_http1();
        }
        let refused = error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
        let fault = match () {
            () if refused && self.interim == 0 => SendFault::Refused,
            () if error.is_library() => SendFault::Malformed,
            () => SendFault::Closed(Some(cause(error))),
        };
        (fault, refused)
    }
}

/// The length that a head says; saying it twice is saying nothing. That it is a number, and that the body is as long,
/// the connection has seen to.
fn length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => line.to_str().ok().and_then(|digits| digits.parse().ok()).map(Some).ok_or(()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Interim answers that are dropped; more end the exchange (security.md 36).
const MAX_INTERIM: u32 = 100;
