//! One limit: how many requests a window takes, how many of them are left, and when the next window begins.
//!
//! Close says of a request how many were left when it was counted, and in how many seconds the window ends, mostly in
//! whole seconds rounded up. So the end is known to lie between two times, and each answer narrows them. What is left is
//! the least that was told of the window, less the requests that are under way: those may not have been counted yet. All
//! doubts are settled so that a request waits too long rather than is sent too early.

use std::time::Duration;

use tokio::time::Instant;

use super::lesson::{Exactness, Reading};

/// One limit of one credential or organisation in one group of endpoints.
#[derive(Debug)]
pub(super) struct Budget {
    /// Requests in a window, once told.
    limit: Option<u32>,
    /// Left of the window when the last of it was told, less what ended since without telling.
    remaining: u32,
    /// The least that was told of the window, from its beginning; none while nothing was, after a 429, and in a window that
    /// was assumed.
    least: Option<Least>,
    rise: Rise,
    /// Sent, and not ended yet.
    in_flight: u32,
    /// When the window ends; none while it is not known whether one has begun.
    end: Option<End>,
    /// About how long a window is: the longest time to its end that was told.
    length: Duration,
    /// Requests that ended in the window, with those before it that may have been counted in it.
    ended: u32,
    /// When it was decided that the window before was over: what went out earlier may have been counted in either.
    turned_at: Option<Instant>,
    /// 429s in a row that did not say how long to wait.
    strikes: u32,
    /// Most requests under way after a doubt: one at first, and one more with each that is not turned away.
    ramp: Option<u32>,
    /// How many windows begin carefully, because one had not begun when it should have.
    wary: u32,
    told_at: Option<Instant>,
}

/// Between these the window ends.
#[derive(Debug, Clone, Copy)]
struct End {
    earliest: Instant,
    latest: Instant,
}

/// The answer that told of the least left in a window.
#[derive(Debug, Clone, Copy)]
struct Least {
    remaining: u32,
    /// When it came.
    back: Instant,
    /// Requests that ended in the window after it.
    ended: u32,
}

/// What it means that more is left than was before.
///
/// Of one limit it can only mean a later window. Where Close counts requests apart that are one group here, two limits
/// are told of in turn, and it means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rise {
    LaterWindow,
    /// It began the window that there is now, in which nothing has shown yet that it was another limit.
    OnTrial,
    Nothing,
}

/// When a request went out, and when its answer came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trip {
    sent: Instant,
    back: Instant,
    /// Whether it is known, rather than assumed, when the request went out.
    noted: bool,
}

impl Trip {
    pub(super) fn noted(sent: Instant, back: Instant) -> Self {
        Self { sent, back, noted: true }
    }

    pub(super) fn back(self) -> Instant {
        self.back
    }

    /// The trip of a request of which nobody noted when it went out.
    pub(super) fn unnoted(back: Instant) -> Self {
        Self { sent: back.checked_sub(LATEST_COUNT).unwrap_or(back), back, noted: false }
    }

    /// When the request was counted at the latest: soon after it was sent, however long its answer took.
    fn counted(self) -> Instant {
        self.sent + self.back.saturating_duration_since(self.sent).min(LATEST_COUNT)
    }
}

/// Whether a request counted as under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Yes,
    No,
}

impl Budget {
    /// A limit of which nothing is known.
    pub(super) fn unknown() -> Self {
        Self {
            limit: None,
            remaining: 0,
            least: None,
            rise: Rise::LaterWindow,
            in_flight: 0,
            end: None,
            length: Duration::ZERO,
            ended: 0,
            turned_at: None,
            strikes: 0,
            ramp: None,
            wary: 0,
            told_at: None,
        }
    }

    /// Requests in a window, once told.
    pub(super) fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// About how long a window is, once told.
    pub(super) fn length(&self) -> Option<Duration> {
        Some(self.length).filter(|length| !length.is_zero())
    }

    /// When it was told of last.
    pub(super) fn told_at(&self) -> Option<Instant> {
        self.told_at
    }

    /// How many requests may go out now.
    pub(super) fn room(&mut self, now: Instant) -> u32 {
        self.turn(now);
        let left = self.remaining.saturating_sub(self.in_flight);
        let room = match (self.limit, self.end) {
            (None, None) => u32::MAX,
            // Somebody must ask how it stands.
            (Some(_), None) if self.in_flight == 0 => left.max(1),
            _ => left,
        };
        self.ramp.map_or(room, |most| room.min(most.saturating_sub(self.in_flight)))
    }

    /// When there may be room again: at the window's end, or at the next answer.
    pub(super) fn next_room(&mut self, now: Instant) -> Instant {
        self.turn(now);
        match self.end {
            Some(end) if self.remaining <= self.in_flight => end.latest,
            _ => now,
        }
    }

    /// When the window ends at the latest, if one is known to be under way.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.end.map(|end| end.latest)
    }

    /// What is left by what is known, for people to see.
    pub(super) fn left(&self) -> u32 {
        self.remaining.saturating_sub(self.in_flight)
    }

    /// Whether more may be thought to be left than is, because two limits were taken for one.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.rise == Rise::OnTrial
    }

    /// A request goes out.
    pub(super) fn begin(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// A request that went out was never sent, or was not counted.
    pub(super) fn give_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A request has ended, and nothing was told of this limit.
    pub(super) fn end_untold(&mut self) {
        self.give_back();
        self.count_ended(Counted::Yes);
        self.remaining = self.remaining.saturating_sub(1);
        if self.end.is_none() && self.remaining == 0 && self.in_flight == 0 {
            // Nobody tells of it any more: it bounds nothing.
            self.forget();
        }
    }

    /// A request has ended, and its answer tells of this limit.
    pub(super) fn end_told(&mut self, reading: Reading, trip: Trip) {
        self.apply(reading, trip, Counted::Yes);
        self.give_back();
    }

    /// An answer tells of the limit whose request was not counted as under way.
    pub(super) fn learn(&mut self, reading: Reading, trip: Trip) {
        self.apply(reading, trip, Counted::No);
    }

    fn apply(&mut self, reading: Reading, trip: Trip, counted: Counted) {
        self.turn(trip.back);
        let end = End::of(&reading, trip);
        if end.latest <= trip.back || self.end.is_some_and(|known| end.latest < known.earliest) {
            return;
        }
        if self.turned_at.is_some_and(|turned| trip.sent < turned) {
            // It was under way when the window before ended, so its end may be that one's.
            if reading.remaining <= reading.limit / 2 {
                // It tells of one that is nearly used up: most likely that.
                self.remaining = self.remaining.saturating_sub(1);
                return self.count_ended(counted);
            }
            if self.limit == Some(reading.limit) {
                self.remaining = self.remaining.min(reading.remaining);
                return self.count_ended(counted);
            }
        }
        self.told_at = Some(trip.back);
        if self.limit != Some(reading.limit) {
            let Self { in_flight, wary, told_at, .. } = *self;
            *self = Self { in_flight, wary, told_at, ..Self::unknown() };
            self.limit = Some(reading.limit);
        }
        self.length = self.length.max(reading.reset);
        let ends_later = self.end.is_some_and(|known| end.earliest > known.latest);
        if ends_later || self.has_risen(reading, trip) {
            self.begin_told(reading, end, trip, counted);
            if !ends_later {
                self.rise = Rise::OnTrial;
            }
            return;
        }
        let told = Least { remaining: reading.remaining, back: trip.back, ended: 0 };
        match &mut self.end {
            Some(known) => {
                known.earliest = known.earliest.max(end.earliest);
                known.latest = known.latest.min(end.latest);
                // More requests were counted than went out: it is another limit, unless somebody else uses this one.
                let beyond = reading.remaining < self.remaining.saturating_sub(self.in_flight);
                if self.rise == Rise::OnTrial && trip.noted && beyond {
                    self.rise = Rise::Nothing;
                }
                self.remaining = self.remaining.min(reading.remaining);
                self.count_ended(counted);
                self.least = self.least.map(|least| if told.remaining < least.remaining { told } else { least });
            }
            None => {
                self.carry(reading, counted);
                (self.remaining, self.end, self.least) = (reading.remaining, Some(end), Some(told));
            }
        }
    }

    /// Begins a window that follows on one that was thought to be under way still.
    fn begin_told(&mut self, reading: Reading, end: End, trip: Trip, counted: Counted) {
        // They may have been counted after the request that tells of it, and ended before it.
        let overtook = self.least.map_or(0, |least| least.ended);
        self.carry(reading, counted);
        self.ended = self.ended.saturating_add(overtook);
        self.remaining = reading.remaining.saturating_sub(overtook);
        self.end = Some(end);
        self.least = Some(Least { remaining: reading.remaining, back: trip.back, ended: 0 });
        self.turned_at = Some(trip.back);
        self.settle_rise();
    }

    /// Of those that ended before the first answer that tells of a window no more were counted in it than it says.
    fn carry(&mut self, reading: Reading, counted: Counted) {
        let used = reading.limit - reading.remaining;
        self.ended = self.ended.min(used.saturating_sub(u32::from(counted == Counted::Yes)));
        self.count_ended(counted);
    }

    /// Whether an answer tells of a later window by what is left: more than an answer had told that came before its request
    /// went out, and by now this window may be over.
    fn has_risen(&self, reading: Reading, trip: Trip) -> bool {
        let more = |least: Least| trip.sent >= least.back && reading.remaining > least.remaining;
        trip.noted
            && self.rise != Rise::Nothing
            && self.least.is_some_and(more)
            && self.end.is_some_and(|end| end.earliest <= trip.back)
    }

    /// The window that a rise may have begun is over, and nothing spoke against it.
    fn settle_rise(&mut self) {
        if self.rise == Rise::OnTrial {
            self.rise = Rise::LaterWindow;
        }
    }

    fn count_ended(&mut self, counted: Counted) {
        if counted == Counted::No {
            return;
        }
        self.ended = self.ended.saturating_add(1);
        if let Some(least) = &mut self.least {
            least.ended += 1;
        }
    }

    /// An answer came that is no 429.
    pub(super) fn succeed(&mut self) {
        self.strikes = 0;
        if self.limit.is_some() {
            // The window has begun, and how many it takes is known.
            self.wary -= u32::from(self.ramp.is_some() && self.wary > 0);
            self.ramp = None;
        } else {
            self.ramp = self.ramp.map(|most| most + 1).filter(|most| *most < END_OF_RAMP);
        }
    }

    /// A request was one too many: nothing is left until the wait is over.
    pub(super) fn exceed(&mut self, wait: Option<Duration>, limit: Option<u32>, told: Option<Reading>, trip: Trip) {
        let now = trip.back;
        self.turn(now);
        if self.rise == Rise::OnTrial {
            self.rise = Rise::Nothing;
        }
        if self.limit.is_some() && self.end.is_none() {
            self.wary = WARY;
        }
        if let Some(reading) = told {
            self.learn(Reading { remaining: 0, ..reading }, trip);
        }
        self.limit = self.limit.or(limit);
        let known = self.end.filter(|_| self.limit.is_some());
        let end = match (wait, known) {
            // The known end is told more exactly than a wait in whole seconds.
            (Some(wait), Some(known)) if known.latest <= now + wait => known,
            (Some(wait), _) => End::at(now + wait),
            (None, Some(known)) => known,
            (None, None) => {
                self.strikes = (self.strikes + 1).min(MOST_STRIKES);
                End::at(now + FIRST_STRIKE * (1 << (self.strikes - 1)))
            }
        };
        // A window of unknown size is tried out.
        if self.limit.is_none() {
            self.ramp = Some(1);
        }
        // Nothing that is told of another limit beside it ends the wait.
        (self.remaining, self.least) = (0, None);
        self.end = Some(end);
        self.length = self.length.max(end.latest - now);
    }

    /// Keeps a limit that nobody tells of: at most so many requests in a window of that length, from the next on.
    pub(super) fn assume(&mut self, limit: u32, length: Duration, now: Instant) {
        self.turn(now);
        if self.limit.is_none() {
            self.limit = Some(limit);
        }
        if self.end.is_none() {
            self.length = length;
            (self.remaining, self.ended) = (limit, 0);
            self.end = Some(End::at(now + length));
        }
    }

    /// Begins the next window once this one is over for certain.
    fn turn(&mut self, now: Instant) {
        if self.end.is_some_and(|end| end.latest <= now) {
            let limit = self.limit.unwrap_or(u32::MAX);
            let used = limit.saturating_sub(self.remaining);
            // Those that the window does not account for were counted in the next one; when it was hardly used its
            // account says little, and it costs nothing to assume it of all.
            self.ended = if self.remaining <= limit / 2 { self.ended.saturating_sub(used) } else { self.ended };
            self.remaining = limit.saturating_sub(self.ended);
            (self.end, self.least) = (None, None);
            self.turned_at = Some(now);
            self.settle_rise();
            if self.wary > 0 {
                self.ramp = Some(1);
            }
        }
    }

    fn forget(&mut self) {
        let Self { strikes, ramp, told_at, .. } = *self;
        *self = Self { strikes, ramp, told_at, ..Self::unknown() };
    }
}

impl End {
    fn at(instant: Instant) -> Self {
        Self { earliest: instant, latest: instant }
    }

    fn of(reading: &Reading, trip: Trip) -> Self {
        // A fraction may have been rounded either way, whole seconds are rounded up.
        let (rounding, short) = match reading.exactness {
            Exactness::Fraction => (LAST_DIGIT, LAST_DIGIT),
            Exactness::Seconds => (Duration::from_secs(1), Duration::ZERO),
        };
        // No time at all in whole seconds was rounded down.
        let reset = if reading.reset.is_zero() && reading.remaining == 0 { rounding } else { reading.reset };
        Self { earliest: trip.sent + reset.saturating_sub(rounding), latest: trip.counted() + reset + short }
    }
}

/// Fractions are told in milliseconds or finer.
const LAST_DIGIT: Duration = Duration::from_millis(1);
/// A request is counted within this time of being sent.
const LATEST_COUNT: Duration = Duration::from_secs(1);
/// The wait after a 429 that names none; it doubles with each further one.
const FIRST_STRIKE: Duration = Duration::from_secs(1);
const MOST_STRIKES: u32 = 6;
/// So many windows begin carefully after one that had not begun.
const WARY: u32 = 8;
/// With so many under way nothing is in doubt any more.
const END_OF_RAMP: u32 = 256;

#[cfg(test)]
mod tests;
