//! A histogram of durations with fixed buckets, kept in a core and merged when metrics are read.

use std::fmt::Write as _;
use std::time::Duration;

/// Counts of durations by bucket, not cumulative, and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    buckets: [u64; BOUNDS.len() + 1],
    nanoseconds: u64,
}

impl Histogram {
    /// Counts one duration.
    pub(super) fn observe(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|(bound, _)| *bound < nanoseconds)] += 1;
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }

    /// Adds what another histogram counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
    }

    /// Whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|count| *count == 0)
    }

    /// Writes the series of one set of labels (`route="sales"`) in Prometheus' text format: cumulative, in seconds.
    pub(super) fn write(&self, name: &str, labels: &str, text: &mut String) {
        let mut count = 0;
        let edges = BOUNDS.iter().map(|(_, seconds)| *seconds).chain(["+Inf"]);
        for (edge, bucket) in edges.zip(self.buckets) {
            count += bucket;
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{edge}\"}} {count}");
        }
        let _ = writeln!(text, "{name}_sum{{{labels}}} {}", Duration::from_nanos(self.nanoseconds).as_secs_f64());
        let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
    }
}

/// Upper bounds, inclusive, in nanoseconds and as `le` shows them: 1 ms to 60 s.
const BOUNDS: [(u64, &str); 15] = [
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
    (30_000_000_000, "30"),
    (60_000_000_000, "60"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_their_bounds_inclusive() {
        let mut histogram = Histogram::default();
        for milliseconds in [0, 1, 2, 60_000, 60_001] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let mut text = String::new();
        histogram.write("d", "route=\"r\"", &mut text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), BOUNDS.len() + 3);
        assert_eq!(lines[0], "d_bucket{route=\"r\",le=\"0.001\"} 2");
        assert_eq!(lines[1], "d_bucket{route=\"r\",le=\"0.0025\"} 3");
        assert_eq!(lines[13], "d_bucket{route=\"r\",le=\"30\"} 3");
        assert_eq!(lines[14], "d_bucket{route=\"r\",le=\"60\"} 4");
        assert_eq!(lines[15], "d_bucket{route=\"r\",le=\"+Inf\"} 5");
        assert_eq!(lines[16], "d_sum{route=\"r\"} 120.004");
        assert_eq!(lines[17], "d_count{route=\"r\"} 5");
    }

    #[test]
    fn merging_adds() {
        let (mut one, mut two, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for (histogram, milliseconds) in [(&mut one, 3), (&mut two, 400)] {
            histogram.observe(Duration::from_millis(milliseconds));
            both.observe(Duration::from_millis(milliseconds));
        }
        one.merge(&two);
        assert_eq!(one, both);
        assert!(!one.is_empty() && Histogram::default().is_empty());
    }

    #[test]
    fn bounds_read_as_they_count() {
        for (nanoseconds, seconds) in BOUNDS {
            assert_eq!(seconds.parse::<f64>().unwrap(), Duration::from_nanos(nanoseconds).as_secs_f64());
        }
    }
}
