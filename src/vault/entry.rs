//! One credential as requests see it: what to send, or why nothing may be sent.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::Holding;
use super::authorization::Authorization;
use super::credential::{Candidate, Slot};
use super::oauth::{Death, Renewal};
use super::redactor::Needles;
use crate::id::CredentialName;
use crate::origin::Origin;
use crate::telemetry::CredentialMeters;

/// How a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is sent.
    Ready,
    /// It is sent; an upstream answered 401, and Close is being asked.
    Suspect,
    /// Close refused it; it is not sent until Close takes it again.
    Rejected,
    /// Its secret cannot be had; it is tried again.
    Unavailable {
        /// Why, for people.
        reason: &'static str,
    },
    /// Its access token has ended, and requests wait for the next one.
    Refreshing,
    /// Nobody has authorized it yet.
    NeedsAuthorization,
    /// Its grant is over: it must be authorized again.
    Dead {
        /// What ended it, for people.
        reason: &'static str,
    },
    /// Somebody took it out of use; it is not sent until somebody takes it back.
    Disabled,
}

/// Why a credential is not sent, and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the credential is not available: {reason}")]
pub struct Unavailable {
    /// For people; names no secret.
    pub reason: &'static str,
    /// Seconds until the vault tries again, at least 1.
    pub retry_after: u64,
}

/// What keeps a credential from being sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outage {
    /// Close refused it.
    Rejected,
    /// Its secret cannot be had.
    Unavailable,
    /// Nobody has authorized it yet.
    NeedsAuthorization,
    /// Its grant is over.
    Dead(Death),
    /// Somebody took it out of use.
    Disabled,
}

impl Outage {
    fn reason(self) -> &'static str {
        match self {
            Self::Rejected => "Close refused it",
            Self::Unavailable => "its secret cannot be had",
            Self::Disabled => "it is disabled",
            Self::NeedsAuthorization => "nobody has authorized it yet",
            Self::Dead(death) => death.reason(),
        }
    }

    fn state(self) -> State {
        match self {
            Self::Rejected => State::Rejected,
            Self::Unavailable => State::Unavailable { reason: self.reason() },
            Self::NeedsAuthorization => State::NeedsAuthorization,
            Self::Dead(death) => State::Dead { reason: death.reason() },
            Self::Disabled => State::Disabled,
        }
    }
}

enum Standing {
    Ready(Authorization),
    /// Its token has ended; the next try to get another begins, or began, at that moment.
    Awaited {
        until: Instant,
        reason: &'static str,
    },
    Out {
        outage: Outage,
        until: Instant,
    },
}

impl Unavailable {
    fn until(reason: &'static str, until: Instant) -> Self {
        let wait = until.saturating_duration_since(Instant::now());
        let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { reason, retry_after: retry_after.max(1) }
    }
}

/// A credential's place in the vault: read by every request, written by its watch alone.
pub(super) struct Entry {
    name: CredentialName,
    meters: Arc<CredentialMeters>,
    /// The secrets as they are configured: the one in use, then the one that may take over.
    slots: Vec<Slot>,
    /// Whether somebody took it out of use.
    switch: Switch,
    /// What each slot gave when it was last read with success.
    known: Mutex<Vec<Option<Candidate>>>,
    standing: ArcSwap<Standing>,
    suspicion: Suspicion,
    /// How requests ask for another token, of a credential that has some to give.
    renewal: Option<Renewal>,
    retired: watch::Sender<bool>,
}

/// Whether a credential may be used at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Switch {
    /// It may.
    #[default]
    On,
    /// Somebody took it out of use.
    Off,
}

/// Whether a secret that was read again is another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    New,
}

impl Entry {
    /// A place that has nothing to send yet, and what its slots gave.
    pub(super) fn new(name: CredentialName, meters: Arc<CredentialMeters>, holding: Holding) -> Self {
        let Holding { slots, known, switch } = holding;
        let nothing_yet = match switch {
            Switch::On => Standing::Out { outage: Outage::Unavailable, until: Instant::now() },
            Switch::Off => Standing::Out { outage: Outage::Disabled, until: Instant::now() + DISABLED },
        };
        let suspicion = Suspicion { origin: ArcSwapOption::empty(), bell: Notify::new() };
        let renewal = slots.iter().any(|slot| slot.app().is_some()).then(Renewal::default);
        Self {
            name,
            meters,
            slots,
            switch,
            known: Mutex::new(known),
            standing: ArcSwap::from_pointee(nothing_yet),
            suspicion,
            renewal,
            retired: watch::Sender::new(false),
        }
    }

    pub(super) fn name(&self) -> &CredentialName {
        &self.name
    }

    pub(super) fn meters(&self) -> &CredentialMeters {
        &self.meters
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn switch(&self) -> Switch {
        self.switch
    }

    /// Whether it stands for these slots, they gave what it knows of them, and it may be used or not as before.
    pub(super) fn stands_for(&self, Holding { slots, known: read, switch }: &Holding) -> bool {
        let same = |(known, read): (&Option<Candidate>, &Option<Candidate>)| match (known, read) {
            (Some(known), Some(read)) => known.is_same(read),
            (None, None) => true,
            _ => false,
        };
        self.slots == *slots && self.switch == *switch && self.memory().iter().zip(read).all(same)
    }

    /// What a slot of the same setting and reference gave; none when there is no such slot.
    pub(super) fn gave(&self, slot: &Slot) -> Option<Option<Candidate>> {
        self.slots.iter().position(|known| known == slot).map(|at| self.known(at))
    }

    /// What a slot gave when it was last read with success.
    pub(super) fn known(&self, slot: usize) -> Option<Candidate> {
        self.memory().get(slot)?.clone()
    }

    /// The id of the API key in use; where none is, of the first one that could be read.
    pub(super) fn key_id(&self) -> Option<Arc<str>> {
        let (memory, used) = (self.memory(), self.authorization().ok());
        let is_used = |one: &&Candidate| used.as_ref().is_some_and(|used| used.carries(&one.header()));
        let known = || memory.iter().flatten();
        known().find(is_used).or_else(|| known().next())?.key_id().cloned()
    }

    /// Notes what a slot gave; `None`: it gives nothing any more.
    pub(super) fn remember(&self, slot: usize, read: Option<Candidate>) -> Change {
        let mut memory = self.memory();
        let Some(known) = memory.get_mut(slot) else { return Change::None };
        let same = matches!((&*known, &read), (Some(known), Some(read)) if known.is_same(read));
        *known = read;
        if same { Change::None } else { Change::New }
    }

    /// What answers must be scrubbed of: the secrets of this slot and those behind it.
    pub(super) fn needles(&self, first: usize) -> Needles {
        Needles::of(self.memory().iter().skip(first).flatten().flat_map(Candidate::forms))
    }

    fn memory(&self) -> MutexGuard<'_, Vec<Option<Candidate>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the watch over it: another entry stands in its place now, or none. What it has to send stays as it is, for
    /// the requests that began with it.
    pub(super) fn retire(&self) {
        self.retired.send_replace(true);
    }

    /// Has nothing sent any more, also by the requests that began with it and have not been sent yet.
    pub(super) fn disable(&self) {
        self.withdraw(Outage::Disabled, Instant::now() + DISABLED);
    }

    /// How many requests carry its secret, or wait for the end of an answer to it.
    pub(super) fn uses(&self) -> usize {
        match &**self.standing.load() {
            Standing::Ready(authorization) => authorization.uses(),
            Standing::Awaited { .. } | Standing::Out { .. } => 0,
        }
    }

    /// Waits until it is retired.
    pub(super) async fn retired(&self) {
        // The sender lives as long as the entry.
        let _ = self.retired.subscribe().wait_for(|retired| *retired).await;
    }

    /// The hot path: one atomic load, and shared bytes.
    pub(super) fn authorization(&self) -> Result<Authorization, Unavailable> {
        match &**self.standing.load() {
            Standing::Ready(authorization) => Ok(authorization.again()),
            Standing::Awaited { until, reason } => Err(Unavailable::until(reason, *until)),
            Standing::Out { outage, until } => Err(Unavailable::until(outage.reason(), *until)),
        }
    }

    pub(super) fn state(&self) -> State {
        match &**self.standing.load() {
            Standing::Ready(_) if self.suspicion.is_raised() => State::Suspect,
            Standing::Ready(_) => State::Ready,
            Standing::Awaited { .. } => State::Refreshing,
            Standing::Out { outage, .. } => outage.state(),
        }
    }

    /// Raises the suspicion, unless the 401 was for a secret that is in use no more.
    pub(super) fn suspect(&self, generation: u64, origin: &Origin) {
        let standing = self.standing.load();
        if matches!(&**standing, Standing::Ready(authorization) if authorization.generation() == generation) {
            self.suspicion.raise(origin);
        }
    }

    pub(super) fn suspicion(&self) -> &Suspicion {
        &self.suspicion
    }

    /// How requests ask for another token; none where a secret is all that there is.
    pub(super) fn renewal(&self) -> Option<&Renewal> {
        self.renewal.as_ref()
    }

    /// From now on requests carry this.
    pub(super) fn admit(&self, authorization: Authorization) {
        self.standing.store(Arc::new(Standing::Ready(authorization)));
        self.meters.up.store(true, Ordering::Relaxed);
        self.renewal.iter().for_each(Renewal::moved);
    }

    /// From now on requests wait; the next try is `until`, and none has failed yet while that is now.
    pub(super) fn expect(&self, reason: &'static str, until: Instant) {
        self.standing.store(Arc::new(Standing::Awaited { until, reason }));
        self.meters.up.store(until <= Instant::now(), Ordering::Relaxed);
        self.renewal.iter().for_each(Renewal::moved);
    }

    /// From now on requests carry nothing; the next try is `until`.
    pub(super) fn withdraw(&self, outage: Outage, until: Instant) {
        self.standing.store(Arc::new(Standing::Out { outage, until }));
        self.meters.up.store(false, Ordering::Relaxed);
        self.renewal.iter().for_each(Renewal::moved);
    }

    /// What a request that waits for a token is told now; none: to wait on. It is content with no token but one
    /// beyond a generation, and with no try later than `patience`.
    pub(super) fn prospect(&self, beyond: u64, patience: Instant) -> Option<Result<Authorization, Unavailable>> {
        match &**self.standing.load() {
            Standing::Ready(authorization) if authorization.generation() > beyond => Some(Ok(authorization.again())),
            Standing::Ready(_) => None,
            Standing::Awaited { until, .. } if *until <= patience => None,
            Standing::Awaited { until, reason } => Some(Err(Unavailable::until(reason, *until))),
            Standing::Out { outage, until } => Some(Err(Unavailable::until(outage.reason(), *until))),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.name, self.state())
    }
}

/// A doorbell: rung by any thread that saw a 401, once until it is answered.
pub(super) struct Suspicion {
    origin: ArcSwapOption<Origin>,
    bell: Notify,
}

impl Suspicion {
    fn raise(&self, origin: &Origin) {
        if !self.is_raised() {
            self.origin.store(Some(Arc::new(origin.clone())));
            self.bell.notify_one();
        }
    }

    fn is_raised(&self) -> bool {
        self.origin.load().is_some()
    }

    /// Waits for a suspicion; gives the upstream that answered 401.
    pub(super) async fn raised(&self) -> Origin {
        loop {
            if let Some(origin) = self.origin.load_full() {
                return Origin::clone(&origin);
            }
            self.bell.notified().await;
        }
    }

    /// The suspicion was looked into.
    pub(super) fn clear(&self) {
        self.origin.store(None);
    }
}

/// When whoever found a credential disabled may ask again: somebody must enable it.
const DISABLED: Duration = Duration::from_secs(60);
