//! What a key may do: scopes on every operation of the catalogue in every spelling, and what is only observed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use closegate::app::Rehearsal;
use closegate::catalogue::Catalogue;
use closegate::config::{Environment, Sources, load_names};
use closegate::id::KeyName;
use tempfile::TempDir;

use crate::errors::told;
use crate::origin::Origin;
use crate::raw::Answer;
use crate::world::{KEY, Setup, World, gateway};

/// One operation, as the table of the tests has it.
struct Row {
    method: String,
    path: String,
    scope: String,
}

/// All operations of the catalogue with the scope that each takes, written down apart from the catalogue.
fn table() -> Vec<Row> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scopes.txt")).unwrap();
    let row = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let [scope, method, path] = words.try_into().unwrap();
        Row { method, path, scope }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

impl Row {
    /// A path that the template stands for.
    fn path(&self) -> String {
        self.path.replace(['{', '}'], "")
    }

    /// Another one, whose parameters are percent-encoded.
    fn escaped_path(&self) -> String {
        let segment =
            |segment: &str| if segment.starts_with('{') { "a%40b%2Bc".to_owned() } else { segment.to_owned() };
        self.path.split('/').map(segment).collect::<Vec<_>>().join("/")
    }
}

const SCOPES: [&str; 6] = ["read", "write", "delete", "send", "export", "admin"];

/// A configuration with one key for each scope, of its name, and the key `all`.
fn rehearsal() -> Rehearsal {
    let folder = TempDir::new().unwrap();
    let mut text = "[credentials.sales]\napi_key = { env = \"NEVER_SET\" }\n".to_owned();
    for (name, scope) in SCOPES.map(|scope| (scope, scope)).into_iter().chain([("all", "*")]) {
        text += &format!(
            "[keys.{name}]\nsecret = {{ env = \"NEVER_SET\" }}\nroutes = [\"sales\"]\nscopes = [\"{scope}\"]\n"
        );
    }
    fs::write(folder.path().join("closegate.toml"), text).unwrap();
    let environment = Environment::default();
    let sources = Sources { file: None, environment, folder: folder.path().to_owned() };
    Rehearsal::of(&load_names(&sources).unwrap().config).unwrap()
}

fn code(rehearsal: &Rehearsal, key: &str, method: &str, target: &str) -> Option<&'static str> {
    let refusal = rehearsal.explain(method, target, KeyName::parse(key).ok().as_ref()).refusal;
    refusal.map(|refusal| refusal.code)
}

/// The spellings of a target that reach one operation: with and without its prefix and its last slash, with repeated
/// slashes, with a query, and with escapes where they may stand.
fn spellings(row: &Row) -> Vec<String> {
    let path = &row.path();
    let bare = path.trim_end_matches('/');
    let mut all = vec![path.clone(), bare.to_owned(), format!("{bare}//"), row.escaped_path()];
    if path.starts_with("/api/") {
        all.push(path.replacen("/api/", "/api//", 1));
        all.push(path.replace("/v1/", "//v1//"));
        all.push(format!("{path}?_limit=1&a=%2F..%2F"));
    }
    let prefixed: Vec<String> = all.iter().map(|path| format!("/sales{path}")).collect();
    if path.starts_with("/api/") { all.into_iter().chain(prefixed).collect() } else { prefixed }
}

#[test]
fn the_table_of_scopes_is_that_of_the_catalogue() {
    let told: BTreeSet<String> =
        table().iter().map(|Row { method, path, scope }| format!("{scope} {method} {path}")).collect();
    let known: BTreeSet<String> = Catalogue::close()
        .operations()
        .map(|operation| format!("{} {} {}", operation.demand.as_str(), operation.method, operation.endpoint))
        .collect();
    assert_eq!(told, known);
    assert_eq!(told.len(), 294);
}

#[test]
fn a_key_can_do_what_its_scope_is_for_and_nothing_else_however_it_is_spelled() {
    let rehearsal = rehearsal();
    for row in table() {
        // Of a body that is not there it counts that it sends.
        let scope = row.scope.rsplit('|').next().unwrap();
        for target in spellings(&row) {
            for key in SCOPES {
                let expected = (key != scope).then_some("scope_missing");
                assert_eq!(code(&rehearsal, key, &row.method, &target), expected, "{key}: {} {target}", row.method);
            }
            assert_eq!(code(&rehearsal, "all", &row.method, &target), None, "{} {target}", row.method);
        }
    }
}

#[test]
fn what_the_catalogue_does_not_know_is_read_or_admin() {
    let rehearsal = rehearsal();
    for path in ["/api/v1/no/such/thing/", "/api/v1/LEAD/", "/sales/elsewhere", "/sales", "/api/v2/lead/"] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FROB"] {
            let scope = if matches!(method, "GET" | "HEAD") { "read" } else { "admin" };
            for key in SCOPES {
                let expected = (key != scope).then_some("scope_missing");
                assert_eq!(code(&rehearsal, key, method, path), expected, "{key}: {method} {path}");
            }
        }
    }
}

/// A gateway whose key has these lines.
fn world(origin: &Origin, lines: &str) -> World {
    keyed(origin, lines).start()
}

fn keyed(origin: &Origin, lines: &str) -> Setup {
    gateway(origin.address).set("keys.main", lines).key("\"sales\"")
}

fn ask(world: &World, method: &str, target: &str, lines: &str, body: &str) -> Answer {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{length}{lines}\r\n");
    world.ask(head + body)
}

#[test]
fn line_28_a_key_that_reads_cannot_write_by_any_spelling_of_an_override() {
    let origin = Origin::plain();
    let world = world(&origin, "scopes = [\"read\"]");
    let refusals = [
        ("POST", "/sales/api/v1/lead/", "X-HTTP-Method-Override: DELETE\r\n", 403, "scope_missing"),
        ("POST", "/sales/api/v1/lead/x/", "X-HTTP-Method-Override: PUT\r\n", 403, "scope_missing"),
        ("POST", "/sales/api/v1/lead/x/", "X-HTTP-Method-Override: PATCH\r\n", 403, "scope_missing"),
        ("POST", "/sales/api/v1/lead/", "X-HTTP-Method-Override: POST\r\n", 403, "scope_missing"),
        ("POST", "/sales/api/v1/lead/", "X-HTTP-Method-Override: HEAD\r\n", 403, "scope_missing"),
        ("POST", "/sales/api/v1/export/lead/", "X-HTTP-Method-Override: GET\r\n", 403, "scope_missing"),
        ("POST", "/sales/api/v1/no/such/", "X-HTTP-Method-Override: GET\r\n", 403, "scope_missing"),
        ("POST", "/sales/api/v1/data/search/", "X-HTTP-Method-Override: DELETE\r\n", 403, "scope_missing"),
        ("POST", "/sales/api/v1/lead/", "X-HTTP-Method-Override: get\r\n", 400, "request_malformed"),
        ("POST", "/sales/api/v1/lead/", "X-HTTP-Method-Override: GET, DELETE\r\n", 400, "request_malformed"),
        ("POST", "/sales/api/v1/lead/", "X-HTTP-Method-Override: \r\n", 400, "request_malformed"),
        ("GET", "/sales/api/v1/lead/", "X-HTTP-Method-Override: DELETE\r\n", 400, "request_malformed"),
        ("HEAD", "/sales/api/v1/lead/", "X-HTTP-Method-Override: DELETE\r\n", 400, "request_malformed"),
        ("POST", "/sales/api/v1/data/search/", "X-HTTP-Method: DELETE\r\n", 400, "request_malformed"),
        ("POST", "/sales/api/v1/data/search/", "X-Method-Override: DELETE\r\n", 400, "request_malformed"),
        ("GET", "/sales/api/v1/lead/?_method=DELETE", "", 400, "request_malformed"),
        ("GET", "/sales/api/v1/lead/?%5Fmethod=DELETE", "", 400, "request_malformed"),
        ("GET", "/sales/api/v1/lead/?a=b&_m%65thod=DELETE", "", 400, "request_malformed"),
        (
            "POST",
            "/sales/api/v1/lead/",
            "X-HTTP-Method-Override: GET\r\nX-HTTP-Method-Override: DELETE\r\n",
            400,
            "request_malformed",
        ),
    ];
    for (method, target, lines, status, code) in refusals {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{lines}\r\n");
        let mut client = world.connect();
        client.send(head);
        if method == "HEAD" {
            crate::errors::told_head(&client.answer_to_head(), status, code);
        } else {
            told(&client.answer(), status, code);
        }
    }
    assert_eq!(origin.connections(), 0);
    // The one exception: a POST that stands for a documented GET is a read.
    for (method, target, lines) in [
        ("POST", "/sales/api/v1/lead/", "X-HTTP-Method-Override: GET\r\n"),
        ("POST", "/sales/api/v1/lead//x", "X-HTTP-Method-Override: GET\r\n"),
        ("POST", "/sales/api/v1/data/search/", ""),
        ("POST", "/api/v1/data//search", ""),
    ] {
        assert_eq!(ask(&world, method, target, lines, "{}").status, 200, "{method} {target}");
    }
    assert_eq!(origin.seen().len(), 4);
}

/// A sample of the table over sockets, with the scope and endpoint in the records.
#[test]
fn records_say_the_scope_and_who_lacks_it_is_told() {
    let origin = Origin::plain();
    let world = world(&origin, "scopes = [\"read\", \"delete\"]");
    let sample = [
        ("GET", "/sales/api/v1/lead/x/", "read", 200),
        ("HEAD", "/sales/api/v1/lead/x/", "read", 200),
        ("DELETE", "/sales/api/v1/lead/x/", "delete", 200),
        ("POST", "/sales/api/v1/lead/merge/", "delete", 200),
        ("POST", "/sales/api/v1/lead/", "write", 403),
        ("POST", "/api/v1//bulk_action//email", "send", 403),
        ("GET", "/sales/api/v1/export/x/", "export", 403),
        ("DELETE", "/sales/api/v1/webhook/x/", "admin", 403),
        ("POST", "/sales/api/v1/activity/email/", "send", 403),
    ];
    for (number, (method, target, scope, status)) in sample.into_iter().enumerate() {
        let mut client = world.connect();
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
        let answer = if method == "HEAD" { client.answer_to_head() } else { client.answer() };
        assert_eq!(answer.status, status, "{method} {target}");
        if status == 403 {
            let body = told(&answer, 403, "scope_missing");
            assert!(body["error"].as_str().unwrap().contains(scope), "{body}");
        }
        let record = &world.records.wait_for(number + 1)[number];
        assert_eq!(record["scope"], scope, "{record}");
        assert_eq!(record["code"].as_str(), (status == 403).then_some("scope_missing"), "{record}");
    }
    assert_eq!(origin.seen().len(), 4);
    assert_eq!(world.metric("closegate_refused_requests_total{route=\"sales\",code=\"scope_missing\"}"), 5.0);
}

#[test]
fn a_key_without_a_scope_may_do_nothing_and_one_that_says_none_everything() {
    let origin = Origin::plain();
    let none = world(&origin, "scopes = []");
    told(&none.get("/sales/api/v1/me/", ""), 403, "scope_missing");
    let all = world(&origin, "scopes = [\"*\"]");
    let unsaid = world(&origin, "");
    for world in [&all, &unsaid] {
        assert_eq!(ask(world, "DELETE", "/sales/api/v1/webhook/x/", "", "").status, 200);
    }
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn scopes_and_rules_must_both_permit() {
    let origin = Origin::plain();
    let world = world(
        &origin,
        "scopes = [\"read\", \"write\"]\nallow = [\"* /api/v1/lead/**\"]\ndeny = [\"PUT /api/v1/lead/secret\"]",
    );
    for (method, target, code) in [
        ("GET", "/sales/api/v1/lead/", None),
        ("PUT", "/sales/api/v1/lead/x/", None),
        ("DELETE", "/sales/api/v1/lead/x/", Some("scope_missing")),
        ("DELETE", "/sales/api/v1/contact/x/", Some("scope_missing")),
        ("GET", "/sales/api/v1/contact/", Some("path_denied")),
        ("PUT", "/sales/api/v1/lead/secret", Some("path_denied")),
    ] {
        assert_eq!(ask(&world, method, target, "", "").code(), code, "{method} {target}");
    }
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn what_is_observed_passes_and_its_record_says_why_it_would_not() {
    let origin = Origin::plain();
    let observed =
        "scopes = [\"read\"]\ndeny = [\"GET /api/v1/lead/secret\"]\nmode = \"observe\"\nrate = \"1/h\"\nburst = 4";
    let world = keyed(&origin, observed).set("routes.sales", "deny = [\"* /api/v1/export/**\"]").start();
    for (number, (method, target, status, code)) in [
        ("GET", "/sales/api/v1/lead/", 200, None),
        ("DELETE", "/sales/api/v1/lead/x/", 200, Some("scope_missing")),
        ("GET", "/sales/api/v1/lead/secret", 200, Some("path_denied")),
        // Scopes and rules of the key are observed, nothing else.
        ("GET", "/sales/api/v1/export/", 403, Some("path_denied")),
        ("GET", "/sales/oauth2/token/", 403, Some("secrets_endpoint")),
        ("GET", "/sales/%2e%2e/", 400, Some("path_not_canonical")),
        ("PUT", "/sales/api/v1/lead/x/", 200, Some("scope_missing")),
        ("GET", "/sales/api/v1/lead/", 429, Some("key_rate_limited")),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = ask(&world, method, target, "", "");
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(answer.code(), code.filter(|_| status != 200), "only a refusal has the header");
        let record = &world.records.wait_for(number + 1)[number];
        assert_eq!(record["code"].as_str(), code, "{record}");
        assert_eq!(record["origin"], if status == 200 { "upstream" } else { "gateway" });
    }
    assert_eq!(origin.seen().len(), 4);
    assert_eq!(world.metric("closegate_refused_requests_total{route=\"sales\",code=\"scope_missing\"}"), 0.0);
}

const EMAIL: &str = "/sales/api/v1/activity/email/";
const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn whether_mail_is_sent_is_decided_by_its_body() {
    let origin = Origin::plain();
    let writer = world(&origin, "scopes = [\"write\"]");
    let sender = world(&origin, "scopes = [\"send\"]");
    let (draft, mail) = (r#"{"status":"draft","subject":"x"}"#, r#"{"subject":"x","status":"outbox"}"#);
    let long = format!("{{\"status\":\"draft\",\"body_text\":\"{}\"}}", "x".repeat(64 * 1024));
    let twice = r#"{"status":"outbox","status":"draft"}"#;
    let cases = [
        ("POST", EMAIL, JSON, draft, "write"),
        ("POST", "/api/v1//activity/email", JSON, draft, "write"),
        ("PUT", "/sales/api/v1/activity/sms/x/", "Content-Type: application/json; charset=utf-8\r\n", draft, "write"),
        ("POST", EMAIL, JSON, mail, "send"),
        ("PUT", "/sales/api/v1/activity/email/x", JSON, mail, "send"),
        ("POST", EMAIL, "", draft, "send"),
        ("POST", EMAIL, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", draft, "send"),
        ("POST", EMAIL, JSON, twice, "send"),
        ("POST", EMAIL, JSON, &long, "send"),
        ("POST", EMAIL, JSON, "", "send"),
    ];
    let mut sent = 0;
    for (number, (method, target, lines, body, scope)) in cases.into_iter().enumerate() {
        for (world, own) in [(&writer, "write"), (&sender, "send")] {
            let answer = ask(world, method, target, lines, body);
            let record = &world.records.wait_for(number + 1)[number];
            assert_eq!(record["scope"], scope, "{record}");
            if own == scope {
                assert_eq!((answer.status, answer.code()), (200, None), "{own}: {method} {target} {body:.60}");
                sent += 1;
                assert_eq!(origin.seen().len(), sent);
                let seen = origin.seen().pop().unwrap();
                assert_eq!(seen.body, body.as_bytes(), "the bytes that were judged");
                assert_eq!(record["request_bytes"], body.len());
            } else {
                told(&answer, 403, "scope_missing");
            }
        }
    }
    assert_eq!(origin.seen().len(), sent);
    // Whoever may do both is not looked into.
    let both = world(&origin, "scopes = [\"write\", \"send\"]");
    assert_eq!(ask(&both, "POST", EMAIL, JSON, draft).status, 200);
    let neither = world(&origin, "scopes = [\"read\"]");
    let head =
        format!("POST {EMAIL} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{JSON}Content-Length: 9\r\n\r\n");
    told(&neither.ask(head), 403, "scope_missing");
}

#[test]
fn a_body_that_comes_in_pieces_is_judged_whole_and_one_that_is_cut_goes_nowhere() {
    let origin = Origin::plain();
    let world = world(&origin, "scopes = [\"write\"]\nconcurrency = 1");
    let head = format!("POST {EMAIL} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{JSON}");
    let chunked = |pieces: &[&str]| {
        let chunks: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let mut client = world.connect();
    client.send(format!("{head}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"));
    assert_eq!(client.head().status, 100);
    assert_eq!(origin.connections(), 0, "nothing goes up before it is known what it is");
    client.send("9\r\n{\"status\"\r\n");
    client.send("8\r\n:\"draft\"\r\n1\r\n}\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen()[0].body, br#"{"status":"draft"}"#);
    told(&world.ask(chunked(&["{\"status\":\"out", "box\"}"])), 403, "scope_missing");
    let long = "x".repeat(40_000);
    told(&world.ask(chunked(&["{\"status\":\"draft\",\"a\":\"", &long, &long, "\"}"])), 403, "scope_missing");
    let mut client = world.connect();
    client.send(format!("{head}Content-Length: 18\r\n\r\n{{\"status\""));
    drop(client);
    world.records.wait_until(|records| records.iter().any(|record| record["status"] == 499));
    assert_eq!(ask(&world, "POST", EMAIL, JSON, r#"{"status":"draft"}"#).status, 200, "its place was given back");
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn a_body_that_was_waited_for_is_judged_by_what_is_in_force_then() {
    let origin = Origin::plain();
    let lines = "description = \"x\"\nscopes = [\"write\"]";
    let world = gateway(origin.address).set("keys.main", lines).key("\"sales\"").start_reloading();
    let head = format!("POST {EMAIL} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{JSON}");
    let mut client = world.connect();
    client.send(format!("{head}Expect: 100-continue\r\nContent-Length: 18\r\n\r\n"));
    assert_eq!(client.head().status, 100);
    world.edit("description = \"x\"", "expires = 2020-01-01T00:00:00Z");
    world.reload().unwrap();
    client.send("{\"status\":\"draft\"}");
    told(&client.answer(), 401, "key_invalid");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_that_comes_too_slowly_is_waited_for_so_long_in_all() {
    let origin = Origin::plain();
    let setup = gateway(origin.address).replace("listen", "address = \"127.0.0.1:0\"\nbody_timeout = \"1s\"");
    let world = setup.set("keys.main", "scopes = [\"write\"]").key("\"sales\"").start();
    let mut client = world.connect();
    let head = format!("POST {EMAIL} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{JSON}");
    client.send(format!("{head}Content-Length: 1000\r\n\r\n"));
    let mut drip = client.socket().try_clone().unwrap();
    let (answered, told_so) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // No piece is late by itself.
        scope.spawn(move || {
            while told_so.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
                let _ = drip.write_all(b" ");
            }
        });
        told(&client.answer(), 408, "request_timeout");
        drop(answered);
    });
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_longer_than_is_judged_streams_for_who_may_send() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .set("listen", "max_body = \"100KiB\"")
        .set("keys.main", "scopes = [\"send\"]")
        .key("\"sales\"")
        .start();
    let head = format!("POST {EMAIL} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{JSON}");
    let chunks = |count: usize| format!("2710\r\n{}\r\n", "x".repeat(10_000)).repeat(count);
    let answer = world.ask(format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks(9)));
    assert_eq!(answer.status, 200);
    assert_eq!(origin.seen()[0].body, vec![b'x'; 90_000]);
    told(&world.ask(format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks(11))), 413, "body_too_large");
    told(&world.ask(format!("{head}Content-Length: 102401\r\n\r\n")), 413, "body_too_large");
}

#[test]
fn mail_of_a_key_that_is_observed_passes_with_its_scope() {
    let origin = Origin::plain();
    let world = world(&origin, "scopes = [\"write\"]\nmode = \"observe\"");
    for (number, (body, scope, code)) in
        [(r#"{"status":"draft"}"#, "write", None), (r#"{"status":"outbox"}"#, "send", Some("scope_missing"))]
            .into_iter()
            .enumerate()
    {
        assert_eq!(ask(&world, "POST", EMAIL, JSON, body).status, 200);
        let record = &world.records.wait_for(number + 1)[number];
        assert_eq!((record["scope"].as_str(), record["code"].as_str()), (Some(scope), code), "{record}");
    }
}
