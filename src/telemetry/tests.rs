//! Counting over several cores, the bound on labels, and records on their way to stdout.

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use http::Method;

use super::*;
use crate::id::RequestId;

/// A request to `/sales/api/v1/me/` that was answered with 200 and named nobody.
pub(super) fn record() -> Record {
    Record {
        started: Instant::now(),
        began: None,
        request_id: RequestId::from_bits(7),
        client: Client::Address("127.0.0.1".parse().unwrap()),
        key: Label::NONE,
        route: Label::NONE,
        credential: Label::NONE,
        method: Some(Method::GET),
        target: Some("/sales/api/v1/me/?_fields=id".parse().unwrap()),
        endpoint: None,
        scope: None,
        status: 200,
        code: None,
        origin: Answerer::Gateway,
        attempts: 1,
        paced: Duration::ZERO,
        upstream_first_byte: None,
        request_bytes: 0,
        response_bytes: 0,
        user_agent: None,
        traceparent: None,
        upstream_trace_id: None,
        retries: Retries::default(),
        redactions: 0,
        truncated: false,
    }
}

fn silent(max_key_series: usize) -> Arc<Telemetry> {
    Telemetry::new(Options { max_key_series, access: Access::Off }, io::sink())
}

fn recording(out: impl Write + Send + 'static) -> Arc<Telemetry> {
    Telemetry::new(Options { max_key_series: 9, access: Access::Json }, out)
}

/// The value of a series, given as it is rendered.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[track_caller]
fn assert_value(page: &str, series: &str, expected: f64) {
    assert_eq!(value(page, series), Some(expected), "{series}\n{page}");
}

#[test]
fn what_two_cores_counted_is_added_up_scrape_after_scrape() {
    let telemetry = silent(9);
    let mut record = record();
    record.key = telemetry.key("reporting");
    (record.route, record.credential) = (telemetry.route("sales"), telemetry.credential("close"));
    (record.request_bytes, record.response_bytes) = (10, 100);
    record.endpoint = Some("me");
    let cores = [telemetry.core(), telemetry.core()];
    let requests =
        r#"closegate_requests_total{route="sales",credential="close",key="reporting",method="GET",status="200"}"#;
    for scrapes in 1..=2 {
        cores.iter().for_each(|core| core.finish(&record));
        let page = telemetry.render();
        let total = f64::from(2 * scrapes);
        assert_value(&page, requests, total);
        assert_value(&page, r#"closegate_request_bytes_total{route="sales",key="reporting"}"#, 10.0 * total);
        assert_value(&page, r#"closegate_response_bytes_total{route="sales",key="reporting"}"#, 100.0 * total);
        assert_value(&page, r#"closegate_request_duration_seconds_count{route="sales"}"#, total);
        let endpoint = r#"{credential="close",endpoint="me",method="GET",status_class="2xx"}"#;
        assert_value(&page, &format!("closegate_endpoint_requests_total{endpoint}"), total);
    }
    assert_value(&telemetry.render(), requests, 4.0);
}

#[test]
fn a_request_is_in_flight_until_its_record() {
    let telemetry = silent(9);
    let (one, other) = (telemetry.core(), telemetry.core());
    let series = r#"closegate_in_flight_requests{route="sales"}"#;
    let mut record = record();
    record.route = telemetry.route("sales");
    one.begin(record.route);
    one.begin(record.route);
    assert_value(&telemetry.render(), series, 2.0);
    record.began = Some(record.route);
    other.finish(&record);
    assert_value(&telemetry.render(), series, 1.0);
    record.route = Label::NONE;
    one.finish(&record);
    assert_value(&telemetry.render(), series, 0.0);
}

#[test]
fn exceptions_are_counted_where_they_belong() {
    let telemetry = silent(9);
    let core = telemetry.core();
    let mut record = record();
    (record.route, record.credential) = (telemetry.route("sales"), telemetry.credential("close"));
    record.retries.add(Retry::Closed);
    record.retries.add(Retry::RateLimited);
    (record.redactions, record.truncated) = (3, true);
    record.origin = Answerer::Upstream;
    core.finish(&record);
    (record.status, record.code, record.origin) = (403, Some("path_denied"), Answerer::Gateway);
    (record.retries, record.redactions, record.truncated) = (Retries::default(), 0, false);
    core.finish(&record);
    let page = telemetry.render();
    for reason in ["closed", "rate_limited"] {
        assert_value(&page, &format!("closegate_upstream_retries_total{{route=\"sales\",reason=\"{reason}\"}}"), 1.0);
    }
    assert_eq!(page.matches("\nclosegate_upstream_retries_total{").count(), 2, "{page}");
    assert_value(&page, r#"closegate_redactions_total{credential="close"}"#, 3.0);
    assert_value(&page, r#"closegate_truncated_responses_total{route="sales"}"#, 1.0);
    assert_value(&page, r#"closegate_refused_requests_total{route="sales",code="path_denied"}"#, 1.0);
    assert_eq!(page.matches("\nclosegate_refused_requests_total{").count(), 1, "{page}");
}

#[test]
fn keys_beyond_the_bound_share_a_series() {
    let telemetry = silent(2);
    let core = telemetry.core();
    let mut record = record();
    for name in ["one", "two", "three", "four", "one"] {
        record.key = telemetry.key(name);
        core.finish(&record);
    }
    telemetry.key_expiries(["one", "two", "three"].map(|name| (telemetry.key(name), Timestamp::UNIX_EPOCH)));
    telemetry.keys_stand(["one", "two", "three"].map(|name| (telemetry.key(name), None)));
    record.key = Label::ANONYMOUS;
    core.finish(&record);
    let page = telemetry.render();
    for (key, count) in [("one", 2.0), ("two", 1.0), ("_other", 2.0), ("anonymous", 1.0)] {
        let labels = format!(r#"{{route="none",credential="none",key="{key}",method="GET",status="200"}}"#);
        assert_value(&page, &format!("closegate_requests_total{labels}"), count);
    }
    assert!(!page.contains("three") && !page.contains("four"), "{page}");
    assert_eq!(page.matches("\nclosegate_key_last_used_timestamp_seconds{").count(), 2, "{page}");
    assert_eq!(page.matches("\nclosegate_key_expiry_timestamp_seconds{").count(), 2, "{page}");
}

#[test]
fn of_a_key_that_is_gone_it_is_not_shown_when_it_was_used() {
    let telemetry = silent(9);
    telemetry.key_last_used("gone", 7);
    telemetry.key_last_used("there", 8);
    telemetry.keys_stand([(telemetry.key("there"), None)]);
    let page = telemetry.render();
    assert_value(&page, r#"closegate_key_last_used_timestamp_seconds{key="there"}"#, 8.0);
    assert!(!page.contains("gone"), "{page}");
}

#[test]
fn when_a_key_was_made_is_shown_or_when_it_was_first_noted() {
    let (telemetry, at) = (silent(1), Timestamp::from_second(1_000).unwrap());
    let [made, beyond] = ["made", "beyond"].map(|name| telemetry.key(name));
    let created = r#"closegate_key_created_timestamp_seconds{key="made"}"#;
    telemetry.keys_stand([(made, Some(at)), (beyond, Some(at))]);
    let page = telemetry.render();
    assert_value(&page, created, 1_000.0);
    assert!(!page.contains("beyond"), "{page}");
    // A key that a file declares, and that goes on over a reload.
    telemetry.keys_stand([]);
    assert!(!telemetry.render().contains(created));
    let before = Timestamp::now().as_second();
    telemetry.keys_stand([(made, None)]);
    let shown = value(&telemetry.render(), created).unwrap();
    assert!((before as f64..=Timestamp::now().as_second() as f64).contains(&shown), "{shown}");
    lock(&telemetry.meters).keys.insert(made, 7);
    telemetry.keys_stand([(made, None)]);
    assert_value(&telemetry.render(), created, 7.0);
}

#[test]
fn counters_that_alerts_watch_are_there_before_they_count() {
    let telemetry = silent(9);
    telemetry.credential_meters(telemetry.credential("sales"));
    let grant = telemetry.credential_meters(telemetry.credential("grant"));
    grant.token_expiry.store(7, Ordering::Relaxed);
    let page = telemetry.render();
    for name in ["rejections", "promotions"] {
        assert_value(&page, &format!("closegate_credential_{name}_total{{credential=\"sales\"}}"), 0.0);
    }
    assert_value(&page, r#"closegate_redactions_total{credential="sales"}"#, 0.0);
    for outcome in ["success", "failure", "refused"] {
        let labels = format!("{{credential=\"grant\",outcome=\"{outcome}\"}}");
        assert_value(&page, &format!("closegate_credential_refreshes_total{labels}"), 0.0);
    }
    assert_eq!(page.matches("\nclosegate_credential_refreshes_total{").count(), 3, "{page}");
}

#[test]
fn meters_are_read_as_they_stand() {
    let telemetry = silent(9);
    let sales = telemetry.credential("sales");
    let upstream = telemetry.upstream("api.close.com");
    upstream.active.fetch_add(2, Ordering::Relaxed);
    telemetry.upstream("api.close.com").active.fetch_sub(1, Ordering::Relaxed);
    telemetry.listener("default").fetch_add(3, Ordering::Relaxed);
    let meters = telemetry.credential_meters(sales);
    telemetry.stand([sales]);
    assert_value(&telemetry.render(), r#"closegate_credential_up{credential="sales"}"#, 1.0);
    meters.up.store(false, Ordering::Relaxed);
    meters.rejections.fetch_add(1, Ordering::Relaxed);
    let page = telemetry.render();
    assert_value(&page, r#"closegate_upstream_connections{upstream="api.close.com",state="active"}"#, 1.0);
    assert_value(&page, r#"closegate_upstream_connections{upstream="api.close.com",state="idle"}"#, 0.0);
    assert_value(&page, r#"closegate_connections{listener="default"}"#, 3.0);
    assert_value(&page, r#"closegate_credential_up{credential="sales"}"#, 0.0);
    assert_value(&page, r#"closegate_credential_rejections_total{credential="sales"}"#, 1.0);
    assert_value(&page, "closegate_access_records_dropped_total", 0.0);
    telemetry.stand([]);
    let page = telemetry.render();
    assert!(!page.contains("closegate_credential_up"), "a credential that is removed has no state");
    assert_value(&page, r#"closegate_credential_rejections_total{credential="sales"}"#, 1.0);
}

#[test]
fn reloads_are_counted_by_how_they_ended() {
    let telemetry = silent(9);
    let state = |page: &str| value(page, "closegate_config_last_reload_successful");
    let at = |page: &str| value(page, "closegate_config_last_reload_success_timestamp_seconds");
    let page = telemetry.render();
    assert!((state(&page), at(&page) > Some(1.7e9)) == (Some(1.0), true), "the start was one without a fault: {page}");
    telemetry.reloaded(Reload::Failure);
    let failed = telemetry.render();
    assert_eq!((state(&failed), at(&failed)), (Some(0.0), at(&page)));
    telemetry.reloaded(Reload::Success);
    telemetry.reloaded(Reload::Success);
    let page = telemetry.render();
    assert!(state(&page) == Some(1.0) && at(&page) >= at(&failed));
    assert_value(&page, r#"closegate_config_reloads_total{outcome="success"}"#, 2.0);
    assert_value(&page, r#"closegate_config_reloads_total{outcome="failure"}"#, 1.0);
}

#[test]
fn concurrent_scrapes_lose_nothing() {
    let telemetry = silent(9);
    let core = telemetry.core();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..20).for_each(|_| drop(telemetry.render())));
        }
        (0..500).for_each(|_| core.finish(&record()));
    });
    assert_value(&telemetry.render(), r#"closegate_request_duration_seconds_count{route="none"}"#, 500.0);
}

/// Hands on what is written, piece by piece.
struct Pieces(Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        drop(self.0.send(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_record_reaches_stdout_without_being_asked_for() {
    let (sender, written) = channel();
    let telemetry = recording(Pieces(sender));
    let core = telemetry.core();
    for _ in 0..2 {
        core.finish(&record());
        let line = written.recv().unwrap();
        assert!(line.starts_with(b"{\"time\":\"20") && line.ends_with(b"}\n"), "{}", line.escape_ascii());
    }
}

#[test]
fn a_flush_writes_what_lies_in_every_core() {
    let (sender, written) = channel();
    let telemetry = recording(Pieces(sender));
    let cores = [telemetry.core(), telemetry.core()];
    for core in &cores {
        (0..5).for_each(|_| core.finish(&record()));
    }
    telemetry.flush();
    assert_eq!(lines(&written), 10);
}

#[test]
fn the_last_records_are_written_when_telemetry_ends() {
    let (sender, written) = channel();
    let telemetry = recording(Pieces(sender));
    telemetry.core().finish(&record());
    drop(telemetry);
    let rest: Vec<u8> = written.into_iter().flatten().collect();
    assert_eq!(rest.iter().filter(|byte| **byte == b'\n').count(), 1);
}

#[test]
fn access_can_be_off() {
    let (sender, written) = channel();
    let telemetry = Telemetry::new(Options { max_key_series: 9, access: Access::Off }, Pieces(sender));
    telemetry.core().finish(&record());
    telemetry.flush();
    drop(telemetry);
    assert!(written.recv().is_err(), "nothing was written, and nobody keeps the writer");
}

#[test]
fn an_event_is_one_line_whatever_access_records_are_like() {
    for access in [Access::Json, Access::Text, Access::Off] {
        let (sender, written) = channel();
        let telemetry = Telemetry::new(Options { max_key_series: 9, access }, Pieces(sender));
        let detail = serde_json::json!({ "why": "two\nlines" });
        let time = jiff::Timestamp::UNIX_EPOCH;
        let (event, from) = ("key.revoke", Some("192.0.2.7"));
        telemetry.happened(&Happening { time, event, actor: "ops", subject: "tool", from, detail: &detail });
        telemetry.flush();
        drop(telemetry);
        let text = String::from_utf8(written.into_iter().flatten().collect()).unwrap();
        let expected = r#"{"time":"1970-01-01T00:00:00Z","event":"key.revoke","actor":"ops","subject":"tool","from":"192.0.2.7","detail":{"why":"two\nlines"}}"#;
        assert_eq!(text, format!("{expected}\n"));
    }
}

/// Says when it is first written to, and lets nothing pass before it is told to.
struct Blocked {
    reached: Option<Sender<()>>,
    gate: Receiver<()>,
    pieces: Pieces,
}

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(reached) = self.reached.take() {
            reached.send(()).unwrap();
            self.gate.recv().unwrap();
        }
        self.pieces.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_blocked_stdout_drops_records_and_counts_them() {
    let (sender, written) = channel();
    let ((at, reached), (open, gate)) = (channel(), channel());
    let telemetry = recording(Blocked { reached: Some(at), gate, pieces: Pieces(sender) });
    let core = telemetry.core();
    core.finish(&record());
    reached.recv().unwrap();
    let finished = 10_000;
    (1..finished).for_each(|_| core.finish(&record()));
    let dropped = value(&telemetry.render(), "closegate_access_records_dropped_total").unwrap();
    assert!(dropped > 0.0 && dropped < f64::from(finished), "{dropped}");
    open.send(()).unwrap();
    telemetry.flush();
    assert_eq!(lines(&written) as f64 + dropped, f64::from(finished), "each record is a line or a counted drop");
}

/// Takes a few bytes, then fails, then works again.
struct Failing {
    writes: usize,
    pieces: Pieces,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        match self.writes {
            1 => Err(io::ErrorKind::Interrupted.into()),
            2 => self.pieces.write(&bytes[..10]),
            3 => Err(io::ErrorKind::StorageFull.into()),
            _ => self.pieces.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_failed_write_counts_its_records_and_spoils_no_later_line() {
    let (sender, written) = channel();
    let telemetry = recording(Failing { writes: 0, pieces: Pieces(sender) });
    let core = telemetry.core();
    core.finish(&record());
    telemetry.flush();
    assert_value(&telemetry.render(), "closegate_access_records_dropped_total", 1.0);
    core.finish(&record());
    telemetry.flush();
    let text: Vec<u8> = written.try_iter().flatten().collect();
    let last = text.strip_suffix(b"\n").unwrap().rsplit(|byte| *byte == b'\n').next().unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(last).is_ok(), "{}", last.escape_ascii());
    assert_value(&telemetry.render(), "closegate_access_records_dropped_total", 1.0);
}

fn lines(written: &Receiver<Vec<u8>>) -> usize {
    written.try_iter().flatten().filter(|byte| *byte == b'\n').count()
}
