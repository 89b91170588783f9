//! Usage on its way from the workers to the store: gathered every few seconds, kept while the store is away, asked for.
//!
//! A process that is killed loses what it counted since it wrote last: at most ten seconds, as long as the store answers.
//! Where there is no store yet and no key is defined, nothing is written: then usage lives as long as the process.

mod allotment;
mod pending;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::MissedTickBehavior;

pub(super) use self::allotment::remind;

use self::allotment::Quotas;
use self::pending::Pending;
use super::reload::Effective;
use crate::id::KeyName;
use crate::keys::Allotments;
use crate::store::{Batch, Deed, LastUse, Presence, Question, Store, StoreError, Sum, Used};
use crate::telemetry::{Room, Telemetry};
use crate::usage::Span;

/// What of the usage of this process is not written yet, and where it goes.
pub(super) struct Books {
    telemetry: Arc<Telemetry>,
    store: Store,
    effective: watch::Receiver<Arc<Effective>>,
    pending: Mutex<Pending>,
    /// Who writes, or reads what must not be written meanwhile.
    turn: Semaphore,
    quotas: Quotas,
    /// Whether the store is known to remember that there were keys.
    has_noted_keys: AtomicBool,
}

impl Books {
    pub(super) fn new(telemetry: Arc<Telemetry>, store: Store, effective: watch::Receiver<Arc<Effective>>) -> Self {
        let pending = Mutex::new(Pending::new(writer()));
        let (turn, quotas, has_noted_keys) = (Semaphore::new(1), Quotas::default(), AtomicBool::new(false));
        Self { telemetry, store, effective, pending, turn, quotas, has_noted_keys }
    }

    /// The same that also gives out parts of daily quotas.
    pub(super) fn giving_out(self, allotments: Option<Arc<Allotments>>) -> Self {
        Self { quotas: Quotas::of(allotments), ..self }
    }

    /// Gives out parts of daily quotas as they are wanted, until it is dropped.
    pub(super) async fn give_out(&self) -> Infallible {
        self.quotas.give_out(&self.store).await
    }

    /// Gathers and writes, until it is dropped.
    pub(super) async fn keep(&self) -> Infallible {
        self.remind().await;
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut well = true;
        loop {
            ticks.tick().await;
            well = self.write(well).await;
        }
    }

    /// What was used, what is not written yet among it.
    pub(super) async fn usage(&self, question: &Question) -> Result<Vec<Sum>, StoreError> {
        let turn = self.turn.acquire().await;
        self.gather();
        let written = self.store.usage(question).await?;
        let pending = self.pending().usage(question);
        drop(turn);
        let mut sums: BTreeMap<(u64, String), Sum> = BTreeMap::new();
        for sum in written.into_iter().chain(pending) {
            let key = (sum.begins, sum.name.clone());
            sums.entry(key).and_modify(|known| known.amounts.add(&sum.amounts)).or_insert(sum);
        }
        Ok(sums.into_values().collect())
    }

    /// What a key did since that minute, what is not written yet among it.
    pub(super) async fn deeds(&self, key: &str, from: u64) -> Result<Vec<Deed>, StoreError> {
        let turn = self.turn.acquire().await;
        self.gather();
        let mut deeds = self.store.deeds(key, from).await?;
        deeds.extend(self.pending().deeds(key, from));
        drop(turn);
        Ok(deeds)
    }

    /// What Close's rate limits leave.
    pub(super) fn headroom(&self) -> Vec<Room> {
        self.telemetry.headroom()
    }

    /// When keys and credentials were used last.
    pub(super) async fn last_uses(&self) -> Result<BTreeMap<(Used, String), u64>, StoreError> {
        self.gather();
        let written = self.store.last_uses().await?;
        let mut uses = self.pending().uses().clone();
        for LastUse { of, name, at } in written {
            let known = uses.entry((of, name)).or_default();
            *known = at.max(*known);
        }
        Ok(uses)
    }

    /// Writes everything that was counted so far, and gives back what was not used of daily quotas, if the store answers.
    pub(super) async fn settle(&self) {
        if self.write(true).await {
            self.quotas.give_back(&self.store).await;
        }
    }

    /// Has the metrics know when keys were used before this process, those that there still are: a name that is gone takes no
    /// place among those that have series of their own.
    async fn remind(&self) {
        let uses = self.store.last_uses().await.unwrap_or_default();
        let effective = self.effective.borrow().clone();
        let keys = &effective.loaded.config.keys;
        for LastUse { of, name, at } in uses {
            if of == Used::Key && KeyName::parse(&name).is_ok_and(|name| keys.contains_key(&name)) {
                self.telemetry.key_last_used(&name, at);
            }
        }
    }

    /// Gathers, and writes what there is; whether the store took it.
    async fn write(&self, well: bool) -> bool {
        let Ok(_turn) = self.turn.acquire().await else { return false };
        self.gather();
        if !self.is_to_be_written().await {
            return well;
        }
        while let Some(batch) = self.next() {
            if let Err(fault) = self.store.add_usage(&batch).await {
                if well {
                    tracing::warn!("usage is kept in memory for now: {fault}; hint: {}", fault.hint());
                }
                return false;
            }
            self.pending().written();
        }
        self.note_keys().await;
        true
    }

    /// Has a store that is there remember that there are keys, be they of the file: what they close stays closed when they
    /// are gone at the next start.
    async fn note_keys(&self) {
        let has_keys = !self.effective.borrow().loaded.config.keys.is_empty();
        if !has_keys || self.has_noted_keys.load(Ordering::Relaxed) {
            return;
        }
        if !matches!(self.store.prepare().await, Ok(Presence::Open)) {
            return;
        }
        match self.store.note_keys().await {
            Ok(()) => self.has_noted_keys.store(true, Ordering::Relaxed),
            Err(fault) => tracing::warn!("that there are keys is not remembered: {fault}; hint: {}", fault.hint()),
        }
    }

    fn next(&self) -> Option<Arc<Batch>> {
        self.pending().batch()
    }

    /// Whether the store is there, or is made for this: without one it is not, unless there are keys whose use is kept.
    async fn is_to_be_written(&self) -> bool {
        let (has_keys, is_sourced) = {
            let effective = self.effective.borrow();
            (!effective.loaded.config.keys.is_empty(), effective.loaded.base.is_some())
        };
        has_keys && is_sourced || !matches!(self.store.prepare().await, Ok(Presence::Absent))
    }

    fn gather(&self) {
        let minute = now() / 60;
        let mut pending = self.pending();
        self.telemetry.take_usage(|at, series, amounts| pending.add(at, series, amounts));
        pending.forget_before(minute);
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What batches of this process are told from others by.
fn writer() -> String {
    let mut random = [0; 16];
    // Without randomness two processes may look alike: the time tells them apart.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!("{:032x}-{:x}", u128::from_le_bytes(random), jiff::Timestamp::now().as_nanosecond())
}

/// The second since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// The first minute of the spans of which all are kept, at this minute.
pub(super) fn kept_since(span: Span, minute: u64) -> u64 {
    span.around(minute).saturating_sub((span.kept() - 1) * span.minutes())
}

/// Between two writes: with the time that one takes, no more than ten seconds are ever lost.
const PERIOD: Duration = Duration::from_secs(5);
