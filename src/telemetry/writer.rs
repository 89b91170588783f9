//! The thread that writes access records: it sleeps while there is none, gathers for a moment, writes each core's lines
//! in one go, and is the only one that ever waits for a blocked stdout.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use super::core::Cores;
use super::lock;

/// How the thread is woken, asked to write at once, and told to end.
#[derive(Default)]
pub(super) struct Signal {
    pending: AtomicBool,
    closed: AtomicBool,
    thread: OnceLock<Thread>,
    flushes: Mutex<Vec<mpsc::Sender<()>>>,
    lost: AtomicU64,
}

impl Signal {
    /// Says that there is something to write.
    pub(super) fn wake(&self) {
        self.pending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Waits until what lies in the buffers is written, or until stdout has been blocked for a while.
    pub(super) fn flush(&self) {
        if self.thread.get().is_none() {
            return;
        }
        let (done, written) = mpsc::channel();
        lock(&self.flushes).push(done);
        self.wake();
        // The thread drops its end when it has written: the error is the signal.
        let _ = written.recv_timeout(FLUSH);
    }

    /// Writes what there is and ends the thread.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Records that were taken from a buffer and could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn wait(&self) {
        while !self.pending.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }

    fn is_hurried(&self) -> bool {
        self.closed.load(Ordering::Acquire) || !lock(&self.flushes).is_empty()
    }
}

/// Starts the thread; without one (the system refuses it) records are dropped and counted as with a blocked stdout.
pub(super) fn start(signal: Arc<Signal>, cores: Arc<Cores>, out: impl Write + Send + 'static) {
    let mut writer = Writer { out, signal: signal.clone(), torn: false };
    let body = move || writer.run(&cores);
    match thread::Builder::new().name("access-records".to_owned()).spawn(body) {
        Ok(handle) => drop(signal.thread.set(handle.thread().clone())),
        Err(error) => tracing::error!(%error, "no thread for access records: they are dropped"),
    }
}

struct Writer<W> {
    out: W,
    signal: Arc<Signal>,
    /// A write failed in the middle of a line.
    torn: bool,
}

impl<W: Write> Writer<W> {
    fn run(&mut self, cores: &Cores) {
        let mut spare = Vec::new();
        loop {
            self.signal.wait();
            if !self.signal.is_hurried() {
                thread::sleep(GATHER);
            }
            let closed = self.signal.closed.load(Ordering::Acquire);
            let flushed = std::mem::take(&mut *lock(&self.signal.flushes));
            for core in cores.all() {
                core.swap_lines(&mut spare);
                self.write(&spare);
                spare.clear();
                spare.shrink_to(KEPT);
            }
            drop(flushed);
            if closed {
                return;
            }
        }
    }

    /// Writes whole lines; those that cannot be written are counted.
    fn write(&mut self, mut lines: &[u8]) {
        if lines.is_empty() || (self.torn && self.write_all(&mut &b"\n"[..]).is_err()) {
            return self.lose(lines);
        }
        self.torn = false;
        let whole = lines;
        if self.write_all(&mut lines).and_then(|()| self.out.flush()).is_err() {
            let written = &whole[..whole.len() - lines.len()];
            self.torn = written.last().is_some_and(|byte| *byte != b'\n');
            self.lose(lines);
        }
    }

    /// Like `Write::write_all`, but it leaves in `bytes` what was not written and waits for a pipe in non-blocking mode.
    fn write_all(&mut self, bytes: &mut &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => *bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(GATHER),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn lose(&self, lines: &[u8]) {
        let count = memchr::memchr_iter(b'\n', lines).count();
        self.signal.lost.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// How long records are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);

/// How long a flush waits for a stdout that is blocked.
const FLUSH: Duration = Duration::from_secs(2);

/// A buffer that had to grow beyond this is not kept.
const KEPT: usize = 256 * 1024;
