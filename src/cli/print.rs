//! Data to stdout, faults to stderr; a reader that has left, such as `head`, is no fault of ours.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

/// Prints data with a line's end, and passes the exit code on; data that could not be written is a failure.
pub(super) fn data(text: impl Display, code: ExitCode) -> ExitCode {
    write(&mut io::stdout().lock(), text, code)
}

/// Prints what is wrong.
pub(super) fn fault(text: impl Display) {
    // There is nowhere else to say it.
    let _ = writeln!(io::stderr(), "{text}");
}

fn write(out: &mut impl io::Write, text: impl Display, code: ExitCode) -> ExitCode {
    // Formatted first: nothing is written piece by piece.
    let text = format!("{}\n", text.to_string().trim_end_matches('\n'));
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => code,
        Err(error) => {
            fault(format_args!("error: stdout cannot be written to: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl io::Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_fault_and_a_full_disk_is_one() {
        let code = |kind| write(&mut Failing(kind), "text", ExitCode::from(3));
        assert_eq!(code(ErrorKind::BrokenPipe), ExitCode::from(3));
        assert_eq!(code(ErrorKind::StorageFull), ExitCode::FAILURE);
    }

    #[test]
    fn a_text_ends_with_one_line_end() {
        for text in ["text", "text\n"] {
            let mut out = Vec::new();
            assert_eq!(write(&mut out, text, ExitCode::SUCCESS), ExitCode::SUCCESS);
            assert_eq!(out, b"text\n");
        }
    }
}
