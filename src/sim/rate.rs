//! Rate limits as Close announces and enforces them (close-api.md 3): per credential and endpoint group.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How the limits are announced in headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateStyle {
    /// As live in 2026: `ratelimit: limit=100; remaining=99; reset=1`, and one header for each part.
    Semicolons,
    /// As documented: `ratelimit: limit=100, remaining=99, reset=0.595`.
    Commas,
    /// As until 2023: `x-rate-limit-limit`, `-remaining` and `-reset`.
    Legacy,
    /// As for stricter limits: a 429 says `retry-after`, and nothing else says anything.
    RetryAfter,
    /// By the body of a 429 alone, as until 2024.
    Body,
    /// Not at all: a 429 is a 429.
    Silence,
}

/// How many requests a credential may make of one endpoint group in a window of time.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Requests of a credential in a window.
    pub limit: u32,
    /// Requests of all credentials of an organisation together in a window, if that is limited too.
    pub organization: Option<u32>,
    /// How long a window is.
    pub window: Duration,
    /// How it is announced.
    pub style: RateStyle,
}

impl RateLimit {
    /// So many requests in each window, announced as Close does today.
    pub fn new(limit: u32, window: Duration) -> Self {
        Self { limit, organization: None, window, style: RateStyle::Semicolons }
    }
}

/// The requests of one credential, or one organisation, to one endpoint group in the current window.
pub(super) struct Window {
    began: Instant,
    used: u32,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), used: 0 }
    }

    /// Whether another request would be one too many.
    fn is_full(&mut self, limit: u32, length: Duration) -> bool {
        if self.began.elapsed() >= length {
            *self = Self::new();
        }
        self.used >= limit
    }

    fn level(&self, limit: u32, length: Duration) -> Level {
        Level { limit, remaining: limit.saturating_sub(self.used), reset: length.saturating_sub(self.began.elapsed()) }
    }
}

/// Counts a request in the window of its credential and in that of its organisation, unless it is one too many in either,
/// and says where they stand.
pub(super) fn count(rate: &RateLimit, own: &mut Window, organization: Option<&mut Window>) -> Standing {
    let length = rate.window;
    let mut windows: Vec<(&mut Window, u32)> = vec![(own, rate.limit)];
    windows.extend(organization.zip(rate.organization));
    let full = windows.iter_mut().map(|(window, limit)| window.is_full(*limit, length)).collect::<Vec<_>>();
    let exceeded = full.iter().any(|full| *full);
    if !exceeded {
        windows.iter_mut().for_each(|(window, _)| window.used += 1);
    }
    let levels: Vec<Level> = windows.iter().map(|(window, limit)| window.level(*limit, length)).collect();
    let own = levels[0];
    let closest = levels.into_iter().min_by_key(|level| level.remaining).unwrap_or(own);
    Standing { own, closest, exceeded }
}

/// Where a credential stands, in its own window and in the one that is closest to being used up.
pub(super) struct Standing {
    own: Level,
    closest: Level,
    /// Whether this request was one too many.
    pub(super) exceeded: bool,
}

/// What is left of a window.
#[derive(Debug, Clone, Copy)]
struct Level {
    limit: u32,
    remaining: u32,
    reset: Duration,
}

impl Standing {
    /// Writes the announcement: the combined header tells of what is closest to being hit (close-api.md 3.3), the split
    /// ones of the credential's own limit.
    pub(super) fn announce(&self, style: RateStyle, headers: &mut HeaderMap) {
        let Level { limit, remaining, reset } = self.closest;
        match style {
            RateStyle::Semicolons => {
                let seconds = whole_seconds(reset);
                put(headers, "ratelimit", &format!("limit={limit}; remaining={remaining}; reset={seconds}"));
                put(headers, "ratelimit-limit", &self.own.limit.to_string());
                put(headers, "ratelimit-remaining", &self.own.remaining.to_string());
                put(headers, "ratelimit-reset", &whole_seconds(self.own.reset).to_string());
            }
            RateStyle::Commas => {
                let seconds = reset.as_secs_f64();
                put(headers, "ratelimit", &format!("limit={limit}, remaining={remaining}, reset={seconds:.3}"));
            }
            RateStyle::Legacy => {
                put(headers, "x-rate-limit-limit", &limit.to_string());
                put(headers, "x-rate-limit-remaining", &remaining.to_string());
                put(headers, "x-rate-limit-reset", &format!("{:.6}", reset.as_secs_f64()));
            }
            RateStyle::RetryAfter => {}
            RateStyle::Body | RateStyle::Silence => return,
        }
        if self.exceeded {
            headers.insert(RETRY_AFTER, whole_seconds(reset).into());
        }
    }

    /// The body of a 429.
    pub(super) fn refusal(&self, style: RateStyle) -> Value {
        if style != RateStyle::Body {
            return json!({});
        }
        let Level { limit, reset, .. } = self.closest;
        let kind = if limit == self.own.limit { "key" } else { "organization" };
        json!({ "error": {
            "message": "API call count exceeded for this period",
            "rate_reset": reset.as_secs_f64(),
            "rate_limit": limit,
            "rate_window": 1,
            "rate_limit_type": kind,
        }})
    }
}

/// A time rounded up: what `retry-after` says.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_window_is_used_up_and_begins_again() {
        let rate = RateLimit::new(2, Duration::from_secs(3));
        let mut window = Window::new();
        let mut count = || count(&rate, &mut window, None);
        assert!(!count().exceeded && !count().exceeded);
        tokio::time::advance(Duration::from_millis(500)).await;
        let mut headers = HeaderMap::new();
        let standing = count();
        standing.announce(RateStyle::Semicolons, &mut headers);
        assert!(standing.exceeded);
        assert_eq!(headers["ratelimit"], "limit=2; remaining=0; reset=3");
        assert_eq!(headers["retry-after"], "3");
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert!(!count().exceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn an_organisation_is_counted_over_all_its_credentials() {
        let rate = RateLimit { organization: Some(3), ..RateLimit::new(2, Duration::from_secs(3)) };
        let (mut one, mut other, mut all) = (Window::new(), Window::new(), Window::new());
        for _ in 0..2 {
            assert!(!count(&rate, &mut one, Some(&mut all)).exceeded);
        }
        assert!(count(&rate, &mut one, Some(&mut all)).exceeded, "the credential's own");
        assert!(!count(&rate, &mut other, Some(&mut all)).exceeded);
        let standing = count(&rate, &mut other, Some(&mut all));
        assert!(standing.exceeded, "the organisation's");
        let mut headers = HeaderMap::new();
        standing.announce(RateStyle::Semicolons, &mut headers);
        assert_eq!(
            (&headers["ratelimit"], &headers["ratelimit-remaining"]),
            (&"limit=3; remaining=0; reset=3".parse().unwrap(), &"1".parse().unwrap())
        );
        assert_eq!(standing.refusal(RateStyle::Body)["error"]["rate_limit_type"], "organization");
    }

    #[tokio::test(start_paused = true)]
    async fn older_styles_have_decimals() {
        let standing = count(&RateLimit::new(9, Duration::from_millis(1500)), &mut Window::new(), None);
        let mut headers = HeaderMap::new();
        standing.announce(RateStyle::Commas, &mut headers);
        standing.announce(RateStyle::Legacy, &mut headers);
        assert_eq!(headers["ratelimit"], "limit=9, remaining=8, reset=1.500");
        assert_eq!(headers["x-rate-limit-reset"], "1.500000");
    }
}
