//! CPU time a request of the proxy alone, closegate beside other proxies, in one run: `cargo bench --bench gateway`.
//!
//! Every contender checks the tool's key, injects the credential, verifies the origin's certificate and keeps its
//! connections alive, on one worker; before anything is measured, each has to prove it. Contenders take turns, each
//! round with fresh processes, and are compared within a round: a shared machine is slower now and then, but not for one
//! of them alone. The others only inject and write no log; closegate does all that it can do. Who is not installed is
//! left out (`benches/peers/install`). Commands measure what concerns closegate alone: the delays of others (`tails`),
//! memory and starts (`connections`, `lasting`, `large`); `train` makes traffic, and measures nothing. `--features` measures
//! closegate alone, with one feature more at a time. Without `--bench`, as under `cargo test`, one short round shows that all
//! of it works.

mod certificate;
mod contenders;
mod count;
mod driver;
mod measure;
mod origin;
mod paced;
mod proof;
mod report;
mod scale;
mod scenario;
mod tails;
mod train;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use serde_json::json;

use self::contenders::{Contender, Http, Place, Under, injected, presented};
use self::count::{Count, Events};
use self::driver::Target;
use self::measure::{Sample, cpu_time, resident};
use self::origin::Origin;
use self::paced::Delays;
use self::report::Report;
use self::scale::Size;
use self::scenario::Scenario;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Measures the CPU time a request of closegate and of other proxies.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Rounds a scenario; an odd number has a median of its own.
    #[arg(long, global = true)]
    rounds: Option<usize>,
    /// Small requests measured a contender and round, over all connections; of larger ones fewer.
    #[arg(long)]
    requests: Option<usize>,
    /// Scenarios, by name; all by default.
    #[arg(long, value_delimiter = ',', value_parser = Scenario::named)]
    scenarios: Vec<Scenario>,
    /// Contenders, by name; all that are there by default.
    #[arg(long, value_delimiter = ',', value_parser = Contender::named)]
    peers: Vec<Contender>,
    /// closegate alone: without any feature, then with one more each.
    #[arg(long, conflicts_with = "peers")]
    features: bool,
    /// Count instructions with valgrind's callgrind, instead of CPU time; of `1k-1`, if no scenarios are named.
    #[arg(long)]
    count: bool,
    /// Count also what misses a first-level cache of 32 KB each for instructions and data.
    #[arg(long, requires = "count")]
    caches: bool,
    /// Count those of closegate, and fail where they exceed what docs/performance.md records for this build by 5 %.
    #[arg(long, conflicts_with_all = ["peers", "features"])]
    check: bool,
    /// Where the last count is kept for callgrind_annotate.
    #[arg(long)]
    profile: Option<PathBuf>,
    /// Requests a second at which delays are measured; with 0 they are not.
    #[arg(long, global = true)]
    rate: Option<u32>,
    /// The closegate that is measured; by default the one built with the bench.
    #[arg(long, global = true, default_value = env!("CARGO_BIN_EXE_closegate"))]
    program: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/gateway.json"))]
    json: PathBuf,
    /// Given by `cargo bench`.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Role {
    /// The process that plays Close: the measuring process starts it.
    #[command(hide = true)]
    Origin { folder: PathBuf },
    /// What one client, or a reload, does to the delays of all others.
    Tails,
    /// How soon closegate answers after its start, and what idle connections take.
    Connections {
        /// Idle ones.
        #[arg(long, default_value_t = 10_000)]
        idle: usize,
        /// Connections that are in use beside them.
        #[arg(long, default_value_t = 256)]
        active: usize,
    },
    /// Whether what is resident grows over some minutes of load.
    Lasting {
        /// How many.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
    },
    /// Load time, memory and reload time of a large configuration.
    Large {
        /// Gateway keys.
        #[arg(long, default_value_t = 100_000)]
        keys: usize,
        /// Routes.
        #[arg(long, default_value_t = 10_000)]
        routes: usize,
        /// Credentials.
        #[arg(long, default_value_t = 1_000)]
        credentials: usize,
    },
    /// Traffic for an instrumented build, which profile-guided optimisation learns from (`benches/pgo/build`).
    Train,
}

/// What is compared with what, and how often.
struct Plan {
    contenders: Vec<Contender>,
    /// The one that ratios are taken to.
    baseline: Contender,
    scenarios: Vec<Scenario>,
    rounds: usize,
    requests: usize,
    rate: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.role {
        Some(Role::Origin { folder }) => origin::serve(folder),
        Some(role) => alone(role, &arguments),
        None if arguments.count || arguments.check => count(&arguments),
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

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let contenders = match arguments {
            Arguments { features: true, .. } => Contender::ladder(),
            Arguments { peers, .. } if !peers.is_empty() => peers.clone(),
            Arguments { bench: true, .. } => Contender::found(),
            _ => vec![Contender::Closegate(Http::Auto)],
        };
        let scenarios = match arguments.scenarios.as_slice() {
            [] if arguments.bench => Scenario::all(),
            [] => Scenario::few(),
            chosen => chosen.to_vec(),
        };
        Self {
            baseline: if contenders.contains(&Contender::Nginx) { Contender::Nginx } else { contenders[0] },
            contenders,
            scenarios,
            rounds: arguments.rounds.unwrap_or(if arguments.bench { 9 } else { 1 }),
            requests: arguments.requests.unwrap_or(if arguments.bench { 20_000 } else { 400 }),
            rate: arguments.rate.unwrap_or(if arguments.bench { 1000 } else { 100 }),
        }
    }
}

/// Says where figures are none of a release.
fn warn(arguments: &Arguments) {
    let built_here = arguments.program == Path::new(env!("CARGO_BIN_EXE_closegate"));
    if cfg!(debug_assertions) && built_here {
        println!("a build for debugging: the figures say nothing about a release");
    }
}

/// Proves what contenders do, runs all scenarios, and prints a table for each.
fn compare(arguments: &Arguments) -> Result<()> {
    let plan = Plan::of(arguments);
    let folder = tempfile::tempdir()?;
    let origin = Origin::start(folder.path())?;
    let program = &arguments.program;
    let place = Place { folder: folder.path(), origin: origin.port(), program, under: Under::Nothing };
    warn(arguments);
    let mut proofs = Vec::new();
    for contender in &plan.contenders {
        let proof = proof::prove(*contender, &contender.start(&place)?, &origin)?;
        println!("{proof}");
        proofs.push(proof);
    }
    let mut errors = 0;
    let mut reports = Vec::new();
    for scenario in &plan.scenarios {
        let samples = play(scenario, &plan, &place, &origin)?;
        errors += samples.iter().map(|sample| sample.errors).sum::<usize>();
        let (name, requests) = (scenario.name, scenario.requests(plan.requests));
        let title = format!("{name}: {} rounds of {requests} requests, one worker", plan.rounds);
        let report = Report::new(*scenario, title, (plan.baseline, &plan.contenders), &samples);
        println!("\n{}", report.table());
        reports.push(report);
        // After each scenario: a run that is cut short leaves what it has.
        let figures: Vec<_> = reports.iter().map(Report::json).collect();
        let all = json!({ "rate": plan.rate, "proofs": proofs, "scenarios": figures });
        fs::write(&arguments.json, serde_json::to_string_pretty(&all)?)?;
    }
    println!("{}", report::summary(&reports));
    println!("as JSON: {}", arguments.json.display());
    if errors > 0 { Err(format!("{errors} requests failed").into()) } else { Ok(()) }
}

/// Measures what concerns closegate alone.
fn alone(role: &Role, arguments: &Arguments) -> Result<()> {
    let plan = Plan::of(arguments);
    let folder = tempfile::tempdir()?;
    let origin = Origin::start(folder.path())?;
    let program = &arguments.program;
    let place = Place { folder: folder.path(), origin: origin.port(), program, under: Under::Nothing };
    warn(arguments);
    match *role {
        Role::Origin { ref folder } => origin::serve(folder),
        Role::Tails => tails::tails(&place, plan.rounds, plan.rate),
        Role::Connections { idle, active } => scale::connections(&place, idle, active),
        Role::Lasting { minutes } => scale::lasting(&place, minutes),
        Role::Train => train::train(&place, plan.requests),
        Role::Large { keys, routes, credentials } => scale::large(&place, Size { keys, routes, credentials }),
    }
}

/// Counts the instructions of a request, of each contender.
fn count(arguments: &Arguments) -> Result<()> {
    let contenders = match arguments {
        Arguments { features: true, .. } => Contender::ladder(),
        Arguments { peers, .. } if !peers.is_empty() => peers.clone(),
        _ => vec![Contender::Closegate(Http::Auto)],
    };
    let scenarios = match arguments.scenarios.as_slice() {
        [] => vec![Scenario::named("1k-1")?],
        chosen => chosen.to_vec(),
    };
    let folder = tempfile::tempdir()?;
    let origin = Origin::start(folder.path())?;
    let events = if arguments.caches { Events::Misses } else { Events::Instructions };
    let (program, under) = (&arguments.program, Under::Callgrind(events));
    let place = Place { folder: folder.path(), origin: origin.port(), program, under };
    for scenario in scenarios {
        let requests = arguments.requests.unwrap_or_else(|| scenario.requests(1000));
        let count = Count { scenario, requests, profile: arguments.profile.as_deref() };
        let mut first = None;
        for contender in &contenders {
            let counted = count::count(*contender, &place, &count)?;
            let share = (counted.instructions / *first.get_or_insert(counted.instructions) - 1.0) * 100.0;
            println!("{:<12}{:<14}{counted} a request{share:>+8.1} %", scenario.name, contender.name());
            if arguments.check {
                count::check(counted.instructions)?;
            }
        }
    }
    Ok(())
}

/// All rounds of a scenario; each contender begins a round in its turn.
fn play(scenario: &Scenario, plan: &Plan, place: &Place<'_>, origin: &Origin) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let contenders = &plan.contenders;
    for round in 0..plan.rounds {
        for turn in 0..contenders.len() {
            let contender = contenders[(round + turn) % contenders.len()];
            let running = contender.start(place)?;
            let target = Target { port: running.port(), authorization: presented() };
            let requests = scenario.requests(plan.requests);
            driver::drive(&target, scenario, requests / 5 + 4 * scenario.connections)?;
            let before = cpu_time(running.pid())?;
            let begun = Instant::now();
            let mut errors = driver::drive(&target, scenario, requests)?;
            let lasted = begun.elapsed();
            let spent = cpu_time(running.pid())? - before;
            let resident = resident(running.pid())?;
            let mut added = None;
            if let Some(direct) = paced_alone(scenario, plan, origin)? {
                let (delays, failed) = paced::pace(&target, scenario, plan.rate)?;
                errors += failed;
                added = Some(delays.beyond(direct));
            }
            let micros = spent.as_secs_f64() * 1e6 / requests as f64;
            let rate = requests as f64 / lasted.as_secs_f64();
            samples.push(Sample { contender, round, errors, micros, rate, resident, added });
        }
    }
    Ok(samples)
}

/// What the origin alone takes at the fixed rate, where that is measured: right before the contender, on a machine as busy.
fn paced_alone(scenario: &Scenario, plan: &Plan, origin: &Origin) -> Result<Option<Delays>> {
    if !scenario.paced || plan.rate == 0 {
        return Ok(None);
    }
    let target = Target { port: origin.clear(), authorization: injected() };
    match paced::pace(&target, scenario, plan.rate)? {
        (delays, 0) => Ok(Some(delays)),
        (_, failed) => Err(format!("the origin itself failed {failed} times").into()),
    }
}
