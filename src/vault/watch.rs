//! Watches over one credential: looks into suspicions, reads commands again, brings back what was lost.
//!
//! Only a 401 to the vault's own question takes a credential out of use (contract.md 4 "Rejected credentials"); an
//! upstream that cannot be asked decides nothing. What is out of use is tried again with growing pauses.

use std::future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Vault;
use super::credential::{Candidate, Slot};
use super::entry::{Entry, Outage};
use super::probe::Verdict;
use super::redactor::Needles;
use super::source::Unread;
use crate::id::CredentialId;
use crate::origin::Origin;

/// The watch over one credential, and the only writer of its entry.
#[derive(Debug)]
pub(super) struct Watch {
    id: CredentialId,
    /// The secret in use, then the one that may take over.
    slots: Vec<Slot>,
    /// What each slot gave when it was last read with success.
    known: Vec<Option<Candidate>>,
    generation: u64,
    condition: Condition,
    pause: Pause,
    retry_at: Option<Instant>,
    refresh_at: Option<Instant>,
    /// Not before then is Close asked about another suspicion.
    next_question: Instant,
}

#[derive(Debug, Clone)]
enum Condition {
    Ready,
    /// Refused, when this origin was asked.
    Rejected(Origin),
    Unavailable,
}

#[derive(Debug)]
enum Event {
    Suspected(Origin),
    RetryDue,
    RefreshDue,
}

/// Which secrets to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    All,
    /// Not those of commands, which run once after a rejection.
    AllButCommands,
}

impl Watch {
    /// Takes up the watch with what was read at the start.
    pub(super) fn begin(id: CredentialId, slots: Vec<Slot>, known: Vec<Option<Candidate>>, entry: &Entry) -> Self {
        let mut watch = Self {
            id,
            slots,
            known,
            generation: 0,
            condition: Condition::Ready,
            pause: Pause::default(),
            retry_at: None,
            refresh_at: None,
            next_question: Instant::now(),
        };
        if !watch.install(entry) {
            watch.withdraw(entry, Condition::Unavailable);
        }
        watch
    }

    /// Watches until the task is dropped.
    pub(super) async fn run(mut self, vault: Arc<Vault>) {
        loop {
            match self.event(vault.entry(self.id)).await {
                Event::Suspected(origin) => self.examine(&vault, &origin).await,
                Event::RetryDue => self.retry(&vault).await,
                Event::RefreshDue => self.refresh(&vault).await,
            }
        }
    }

    async fn event(&self, entry: &Entry) -> Event {
        tokio::select! {
            origin = entry.suspicion().raised() => Event::Suspected(origin),
            () = reached(self.retry_at) => Event::RetryDue,
            () = reached(self.refresh_at) => Event::RefreshDue,
        }
    }

    /// An upstream answered 401: asks Close, at most once a second.
    async fn examine(&mut self, vault: &Vault, origin: &Origin) {
        let entry = vault.entry(self.id);
        tokio::time::sleep_until(self.next_question).await;
        if let Ok(authorization) = entry.authorization() {
            if vault.ask(origin, authorization).await == Verdict::Rejected {
                self.replace(vault, origin).await;
            }
            self.next_question = Instant::now() + SHORTEST_PAUSE;
        }
        entry.suspicion().clear();
    }

    /// Close refused the secret in use: tries a newer one from the same place, then the one that may take over.
    async fn replace(&mut self, vault: &Vault, origin: &Origin) {
        let refused = self.known.first().cloned().flatten();
        self.read_again(vault, Again::All).await;
        if !self.take_accepted(vault, origin, refused.as_ref()).await {
            let entry = vault.entry(self.id);
            entry.meters().rejections.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(credential = %entry.name(), "Close refuses this credential; it is not sent until Close takes it again");
            self.withdraw(entry, Condition::Rejected(origin.clone()));
        }
    }

    /// What is out of use gets another chance.
    async fn retry(&mut self, vault: &Vault) {
        let entry = vault.entry(self.id);
        let recovered = match self.condition.clone() {
            Condition::Ready => return,
            Condition::Rejected(origin) => {
                self.read_again(vault, Again::AllButCommands).await;
                self.take_accepted(vault, &origin, None).await
            }
            Condition::Unavailable => self.read_first(vault).await.is_ok() && self.install(entry),
        };
        if recovered {
            tracing::info!(credential = %entry.name(), "the credential is available again");
        } else {
            self.withdraw(entry, self.condition.clone());
        }
    }

    /// Reads the secret in use again because its time has come.
    async fn refresh(&mut self, vault: &Vault) {
        let entry = vault.entry(self.id);
        self.schedule_refresh();
        match (self.read_first(vault).await, &self.condition) {
            (Ok(Change::New), Condition::Ready) => {
                self.install(entry);
            }
            (Ok(Change::New), Condition::Rejected(_)) => self.retry_at = Some(Instant::now()),
            (Err(unread), Condition::Ready) => {
                tracing::warn!(credential = %entry.name(), "the credential is not available: {}", unread.what);
                self.withdraw(entry, Condition::Unavailable);
            }
            _ => {}
        }
    }

    /// Reads the secret in use and remembers it.
    async fn read_first(&mut self, vault: &Vault) -> Result<Change, Unread> {
        let candidate = vault.read(&self.slots[0]).await?;
        let same = self.known[0].as_ref().is_some_and(|known| known.is_same(&candidate));
        self.known[0] = Some(candidate);
        Ok(if same { Change::None } else { Change::New })
    }

    /// Reads secrets again; one that cannot be read stays as it was.
    async fn read_again(&mut self, vault: &Vault, which: Again) {
        for (slot, known) in self.slots.iter().zip(&mut self.known) {
            if which == Again::AllButCommands && slot.is_command() {
                continue;
            }
            if let Ok(candidate) = vault.read(slot).await {
                *known = Some(candidate);
            }
        }
    }

    /// Asks Close about each known secret but the refused one, and takes the first that it accepts.
    async fn take_accepted(&mut self, vault: &Vault, origin: &Origin, refused: Option<&Candidate>) -> bool {
        for at in 0..self.known.len() {
            let Some(candidate) = self.known[at].clone() else { continue };
            if refused.is_some_and(|refused| refused.is_same(&candidate)) {
                continue;
            }
            let trial = candidate.authorization(self.generation, Arc::default());
            if vault.ask(origin, trial).await == Verdict::Accepted {
                self.promote(vault.entry(self.id), at);
                return self.install(vault.entry(self.id));
            }
        }
        false
    }

    /// Makes the slot the first one; those before it are forgotten.
    fn promote(&mut self, entry: &Entry, at: usize) {
        if at > 0 {
            self.slots.drain(..at);
            self.known.drain(..at);
            entry.meters().promotions.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(credential = %entry.name(), "Close refuses `current`; `next` has taken its place");
        }
    }

    /// Puts the first secret to use; `false` when there is none.
    fn install(&mut self, entry: &Entry) -> bool {
        let Some(candidate) = self.known.first().and_then(Option::as_ref) else { return false };
        self.generation += 1;
        let needles = Needles::of(self.known.iter().flatten().flat_map(Candidate::forms));
        entry.admit(candidate.authorization(self.generation, Arc::new(needles)));
        self.condition = Condition::Ready;
        self.pause = Pause::default();
        self.retry_at = None;
        self.schedule_refresh();
        true
    }

    fn withdraw(&mut self, entry: &Entry, condition: Condition) {
        let until = Instant::now() + self.pause.next();
        let outage = if matches!(condition, Condition::Rejected(_)) { Outage::Rejected } else { Outage::Unavailable };
        entry.withdraw(outage, until);
        self.condition = condition;
        self.retry_at = Some(until);
        if matches!(outage, Outage::Unavailable) {
            self.refresh_at = None;
        }
    }

    fn schedule_refresh(&mut self) {
        let interval = self.slots.first().and_then(Slot::refresh);
        self.refresh_at = interval.map(|interval| Instant::now() + interval);
    }
}

/// Whether a secret that was read again is another one.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    None,
    New,
}

/// Pauses that double from 1 s to 5 min, each with up to a quarter more, so that replicas do not ask in step.
#[derive(Debug, Default)]
struct Pause {
    taken: u32,
}

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = SHORTEST_PAUSE.saturating_mul(1 << self.taken.min(9)).min(LONGEST_PAUSE);
        self.taken += 1;
        let mut random = [0];
        // Without randomness there is no jitter, which harms nobody.
        let drawn = aws_lc_rs::rand::fill(&mut random).map_or(0, |()| u32::from(random[0]));
        (pause + pause * drawn / 1024).min(LONGEST_PAUSE)
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => future::pending().await,
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_second_to_five_minutes() {
        let mut pause = Pause::default();
        let pauses: Vec<_> = (0..40).map(|_| pause.next()).collect();
        assert!(pauses[0] >= SHORTEST_PAUSE && pauses[0] <= SHORTEST_PAUSE * 5 / 4);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!(pauses[..8].windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(pauses[39], LONGEST_PAUSE);
    }
}
