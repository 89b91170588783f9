//! A histogram of durations with fixed buckets: counts that add up, over threads, replicas and time.
//!
//! What it says of a share of the durations is an estimate: the upper bound of the bucket in which that share ends.

use std::fmt::Write as _;
use std::time::Duration;

/// Counts of durations by bucket, not cumulative, and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    nanoseconds: u64,
}

impl Histogram {
    /// What was kept of one: its counts by bucket, and the sum.
    pub fn of(buckets: [u64; BUCKETS], sum: Duration) -> Self {
        Self { buckets, nanoseconds: nanoseconds(sum) }
    }

    /// Counts one duration.
    pub fn observe(&mut self, duration: Duration) {
        let nanoseconds = nanoseconds(duration);
        self.buckets[BOUNDS.partition_point(|(bound, _)| *bound < nanoseconds)] += 1;
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }

    /// Adds what another histogram counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|count| *count == 0)
    }

    /// How many durations were counted in each bucket.
    pub fn buckets(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }

    /// All durations together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// The mean of the durations; none of nothing.
    pub fn mean(&self) -> Option<Duration> {
        let count: u64 = self.buckets.iter().sum();
        self.nanoseconds.checked_div(count).map(Duration::from_nanos)
    }

    /// A duration that so many of a hundred kept, to the upper bound of its bucket; 60 s stands for everything above.
    /// None of nothing.
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        let count: u64 = self.buckets.iter().sum();
        let wanted = (count.checked_mul(percent.into())?).div_ceil(100);
        if count == 0 {
            return None;
        }
        let mut within = 0;
        let mut bounds = BOUNDS.iter().map(|(bound, _)| *bound).chain([LONGEST]).zip(self.buckets);
        let found = bounds.find(|(_, bucket)| {
            within += bucket;
            within >= wanted
        });
        found.map(|(bound, _)| Duration::from_nanos(bound))
    }

    /// Writes the series of one set of labels (`route="sales"`) in Prometheus' text format: cumulative, in seconds.
    pub fn write(&self, name: &str, labels: &str, text: &mut String) {
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

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How many buckets there are, the one without a bound among them.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// The last bound, in nanoseconds.
const LONGEST: u64 = BOUNDS[BOUNDS.len() - 1].0;

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
    fn a_percentile_is_the_bound_of_its_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.mean(), histogram.percentile(95)), (None, None));
        (0..98).for_each(|_| histogram.observe(Duration::from_millis(3)));
        (0..2).for_each(|_| histogram.observe(Duration::from_secs(70)));
        let milliseconds = |percent| histogram.percentile(percent).map(|at| at.as_millis());
        assert_eq!([50, 95, 98, 99, 100].map(milliseconds), [Some(5), Some(5), Some(5), Some(60_000), Some(60_000)],);
        assert_eq!(histogram.mean().map(|mean| mean.as_micros()), Some(1_402_940));
        assert_eq!(Histogram::of(*histogram.buckets(), histogram.sum()), histogram);
    }

    #[test]
    fn bounds_read_as_they_count() {
        for (nanoseconds, seconds) in BOUNDS {
            assert_eq!(seconds.parse::<f64>().unwrap(), Duration::from_nanos(nanoseconds).as_secs_f64());
        }
    }
}
