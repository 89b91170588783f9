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
    /// The least that was told of the window; none while nothing was, or after a 429.
    least: Option<Least>,
    /// Sent, and not ended yet.
    in_flight: u32,
    /// When the window ends; none while it is not known whether one has begun.
    end: Option<End>,
    /// About how long a window is: the longest time to its end that was told.
    length: Duration,
    /// Requests that ended in the window.
    ended: u32,
    /// When it was decided that the window before was over.
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
    /// Requests that ended in the window since then.
    ended: u32,
}

/// When a request went out, and when its answer came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trip {
    pub(super) sent: Instant,
    pub(super) back: Instant,
}

impl Trip {
    /// The trip of a request of which nobody noted when it went out.
    pub(super) fn unnoted(back: Instant) -> Self {
        Self { sent: back.checked_sub(LATEST_COUNT).unwrap_or(back), back }
    }

    /// When the request was counted at the latest: soon after it was sent, however long its answer took.
    fn counted(self) -> Instant {
        self.sent + self.back.saturating_duration_since(self.sent).min(LATEST_COUNT)
    }
}

impl Budget {
    /// A limit of which nothing is known.
    pub(super) fn unknown() -> Self {
        Self {
            limit: None,
            remaining: 0,
            least: None,
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
        self.count_ended();
        self.remaining = self.remaining.saturating_sub(1);
        if self.end.is_none() && self.remaining == 0 && self.in_flight == 0 {
            // Nobody tells of it any more: it bounds nothing.
            self.forget();
        }
    }

    /// A request has ended, and its answer tells of this limit.
    pub(super) fn end_told(&mut self, reading: Reading, trip: Trip) {
        if self.learn(reading, trip) {
            self.count_ended();
        }
        self.give_back();
    }

    /// An answer tells of the limit; whether it tells of the window that there is now.
    pub(super) fn learn(&mut self, reading: Reading, trip: Trip) -> bool {
        self.turn(trip.back);
        let end = End::of(&reading, trip);
        if end.latest <= trip.back || self.end.is_some_and(|known| end.latest < known.earliest) {
            return false;
        }
        if self.turned_at.is_some_and(|turned| trip.sent < turned) {
            // It was under way when the window before ended, so its end may be that one's.
            if reading.remaining <= reading.limit / 2 {
                // It tells of one that is nearly used up: most likely that.
                self.remaining = self.remaining.saturating_sub(1);
                return true;
            }
            if self.limit == Some(reading.limit) {
                self.remaining = self.remaining.min(reading.remaining);
                return true;
            }
        }
        self.told_at = Some(trip.back);
        if self.limit != Some(reading.limit) {
            let Self { in_flight, wary, told_at, .. } = *self;
            *self = Self { in_flight, wary, told_at, ..Self::unknown() };
            self.limit = Some(reading.limit);
        }
        self.length = self.length.max(reading.reset);
        let later = self.tells_of_a_later_window(&reading, end, trip);
        let told = Least { remaining: reading.remaining, back: trip.back, ended: 0 };
        match &mut self.end {
            Some(known) if !later => {
                self.remaining = self.remaining.min(reading.remaining);
                known.earliest = known.earliest.max(end.earliest);
                known.latest = known.latest.min(end.latest);
                self.least = self.least.map(|least| if told.remaining < least.remaining { told } else { least });
            }
            Some(_) => {
                // Those that it accounts for, and those that may have been counted after it and ended before it.
                self.ended = reading.limit - reading.remaining.min(reading.limit);
                self.ended += self.least.map_or(0, |least| least.ended);
                (self.remaining, self.end, self.least) = (reading.remaining, Some(end), Some(told));
                self.turned_at = Some(trip.back);
            }
            None => (self.remaining, self.end, self.least) = (reading.remaining, Some(end), Some(told)),
        }
        true
    }

    /// Whether an answer tells of a window after the one that is known to be under way: it ends later, or more was left
    /// of it although the request went out when an answer had told of less.
    fn tells_of_a_later_window(&self, reading: &Reading, end: End, trip: Trip) -> bool {
        self.end.is_some_and(|known| end.earliest > known.latest)
            || self.least.is_some_and(|least| trip.sent >= least.back && reading.remaining > least.remaining)
    }

    fn count_ended(&mut self) {
        self.ended += 1;
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
            self.remaining = limit;
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
