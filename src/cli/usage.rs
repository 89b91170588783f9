//! `closegate usage`: who used how much, by the gateway that runs, else by what lies in the store.

use std::fmt;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use super::{Output, desk, table};
use crate::admin::model::{Usage, UsageBy, UsageQuery, UsageRow};
use crate::config::{self, Loaded};

/// Which usage is shown.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What a row stands for
    #[arg(long, value_enum, default_value_t = Grouping::Key)]
    by: Grouping,
    /// How far back: up to a day it is counted by the minute, further back by the day (UTC), of which 90 are kept
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_time)]
    since: String,
    /// Only requests with this gateway key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Only requests on this route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Only requests with this credential
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// Only requests of this operation, such as 'GET /api/v1/lead/'
    #[arg(long, value_name = "OPERATION")]
    endpoint: Option<String>,
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Grouping {
    Key,
    Route,
    Endpoint,
    Credential,
    Status,
}

pub(super) const EXAMPLES: &str = "Examples:
  closegate usage
  closegate usage --by endpoint --since 7d --key reporting
  closegate usage --by route --output json

P50, P95 and P99 are the time that so many of a hundred requests kept: estimates, each the upper bound
of a bucket (1, 2.5, 5, 10, 25, 50, 100, 250, 500 ms, 1, 2.5, 5, 10, 30, 60 s). `_other` are those beyond
the bounds of what is counted apart, `none` is who had no valid key or what had no route.";

fn parse_time(text: &str) -> Result<String, String> {
    let known = config::duration(text).map(|_| text.to_owned());
    known.ok_or_else(|| "a number and a unit, such as `24h` or `30d`".to_owned())
}

/// Asks the gateway that runs, else the store.
pub(super) fn run(args: &Args, loaded: &Loaded, output: Output) -> ExitCode {
    let query = args.query();
    let usage = desk::look(loaded, async |desk| desk.usage(query).await);
    desk::respond(usage.map(Report), output)
}

impl Args {
    fn query(&self) -> UsageQuery {
        let Self { by, since, key, route, credential, endpoint } = self;
        UsageQuery {
            by: Some(match by {
                Grouping::Key => UsageBy::Key,
                Grouping::Route => UsageBy::Route,
                Grouping::Endpoint => UsageBy::Endpoint,
                Grouping::Credential => UsageBy::Credential,
                Grouping::Status => UsageBy::Status,
            }),
            since: Some(since.clone()),
            key: key.clone(),
            route: route.clone(),
            credential: credential.clone(),
            endpoint: endpoint.clone(),
            points: None,
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Report(Usage);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Usage { since, by, rows, total, .. } = &self.0;
        if rows.is_empty() {
            return write!(f, "no request since {since}");
        }
        writeln!(f, "Since {since}:")?;
        let name = by.as_str().to_uppercase();
        let header =
            [name.as_str(), "REQUESTS", "ERRORS", "429", "HELD", "BYTES IN", "BYTES OUT", "MEAN", "P50", "P95", "P99"];
        let totals = (rows.len() > 1).then_some(total);
        let lines = rows.iter().chain(totals).map(cells);
        table::columns(f, "", &[header.map(str::to_owned).into()].into_iter().chain(lines).collect::<Vec<_>>())
    }
}

fn cells(row: &UsageRow) -> Vec<String> {
    let time = |milliseconds: Option<f64>| milliseconds.map_or_else(|| "-".to_owned(), shown);
    vec![
        row.name.clone(),
        row.requests.to_string(),
        row.errors.to_string(),
        row.rate_limited.to_string(),
        row.waits.to_string(),
        row.request_bytes.to_string(),
        row.response_bytes.to_string(),
        time(row.mean_ms),
        time(row.p50_ms),
        time(row.p95_ms),
        time(row.p99_ms),
    ]
}

/// `2.5ms`, `250ms`, `1.5s`
fn shown(milliseconds: f64) -> String {
    if milliseconds >= 1000.0 {
        format!("{}s", (milliseconds / 10.0).round() / 100.0)
    } else {
        format!("{}ms", (milliseconds * 10.0).round() / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(
            [0.04, 2.5, 12.345, 999.0, 1000.0, 12_345.0].map(shown),
            ["0ms", "2.5ms", "12.3ms", "999ms", "1s", "12.35s"]
        );
    }

    #[test]
    fn a_report_is_a_table_with_its_total() {
        let row = |name: &str, requests| UsageRow {
            name: name.to_owned(),
            requests,
            errors: 1,
            rate_limited: 2,
            refused: 0,
            request_bytes: 3,
            response_bytes: 4,
            waits: 5,
            waited_ms: 6,
            mean_ms: Some(1.5),
            p50_ms: Some(2.5),
            p95_ms: Some(2500.0),
            p99_ms: None,
        };
        let (since, until) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-02T00:00:00Z".parse().unwrap());
        let rows = vec![row("reporting", 9), row("sync", 7)];
        let usage =
            Usage { since, until, by: UsageBy::Key, rows, total: row("total", 16), chart: None, headroom: Vec::new() };
        let text = Report(usage.clone()).to_string();
        let words = |line: usize| text.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(2), ["reporting", "9", "1", "2", "5", "3", "4", "1.5ms", "2.5ms", "2.5s", "-"]);
        assert_eq!(words(4)[..2], ["total", "16"]);
        assert_eq!(Report(Usage { rows: Vec::new(), ..usage }).to_string(), "no request since 2026-01-01T00:00:00Z");
    }
}
