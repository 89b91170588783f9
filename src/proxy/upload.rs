//! A request's body on its way up: counted, bounded, without trailers, and never ended cleanly when it was cut.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::error::ProxyError;
use crate::edge::{BodyFault, RequestBody, RequestBodyFault};

/// What is known of a body while it passes; shared by the body and the record.
#[derive(Clone)]
pub(super) struct Upload(Rc<State>);

struct State {
    bytes: Cell<u64>,
    fault: Cell<Option<UploadFault>>,
    max: u64,
}

/// Why a body did not reach its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadFault {
    /// Its bytes broke their framing, or did not come.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// It is longer than `listen.max_body`.
    #[error("the request's body is too large")]
    TooLarge,
    /// The client left.
    #[error("the client left inside the request's body")]
    Gone,
}

/// The body that goes upstream.
pub enum UploadBody {
    /// There is none.
    Empty,
    /// It streams.
    Streaming(Streaming),
}

/// A body that streams.
pub struct Streaming {
    incoming: RequestBody,
    upload: Upload,
}

impl Upload {
    /// Watches a body; one that says it is longer than `max` bytes is refused.
    pub(super) fn watch(incoming: RequestBody, max: u64) -> Result<(UploadBody, Option<Self>), ProxyError> {
        if incoming.is_end_stream() {
            return Ok((UploadBody::Empty, None));
        }
        if incoming.size_hint().lower() > max {
            return Err(ProxyError::BodyTooLarge);
        }
        let upload = Self(Rc::new(State { bytes: Cell::new(0), fault: Cell::new(None), max }));
        Ok((UploadBody::Streaming(Streaming { incoming, upload: upload.clone() }), Some(upload)))
    }

    /// Bytes that have passed.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }

    /// Why it ended early, if it did.
    pub(super) fn fault(&self) -> Option<UploadFault> {
        self.0.fault.get()
    }
}

impl From<RequestBodyFault> for UploadFault {
    fn from(fault: RequestBodyFault) -> Self {
        match fault {
            RequestBodyFault::Body(fault) => Self::Body(fault),
            RequestBodyFault::Gone => Self::Gone,
        }
    }
}

impl From<UploadFault> for ProxyError {
    fn from(fault: UploadFault) -> Self {
        match fault {
            UploadFault::Body(fault) => Self::Body(fault),
            UploadFault::TooLarge => Self::BodyTooLarge,
            UploadFault::Gone => Self::ClientLeft,
        }
    }
}

impl Streaming {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadFault>>> {
        let state = &self.upload.0;
        loop {
            let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
            match frame {
                None => return Poll::Ready(None),
                Some(Ok(frame)) => {
                    // Trailers are dropped (security.md 5).
                    let Ok(data) = frame.into_data() else { continue };
                    state.bytes.set(state.bytes.get() + data.len() as u64);
                    let within = state.bytes.get() <= state.max;
                    return Poll::Ready(Some(if within { Ok(data) } else { Err(UploadFault::TooLarge) }));
                }
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault.into()))),
            }
        }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let Self::Streaming(body) = self.get_mut() else { return Poll::Ready(None) };
        let polled = ready!(body.poll_data(cx));
        if let Some(Err(fault)) = &polled {
            body.upload.0.fault.set(Some(*fault));
        }
        Poll::Ready(polled.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(body) => body.incoming.size_hint(),
        }
    }
}
