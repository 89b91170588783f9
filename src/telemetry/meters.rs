//! Values that other parts keep up to date themselves and that are read when metrics are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

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
}

impl Default for CredentialMeters {
    fn default() -> Self {
        Self { up: AtomicBool::new(true), rejections: AtomicU64::new(0), promotions: AtomicU64::new(0) }
    }
}

/// All meters, each made once for its name.
#[derive(Default)]
pub(super) struct Meters {
    pub(super) upstreams: BTreeMap<String, Arc<UpstreamMeters>>,
    pub(super) listeners: BTreeMap<String, Arc<AtomicI64>>,
    pub(super) credentials: HashMap<Label, Arc<CredentialMeters>>,
    /// Seconds since 1970, by key.
    pub(super) expiries: HashMap<Label, i64>,
}
