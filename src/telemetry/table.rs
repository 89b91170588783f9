//! What one core has counted since metrics were last read: deltas, in plain cells that nobody else writes.

use std::time::Duration;

use foldhash::HashMap;

use super::names::Label;
use super::record::{Answerer, MethodLabel, Record};
use crate::histogram::Histogram;

/// A core's deltas; taken whole when metrics are read.
#[derive(Default)]
pub(super) struct Table {
    pub(super) requests: HashMap<RequestSeries, RequestCell>,
    pub(super) endpoints: HashMap<EndpointSeries, u64>,
    pub(super) routes: HashMap<Label, RouteCell>,
    pub(super) refused: HashMap<(Label, Word), u64>,
    pub(super) retries: HashMap<(Label, Word), u64>,
    pub(super) redactions: HashMap<Label, u64>,
    /// How long requests were held, by credential.
    pub(super) paced: HashMap<Label, Histogram>,
    pub(super) dropped_records: u64,
}

/// The labels of `requests_total`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RequestSeries {
    pub(super) route: Label,
    pub(super) credential: Label,
    pub(super) key: Label,
    pub(super) method: MethodLabel,
    pub(super) status: u16,
}

/// What is counted of the requests of one series.
#[derive(Default)]
pub(super) struct RequestCell {
    pub(super) count: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// When the last of them ended, in seconds since 1970.
    pub(super) last: u64,
}

/// The labels of `endpoint_requests_total`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct EndpointSeries {
    pub(super) credential: Label,
    pub(super) endpoint: Word,
    pub(super) method: MethodLabel,
    /// The first digit of the status.
    pub(super) status_class: u8,
}

/// What is counted by route alone.
#[derive(Default)]
pub(super) struct RouteCell {
    pub(super) in_flight: i64,
    pub(super) truncated: u64,
    pub(super) duration: Histogram,
    pub(super) first_byte: Histogram,
}

/// A word of the program's own (an endpoint, a code), told apart by where it lies: two places of one word meet again
/// when the deltas are merged.
#[derive(Clone, Copy)]
pub(super) struct Word(pub(super) &'static str);

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Word {}

impl std::hash::Hash for Word {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).cast::<u8>().hash(state);
    }
}

impl Table {
    /// Counts a request that enters a route.
    pub(super) fn begin(&mut self, route: Label) {
        self.routes.entry(route).or_default().in_flight += 1;
    }

    /// Counts a request that has ended.
    pub(super) fn count(&mut self, record: &Record, duration: Duration, now: u64) {
        let method = MethodLabel::of(record.method.as_ref());
        self.count_request(record, method, now);
        self.count_endpoint(record, method);
        self.count_route(record, duration);
        self.count_exceptions(record);
    }

    fn count_request(&mut self, record: &Record, method: MethodLabel, now: u64) {
        let Record { route, credential, status, .. } = *record;
        let series = RequestSeries { route, credential, key: record.key.in_metrics(), method, status };
        let cell = self.requests.entry(series).or_default();
        cell.count += 1;
        cell.request_bytes += record.request_bytes;
        cell.response_bytes += record.response_bytes;
        cell.last = cell.last.max(now);
    }

    fn count_endpoint(&mut self, record: &Record, method: MethodLabel) {
        let endpoint = Word(record.endpoint.unwrap_or(NO_ENDPOINT));
        let status_class = (record.status / 100).min(9) as u8;
        let series = EndpointSeries { credential: record.credential, endpoint, method, status_class };
        *self.endpoints.entry(series).or_default() += 1;
    }

    fn count_route(&mut self, record: &Record, duration: Duration) {
        if let Some(began) = record.began.filter(|began| *began != record.route) {
            self.routes.entry(began).or_default().in_flight -= 1;
        }
        let cell = self.routes.entry(record.route).or_default();
        cell.in_flight -= i64::from(record.began == Some(record.route));
        cell.truncated += u64::from(record.truncated);
        cell.duration.observe(duration);
        if let Some(first_byte) = record.upstream_first_byte {
            cell.first_byte.observe(first_byte);
        }
    }

    fn count_exceptions(&mut self, record: &Record) {
        if let (Some(code), Answerer::Gateway) = (record.code, record.origin) {
            *self.refused.entry((record.route, Word(code))).or_default() += 1;
        }
        for retry in record.retries.iter() {
            *self.retries.entry((record.route, Word(retry.as_str()))).or_default() += 1;
        }
        if !record.paced.is_zero() {
            self.paced.entry(record.credential).or_default().observe(record.paced);
        }
        if record.redactions > 0 {
            *self.redactions.entry(record.credential).or_default() += u64::from(record.redactions);
        }
    }
}

/// The endpoint of a request that the catalogue does not name, or that was not looked up.
const NO_ENDPOINT: &str = "none";
