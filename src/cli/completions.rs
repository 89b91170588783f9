//! `closegate completions`: what a shell completes, from the definitions that the program itself reads.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, print};

/// Which shell.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  closegate completions bash > /etc/bash_completion.d/closegate
  closegate completions zsh > /usr/local/share/zsh/site-functions/_closegate
  closegate completions fish > ~/.config/fish/completions/closegate.fish")]
pub(super) struct Args {
    /// The shell that reads them
    shell: Shell,
}

/// Prints the completions of a shell.
pub(super) fn run(args: &Args) -> ExitCode {
    print::data(script(args.shell), ExitCode::SUCCESS)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "closegate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_knows_the_commands_within_commands() {
        assert_eq!(Shell::value_variants().len(), 5);
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for word in ["closegate", "route", "explain", "key", "live", "config"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
