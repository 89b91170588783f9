//! The idle connections of one worker: last in, first out, one list a slot, bounded over all workers.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;

use super::exchange::Exchange;
use super::link::{Link, Seat};
use super::{AnswerBody, Call, Freshness, SendError, SendFault, Upload};
use crate::clock::Sweep;
use crate::net::{Connector, Offer};
use crate::origin::Origin;
use crate::telemetry::UpstreamMeters;

/// What all workers' pools share.
pub struct Shared {
    /// How connections are made.
    pub connector: Connector,
    /// Most connections at once.
    pub max_connections: usize,
    pub(super) open: AtomicUsize,
}

impl Shared {
    /// Nothing is open yet.
    pub fn new(connector: Connector, max_connections: usize) -> Arc<Self> {
        Arc::new(Self { connector, max_connections, open: AtomicUsize::new(0) })
    }
}

/// One credential at one origin; the connections of a slot are never used for another.
#[derive(Clone)]
pub struct Slot {
    /// Where it connects to.
    pub origin: Origin,
    /// `upstream_connections` of the origin.
    pub meters: Arc<UpstreamMeters>,
}

/// How long an exchange may take, in its parts.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the first byte of an answer, counted from the last byte of the request that was written.
    pub response_timeout: Duration,
    /// Between two pieces of an answer's body.
    pub body_timeout: Duration,
    /// How long a connection may lie idle.
    pub idle_timeout: Duration,
}

/// The pool of one worker.
pub struct Pool<B>(pub(super) Rc<Inner>, PhantomData<fn(B)>);

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) slots: Vec<Slot>,
    pub(super) limits: Limits,
    pub(super) sweep: Rc<Sweep>,
    #[expect(clippy::vec_box, reason = "a link moves between the pool, the exchange and the body: as a pointer")]
    idle: RefCell<Vec<Vec<Box<Link>>>>,
}

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<B: Upload> Pool<B> {
    /// A pool without connections.
    pub fn new(shared: Arc<Shared>, slots: Vec<Slot>, limits: Limits, sweep: Rc<Sweep>) -> Self {
        let idle = RefCell::new(slots.iter().map(|_| Vec::new()).collect());
        Self(Rc::new(Inner { shared, slots, limits, sweep, idle }), PhantomData)
    }

    /// Lets go of connections that were closed by the other side, got bytes unasked, or have lain too long.
    pub fn sweep(&self) {
        let now = self.0.sweep.now();
        let limit = self.0.limits.idle_timeout;
        for slot in &mut *self.0.idle.borrow_mut() {
            slot.retain_mut(|link| {
                let keep = now.saturating_duration_since(link.idle_since) < limit && link.lives();
                if !keep {
                    link.seat.rise();
                }
                keep
            });
        }
    }
}

impl Inner {
    /// The connection that was used last and still lives.
    pub(super) fn take(&self, slot: usize, freshness: Freshness) -> Option<Box<Link>> {
        loop {
            let mut link = match freshness {
                Freshness::New => None,
                Freshness::Pooled | Freshness::Proven => self.idle.borrow_mut().get_mut(slot)?.pop(),
            }?;
            link.seat.rise();
            let lives = if freshness == Freshness::Proven { link.proves_alive() } else { link.lives() };
            if lives {
                return Some(link);
            }
        }
    }

    /// Lays a connection back whose exchange is over, if it can serve another.
    pub(super) fn give_back(&self, slot: usize, mut link: Box<Link>) {
        if link.lives()
            && let Some(idle) = self.idle.borrow_mut().get_mut(slot)
        {
            link.reused = true;
            link.idle_since = self.sweep.now();
            link.seat.rest();
            idle.push(link);
        }
    }

    /// Opens a connection; where there is no place left, the one that has lain longest here makes room.
    pub(super) async fn open(self: Rc<Self>, slot: usize) -> Result<Box<Link>, SendFault> {
        let Slot { origin, meters } = &self.slots[slot];
        let seat = Seat::take(&self.shared, meters).or_else(|| {
            self.evict();
            Seat::take(&self.shared, meters)
        });
        let seat = seat.ok_or(SendFault::Exhausted)?;
        let stream = self.shared.connector.connect(origin, Offer::Http1).await?;
        Ok(Link::over(stream, seat))
    }

    fn evict(&self) {
        let mut idle = self.idle.borrow_mut();
        let oldest = idle.iter_mut().filter(|links| !links.is_empty()).min_by_key(|links| links[0].idle_since);
        if let Some(links) = oldest {
            let link = links.remove(0);
            link.seat.rise();
        }
    }
}

impl<B: Upload> Service<Call<B>> for Pool<B> {
    type Response = http::Response<AnswerBody<B>>;
    type Error = SendError<B>;
    type Future = Exchange<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<B>) -> Self::Future {
        Exchange::new(self.0.clone(), call)
    }
}
