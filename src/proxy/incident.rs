//! What operators must hear of beside the access records: secrets that came back, and why an upstream was not reached.
//!
//! At most one message a second of each kind and route, which says how many were held back: a hostile upstream fills no
//! disk, and its noise does not drown what is told of the others.

use std::error::Error;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::id::RequestId;
use crate::upstream::SendFault;

/// An upstream's answer held the credential that was injected; it was overwritten.
pub(super) fn secret_came_back(route: &str, request_id: &RequestId, times: u32) {
    static PACES: Paces = Paces::new();
    if let Some(held_back) = PACES.of(route).permit() {
        let request_id = request_id.as_str();
        tracing::warn!(
            route,
            request_id,
            times,
            held_back,
            "an answer repeated the injected secret; it was overwritten"
        );
    }
}

/// The exchange with an upstream failed; its client was told no more than a code.
pub(super) fn upstream_failed(route: &str, request_id: &RequestId, fault: &SendFault) {
    static PACES: Paces = Paces::new();
    if let Some(held_back) = PACES.of(route).permit() {
        let (request_id, cause) = (request_id.as_str(), chain(fault));
        tracing::warn!(route, request_id, %cause, held_back, "no answer of the upstream");
    }
}

/// The fault and what is behind it.
fn chain(fault: &SendFault) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// A pace a route, within a bound: some of very many routes share one.
struct Paces([Pace; PLACES]);

impl Paces {
    const fn new() -> Self {
        Self([const { Pace::new() }; PLACES])
    }

    fn of(&self, route: &str) -> &Pace {
        let mut hasher = DefaultHasher::new();
        route.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % PLACES as u64).unwrap_or_default();
        &self.0[place]
    }
}

const PLACES: usize = 256;

/// One a second.
struct Pace {
    last: AtomicU64,
    held_back: AtomicU64,
}

impl Pace {
    const fn new() -> Self {
        Self { last: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// How many were held back since the last that was permitted; nothing when this one is held back too.
    fn permit(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.last.swap(now, Ordering::Relaxed) != now {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::net::ConnectError;

    #[test]
    fn a_fault_is_told_with_its_cause() {
        let fault = SendFault::from(ConnectError::Tls(io::Error::other("certificate expired")));
        assert_eq!(chain(&fault), "no TLS session with the upstream: certificate expired");
    }

    #[test]
    fn a_noisy_route_holds_back_no_message_of_another() {
        let paces = Paces::new();
        assert!((0..1000).filter(|_| paces.of("noisy").permit().is_none()).count() > 900);
        assert_eq!(paces.of("quiet").permit(), Some(0));
        assert!(std::ptr::eq(paces.of("noisy"), paces.of("noisy")));
    }

    #[test]
    fn messages_of_one_second_are_counted_instead() {
        let pace = Pace::new();
        let permitted = (0..1000).filter(|_| pace.permit().is_some()).count();
        assert!((1..=2).contains(&permitted), "{permitted}: two when a second ended meanwhile");
    }
}
