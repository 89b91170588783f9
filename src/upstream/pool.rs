//! The connections of one worker: a lane for each slot, bounded over all workers.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;

use super::exchange::Exchange;
use super::lane::Lane;
use super::{AnswerBody, Call, SendError, Upload};
use crate::clock::Sweep;
use crate::config::Http;
use crate::id::CredentialName;
use crate::net::Connector;
use crate::origin::Origin;
use crate::telemetry::UpstreamMeters;

/// What all workers' pools share.
pub struct Shared {
    /// How connections are made.
    pub connector: Arc<Connector>,
    /// Most connections at once.
    pub max_connections: usize,
    /// Which versions of HTTP are spoken.
    pub http: Http,
    pub(super) open: AtomicUsize,
}

impl Shared {
    /// Nothing is open yet.
    pub fn new(connector: impl Into<Arc<Connector>>, max_connections: usize, http: Http) -> Arc<Self> {
        Arc::new(Self { connector: connector.into(), max_connections, http, open: AtomicUsize::new(0) })
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

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<B: Upload> Pool<B> {
    /// A pool without connections.
    pub fn new(shared: Arc<Shared>, slots: Vec<Slot>, limits: Limits, sweep: Rc<Sweep>) -> Self {
        let lanes = slots.into_iter().map(|slot| Lane::new(slot, shared.http)).collect();
        Self(Rc::new(Inner { shared, lanes, limits, sweep }), PhantomData)
    }

    /// The pool that takes this one's place. It takes over the connections of every slot that both have, unless
    /// connections are made otherwise now (`shared` is another); all others are let go once they are idle.
    pub fn followed_by(&self, shared: Arc<Shared>, slots: Vec<Slot>, limits: Limits) -> Self {
        let old = &*self.0;
        let known = if Arc::ptr_eq(&old.shared, &shared) { old.lanes.as_slice() } else { &[] };
        let lane = |slot: Slot| {
            let same = known.iter().find(|lane| lane.serves(&slot)).cloned();
            same.unwrap_or_else(|| Lane::new(slot, shared.http))
        };
        let lanes: Vec<_> = slots.into_iter().map(lane).collect();
        let left = old.lanes.iter().filter(|lane| !lanes.iter().any(|kept| Rc::ptr_eq(kept, lane)));
        left.for_each(|lane| lane.close());
        Self(Rc::new(Inner { shared, lanes, limits, sweep: old.sweep.clone() }), PhantomData)
    }

    /// Lets go of connections that were closed by the other side, got bytes unasked, or have lain too long.
    pub fn sweep(&self) {
        for lane in &self.0.lanes {
            lane.sweep(self.0.sweep.now(), self.0.limits.idle_timeout);
        }
    }
}

impl Inner {
    /// Lets go of the connection that has lain longest, wherever it leads.
    pub(super) fn evict(&self) {
        let lanes = self.lanes.iter().filter_map(|lane| Some((lane.idle_since()?, lane)));
        if let Some((since, lane)) = lanes.min_by_key(|(since, _)| *since) {
            lane.evict(since);
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
