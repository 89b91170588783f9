//! What a process takes, and what the samples of all rounds say.

use std::fs;
use std::time::Duration;

use crate::Result;
use crate::contenders::Contender;
use crate::paced::Delays;

/// What one contender took in one round.
pub(crate) struct Sample {
    pub(crate) contender: Contender,
    pub(crate) round: usize,
    pub(crate) errors: usize,
    /// CPU time a request, in microseconds.
    pub(crate) micros: f64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Resident after the load, in bytes.
    pub(crate) resident: u64,
    /// At a fixed rate, beyond what the origin itself takes; where it is measured.
    pub(crate) added: Option<Delays>,
}

/// Least, median and greatest of some figures.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of no figures there is none.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = (values[values.len() / 2] + values[(values.len() - 1) / 2]) / 2.0;
        Some(Self { min, median, max })
    }
}

/// CPU time of all threads of a process, as the scheduler counts it (`proc_pid_schedstat`: nanoseconds on a CPU first).
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let line = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += line.split_whitespace().next().ok_or("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// What a process has resident, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
