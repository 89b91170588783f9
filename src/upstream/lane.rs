//! The connections of one slot on one worker, and which of them the next request takes.
//!
//! HTTP/1.1 costs less for a request alone, HTTP/2 for many at once: they share system calls, records and reads. So a
//! lane that may speak both goes by what is in flight. Up to [`FEW`] requests at once take connections of their own;
//! beyond that all new ones become streams, and they stay so until the crowd has been gone for a tick or two. A request
//! with a large body takes a connection of its own in a crowd as well: windows cost more than they save. How large an
//! answer is makes no difference: nobody knows it before.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::http1::Link;
use super::http2::{Claim, Trunk};
use super::opening::Opening;
use super::{Freshness, SendFault, Slot, Upload};
use crate::config::Http;
use crate::net::Offer;
use crate::origin::Scheme;

/// A slot and its connections; a pool and the one that follows it share those of a slot that both have.
pub(super) struct Lane {
    pub(super) slot: Slot,
    #[expect(clippy::vec_box, reason = "a link moves between the pool, the exchange and the body: as a pointer")]
    idle: RefCell<Vec<Box<Link>>>,
    trunks: RefCell<Vec<Rc<Trunk>>>,
    /// The connection that is being made for all who wait for one.
    opening: RefCell<Option<Opening>>,
    speaks: Cell<Speaks>,
    load: Load,
    /// No pool has this lane any more: what comes back is let go.
    closed: Cell<bool>,
}

/// What a request goes by.
pub(super) enum Way {
    /// A connection of its own.
    Link(Box<Link>),
    /// A stream among others.
    Stream(Claim),
}

/// How a request that found no way gets one.
pub(super) enum Plan {
    /// It makes a connection of its own.
    Alone(Offer),
    /// It waits, with others, for one connection.
    Together(Offer),
}

/// How much a request brings with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// No body, a small one, or one of which nothing is known.
    Light,
    /// A body of [`LARGE`] bytes or more.
    Heavy,
}

/// Which versions the origin speaks, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    /// HTTP/1.1: nothing else is offered.
    Http1,
    /// HTTP/2: nothing else will do.
    Http2,
    /// Not known yet: the first connection offers both.
    Unknown,
    /// HTTP/1.1 when both were offered last; both are offered again with each connection.
    ChoseHttp1,
    /// Both.
    Both,
    /// It took HTTP/2, and would not have HTTP/1.1.
    RefusedHttp1,
}

/// How many requests are in flight, and were lately.
#[derive(Default)]
struct Load {
    now: Cell<usize>,
    /// The most since the last tick.
    peak: Cell<usize>,
    /// The most between the two ticks before.
    before: Cell<usize>,
}

/// A request in flight: from its beginning to the end of its answer.
pub(super) struct Flight(Rc<Lane>);

impl Lane {
    pub(super) fn new(slot: Slot, http: Http) -> Rc<Self> {
        let speaks = match (http, slot.origin.scheme()) {
            (Http::H1, _) | (Http::Auto, Scheme::Http) => Speaks::Http1,
            (Http::H2, _) => Speaks::Http2,
            (Http::Auto, Scheme::Https) => Speaks::Unknown,
        };
        Rc::new(Self {
            slot,
            idle: RefCell::default(),
            trunks: RefCell::default(),
            opening: RefCell::default(),
            speaks: Cell::new(speaks),
            load: Load::default(),
            closed: Cell::new(false),
        })
    }

    /// Whether it is the lane of this slot: of the same credential at the same origin.
    pub(super) fn serves(&self, slot: &Slot) -> bool {
        self.slot.credential == slot.credential && self.slot.origin == slot.origin
    }

    /// Counts a request as in flight until the value is dropped.
    pub(super) fn enter(self: &Rc<Self>) -> Flight {
        let now = self.load.now.get() + 1;
        self.load.now.set(now);
        self.load.peak.set(self.load.peak.get().max(now));
        Flight(self.clone())
    }

    /// A way that is there already.
    pub(super) fn take(&self, freshness: Freshness, weight: Weight) -> Option<Way> {
        if freshness == Freshness::New {
            return None;
        }
        if self.prefers_streams(weight) {
            return self.claim(freshness).map(Way::Stream);
        }
        self.take_link(freshness).map(Way::Link).or_else(|| self.claim(freshness).map(Way::Stream))
    }

    /// A way by the connection that was made last, whatever it speaks.
    pub(super) fn take_newest(&self) -> Option<Way> {
        let stream = self.trunks.borrow().iter().rev().find_map(Trunk::claim).map(Way::Stream);
        stream.or_else(|| self.take_link(Freshness::Pooled).map(Way::Link))
    }

    /// Whether a connection of its own would serve the next such request better than what it gets now.
    pub(super) fn lacks_links(&self, weight: Weight) -> bool {
        self.speaks.get() == Speaks::Both && !self.prefers_streams(weight) && self.idle.borrow().is_empty()
    }

    /// How to get a way.
    pub(super) fn plan(&self, weight: Weight) -> Plan {
        match self.speaks.get() {
            Speaks::Http1 => Plan::Alone(Offer::Http1),
            Speaks::Http2 => Plan::Together(Offer::Http2),
            // While one finds out what is spoken, a few others need not wait.
            Speaks::Unknown if self.opening.borrow().is_some() && !self.load.is_high() => Plan::Alone(Offer::Http1),
            Speaks::ChoseHttp1 => Plan::Alone(Offer::Both),
            Speaks::Both if !self.prefers_streams(weight) => Plan::Alone(Offer::Http1),
            Speaks::Unknown | Speaks::Both | Speaks::RefusedHttp1 => Plan::Together(Offer::Both),
        }
    }

    /// Notes what came of offering both.
    pub(super) fn learn(&self, offer: Offer, agreed_on_http2: bool) {
        if offer == Offer::Both {
            self.speaks.set(match (agreed_on_http2, self.speaks.get()) {
                (false, _) => Speaks::ChoseHttp1,
                (true, Speaks::RefusedHttp1) => Speaks::RefusedHttp1,
                (true, _) => Speaks::Both,
            });
        }
    }

    /// The origin wants HTTP/1.1 for what was asked (RFC 9113 7, HTTP_1_1_REQUIRED): it is spoken from now on.
    pub(super) fn demands_http1(&self) {
        if self.speaks.get() == Speaks::Both {
            self.speaks.set(Speaks::Http1);
            self.trunks.take().iter().for_each(|trunk| trunk.retire());
        }
    }

    /// Whether a connection failed for no other reason than that it offered HTTP/1.1 alone; from now on both are.
    pub(super) fn forgoes_http1(&self, offer: Offer, fault: &SendFault) -> bool {
        let open = matches!(self.speaks.get(), Speaks::Unknown | Speaks::Both | Speaks::RefusedHttp1);
        let forgoes = offer == Offer::Http1 && open && fault.refuses_protocol();
        if forgoes {
            self.speaks.set(Speaks::RefusedHttp1);
        }
        forgoes
    }

    /// Lays a connection back whose exchange is over, if it can serve another.
    pub(super) fn give_back(&self, mut link: Box<Link>, now: Instant) {
        if link.lives() {
            self.lay(link, now);
        }
    }

    /// Lays an idle connection down.
    pub(super) fn lay(&self, mut link: Box<Link>, now: Instant) {
        if !self.closed.get() {
            link.reused = true;
            link.idle_since = now;
            link.seat.rest();
            self.idle.borrow_mut().push(link);
        }
    }

    /// Adds a connection for streams.
    pub(super) fn add(&self, trunk: Rc<Trunk>) {
        self.trunks.borrow_mut().push(trunk);
    }

    /// The opening that all wait for; begun if there is none.
    pub(super) fn opening(&self, begin: impl FnOnce() -> Opening) -> Opening {
        self.opening.borrow_mut().get_or_insert_with(begin).clone()
    }

    /// The opening is over.
    pub(super) fn opened(&self) {
        self.opening.take();
    }

    /// Lets go of connections that were closed by the other side, got bytes unasked, or have lain too long.
    pub(super) fn sweep(&self, now: Instant, limit: Duration) {
        self.load.pass();
        self.idle
            .borrow_mut()
            .retain_mut(|link| now.saturating_duration_since(link.idle_since) < limit && link.lives());
        // Those end themselves.
        self.trunks.borrow_mut().retain(|trunk| trunk.lives());
    }

    /// Since when its oldest idle connection has lain.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let link = self.idle.borrow().first().map(|link| link.idle_since);
        let trunk = self.trunks.borrow().iter().filter_map(|trunk| trunk.idle_since()).min();
        [link, trunk].into_iter().flatten().min()
    }

    /// Lets go of the connection that has lain since then.
    pub(super) fn evict(&self, since: Instant) {
        let mut idle = self.idle.borrow_mut();
        if idle.first().is_some_and(|link| link.idle_since == since) {
            idle.remove(0);
            return;
        }
        let mut trunks = self.trunks.borrow_mut();
        if let Some(at) = trunks.iter().position(|trunk| trunk.idle_since() == Some(since)) {
            trunks.remove(at).leave();
        }
    }

    /// No pool has it any more: what is idle is let go, and what is in use once it is idle.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.idle.take();
        self.trunks.take().iter().for_each(|trunk| trunk.retire());
    }

    fn prefers_streams(&self, weight: Weight) -> bool {
        match self.speaks.get() {
            Speaks::Http2 | Speaks::RefusedHttp1 => true,
            Speaks::Both => self.load.is_high() && weight == Weight::Light,
            Speaks::Http1 | Speaks::Unknown | Speaks::ChoseHttp1 => false,
        }
    }

    /// The connection that was used last and still lives.
    fn take_link(&self, freshness: Freshness) -> Option<Box<Link>> {
        loop {
            let mut link = self.idle.borrow_mut().pop()?;
            link.seat.rise();
            let lives = if freshness == Freshness::Proven { link.proves_alive() } else { link.lives() };
            if lives {
                return Some(link);
            }
        }
    }

    /// A stream on the first connection that has room: those behind it come to rest and end.
    fn claim(&self, freshness: Freshness) -> Option<Claim> {
        let proves = |trunk: &&Rc<Trunk>| freshness != Freshness::Proven || trunk.proves_alive();
        self.trunks.borrow().iter().filter(proves).find_map(Trunk::claim)
    }
}

impl Weight {
    pub(super) fn of(body: &impl Upload) -> Self {
        if body.size_hint().lower() >= LARGE { Self::Heavy } else { Self::Light }
    }
}

impl Load {
    /// A tick: the time before the last one is forgotten.
    fn pass(&self) {
        self.before.set(self.peak.replace(self.now.get()));
    }

    fn is_high(&self) -> bool {
        self.peak.get().max(self.before.get()) > FEW
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let now = &self.0.load.now;
        now.set(now.get() - 1);
    }
}

/// Most requests at once that connections of their own serve at less cost.
const FEW: usize = 8;
/// Bytes of a request's body that one connection carries at less cost than a stream among others: more than a frame takes.
const LARGE: u64 = 32 * 1024;
