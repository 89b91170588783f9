//! The thread that writes messages to stderr: whoever says one only leaves it in a bounded buffer and never waits for
//! a pipe that nobody reads.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::format;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::lock;

/// Where messages lie until the thread writes them.
#[derive(Default)]
pub(super) struct Messages {
    waiting: Mutex<Waiting>,
    /// There is something to write.
    said: Condvar,
    /// Something was written, or could not be.
    done: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Messages that found no room since the buffer was last taken.
    dropped: u64,
    /// How often the buffer was taken, and how often what was taken is done with.
    taken: u64,
    finished: u64,
}

impl Messages {
    /// Starts the thread that writes to `out`.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let messages = Arc::<Self>::default();
        let own = messages.clone();
        thread::Builder::new().name("messages".to_owned()).spawn(move || own.run(out))?;
        Ok(messages)
    }

    /// Takes a whole message, or counts it as dropped when there is no room.
    pub(super) fn put(&self, message: &[u8]) {
        let mut waiting = lock(&self.waiting);
        if waiting.bytes.len() + message.len() <= ROOM {
            waiting.bytes.extend_from_slice(message);
        } else {
            waiting.dropped += 1;
        }
        drop(waiting);
        self.said.notify_one();
    }

    /// Waits until what was said so far is written, but no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let waiting = lock(&self.waiting);
        let last = waiting.taken + u64::from(!waiting.is_empty());
        // Whether it was in time makes no difference: there is nothing else that can be done for them.
        let _ = self.done.wait_timeout_while(waiting, limit, |waiting| waiting.finished < last);
    }

    fn run(&self, mut out: impl Write) {
        loop {
            let batch = self.take();
            // Messages that nobody can be shown: there is nobody to tell either.
            let _ = write_all(&mut out, &batch);
            lock(&self.waiting).finished += 1;
            self.done.notify_all();
        }
    }

    /// Waits for messages; those that were dropped come after those that had filled the buffer.
    fn take(&self) -> Vec<u8> {
        let mut waiting = lock(&self.waiting);
        while waiting.is_empty() {
            waiting = self.said.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        waiting.taken += 1;
        let mut batch = std::mem::take(&mut waiting.bytes);
        let dropped = std::mem::take(&mut waiting.dropped);
        drop(waiting);
        if dropped > 0 {
            batch.extend_from_slice(notice(dropped).as_bytes());
        }
        batch
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.dropped == 0
    }
}

/// A message of its own about those that are missing, in the form of the others.
fn notice(dropped: u64) -> String {
    let mut line = String::new();
    // Without a time it is a message still.
    let _ = SystemTime.format_time(&mut format::Writer::new(&mut line));
    line + &format!("  WARN {}: messages were dropped here, for stderr took none dropped={dropped}\n", module_path!())
}

/// Like `Write::write_all`, but it waits for a pipe in non-blocking mode.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

/// How many bytes of messages may wait.
const ROOM: usize = 256 * 1024;

/// How long a pipe in non-blocking mode is left alone when it is full.
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    /// Hands on each write, and blocks for as long as nobody takes it.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn started() -> (Arc<Messages>, mpsc::Receiver<Vec<u8>>) {
        let (sender, written) = mpsc::sync_channel(0);
        (Messages::start(Pipe(sender)).unwrap(), written)
    }

    #[test]
    fn a_flush_waits_for_all_that_was_said() {
        let (messages, written) = started();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            while !all.ends_with(b"99\n") {
                all.extend(written.recv().unwrap());
            }
            (all, written)
        });
        let lines: String = (0..100).map(|number| format!("{number}\n")).collect();
        lines.split_inclusive('\n').for_each(|line| messages.put(line.as_bytes()));
        messages.flush(SOON);
        let waiting = lock(&messages.waiting);
        assert!(waiting.is_empty() && waiting.finished == waiting.taken);
        drop(waiting);
        let (all, _written) = reader.join().unwrap();
        assert_eq!(String::from_utf8(all).unwrap(), lines);
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_and_nobody_waits() {
        let (messages, written) = started();
        messages.put(b"first\n");
        while lock(&messages.waiting).taken == 0 {
            thread::yield_now();
        }
        // The thread is held up by `first` now.
        let long = [b'x'; ROOM / 2];
        for _ in 0..5 {
            messages.put(&long);
        }
        messages.flush(Duration::ZERO);
        assert_eq!(written.recv().unwrap(), b"first\n");
        let after = String::from_utf8(written.recv().unwrap()).unwrap();
        let (kept, notice) = after.split_at(ROOM);
        assert!(kept.bytes().all(|byte| byte == b'x'));
        assert!(notice.ends_with("stderr took none dropped=3\n") && notice.contains("  WARN "), "{notice}");
        messages.put(b"last\n");
        assert_eq!(written.recv().unwrap(), b"last\n");
    }

    #[test]
    fn a_stderr_that_is_closed_costs_the_messages_and_nothing_else() {
        let (messages, written) = started();
        drop(written);
        messages.put(b"to nobody\n");
        messages.flush(SOON);
        messages.put(b"again\n");
        messages.flush(SOON);
        assert_eq!(lock(&messages.waiting).finished, 2);
    }
}
