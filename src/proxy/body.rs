//! What goes down to the client: an answer as it streams, or an error; one type, no boxes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::ledger::Ledger;
use crate::upstream::BodyFault;
use crate::vault::Redactor;

/// The body of every answer.
pub struct Body<D>(Kind<D>);

enum Kind<D> {
    Whole(Bytes),
    Streaming(Box<Streaming<D>>),
}

/// An upstream's body with what happens to it on the way.
struct Streaming<D> {
    data: D,
    /// `None` where the body is not looked into.
    redactor: Option<Redactor>,
    ledger: Box<Ledger>,
    /// An HTTP/1.0 client takes the end of the connection for the end of the body.
    ends_with_connection: bool,
    /// Why the body ends early, once it does and until the client was given everything before.
    cut: Option<BodyFault>,
}

impl<D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin> Body<D> {
    /// A body that is there already.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }

    /// A body that comes from the upstream; the record is closed at its end.
    pub(super) fn streaming(
        data: D,
        redactor: Option<Redactor>,
        mut ledger: Box<Ledger>,
        ends_with_connection: bool,
    ) -> Self {
        if data.is_end_stream() {
            ledger.close();
            return Self::whole(Bytes::new());
        }
        Self(Kind::Streaming(Box::new(Streaming { data, redactor, ledger, ends_with_connection, cut: None })))
    }
}

impl<D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin> Streaming<D> {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        if let Some(fault) = self.cut.take() {
            return Poll::Ready(Some(Err(self.end_early(fault))));
        }
        loop {
            let piece = match ready!(Pin::new(&mut self.data).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().ok(),
                Some(Err(fault)) => {
                    // The codec drops what it has not written yet when the body fails: it gets a turn before that.
                    self.cut = Some(fault);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => {
                    let tail = self.redactor.as_mut().and_then(Redactor::finish).unwrap_or_default();
                    self.ledger.record.response_bytes += tail.len() as u64;
                    self.close();
                    return Poll::Ready((!tail.is_empty()).then_some(Ok(tail)));
                }
            };
            // A frame without data is one of trailers, which are dropped.
            let Some(piece) = piece else { continue };
            let piece = self.scrub(piece);
            self.ledger.record.response_bytes += piece.len() as u64;
            let over = self.data.is_end_stream();
            if over {
                self.close();
            }
            if over || !piece.is_empty() {
                return Poll::Ready((!piece.is_empty()).then_some(Ok(piece)));
            }
        }
    }

    fn scrub(&mut self, piece: Bytes) -> Bytes {
        let Some(redactor) = &mut self.redactor else { return piece };
        let scrubbed = redactor.scrub(piece);
        if !self.data.is_end_stream() {
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

    fn end_early(&mut self, fault: BodyFault) -> BodyFault {
        self.ledger.record.truncated = true;
        self.ledger.record.code = Some(code(&fault));
        if self.ends_with_connection {
            self.ledger.reset_connection();
        }
        self.close();
        fault
    }

    fn close(&mut self) {
        if let Some(redactor) = &self.redactor {
            self.ledger.record.redactions = redactor.redactions();
        }
        self.ledger.close();
    }
}

/// How the record tells of an answer that ended early.
fn code(fault: &BodyFault) -> &'static str {
    match fault {
        BodyFault::Timeout => "upstream_timeout",
        BodyFault::Framing(_) | BodyFault::Malformed => "upstream_invalid",
        BodyFault::Cut(_) | BodyFault::Ended => "upstream_closed",
    }
}

impl<D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin> HttpBody for Body<D> {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
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
                streaming.data.is_end_stream() && streaming.redactor.as_ref().is_none_or(|r| !r.is_holding())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streaming(streaming) => streaming.data.size_hint(),
        }
    }
}
