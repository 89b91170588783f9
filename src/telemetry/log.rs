//! Messages for people, on stderr: what happened, never a secret, in colour only on a terminal that wants it.

use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

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
}

/// Sends messages of the level and above to stderr.
pub fn init(level: &str) -> Result<(), LogFault> {
    let filter = filter(level)?;
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let messages = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    messages.try_init().map_err(|_| LogFault::Repeated)
}

/// Logs where a thread panicked; what the panic says is left out, for it may quote what it was working on.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        tracing::error!(location, thread = thread.name(), "a thread panicked: this is a bug of closegate");
    }));
}

fn filter(level: &str) -> Result<EnvFilter, LogFault> {
    EnvFilter::try_new(level).map_err(|source| LogFault::Level { level: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_a_filter_is_taken() {
        for level in ["info", "closegate=debug,warn"] {
            assert_eq!(filter(level).unwrap().to_string(), level);
        }
    }

    #[test]
    fn a_fault_names_the_level_and_what_would_do() {
        let fault = filter("closegate=loud").unwrap_err().to_string();
        assert!(fault.starts_with("`closegate=loud` is no log level\nhint: use `error`"), "{fault}");
    }
}
