//! `closegate store`: what is done to the store as a whole.

use std::fmt;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use serde::Serialize;
use zeroize::Zeroizing;

use super::{Output, desk, print};
use crate::app;
use crate::config::Loaded;
use crate::store::Role;
use crate::vault::{GivenKey, Rekeyed};

/// What is done to the store as a whole.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Seal all secrets of the store under another master key; gateways that run go on
    Rekey(Args),
}

/// Seals all secrets of the store under another master key; gateways that run go on.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Where the master key comes from a file, a new one is made and put there. Elsewhere, and with PostgreSQL on \
every replica, put the new key in front of the one in use, with a blank or a line break between the two, and run this; then \
take the old one away.

Examples:
  closegate store rekey
  openssl rand -base64 32 | closegate store rekey --new-key-stdin"
)]
pub(super) struct Args {
    /// Take the new key, the Base64 of 32 bytes, from stdin
    #[arg(long)]
    new_key_stdin: bool,
}

/// Runs it on the store itself, beside a gateway or without one.
pub(super) fn run(command: &Command, loaded: &Loaded, output: Output) -> ExitCode {
    let Command::Rekey(args) = command;
    let given = match args.new_key_stdin.then(given).transpose() {
        Ok(given) => given,
        Err(fault) => {
            print::fault(format_args!("error: {fault}"));
            return ExitCode::FAILURE;
        }
    };
    let archive = app::archive(&loaded.config, Role::Visiting);
    let rekeyed = tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| {
        runtime.block_on(async {
            let rekeyed = archive.rekey(given, &desk::actor().label()).await;
            archive.store().close().await;
            rekeyed
        })
    });
    match rekeyed {
        Ok(Ok(rekeyed)) => {
            let report = Report::of(rekeyed);
            match output {
                Output::Text => print::data(report, ExitCode::SUCCESS),
                Output::Json => print::data(serde_json::json!(report), ExitCode::SUCCESS),
            }
        }
        Ok(Err(fault)) => {
            print::fault(format_args!("error: {fault}\n  hint: {}", fault.hint()));
            ExitCode::FAILURE
        }
        Err(error) => {
            print::fault(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A secret is no argument: it comes from stdin, and a person is asked for it elsewhere.
fn given() -> Result<GivenKey, String> {
    if std::io::stdin().is_terminal() {
        return Err(
            "stdin is a terminal\n  hint: `openssl rand -base64 32 | closegate store rekey --new-key-stdin`".to_owned()
        );
    }
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST));
    let read = std::io::stdin().take(LONGEST as u64).read_to_end(&mut text);
    read.map_err(|error| format!("stdin cannot be read ({})", error.kind()))?;
    GivenKey::parse(&text).map_err(|fault| format!("{fault}\n  hint: {}", fault.hint))
}

/// What came of it; `Display` is for people, `Serialize` for programs.
#[derive(Serialize)]
struct Report {
    secrets: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl Report {
    fn of(rekeyed: Rekeyed) -> Self {
        match rekeyed {
            Rekeyed::Nothing => Self { secrets: 0, before: None, now: None, file: None },
            Rekeyed::Already { now } => Self { secrets: 0, before: None, now: Some(now.to_string()), file: None },
            Rekeyed::Done { secrets, before, now, file } => Self {
                secrets,
                before: Some(before.to_string()),
                now: Some(now.to_string()),
                file: file.map(|file| file.display().to_string()),
            },
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, now) = match (&self.before, &self.now) {
            (Some(before), Some(now)) => (before, now),
            (None, Some(now)) => return write!(f, "everything is sealed under the master key {now} already"),
            (_, None) => return f.write_str("nothing is sealed yet: the store has no secret"),
        };
        let secrets = if self.secrets == 1 { "secret is" } else { "secrets are" };
        writeln!(f, "{} {secrets} sealed under the master key {now}; {before} is no longer needed", self.secrets)?;
        match &self.file {
            Some(file) => write!(f, "the new master key lies in `{file}`: keep a copy of it apart from the store"),
            None => write!(f, "hint: take the key behind the first away from where `store.master_key` points"),
        }
    }
}

/// A key takes 44 bytes, and a line's end.
const LONGEST: usize = 256;
