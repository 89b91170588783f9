//! The time of day as access records show it: RFC 3339 with milliseconds, formatted anew once a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// `2026-11-23T20:56:00.123Z`.
pub(super) type Stamp = [u8; 24];

/// A core's wall clock.
pub(super) struct Wall {
    second: u64,
    text: Stamp,
}

impl Wall {
    pub(super) fn new() -> Self {
        let mut wall = Self { second: 0, text: *b"1970-01-01T00:00:00.000Z" };
        wall.stamp(now());
        wall
    }

    /// The moment, given as the time since 1970, as text.
    pub(super) fn stamp(&mut self, moment: Duration) -> &Stamp {
        if moment.as_secs() != self.second {
            self.turn(moment.as_secs());
        }
        let milliseconds = moment.subsec_millis() as u16;
        for (place, unit) in [(20, 100), (21, 10), (22, 1)] {
            self.text[place] = b'0' + (milliseconds / unit % 10) as u8;
        }
        &self.text
    }

    fn turn(&mut self, second: u64) {
        self.second = second;
        let stamp = i64::try_from(second).ok().and_then(|second| Timestamp::from_second(second).ok());
        let text = stamp.unwrap_or_default().to_string();
        if let Some(seconds) = text.as_bytes().get(..SECONDS) {
            self.text[..SECONDS].copy_from_slice(seconds);
        }
    }
}

/// The time since 1970; zero on a clock that stands before it.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Length of `2026-11-23T20:56:00`.
const SECONDS: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_in_utc_to_the_millisecond() {
        let mut wall = Wall::new();
        assert_eq!(wall.stamp(Duration::from_millis(1_795_467_360_007)), b"2026-11-23T20:56:00.007Z");
        assert_eq!(wall.stamp(Duration::from_millis(1_795_467_360_999)), b"2026-11-23T20:56:00.999Z");
        assert_eq!(wall.stamp(Duration::from_millis(1_795_467_361_120)), b"2026-11-23T20:56:01.120Z");
        assert_eq!(wall.stamp(Duration::ZERO), b"1970-01-01T00:00:00.000Z");
    }
}
