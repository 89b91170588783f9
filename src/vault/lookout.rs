//! Looks after one credential whose secret lies elsewhere: examines suspicions, reads commands again, brings back what
//! was lost.
//!
//! Only a 401 to the vault's own question takes a credential out of use (contract.md 4 "Rejected credentials"); an
//! upstream that cannot be asked decides nothing. What is out of use is tried again with growing pauses.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::Means;
use super::credential::{Candidate, Slot};
use super::entry::{Change, Entry, Outage};
use super::pause::{Pause, SHORTEST_PAUSE, reached};
use super::probe::Verdict;
use super::source::Unread;
use crate::id::CredentialName;
use crate::origin::Origin;

/// The watch over a credential whose secret lies elsewhere, and the only writer of how it stands.
pub(super) struct Lookout {
    entry: Arc<Entry>,
    means: Arc<ArcSwap<Means>>,
    /// The slot in use; those before it were refused.
    first: usize,
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

impl Lookout {
    /// Takes up the watch over an entry with what it knows, and has it sent.
    pub(super) fn begin(entry: Arc<Entry>, means: Arc<ArcSwap<Means>>) -> Self {
        let mut watch = Self {
            entry,
            means,
            first: 0,
            generation: 0,
            condition: Condition::Ready,
            pause: Pause::default(),
            retry_at: None,
            refresh_at: None,
            next_question: Instant::now(),
        };
        if !watch.install() {
            watch.withdraw(Condition::Unavailable);
        }
        watch
    }

    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    fn name(&self) -> &CredentialName {
        self.entry.name()
    }

    /// Looks after it, for as long as nobody drops this.
    pub(super) async fn run(mut self) {
        loop {
            match self.event().await {
                Event::Suspected(origin) => self.examine(&origin).await,
                Event::RetryDue => self.retry().await,
                Event::RefreshDue => self.refresh().await,
            }
        }
    }

    async fn event(&self) -> Event {
        tokio::select! {
            origin = self.entry.suspicion().raised() => Event::Suspected(origin),
            () = reached(self.retry_at) => Event::RetryDue,
            () = reached(self.refresh_at) => Event::RefreshDue,
        }
    }

    /// An upstream answered 401: asks Close, at most once a second.
    async fn examine(&mut self, origin: &Origin) {
        tokio::time::sleep_until(self.next_question).await;
        if let Ok(authorization) = self.entry.authorization() {
            if self.means().ask(origin, authorization).await == Verdict::Rejected {
                self.replace(origin).await;
            }
            self.next_question = Instant::now() + SHORTEST_PAUSE;
        }
        self.entry.suspicion().clear();
    }

    /// Close refused the secret in use: tries a newer one from the same place, then the one that may take over.
    async fn replace(&mut self, origin: &Origin) {
        let refused = self.entry.known(self.first);
        self.read_again(Again::All).await;
        if !self.take_accepted(origin, refused.as_ref()).await {
            self.entry.meters().rejections.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(credential = %self.name(), "Close refuses this credential; it is not sent until Close takes it again");
            self.withdraw(Condition::Rejected(origin.clone()));
        }
    }

    /// What is out of use gets another chance.
    async fn retry(&mut self) {
        let recovered = match self.condition.clone() {
            Condition::Ready => return,
            Condition::Rejected(origin) => {
                self.read_again(Again::AllButCommands).await;
                self.take_accepted(&origin, None).await
            }
            Condition::Unavailable => self.read_first().await.is_ok() && self.install(),
        };
        if recovered {
            tracing::info!(credential = %self.name(), "the credential is available again");
        } else {
            self.withdraw(self.condition.clone());
        }
    }

    /// Reads the secret in use again because its time has come.
    async fn refresh(&mut self) {
        self.schedule_refresh();
        match (self.read_first().await, &self.condition) {
            (Ok(Change::New), Condition::Ready) => {
                self.install();
            }
            (Ok(Change::New), Condition::Rejected(_)) => self.retry_at = Some(Instant::now()),
            (Err(unread), Condition::Ready) => {
                tracing::warn!(credential = %self.name(), "the credential is not available: {}", unread.what);
                self.entry.remember(self.first, None);
                self.withdraw(Condition::Unavailable);
            }
            _ => {}
        }
    }

    /// Reads the secret in use and remembers it.
    async fn read_first(&mut self) -> Result<Change, Unread> {
        let candidate = self.means().read(&self.entry.slots()[self.first]).await?;
        Ok(self.entry.remember(self.first, Some(candidate)))
    }

    /// Reads secrets again; one that cannot be read stays as it was.
    async fn read_again(&mut self, which: Again) {
        for (at, slot) in self.entry.slots().iter().enumerate().skip(self.first) {
            if which == Again::AllButCommands && slot.is_command() {
                continue;
            }
            if let Ok(candidate) = self.means().read(slot).await {
                self.entry.remember(at, Some(candidate));
            }
        }
    }

    /// Asks Close about each known secret but the refused one, and takes the first that it accepts.
    async fn take_accepted(&mut self, origin: &Origin, refused: Option<&Candidate>) -> bool {
        for at in self.first..self.entry.slots().len() {
            let Some(candidate) = self.entry.known(at) else { continue };
            if refused.is_some_and(|refused| refused.is_same(&candidate)) {
                continue;
            }
            let trial = candidate.authorization(self.generation, Arc::default());
            if self.means().ask(origin, trial).await == Verdict::Accepted {
                self.promote(at);
                return self.install();
            }
        }
        false
    }

    /// Makes the slot the first one; those before it are not used again.
    fn promote(&mut self, at: usize) {
        if at > self.first {
            self.first = at;
            self.entry.meters().promotions.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(credential = %self.name(), "Close refuses `current`; `next` has taken its place");
        }
    }

    /// Puts the first secret to use; `false` when there is none.
    fn install(&mut self) -> bool {
        let Some(candidate) = self.entry.known(self.first) else { return false };
        self.generation += 1;
        let needles = self.entry.needles(self.first);
        self.entry.admit(candidate.authorization(self.generation, Arc::new(needles)));
        self.condition = Condition::Ready;
        self.pause = Pause::default();
        self.retry_at = None;
        self.schedule_refresh();
        true
    }

    fn means(&self) -> Arc<Means> {
        self.means.load_full()
    }

    fn withdraw(&mut self, condition: Condition) {
        let until = Instant::now() + self.pause.next();
        let outage = if matches!(condition, Condition::Rejected(_)) { Outage::Rejected } else { Outage::Unavailable };
        self.entry.withdraw(outage, until);
        self.condition = condition;
        self.retry_at = Some(until);
        if matches!(outage, Outage::Unavailable) {
            self.refresh_at = None;
        }
    }

    fn schedule_refresh(&mut self) {
        let interval = self.entry.slots().get(self.first).and_then(Slot::refresh);
        self.refresh_at = interval.map(|interval| Instant::now() + interval);
    }
}
