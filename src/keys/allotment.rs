//! A day's quota that several gateways share, and a gateway with the one that it follows after a crash.
//!
//! A gateway is given parts of it in advance, and uses up what it was given: so all together never admit more than the
//! quota, and what a process that was killed had not used is gone for that day, never given twice. A request that finds
//! nothing given waits until there is; where parts cannot be given out, because the store is away, it goes ahead, and what
//! went ahead is counted once the store is back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::quota::{DayCount, Used};
use crate::id::KeyName;

/// Where parts of days are asked for.
#[derive(Default)]
pub struct Allotments {
    wishes: Mutex<BTreeMap<KeyName, Wish>>,
    rung: Notify,
    answered: Notify,
    /// Whether requests go ahead of what was given.
    lending: AtomicBool,
}

/// A key that wants more of its day.
#[derive(Clone)]
pub struct Wish {
    name: KeyName,
    used: Arc<Used>,
    most: u64,
    allotments: Arc<Allotments>,
}

/// How much of a day a key wants, as the store is asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The day, counted from 1970-01-01, in UTC.
    pub day: u64,
    /// The quota.
    pub most: u64,
    /// What is wanted.
    pub more: u64,
    /// What went ahead of what was given, and is counted in any case.
    pub overdrawn: u64,
}

/// A request that waits for a part of its day.
pub struct Wait(Wish);

/// How much is given at once of a quota.
#[derive(Clone, Copy)]
pub(super) struct Part(u64);

impl Allotments {
    /// Waits until keys want more of their day, and gives them, by name.
    pub async fn wishes(&self) -> Vec<Wish> {
        loop {
            let wishes = std::mem::take(&mut *self.lock());
            if !wishes.is_empty() {
                return wishes.into_values().collect();
            }
            self.rung.notified().await;
        }
    }

    /// Parts are given out: whoever waits looks again.
    pub fn give(&self) {
        self.lending.store(false, Ordering::Release);
        self.answered.notify_waiters();
    }

    /// Parts cannot be given out for now: requests go ahead of them. The wishes are still there.
    pub fn lend(&self, wishes: Vec<Wish>) {
        self.lending.store(true, Ordering::Release);
        self.lock().extend(wishes.into_iter().map(|wish| (wish.name.clone(), wish)));
        self.answered.notify_waiters();
    }

    pub(super) fn lends(&self) -> bool {
        self.lending.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<KeyName, Wish>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    pub(super) fn new(name: KeyName, used: Arc<Used>, most: u64, allotments: Arc<Allotments>) -> Self {
        Self { name, used, most, allotments }
    }

    /// Whose it is.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// How much it comes to at this time.
    pub fn want(&self, now: SystemTime) -> Want {
        let (today, ceiling, _) = self.stand(now);
        let ahead = ceiling.saturating_sub(today.count);
        let waiting = u64::from(self.used.waiting.load(Ordering::Relaxed));
        let more = Part::of(self.most).0.max(waiting).saturating_sub(ahead);
        Want { day: today.day, most: self.most, more, overdrawn: today.count.saturating_sub(ceiling) }
    }

    /// Takes what was given of a day: so much, after which so much of it is given to all together.
    pub fn take(&self, want: Want, given: DayCount, granted: u64) {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(given.day * 86_400);
        let (_, ceiling, elsewhere) = self.stand(at);
        let overdrawn = if want.day == given.day { want.overdrawn } else { 0 };
        let own = ceiling.saturating_sub(elsewhere) + overdrawn + granted;
        let others = given.count.saturating_sub(own);
        let counted = |packed| {
            let known = DayCount::unpack(packed).at(at);
            let count = (known.count + others).saturating_sub(elsewhere);
            (known.day == given.day).then(|| DayCount { day: given.day, count }.pack())
        };
        // A later day has begun: what was given of this one is not used any more.
        if self.used.today.fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted).is_err() {
            return;
        }
        let of_day = |count| DayCount { day: given.day, count }.pack();
        self.used.elsewhere.store(of_day(others), Ordering::Relaxed);
        // Whoever sees this sees the count that belongs to it.
        self.used.ceiling.store(of_day(others + own), Ordering::Release);
    }

    /// What of a day was given and not used: it is given back, and from now on nothing is given.
    pub fn rest(&self, now: SystemTime) -> DayCount {
        let (today, ceiling, _) = self.stand(now);
        self.used.ceiling.store(today.pack(), Ordering::Release);
        DayCount { day: today.day, count: ceiling.saturating_sub(today.count) }
    }

    pub(super) fn ring(self) {
        let allotments = Arc::clone(&self.allotments);
        allotments.lock().insert(self.name.clone(), self);
        allotments.rung.notify_one();
    }

    /// What is counted on the day that it is, how far the count may go, and what of it is others'.
    fn stand(&self, now: SystemTime) -> (DayCount, u64, u64) {
        let today = DayCount::unpack(self.used.today.load(Ordering::Relaxed)).at(now);
        let on_day = |packed| {
            let known = DayCount::unpack(packed);
            if known.day == today.day { known.count } else { 0 }
        };
        let ceiling = on_day(self.used.ceiling.load(Ordering::Relaxed));
        (today, ceiling, on_day(self.used.elsewhere.load(Ordering::Relaxed)))
    }

    /// Whether a request would be told at once what becomes of it.
    fn is_decided(&self) -> bool {
        let (today, ceiling, _) = self.stand(SystemTime::now());
        self.allotments.lends() || today.count < ceiling || today.count >= self.most
    }
}

impl Wait {
    pub(super) fn of(wish: Wish) -> Self {
        wish.used.waiting.fetch_add(1, Ordering::Relaxed);
        Self(wish)
    }

    /// Waits until there is something to look at, at most until then; whether there is.
    pub async fn over(self, until: Instant) -> bool {
        let told = async {
            loop {
                let answered = self.0.allotments.answered.notified();
                tokio::pin!(answered);
                // What is told from here on is not missed.
                answered.as_mut().enable();
                if self.0.is_decided() {
                    return;
                }
                answered.await;
            }
        };
        tokio::time::timeout_at(until, told).await.is_ok()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.used.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Part {
    /// A hundredth: what a crash costs at most.
    pub(super) fn of(most: u64) -> Self {
        Self((most / 100).clamp(1, MOST_AT_ONCE))
    }

    /// With so little left of it the next is asked for.
    pub(super) fn low(self) -> u64 {
        self.0.div_ceil(2)
    }
}

const MOST_AT_ONCE: u64 = 1000;
