//! One event that one thread tells another, so that no test has to wait for a while and hope.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// An event that happens once; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Signal(Arc<(Mutex<bool>, Condvar)>);

const STUCK: Duration = Duration::from_secs(30);

impl Signal {
    pub(crate) fn give(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn wait(&self) {
        let given = self.0.0.lock().unwrap();
        let waited = self.0.1.wait_timeout_while(given, STUCK, |given| !*given).unwrap();
        assert!(!waited.1.timed_out(), "the signal was never given");
    }
}
