//! The `process_*` metrics that every exporter has, from `/proc`; what cannot be read is left out.

use std::fmt::{Display, Write as _};
use std::fs;
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};

use super::families::{CPU_SECONDS, Family, MAX_FDS, OPEN_FDS, RESIDENT_MEMORY, START_TIME, THREADS, VIRTUAL_MEMORY};

/// Appends the metrics of this process in Prometheus' text format.
pub(super) fn write(text: &mut String) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|line| Stat::parse(&line)) {
        series(text, &CPU_SECONDS, seconds(stat.cpu_ticks));
        series(text, &RESIDENT_MEMORY, stat.resident_pages * rustix::param::page_size() as u64);
        series(text, &VIRTUAL_MEMORY, stat.virtual_bytes);
        series(text, &THREADS, stat.threads);
        if let Some(boot) = boot_time() {
            series(text, &START_TIME, boot as f64 + seconds(stat.start_ticks));
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // The directory itself is one of them while it is read.
        series(text, &OPEN_FDS, entries.count().saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        series(text, &MAX_FDS, most);
    }
}

/// What is read of `/proc/self/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The second field is the program's name, in parentheses, and may hold blanks.
        let (_, behind_name) = line.rsplit_once(") ")?;
        let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn series(text: &mut String, family: &Family<0>, value: impl Display) {
    family.write_head(text);
    let _ = writeln!(text, "{} {value}", family.name);
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// When the machine started, in seconds since 1970; read once.
fn boot_time() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_shifts_no_field() {
        let line = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 100 20 13 14 15 16 4 18 5000 1048576 33 99";
        let expected =
            Stat { cpu_ticks: 120, threads: 4, start_ticks: 5000, virtual_bytes: 1_048_576, resident_pages: 33 };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_described() {
        let mut text = String::new();
        write(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e5);
        assert!(value("process_threads") >= 1.0);
        assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
