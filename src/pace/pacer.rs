//! Everything that is known of limits, by owner and group; asked by workers, never waited for.
//!
//! What is shared lies in a map behind closures that end at once. Whoever must wait gets a [`Turn`], and the dispatcher,
//! on the service thread, decides when it is over.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::budget::{Counted, Trip};
use super::cell::{Cell, Round, Step, Waiter};
use super::lesson::Lesson;
use super::{Entry, Exhausted, Share};
use crate::telemetry::{Label, LimitMeters};

/// What is known of all limits, from the start on and over all reloads.
pub struct Pacer {
    cells: DashMap<CellKey, Cell, RandomState>,
    /// Whether anything is known of an owner at all.
    known: DashMap<Owner, Arc<AtomicBool>>,
    bell: mpsc::UnboundedSender<CellKey>,
    ids: AtomicU64,
    meters: Meters,
}

type Meters = Box<dyn Fn(Label, &'static str) -> Arc<LimitMeters> + Send + Sync>;

/// Hands out turns: the one task that decides who goes next.
pub struct Dispatcher {
    pacer: Arc<Pacer>,
    bells: mpsc::UnboundedReceiver<CellKey>,
}

/// Who has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A credential of no organisation that is known.
    Credential(Label),
    /// All credentials of an organisation together.
    Organization(Label),
}

/// A limit's place: whose, and of which group of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CellKey {
    owner: Owner,
    group: &'static str,
}

/// A credential as the pacer knows it.
pub struct Account {
    pacer: Arc<Pacer>,
    owner: Owner,
    credential: Label,
    known: Arc<AtomicBool>,
}

/// The right to send one request, which counts as under way until it is settled.
pub struct Place {
    pacer: Arc<Pacer>,
    key: CellKey,
    credential: Label,
    sent: Instant,
    open: bool,
}

/// The wait for a place; dropping it gives the turn up.
pub struct Turn {
    pacer: Arc<Pacer>,
    key: CellKey,
    credential: Label,
    caller: Label,
    id: u64,
    granted: oneshot::Receiver<Result<Place, Exhausted>>,
    over: bool,
}

impl Pacer {
    /// Knows nothing yet. The dispatcher is to be run; `meters` gives those of a credential and a group.
    pub fn new(
        meters: impl Fn(Label, &'static str) -> Arc<LimitMeters> + Send + Sync + 'static,
    ) -> (Arc<Self>, Dispatcher) {
        let (bell, bells) = mpsc::unbounded_channel();
        let pacer = Arc::new(Self {
            cells: DashMap::default(),
            known: DashMap::new(),
            bell,
            ids: AtomicU64::new(0),
            meters: Box::new(meters),
        });
        (Arc::clone(&pacer), Dispatcher { pacer, bells })
    }

    /// The account of a credential, by its label and that of its organisation, if it has one.
    pub fn account(self: &Arc<Self>, credential: Label, organization: Option<Label>) -> Account {
        let owner = organization.map_or(Owner::Credential(credential), Owner::Organization);
        let known = self.known.entry(owner).or_default().clone();
        Account { pacer: Arc::clone(self), owner, credential, known }
    }

    fn with<T>(&self, key: &CellKey, act: impl FnOnce(&mut Cell) -> T) -> Option<T> {
        self.cells.get_mut(key).map(|mut cell| act(&mut cell))
    }

    /// Acts on a cell, and has the dispatcher look at it when somebody waits there.
    fn change(&self, key: &CellKey, act: impl FnOnce(&mut Cell)) {
        let ring = self.with(key, |cell| {
            act(cell);
            cell.is_waited_for() && !std::mem::replace(&mut cell.rung, true)
        });
        if ring == Some(true) {
            // The dispatcher ends with the gateway.
            let _ = self.bell.send(*key);
        }
    }
}

impl Account {
    /// Decides about a request that may wait for so long: one atomic load when nothing is known of its credential.
    pub(super) fn enter(&self, share: Share, patience: Duration) -> Entry {
        if !self.known.load(Ordering::Relaxed) {
            return Entry::Free(None);
        }
        let (key, now) = (self.key(share.group), Instant::now());
        let mut turn = None;
        let mut step = None;
        self.pacer.change(&key, |cell| {
            cell.join(self.credential, || (self.pacer.meters)(self.credential, share.group));
            let decided = cell.enter(self.credential, share.key, patience, now);
            if matches!(decided, Step::Wait) {
                let (sender, granted) = oneshot::channel();
                let id = self.pacer.ids.fetch_add(1, Ordering::Relaxed);
                cell.queue(self.credential, share.key, Waiter { id, deadline: now + patience, sender });
                turn = Some((id, granted));
            }
            step = Some(decided);
        });
        let (pacer, credential) = (&self.pacer, self.credential);
        match (step, turn) {
            (Some(Step::Refuse(exhausted)), _) => Entry::Refused(exhausted),
            (Some(Step::Wait), Some((id, granted))) => {
                let pacer = Arc::clone(pacer);
                Entry::Held(Turn { pacer, key, credential, caller: share.key, id, granted, over: false })
            }
            (Some(_), _) => Entry::Free(Some(Place::new(pacer, key, credential, now))),
            (None, _) => Entry::Free(None),
        }
    }

    /// Learns from the answer to a request.
    pub(super) fn learn(&self, group: &'static str, place: Option<Place>, lesson: &Lesson) {
        let Some(mut place) = place else { return self.learn_first(group, lesson) };
        place.open = false;
        let trip = Trip::noted(place.sent, Instant::now());
        place.pacer.change(&place.key, |cell| cell.settle(place.credential, Counted::Yes, trip, lesson));
    }

    /// From a request that nobody counted, because nothing was known when it went out.
    fn learn_first(&self, group: &'static str, lesson: &Lesson) {
        if lesson.is_empty() {
            return;
        }
        let (key, now) = (self.key(group), Instant::now());
        self.pacer.cells.entry(key).or_insert_with(|| Cell::new(self.owner));
        self.known.store(true, Ordering::Relaxed);
        self.pacer.change(&key, |cell| {
            cell.join(self.credential, || (self.pacer.meters)(self.credential, group));
            cell.settle(self.credential, Counted::No, Trip::unnoted(now), lesson);
        });
    }

    fn key(&self, group: &'static str) -> CellKey {
        CellKey { owner: self.owner, group }
    }
}

impl Place {
    fn new(pacer: &Arc<Pacer>, key: CellKey, credential: Label, sent: Instant) -> Self {
        Self { pacer: Arc::clone(pacer), key, credential, sent, open: true }
    }

    /// Nothing was sent.
    pub fn give_back(mut self) {
        self.open = false;
        self.pacer.change(&self.key, |cell| cell.give_back(self.credential));
    }
}

impl Drop for Place {
    /// Whoever does not know what became of a request must assume that it counted.
    fn drop(&mut self) {
        if self.open {
            self.pacer.change(&self.key, |cell| cell.lose(self.credential));
        }
    }
}

impl Future for Turn {
    type Output = Result<Place, Exhausted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = ready!(Pin::new(&mut self.granted).poll(cx));
        self.over = true;
        // Without a dispatcher the gateway is at its end.
        Poll::Ready(granted.unwrap_or(Err(Exhausted::UNKNOWN)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.granted.close();
        if let Ok(Ok(place)) = self.granted.try_recv() {
            place.give_back();
        }
        let (credential, caller, id) = (self.credential, self.caller, self.id);
        self.pacer.change(&self.key, |cell| cell.leave(credential, caller, id));
    }
}

impl Dispatcher {
    /// Hands out turns, for as long as the gateway runs.
    pub async fn run(mut self) {
        let mut due: HashMap<CellKey, Instant> = HashMap::new();
        loop {
            let next = due.values().min().copied();
            let rung = tokio::select! {
                rung = self.bells.recv() => rung,
                () = reached(next) => None,
            };
            let now = Instant::now();
            let over = due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key);
            let keys: Vec<CellKey> = over.chain(rung).collect();
            for key in keys {
                match self.attend(key) {
                    Some(next) => due.insert(key, next),
                    None => due.remove(&key),
                };
            }
        }
    }

    /// Lets those of a cell go whose turn it is; when to look again.
    fn attend(&self, key: CellKey) -> Option<Instant> {
        loop {
            let now = Instant::now();
            let Round { granted, refused, next } = self.pacer.with(&key, |cell| cell.hand_out(now))?;
            for (exhausted, waiter) in refused {
                // One that has left needs no answer.
                let _ = waiter.sender.send(Err(exhausted));
            }
            let mut left = false;
            for (credential, waiter) in granted {
                if let Err(Ok(place)) = waiter.sender.send(Ok(Place::new(&self.pacer, key, credential, now))) {
                    place.give_back();
                    left = true;
                }
            }
            if !left {
                return next;
            }
        }
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
