//! The page of metrics against `docs/metrics.md`, in both directions.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::record::{Answerer, Retry};
use super::super::tests::record;
use super::super::{Access, Options, Refresh, Telemetry};

/// Names of families with their type and their labels.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

#[test]
fn the_page_and_its_documentation_agree() {
    assert_eq!(rendered(&everything()), documented(include_str!("../../../docs/metrics.md")));
}

#[test]
fn every_family_says_what_it_is() {
    let page = everything();
    for name in rendered(&page).keys() {
        assert_eq!(page.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
        assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
    }
}

/// A page on which every family has a series.
fn everything() -> String {
    let telemetry = Telemetry::new(Options { max_key_series: 9, access: Access::Off }, io::sink());
    let core = telemetry.core();
    let mut record = record();
    record.key = telemetry.key("reporting");
    (record.route, record.credential) = (telemetry.route("sales"), telemetry.credential("sales"));
    (record.code, record.origin) = (Some("upstream_timeout"), Answerer::Gateway);
    record.retries.add(Retry::Closed);
    record.upstream_first_byte = Some(Duration::from_millis(3));
    (record.redactions, record.truncated) = (1, true);
    record.paced = Duration::from_millis(700);
    core.begin(record.route);
    core.finish(&record);
    telemetry.keys_stand([(record.key, None)]);
    telemetry.key_expiries([(record.key, "2027-06-30T00:00:00Z".parse().unwrap())]);
    telemetry.stand([record.credential]);
    let meters = telemetry.credential_meters(record.credential);
    meters.up.store(false, Ordering::Relaxed);
    meters.token_expiry.store(1_800_000_000, Ordering::Relaxed);
    meters.refreshes.add(Refresh::Success);
    telemetry.limit_meters(record.credential, "leads").show(100, Some((7, Duration::from_secs(3600))));
    telemetry.upstream("api.close.com").idle.store(2, Ordering::Relaxed);
    telemetry.listener("default").store(1, Ordering::Relaxed);
    telemetry.render()
}

fn rendered(page: &str) -> Families {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let family = |(name, kind): (&str, &str)| {
        let series = page.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            let rest = rest.strip_prefix("_bucket").unwrap_or(rest);
            rest.starts_with(['{', ' ']).then_some(rest)
        });
        let labels = series.unwrap_or_else(|| panic!("`{name}` has no series")).split(['{', ',', '}']);
        let labels = labels.filter_map(|label| label.split_once('=')).map(|(label, _)| label.to_owned());
        (name.to_owned(), (kind.to_owned(), labels.filter(|label| label != "le").collect()))
    };
    types.map(family).collect()
}

fn documented(page: &str) -> Families {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let family = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`').to_owned());
        assert!(!cells[4].is_empty(), "{row}");
        let labels = labels.filter(|label| !label.is_empty()).collect();
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
    };
    rows.map(family).collect()
}
