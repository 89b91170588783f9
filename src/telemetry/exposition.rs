//! Metrics as Prometheus reads them: merges what the cores counted and renders everything.
//!
//! The exporter keeps the totals of counters and gauges; histograms, which it cannot take with their buckets filled, and
//! fractional counters are rendered here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};

use metrics::{Counter, Gauge, Recorder as _, SharedString};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::families::{self as family, Family};
use super::meters::{Meters, Refresh, Reload, StoreState};
use super::names::{Label, Names};
use super::process;
use super::recorder::{METADATA, described, key};
use super::table::{EndpointSeries, RequestCell, RequestSeries, RouteCell, Table};
use crate::histogram::Histogram;

/// The totals since the start.
pub(super) struct Exposition {
    /// Made when it is read or written first: it calibrates a clock that is not used here, for milliseconds.
    recorder: LazyLock<PrometheusRecorder>,
    names: Arc<Names>,
    durations: BTreeMap<Arc<str>, Histogram>,
    first_bytes: BTreeMap<Arc<str>, Histogram>,
    paced: BTreeMap<Arc<str>, Histogram>,
    /// Of every key that was used, those that are gone among them.
    last_used: BTreeMap<Arc<str>, u64>,
    /// The keys that there are, and when they were made.
    keys: BTreeMap<Arc<str>, f64>,
    /// Gauges whose series may go again.
    credentials_up: BTreeMap<Arc<str>, f64>,
    token_expiries: BTreeMap<Arc<str>, f64>,
    expiries: BTreeMap<Arc<str>, f64>,
    /// The quota of a credential and a group, and what is left of it.
    limits: BTreeMap<(Arc<str>, &'static str), (u64, u64)>,
}

impl Exposition {
    pub(super) fn new(names: Arc<Names>) -> Self {
        let recorder = LazyLock::new(described as fn() -> PrometheusRecorder);
        let (durations, first_bytes, paced, last_used) = Default::default();
        let (keys, credentials_up, token_expiries, expiries, limits) = Default::default();
        Self {
            recorder,
            names,
            durations,
            first_bytes,
            paced,
            last_used,
            keys,
            credentials_up,
            token_expiries,
            expiries,
            limits,
        }
    }

    /// Adds what one core counted since the last time.
    pub(super) fn absorb(&mut self, table: Table) {
        table.requests.iter().for_each(|(series, cell)| self.absorb_requests(series, cell));
        table.endpoints.iter().for_each(|(series, count)| self.absorb_endpoint(series, *count));
        table.routes.iter().for_each(|(route, cell)| self.absorb_route(*route, cell));
        for ((route, code), count) in table.refused {
            self.counter(&family::REFUSED, [self.name(route), code.0.into()]).increment(count);
        }
        for ((route, reason), count) in table.retries {
            self.counter(&family::RETRIES, [self.name(route), reason.0.into()]).increment(count);
        }
        for (credential, count) in table.redactions {
            self.counter(&family::REDACTIONS, [self.name(credential)]).increment(count);
        }
        for (credential, held) in &table.paced {
            self.paced.entry(self.names.text(*credential)).or_default().merge(held);
        }
        self.counter(&family::DROPPED_RECORDS, []).increment(table.dropped_records);
    }

    /// Counts records that were lost after they had left their core.
    pub(super) fn add_dropped_records(&self, count: u64) {
        self.counter(&family::DROPPED_RECORDS, []).increment(count);
    }

    /// Reads what other parts keep themselves.
    pub(super) fn read(&mut self, meters: &Meters) {
        for (upstream, meters) in &meters.upstreams {
            for (state, count) in [("active", &meters.active), ("idle", &meters.idle)] {
                let labels = [upstream.clone().into(), state.into()];
                self.gauge(&family::UPSTREAM_CONNECTIONS, labels).set(count.load(Relaxed) as f64);
            }
        }
        for (listener, count) in &meters.listeners {
            self.gauge(&family::CONNECTIONS, [listener.clone().into()]).set(count.load(Relaxed) as f64);
        }
        for (credential, meters) in &meters.credentials {
            let labels = [self.name(*credential)];
            self.counter(&family::REJECTIONS, labels.clone()).absolute(meters.rejections.load(Relaxed));
            self.counter(&family::PROMOTIONS, labels.clone()).absolute(meters.promotions.load(Relaxed));
            // There before the first one, which an alert would not see otherwise.
            self.counter(&family::REDACTIONS, labels).increment(0);
            // A credential that is none of OAuth has no series.
            let refreshes = Refresh::ALL.map(|outcome| (outcome, meters.refreshes.count(outcome)));
            let has_tokens = meters.token_expiry.load(Relaxed) != 0 || refreshes.iter().any(|(_, count)| *count > 0);
            for (outcome, count) in refreshes.into_iter().filter(|_| has_tokens) {
                let labels = [self.name(*credential), SharedString::const_str(outcome.as_str())];
                self.counter(&family::REFRESHES, labels).absolute(count);
            }
        }
        let standing = || meters.credentials.iter().filter(|(credential, _)| meters.standing.contains(credential));
        let ends = standing().map(|(credential, meters)| (credential, meters.token_expiry.load(Relaxed)));
        let ends = ends.filter(|(_, at)| *at != 0).map(|(credential, at)| (self.names.text(*credential), at as f64));
        self.token_expiries = ends.collect();
        let up = standing().map(|(credential, meters)| (self.names.text(*credential), number(meters.up.load(Relaxed))));
        self.credentials_up = up.collect();
        self.keys = meters.keys.iter().map(|(key, made)| (self.names.text(*key), *made as f64)).collect();
        self.expiries = meters.expiries.iter().map(|(key, at)| (self.names.text(*key), *at as f64)).collect();
        let standing = meters.limits.iter().filter(|((credential, _), _)| meters.standing.contains(credential));
        let known = standing
            .filter_map(|((credential, group), meters)| Some(((self.names.text(*credential), *group), meters.read()?)));
        self.limits = known.collect();
        let reloads = &meters.reloads;
        for (outcome, count) in [("success", reloads.successes), ("failure", reloads.failures)] {
            self.counter(&family::RELOADS, [SharedString::const_str(outcome)]).absolute(count);
        }
        self.gauge(&family::RELOADED, []).set(number(reloads.last == Reload::Success));
        self.gauge(&family::STORE_UP, []).set(number(meters.store == StoreState::Up));
        self.gauge(&family::RELOADED_AT, []).set(reloads.last_success.as_second() as f64);
    }

    /// The whole page.
    pub(super) fn render(&self) -> String {
        let mut text = self.recorder.handle().render();
        write_histograms(&family::REQUEST_DURATION, &self.durations, &mut text);
        write_histograms(&family::FIRST_BYTE, &self.first_bytes, &mut text);
        write_histograms(&family::PACING_WAIT, &self.paced, &mut text);
        self.write_limits(&family::LIMIT_QUOTA, |(quota, _)| quota, &mut text);
        self.write_limits(&family::LIMIT_REMAINING, |(_, remaining)| remaining, &mut text);
        write_gauges(&family::CREDENTIAL_UP, &self.credentials_up, &mut text);
        write_gauges(&family::TOKEN_EXPIRY, &self.token_expiries, &mut text);
        write_gauges(&family::KEY_CREATED, &self.keys, &mut text);
        write_gauges(&family::KEY_EXPIRY, &self.expiries, &mut text);
        let used = self.last_used.iter().filter(|(key, _)| self.keys.contains_key(*key));
        write_gauges(&family::KEY_LAST_USED, &used.map(|(key, at)| (key.clone(), *at as f64)).collect(), &mut text);
        process::write(&mut text);
        text
    }

    fn write_limits(&self, family: &Family<2>, value: impl Fn((u64, u64)) -> u64, text: &mut String) {
        if !self.limits.is_empty() {
            family.write_head(text);
        }
        let [credential, group] = family.labels;
        for ((owner, name), limit) in &self.limits {
            let (owner, value) = (escaped(owner), value(*limit));
            let _ = writeln!(text, "{}{{{credential}=\"{owner}\",{group}=\"{name}\"}} {value}", family.name);
        }
    }

    fn absorb_requests(&mut self, series: &RequestSeries, cell: &RequestCell) {
        let (route, key) = (self.name(series.route), self.name(series.key));
        let (method, status) = (series.method.as_str().into(), series.status.to_string().into());
        let labels = [route.clone(), self.name(series.credential), key.clone(), method, status];
        self.counter(&family::REQUESTS, labels).increment(cell.count);
        self.counter(&family::REQUEST_BYTES, [route.clone(), key.clone()]).increment(cell.request_bytes);
        self.counter(&family::RESPONSE_BYTES, [route, key]).increment(cell.response_bytes);
        self.key_last_used(series.key, cell.last);
    }

    /// Notes when a key was used, be it by this process or an earlier one.
    pub(super) fn key_last_used(&mut self, key: Label, at: u64) {
        if key.has_own_series() {
            let last = self.last_used.entry(self.names.text(key)).or_default();
            *last = at.max(*last);
        }
    }

    fn absorb_endpoint(&self, series: &EndpointSeries, count: u64) {
        let class = format!("{}xx", series.status_class).into();
        let (endpoint, method) = (series.endpoint.0.into(), series.method.as_str().into());
        let labels = [self.name(series.credential), endpoint, method, class];
        self.counter(&family::ENDPOINT_REQUESTS, labels).increment(count);
    }

    fn absorb_route(&mut self, route: Label, cell: &RouteCell) {
        let labels = [self.name(route)];
        self.gauge(&family::IN_FLIGHT, labels.clone()).increment(cell.in_flight as f64);
        self.counter(&family::TRUNCATED, labels).increment(cell.truncated);
        let route = self.names.text(route);
        self.durations.entry(route.clone()).or_default().merge(&cell.duration);
        self.first_bytes.entry(route).or_default().merge(&cell.first_byte);
    }

    fn name(&self, label: Label) -> SharedString {
        self.names.text(label).into()
    }

    fn counter<const LABELS: usize>(&self, family: &Family<LABELS>, values: [SharedString; LABELS]) -> Counter {
        self.recorder.register_counter(&key(family, values), &METADATA)
    }

    fn gauge<const LABELS: usize>(&self, family: &Family<LABELS>, values: [SharedString; LABELS]) -> Gauge {
        self.recorder.register_gauge(&key(family, values), &METADATA)
    }
}

fn write_histograms(family: &Family<1>, totals: &BTreeMap<Arc<str>, Histogram>, text: &mut String) {
    let mut filled = totals.iter().filter(|(_, histogram)| !histogram.is_empty()).peekable();
    if filled.peek().is_some() {
        family.write_head(text);
    }
    for (value, histogram) in filled {
        histogram.write(family.name, &label(family, value), text);
    }
}

fn write_gauges(family: &Family<1>, values: &BTreeMap<Arc<str>, f64>, text: &mut String) {
    if !values.is_empty() {
        family.write_head(text);
    }
    for (value, gauge) in values {
        let _ = writeln!(text, "{}{{{}}} {gauge}", family.name, label(family, value));
    }
}

/// `name="value"`, escaped.
fn label(family: &Family<1>, value: &str) -> String {
    format!("{}=\"{}\"", family.labels[0], escaped(value))
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

fn number(flag: bool) -> f64 {
    f64::from(u8::from(flag))
}

#[cfg(test)]
mod tests;
