//! The command line: one file a command; what they share stands here.

mod authorize;
pub mod check;
mod completions;
mod credential;
mod demo;
mod desk;
mod endpoints;
mod entered;
mod explain;
mod health;
mod key;
mod live;
mod man;
mod notify;
mod plain;
mod print;
mod route;
mod serve;
mod store;
mod table;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::app::{self, Fault, Secrets};
use crate::config::{self, Config, Faults, Loaded, Sources};
use crate::net;
use crate::telemetry::log;
use crate::vault;

/// An HTTP gateway that injects Close CRM credentials, so that tools need none.
#[derive(Debug, Parser)]
// A default that is changed here is changed in `plain` as well.
#[command(name = "closegate", version, max_term_width = 100, subcommand_value_name = "COMMAND", after_help = EXIT_CODES)]
struct Cli {
    /// The configuration file [default: $CLOSEGATE_CONFIG, ./closegate.toml, $XDG_CONFIG_HOME/closegate/closegate.toml,
    /// /etc/closegate/closegate.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = SHARED)]
    config: Option<PathBuf>,
    /// How data is printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, help_heading = SHARED)]
    output: Output,
    #[command(subcommand)]
    command: Option<Command>,
}

/// How data is printed: for people, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway; what no command means
    #[command(after_help = SERVE_EXAMPLES)]
    Serve,
    /// Run a simulated Close and a gateway in front of it, on loopback, and print calls that work
    Demo(demo::Args),
    /// Validate the configuration and its secrets: every fault, or routes, keys and where each setting came from
    Check(check::Args),
    /// Ask the gateway of this configuration whether it is ready: exit code 0 when it is
    Health,
    /// Add credentials to the store, and look after them
    #[command(subcommand)]
    Credential(credential::Command),
    /// Make gateway keys, and end them
    #[command(subcommand)]
    Key(key::Command),
    /// Show, add and remove routes, and say what would become of a request
    #[command(subcommand)]
    Route(route::Command),
    /// Show who used how much: requests, errors, 429s, bytes and how long they took
    #[command(after_help = usage::EXAMPLES)]
    Usage(usage::Args),
    /// List the operations that Close documents: endpoint, the group it is limited in, the scope that a key needs
    #[command(after_help = endpoints::EXAMPLES)]
    Endpoints,
    /// Look after the store as a whole
    #[command(subcommand)]
    Store(store::Command),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Print the manual page, to be read with `closegate man | man -l -`
    Man,
}

const SERVE_EXAMPLES: &str = "Examples:
  CLOSE_API_KEY=api_... closegate
  closegate --config /etc/closegate/closegate.toml serve
  CLOSEGATE__LISTEN__ADDRESS=127.0.0.1:9000 closegate";
/// The heading of the options that every command has.
const SHARED: &str = "Options of every command";
/// Exit codes, for people.
const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failed or refused, 2 wrong usage, 78 wrong configuration.";
/// The exit code of arguments that make no sense; clap has the same.
const USAGE: u8 = 2;
/// The exit code of a configuration that cannot be used (`EX_CONFIG` of sysexits).
const CONFIGURATION: u8 = 78;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // The allocator asks for pages of 2 MiB: each would hold a few stalled bodies (security.md 35). Where the kernel
    // does not know the call it knows no such pages either.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = plain::parse(std::env::args_os().skip(1)).unwrap_or_else(Cli::parse);
    log::install_panic_hook();
    // Before the first secret is read, be it from a file or a variable.
    if let Err(fault) = vault::harden() {
        print::fault(format_args!("error: {fault}"));
        return ExitCode::FAILURE;
    }
    let sources = Sources::of_process(cli.config);
    let answer = |loaded: Result<Loaded, Faults>, run: &dyn Fn(&Loaded) -> ExitCode| match loaded {
        Ok(loaded) => run(&loaded),
        Err(faults) => refuse(&faults, cli.output),
    };
    let configured = |more: More, run: &dyn Fn(&Loaded) -> ExitCode| answer(app::load(&sources, more), run);
    let needing = |needs: Needs, run: &dyn Fn(&Loaded) -> ExitCode| match needs {
        Needs::Names => answer(config::load_names(&sources), run),
        Needs::Bearings => match config::load_bearings(&sources) {
            Ok((loaded, None)) => run(&loaded),
            Ok((loaded, Some(faults))) => despite(&faults, run(&loaded)),
            Err(faults) => refuse(&faults, cli.output),
        },
    };
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            // While the configuration is read.
            net::read_roots_ahead();
            configured(serve::faults_of_part, &|loaded| serve::run(loaded, &sources))
        }
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => configured(Secrets::faults_of_part, &|loaded| check::run(&args, loaded, cli.output)),
        Command::Health => needing(Needs::Bearings, &|loaded| health::run(&loaded.config.admin)),
        Command::Credential(command) => {
            needing(command.needs(), &|loaded| credential::run(&command, loaded, cli.output))
        }
        Command::Key(command) => needing(command.needs(), &|loaded| key::run(&command, loaded, cli.output)),
        Command::Route(command) => needing(command.needs(), &|loaded| route::run(&command, loaded, cli.output)),
        Command::Usage(args) => needing(Needs::Bearings, &|loaded| usage::run(&args, loaded, cli.output)),
        Command::Endpoints => endpoints::run(cli.output),
        Command::Store(command) => needing(Needs::Bearings, &|loaded| store::run(&command, loaded, cli.output)),
        Command::Completions(args) => completions::run(&args),
        Command::Man => man::run(),
    }
}

/// How much of a configuration a command cannot do without; no secret of it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// All of it, without a fault.
    Names,
    /// The way to the gateway that runs and to the store: whoever must end a key cannot wait until the rest is mended.
    Bearings,
}

/// Says that a command went by a part of the configuration, as the rest is at fault; where it failed that may be why.
fn despite(faults: &Faults, done: ExitCode) -> ExitCode {
    let first = faults.iter().next().map(|fault| format!("{}: {}", fault.key, fault.what)).unwrap_or_default();
    print::fault(format_args!(
        "warning: the configuration is at fault; this went by its `admin`, `data_dir` and `store` alone ({first})\n  hint: \
         `closegate check` tells of every fault"
    ));
    if done == ExitCode::SUCCESS { done } else { ExitCode::from(CONFIGURATION) }
}

/// What else a command finds wrong with as much of a configuration as could be typed.
type More = fn(&Config) -> Vec<Fault>;

/// Says what is wrong, and with which exit code.
fn refuse(faults: &Faults, output: Output) -> ExitCode {
    let code = ExitCode::from(CONFIGURATION);
    match output {
        Output::Text => {
            print::fault(faults);
            code
        }
        Output::Json => print::data(faults.to_json(), code),
    }
}

/// Faults of the parts of a gateway as those of the configuration, each with the place of its setting.
fn told(loaded: &Loaded, faults: Vec<Fault>) -> Faults {
    let placed = |fault: Fault| {
        let place = loaded.place(&fault.key);
        fault.at(place)
    };
    faults.into_iter().map(placed).collect()
}
