//! The samples of a scenario as a table, and all of them as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::contenders::Contender;
use crate::measure::{Sample, Spread};
use crate::scenario::Scenario;

/// One contender in one scenario, over all rounds.
struct Row {
    name: &'static str,
    micros: Spread,
    ratio: Option<f64>,
    rate: f64,
    resident: f64,
    /// Medians of p50, p99 and p99.9.
    added: Option<[f64; 3]>,
    errors: usize,
}

/// A scenario's rows.
pub(crate) struct Report {
    scenario: Scenario,
    title: String,
    baseline: Contender,
    rows: Vec<Row>,
}

impl Report {
    /// Rows in the order of the contenders; ratios to the baseline are taken within a round.
    pub(crate) fn new(
        scenario: Scenario,
        title: String,
        (baseline, contenders): (Contender, &[Contender]),
        samples: &[Sample],
    ) -> Self {
        let rows = contenders.iter().filter_map(|&contender| row(contender, baseline, samples)).collect();
        Self { scenario, title, baseline, rows }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let ratio = format!("to {}", self.baseline.name());
        let mut table = format!(
            "{}\n{:<14}{:>8}{:>8}{:>8}{:>10}{:>10}{:>9}{:>8}{:>8}{:>9}{:>8}\n",
            self.title,
            "CPU us/request",
            "min",
            "median",
            "max",
            ratio,
            "req/s",
            "RSS MiB",
            "+p50",
            "+p99",
            "+p99.9",
            "errors"
        );
        for row in &self.rows {
            let Spread { min, median, max } = row.micros;
            let ratio = row.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let [p50, p99, p999] = match row.added {
                Some(added) => added.map(|micros| format!("{micros:.0}")),
                None => ["-"; 3].map(str::to_owned),
            };
            let mebibytes = row.resident / f64::from(1 << 20);
            // Writing to a String cannot fail.
            let _ = writeln!(
                table,
                "{:<14}{min:>8.1}{median:>8.1}{max:>8.1}{ratio:>10}{:>10.0}{mebibytes:>9.1}{p50:>8}{p99:>8}{p999:>9}{:>8}",
                row.name, row.rate, row.errors
            );
        }
        table
    }

    /// For programs; `benches/gateway/chart` draws it.
    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "name": row.name,
                "cpu_us": { "min": row.micros.min, "median": row.micros.median, "max": row.micros.max },
                "ratio": row.ratio,
                "requests_per_second": row.rate,
                "resident_bytes": row.resident,
                "added_us": row.added.map(|[p50, p99, p999]| json!({ "p50": p50, "p99": p99, "p99.9": p999 })),
                "errors": row.errors,
            })
        });
        json!({
            "scenario": self.scenario.name,
            "title": self.title,
            "baseline": self.baseline.name(),
            "rows": rows.collect::<Vec<_>>(),
        })
    }
}

/// All scenarios side by side, as a table of Markdown: ratios to the baseline.
pub(crate) fn summary(reports: &[Report]) -> String {
    let Some(first) = reports.first() else { return String::new() };
    let mut summary = format!("| CPU, {} = 1 |", first.baseline.name());
    for report in reports {
        summary.push_str(&format!(" {} |", report.scenario.name));
    }
    summary.push_str(&format!("\n|---|{}\n", "---|".repeat(reports.len())));
    for (at, row) in first.rows.iter().enumerate() {
        summary.push_str(&format!("| {} |", row.name));
        for report in reports {
            let ratio = report.rows.get(at).and_then(|row| row.ratio);
            summary.push_str(&ratio.map_or(" - |".to_owned(), |ratio| format!(" {ratio:.2} |")));
        }
        summary.push('\n');
    }
    summary
}

fn row(contender: Contender, baseline: Contender, samples: &[Sample]) -> Option<Row> {
    let own = || samples.iter().filter(|sample| sample.contender == contender);
    let ratios = own().filter_map(|sample| {
        let other = samples.iter().find(|other| other.contender == baseline && other.round == sample.round)?;
        Some(sample.micros / other.micros)
    });
    let median = |of: fn(&Sample) -> Option<f64>| Some(Spread::of(own().filter_map(of))?.median);
    let added = || {
        let p50 = median(|sample| Some(sample.added?.p50))?;
        Some([p50, median(|sample| Some(sample.added?.p99))?, median(|sample| Some(sample.added?.p999))?])
    };
    Some(Row {
        name: contender.name(),
        micros: Spread::of(own().map(|sample| sample.micros))?,
        ratio: Spread::of(ratios).map(|ratios| ratios.median),
        rate: median(|sample| Some(sample.rate))?,
        resident: median(|sample| Some(sample.resident as f64))?,
        added: added(),
        errors: own().map(|sample| sample.errors).sum(),
    })
}
