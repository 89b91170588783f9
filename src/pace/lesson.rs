//! What one answer says about rate limits, in each of the forms that Close has used (close-api.md 3.3 to 3.5).
//!
//! Reading headers allocates nothing. What cannot be read teaches nothing: no header of the upstream can do more harm than
//! to have requests wait, and for no longer than [`LONGEST`].

use std::time::Duration;

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

/// What an answer says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lesson {
    /// What its combined header says, and what its split ones: they may tell of different limits.
    pub(super) told: [Option<Reading>; 2],
    /// That this request was one too many.
    pub(super) excess: Option<Excess>,
}

/// One limit, as it stood when the request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Requests in a window.
    pub(super) limit: u32,
    /// Those that are left.
    pub(super) remaining: u32,
    /// Until the window ends; whole seconds are rounded up.
    pub(super) reset: Duration,
    /// Whether that is no more than the truth, or rounded.
    pub(super) exactness: Exactness,
}

/// How exactly a time was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exactness {
    /// To a fraction of a second.
    Fraction,
    /// In whole seconds, rounded up.
    Seconds,
}

/// A request that was one too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Excess {
    /// After which it is worth trying again, where that was said.
    pub(super) wait: Option<Duration>,
    /// The limit that it exceeded, where nothing but the body says so.
    pub(super) limit: Option<u32>,
    /// Whose limit it exceeded.
    pub(super) whose: Whose,
}

/// Whose limit was exceeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Whose {
    /// Nobody said.
    #[default]
    Unsaid,
    /// The credential's own.
    Credential,
    /// That of all credentials of its organisation.
    Organization,
}

impl Lesson {
    /// Reads the head of an answer.
    pub fn read(status: StatusCode, headers: &HeaderMap) -> Self {
        let mut parts = Parts::default();
        for (name, value) in headers {
            parts.note(name, value);
        }
        let told = [parts.combined, parts.split()];
        let excess = (status == StatusCode::TOO_MANY_REQUESTS).then(|| {
            // Close recommends the reset; one that is over says nothing.
            let reset = Some(parts.longest_reset).filter(|reset| !reset.is_zero());
            let wait = reset.or(parts.retry_after.map(|(after, _)| after));
            Excess { wait, ..Excess::default() }
        });
        Self { told, excess }
    }

    /// Whether it teaches nothing.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a 429 leaves open how long to wait: then its body may know.
    pub fn is_open(&self) -> bool {
        self.excess.is_some_and(|excess| excess.wait.is_none() || excess.whose == Whose::Unsaid)
    }

    /// Adds what the body of a 429 says; a header wins.
    pub fn read_body(&mut self, body: &[u8]) {
        let (Some(excess), Ok(body)) = (&mut self.excess, serde_json::from_slice::<Value>(body)) else { return };
        let said = |name: &str| body.get("error").and_then(|error| error.get(name)).or_else(|| body.get(name));
        let reset = said("rate_reset").and_then(number).map(|(reset, _)| reset);
        excess.wait = excess.wait.or(reset.filter(|reset| !reset.is_zero()));
        excess.limit = said("rate_limit").and_then(Value::as_u64).and_then(|limit| u32::try_from(limit).ok());
        excess.whose = match said("rate_limit_type").and_then(Value::as_str) {
            Some("key" | "api_key") => Whose::Credential,
            Some("org" | "organization" | "organisation") => Whose::Organization,
            _ => Whose::Unsaid,
        };
    }
}

/// The header lines that were found.
#[derive(Default)]
struct Parts {
    combined: Option<Reading>,
    limit: Option<u32>,
    remaining: Option<u32>,
    reset: Option<(Duration, Exactness)>,
    /// Of all resets that are told, also beside no limit: stricter limits tell nothing else.
    longest_reset: Duration,
    retry_after: Option<(Duration, Exactness)>,
}

impl Parts {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        let (name, bytes) = (name.as_str(), value.as_bytes());
        // Nearly all others begin with something else.
        if !matches!(name.as_bytes().first(), Some(b'r' | b'x')) {
            return;
        }
        match name {
            "retry-after" => self.retry_after = seconds(bytes),
            "ratelimit" => {
                let (reading, reset) = combined(bytes);
                self.combined = reading;
                self.note_reset(reset);
            }
            "ratelimit-limit" | "x-rate-limit-limit" => self.limit = count(bytes),
            "ratelimit-remaining" | "x-rate-limit-remaining" => self.remaining = count(bytes),
            "ratelimit-reset" | "x-rate-limit-reset" => {
                self.reset = seconds(bytes);
                self.note_reset(self.reset);
            }
            _ => {}
        }
    }

    fn note_reset(&mut self, reset: Option<(Duration, Exactness)>) {
        self.longest_reset = self.longest_reset.max(reset.map_or(Duration::ZERO, |(reset, _)| reset));
    }

    /// What the split lines say, when all three are there.
    fn split(&self) -> Option<Reading> {
        Reading::of(self.limit, self.remaining, self.reset)
    }
}

impl Reading {
    fn of(limit: Option<u32>, remaining: Option<u32>, reset: Option<(Duration, Exactness)>) -> Option<Self> {
        let (limit, remaining, (reset, exactness)) = (limit?, remaining?, reset?);
        (limit > 0).then_some(Self { limit, remaining: remaining.min(limit), reset, exactness })
    }

    /// Of two that tell of one limit, the one with less left.
    pub(super) fn tighter(self, other: Self) -> Self {
        let key = |reading: &Self| (reading.remaining, std::cmp::Reverse(reading.reset));
        if key(&other) < key(&self) { other } else { self }
    }
}

/// `limit=100, remaining=50, reset=5`, with commas or semicolons; and its reset alone.
fn combined(value: &[u8]) -> (Option<Reading>, Option<(Duration, Exactness)>) {
    let (mut limit, mut remaining, mut reset) = (None, None, None);
    for part in value.split(|byte| matches!(byte, b',' | b';')) {
        let Some(equals) = part.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (part[..equals].trim_ascii(), &part[equals + 1..]);
        if name.eq_ignore_ascii_case(b"limit") {
            limit = count(value);
        } else if name.eq_ignore_ascii_case(b"remaining") {
            remaining = count(value);
        } else if name.eq_ignore_ascii_case(b"reset") {
            reset = seconds(value);
        }
    }
    (Reading::of(limit, remaining, reset), reset)
}

/// A whole number of requests.
fn count(value: &[u8]) -> Option<u32> {
    let digits = value.trim_ascii();
    let whole = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    whole
        .then(|| digits.iter().fold(0_u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'))))
}

/// A number of seconds, with a fraction or without; no more than [`LONGEST`].
fn seconds(value: &[u8]) -> Option<(Duration, Exactness)> {
    let value = value.trim_ascii();
    let Some(point) = value.iter().position(|byte| *byte == b'.') else {
        return count(value).map(|whole| (Duration::from_secs(whole.into()).min(LONGEST), Exactness::Seconds));
    };
    let (whole, fraction) = (count(&value[..point])?, &value[point + 1..]);
    count(fraction)?;
    let digits = fraction.iter().map(|digit| u32::from(digit - b'0')).chain(std::iter::repeat(0));
    let nanoseconds = digits.take(9).fold(0, |sum, digit| sum * 10 + digit);
    Some((Duration::new(whole.into(), nanoseconds).min(LONGEST), Exactness::Fraction))
}

/// A number of seconds in JSON, also one that stands in quotes.
fn number(value: &Value) -> Option<(Duration, Exactness)> {
    match value {
        Value::Number(number) => seconds(number.to_string().as_bytes()),
        Value::String(text) => seconds(text.as_bytes()),
        _ => None,
    }
}

/// Longer than this nobody waits before the upstream is asked again.
pub(super) const LONGEST: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
