//! One credential as requests see it: what to send, or why nothing may be sent.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::authorization::Authorization;
use crate::id::CredentialName;
use crate::origin::Origin;
use crate::telemetry::CredentialMeters;

/// How a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is sent.
    Ready,
    /// It is sent; an upstream answered 401, and Close is being asked.
    Suspect,
    /// Close refused it; it is not sent until Close takes it again.
    Rejected,
    /// Its secret cannot be had; it is tried again.
    Unavailable {
        /// Why, for people.
        reason: &'static str,
    },
}

/// Why a credential is not sent, and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the credential is not available: {reason}")]
pub struct Unavailable {
    /// For people; names no secret.
    pub reason: &'static str,
    /// Seconds until the vault tries again, at least 1.
    pub retry_after: u64,
}

/// What keeps a credential from being sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outage {
    /// Close refused it.
    Rejected,
    /// Its secret cannot be had.
    Unavailable,
}

impl Outage {
    fn reason(self) -> &'static str {
        match self {
            Self::Rejected => "Close refused it",
            Self::Unavailable => "its command gave no secret",
        }
    }

    fn state(self) -> State {
        match self {
            Self::Rejected => State::Rejected,
            Self::Unavailable => State::Unavailable { reason: self.reason() },
        }
    }
}

enum Standing {
    Ready(Authorization),
    Out { outage: Outage, until: Instant },
}

/// A credential's place in the vault: read by every request, written by its watch alone.
pub(super) struct Entry {
    name: CredentialName,
    meters: Arc<CredentialMeters>,
    standing: ArcSwap<Standing>,
    suspicion: Suspicion,
}

impl Entry {
    /// A place that has nothing to send yet.
    pub(super) fn new(name: CredentialName, meters: Arc<CredentialMeters>) -> Self {
        let nothing_yet = Standing::Out { outage: Outage::Unavailable, until: Instant::now() };
        let suspicion = Suspicion { origin: ArcSwapOption::empty(), bell: Notify::new() };
        Self { name, meters, standing: ArcSwap::from_pointee(nothing_yet), suspicion }
    }

    pub(super) fn name(&self) -> &CredentialName {
        &self.name
    }

    pub(super) fn meters(&self) -> &CredentialMeters {
        &self.meters
    }

    /// The hot path: one atomic load, and shared bytes.
    pub(super) fn authorization(&self) -> Result<Authorization, Unavailable> {
        match &**self.standing.load() {
            Standing::Ready(authorization) => Ok(authorization.again()),
            Standing::Out { outage, until } => {
                let wait = until.saturating_duration_since(Instant::now());
                let retry_after = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Err(Unavailable { reason: outage.reason(), retry_after: retry_after.max(1) })
            }
        }
    }

    pub(super) fn state(&self) -> State {
        match &**self.standing.load() {
            Standing::Ready(_) if self.suspicion.is_raised() => State::Suspect,
            Standing::Ready(_) => State::Ready,
            Standing::Out { outage, .. } => outage.state(),
        }
    }

    /// Raises the suspicion, unless the 401 was for a secret that is in use no more.
    pub(super) fn suspect(&self, generation: u64, origin: &Origin) {
        let standing = self.standing.load();
        if matches!(&**standing, Standing::Ready(authorization) if authorization.generation() == generation) {
            self.suspicion.raise(origin);
        }
    }

    pub(super) fn suspicion(&self) -> &Suspicion {
        &self.suspicion
    }

    /// From now on requests carry this.
    pub(super) fn admit(&self, authorization: Authorization) {
        self.standing.store(Arc::new(Standing::Ready(authorization)));
        self.meters.up.store(true, Ordering::Relaxed);
    }

    /// From now on requests carry nothing; the next try is `until`.
    pub(super) fn withdraw(&self, outage: Outage, until: Instant) {
        self.standing.store(Arc::new(Standing::Out { outage, until }));
        self.meters.up.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.name, self.state())
    }
}

/// A doorbell: rung by any thread that saw a 401, once until it is answered.
pub(super) struct Suspicion {
    origin: ArcSwapOption<Origin>,
    bell: Notify,
}

impl Suspicion {
    fn raise(&self, origin: &Origin) {
        if !self.is_raised() {
            self.origin.store(Some(Arc::new(origin.clone())));
            self.bell.notify_one();
        }
    }

    fn is_raised(&self) -> bool {
        self.origin.load().is_some()
    }

    /// Waits for a suspicion; gives the upstream that answered 401.
    pub(super) async fn raised(&self) -> Origin {
        loop {
            if let Some(origin) = self.origin.load_full() {
                return Origin::clone(&origin);
            }
            self.bell.notified().await;
        }
    }

    /// The suspicion was looked into.
    pub(super) fn clear(&self) {
        self.origin.store(None);
    }
}
