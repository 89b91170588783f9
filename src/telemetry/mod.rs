//! What the gateway tells about itself: counters, histograms, access records; names and numbers only.
use std::sync::atomic::AtomicI64;
/// x
#[derive(Default)]
pub struct UpstreamMeters {
    /// a
    pub active: AtomicI64,
    /// i
    pub idle: AtomicI64,
}
