//! The command line: one file a command; what they share stands here.

pub mod check;
mod demo;
mod health;
mod live;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::app::{self, Fault, Secrets};
use crate::config::{Config, Faults, Loaded, Sources};
use crate::telemetry::log;
use crate::vault;

/// closegate: an HTTP gateway that injects Close CRM credentials, so that tools need none.
#[derive(Debug, Parser)]
#[command(name = "closegate", version, max_term_width = 100)]
struct Cli {
    /// The configuration file [default: $CLOSEGATE_CONFIG, ./closegate.toml, $XDG_CONFIG_HOME/closegate/closegate.toml,
    /// /etc/closegate/closegate.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How data is printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    command: Option<Command>,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway; what no command means
    Serve,
    /// Run a simulated Close and a gateway in front of it, on loopback, and print calls that work
    Demo(demo::Args),
    /// Validate the configuration and its secrets: name every fault at once, print routes, keys and where each setting
    /// came from
    Check(check::Args),
    /// Exit 0 when the gateway of this configuration is ready
    Health,
}

/// The exit code of a configuration that cannot be used (`EX_CONFIG` of sysexits).
const CONFIGURATION: u8 = 78;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // The allocator asks for pages of 2 MiB: each would hold a few stalled bodies (security.md 35). Where the kernel
    // does not know the call it knows no such pages either.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = Cli::parse();
    log::install_panic_hook();
    // Before the first secret is read, be it from a file or a variable.
    if let Err(fault) = vault::harden() {
        eprintln!("error: {fault}");
        return ExitCode::FAILURE;
    }
    let sources = Sources::of_process(cli.config);
    let configured = |more: More, run: &dyn Fn(&Loaded) -> ExitCode| match app::load(&sources, more) {
        Ok(loaded) => run(&loaded),
        Err(faults) => refuse(&faults, cli.output),
    };
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => configured(serve::faults_of_part, &|loaded| serve::run(loaded, &sources)),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => configured(Secrets::faults_of_part, &|loaded| check::run(&args, loaded, cli.output)),
        Command::Health => configured(|_| Vec::new(), &|loaded| health::run(loaded.config.admin.address)),
    }
}

/// What else a command finds wrong with as much of a configuration as could be typed.
type More = fn(&Config) -> Vec<Fault>;

/// Says what is wrong, and with which exit code.
fn refuse(faults: &Faults, output: Output) -> ExitCode {
    match output {
        Output::Text => eprintln!("{faults}"),
        Output::Json => println!("{}", faults.to_json()),
    }
    ExitCode::from(CONFIGURATION)
}
