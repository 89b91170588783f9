//! Lines of every kind of record, hostile ones among them.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::super::names::Names;
use super::super::record::Answerer;
use super::super::tests::record;
use super::*;
use crate::id::RequestId;

/// Writes the record with `key`, `route` and `credential` named `reporting` and `sales`.
fn written(write: fn(&mut Vec<u8>, &Record, &Setting<'_>), record: &mut Record) -> String {
    let names = Arc::new(Names::new(0));
    (record.key, record.route, record.credential) =
        (names.key("reporting"), names.label("sales"), names.label("sales"));
    let mut known = KnownNames::of(names);
    known.learn([record.key, record.route, record.credential]);
    let setting = Setting { time: b"2026-11-23T20:56:00.123Z", duration: Duration::from_micros(12_045), names: &known };
    let mut lines = Vec::new();
    write(&mut lines, record, &setting);
    String::from_utf8(lines).unwrap()
}

fn json(record: &mut Record) -> Value {
    let line = written(write_json, record);
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap()
}

#[test]
fn a_line_holds_the_fields_of_the_contract_in_order() {
    let mut record = record();
    record.request_id = RequestId::adopt(&HeaderValue::from_static("r-1")).unwrap();
    record.client = Client::Address("::ffff:192.0.2.130".parse().unwrap());
    record.target = Some("/sales/api/v1/lead/?query=secret".parse().unwrap());
    (record.endpoint, record.scope) = (Some("lead"), Some("read"));
    (record.status, record.code, record.origin) = (429, Some("upstream_rate_limited"), Answerer::Gateway);
    (record.attempts, record.paced) = (2, Duration::from_secs(5));
    record.upstream_first_byte = Some(Duration::from_micros(9_200));
    (record.request_bytes, record.response_bytes) = (17, 1 << 40);
    record.user_agent = Some(HeaderValue::from_static("curl/8"));
    record.traceparent = Some(HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    record.upstream_trace_id = Some(HeaderValue::from_static("t9"));
    let expected = concat!(
        r#"{"time":"2026-11-23T20:56:00.123Z","request_id":"r-1","client_addr":"192.0.2.130","key":"reporting","#,
        r#""route":"sales","credential":"sales","method":"GET","path":"/sales/api/v1/lead/","endpoint":"lead","#,
        r#""scope":"read","status":429,"code":"upstream_rate_limited","origin":"gateway","attempts":2,"paced_ms":5000,"#,
        r#""upstream_ms":9.200,"duration_ms":12.045,"request_bytes":17,"response_bytes":1099511627776,"#,
        r#""user_agent":"curl/8","trace_id":"0af7651916cd43dd8448eb211c80319c","upstream_trace_id":"t9"}"#,
        "\n"
    );
    assert_eq!(written(write_json, &mut record), expected);
}

#[test]
fn what_is_absent_is_null() {
    let mut record = record();
    (record.method, record.target) = (None, None);
    record.client = Client::Address("2001:db8::1".parse().unwrap());
    let line = json(&mut record);
    assert_eq!(line["client_addr"], "2001:db8::1");
    let nulls = ["method", "path", "endpoint", "scope", "code", "upstream_ms", "user_agent", "trace_id"];
    for field in nulls.iter().chain(&["upstream_trace_id"]) {
        assert_eq!(line[field], Value::Null, "{field}");
    }
    let names = Arc::new(Names::new(0));
    let mut known = KnownNames::of(names);
    known.learn([Label::NONE, Label::ANONYMOUS, Label::NONE]);
    record.key = Label::ANONYMOUS;
    (record.route, record.credential) = (Label::NONE, Label::NONE);
    let mut lines = Vec::new();
    write_json(&mut lines, &record, &Setting { time: &[b'0'; 24], duration: Duration::ZERO, names: &known });
    let line: Value = serde_json::from_slice(&lines).unwrap();
    let said = [&line["key"], &line["route"], &line["credential"], &line["duration_ms"]];
    assert_eq!(said, [&json!("anonymous"), &Value::Null, &Value::Null, &json!(0)]);
}

#[test]
fn a_hostile_user_agent_stays_inside_its_string() {
    let mut record = record();
    for (hostile, shown) in [
        (&b"a\"b\\c"[..], "a\"b\\c"),
        (b"tab\there", "tab\there"),
        (b"latin \xe9 \xff", "latin \u{fffd} \u{fffd}"),
        ("snow \u{2603} \u{9b}31m".as_bytes(), "snow \u{2603} \u{9b}31m"),
        (b"\",\"status\":200,\"x\":\"", "\",\"status\":200,\"x\":\""),
    ] {
        record.user_agent = Some(HeaderValue::from_bytes(hostile).unwrap());
        assert_eq!(json(&mut record)["user_agent"], shown);
        let line = written(write_json, &mut record);
        assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn keys_are_masked_wherever_a_client_puts_them() {
    let mut record = record();
    record.target = Some("/sales/api_0123456789.abcdef/x?api_0123456789abcdef".parse().unwrap());
    record.user_agent = Some(HeaderValue::from_static("x CGK_k1_0123456789abcdef"));
    record.upstream_trace_id = Some(HeaderValue::from_static("api_0123456789abcdef"));
    record.traceparent = Some(HeaderValue::from_static("00-api_0123456789abcdef0123456789ab-b7ad6b7169203331-01"));
    record.method = Some(Method::from_bytes(b"cgk_k1_0123456789abcdef").unwrap());
    for write in [write_json, write_text] {
        let line = written(write, &mut record);
        assert!(!line.contains("0123456789"), "{line}");
    }
    let line = json(&mut record);
    assert_eq!(line["path"], "/sales/api_***/x");
    assert_eq!(line["user_agent"], "x cgk_***");
    assert_eq!(line["method"], "_OTHER");
    assert_eq!(line["trace_id"], Value::Null);
}

#[test]
fn only_a_valid_trace_id_is_taken() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    for (value, taken) in [
        (format!("00-{id}-b7ad6b7169203331-01"), Some(id)),
        (format!("01-{id}-b7ad6b7169203331-01-later"), Some(id)),
        (format!("ff-{id}-b7ad6b7169203331-01"), None),
        (format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()), None),
        (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None),
        (format!("00-{id}-b7ad6b7169203331"), None),
        (format!("00-{id}0-b7ad6b7169203331-01"), None),
        (id.to_owned(), None),
    ] {
        assert_eq!(trace_id(&HeaderValue::from_str(&value).unwrap()), taken, "{value}");
    }
}

#[test]
fn people_get_a_short_line() {
    let mut record = record();
    record.request_id = RequestId::adopt(&HeaderValue::from_static("r-1")).unwrap();
    (record.status, record.code) = (403, Some("path_denied"));
    let line = written(write_text, &mut record);
    let expected = "2026-11-23T20:56:00.123Z 403 GET /sales/api/v1/me/ 12.045ms key=reporting route=sales credential=sales \
                    origin=gateway code=path_denied bytes=0/0 client=127.0.0.1 id=r-1\n";
    assert_eq!(line, expected);
}
