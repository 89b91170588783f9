//! The store beside a running gateway: what it tells of itself, and how long its word holds when it is lost.

use std::borrow::Cow;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::managed::Snapshot;
use crate::store::{Health, Store};
use crate::vault::Archive;

/// The store of a running gateway.
pub(super) struct Keep {
    pub(super) archive: Arc<Archive>,
    changes: watch::Receiver<u64>,
    health: watch::Receiver<Health>,
    max_stale: Duration,
    /// Whether keys that were added at run time have stopped because the database was lost for too long.
    trust: Trust,
}

/// How far what was read last is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Whole,
    /// Keys are not: one that was revoked meanwhile would go on.
    WithoutKeys,
}

/// What the store tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Something was changed.
    Changed,
    /// The database answers again.
    Back,
    /// It does not answer any more.
    Lost,
    /// It has not for so long that keys are not to be believed.
    Stale,
}

impl Keep {
    pub(super) fn new(archive: Arc<Archive>, max_stale: Duration) -> Self {
        let store = archive.store();
        let (changes, mut health) = (store.changes(), store.health());
        // What it is now is told as well, unless all is well.
        if *health.borrow() != Health::Up {
            health.mark_changed();
        }
        Self { changes, health, archive, max_stale, trust: Trust::Whole }
    }

    pub(super) fn store(&self) -> &Store {
        self.archive.store()
    }

    /// Waits for what the store tells next. May be dropped and called again.
    pub(super) async fn told(&mut self) -> Told {
        let stale = stale_at(*self.health.borrow(), self.max_stale, self.trust);
        tokio::select! {
            biased;
            Ok(()) = self.health.changed() => match *self.health.borrow_and_update() {
                Health::Up => Told::Back,
                Health::Down { .. } => Told::Lost,
            },
            Ok(()) = self.changes.changed() => Told::Changed,
            () = reached(stale) => {
                self.trust = Trust::WithoutKeys;
                Told::Stale
            }
            // The store lives as long as this does.
            else => future::pending().await,
        }
    }

    /// Which change was told last.
    pub(super) fn revision(&self) -> u64 {
        *self.changes.borrow()
    }

    /// It was read: everything in it is believed.
    pub(super) fn refreshed(&mut self) {
        self.trust = Trust::Whole;
    }

    /// As much of what was read last as is believed.
    pub(super) fn believed<'s>(&self, snapshot: &'s Snapshot) -> Cow<'s, Snapshot> {
        match self.trust {
            Trust::Whole => Cow::Borrowed(snapshot),
            Trust::WithoutKeys => Cow::Owned(snapshot.without_keys()),
        }
    }

    /// Whether keys that were added at run time are believed.
    pub(super) fn has_keys(&self) -> bool {
        self.trust == Trust::Whole
    }
}

/// When keys stop being believed.
fn stale_at(health: Health, max_stale: Duration, trust: Trust) -> Option<Instant> {
    match (health, trust) {
        (Health::Down { since }, Trust::Whole) => {
            let lost = Timestamp::now().duration_since(since).unsigned_abs();
            Some(Instant::now() + max_stale.saturating_sub(lost))
        }
        (Health::Up, _) | (_, Trust::WithoutKeys) => None,
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_believed_for_so_long_after_the_database_was_lost() {
        let since = Timestamp::now() - jiff::SignedDuration::from_secs(50);
        let left = |health, trust| {
            stale_at(health, Duration::from_secs(60), trust).map(|at| at.duration_since(Instant::now()).as_secs())
        };
        assert!(left(Health::Down { since }, Trust::Whole).is_some_and(|left| (8..=10).contains(&left)));
        assert_eq!(left(Health::Up, Trust::Whole), None);
        assert_eq!(left(Health::Down { since }, Trust::WithoutKeys), None);
    }
}
