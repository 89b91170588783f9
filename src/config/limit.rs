//! How much a gateway key may ask, and whether what it may not do is refused: settings of `[keys.NAME]`.

use std::num::NonZeroU32;
use std::time::Duration;

use super::finding::Wrong;
use super::kinds;
use super::raw::Node;
use super::walk::{Section, Split, Walk};
use crate::scope::{Scope, Scopes};

/// How much a key may ask; what is absent is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// How often.
    pub rate: Option<Rate>,
    /// How many requests at once, each until the end of its answer.
    pub concurrency: Option<u32>,
    /// How many requests a day, which ends at 00:00 UTC.
    pub daily_quota: Option<u64>,
}

/// So many requests in each period on average, and so many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a period.
    pub count: NonZeroU32,
    /// The period.
    pub per: Per,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// The period of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// `/s`.
    Second,
    /// `/m`.
    Minute,
    /// `/h`.
    Hour,
}

/// What becomes of a request that scopes or rules do not permit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It passes, and its record says why it would have been refused.
    Observe,
}

impl Limits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Per {
    /// How long it is.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        })
    }

    /// `s`, `m` or `h`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.count, self.per.as_str())
    }
}

impl Rate {
    /// Reads `20/s`, `600/m` or `5000/h`; a burst as large as the number, unless another is given.
    pub fn parse(text: &str, burst: Option<NonZeroU32>) -> Option<Self> {
        let (number, unit) = text.split_once('/')?;
        let per = [Per::Second, Per::Minute, Per::Hour].into_iter().find(|per| per.as_str() == unit)?;
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let count = if digits { number.parse().ok() } else { None };
        let count: NonZeroU32 = count.filter(|count: &NonZeroU32| count.get() <= MOST)?;
        Some(Self { count, per, burst: burst.unwrap_or(count) })
    }
}

/// `scopes`: none where the key may do whatever its routes allow.
pub(super) fn scopes(walk: &mut Walk, at: &mut Section<'_>) -> Option<Scopes> {
    let given = at.list(walk, "scopes", Split::Commas, scope)?;
    let all = given.iter().fold(Scopes::NONE, |all, one| one.iter().fold(all, Scopes::with));
    if given.is_empty() {
        let doubt = Wrong::new("a key without a scope may do nothing", "list some, or leave `scopes` out");
        walk.warn(at.key("scopes"), walk.place(&at.key("scopes")), doubt);
    }
    Some(all)
}

fn scope(node: &Node) -> Result<Scopes, Wrong> {
    let given = kinds::text(node)?;
    if given == "*" {
        return Ok(Scopes::ALL);
    }
    Scope::parse(&given).map(|scope| Scopes::NONE.with(scope)).ok_or_else(|| {
        let names = Scope::ALL.map(Scope::as_str);
        let all = names.map(|name| format!("`\"{name}\"`")).join(", ");
        let near = super::nearest::suggest(&given, names);
        Wrong::new("no such scope", near.unwrap_or_else(|| format!("one of {all}, or `\"*\"` for all of them")))
    })
}

/// `mode`.
pub(super) fn mode(walk: &mut Walk, at: &mut Section<'_>) -> Mode {
    at.or(walk, "mode", Mode::Enforce, kinds::choice(&[("enforce", Mode::Enforce), ("observe", Mode::Observe)]))
}

/// `rate`, `burst`, `concurrency` and `daily_quota`.
pub(super) fn limits(walk: &mut Walk, at: &mut Section<'_>) -> Limits {
    let burst = at.optional(walk, "burst", number);
    if burst.is_some() && at.count(&["rate"]) == 0 {
        let wrong = Wrong::new("a burst of no rate", "say the rate as well: `rate = \"20/s\"`");
        walk.fault(at.key("burst"), walk.place(&at.key("burst")), wrong);
    }
    Limits {
        rate: at.optional(walk, "rate", |node| rate(node, burst)),
        concurrency: at.optional(walk, "concurrency", number).map(NonZeroU32::get),
        daily_quota: at.optional(walk, "daily_quota", kinds::count(1..=MOST_A_DAY)).map(|most| most as u64),
    }
}

fn rate(node: &Node, burst: Option<NonZeroU32>) -> Result<Rate, Wrong> {
    let parsed = kinds::text(node).ok().and_then(|text| Rate::parse(&text, burst));
    parsed.ok_or_else(|| {
        Wrong::new(
            format!("expected a rate: a number of requests from 1 to {MOST}, and `/s`, `/m` or `/h`"),
            "such as `\"20/s\"`, `\"600/m\"` or `\"5000/h\"`",
        )
    })
}

fn number(node: &Node) -> Result<NonZeroU32, Wrong> {
    let number = kinds::count(1..=MOST as usize)(node)?;
    Ok(u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN))
}

/// The largest number of a rate, a burst and a concurrency.
const MOST: u32 = 1_000_000;
/// The largest daily quota.
const MOST_A_DAY: usize = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_number_and_a_period() {
        let rate = |text: &str| Rate::parse(text, None);
        for (text, count, per) in
            [("20/s", 20, Per::Second), ("600/m", 600, Per::Minute), ("1000000/h", MOST, Per::Hour)]
        {
            let rate = rate(text).unwrap();
            assert_eq!(
                (rate.count.get(), rate.per, rate.burst, rate.to_string()),
                (count, per, rate.count, text.to_owned())
            );
        }
        assert_eq!(Rate::parse("20/s", NonZeroU32::new(40)).unwrap().burst.get(), 40);
        for text in ["", "20", "/s", "0/s", "20/d", "20/sec", "20 /s", "+20/s", "-1/s", "1.5/s", "1000001/s", "20/S"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }
}
