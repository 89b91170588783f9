//! A worker thread's own side of telemetry: it counts and writes lines here, and nobody else holds the lock for longer
//! than it takes to carry the result away.

use std::mem;
use std::sync::{Arc, Mutex};

use super::access::{self, Setting};
use super::names::{KnownNames, Label, Names};
use super::record::Record;
use super::refused::{Kept, Refusals, Refused};
use super::request_id::Generator;
use super::table::Table;
use super::tally::Tally;
use super::wall::{self, Wall};
use super::writer::Signal;
use super::{Access, lock};
use crate::id::RequestId;

/// A worker's handle: it counts, records and draws ids.
pub struct Core {
    shared: Arc<CoreState>,
    signal: Arc<Signal>,
    access: Access,
    generator: Generator,
}

impl Core {
    pub(super) fn new(shared: Arc<CoreState>, signal: Arc<Signal>, access: Access) -> Self {
        Self { shared, signal, access, generator: Generator::seeded() }
    }

    /// Counts a request that enters a route: it is in flight there until a record that says so is finished.
    pub fn begin(&self, route: Label) {
        lock(&self.shared.state).table.begin(route);
    }

    /// Counts a request that has ended, and writes its record: exactly one line, or one counted drop (invariant 7).
    pub fn finish(&self, record: &Record) {
        let duration = record.started.elapsed();
        let now = wall::now();
        // Made before anybody waits for it.
        let refused = Kept::of(record, now);
        let mut guard = lock(&self.shared.state);
        let State { table, tally, refusals, lines, names, wall } = &mut *guard;
        table.count(record, duration, now.as_secs());
        tally.count(record, duration, now.as_secs());
        refused.into_iter().for_each(|refused| refusals.keep(refused));
        let write = match self.access {
            Access::Json => access::write_json,
            Access::Text => access::write_text,
            Access::Off => return,
        };
        if lines.len() >= BUFFER {
            table.dropped_records += 1;
            return;
        }
        let first = lines.is_empty();
        names.learn([record.key, record.route, record.credential]);
        write(lines, record, &Setting { time: wall.stamp(now), duration, names });
        drop(guard);
        if first {
            self.signal.wake();
        }
    }

    /// Draws the id of a request that brings none of its own.
    pub fn request_id(&self) -> RequestId {
        self.generator.draw()
    }
}

/// What a core shares with the reader of metrics and the writer of records.
pub(super) struct CoreState {
    state: Mutex<State>,
}

struct State {
    table: Table,
    tally: Tally,
    refusals: Refusals,
    lines: Vec<u8>,
    names: KnownNames,
    wall: Wall,
}

impl CoreState {
    /// Takes what was counted since the last time.
    pub(super) fn take_table(&self) -> Table {
        mem::take(&mut lock(&self.state).table)
    }

    /// Takes what was counted for the usage that is kept, and leaves another one to count in.
    pub(super) fn swap_tally(&self, empty: &mut Tally) {
        mem::swap(&mut lock(&self.state).tally, empty);
    }

    /// What is remembered of its refusals.
    pub(super) fn refusals(&self, names: &Names) -> Vec<Refused> {
        lock(&self.state).refusals.list(names)
    }

    /// Takes up a whole line, or counts it as dropped; whether somebody is to be woken for it.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let mut guard = lock(&self.state);
        let State { table, lines, .. } = &mut *guard;
        if lines.len() >= BUFFER {
            table.dropped_records += 1;
            return false;
        }
        let first = lines.is_empty();
        lines.extend_from_slice(line);
        first
    }

    /// Takes the lines and leaves an empty buffer.
    pub(super) fn swap_lines(&self, empty: &mut Vec<u8>) {
        mem::swap(&mut lock(&self.state).lines, empty);
    }
}

/// All cores of the process.
#[derive(Default)]
pub(super) struct Cores(Mutex<Vec<Arc<CoreState>>>);

impl Cores {
    pub(super) fn add(&self, names: Arc<Names>) -> Arc<CoreState> {
        let (table, tally, lines) = (Table::default(), Tally::default(), Vec::new());
        let refusals = Refusals::default();
        let state = State { table, tally, refusals, lines, names: KnownNames::of(names), wall: Wall::new() };
        let core = Arc::new(CoreState { state: Mutex::new(state) });
        lock(&self.0).push(core.clone());
        core
    }

    pub(super) fn all(&self) -> Vec<Arc<CoreState>> {
        lock(&self.0).clone()
    }
}

/// Bytes of lines that a core keeps for a blocked stdout; further records are dropped and counted.
const BUFFER: usize = 1 << 20;
