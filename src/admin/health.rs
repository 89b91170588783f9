//! What the gateway says of its own state: alive, ready, and which credentials are down.

use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

/// Where the gateway is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not serving yet.
    Starting,
    /// Serving.
    Ready,
    /// Finishing what is in flight, taking nothing new.
    Draining,
}

/// What a look at the gateway shows beside its phase; it never makes the gateway unready (contract.md 7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// Credentials that are not used, because they are unreadable, disabled or were found rejected.
    pub credentials_down: Vec<String>,
    /// Since when the store is lost: what is known goes on, and nothing can be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_down: Option<String>,
}

/// The state that probes ask for, shared by everything that changes or shows it.
pub struct Health {
    phase: AtomicU8,
    details: Box<dyn Fn() -> Details + Send + Sync>,
}

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    #[serde(rename = "status")]
    pub(super) phase: Phase,
    /// Whether a part is lost that the gateway can go on without.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    #[serde(flatten)]
    details: Details,
}

impl Health {
    /// A gateway that is starting; `details` is asked at each probe.
    pub fn new(details: impl Fn() -> Details + Send + Sync + 'static) -> Self {
        Self { phase: AtomicU8::new(Phase::Starting as u8), details: Box::new(details) }
    }

    /// Notes where the gateway is.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Where the gateway is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            phase if phase == Phase::Starting as u8 => Phase::Starting,
            phase if phase == Phase::Ready as u8 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    pub(super) fn readiness(&self) -> Readiness {
        let details = (self.details)();
        Readiness { phase: self.phase(), degraded: details.store_down.is_some(), details }
    }
}
