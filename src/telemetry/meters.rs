//! Values that other parts keep up to date themselves and that are read when metrics are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::names::Label;

/// The connections to one upstream.
#[derive(Debug, Default)]
pub struct UpstreamMeters {
    /// With a request.
    pub active: AtomicI64,
    /// In the pool.
    pub idle: AtomicI64,
}

/// The state of one credential.
#[derive(Debug)]
pub struct CredentialMeters {
    /// Whether it is used; true until it is found otherwise.
    pub up: AtomicBool,
    /// How often it was found rejected.
    pub rejections: AtomicU64,
    /// How often its next secret took over.
    pub promotions: AtomicU64,
    /// When its access token ends, in seconds since 1970; 0 while it has none.
    pub token_expiry: AtomicI64,
    /// How its refreshes ended.
    pub refreshes: Refreshes,
}

/// How a refresh of an OAuth credential ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// With a new token.
    Success,
    /// With nothing; it is tried again.
    Failure,
    /// With a refusal of the grant, which is over.
    Refused,
}

/// The refreshes so far, by how they ended.
#[derive(Debug, Default)]
pub struct Refreshes([AtomicU64; Refresh::ALL.len()]);

impl Refresh {
    pub(super) const ALL: [Self; 3] = [Self::Success, Self::Failure, Self::Refused];

    /// The value of the label `outcome`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Refused => "refused",
        }
    }
}

impl Refreshes {
    /// Counts one.
    pub fn add(&self, refresh: Refresh) {
        self.0[refresh as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many ended like this.
    pub fn count(&self, refresh: Refresh) -> u64 {
        self.0[refresh as usize].load(Ordering::Relaxed)
    }
}

impl Default for CredentialMeters {
    fn default() -> Self {
        Self {
            up: AtomicBool::new(true),
            rejections: AtomicU64::new(0),
            promotions: AtomicU64::new(0),
            token_expiry: AtomicI64::new(0),
            refreshes: Refreshes::default(),
        }
    }
}

/// What is known of one rate limit of a credential.
#[derive(Debug)]
pub struct LimitMeters {
    began: Instant,
    /// Requests in a window; 0 until it is known.
    quota: AtomicU64,
    remaining: AtomicU64,
    /// Until when that is so, in milliseconds since `began`.
    until: AtomicU64,
}

impl LimitMeters {
    /// Shows a limit, how many of its requests are left, and for how long that is so: of a window that has not begun
    /// all are.
    pub fn show(&self, quota: u32, left: Option<(u32, Duration)>) {
        let (remaining, time) = left.unwrap_or((quota, Duration::ZERO));
        self.quota.store(quota.into(), Ordering::Relaxed);
        self.remaining.store(remaining.into(), Ordering::Relaxed);
        self.until.store(milliseconds(self.began.elapsed() + time), Ordering::Relaxed);
    }

    /// The limit and what is left of it now; nothing while it is not known.
    pub(super) fn read(&self) -> Option<(u64, u64)> {
        self.left().map(|(quota, remaining, _)| (quota, remaining))
    }

    /// The same, and how long that is so.
    pub(super) fn left(&self) -> Option<(u64, u64, Duration)> {
        let quota = Some(self.quota.load(Ordering::Relaxed)).filter(|quota| *quota > 0)?;
        let now = milliseconds(self.began.elapsed());
        let time = self.until.load(Ordering::Relaxed).saturating_sub(now);
        let remaining = if time == 0 { quota } else { self.remaining.load(Ordering::Relaxed) };
        Some((quota, remaining, Duration::from_millis(time)))
    }
}

impl Default for LimitMeters {
    fn default() -> Self {
        let (quota, remaining, until) = Default::default();
        Self { began: Instant::now(), quota, remaining, until }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// All meters, each made once for its name.
#[derive(Default)]
pub(super) struct Meters {
    pub(super) upstreams: BTreeMap<String, Arc<UpstreamMeters>>,
    pub(super) listeners: BTreeMap<String, Arc<AtomicI64>>,
    pub(super) credentials: HashMap<Label, Arc<CredentialMeters>>,
    /// By credential and group.
    pub(super) limits: HashMap<(Label, &'static str), Arc<LimitMeters>>,
    /// The credentials that there are; of others there is no state, only what was counted.
    pub(super) standing: HashSet<Label>,
    /// Seconds since 1970, by key.
    pub(super) expiries: HashMap<Label, i64>,
    /// The keys that there are and that have series of their own, and when they were made, in seconds since 1970.
    pub(super) keys: HashMap<Label, i64>,
    pub(super) reloads: Reloads,
    pub(super) store: StoreState,
}

/// What a rate limit of Close leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The credential.
    pub credential: Arc<str>,
    /// The endpoints that share the limit.
    pub group: &'static str,
    /// Requests in a window.
    pub quota: u64,
    /// Requests that are left in it.
    pub remaining: u64,
    /// Until it begins anew.
    pub resets_in: Duration,
}

/// Whether the store works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StoreState {
    /// It does, or nothing has asked for it yet.
    #[default]
    Up,
    /// It does not.
    Down,
}

/// How a reload of the configuration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// What was loaded is in force.
    Success,
    /// It had faults, and nothing was changed.
    Failure,
}

/// The reloads so far.
pub(super) struct Reloads {
    pub(super) successes: u64,
    pub(super) failures: u64,
    pub(super) last: Reload,
    /// Of the start, or of the last one without a fault.
    pub(super) last_success: Timestamp,
}

impl Reloads {
    pub(super) fn add(&mut self, reload: Reload) {
        self.last = reload;
        match reload {
            Reload::Success => {
                self.successes += 1;
                self.last_success = Timestamp::now();
            }
            Reload::Failure => self.failures += 1,
        }
    }
}

impl Default for Reloads {
    /// None yet, and the start was one without a fault.
    fn default() -> Self {
        Self { successes: 0, failures: 0, last: Reload::Success, last_success: Timestamp::now() }
    }
}
