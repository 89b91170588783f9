//! CPU time of a process, and what the samples of all rounds say.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::Result;
use crate::contenders::Contender;

/// What one contender took in one round.
pub(crate) struct Sample {
    pub(crate) contender: Contender,
    pub(crate) round: usize,
    pub(crate) errors: usize,
    /// CPU time a request, in microseconds.
    pub(crate) micros: f64,
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

/// A row a contender: CPU time a request over all rounds, and the median of its ratios to nginx, round by round.
pub(crate) fn table(contenders: &[Contender], samples: &[Sample]) -> String {
    let mut table =
        format!("{:<24}{:>8}{:>8}{:>8}{:>10}{:>8}\n", "CPU us a request", "min", "median", "max", "to nginx", "errors");
    for &contender in contenders {
        let own = || samples.iter().filter(|sample| sample.contender == contender);
        let micros = sorted(own().map(|sample| sample.micros));
        let ratios = sorted(own().filter_map(|sample| {
            let nginx =
                samples.iter().find(|other| other.contender == Contender::Nginx && other.round == sample.round)?;
            Some(sample.micros / nginx.micros)
        }));
        let ratio = median(&ratios).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let (Some(least), Some(middle), Some(most)) = (micros.first(), median(&micros), micros.last()) else {
            continue;
        };
        let errors: usize = own().map(|sample| sample.errors).sum();
        let name = contender.name();
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{name:<24}{least:>8.1}{middle:>8.1}{most:>8.1}{ratio:>10}{errors:>8}");
    }
    table
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> Option<f64> {
    Some((sorted.get(sorted.len() / 2)? + sorted.get(sorted.len().checked_sub(1)? / 2)?) / 2.0)
}
