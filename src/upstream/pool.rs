//! The idle connections of one worker: last in, first out, one list a slot, bounded over all workers.

use std::cell::{Cell, RefCell};
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
use crate::id::CredentialName;
use crate::net::{Connector, Offer};
use crate::origin::Origin;
use crate::telemetry::UpstreamMeters;

/// What all workers' pools share.
pub struct Shared {
    /// How connections are made.
    pub connector: Arc<Connector>,
    /// Most connections at once.
    pub max_connections: usize,
    pub(super) open: AtomicUsize,
}

impl Shared {
    /// Nothing is open yet.
    pub fn new(connector: impl Into<Arc<Connector>>, max_connections: usize) -> Arc<Self> {
        Arc::new(Self { connector: connector.into(), max_connections, open: AtomicUsize::new(0) })
    }
}

/// One credential at one origin; the connections of a slot are never used for another.
#[derive(Clone)]
pub struct Slot {
    /// As whom.
    pub credential: CredentialName,
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
    pub(super) lanes: Vec<Rc<Lane>>,
    pub(super) limits: Limits,
    pub(super) sweep: Rc<Sweep>,
}

/// A slot and its idle connections; a pool and the one that follows it share those of a slot that both have.
pub(super) struct Lane {
    pub(super) slot: Slot,
    #[expect(clippy::vec_box, reason = "a link moves between the pool, the exchange and the body: as a pointer")]
    idle: RefCell<Vec<Box<Link>>>,
    /// No pool has this lane any more: what comes back is let go.
    closed: Cell<bool>,
}

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<B: Upload> Pool<B> {
    /// A pool without connections.
    pub fn new(shared: Arc<Shared>, slots: Vec<Slot>, limits: Limits, sweep: Rc<Sweep>) -> Self {
        let lanes = slots.into_iter().map(Lane::new).collect();
        Self(Rc::new(Inner { shared, lanes, limits, sweep }), PhantomData)
    }

    /// The pool that takes this one's place. It takes over the connections of every slot that both have, unless
    /// connections are made otherwise now (`shared` is another); all others are let go once they are idle.
    pub fn followed_by(&self, shared: Arc<Shared>, slots: Vec<Slot>, limits: Limits) -> Self {
        let old = &*self.0;
        let known = if Arc::ptr_eq(&old.shared, &shared) { old.lanes.as_slice() } else { &[] };
        let lane = |slot: Slot| {
            let same = known.iter().find(|lane| lane.serves(&slot)).cloned();
            same.unwrap_or_else(|| Lane::new(slot))
        };
        let lanes: Vec<_> = slots.into_iter().map(lane).collect();
        let left = old.lanes.iter().filter(|lane| !lanes.iter().any(|kept| Rc::ptr_eq(kept, lane)));
        left.for_each(|lane| lane.close());
        Self(Rc::new(Inner { shared, lanes, limits, sweep: old.sweep.clone() }), PhantomData)
    }

    /// Lets go of connections that were closed by the other side, got bytes unasked, or have lain too long.
    pub fn sweep(&self) {
        let now = self.0.sweep.now();
        let limit = self.0.limits.idle_timeout;
        for lane in &self.0.lanes {
            lane.idle.borrow_mut().retain_mut(|link| {
                let keep = now.saturating_duration_since(link.idle_since) < limit && link.lives();
                if !keep {
                    link.seat.rise();
                }
                keep
            });
        }
    }
}

impl Lane {
    fn new(slot: Slot) -> Rc<Self> {
        Rc::new(Self { slot, idle: RefCell::default(), closed: Cell::new(false) })
    }

    /// Whether it is the lane of this slot: of the same credential at the same origin.
    fn serves(&self, slot: &Slot) -> bool {
        self.slot.credential == slot.credential && self.slot.origin == slot.origin
    }

    fn close(&self) {
        self.closed.set(true);
        for link in self.idle.take() {
            link.seat.rise();
        }
    }
}

impl Inner {
    /// The connection that was used last and still lives.
    pub(super) fn take(&self, slot: usize, freshness: Freshness) -> Option<Box<Link>> {
        loop {
            let mut link = match freshness {
                Freshness::New => None,
                Freshness::Pooled | Freshness::Proven => self.lanes.get(slot)?.idle.borrow_mut().pop(),
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
            && let Some(lane) = self.lanes.get(slot)
            && !lane.closed.get()
        {
            link.reused = true;
            link.idle_since = self.sweep.now();
            link.seat.rest();
            lane.idle.borrow_mut().push(link);
        }
    }

    /// Opens a connection; where there is no place left, the one that has lain longest here makes room.
    pub(super) async fn open(self: Rc<Self>, slot: usize) -> Result<Box<Link>, SendFault> {
        let Slot { origin, meters, .. } = &self.lanes[slot].slot;
        let seat = Seat::take(&self.shared, meters).or_else(|| {
            self.evict();
            Seat::take(&self.shared, meters)
        });
        let seat = seat.ok_or(SendFault::Exhausted)?;
        let stream = self.shared.connector.connect(origin, Offer::Http1).await?;
        Ok(Link::over(stream, seat))
    }

    fn evict(&self) {
        let since = |lane: &&Rc<Lane>| lane.idle.borrow().first().map(|link| link.idle_since);
        let oldest = self.lanes.iter().filter(|lane| since(lane).is_some()).min_by_key(since);
        if let Some(lane) = oldest {
            let link = lane.idle.borrow_mut().remove(0);
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
