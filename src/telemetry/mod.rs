//! What the gateway tells about itself: counters, histograms and access records; names and numbers only.
//!
//! Each worker counts and writes lines in a [`Core`] of its own; the totals are made when metrics are read, and the lines
//! are carried to stdout by a thread that no worker ever waits for. Nothing here can name a secret: labels come from
//! configured names and the program's own words, and what a client chose is masked and escaped.

mod access;
mod core;
mod exposition;
mod families;
mod foreign;
mod happening;
pub mod log;
mod mask;
mod messages;
mod meters;
mod names;
mod process;
mod record;
mod recorder;
mod refused;
mod request_id;
mod table;
mod tally;
mod wall;
mod writer;

use std::io::Write;
use std::mem;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

pub use self::core::Core;
use self::core::{CoreState, Cores};
use self::exposition::Exposition;
pub use self::happening::Happening;
pub use self::mask::masked;
use self::meters::Meters;
pub use self::meters::{CredentialMeters, LimitMeters, Refresh, Reload, Room, StoreState, UpstreamMeters};
pub use self::names::Label;
use self::names::Names;
pub use self::record::{Answerer, Client, Record, Retries, Retry};
pub use self::refused::Refused;
use self::tally::Tally;
use self::writer::Signal;
use crate::usage::{Amounts, Series};

/// How access records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
    /// Not at all.
    Off,
}

/// What can be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Beyond it keys share the label `_other` in metrics.
    pub max_key_series: usize,
    /// How access records are written.
    pub access: Access,
}

/// The telemetry of the process.
pub struct Telemetry {
    access: Access,
    names: Arc<Names>,
    cores: Arc<Cores>,
    /// Where lines lie that are no worker's.
    own: Arc<CoreState>,
    meters: Mutex<Meters>,
    signal: Arc<Signal>,
    totals: Mutex<Totals>,
    /// An empty one with room, for the core that is asked next.
    spare: Mutex<Tally>,
}

struct Totals {
    exposition: Exposition,
    /// Lost records that the exposition has counted.
    lost: u64,
}

impl Telemetry {
    /// Starts counting, and the thread that writes access records and events to `out`.
    pub fn new(options: Options, out: impl Write + Send + 'static) -> Arc<Self> {
        let names = Arc::new(Names::new(options.max_key_series));
        let (cores, signal) = (Arc::<Cores>::default(), Arc::<Signal>::default());
        let own = cores.add(names.clone());
        writer::start(signal.clone(), cores.clone(), out);
        let totals = Mutex::new(Totals { exposition: Exposition::new(names.clone()), lost: 0 });
        let (meters, spare) = (Mutex::default(), Mutex::default());
        Arc::new(Self { access: options.access, names, cores, own, meters, signal, totals, spare })
    }

    /// The label of a route.
    pub fn route(&self, name: &str) -> Label {
        self.names.label(name)
    }

    /// The label of a credential.
    pub fn credential(&self, name: &str) -> Label {
        self.names.label(name)
    }

    /// The label of an organisation; no series and no record shows it.
    pub fn organization(&self, name: &str) -> Label {
        self.names.label(name)
    }

    /// The label of a key: records always show its name, metrics only for the first `max_key_series` keys.
    pub fn key(&self, name: &str) -> Label {
        self.names.key(name)
    }

    /// A handle for one worker thread.
    pub fn core(&self) -> Core {
        Core::new(self.cores.add(self.names.clone()), self.signal.clone(), self.access)
    }

    /// The meters of an upstream, by `host[:port]`.
    pub fn upstream(&self, authority: &str) -> Arc<UpstreamMeters> {
        lock(&self.meters).upstreams.entry(authority.to_owned()).or_default().clone()
    }

    /// The open connections of a listener.
    pub fn listener(&self, name: &str) -> Arc<AtomicI64> {
        lock(&self.meters).listeners.entry(name.to_owned()).or_default().clone()
    }

    /// The meters of a credential.
    pub fn credential_meters(&self, credential: Label) -> Arc<CredentialMeters> {
        lock(&self.meters).credentials.entry(credential).or_default().clone()
    }

    /// The meters of a credential's rate limit for a group of endpoints.
    pub fn limit_meters(&self, credential: Label, group: &'static str) -> Arc<LimitMeters> {
        lock(&self.meters).limits.entry((credential, group)).or_default().clone()
    }

    /// Notes which credentials there are; others have no state any more.
    pub fn stand(&self, credentials: impl IntoIterator<Item = Label>) {
        lock(&self.meters).standing = credentials.into_iter().collect();
    }

    /// Notes which keys there are, and when each was made: where nobody knows, the moment at which it was first noted. Of
    /// other keys it is not shown when they were used. A key without a series of its own has none here either.
    pub fn keys_stand(&self, keys: impl IntoIterator<Item = (Label, Option<Timestamp>)>) {
        let (now, mut meters) = (Timestamp::now().as_second(), lock(&self.meters));
        let own = keys.into_iter().filter(|(key, _)| key.has_own_series());
        let made = |(key, made): (Label, Option<Timestamp>)| {
            let noted = meters.keys.get(&key).copied().unwrap_or(now);
            (key, made.map_or(noted, Timestamp::as_second))
        };
        meters.keys = own.map(made).collect();
    }

    /// Notes from when on keys are refused, those that are at all; a key without a series of its own has none here
    /// either.
    pub fn key_expiries(&self, expiries: impl IntoIterator<Item = (Label, Timestamp)>) {
        let own = expiries.into_iter().filter(|(key, _)| key.has_own_series());
        lock(&self.meters).expiries = own.map(|(key, at)| (key, at.as_second())).collect();
    }

    /// Writes an administrative event: one line, whatever access records are like, or one counted drop where stdout is blocked.
    pub fn happened(&self, happening: &Happening<'_>) {
        if self.own.push(&happening.line()) {
            self.signal.wake();
        }
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, reload: Reload) {
        lock(&self.meters).reloads.add(reload);
    }

    /// Notes whether the store works.
    pub fn store(&self, state: StoreState) {
        lock(&self.meters).store = state;
    }

    /// The metrics in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        let mut totals = lock(&self.totals);
        for core in self.cores.all() {
            totals.exposition.absorb(core.take_table());
        }
        let lost = self.signal.lost();
        let before = mem::replace(&mut totals.lost, lost);
        totals.exposition.add_dropped_records(lost - before);
        totals.exposition.read(&lock(&self.meters));
        totals.exposition.render()
    }

    /// Gives what was used since the last time, by the minute since 1970 in which it ended.
    pub fn take_usage(&self, mut take: impl FnMut(u64, Series, Amounts)) {
        let mut spare = lock(&self.spare);
        for core in self.cores.all() {
            core.swap_tally(&mut spare);
            spare.drain(&self.names, &mut take);
        }
    }

    /// The last refusals, one by one, the newest first: of each core so many as it remembers.
    pub fn refusals(&self) -> Vec<Refused> {
        let mut refusals: Vec<Refused> = self.cores.all().iter().flat_map(|core| core.refusals(&self.names)).collect();
        refusals.sort_by_key(|refused| std::cmp::Reverse(refused.at));
        refusals
    }

    /// What Close's rate limits leave to the credentials that there are, those with the least share first.
    pub fn headroom(&self) -> Vec<Room> {
        let meters = lock(&self.meters);
        let standing = meters.limits.iter().filter(|((credential, _), _)| meters.standing.contains(credential));
        let known = standing.filter_map(|((credential, group), limit)| {
            let (quota, remaining, resets_in) = limit.left()?;
            Some(Room { credential: self.names.text(*credential), group, quota, remaining, resets_in })
        });
        let mut rooms: Vec<Room> = known.collect();
        let left = |room: &Room| room.remaining.saturating_mul(1_000_000) / room.quota.max(1);
        rooms.sort_by(|a, b| (left(a), &a.credential, a.group).cmp(&(left(b), &b.credential, b.group)));
        rooms
    }

    /// Notes when a key was used last as far as it is remembered from before this process, in seconds since 1970.
    pub fn key_last_used(&self, key: &str, at: u64) {
        lock(&self.totals).exposition.key_last_used(self.names.key(key), at);
    }

    /// Writes out the access records that lie in buffers; gives up when stdout stays blocked.
    pub fn flush(&self) {
        self.signal.flush();
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.signal.close();
    }
}

/// A panic while a counter was written costs that counter, not the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
