//! How requests wait for a token: they share one refresh, and one that leaves takes nothing with it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::tokens::Tokens;
use crate::vault::authorization::Authorization;
use crate::vault::entry::{Entry, Unavailable};

/// A bell by which requests ask for another token, and how they hear what came of it.
pub(in crate::vault) struct Renewal {
    /// The generation that was refused; 0: none.
    wanted: AtomicU64,
    bell: Notify,
    /// How many tries have failed; touched whenever the credential stands otherwise than before.
    failures: watch::Sender<u64>,
    /// The generation in whose place another token was asked for last, and from when on that one may be replaced in turn.
    renewable_from: Mutex<Option<(u64, Instant)>>,
    /// The tokens in use, for whoever keeps the credential after a reload that changes it.
    kept: Mutex<Option<Arc<Tokens>>>,
}

impl Default for Renewal {
    fn default() -> Self {
        let failures = watch::Sender::new(0);
        let (wanted, bell, renewable_from, kept) = Default::default();
        Self { wanted, bell, failures, renewable_from, kept }
    }
}

impl Renewal {
    /// Waits until somebody wants another token than that of a generation.
    pub(super) async fn wanted(&self) -> u64 {
        loop {
            match self.wanted.swap(0, Ordering::AcqRel) {
                0 => self.bell.notified().await,
                generation => return generation,
            }
        }
    }

    fn want(&self, generation: u64) {
        self.wanted.fetch_max(generation, Ordering::AcqRel);
        self.bell.notify_one();
    }

    /// Moves whenever the credential stands otherwise than before.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.failures.subscribe()
    }

    /// The credential stands otherwise than before.
    pub(in crate::vault) fn moved(&self) {
        self.failures.send_modify(|_| {});
    }

    /// A try has failed.
    pub(super) fn failed(&self) {
        self.failures.send_modify(|failures| *failures += 1);
    }

    /// These are in use from now on, or none.
    pub(super) fn keep(&self, tokens: Option<Arc<Tokens>>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    /// The tokens in use.
    pub(in crate::vault) fn kept(&self) -> Option<Arc<Tokens>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the token of a generation was asked for just now, because the one before it was refused: that it is refused as
    /// well is no matter of its age.
    pub(super) fn is_replacement(&self, generation: u64) -> bool {
        self.refused_lately().is_some_and(|refused| generation > refused)
    }

    /// Whether another token in the place of that of a generation was asked for just now.
    pub(super) fn was_tried(&self, generation: u64) -> bool {
        self.refused_lately() == Some(generation)
    }

    /// The generation that was to be replaced, if that is not long ago.
    fn refused_lately(&self) -> Option<u64> {
        let (refused, from) = (*self.renewable_from())?;
        (from > Instant::now()).then_some(refused)
    }

    /// Another token is asked for in the place of the one of this generation, which was refused.
    pub(super) fn replacing(&self, generation: u64) {
        *self.renewable_from() = Some((generation, Instant::now() + SHORTEST_LIFE));
    }

    /// The token of a generation is in use from now on; its time begins with that where it is the one that was asked for.
    pub(super) fn replaced(&self, generation: u64) {
        if let Some((refused, from)) = &mut *self.renewable_from()
            && *refused + 1 == generation
        {
            *from = Instant::now() + SHORTEST_LIFE;
        }
    }

    fn renewable_from(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        self.renewable_from.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for a token; nothing happens when it is dropped.
pub struct Awaiting {
    entry: Arc<Entry>,
    /// Content with no token but one of a later generation.
    beyond: u64,
    failures: watch::Receiver<u64>,
    /// How many tries had failed before it asked.
    failed: u64,
}

impl Awaiting {
    /// Waits for a token of whatever generation; none where a credential has no tokens to wait for.
    pub(in crate::vault) fn any(entry: &Arc<Entry>) -> Option<Self> {
        Some(Self::new(entry, entry.renewal()?, 0))
    }

    /// Asks for a token beyond one that was refused; none where there is none to be had, or where the refused one was itself
    /// asked for in this way just now.
    pub(in crate::vault) fn beyond(entry: &Arc<Entry>, generation: u64) -> Option<Self> {
        let renewal = entry.renewal()?;
        let awaiting = Self::new(entry, renewal, generation);
        let current = entry.authorization().ok().map(|authorization| authorization.generation());
        if current == Some(generation) {
            if renewal.is_replacement(generation) {
                return None;
            }
            renewal.want(generation);
        }
        Some(awaiting)
    }

    fn new(entry: &Arc<Entry>, renewal: &Renewal, beyond: u64) -> Self {
        let failures = renewal.failures.subscribe();
        let failed = *failures.borrow();
        Self { entry: Arc::clone(entry), beyond, failures, failed }
    }

    /// The token, once it is there; why there is none, once that is known, or after 15 s.
    pub async fn token(mut self) -> Result<Authorization, Unavailable> {
        let patience = Instant::now() + PATIENCE;
        match tokio::time::timeout_at(patience, self.settled(patience)).await {
            Ok(settled) => settled,
            Err(_) => Err(Unavailable { reason: "its access token was not renewed in time", retry_after: 1 }),
        }
    }

    async fn settled(&mut self, patience: Instant) -> Result<Authorization, Unavailable> {
        loop {
            // Whatever changes from here on wakes it.
            let failed = *self.failures.borrow_and_update();
            if let Some(told) = self.entry.prospect(self.beyond, patience) {
                return told;
            }
            // It has a token, and it is the refused one: what else could be done for it has failed.
            let still_has_one = self.entry.authorization().is_ok();
            if still_has_one && failed > self.failed {
                return Err(Unavailable { reason: "its access token could not be renewed", retry_after: 1 });
            }
            tokio::select! {
                // The entry holds the sender.
                _ = self.failures.changed() => {}
                // Nobody renews it any more: another entry stands in its place, or none.
                () = self.entry.retired() => {
                    return Err(Unavailable { reason: "its credential was changed meanwhile", retry_after: 1 });
                }
            }
        }
    }
}

/// A token that was asked for in the place of a refused one is not replaced itself before it is so old.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);
/// How long a request waits: as long as a question to the token endpoint may take, and its answer to be stored.
const PATIENCE: Duration = Duration::from_secs(15);
