//! How much a key may ask: its rate, how many requests at once, how many a day. Workers share atomics alone.
//!
//! Nothing here waits: a request is admitted, with a [`Slot`] that it gives back at its end, or refused with the time at
//! which it is worth asking again; or the next part of its day has to be fetched first ([`Wait`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::allotment::{Allotments, Part, Wait, Wish};
use super::rate::Rate;
use crate::config::{self, Limits};
use crate::id::KeyName;

/// The limits of one key, and what it has used of them.
pub struct Quota {
    limits: Limits,
    rate: Option<Arc<Rate>>,
    used: Arc<Used>,
    /// Whose day it is, and where parts of it are given out; without that the day is this process's alone.
    shared: Option<(KeyName, Arc<Allotments>)>,
}

/// What a key has used, whatever its limits are: a reload that changes those forgets nothing of it.
#[derive(Default)]
pub(super) struct Used {
    in_flight: AtomicU32,
    /// The day since 1970 in the upper bits, and below them the requests of that day: those of this process, and what was
    /// given to others.
    pub(super) today: AtomicU64,
    /// How far this process may go on that day without asking, packed alike.
    pub(super) ceiling: AtomicU64,
    /// What of the day's count is not this process's, packed alike.
    pub(super) elsewhere: AtomicU64,
    /// Requests that wait for more of the day.
    pub(super) waiting: AtomicU32,
}

/// What becomes of a request that no limit refuses.
pub enum Admission {
    /// It is admitted.
    Given(Slot),
    /// First the next part of the day's quota has to be there.
    Awaited(Wait),
}

/// Why a request gets none of its day.
enum Short {
    /// There is nothing left.
    Exceeded(Exceeded),
    /// There may be more, which this process was not given yet.
    Unallotted,
}

/// Whether a request waits for a part of the day.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Some,
    None,
}

/// What a request has of its key's limits: until it is dropped, a place among those in flight; and one of its day, which it
/// has used up unless it says that nothing was sent.
#[derive(Default)]
pub struct Slot(Option<Taken>);

struct Taken {
    used: Arc<Used>,
    in_flight: bool,
    /// The day of which it is one.
    of_day: Option<u64>,
}

/// The requests of a key on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayCount {
    /// The day, counted from 1970-01-01, in UTC.
    pub day: u64,
    /// The requests that were admitted on it.
    pub count: u64,
}

/// A request is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Which limit refuses it.
    pub limit: Limit,
    /// How many requests the limit permits.
    pub most: u64,
    /// In which time, in seconds; of requests in flight 1.
    pub window: u64,
    /// Seconds until another request may be admitted, at least 1.
    pub retry_after: u64,
}

/// A limit of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `rate` and `burst`.
    Rate,
    /// `concurrency`.
    Concurrency,
    /// `daily_quota`.
    Daily,
}

/// What is left of the limits of a key; none of a limit that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Requests that could come at once now.
    pub rate: Option<u32>,
    /// Requests that could be in flight beside those that are.
    pub concurrency: Option<u32>,
    /// Requests until the end of the day in UTC.
    pub daily: Option<u64>,
    /// Seconds until that end.
    pub resets_in: u64,
}

impl Quota {
    /// Limits of which nothing is used yet.
    pub fn new(limits: Limits) -> Self {
        let rate = limits.rate.as_ref().map(|rate| Arc::new(Rate::new(rate)));
        Self { limits, rate, used: Arc::default(), shared: None }
    }

    /// The same of a key whose day is shared with other gateways, and with those that this one follows.
    #[must_use]
    pub fn shared(self, name: KeyName, allotments: Arc<Allotments>) -> Self {
        Self { shared: Some((name, allotments)), ..self }
    }

    /// Takes over what the same key had used before its limits were loaded again: what is in flight and the day's count in
    /// any case, and where the rate stands unless it is another one.
    pub fn in_place_of(&mut self, before: &Self) {
        self.used = Arc::clone(&before.used);
        if self.limits.rate == before.limits.rate {
            self.rate.clone_from(&before.rate);
        }
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Admits a request at this time, or says which limit refuses it, or that it has to wait for a part of the day. What is
    /// refused uses nothing up, nor does what waits.
    pub fn admit(&self, now: SystemTime) -> Result<Admission, Exceeded> {
        self.admit_with(now, Patience::Some)
    }

    /// The same for a request that has waited enough: it goes ahead of what this process was given.
    pub fn admit_at_last(&self, now: SystemTime) -> Result<Slot, Exceeded> {
        match self.admit_with(now, Patience::None)? {
            Admission::Given(slot) => Ok(slot),
            // Without patience nothing is waited for.
            Admission::Awaited(_) => Ok(Slot::default()),
        }
    }

    fn admit_with(&self, now: SystemTime, patience: Patience) -> Result<Admission, Exceeded> {
        let mut slot = self.take_slot()?;
        match self.take_of_day(now, patience) {
            Ok(day) => slot.keep_day(day),
            Err(Short::Exceeded(exceeded)) => return Err(exceeded),
            Err(Short::Unallotted) => {
                if let Some(wait) = self.wish().map(Wait::of) {
                    return Ok(Admission::Awaited(wait));
                }
            }
        }
        if let (Some(limit), Some(rate)) = (&self.limits.rate, &self.rate)
            && let Err(wait) = rate.take()
        {
            slot.return_to_day();
            return Err(limit.exceeded(wait));
        }
        Ok(Admission::Given(slot))
    }

    /// What is left at this time.
    pub fn left(&self, now: SystemTime) -> Left {
        let in_flight = self.used.in_flight.load(Ordering::Relaxed);
        let counted = self.day_count().at(now);
        Left {
            rate: self.rate.as_ref().map(|rate| rate.left()),
            concurrency: self.limits.concurrency.map(|most| most.saturating_sub(in_flight)),
            daily: self.limits.daily_quota.map(|most| most.saturating_sub(counted.count)),
            resets_in: until_end_of(counted.day, now),
        }
    }

    /// The requests of the day of the last request that was counted; keys without a daily quota count none.
    pub fn day_count(&self) -> DayCount {
        DayCount::unpack(self.used.today.load(Ordering::Relaxed))
    }

    /// Takes over what was counted elsewhere: of a later day instead of what is known, of the same day the larger number.
    pub fn restore(&self, counted: DayCount) {
        // Days come first in the packed form, so the later or larger one is the greater number.
        let before = self.used.today.fetch_max(counted.pack(), Ordering::Relaxed);
        if before < counted.pack() {
            self.used.elsewhere.store(counted.pack(), Ordering::Relaxed);
            self.used.ceiling.store(counted.pack(), Ordering::Release);
        }
    }

    fn take_slot(&self) -> Result<Slot, Exceeded> {
        let slot = |in_flight| Slot(Some(Taken { used: Arc::clone(&self.used), in_flight, of_day: None }));
        let Some(most) = self.limits.concurrency else {
            return Ok(if self.limits.daily_quota.is_some() { slot(false) } else { Slot(None) });
        };
        let taken = self
            .used
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < most).then_some(now + 1));
        let exceeded = Exceeded { limit: Limit::Concurrency, most: most.into(), window: 1, retry_after: 1 };
        taken.map(|_| slot(true)).map_err(|_| exceeded)
    }

    /// One of a day, and which; none of a key that has no quota.
    fn take_of_day(&self, now: SystemTime, patience: Patience) -> Result<Option<u64>, Short> {
        let Some(most) = self.limits.daily_quota else { return Ok(None) };
        let one_more = |packed| {
            let DayCount { day, count } = DayCount::unpack(packed).at(now);
            (count < self.given(day, most, patience)).then(|| DayCount { day, count: count + 1 }.pack())
        };
        let taken = self.used.today.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        let before = DayCount::unpack(taken.unwrap_or_else(|packed| packed)).at(now);
        match taken {
            Ok(_) => {
                let runs_out =
                    |part: Part| before.count + 1 + part.low() > self.given(before.day, most, Patience::Some);
                if self.shared.is_some() && runs_out(Part::of(most)) {
                    self.ring();
                }
                Ok(Some(before.day))
            }
            Err(_) if before.count < most => {
                self.ring();
                Err(Short::Unallotted)
            }
            Err(_) => {
                let retry_after = until_end_of(before.day, now);
                Err(Short::Exceeded(Exceeded { limit: Limit::Daily, most, window: DAY, retry_after }))
            }
        }
    }

    /// How far the count may go on a day.
    fn given(&self, day: u64, most: u64, patience: Patience) -> u64 {
        match &self.shared {
            Some((_, allotments)) if patience == Patience::Some && !allotments.lends() => {
                let ceiling = DayCount::unpack(self.used.ceiling.load(Ordering::Acquire));
                if ceiling.day == day { ceiling.count.min(most) } else { 0 }
            }
            _ => most,
        }
    }

    /// Asks for more of the day.
    fn ring(&self) {
        if let Some(wish) = self.wish() {
            wish.ring();
        }
    }

    fn wish(&self) -> Option<Wish> {
        let (name, allotments) = self.shared.as_ref()?;
        Some(Wish::new(name.clone(), Arc::clone(&self.used), self.limits.daily_quota?, Arc::clone(allotments)))
    }
}

impl Slot {
    /// Nothing was sent for it: it is none of its day. Its place among the requests in flight stays.
    pub fn return_to_day(&mut self) {
        let Some((used, day)) = self.0.as_mut().and_then(|taken| Some((&taken.used, taken.of_day.take()?))) else {
            return;
        };
        let one_less = |packed| {
            let known = DayCount::unpack(packed);
            let returned = DayCount { day, count: known.count.saturating_sub(1) };
            (known.day == day).then(|| returned.pack())
        };
        // Another day has begun: there is nothing to give back to.
        let _ = used.today.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }

    fn keep_day(&mut self, day: Option<u64>) {
        if let Some(taken) = &mut self.0 {
            taken.of_day = day;
        }
    }
}

impl DayCount {
    /// What is counted at this time: none yet where the day is a new one. A clock that steps back over midnight begins no
    /// day anew: the one that was known goes on.
    pub(super) fn at(self, now: SystemTime) -> Self {
        let today = day_of(now);
        if today > self.day { Self { day: today, count: 0 } } else { self }
    }

    pub(super) fn pack(self) -> u64 {
        self.day << COUNT_BITS | self.count.min(MOST_COUNTED)
    }

    pub(super) const fn unpack(packed: u64) -> Self {
        Self { day: packed >> COUNT_BITS, count: packed & MOST_COUNTED }
    }
}

impl config::Rate {
    fn exceeded(&self, wait: Duration) -> Exceeded {
        let window = self.per.duration().as_secs();
        let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Exceeded { limit: Limit::Rate, most: self.count.get().into(), window, retry_after: retry_after.max(1) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(Taken { used, in_flight: true, .. }) = &self.0 {
            used.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn since_1970(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn day_of(now: SystemTime) -> u64 {
    since_1970(now) / DAY
}

/// Seconds until a day that is not over has ended in UTC: at least 1.
fn until_end_of(day: u64, now: SystemTime) -> u64 {
    ((day + 1) * DAY).saturating_sub(since_1970(now)).max(1)
}

/// Seconds of a day.
const DAY: u64 = 86_400;
/// The bits of a count, below those of its day.
const COUNT_BITS: u32 = 44;
const MOST_COUNTED: u64 = (1 << COUNT_BITS) - 1;

#[cfg(test)]
mod tests;
