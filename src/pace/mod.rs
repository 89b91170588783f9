//! Close's rate limits: learned from its answers, kept by all workers together, shared fairly by those who call.
//!
//! Close limits each key, and each organisation, by groups of endpoints (close-api.md 3). Every answer teaches ([`Lesson`]);
//! what is known decides whether a request goes out at once, waits for its turn, or is refused because the wait would be too
//! long ([`Pace::enter`]). A credential of which nothing is known costs its requests one atomic load.

mod budget;
mod cell;
mod lesson;
mod pacer;

#[cfg(test)]
mod simulation;

use std::time::Duration;

use crate::id::CredentialId;
use crate::telemetry::Label;

pub use lesson::Lesson;
pub use pacer::{Account, Dispatcher, Pacer, Place, Turn};

/// How the requests of each credential are paced, for as long as the configuration stays.
pub struct Pace {
    accounts: Vec<Account>,
    max_wait: Duration,
}

/// Which limits a request counts against, and as whose it waits.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// The group of endpoints that Close counts together.
    pub group: &'static str,
    /// The caller.
    pub key: Label,
}

/// What becomes of a request.
pub enum Entry {
    /// It goes out now; with a place where its limits are known.
    Free(Option<Place>),
    /// It waits.
    Held(Turn),
    /// It would wait too long.
    Refused(Exhausted),
}

/// Why a request is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's rate limit for this group of endpoints is exhausted")]
pub struct Exhausted {
    /// Requests in a window, where that is known.
    pub limit: Option<u32>,
    /// About how long a window is, where that is known.
    pub window: Option<Duration>,
    /// Until a request is likely to be sent.
    pub wait: Duration,
    /// Whose limit it is.
    pub by: Limited,
}

/// Whose limit is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// The credential's.
    ByKey,
    /// That of all credentials of its organisation.
    ByOrganization,
}

impl Pace {
    /// Paces credentials, in the order of [`CredentialId`]; nobody waits longer than `max_wait`, and with none at all
    /// requests go out whatever is known.
    pub fn new(accounts: Vec<Account>, max_wait: Duration) -> Self {
        Self { accounts, max_wait }
    }

    /// Whether requests may be made to wait.
    pub fn waits(&self) -> bool {
        !self.max_wait.is_zero()
    }

    /// Decides about a request of a credential that has waited for `paced` already.
    pub fn enter(&self, credential: CredentialId, share: Share, paced: Duration) -> Entry {
        if !self.waits() {
            return Entry::Free(None);
        }
        self.account(credential).enter(share, self.max_wait.saturating_sub(paced))
    }

    /// Learns from the answer to a request, which held this place if any.
    pub fn learn(&self, credential: CredentialId, group: &'static str, place: Option<Place>, lesson: &Lesson) {
        self.account(credential).learn(group, place, lesson);
    }

    fn account(&self, credential: CredentialId) -> &Account {
        &self.accounts[credential.0 as usize]
    }
}

impl Exhausted {
    /// The wait in whole seconds, rounded up, and at least one.
    pub fn seconds(&self) -> u64 {
        (self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0)).max(1)
    }

    /// Nothing is known but that it is so.
    const UNKNOWN: Self = Self { limit: None, window: None, wait: Duration::from_secs(1), by: Limited::ByKey };
}
