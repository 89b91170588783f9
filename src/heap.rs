//! What was freed goes back to the system.
//!
//! mimalloc gives pages back when a thread takes fresh ones, a second after they were freed. A process that comes to rest
//! takes none, and would keep what its last burst has used.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// When a thread that lives as long as the process gives back: every two seconds, and not while it starts.
pub fn ebb() -> Interval {
    let every = Duration::from_secs(2);
    let mut ebb = tokio::time::interval_at(Instant::now() + every, every);
    ebb.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ebb
}

/// Gives back what this thread has freed, with what others have freed for it, and whole pages of threads that have ended.
///
/// It looks at each page that the thread holds (64 KiB of small things) and at what was freed there since the last time, and
/// has the system take back what is free of any thread. In a program that has another allocator it does nothing.
#[expect(unsafe_code, reason = "mimalloc is told to give back by a function of C, of which there is no safe binding")]
pub fn give_back() {
    // SAFETY: it works on the heap of the thread that calls it, outside of any allocation, and frees nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
