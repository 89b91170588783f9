//! What goes down to the client: an answer as it streams, or an error; one type, no boxes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::decode::{CodingFault, Decoder, Pulled};
use super::ledger::Ledger;
use super::peeked::Peeked;
use super::turns::Turns;
use crate::upstream::BodyFault;
use crate::vault::Redactor;

/// The body of every answer.
pub struct Body<D: HttpBody>(Kind<D>);

enum Kind<D: HttpBody> {
    Whole(Bytes),
    Streaming(Box<Streaming<D>>),
}

/// What happens to the bytes of a body on the way.
pub(super) struct Scrub {
    /// Undoes content codings; `None` where the body goes on as it came.
    pub(super) decoder: Option<Decoder>,
    /// `None` where the body is not looked into.
    pub(super) redactor: Option<Redactor>,
}

/// Why an answer ends early.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// It did not come whole.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// It could not be decoded.
    #[error(transparent)]
    Coding(#[from] CodingFault),
}

/// An upstream's body with what happens to it on the way.
struct Streaming<D: HttpBody> {
    data: Turns<Peeked<D>>,
    scrub: Scrub,
    ledger: Box<Ledger>,
    /// An HTTP/1.0 client takes the end of the connection for the end of the body.
    old: bool,
    /// Why the body ends early, once it does and until the client was given everything before.
    cut: Option<AnswerFault>,
}

impl Scrub {
    /// How long the body becomes.
    pub(super) fn size_of(&self, data: &impl HttpBody) -> SizeHint {
        if self.decoder.is_some() { SizeHint::default() } else { data.size_hint() }
    }
}

impl<D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin> Body<D> {
    /// A body that is there already.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }

    /// A body that comes from the upstream; the record is closed at its end.
    pub(super) fn streaming(data: Peeked<D>, scrub: Scrub, mut ledger: Box<Ledger>, old: bool) -> Self {
        if data.is_end_stream() {
            ledger.close();
            return Self::whole(Bytes::new());
        }
        let data = Turns::of(data);
        Self(Kind::Streaming(Box::new(Streaming { data, scrub, ledger, old, cut: None })))
    }
}

impl<D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin> Streaming<D> {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, AnswerFault>>> {
        if let Some(fault) = self.cut.take() {
            return Poll::Ready(Some(Err(self.end_early(fault))));
        }
        loop {
            let piece = match ready!(self.poll_piece(cx)) {
                Some(Ok(piece)) => piece,
                Some(Err(fault)) => {
                    // The codec drops what it has not written yet when the body fails: it gets a turn before that.
                    self.cut = Some(fault);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => {
                    let tail = self.scrub.redactor.as_mut().and_then(Redactor::finish).unwrap_or_default();
                    self.ledger.record.response_bytes += tail.len() as u64;
                    self.close();
                    return Poll::Ready((!tail.is_empty()).then_some(Ok(tail)));
                }
            };
            let piece = self.scrub(piece);
            self.ledger.record.response_bytes += piece.len() as u64;
            let over = self.is_over();
            if over {
                self.close();
            }
            if over || !piece.is_empty() {
                return Poll::Ready((!piece.is_empty()).then_some(Ok(piece)));
            }
        }
    }

    /// The next piece of what the client is to get, decoded where that is asked for.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, AnswerFault>>> {
        loop {
            match self.scrub.decoder.as_mut().map_or(Ok(Pulled::Hungry), Decoder::pull) {
                Ok(Pulled::Hungry) => {}
                Ok(Pulled::Piece(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(Pulled::Busy) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(fault) => return Poll::Ready(Some(Err(fault.into()))),
            }
            let frame = ready!(Pin::new(&mut self.data).poll_frame(cx)).transpose()?;
            let Some(frame) = frame else {
                let ended = self.scrub.decoder.as_mut().map_or(Ok(()), Decoder::finish);
                return Poll::Ready(ended.err().map(|fault| Err(fault.into())));
            };
            // A frame without data is one of trailers, which are dropped.
            let Ok(piece) = frame.into_data() else { continue };
            match &mut self.scrub.decoder {
                Some(decoder) => decoder.feed(piece),
                None => return Poll::Ready(Some(Ok(piece))),
            }
        }
    }

    /// Whether it is known that no piece follows: whether a decoded body ends as it should shows at its end only.
    fn is_over(&self) -> bool {
        self.scrub.decoder.is_none() && self.data.is_end_stream()
    }

    fn scrub(&mut self, piece: Bytes) -> Bytes {
        let over = self.is_over();
        let Some(redactor) = &mut self.scrub.redactor else { return piece };
        let scrubbed = redactor.scrub(piece);
        if !over {
            return scrubbed;
        }
        match redactor.finish() {
            None => scrubbed,
            Some(tail) => {
                let mut whole = BytesMut::with_capacity(scrubbed.len() + tail.len());
                whole.extend_from_slice(&scrubbed);
                whole.extend_from_slice(&tail);
                whole.freeze()
            }
        }
    }

    fn end_early(&mut self, fault: AnswerFault) -> AnswerFault {
        self.ledger.record.truncated = true;
        self.ledger.record.code = Some(code(&fault));
        if self.old {
            self.ledger.reset_connection();
        }
        self.close();
        fault
    }

    fn close(&mut self) {
        if let Some(redactor) = &self.scrub.redactor {
            self.ledger.record.redactions = redactor.redactions();
        }
        self.ledger.close();
    }
}

/// How the record tells of an answer that ended early.
fn code(fault: &AnswerFault) -> &'static str {
    match fault {
        AnswerFault::Body(BodyFault::Timeout) => "upstream_timeout",
        AnswerFault::Body(BodyFault::Framing(_) | BodyFault::Malformed) | AnswerFault::Coding(_) => "upstream_invalid",
        AnswerFault::Body(BodyFault::Cut(_) | BodyFault::Ended) => "upstream_closed",
    }
}

impl<D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin> HttpBody for Body<D> {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Streaming(streaming) => {
                let polled = ready!(streaming.poll_bytes(cx));
                Poll::Ready(polled.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Streaming(streaming) => {
                streaming.is_over() && streaming.scrub.redactor.as_ref().is_none_or(|redactor| !redactor.is_holding())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streaming(streaming) => streaming.scrub.size_of(&streaming.data),
        }
    }
}
