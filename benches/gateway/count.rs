//! Instructions a request in user space, as callgrind counts them: a figure that a busy machine does not change.
//!
//! What a start costs is not counted, nor the first requests: they open connections and count a key for the first time.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::contenders::{Contender, Place, presented};
use crate::driver::{self, Target};
use crate::scenario::Scenario;

/// What is sent at least before anything is counted.
const WARM: usize = 200;
/// By how much a figure may exceed the one recorded for the same compiler.
const GROWTH: f64 = 1.05;
/// The same for another compiler, which makes other code of the same source.
const GROWTH_ELSEWHERE: f64 = 1.25;
/// Where figures are recorded.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    /// Instructions.
    Instructions,
    /// Instructions, and what misses the caches.
    Misses,
}

/// First-level caches as small as those of most servers, so that figures of two machines can be compared.
const CACHES: [&str; 4] = ["--cache-sim=yes", "--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,16,64"];

/// The command, run by callgrind, which counts nothing until it is told to.
pub(crate) fn under_callgrind(command: &Command, folder: &Path, events: Events) -> Command {
    let mut wrapped = Command::new("valgrind");
    wrapped.args(["--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]);
    wrapped.args(CACHES.iter().filter(|_| events == Events::Misses));
    wrapped.arg(format!("--callgrind-out-file={}", folder.join("callgrind").display()));
    wrapped.arg(command.get_program()).args(command.get_args());
    let given = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    wrapped.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path))).envs(given);
    wrapped
}

/// How instructions are counted.
pub(crate) struct Count<'a> {
    pub(crate) scenario: Scenario,
    pub(crate) requests: usize,
    /// Where the last count is kept for `callgrind_annotate`.
    pub(crate) profile: Option<&'a Path>,
}

/// What a request takes of a contender.
pub(crate) struct Counted {
    pub(crate) instructions: f64,
    /// What had to be fetched from beyond the first-level caches, where they were simulated: instructions, and data.
    misses: Option<(f64, f64)>,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.0} instructions", self.instructions)?;
        self.misses.map_or(Ok(()), |(code, data)| write!(f, "{code:>8.0} misses of code{data:>7.0} of data"))
    }
}

/// Counts what a request takes of a contender; the place has it started under callgrind.
pub(crate) fn count(contender: Contender, place: &Place<'_>, count: &Count<'_>) -> Result<Counted> {
    let (scenario, requests) = (&count.scenario, count.requests);
    let running = contender.start(place)?;
    let target = Target { port: running.port(), authorization: presented() };
    // Each connection takes part before, and opens what it needs towards the origin.
    let warm = WARM.max(4 * scenario.connections);
    let mut failed = driver::drive(&target, scenario, warm)?;
    control("--instr=on", running.pid())?;
    failed += driver::drive(&target, scenario, warm)?;
    control("--zero", running.pid())?;
    failed += driver::drive(&target, scenario, requests)?;
    control("--dump", running.pid())?;
    if failed > 0 {
        return Err(format!("{}: {failed} requests failed", contender.name()).into());
    }
    let events = busiest(place.folder, count.profile)?;
    let each = |event: &str| events.get(event).map(|total| *total as f64 / requests as f64);
    let read = each("D1mr").zip(each("D1mw")).map(|(read, written)| read + written);
    Ok(Counted { instructions: each("Ir").ok_or("no instructions")?, misses: each("I1mr").zip(read) })
}

/// Fails where a figure has grown beyond the one that `docs/performance.md` records for this build.
pub(crate) fn check(counted: f64) -> Result<()> {
    let build = if cfg!(debug_assertions) { "dev" } else { "release" };
    let text = fs::read_to_string(RECORD)?;
    let recorded = Recorded::of(build, &text).ok_or("docs/performance.md records no figure of this build")?;
    let compiler = compiler()?;
    let growth = if compiler == recorded.compiler { GROWTH } else { GROWTH_ELSEWHERE };
    println!(
        "{build} build: {counted:.0} instructions a request, {:.0} recorded ({:+.1} %)",
        recorded.instructions,
        (counted / recorded.instructions - 1.0) * 100.0
    );
    if counted <= recorded.instructions * growth {
        return Ok(());
    }
    let hint =
        "hint: `--count --profile FILE` keeps what `callgrind_annotate` shows; if it must be, record the new figure";
    Err(format!("a request takes {:.0} % more instructions than may be\n{hint}", (growth - 1.0) * 100.0).into())
}

/// A row of the table in the document: `| dev | 123,456 | rustc 1.95.0 | commit |`.
struct Recorded {
    instructions: f64,
    compiler: String,
}

impl Recorded {
    fn of(build: &str, text: &str) -> Option<Self> {
        let start = format!("| {build} | ");
        let mut cells = text.lines().find_map(|line| line.strip_prefix(&start))?.split(" | ");
        let instructions = cells.next()?.replace(',', "").parse().ok()?;
        Some(Self { instructions, compiler: cells.next()?.to_owned() })
    }
}

/// Name and version.
fn compiler() -> Result<String> {
    let said = Command::new("rustc").arg("--version").output()?;
    let said = String::from_utf8(said.stdout)?;
    Ok(said.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn control(order: &str, pid: u32) -> Result<()> {
    let status = Command::new("callgrind_control")
        .arg(order)
        .arg(pid.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("callgrind_control {order} failed").into()) }
}

/// How often each event came, by its name.
type Totals = HashMap<String, u64>;

/// What the busiest thread has counted: the one that serves. The others do what the clock tells them to.
fn busiest(folder: &Path, profile: Option<&Path>) -> Result<Totals> {
    let mut most: Option<(Totals, PathBuf)> = None;
    let total = |events: &Totals| events.get("Ir").copied().unwrap_or_default();
    for entry in fs::read_dir(folder)? {
        let dump = entry?.path();
        if !dump.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"callgrind.")) {
            continue;
        }
        let events = events(&fs::read_to_string(&dump)?).ok_or("a dump without totals")?;
        match &most {
            Some((before, _)) if total(before) >= total(&events) => fs::remove_file(dump)?,
            _ => {
                if let Some((_, less)) = most.replace((events, dump)) {
                    fs::remove_file(less)?;
                }
            }
        }
    }
    let (events, dump) = most.ok_or("callgrind has written nothing")?;
    if let Some(profile) = profile {
        fs::copy(&dump, profile)?;
    }
    fs::remove_file(dump)?;
    Ok(events)
}

/// The totals of a dump: a line names the events, and another one has as many numbers.
fn events(dump: &str) -> Option<Totals> {
    let names = dump.lines().find_map(|line| line.strip_prefix("events: "))?.split_whitespace();
    let totals =
        dump.lines().rev().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")))?;
    let totals = totals.split_whitespace().map(|total| total.parse().ok());
    names.zip(totals).map(|(name, total)| Some((name.to_owned(), total?))).collect()
}
