//! Instructions a request in user space, as callgrind counts them: a figure that a busy machine does not change.
//!
//! What a start costs is not counted, nor the first requests: they open connections and count a key for the first time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::contenders::{Contender, Place, presented};
use crate::driver::{self, Target};
use crate::scenario::Scenario;

/// What is sent before anything is counted.
const WARM: usize = 200;
/// By how much a figure may exceed the one recorded for the same compiler.
const GROWTH: f64 = 1.05;
/// The same for another compiler, which makes other code of the same source.
const GROWTH_ELSEWHERE: f64 = 1.25;
/// Where figures are recorded.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md");

/// The command, run by callgrind, which counts nothing until it is told to.
pub(crate) fn under_callgrind(command: &Command, folder: &Path) -> Command {
    let mut wrapped = Command::new("valgrind");
    wrapped.args(["--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]);
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

/// Instructions a request of a contender; the place has it started under callgrind.
pub(crate) fn count(contender: Contender, place: &Place<'_>, count: &Count<'_>) -> Result<f64> {
    let (scenario, requests) = (&count.scenario, count.requests);
    let running = contender.start(place)?;
    let target = Target { port: running.port(), authorization: presented() };
    let mut failed = driver::drive(&target, scenario, WARM)?;
    control("--instr=on", running.pid())?;
    failed += driver::drive(&target, scenario, WARM)?;
    control("--zero", running.pid())?;
    failed += driver::drive(&target, scenario, requests)?;
    control("--dump", running.pid())?;
    if failed > 0 {
        return Err(format!("{}: {failed} requests failed", contender.name()).into());
    }
    Ok(busiest(place.folder, count.profile)? as f64 / requests as f64)
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

/// What the busiest thread has counted: the one that serves. The others do what the clock tells them to.
fn busiest(folder: &Path, profile: Option<&Path>) -> Result<u64> {
    let mut most: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(folder)? {
        let dump = entry?.path();
        if !dump.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"callgrind.")) {
            continue;
        }
        let text = fs::read_to_string(&dump)?;
        let line = text.lines().rev().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
        let total = line.ok_or("a dump without a total")?.trim().parse()?;
        match &most {
            Some((before, _)) if *before >= total => fs::remove_file(dump)?,
            _ => {
                if let Some((_, less)) = most.replace((total, dump)) {
                    fs::remove_file(less)?;
                }
            }
        }
    }
    let (total, dump) = most.ok_or("callgrind has written nothing")?;
    if let Some(profile) = profile {
        fs::copy(&dump, profile)?;
    }
    fs::remove_file(dump)?;
    Ok(total)
}
