//! Whether the system has room for what a start makes and reads: open files and threads.
//!
//! Asked before anything is read: for a lack of either the program is started again later, for a fault of the configuration
//! it is not. And where a runtime gets no thread for what blocks it panics.

use std::io;
use std::os::fd::AsFd as _;
use std::thread::{self, JoinHandle};

/// What the runtime of a worker opens, and one to spare.
const OF_A_WORKER: usize = 5;
/// What else is open at a time during a start: sockets, a runtime, the store, a file that is read.
const OF_A_START: usize = 24;

/// Whether a start with so many workers may open the files that it needs.
pub(super) fn for_files(workers: usize) -> io::Result<()> {
    let error = io::stderr();
    let opened: io::Result<Vec<_>> =
        (0..workers * OF_A_WORKER + OF_A_START).map(|_| error.as_fd().try_clone_to_owned()).collect();
    opened.map(drop)
}

/// A thread that has nothing to do: where it was, another one has room.
pub(super) struct Spare(JoinHandle<()>);

/// Whether there may be one more thread.
pub(super) fn for_a_thread() -> io::Result<Spare> {
    thread::Builder::new().name("spare".to_owned()).spawn(|| ()).map(Spare)
}

impl Spare {
    /// Waits until it is gone.
    pub(super) fn leave(self) {
        // It does nothing that could panic.
        let _ = self.0.join();
    }
}
