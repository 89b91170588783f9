//! Rate limits as Close announces and enforces them (close-api.md 3): per credential and endpoint group.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};
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
}

/// How many requests a credential may make of one endpoint group in a window of time.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Requests in a window.
    pub limit: u32,
    /// How long a window is.
    pub window: Duration,
    /// How it is announced.
    pub style: RateStyle,
}

impl RateLimit {
    /// So many requests in each window, announced as Close does today.
    pub fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window, style: RateStyle::Semicolons }
    }
}

/// The requests of one credential to one endpoint group in the current window.
pub(super) struct Window {
    began: Instant,
    used: u32,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), used: 0 }
    }

    /// Counts a request and says where the credential stands.
    pub(super) fn count(&mut self, rate: &RateLimit) -> Standing {
        if self.began.elapsed() >= rate.window {
            *self = Self::new();
        }
        let exceeded = self.used >= rate.limit;
        if !exceeded {
            self.used += 1;
        }
        let reset = rate.window.saturating_sub(self.began.elapsed());
        Standing { limit: rate.limit, remaining: rate.limit - self.used, reset, exceeded }
    }
}

/// Where a credential stands in its window.
pub(super) struct Standing {
    limit: u32,
    remaining: u32,
    reset: Duration,
    /// Whether this request was one too many.
    pub(super) exceeded: bool,
}

impl Standing {
    /// Writes the announcement.
    pub(super) fn announce(&self, style: RateStyle, headers: &mut HeaderMap) {
        let Self { limit, remaining, .. } = self;
        let seconds = self.reset.as_secs_f64();
        match style {
            RateStyle::Semicolons => {
                let reset = self.whole_seconds();
                put(headers, "ratelimit", &format!("limit={limit}; remaining={remaining}; reset={reset}"));
                put(headers, "ratelimit-limit", &limit.to_string());
                put(headers, "ratelimit-remaining", &remaining.to_string());
                put(headers, "ratelimit-reset", &reset.to_string());
            }
            RateStyle::Commas => {
                put(headers, "ratelimit", &format!("limit={limit}, remaining={remaining}, reset={seconds:.3}"));
            }
            RateStyle::Legacy => {
                put(headers, "x-rate-limit-limit", &limit.to_string());
                put(headers, "x-rate-limit-remaining", &remaining.to_string());
                put(headers, "x-rate-limit-reset", &format!("{seconds:.6}"));
            }
        }
        if self.exceeded {
            headers.insert(RETRY_AFTER, self.whole_seconds().into());
        }
    }

    /// The time to the reset, rounded up: what `retry-after` says.
    fn whole_seconds(&self) -> u64 {
        self.reset.as_secs() + u64::from(self.reset.subsec_nanos() > 0)
    }
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
        assert!(!window.count(&rate).exceeded && !window.count(&rate).exceeded);
        tokio::time::advance(Duration::from_millis(500)).await;
        let mut headers = HeaderMap::new();
        let standing = window.count(&rate);
        standing.announce(RateStyle::Semicolons, &mut headers);
        assert!(standing.exceeded);
        assert_eq!(headers["ratelimit"], "limit=2; remaining=0; reset=3");
        assert_eq!(headers["retry-after"], "3");
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert!(!window.count(&rate).exceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn older_styles_have_decimals() {
        let standing = Window::new().count(&RateLimit::new(9, Duration::from_millis(1500)));
        let mut headers = HeaderMap::new();
        standing.announce(RateStyle::Commas, &mut headers);
        standing.announce(RateStyle::Legacy, &mut headers);
        assert_eq!(headers["ratelimit"], "limit=9, remaining=8, reset=1.500");
        assert_eq!(headers["x-rate-limit-reset"], "1.500000");
    }
}
