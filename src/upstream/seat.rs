//! A place among the connections that may be open at once, over all workers; counted as active or idle while it is held.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::pool::Shared;
use crate::telemetry::UpstreamMeters;

/// A place among the connections that may be open; given back when dropped.
pub(super) struct Seat {
    shared: Arc<Shared>,
    meters: Arc<UpstreamMeters>,
    rests: Cell<bool>,
}

impl Seat {
    /// Takes a place, or says that there is none.
    pub(super) fn take(shared: &Arc<Shared>, meters: &Arc<UpstreamMeters>) -> Option<Self> {
        let free = |open: usize| (open < shared.max_connections).then_some(open + 1);
        shared.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        meters.active.fetch_add(1, Ordering::Relaxed);
        Some(Self { shared: shared.clone(), meters: meters.clone(), rests: Cell::new(false) })
    }

    /// Counts the connection as idle.
    pub(super) fn rest(&self) {
        if !self.rests.replace(true) {
            self.meters.active.fetch_sub(1, Ordering::Relaxed);
            self.meters.idle.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the connection as active again.
    pub(super) fn rise(&self) {
        if self.rests.replace(false) {
            self.meters.idle.fetch_sub(1, Ordering::Relaxed);
            self.meters.active.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let counter = if self.rests.get() { &self.meters.idle } else { &self.meters.active };
        counter.fetch_sub(1, Ordering::Relaxed);
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}
