//! CPU time a request of the proxy alone, closegate beside nginx, in one run: `cargo bench --bench gateway`.
//!
//! Every contender checks the tool's key, injects the credential, verifies the origin's certificate and keeps its
//! connections alive, on one worker. Contenders take turns, each round with fresh processes, and are compared within a
//! round: a shared machine is slower now and then, but not for one of them alone. nginx writes no access records and
//! takes part when it is installed. Without `--bench`, as under `cargo test`, one short round shows that all of it works.

mod contenders;
mod driver;
mod measure;
mod origin;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::contenders::{Contender, Http, Place};
use self::driver::Load;
use self::measure::{Sample, cpu_time};
use self::origin::Origin;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures the CPU time a request of closegate and of nginx.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Rounds a scenario; an odd number has a median of its own.
    #[arg(long)]
    rounds: Option<usize>,
    /// Requests measured a contender and round, over all connections.
    #[arg(long)]
    requests: Option<usize>,
    /// Keep-alive connections, a scenario each.
    #[arg(long, value_delimiter = ',', default_value = "32,1")]
    connections: Vec<usize>,
    /// Bytes of the answer's body.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// What closegate speaks to the origin; nginx speaks HTTP/1.1.
    #[arg(long, value_enum, default_value_t = Http::Auto)]
    http: Http,
    /// Contenders; all by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Contender>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Role {
    /// The process that plays Close: the measuring process starts it.
    #[command(hide = true)]
    Origin { folder: PathBuf },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.role {
        Some(Role::Origin { folder }) => origin::serve(folder),
        None => compare(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all scenarios and prints a table for each.
fn compare(arguments: &Arguments) -> Result<()> {
    let rounds = arguments.rounds.unwrap_or(if arguments.bench { 9 } else { 1 });
    let requests = arguments.requests.unwrap_or(if arguments.bench { 20_000 } else { 400 });
    let folder = tempfile::tempdir()?;
    let origin = Origin::start(folder.path())?;
    let place = Place { folder: folder.path(), origin: origin.port(), http: arguments.http };
    let contenders = Contender::chosen(&arguments.only);
    if cfg!(debug_assertions) {
        println!("a build for debugging: the figures say nothing about a release");
    }
    let mut errors = 0;
    for &connections in &arguments.connections {
        let load = Load { connections, requests, size: arguments.size };
        let mut samples = Vec::new();
        for round in 0..rounds {
            for turn in 0..contenders.len() {
                let contender = contenders[(round + turn) % contenders.len()];
                samples.push(sample(contender, round, &place, &load)?);
            }
        }
        errors += samples.iter().map(|sample| sample.errors).sum::<usize>();
        println!(
            "\nanswers of {} bytes, connections: {connections}, rounds: {rounds} x {requests} requests",
            load.size
        );
        print!("{}", measure::table(&contenders, &samples));
    }
    if errors > 0 { Err(format!("{errors} requests failed").into()) } else { Ok(()) }
}

/// One contender in one round: a fresh process, warmed up, then measured.
fn sample(contender: Contender, round: usize, place: &Place<'_>, load: &Load) -> Result<Sample> {
    let running = contender.start(place)?;
    driver::drive(running.port(), &Load { requests: load.requests / 5 + 4 * load.connections, ..*load })?;
    let before = cpu_time(running.pid())?;
    let errors = driver::drive(running.port(), load)?;
    let spent = cpu_time(running.pid())? - before;
    Ok(Sample { contender, round, errors, micros: spent.as_secs_f64() * 1e6 / load.requests as f64 })
}
