//! A request's body on its way up: counted, bounded, without trailers, and never ended cleanly when it was cut.
//!
//! Where it may have to be sent again, its beginning is kept while it passes ([`Kept`]): another [`UploadBody`] then gives
//! what was kept and goes on where the one before it stopped.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::error::ProxyError;
use super::kept::Kept;
use crate::edge::{BodyFault, RequestBody, RequestBodyFault};

/// What is known of a body while it passes; shared by those that carry it and the record.
#[derive(Clone)]
pub(super) struct Upload(Rc<State>);

struct State {
    /// Gone once nobody will ask for more of it.
    incoming: RefCell<Option<RequestBody>>,
    /// What has passed, as long as it may be wanted again and is not too much.
    kept: RefCell<Option<Kept>>,
    /// Whether the body's end has passed.
    over: Cell<bool>,
    /// How many carry it: for a moment two, when it is to be sent again.
    carriers: Cell<u32>,
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
    upload: Upload,
    /// What had passed before and is given once more, before the body goes on: its own, whatever becomes of the rest.
    again: VecDeque<Bytes>,
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
        let upload = Self(Rc::new(State {
            incoming: RefCell::new(Some(incoming)),
            kept: RefCell::new(None),
            over: Cell::new(false),
            carriers: Cell::new(0),
            bytes: Cell::new(0),
            fault: Cell::new(None),
            max,
        }));
        Ok((upload.carry(), Some(upload)))
    }

    /// Bytes that have passed; those of a replay do not count twice.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.get()
    }

    /// Why it ended early, if it did.
    pub(super) fn fault(&self) -> Option<UploadFault> {
        self.0.fault.get()
    }

    /// Keeps what passes from now on, as long as it is not too much; for a body of which nothing has passed.
    pub(super) fn keep(&self) {
        *self.0.kept.borrow_mut() = Some(Kept::default());
    }

    /// Whether the body can be given once more from its beginning.
    pub(super) fn can_be_replayed(&self) -> bool {
        self.fault().is_none() && self.0.kept.borrow().is_some()
    }

    /// The body once more from its beginning, if that was kept; nobody else may carry it any longer.
    pub(super) fn replay(&self) -> Option<UploadBody> {
        self.can_be_replayed().then(|| self.carry())
    }

    /// It will not be wanted again: keeps no more, and lets go of what nobody carries.
    pub(super) fn settle(&self) {
        self.0.kept.take();
        self.0.let_go();
    }

    fn carry(&self) -> UploadBody {
        self.0.carriers.set(self.0.carriers.get() + 1);
        let again = self.0.kept.borrow().as_ref().map(Kept::pieces).unwrap_or_default();
        UploadBody::Streaming(Streaming { upload: self.clone(), again })
    }
}

impl State {
    /// Drops the body when nobody carries it or will: a client that still sends it notices.
    fn let_go(&self) {
        if self.carriers.get() == 0 && self.kept.borrow().is_none() {
            self.incoming.take();
        }
    }

    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadFault>>> {
        let mut incoming = self.incoming.borrow_mut();
        let Some(body) = incoming.as_mut().filter(|_| !self.over.get()) else { return Poll::Ready(None) };
        loop {
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
            match frame {
                None => {
                    self.over.set(true);
                    return Poll::Ready(None);
                }
                Some(Ok(frame)) => {
                    // Trailers are dropped (security.md 5).
                    let Ok(data) = frame.into_data() else { continue };
                    self.bytes.set(self.bytes.get() + data.len() as u64);
                    let within = self.bytes.get() <= self.max;
                    return Poll::Ready(Some(if within { Ok(data) } else { Err(UploadFault::TooLarge) }));
                }
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault.into()))),
            }
        }
    }

    /// Keeps a piece that passes.
    fn keep(&self, piece: &Bytes) {
        let mut kept = self.kept.borrow_mut();
        *kept = kept.take().and_then(|kept| kept.with(piece));
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
    fn state(&self) -> &State {
        &self.upload.0
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadFault>>> {
        if let Some(piece) = self.again.pop_front() {
            return Poll::Ready(Some(Ok(piece)));
        }
        let polled = ready!(self.state().poll_incoming(cx));
        match &polled {
            Some(Ok(piece)) => self.state().keep(piece),
            Some(Err(fault)) => self.state().fault.set(Some(*fault)),
            None => {}
        }
        Poll::Ready(polled)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let carriers = &self.state().carriers;
        carriers.set(carriers.get() - 1);
        self.state().let_go();
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let Self::Streaming(body) = self.get_mut() else { return Poll::Ready(None) };
        body.poll_data(cx).map(|polled| polled.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        let Self::Streaming(body) = self else { return true };
        let over =
            || body.state().over.get() || body.state().incoming.borrow().as_ref().is_none_or(Body::is_end_stream);
        body.again.is_empty() && over()
    }

    fn size_hint(&self) -> SizeHint {
        let Self::Streaming(body) = self else { return SizeHint::with_exact(0) };
        let rest = body.state().incoming.borrow().as_ref().map_or_else(SizeHint::default, Body::size_hint);
        let again = body.again.iter().map(|piece| piece.len() as u64).sum();
        match (rest.exact(), again) {
            (_, 0_u64) => rest,
            (Some(exact), again) => SizeHint::with_exact(exact + again),
            (None, _) => SizeHint::default(),
        }
    }
}
