//! What credentials of one owner share in one group of endpoints: their limits, and the queue of those that wait.
//!
//! A request needs room in the limit of its credential and in the one that all credentials of its organisation share.
//! Those that wait get their turns key by key, one request each (deficit round robin, each request costing one): a tool that
//! asks for a lot does not hold up one that asks for little. Nothing here waits, sends or looks at a clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::budget::{Budget, Counted, Trip};
use super::lesson::{Excess, Lesson, Reading, Whose};
use super::pacer::{Owner, Place};
use super::{Exhausted, Limited};
use crate::telemetry::{Label, LimitMeters};

/// The limits of one owner in one group.
pub(super) struct Cell {
    owner: Owner,
    /// What all members share.
    shared: Budget,
    members: Vec<Member>,
    /// The key whose turn is next comes first; none is empty.
    lanes: VecDeque<Lane>,
    /// No time of those that wait is over before; nobody is looked for until then.
    patience: Option<Instant>,
    /// Whether the dispatcher was told already that there is something to do.
    pub(super) rung: bool,
}

struct Member {
    credential: Label,
    own: Budget,
    meters: Arc<LimitMeters>,
}

/// The requests of one key that wait for one credential, in the order in which they came.
struct Lane {
    credential: Label,
    key: Label,
    waiters: VecDeque<Waiter>,
}

/// A request that waits.
pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) deadline: Instant,
    pub(super) sender: oneshot::Sender<Result<Place, Exhausted>>,
}

/// Whether a request may go out.
pub(super) enum Step {
    /// It may, and counts as under way.
    Go,
    /// It may be let go in time.
    Wait,
    /// It would wait too long.
    Refuse(Exhausted),
}

/// What the dispatcher has to do for a cell.
#[derive(Default)]
pub(super) struct Round {
    /// Those whose turn it is, with their credential; they count as under way.
    pub(super) granted: Vec<(Label, Waiter)>,
    /// Those who have waited for as long as they may.
    pub(super) refused: Vec<(Exhausted, Waiter)>,
    /// When to look again, if somebody waits.
    pub(super) next: Option<Instant>,
}

impl Cell {
    pub(super) fn new(owner: Owner) -> Self {
        let (members, lanes) = Default::default();
        Self { owner, shared: Budget::unknown(), members, lanes, patience: None, rung: false }
    }

    /// Makes a credential known to the cell.
    pub(super) fn join(&mut self, credential: Label, meters: impl FnOnce() -> Arc<LimitMeters>) {
        if self.place_of(credential).is_none() {
            self.members.push(Member { credential, own: Budget::unknown(), meters: meters() });
        }
    }

    /// Decides about a request that comes now and may wait for so long.
    pub(super) fn enter(&mut self, credential: Label, key: Label, patience: Duration, now: Instant) -> Step {
        let Some(at) = self.place_of(credential) else { return Step::Go };
        let crowded = self.lanes.iter().any(|lane| lane.credential == credential);
        if !crowded && self.room(at, now) {
            self.begin(at, now);
            return Step::Go;
        }
        let exhausted = self.exhausted(at, key, now);
        if exhausted.wait > patience { Step::Refuse(exhausted) } else { Step::Wait }
    }

    /// Has a request wait behind those of its key.
    pub(super) fn queue(&mut self, credential: Label, key: Label, waiter: Waiter) {
        self.patience = Some(self.patience.map_or(waiter.deadline, |patience| patience.min(waiter.deadline)));
        match self.lanes.iter_mut().find(|lane| lane.is_of(credential, key)) {
            Some(lane) => lane.waiters.push_back(waiter),
            None => self.lanes.push_back(Lane { credential, key, waiters: [waiter].into() }),
        }
    }

    /// A request does not wait any longer.
    pub(super) fn leave(&mut self, credential: Label, key: Label, id: u64) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.is_of(credential, key)) {
            lane.waiters.retain(|waiter| waiter.id != id);
        }
        self.lanes.retain(|lane| !lane.waiters.is_empty());
    }

    /// Whether somebody waits.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// Nobody knows what became of a request that was let go: it counts.
    pub(super) fn lose(&mut self, credential: Label) {
        if let Some(at) = self.place_of(credential) {
            self.members[at].own.end_untold();
            self.shared.end_untold();
        }
    }

    /// A request that was let go was not sent.
    pub(super) fn give_back(&mut self, credential: Label) {
        if let Some(at) = self.place_of(credential) {
            self.members[at].own.give_back();
            self.shared.give_back();
        }
    }

    /// An answer came; `counted`: the request counted as under way.
    pub(super) fn settle(&mut self, credential: Label, counted: Counted, trip: Trip, lesson: &Lesson) {
        let Some(at) = self.place_of(credential) else { return };
        match lesson.excess {
            Some(excess) => {
                // It was turned away, not counted.
                if counted == Counted::Yes {
                    self.give_back(credential);
                }
                self.exceed(at, excess, lesson, trip);
            }
            None => {
                let (own, shared) = self.told(at, lesson, trip.back());
                settle(&mut self.members[at].own, counted, trip, own);
                settle(&mut self.shared, counted, trip, shared);
            }
        }
        self.show(at, trip.back());
    }

    /// Lets those go whose turn it is, and tells those off whose time is over.
    pub(super) fn hand_out(&mut self, now: Instant) -> Round {
        self.rung = false;
        let mut round = Round::default();
        let mut passed_over = 0;
        while passed_over < self.lanes.len() {
            let Some(mut lane) = self.lanes.pop_front() else { break };
            let at = self.place_of(lane.credential).filter(|at| self.room(*at, now));
            match (at, lane.waiters.pop_front()) {
                (Some(at), Some(waiter)) => {
                    self.begin(at, now);
                    round.granted.push((lane.credential, waiter));
                    passed_over = 0;
                }
                (None, Some(waiter)) => {
                    lane.waiters.push_front(waiter);
                    passed_over += 1;
                }
                (_, None) => {}
            }
            if !lane.waiters.is_empty() {
                self.lanes.push_back(lane);
            }
        }
        self.tell_off(now, &mut round);
        round.next = self.next_round(now);
        round
    }

    /// Those whose time is over wait no longer.
    fn tell_off(&mut self, now: Instant, round: &mut Round) {
        if self.patience.is_none_or(|patience| patience > now) {
            return;
        }
        let mut lanes = std::mem::take(&mut self.lanes);
        for lane in &mut lanes {
            if lane.waiters.iter().all(|waiter| waiter.deadline > now) {
                continue;
            }
            let Some(at) = self.place_of(lane.credential) else { continue };
            let exhausted = self.exhausted(at, lane.key, now);
            let waiters = std::mem::take(&mut lane.waiters);
            let (over, waiting): (VecDeque<_>, _) = waiters.into_iter().partition(|waiter| waiter.deadline <= now);
            lane.waiters = waiting;
            round.refused.extend(over.into_iter().map(|waiter| (exhausted, waiter)));
        }
        lanes.retain(|lane| !lane.waiters.is_empty());
        self.lanes = lanes;
        self.patience = self.lanes.iter().flat_map(|lane| &lane.waiters).map(|waiter| waiter.deadline).min();
    }

    /// When somebody may go or is to be told off; nobody waits where that is never.
    fn next_round(&mut self, now: Instant) -> Option<Instant> {
        let patience = self.patience.filter(|_| self.is_waited_for())?;
        let credentials: Vec<Label> = self.lanes.iter().map(|lane| lane.credential).collect();
        let rooms = credentials.into_iter().filter_map(|credential| {
            let at = self.place_of(credential)?;
            Some(self.next_room(at, now)).filter(|next| *next > now)
        });
        rooms.chain([patience]).min()
    }

    fn place_of(&self, credential: Label) -> Option<usize> {
        self.members.iter().position(|member| member.credential == credential)
    }

    fn room(&mut self, at: usize, now: Instant) -> bool {
        self.members[at].own.room(now) > 0 && self.shared.room(now) > 0
    }

    fn next_room(&mut self, at: usize, now: Instant) -> Instant {
        self.members[at].own.next_room(now).max(self.shared.next_room(now))
    }

    fn begin(&mut self, at: usize, now: Instant) {
        let own = &mut self.members[at].own;
        own.begin();
        // Answers tell of the limit that is closest, which is mostly the credential's own.
        if let (Some(limit), Some(length)) = (self.shared.limit(), self.shared.length().max(own.length())) {
            self.shared.assume(limit, length, now);
        }
        self.shared.begin();
    }

    /// How a request of a key that came now would stand: behind as many of each other key as are before it of its own.
    fn exhausted(&mut self, at: usize, key: Label, now: Instant) -> Exhausted {
        let credential = self.members[at].credential;
        let mine = self.lanes.iter().find(|lane| lane.is_of(credential, key)).map_or(0, |lane| lane.waiters.len());
        let next = self.next_room(at, now);
        let own = &self.members[at].own;
        let by = if self.shared.ends() > own.ends() { Limited::ByOrganization } else { Limited::ByKey };
        let rivals = |lane: &&Lane| lane.credential == credential || by == Limited::ByOrganization;
        let others = self.lanes.iter().filter(|lane| !lane.is_of(credential, key)).filter(rivals);
        let before = mine + others.map(|lane| lane.waiters.len().min(mine + 1)).sum::<usize>();
        let budget = if by == Limited::ByKey { own } else { &self.shared };
        let (limit, window) = (budget.limit(), budget.length());
        let windows = limit.map_or(0, |limit| before / limit.max(1) as usize);
        let behind = window.unwrap_or_default().saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX));
        Exhausted { limit, window, wait: next.saturating_duration_since(now).saturating_add(behind), by }
    }

    /// What an answer tells of the credential's own limit, and of the shared one.
    fn told(&self, at: usize, lesson: &Lesson, now: Instant) -> (Option<Reading>, Option<Reading>) {
        let (mut own, mut shared) = (None, None);
        for reading in readings(lesson) {
            let place = if self.is_own(at, &reading, now) { &mut own } else { &mut shared };
            *place = Some(reading);
        }
        (own, shared)
    }

    /// Whether a reading tells of the credential's own limit: a larger one is the organisation's.
    fn is_own(&self, at: usize, reading: &Reading, now: Instant) -> bool {
        let own = &self.members[at].own;
        let Some(limit) = own.limit() else { return true };
        let forgotten = own.told_at().is_none_or(|told| now.saturating_duration_since(told) > FORGOTTEN);
        reading.limit <= limit || forgotten
    }

    fn exceed(&mut self, at: usize, excess: Excess, lesson: &Lesson, trip: Trip) {
        let told = readings(lesson).next();
        let limit = told.map(|reading| reading.limit).or(excess.limit);
        let own = &mut self.members[at].own;
        let larger = own.limit().zip(limit).is_some_and(|(own, told)| told > own);
        // The credential has requests left, by all that is known: another limit than its own was exceeded.
        let disagrees = own.ends().is_some_and(|end| end > trip.back()) && own.left() > 0 && !own.is_in_doubt();
        let shared = match excess.whose {
            Whose::Organization => true,
            Whose::Credential => false,
            Whose::Unsaid => larger || disagrees && matches!(self.owner, Owner::Organization(_)),
        };
        if shared {
            let assumed = own.limit().map(|limit| limit.saturating_mul(KEYS_IN_ORGANIZATION));
            self.shared.exceed(excess.wait, limit.filter(|_| larger).or(assumed), None, trip);
        } else {
            own.exceed(excess.wait, limit, told, trip);
        }
    }

    /// Shows what is known of a credential's own limit.
    fn show(&self, at: usize, now: Instant) {
        let Member { own, meters, .. } = &self.members[at];
        if let Some(limit) = own.limit() {
            let left = own.ends().map(|end| (own.left(), end.saturating_duration_since(now)));
            meters.show(limit, left);
        }
    }
}

impl Lane {
    fn is_of(&self, credential: Label, key: Label) -> bool {
        self.credential == credential && self.key == key
    }
}

/// A request of which an answer came that is no 429 has ended.
fn settle(budget: &mut Budget, counted: Counted, trip: Trip, told: Option<Reading>) {
    budget.succeed();
    match (counted, told) {
        (Counted::Yes, Some(reading)) => budget.end_told(reading, trip),
        (Counted::Yes, None) => budget.end_untold(),
        (Counted::No, Some(reading)) => budget.learn(reading, trip),
        (Counted::No, None) => {}
    }
}

/// What an answer tells, once for each limit: of two that tell of one, the tighter.
fn readings(lesson: &Lesson) -> impl Iterator<Item = Reading> + use<> {
    let told = match lesson.told {
        [Some(one), Some(other)] if one.limit == other.limit => [Some(one.tighter(other)), None],
        // The smaller first: the credential's own.
        [Some(one), Some(other)] if one.limit > other.limit => [Some(other), Some(one)],
        told => told,
    };
    told.into_iter().flatten()
}

/// The limit of an organisation in limits of a key, as Close documents it (close-api.md 3.1).
const KEYS_IN_ORGANIZATION: u32 = 3;
/// A limit of which nothing was told for so long may be another by now.
const FORGOTTEN: Duration = Duration::from_secs(60);
