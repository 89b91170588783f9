//! What was used, in numbers that add up: what the requests of one series came to in a minute or a day.
//!
//! Counted by workers, kept by the store, shown by the admin API. A series is made of configured names, of words of the
//! catalogue and of this program; nothing in it was chosen by a client.

use std::sync::Arc;
use std::time::Duration;

use crate::histogram::Histogram;

/// What requests have in common that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The gateway key; `none` and `anonymous` are nobody's.
    pub key: Arc<str>,
    /// The route.
    pub route: Arc<str>,
    /// The credential.
    pub credential: Arc<str>,
    /// The path template of the operation of Close; `none` where it is not documented, or was not looked up.
    pub endpoint: Arc<str>,
    /// The method that is carried out.
    pub method: Arc<str>,
    /// The scope that it took; `none` where it did not come to that.
    pub scope: Arc<str>,
    /// The first digit of the status.
    pub status_class: u8,
}

/// What the requests of one series came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Requests.
    pub requests: u64,
    /// Those that ended with a status of 400 or above, 429 apart.
    pub errors: u64,
    /// Those that ended with 429, whoever said it.
    pub rate_limited: u64,
    /// Those that the gateway answered itself, with an error.
    pub refused: u64,
    /// Bytes of the requests' bodies.
    pub request_bytes: u64,
    /// Bytes of the responses' bodies.
    pub response_bytes: u64,
    /// Those that were held for a rate limit of Close.
    pub waits: u64,
    /// For how long they were, all together.
    pub waited: Duration,
    /// How long requests took, to the end of their answer.
    pub durations: Histogram,
    /// When the last of them ended, in seconds since 1970; 0 where that is not known any more.
    pub last: u64,
}

/// Over which time requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// A minute; kept for a day.
    Minute,
    /// A day in UTC; kept for 90 days.
    Day,
}

/// What was counted of one series in one span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// How long it is.
    pub span: Span,
    /// When it begins, in minutes since 1970.
    pub begins: u64,
    /// Of which requests.
    pub series: Series,
    /// What they came to.
    pub amounts: Amounts,
}

impl Series {
    /// The series that is counted where there are too many of them: only how it ended is kept.
    #[must_use]
    pub fn beyond(&self) -> Self {
        let other: Arc<str> = OTHER.into();
        Self {
            key: other.clone(),
            route: other.clone(),
            credential: other.clone(),
            endpoint: other.clone(),
            method: other.clone(),
            scope: other,
            status_class: self.status_class,
        }
    }

    /// Whether it stands for several.
    pub fn is_beyond(&self) -> bool {
        &*self.key == OTHER && &*self.endpoint == OTHER
    }
}

impl Amounts {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.rate_limited += other.rate_limited;
        self.refused += other.refused;
        self.request_bytes += other.request_bytes;
        self.response_bytes += other.response_bytes;
        self.waits += other.waits;
        self.waited += other.waited;
        self.durations.merge(&other.durations);
        self.last = self.last.max(other.last);
    }
}

impl Span {
    /// How many minutes it has.
    pub const fn minutes(self) -> u64 {
        match self {
            Self::Minute => 1,
            Self::Day => 24 * 60,
        }
    }

    /// How many of them are kept.
    pub const fn kept(self) -> u64 {
        match self {
            Self::Minute => 24 * 60,
            Self::Day => 90,
        }
    }

    /// The beginning of the one in which a minute since 1970 lies.
    pub const fn around(self, minute: u64) -> u64 {
        minute - minute % self.minutes()
    }
}

/// What stands for names beyond a bound.
pub const OTHER: &str = "_other";

/// Where there is no name.
pub const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_add_up() {
        let mut one = Amounts { requests: 2, errors: 1, request_bytes: 7, last: 9, ..Amounts::default() };
        let other = Amounts { requests: 3, refused: 1, waited: Duration::from_secs(1), last: 4, ..Amounts::default() };
        one.add(&other);
        assert_eq!((one.requests, one.errors, one.refused, one.request_bytes, one.last), (5, 1, 1, 7, 9));
        assert_eq!(one.waited, Duration::from_secs(1));
    }

    #[test]
    fn spans_begin_where_they_should() {
        assert_eq!(Span::Minute.around(29_000_001), 29_000_001);
        assert_eq!(Span::Day.around(3 * 1440 + 17), 3 * 1440);
    }
}
