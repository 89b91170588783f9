//! The body of an answer, whichever version of HTTP it comes by.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::lane::Flight;
use super::{BodyFault, Upload, http1, http2};

/// An answer's body; dropping it early closes its connection, or its stream.
pub struct AnswerBody<B: Upload> {
    source: Source<B>,
    flight: Option<Flight>,
}

pub(super) enum Source<B: Upload> {
    Link(http1::Reading),
    Stream(http2::Reading<B>),
}

impl<B: Upload> Source<B> {
    fn is_over(&self) -> bool {
        match self {
            Self::Link(reading) => reading.is_over(),
            Self::Stream(reading) => reading.is_over(),
        }
    }
}

impl<B: Upload> AnswerBody<B> {
    pub(super) fn new(source: Source<B>, flight: Option<Flight>) -> Self {
        let flight = flight.filter(|_| !source.is_over());
        Self { source, flight }
    }
}

impl<B: Upload> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        let data = ready!(match &mut this.source {
            Source::Link(reading) => reading.poll_data(cx),
            Source::Stream(reading) => reading.poll_data(cx),
        });
        if this.source.is_over() {
            this.flight = None;
        }
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.source {
            Source::Link(reading) => reading.left(),
            Source::Stream(reading) => reading.left(),
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
