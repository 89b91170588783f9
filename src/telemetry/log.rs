//! Messages for people, on stderr: what happened, never a secret, in colour only on a terminal that wants it.

use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;

use super::messages::Messages;

/// Why messages could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The level is none.
    #[error("`{level}` is no log level\nhint: use `error`, `warn`, `info`, `debug` or `trace`")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Messages were set up before.
    #[error("messages were set up before")]
    Repeated,
    /// There is no thread to write them.
    #[error("there is no thread to write messages: {0}")]
    Thread(#[from] io::Error),
}

/// Held while the program runs: when dropped, it waits until all messages are written, or stderr took none for a while.
#[must_use = "messages that wait are lost when the program ends without it"]
pub struct Log(Arc<Messages>);

impl Log {
    /// Waits until all messages so far are written, or stderr took none for a while.
    pub fn flush(&self) {
        self.0.flush(END);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sends messages of the level and above to stderr; nobody who says one waits for it.
pub fn init(level: &str) -> Result<Log, LogFault> {
    let filter = filter(level)?;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let messages = Messages::start(io::stderr())?;
    let writer = Writer(messages.clone());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour);
    subscriber.try_init().map_err(|_| LogFault::Repeated)?;
    MESSAGES.set(messages.clone()).map_err(|_| LogFault::Repeated)?;
    Ok(Log(messages))
}

/// Logs where a thread panicked; what the panic says is left out, for it may quote what it was working on.
///
/// It waits for a moment until that is written: a panic may be the last thing that the process does.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let Some(messages) = MESSAGES.get() else {
            // Before messages are set up, and in commands that have none. Nobody is left to hear of a fault here.
            let _ = writeln!(io::stderr(), "error: a thread panicked at {location}: this is a bug of closegate");
            return;
        };
        tracing::error!(location, thread = thread.name(), "a thread panicked: this is a bug of closegate");
        messages.flush(PANIC);
    }));
}

/// The messages of the process, for its panic hook.
static MESSAGES: OnceLock<Arc<Messages>> = OnceLock::new();

/// Leaves each message, which comes in one write, with those that wait.
struct Writer(Arc<Messages>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Writer {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        self.0.put(message);
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The level, without the `h2` crate: at `debug` it quotes what a peer says in parting, which may be what it was sent.
fn filter(level: &str) -> Result<EnvFilter, LogFault> {
    let parsed = EnvFilter::try_new(level).and_then(|filter| Ok(filter.add_directive(NO_FRAMES.parse()?)));
    parsed.map_err(|source| LogFault::Level { level: level.to_owned(), source })
}

const NO_FRAMES: &str = "h2=off";

/// How long the end of the program waits for a stderr that is blocked.
const END: Duration = Duration::from_secs(2);

/// How long a thread that panics waits for it.
const PANIC: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_a_filter_is_taken() {
        for (level, all) in [("info", "h2=off,info"), ("closegate=debug,warn", "closegate=debug,h2=off,warn")] {
            assert_eq!(filter(level).unwrap().to_string(), all);
        }
    }

    #[test]
    fn a_fault_names_the_level_and_what_would_do() {
        let fault = filter("closegate=loud").unwrap_err().to_string();
        assert!(fault.starts_with("`closegate=loud` is no log level\nhint: use `error`"), "{fault}");
    }
}
