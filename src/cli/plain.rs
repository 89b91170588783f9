//! The command line of nearly every start, read without clap: to make every command with all that it says takes as long as to
//! read a configuration.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Cli, Command, Output};

/// What clap makes of `[--config FILE] [serve]`, in either order; none where there is anything else, be it wrong.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Option<Cli> {
    let mut arguments = arguments.into_iter();
    let (mut config, mut command) = (None, None);
    while let Some(argument) = arguments.next() {
        match argument.to_str()? {
            "--config" if config.is_none() => config = Some(arguments.next().filter(is_path).map(PathBuf::from)?),
            "serve" if command.is_none() => command = Some(Command::Serve),
            _ => return None,
        }
    }
    Some(Cli { config, output: Output::Text, command })
}

/// Whether clap takes it for a path, and not for an option.
fn is_path(argument: &OsString) -> bool {
    argument.as_encoded_bytes().first().is_some_and(|first| *first != b'-')
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proptest::prelude::*;

    use super::*;

    fn shown(cli: &Cli) -> String {
        format!("{cli:?}")
    }

    fn read(line: &str) -> Option<String> {
        parse(line.split_whitespace().map(OsString::from)).as_ref().map(shown)
    }

    #[test]
    fn how_people_start_it_is_read() {
        for line in ["", "serve", "--config /etc/closegate/closegate.toml", "--config c serve", "serve --config c"] {
            let clap = Cli::try_parse_from(["closegate"].into_iter().chain(line.split_whitespace())).unwrap();
            assert_eq!(read(line), Some(shown(&clap)), "{line}");
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_clap_does_or_not_at_all(
            line in proptest::collection::vec(
                prop::sample::select(vec!["--config", "--config=c", "c", "serve", "", "-", "--", "-c", "demo", "--output", "json", "--help"]),
                0..6,
            ),
        ) {
            if let Some(cli) = parse(line.iter().map(OsString::from)) {
                let clap = Cli::try_parse_from(["closegate"].iter().chain(&line));
                prop_assert_eq!(shown(&cli), shown(&clap.expect("clap refuses it")));
            }
        }
    }
}
