//! Every answer of the gateway's own that this version can cause: its status, its code, and the shape clients rely on.

use std::sync::{Mutex, mpsc};

use serde_json::Value;

use crate::origin::Origin;
use crate::raw::{Answer, find};
use crate::world::{INJECTED, KEY, OTHER_KEY, SECRET, World, gateway};

/// The error types of RFC 9209 2.3.
const REGISTERED: [&str; 32] = [
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
];

/// Asserts that an answer is the gateway's own, with this status and code and everything that goes with them; gives
/// its body.
#[track_caller]
pub(crate) fn told(answer: &Answer, status: u16, code: &str) -> Value {
    told_head(answer, status, code);
    assert!(answer.whole, "{answer:?}");
    let body = answer.json();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&body), ["closegate", "error"], "{body}");
    assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    assert_eq!(names(&body["closegate"]), ["code", "hint", "request_id"], "{body}");
    assert!(body["closegate"]["hint"].is_string(), "{body}");
    assert_eq!(body["closegate"]["code"], code);
    assert_eq!(body["closegate"]["request_id"].as_str(), answer.header("closegate-request-id"));
    keeps_quiet(&answer.body);
    body
}

/// As [`told`], for a 429: with everything that some client of Close reads (close-api.md 6.2).
#[track_caller]
pub(crate) fn told_limit(answer: &Answer, code: &str) -> Value {
    told_head(answer, 429, code);
    let body = answer.json();
    assert_eq!(body["closegate"]["code"], code);
    assert_eq!(body["closegate"]["request_id"].as_str(), answer.header("closegate-request-id"));
    let seconds = body["rate_reset"].as_u64().unwrap();
    assert_eq!(answer.header("retry-after"), Some(&*seconds.to_string()));
    for fields in [&body, &body["error"]] {
        assert_eq!(fields["rate_reset"], seconds, "{body}");
        assert!(fields["message"].is_string() && fields["rate_limit_type"].is_string(), "{body}");
        assert!(fields["rate_limit"].is_u64() && fields["rate_window"].as_u64() >= Some(1), "{body}");
    }
    let limit = &body["rate_limit"];
    assert_eq!(answer.header("ratelimit"), Some(&*format!("limit={limit}, remaining=0, reset={seconds}")));
    keeps_quiet(&answer.body);
    body
}

/// As [`told`], for an answer to HEAD.
#[track_caller]
pub(crate) fn told_head(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{answer:?}");
    let proxy_status = answer.header("proxy-status").unwrap();
    let error = proxy_status.strip_prefix("closegate; error=").unwrap();
    let (error, details) = error.split_once("; ").unwrap();
    assert!(REGISTERED.contains(&error), "{proxy_status}");
    assert_eq!(details, format!("details=\"{code}\""));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("closegate-request-id").is_some_and(|id| !id.is_empty()));
    for once in ["closegate-error", "proxy-status", "content-type", "closegate-request-id", "retry-after"] {
        assert!(answer.headers.iter().filter(|(name, _)| name == once).count() <= 1, "{once}: {answer:?}");
    }
    let retry_after = answer.header("retry-after").map(|value| value.parse::<u64>().unwrap());
    assert_eq!(retry_after.is_some(), matches!(status, 429 | 503), "{answer:?}");
    assert!(retry_after.is_none_or(|seconds| seconds >= 1));
    let challenge = (status == 401).then_some("Basic realm=\"closegate\"");
    assert_eq!(answer.header("www-authenticate"), challenge);
    for absent in ["server", "via", "x-powered-by", "access-control-allow-origin", "closegate-credential"] {
        assert_eq!(answer.header(absent), None, "{absent}");
    }
    for (_, value) in &answer.headers {
        keeps_quiet(value);
    }
}

/// security.md 27: no secret, no key, no address, no version.
#[track_caller]
fn keeps_quiet(text: &[u8]) {
    let injected = INJECTED.strip_prefix("Basic ").unwrap();
    for told in [SECRET, injected, KEY, OTHER_KEY, "127.0.0.1:", env!("CARGO_PKG_VERSION")] {
        assert!(find(text, told.as_bytes()).is_none(), "{told}: {}", String::from_utf8_lossy(text));
    }
}

/// A GET with the key of the tests, on `/sales`.
fn ask(world: &World) -> Answer {
    world.get("/sales/api/v1/lead/", "")
}

/// The record of the only request so far.
fn only_record(world: &World) -> Value {
    let records = world.records.wait_for(1);
    assert_eq!(records.len(), 1);
    records[0].clone()
}

#[test]
fn rows_that_the_request_itself_causes() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .set("listen", "max_body = \"16B\"\nmax_uri_bytes = \"64B\"\nmax_headers = 8\nheader_timeout = \"300ms\"\nbody_timeout = \"300ms\"")
        .set("keys.main", "deny = [\"DELETE /**\"]")
        .key("\"sales\"")
        .start();
    let keyed = format!("Host: localhost\r\nClosegate-Key: {KEY}\r\n");
    let long = "x".repeat(64);
    let many = "X-A: b\r\n".repeat(8);
    let rows = [
        (format!("GET /sales/ HTTP/1.1\r\n{keyed}Host: two\r\n\r\n"), 400, "request_malformed", "http_request_error"),
        (format!("GET /sales/%2e HTTP/1.1\r\n{keyed}\r\n"), 400, "path_not_canonical", "http_request_denied"),
        (
            format!("GET /sales/ HTTP/1.1\r\n{keyed}Closegate-Key: a\r\n\r\n"),
            400,
            "key_ambiguous",
            "http_request_denied",
        ),
        ("GET /sales/ HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 401, "key_missing", "http_request_denied"),
        (
            format!("GET /sales/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}x\r\n\r\n"),
            401,
            "key_invalid",
            "http_request_denied",
        ),
        (format!("DELETE /sales/ HTTP/1.1\r\n{keyed}\r\n"), 403, "path_denied", "http_request_denied"),
        (
            format!("GET /sales/ HTTP/1.1\r\n{keyed}Origin: https://evil.example\r\n\r\n"),
            403,
            "origin_refused",
            "http_request_denied",
        ),
        (format!("GET /sales/oauth2/token/ HTTP/1.1\r\n{keyed}\r\n"), 403, "secrets_endpoint", "http_request_denied"),
        (format!("GET /nowhere/ HTTP/1.1\r\n{keyed}\r\n"), 404, "no_route", "destination_not_found"),
        (format!("TRACE /sales/ HTTP/1.1\r\n{keyed}\r\n"), 405, "method_refused", "http_request_denied"),
        (format!("CONNECT api.close.com:443 HTTP/1.1\r\n{keyed}\r\n"), 405, "method_refused", "http_request_denied"),
        (format!("GET /sales/ HTTP/1.1\r\n{keyed}"), 408, "request_timeout", "http_request_error"),
        (
            format!("POST /sales/ HTTP/1.1\r\n{keyed}Content-Length: 2\r\n\r\na"),
            408,
            "request_timeout",
            "http_request_error",
        ),
        (
            format!("POST /sales/ HTTP/1.1\r\n{keyed}Content-Length: 17\r\n\r\n"),
            413,
            "body_too_large",
            "http_request_denied",
        ),
        (format!("GET /sales/{long} HTTP/1.1\r\n{keyed}\r\n"), 414, "uri_too_long", "http_request_denied"),
        (
            format!("GET /sales/ HTTP/1.1\r\nHost: evil.example\r\nClosegate-Key: {KEY}\r\n\r\n"),
            421,
            "host_refused",
            "http_request_denied",
        ),
        (format!("GET /sales/ HTTP/1.1\r\n{keyed}{many}\r\n"), 431, "headers_too_large", "http_request_denied"),
    ];
    for (number, (request, status, code, error)) in rows.iter().enumerate() {
        let answer = world.ask(request);
        told(&answer, *status, code);
        assert_eq!(answer.header("proxy-status"), Some(&*format!("closegate; error={error}; details=\"{code}\"")));
        let record = &world.records.wait_for(number + 1)[number];
        assert_eq!((&record["status"], &record["code"]), (&(*status).into(), &(*code).into()), "{record}");
        assert_eq!(record["origin"], "gateway");
        assert_eq!(record["request_id"].as_str(), answer.header("closegate-request-id"));
        assert_eq!(record["response_bytes"], answer.body.len());
    }
    let whole: Vec<_> = origin.seen();
    assert!(whole.is_empty(), "{whole:?}");
    assert_eq!(world.metric("closegate_refused_requests_total{route=\"none\",code=\"key_missing\"}"), 1.0);
    assert_eq!(world.metric("closegate_refused_requests_total{route=\"sales\",code=\"path_denied\"}"), 1.0);
}

#[test]
fn an_upstream_that_takes_no_connection_is_503() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = gateway(port).key("\"sales\"").start();
    let answer = ask(&world);
    told(&answer, 503, "upstream_unreachable");
    assert_eq!(
        answer.header("proxy-status"),
        Some("closegate; error=connection_refused; details=\"upstream_unreachable\"")
    );
    assert_eq!(only_record(&world)["origin"], "gateway");
}

#[test]
fn a_name_that_does_not_resolve_is_503() {
    let world = gateway(Origin::plain().address)
        .replace("upstream", "url = \"https://nowhere.invalid\"")
        .key("\"sales\"")
        .start();
    let answer = ask(&world);
    told(&answer, 503, "upstream_unreachable");
    assert_eq!(answer.header("proxy-status"), Some("closegate; error=dns_error; details=\"upstream_unreachable\""));
}

#[test]
fn an_upstream_that_speaks_no_tls_is_502() {
    let origin = Origin::start(|conversation| {
        conversation.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        conversation.wait_for_end();
    });
    let world = gateway(origin.address)
        .replace("upstream", &format!("url = \"https://{}\"", origin.address))
        .key("\"sales\"")
        .start();
    told(&ask(&world), 502, "upstream_tls");
    assert!(origin.seen().is_empty());
}

#[test]
fn an_upstream_that_shakes_no_hands_is_504() {
    let origin = Origin::start(|conversation| conversation.wait_for_end());
    let world = gateway(origin.address)
        .replace("upstream", &format!("url = \"https://{}\"\ntls_timeout = \"300ms\"", origin.address))
        .key("\"sales\"")
        .start();
    told(&ask(&world), 504, "upstream_timeout");
}

#[test]
fn an_upstream_that_does_not_answer_is_504() {
    let origin = Origin::start(|conversation| {
        conversation.request();
        conversation.wait_for_end();
    });
    let world = gateway(origin.address).set("upstream", "response_timeout = \"300ms\"").key("\"sales\"").start();
    let answer = ask(&world);
    told(&answer, 504, "upstream_timeout");
    assert_eq!(
        answer.header("proxy-status"),
        Some("closegate; error=http_response_timeout; details=\"upstream_timeout\"")
    );
    origin.wait_for_ends(1);
}

#[test]
fn an_upstream_that_closes_before_an_answer_is_502() {
    let origin = Origin::start(|conversation| {
        conversation.request();
        conversation.shutdown();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = world.ask(format!(
        "POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nContent-Length: 2\r\n\r\n{{}}"
    ));
    told(&answer, 502, "upstream_closed");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn an_answer_that_is_none_is_502() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Go\r\n\r\n",
    ] {
        let origin = Origin::answering(answer);
        let world = gateway(origin.address).key("\"sales\"").start();
        told(&ask(&world), 502, "upstream_invalid");
    }
}

#[test]
fn a_request_that_finds_no_connection_left_is_503() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |conversation| {
        conversation.request();
        held.lock().unwrap().recv().unwrap();
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let world = gateway(origin.address).set("upstream", "max_connections = 1").key("\"sales\"").start();
    let mut first = world.connect();
    first.send(format!("GET /sales/a HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
    origin.wait_for(1);
    told(&ask(&world), 503, "overloaded");
    release.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
}

#[test]
fn a_valid_request_id_of_the_client_is_adopted() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    for (path, code) in [("/sales/api/v1/me/", None), ("/nowhere", Some("no_route"))] {
        for (given, adopted) in
            [("req_1.a:B-2", true), ("a b", false), ("a\"b", false), (&"x".repeat(129), false), ("", false)]
        {
            let answer = world.get(path, &format!("X-Request-Id: {given}\r\n"));
            assert_eq!(answer.code(), code);
            let id = answer.header("closegate-request-id").unwrap();
            assert_eq!(id == given, adopted, "{given}");
            assert!(adopted || id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }
    let records = world.records.wait_for(10);
    assert_eq!(records.iter().filter(|record| record["request_id"] == "req_1.a:B-2").count(), 2);
    assert_eq!(origin.seen()[0].values("x-request-id"), ["req_1.a:B-2"], "it is the client's own header as well");
}

#[test]
fn a_key_is_adopted_as_no_request_id() {
    let world = gateway(Origin::plain().address).key("\"sales\"").start();
    let answer = world.get("/sales/api/v1/me/", &format!("X-Request-Id: {KEY}\r\n"));
    assert_ne!(answer.header("closegate-request-id"), Some(KEY));
    world.records.wait_for(1);
    assert!(find(&world.records.bytes(), KEY.as_bytes()).is_none());
}

#[test]
fn an_upstreams_answer_never_looks_like_the_gateways() {
    for status in [400, 401, 403, 404, 429, 500, 502, 503, 504] {
        let origin = Origin::answering(format!(
            "HTTP/1.1 {status} X\r\nclosegate-error: internal\r\nproxy-status: closegate; error=proxy_internal_error\r\n\
             closegate-credential: suspect\r\nclosegate-request-id: theirs\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
        let world = gateway(origin.address).key("\"sales\"").start();
        let answer = ask(&world);
        assert_eq!((answer.status, answer.code(), answer.header("proxy-status")), (status, None, None));
        assert_eq!((answer.text().as_str(), answer.header("retry-after")), ("{}", Some("7")));
        assert_eq!(answer.header("closegate-credential").is_some(), status == 401, "that word is the gateway's");
        assert_ne!(answer.header("closegate-request-id"), Some("theirs"));
        let record = only_record(&world);
        assert_eq!((&record["origin"], &record["code"]), (&"upstream".into(), &Value::Null));
    }
}

#[test]
fn head_is_told_without_a_body() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for (line, status, code) in [
        ("HEAD /sales/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n", 401, "key_missing"),
        (
            &format!("HEAD /sales/%2e/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n"),
            400,
            "path_not_canonical",
        ),
        ("HEAD /sales/ HTTP/1.1\r\nHost: evil.example\r\n", 421, "host_refused"),
    ] {
        client.send(format!("{line}\r\n"));
        told_head(&client.answer_to_head(), status, code);
    }
    // The next answer begins where the head of the last one ended.
    client.send(format!("GET /sales/a HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
    assert_eq!(client.answer().text(), "{}");
    let records = world.records.wait_for(4);
    assert!(records[..3].iter().all(|record| record["response_bytes"] == 0), "{records:#?}");
}

#[test]
fn head_that_is_no_request_is_told_without_a_body() {
    let world = gateway(Origin::plain().address).start();
    let mut client = world.connect();
    client.send("HEAD /sales/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    told_head(&client.answer_to_head(), 400, "request_malformed");
    assert!(client.ends(), "bytes after the answer to a HEAD could be read as another answer");
}
