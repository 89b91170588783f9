//! Who may call what: keys, open routes, the loopback guard, rules, the method override, secrets endpoints.

use std::fmt::Write as _;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use crate::errors::{told, told_head};
use crate::origin::Origin;
use crate::raw::{Answer, find};
use crate::world::{INJECTED, KEY, OTHER_KEY, Setup, World, gateway};

fn basic(text: impl AsRef<[u8]>) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(text))
}

/// A request with `Host: localhost` and these further lines.
fn ask(world: &World, line: &str, lines: &str) -> Answer {
    world.ask(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"))
}

/// Two credentials and routes, each at the same upstream; the key of the tests may use `sales`, the other `partner`.
fn two_routes(upstream: SocketAddr) -> Setup {
    gateway(upstream)
        .file("partner.secret", "partner-token/PLANTED")
        .set("credentials.partner", "bearer = { file = \"partner.secret\" }")
        .key("\"sales\"")
        .other_key("\"partner\"")
}

/// A body without what differs from request to request.
fn without_id(mut body: Value) -> Value {
    body["closegate"]["request_id"].take();
    body
}

#[test]
fn a_key_is_taken_wherever_a_tool_puts_its_own_secret() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let presented = [
        format!("Closegate-Key: {KEY}\r\n"),
        format!("closegate-key:{KEY}\r\n"),
        format!("Closegate-Key: {KEY}\r\nAuthorization: Digest whatever\r\n"),
        format!("Authorization: Bearer {KEY}\r\n"),
        format!("authorization: bEaReR  {KEY}\r\n"),
        basic(format!("{KEY}:")),
        basic(format!("{KEY}:any password")),
        basic(format!(":{KEY}")),
        basic(format!("user:{KEY}")),
        basic(KEY),
        format!("Authorization: BASIC {}\r\n", STANDARD_NO_PAD.encode(format!("{KEY}:"))),
    ];
    for (number, lines) in presented.iter().enumerate() {
        assert_eq!(ask(&world, "GET /sales/api/v1/me/", lines).status, 200, "{lines}");
        assert_eq!(world.records.wait_for(number + 1)[number]["key"], "main", "{lines}");
    }
    for seen in origin.seen() {
        assert_eq!(seen.values("authorization"), [INJECTED]);
        assert!(!seen.head.contains(KEY) && !seen.head.to_ascii_lowercase().contains("closegate"), "{}", seen.head);
    }
}

#[test]
fn line_21_what_is_not_exactly_a_key_opens_nothing() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let upper = KEY.to_ascii_uppercase();
    let without = [String::new(), "Closegate-Key:\r\n".to_owned(), "Authorization: Bearer \r\n".to_owned(), basic(":")];
    for lines in without {
        told(&ask(&world, "GET /sales/api/v1/me/", &lines), 401, "key_missing");
    }
    let wrong = [
        "Closegate-Key: cgk_0123abcd_wrongwrongwrongwrongwrongwrongwr\r\n".to_owned(),
        format!("Closegate-Key: {upper}\r\n"),
        format!("Closegate-Key: {KEY}{KEY}\r\n"),
        format!("Closegate-Key: {KEY} {KEY}\r\n"),
        format!("Closegate-Key: {KEY},{KEY}\r\n"),
        format!("Closegate-Key: {KEY}x\r\n"),
        format!("Closegate-Key: x{KEY}\r\n"),
        format!("Closegate-Key: {}\r\n", &KEY[..KEY.len() - 1]),
        format!("Closegate-Key: {}\r\n", &KEY[1..]),
        format!("Closegate-Key: \"{KEY}\"\r\n"),
        format!("Closegate-Key: Bearer {KEY}\r\n"),
        format!("Closegate-Key: wrong\r\nAuthorization: Bearer {KEY}\r\n"),
        format!("Authorization: {KEY}\r\n"),
        format!("Authorization: Bearer {upper}\r\n"),
        format!("Authorization: Bearer {KEY}, Bearer {KEY}\r\n"),
        format!("Authorization: Bearer {KEY}; a=b\r\n"),
        format!("Authorization: Token {KEY}\r\n"),
        format!("Authorization: Digest username=\"{KEY}\"\r\n"),
        format!("Authorization: Basic {KEY}\r\n"),
        "Authorization: Basic !!!\r\n".to_owned(),
        basic(format!("{KEY}\0:")),
        basic(format!("{KEY} :")),
        basic(format!(" {KEY}:")),
        basic(format!("{KEY}\r\n:")),
        basic(format!("{KEY}\n:x")),
        basic(format!("x:{KEY}\0")),
        basic(format!("x:{KEY} ")),
        basic(format!("x:y:{KEY}")),
        basic(format!("{KEY}{KEY}:")),
        basic(&upper),
    ];
    for lines in &wrong {
        told(&ask(&world, "GET /sales/api/v1/me/", lines), 401, "key_invalid");
    }
    told(&ask(&world, "GET /sales/api/v1/me/", &format!("Closegate-Key: {KEY}\0\r\n")), 400, "request_malformed");
    assert_eq!(origin.connections(), 0);
    let records = world.records.wait_for(wrong.len() + 5);
    assert!(records.iter().all(|record| record["key"].is_null() && record["route"].is_null()), "{records:#?}");
}

#[test]
fn line_21_every_byte_of_a_key_counts() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for at in 0..KEY.len() {
        let mut altered = KEY.as_bytes().to_vec();
        altered[at] ^= 0x01;
        let mut request = b"GET /sales/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: ".to_vec();
        request.extend(altered);
        request.extend(b"\r\n\r\n");
        client.send(request);
        told(&client.answer(), 401, "key_invalid");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn line_21_two_keys_are_no_key() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let bearer = format!("Authorization: Bearer {KEY}\r\n");
    let own = format!("Closegate-Key: {KEY}\r\n");
    for lines in [
        format!("{own}{own}"),
        format!("{own}closegate-key: other\r\n"),
        format!("{bearer}{bearer}"),
        format!("{bearer}authorization: Basic x\r\n"),
        format!("{own}{bearer}{bearer}"),
    ] {
        told(&ask(&world, "GET /sales/api/v1/me/", &lines), 400, "key_ambiguous");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn line_21_a_key_of_another_route_sees_none() {
    let origin = Origin::plain();
    let world = two_routes(origin.address).start();
    let lines = format!("Closegate-Key: {OTHER_KEY}\r\n");
    let foreign = told(&ask(&world, "GET /sales/api/v1/me/", &lines), 404, "no_route");
    let absent = told(&ask(&world, "GET /nowhere/api/v1/me/", &lines), 404, "no_route");
    told(&ask(&world, "GET //sales/api/v1/me/", &lines), 404, "no_route");
    assert_eq!(without_id(foreign), without_id(absent), "a route the key may not use looks like none");
    assert_eq!(origin.connections(), 0);
    assert_eq!(ask(&world, "GET /partner/api/v1/me/", &lines).status, 200);
    assert_eq!(origin.seen()[0].values("authorization"), ["Bearer partner-token/PLANTED"]);
    let records = world.records.wait_for(3);
    assert!(records[..2].iter().all(|record| record["key"] == "other" && record["route"].is_null()), "{records:#?}");
}

#[test]
fn a_key_may_be_declared_by_its_digest() {
    let digest = closegate::keys::digest(KEY.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    let origin = Origin::plain();
    let world =
        gateway(origin.address).set("keys.main", &format!("hash = \"sha256:{digest}\"\nroutes = [\"sales\"]")).start();
    assert_eq!(world.get("/sales/api/v1/me/", "").status, 200);
    for presented in [digest.clone(), format!("sha256:{digest}")] {
        let lines = format!("Closegate-Key: {presented}\r\n");
        told(&ask(&world, "GET /sales/api/v1/me/", &lines), 401, "key_invalid");
    }
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn any_text_of_sixteen_visible_characters_may_be_a_key() {
    let origin = Origin::plain();
    let key = "p%ssw:rd=\"{odd}~";
    let world = gateway(origin.address)
        .file("odd.key", key)
        .set("keys.odd", "secret = { file = \"odd.key\" }\nroutes = [\"sales\"]")
        .start();
    let accepted =
        [format!("Closegate-Key: {key}\r\n"), format!("Authorization: Bearer {key}\r\n"), basic(format!("x:{key}"))];
    for lines in accepted {
        assert_eq!(ask(&world, "GET /sales/a", &lines).status, 200, "{lines}");
    }
    told(&ask(&world, "GET /sales/a", &format!("Closegate-Key: {}\r\n", key.to_uppercase())), 401, "key_invalid");
}

#[test]
fn a_key_works_until_it_expires() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .set("keys.main", "expires = 2020-01-01T00:00:00Z")
        .key("\"sales\"")
        .set("keys.other", "expires = 2999-12-31T00:00:00Z")
        .other_key("\"sales\"")
        .start();
    let expired = told(&world.get("/sales/api/v1/me/", ""), 401, "key_invalid");
    let unknown =
        told(&ask(&world, "GET /sales/api/v1/me/", &format!("Closegate-Key: {KEY}x\r\n")), 401, "key_invalid");
    assert_eq!(without_id(expired), without_id(unknown), "expired and unknown look alike");
    assert_eq!(ask(&world, "GET /sales/api/v1/me/", &format!("Closegate-Key: {OTHER_KEY}\r\n")).status, 200);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_key_that_expired_still_closes_what_was_open() {
    let origin = Origin::plain();
    let world = gateway(origin.address).set("keys.main", "expires = 2020-01-01T00:00:00Z").key("\"sales\"").start();
    told(&ask(&world, "GET /sales/api/v1/me/", ""), 401, "key_missing");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn without_any_key_loopback_is_open_and_drops_what_a_tool_sends() {
    let origin = Origin::plain();
    let world = gateway(origin.address).start();
    let presented = [
        String::new(),
        basic("api_client.secret:"),
        "Authorization: Bearer anything\r\n".to_owned(),
        "Authorization: Nonsense\r\n".to_owned(),
        format!("Closegate-Key: {KEY}\r\nCookie: a=b\r\n"),
    ];
    for lines in &presented {
        assert_eq!(ask(&world, "GET /sales/api/v1/me/", lines).status, 200, "{lines}");
    }
    told(&ask(&world, "GET /nowhere", ""), 404, "no_route");
    assert!(origin.seen().iter().all(|seen| seen.values("authorization") == [INJECTED]));
    assert!(origin.seen().iter().all(|seen| !seen.head.contains("api_client") && !seen.head.contains(KEY)));
    let records = world.records.wait_for(presented.len());
    assert!(records[..presented.len()].iter().all(|record| record["key"] == "anonymous"), "{records:#?}");
}

#[test]
fn without_any_key_a_wider_listener_is_closed() {
    let origin = Origin::plain();
    let world = gateway(origin.address).replace("listen", "address = \"0.0.0.0:0\"\nworkers = 1").start();
    for path in ["/sales/api/v1/me/", "/api/v1/me/", "/nowhere", "/", "//sales/"] {
        for lines in [String::new(), format!("Closegate-Key: {KEY}\r\n"), basic("x:y")] {
            told(&ask(&world, &format!("GET {path}"), &lines), 401, "key_missing");
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn an_anonymous_route_is_open_beside_those_that_need_a_key() {
    let origin = Origin::plain();
    let world = two_routes(origin.address).set("routes.sales", "anonymous = true").set("routes.partner", "").start();
    for (lines, key) in [
        (String::new(), "anonymous"),
        (format!("Closegate-Key: {KEY}x\r\n"), "anonymous"),
        (format!("Closegate-Key: {KEY}\r\n"), "main"),
        (format!("Closegate-Key: {OTHER_KEY}\r\n"), "other"),
    ] {
        let before = origin.seen().len();
        assert_eq!(ask(&world, "GET /sales/api/v1/me/", &lines).status, 200, "{lines}");
        assert_eq!(world.records.wait_for(before + 1)[before]["key"], key);
    }
    told(&ask(&world, "GET /partner/api/v1/me/", ""), 401, "key_missing");
    told(&ask(&world, "GET /partner/api/v1/me/", &format!("Closegate-Key: {KEY}\r\n")), 404, "no_route");
    assert_eq!(origin.seen().len(), 4);
}

/// contract.md 3: on an open route a known key passes as well as none does, be it of other scopes, rules or routes.
#[test]
fn on_an_open_route_a_key_may_do_what_anybody_may() {
    let origin = Origin::plain();
    let narrow =
        "secret = { file = \"key\" }\nroutes = [\"sales\"]\nscopes = [\"read\"]\nallow = [\"GET /api/v1/me/\"]";
    let world = gateway(origin.address)
        .set("routes.sales", "credential = \"sales\"")
        .set("routes.open", "credential = \"sales\"\nanonymous = true\ndeny = [\"* /api/v1/task/**\"]")
        .file("key", KEY)
        .set("keys.narrow", narrow)
        .start();
    let key = format!("Closegate-Key: {KEY}\r\n");
    let post = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    let lead = |route: &str, lines: &str| {
        let line = format!("POST /{route}/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\n{post}{lines}\r\n{{}}");
        world.ask(line)
    };
    assert_eq!((lead("open", "").status, lead("open", &key).status), (200, 200));
    assert_eq!(ask(&world, "DELETE /open/api/v1/lead/lead_x/", &key).status, 200);
    told(&lead("sales", &key), 403, "scope_missing");
    told(&ask(&world, "GET /sales/api/v1/lead/", &key), 403, "path_denied");
    told(&ask(&world, "GET /open/api/v1/task/", &key), 403, "path_denied");
    let records = world.records.wait_for(6);
    let named: Vec<_> = records.iter().map(|record| record["key"].as_str().unwrap()).collect();
    assert_eq!(named, ["anonymous", "narrow", "narrow", "narrow", "narrow", "narrow"], "it is named all the same");
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn beyond_loopback_an_anonymous_route_takes_a_word_of_its_own() {
    let origin = Origin::plain();
    let wide = "address = \"0.0.0.0:0\"\nworkers = 1";
    let world = two_routes(origin.address)
        .replace("listen", wide)
        .set("routes.sales", "anonymous = true\ndanger_anonymous = true")
        .set("routes.partner", "")
        .start();
    assert_eq!(ask(&world, "GET /sales/api/v1/me/", "").status, 200);
    told(&ask(&world, "GET /partner/api/v1/me/", ""), 401, "key_missing");
    let world = gateway(origin.address).replace("listen", wide).set("routes.sales", "anonymous = true").start();
    told(&ask(&world, "GET /sales/api/v1/me/", ""), 401, "key_missing");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn line_27_without_a_key_nobody_learns_which_routes_exist() {
    let origin = Origin::plain();
    let world = two_routes(origin.address)
        .set("routes.sales", "")
        .set("routes.nested", "prefix = \"/sales/eu\"\ncredential = \"sales\"")
        .start();
    let paths = [
        "/sales/api/v1/me/",
        "/nowhere/api/v1/me/",
        "//sales/api/v1/me/",
        "//nowhere/api/v1/me/",
        "/sales//eu/api/",
        "/sales//xx/api/",
        "/api/v1/me/",
        "/",
        "/metrics",
        "/.well-known/closegate",
        "/sales/oauth2/token/",
        "/nowhere/oauth2/token/",
    ];
    for (lines, code) in [(String::new(), "key_missing"), (format!("Closegate-Key: {KEY}x\r\n"), "key_invalid")] {
        let mut bodies = paths.map(|path| without_id(told(&ask(&world, &format!("GET {path}"), &lines), 401, code)));
        bodies[1..].iter().for_each(|body| assert_eq!(*body, bodies[0]));
        bodies[0].take();
    }
    told_head(&head(&world), 401, "key_missing");
    told(&world.get("//sales/api/v1/me/", ""), 400, "path_not_canonical");
    assert_eq!(origin.connections(), 0);
}

fn head(world: &World) -> Answer {
    let mut client = world.connect();
    client.send("HEAD /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.answer_to_head()
}

#[test]
fn a_call_without_a_prefix_goes_to_the_keys_first_route() {
    let origin = Origin::answering("HTTP/1.1 201 OK\r\nlocation: /api/v1/lead/lead_1/\r\ncontent-length: 0\r\n\r\n");
    let world = two_routes(origin.address)
        .set("routes.sales", "")
        .set("routes.partner", "")
        .replace("keys.main", "secret = { file = \"main.key\" }\nroutes = [\"partner\", \"sales\"]")
        .start();
    let answer = world.get("/api/v1/lead/?a=b", "");
    assert_eq!(answer.header("location"), Some("/api/v1/lead/lead_1/"));
    let answer = world.get("/partner/api/v1/lead/?a=b", "");
    assert_eq!(answer.header("location"), Some("/partner/api/v1/lead/lead_1/"));
    for seen in origin.seen() {
        assert_eq!(seen.line(), "GET /api/v1/lead/?a=b HTTP/1.1");
        assert_eq!(seen.values("authorization"), ["Bearer partner-token/PLANTED"]);
    }
    assert_eq!(world.records.wait_for(1)[0]["route"], "partner");
    for path in ["/", "/api", "/apis/v1/", "/v1/lead/"] {
        told(&world.get(path, ""), 404, "no_route");
    }
    told(&ask(&world, "GET /api/v1/lead/", ""), 401, "key_missing");
}

#[test]
fn line_29_on_loopback_only_its_own_names_are_served() {
    let origin = Origin::plain();
    let world = gateway(origin.address).start();
    let asked = |host: &str| world.ask(format!("GET /sales/a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for host in ["localhost", "LocalHost:8080", "127.0.0.1", "127.9.9.9:1", "[::1]:8080", "tool.localhost"] {
        assert_eq!(asked(host).status, 200, "{host}");
    }
    let sent = origin.seen().len();
    for host in
        ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.168.0.1", "xlocalhost", "0.0.0.0", "[::2]"]
    {
        let body = told(&asked(host), 421, "host_refused");
        let hint = body["closegate"]["hint"].as_str().unwrap();
        assert!(hint.contains(&format!("hosts = [\"{host}\"]")), "{hint}");
    }
    assert_eq!(origin.seen().len(), sent);
}

#[test]
fn listed_hosts_are_served_and_no_others() {
    let origin = Origin::plain();
    let world = gateway(origin.address).set("listen", "hosts = [\"gate.example\"]").start();
    let asked = |world: &World, host: &str| world.ask(format!("GET /sales/a HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for host in ["gate.example", "Gate.Example:80", "localhost"] {
        assert_eq!(asked(&world, host).status, 200, "{host}");
    }
    told(&asked(&world, "other.example"), 421, "host_refused");
    let world = gateway(origin.address).set("listen", "hosts = [\"*\"]").start();
    assert_eq!(asked(&world, "other.example").status, 200);
    let wide =
        gateway(origin.address).replace("listen", "address = \"0.0.0.0:0\"\nworkers = 1\nhosts = [\"gate.example\"]");
    let world = wide.key("\"sales\"").start();
    told(&asked(&world, "localhost"), 421, "host_refused");
    told(&asked(&world, "gate.example"), 401, "key_missing");
}

#[test]
fn line_29_a_web_page_of_another_site_is_refused() {
    let origin = Origin::plain();
    let world = gateway(origin.address).start();
    let asked = |lines: &str| world.ask(format!("GET /sales/a HTTP/1.1\r\nHost: localhost:8080\r\n{lines}\r\n"));
    for lines in ["Origin: http://localhost:8080", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"] {
        assert_eq!(asked(&format!("{lines}\r\n")).status, 200, "{lines}");
    }
    let sent = origin.seen().len();
    for lines in [
        "Origin: https://evil.example",
        "Origin: null",
        "Origin: http://localhost",
        "Origin: http://localhost:3000",
        "Origin: http://localhost:8080.evil.example",
        "Origin: ftp://localhost:8080",
        "Origin: localhost:8080",
        "Origin:",
        "Origin: http://localhost:8080\r\nOrigin: https://evil.example",
        "Origin: http://localhost:8080 https://evil.example",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin, cross-site",
        "Sec-Fetch-Site: SAME-ORIGINS",
        "Origin: http://localhost:8080\r\nSec-Fetch-Site: cross-site",
    ] {
        told(&asked(&format!("{lines}\r\n")), 403, "origin_refused");
    }
    assert_eq!(origin.seen().len(), sent);
}

#[test]
fn absolute_form_is_served_for_the_gateways_own_authority_only() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let asked = |target: &str, host: &str| {
        world.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nClosegate-Key: {KEY}\r\n\r\n"))
    };
    assert_eq!(asked("http://localhost:8080/sales/a?b", "localhost:8080").status, 200);
    assert_eq!(origin.seen()[0].line(), "GET /a?b HTTP/1.1");
    assert_eq!(origin.seen()[0].values("host"), [origin.address.to_string()]);
    told(&asked("http://evil.example/sales/a", "evil.example"), 421, "host_refused");
    told(&asked("https://api.close.com/sales/a", "api.close.com"), 421, "host_refused");
    told(&asked("http://evil.example/sales/a", "localhost"), 400, "request_malformed");
    told(&asked("http://localhost/sales/a", "evil.example"), 400, "request_malformed");
    told(&asked("http://user@localhost/sales/a", "localhost"), 400, "request_malformed");
    told(&asked("http://localhost/sales/../a", "localhost"), 400, "path_not_canonical");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn line_22_rules_judge_the_bytes_that_the_upstream_sees() {
    let origin = Origin::plain();
    let world = two_routes(origin.address)
        .set("routes.partner", "")
        .set("routes.sales", "allow = [\"GET,POST,PUT /api/v1/**\", \"* /x\"]\ndeny = [\"* /api/v1/user/**\", \"* /api/v1/a@b/**\"]")
        .set("keys.main", "allow = [\"GET,HEAD /api/v1/**\", \"PUT /api/v1/lead/*\", \"* /x\"]\ndeny = [\"GET /api/v1/lead/*/secret\"]")
        .start();
    let asked =
        |method: &str, path: &str| ask(&world, &format!("{method} /sales{path}"), &format!("Closegate-Key: {KEY}\r\n"));
    for (method, path) in [
        ("GET", "/api/v1/lead/"),
        ("GET", "/api/v1/lead"),
        ("GET", "/api/v1"),
        ("GET", "//api//v1//lead//"),
        ("PUT", "/api/v1/lead/lead_1/"),
        ("PUT", "/api/v1/lead//lead_1"),
        ("DELETE", "/x/"),
        ("GET", "/api/v1/users/"),
        ("GET", "/api/v1/lead/a/b/secret"),
    ] {
        assert_eq!(asked(method, path).status, 200, "{method} {path}");
    }
    let sent = origin.seen().len();
    for (method, path) in [
        ("HEAD", "/api/v1/lead/"),
        ("POST", "/api/v1/lead/"),
        ("DELETE", "/api/v1/lead/lead_1/"),
        ("PUT", "/api/v1/lead/"),
        ("PUT", "/api/v1/lead/a/b/"),
        ("GET", "/api/v1/user/"),
        ("GET", "/api/v1//user//user_1"),
        ("GET", "//api/v1/user"),
        ("GET", "/api/v1/a@b/"),
        ("GET", "/api/v1/a%40b/x"),
        ("GET", "/api/v1/lead/lead_1/secret"),
        ("GET", "/api/v1/lead//lead_1//secret//"),
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/API/v1/lead/"),
        ("GET", "/api/v2/lead/"),
        ("GET", "/y"),
    ] {
        let mut client = world.connect();
        client.send(format!("{method} /sales{path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
        match method {
            "HEAD" => told_head(&client.answer_to_head(), 403, "path_denied"),
            _ => drop(told(&client.answer(), 403, "path_denied")),
        }
    }
    // The rules of a route hold for calls without its prefix, and not for other routes.
    told(&world.get("/api/v1/user/", ""), 403, "path_denied");
    assert_eq!(world.get("/api/v1/lead/", "").status, 200);
    assert_eq!(ask(&world, "DELETE /partner/api/v1/user/", &format!("Closegate-Key: {OTHER_KEY}\r\n")).status, 200);
    assert_eq!(origin.seen().len(), sent + 2);
}

#[test]
fn line_22_what_is_not_canonical_is_refused() {
    let origin = Origin::plain();
    let world = gateway(origin.address).set("keys.main", "deny = [\"* /api/v1/user/**\"]").key("\"sales\"").start();
    for path in [
        "/sales/../sales/api",
        "/sales/api/v1/lead/../user/",
        "/sales/api/v1/./user/",
        "/sales/api/v1/user/..",
        "/sales/.",
        "/sales/api/v1/lead/%2e%2e/user/",
        "/sales/api/v1/lead/.%2E/user/",
        "/sales/api/v1/lead/%252e%252e/user/",
        "/sales/api%2fv1%2fuser",
        "/sales/api/v1%2Fuser/",
        "/sales/api/v1%5cuser/",
        "/sales/api/v1\\user/",
        "/sales/api/v1/lead;/user/",
        "/sales/api/v1/user;x=y/",
        "/sales/api/v1/user%3b/",
        "/sales/api/v1/%75ser/",
        "/sales/api/v1/use%72/",
        "/sales/api/v1/user%00/",
        "/sales/api/v1/user%0a/",
        "/sales/api/v1/user%7f/",
        "/sales/api/v1/user%",
        "/sales/api/v1/user%2",
        "/sales/api/v1/user%zz/",
        "/sales/%c0%ae%c0%ae/",
        "/sales/api/v1/%e0%80%af/",
        "/sales/%ff/",
        "/sales/%25%32%65/",
        "/%73ales/api/v1/lead/",
        "/sales%2fapi/v1/lead/",
        "//sales/api/v1/lead/",
    ] {
        told(&world.get(path, ""), 400, "path_not_canonical");
    }
    for path in ["/sales/caf\u{e9}", "/sales/a\tb", "/sales/a\"b", "/sales/<a>", "/sales/a#b", "/sales/a\u{1}b"] {
        let answer = world.get(path, "");
        assert!(matches!(answer.code(), Some("request_malformed" | "path_not_canonical")), "{path}: {answer:?}");
        told(&answer, 400, answer.code().unwrap());
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn line_28_an_override_is_permitted_under_both_methods_or_refused() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .set("keys.main", "allow = [\"GET /**\", \"POST /api/v1/data/search\"]")
        .key("\"sales\"")
        .set("keys.other", "allow = [\"GET,POST,PUT /**\"]")
        .other_key("\"sales\"")
        .start();
    let asked = |key: &str, path: &str, value: &str| {
        ask(
            &world,
            &format!("POST /sales{path}"),
            &format!("Closegate-Key: {key}\r\nX-HTTP-Method-Override: {value}\r\n"),
        )
    };
    // A key that may only read: a POST that stands for a documented GET is a read, anything else is not.
    assert_eq!(asked(KEY, "/api/v1/lead/", "GET").status, 200);
    for (path, value) in [
        ("/api/v1/lead/", "PUT"),
        ("/api/v1/lead/lead_1/", "DELETE"),
        ("/api/v1/lead/", "POST"),
        ("/api/v1/no/such/operation/", "GET"),
        ("/api/v1/data/search/", "DELETE"),
        ("/api/v1/data/search/", "PATCH"),
    ] {
        told(&asked(KEY, path, value), 403, "path_denied");
    }
    assert_eq!(asked(OTHER_KEY, "/api/v1/lead/lead_1/", "PUT").status, 200);
    told(&asked(OTHER_KEY, "/api/v1/lead/lead_1/", "DELETE"), 403, "path_denied");
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[0].line(), seen[0].values("x-http-method-override")),
        ("POST /api/v1/lead/ HTTP/1.1", vec!["GET"])
    );
    assert_eq!(seen[1].values("x-http-method-override"), ["PUT"]);
}

#[test]
fn line_28_spellings_that_may_be_ignored_are_refused() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let key = format!("Closegate-Key: {KEY}\r\n");
    for lines in [
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
        "X-Method: DELETE",
        "HTTP-Method-Override: DELETE",
        "X_HTTP_Method_Override: DELETE",
        "X-HTTP-Method_Override: DELETE",
        "XHTTPMethodOverride: DELETE",
        "X-HTTP-Method-Override2: DELETE",
        "X-HTTP-Method-Override: delete",
        "X-HTTP-Method-Override: Delete",
        "X-HTTP-Method-Override: FROB",
        "X-HTTP-Method-Override: TRACE",
        "X-HTTP-Method-Override: CONNECT",
        "X-HTTP-Method-Override:",
        "X-HTTP-Method-Override: GET, DELETE",
        "X-HTTP-Method-Override: GET\r\nX-HTTP-Method-Override: DELETE",
        "X-HTTP-Method-Override: GET\r\nx-http-method-override: GET",
        "X-HTTP-Method-Override: GET\r\nX-Method-Override: DELETE",
    ] {
        told(&ask(&world, "POST /sales/api/v1/lead/", &format!("{key}{lines}\r\n")), 400, "request_malformed");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let lines = format!("{key}X-HTTP-Method-Override: GET\r\n");
        told(&ask(&world, &format!("{method} /sales/api/v1/lead/"), &lines), 400, "request_malformed");
    }
    for query in [
        "_method=DELETE",
        "a=b&_method=DELETE",
        "%5Fmethod=DELETE",
        "_m%65thod",
        "_METHOD=PUT",
        "a;_method=PUT",
        "_method",
    ] {
        for method in ["GET", "POST"] {
            told(&ask(&world, &format!("{method} /sales/api/v1/lead/?{query}"), &key), 400, "request_malformed");
        }
    }
    assert_eq!(origin.connections(), 0);
    for query in ["_methods=PUT", "x_method=PUT", "q=_method", "_method_=x"] {
        assert_eq!(ask(&world, &format!("GET /sales/api/v1/lead/?{query}"), &key).status, 200, "{query}");
    }
}

#[test]
fn an_override_that_connection_names_asks_for_nothing() {
    let origin = Origin::plain();
    let world = gateway(origin.address).set("keys.main", "allow = [\"POST /**\"]").key("\"sales\"").start();
    let lines =
        format!("Closegate-Key: {KEY}\r\nConnection: X-HTTP-Method-Override\r\nX-HTTP-Method-Override: DELETE\r\n");
    assert_eq!(ask(&world, "POST /sales/api/v1/lead/", &lines).status, 200);
    assert!(origin.seen()[0].values("x-http-method-override").is_empty());
}

#[test]
fn endpoints_that_hand_out_secrets_are_refused_on_every_route() {
    let origin = Origin::plain();
    let world = two_routes(origin.address)
        .replace("keys.main", "secret = { file = \"main.key\" }\nroutes = [\"sales\", \"based\"]")
        .set("routes.sales", "")
        .set("routes.partner", "anonymous = true")
        .set(
            "routes.based",
            &format!("prefix = \"/based\"\ncredential = \"sales\"\ndanger_cleartext_upstream = true\nupstream = \"http://{}/api/v1\"", origin.address),
        )
        .start();
    for path in [
        "/sales/oauth2",
        "/sales/oauth2/",
        "/sales/oauth2/token/",
        "/sales//oauth2//token",
        "/sales/OAuth2/Token",
        "/sales/api/v1/api_key",
        "/sales/api/v1/api_key/",
        "/sales/api/v1/api_key/api_1/",
        "/sales//api//v1//api_key//",
        "/sales/API/V1/API_KEY/",
        "/partner/oauth2/revoke/",
        "/based/api_key/",
        "/based//api_key",
        "/based/oauth2/token/",
        "/api/v1/api_key/",
        "/api//v1/api_key/",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = ask(&world, &format!("{method} {path}"), &format!("Closegate-Key: {KEY}\r\n"));
            told(&answer, 403, "secrets_endpoint");
        }
    }
    let lines = format!("Closegate-Key: {KEY}\r\nX-HTTP-Method-Override: GET\r\n");
    told(&ask(&world, "POST /sales/api/v1/api_key/", &lines), 403, "secrets_endpoint");
    for path in ["/sales/api%5fv1/", "/sales/api/v1/%61pi_key/", "/sales/api/v1/api%5fkey/", "/sales/%6fauth2/token/"] {
        told(&world.get(path, ""), 400, "path_not_canonical");
    }
    assert_eq!(origin.connections(), 0);
    for path in ["/sales/api/v1/api_keys/", "/sales/oauth2x/", "/sales/api/v1/lead/api_key/"] {
        assert_eq!(world.get(path, "").status, 200, "{path}");
    }
}

#[test]
fn a_key_in_the_path_or_query_is_refused_and_not_recorded() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let encoded = KEY.replace('_', "%5F").replace('c', "%63");
    let targets = [
        format!("/sales/{KEY}/"),
        format!("/{KEY}/api/v1/me/"),
        format!("/sales/api/v1/me/?key={KEY}"),
        format!("/sales/api/v1/me/?{KEY}"),
        format!("/sales/api/v1/me/?api_key={encoded}"),
        format!("/sales/api/v1/me/?a=Bearer+{KEY}&b"),
        format!("/sales/{encoded}/"),
    ];
    for (number, target) in targets.iter().enumerate() {
        for lines in [String::new(), format!("Closegate-Key: {KEY}\r\n")] {
            let answer = ask(&world, &format!("GET {target}"), &lines);
            told(&answer, 400, "request_malformed");
        }
        world.records.wait_for(2 * number + 2);
    }
    let lines =
        format!("Closegate-Key: {KEY}\r\nUser-Agent: tool/{KEY}\r\ntraceparent: {KEY}\r\nX-Request-Id: {KEY}\r\n");
    told(&ask(&world, "GET /nowhere", &lines), 404, "no_route");
    world.records.wait_for(2 * targets.len() + 1);
    // Of a path what looks like a key is masked; the query is in no record.
    let records = world.records.wait_for(2 * targets.len() + 1);
    let masked = ["/sales/cgk_***/", "/cgk_***/api/v1/me/", "/sales/api/v1/me/"];
    for (record, path) in records.iter().step_by(2).zip(masked) {
        assert_eq!(record["path"], path, "{record}");
    }
    let written = world.records.bytes();
    let secret = KEY.rsplit('_').next().unwrap();
    for form in [KEY, &encoded, secret] {
        assert!(find(&written, form.as_bytes()).is_none(), "{form}: {}", String::from_utf8_lossy(&written));
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn no_part_of_a_key_of_another_shape_is_recorded() {
    // What looks like a key ends before the colon, this one does not.
    const OPAQUE: &str = "cgk_my-team-01:9f8a7c6d5e";
    let origin = Origin::plain();
    let setup = gateway(origin.address).file("tool.key", OPAQUE);
    let world = setup.set("keys.tool", "secret = { file = \"tool.key\" }\nroutes = [\"sales\"]").start();
    let encoded = OPAQUE.replace(':', "%3A");
    for path in [format!("/sales/{OPAQUE}/"), format!("/sales/x{OPAQUE}"), format!("/sales/{encoded}")] {
        told(&ask(&world, &format!("GET {path}"), ""), 400, "request_malformed");
    }
    told(&ask(&world, &format!("GET /sales/api/v1/me/?key={OPAQUE}"), ""), 400, "request_malformed");
    let paths: Vec<_> = world.records.wait_for(4).into_iter().map(|record| record["path"].clone()).collect();
    assert_eq!(paths, [Value::Null, Value::Null, Value::Null, "/sales/api/v1/me/".into()]);
    assert!(find(&world.records.bytes(), b"9f8a7c6d5e").is_none());
}

#[test]
fn a_key_of_any_shape_goes_no_further_than_the_gateway() {
    const OPAQUE: &str = "a-tools-own-secret-123456";
    let origin = Origin::plain();
    let setup = gateway(origin.address).file("tool.key", OPAQUE);
    let world = setup.set("keys.tool", "secret = { file = \"tool.key\" }\nroutes = [\"sales\"]").start();
    let ask = |path: &str, header: &str| {
        world.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {OPAQUE}\r\n{header}\r\n"))
    };
    let encoded = STANDARD.encode(format!("{OPAQUE}:"));
    for path in [
        format!("/sales/{OPAQUE}/x"),
        format!("/sales/x{OPAQUE}x"),
        format!("/sales/x?api_key={OPAQUE}"),
        format!("/sales/x?auth=Bearer%20{OPAQUE},"),
        format!("/sales/x?auth=Basic%20{encoded}"),
        "/sales/x?api_key=a-tools-own-secret%2D123456".to_owned(),
    ] {
        let refused = ask(&path, "");
        assert_eq!((refused.status, refused.code()), (400, Some("request_malformed")), "{path}");
    }
    let trace = world.ask(format!("TRACE /sales/{OPAQUE}/x HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!((trace.status, trace.code()), (405, Some("method_refused")));
    assert_eq!(origin.connections(), 0);
    let lines = [
        format!("X-Tool-Secret: {OPAQUE}"),
        format!("Referer: http://localhost/?key={OPAQUE}&x"),
        format!("X-Original-Authorization: Basic {encoded}"),
        format!("User-Agent: tool/1 ({OPAQUE})"),
        format!("traceparent: 00-{OPAQUE}-00"),
        format!("X-Request-Id: id-{OPAQUE}.1"),
        format!("X-{OPAQUE}: name"),
        "X-Other: kept".to_owned(),
    ];
    assert_eq!(ask("/sales/x", &(lines.join("\r\n") + "\r\n")).status, 200);
    let seen = &origin.seen()[0];
    assert_eq!(seen.values("x-other"), ["kept"]);
    let records = 8;
    world.records.wait_for(records);
    let written = String::from_utf8(world.records.bytes()).unwrap();
    for form in [OPAQUE, &encoded, &encoded[..20]] {
        assert!(!seen.head.contains(form), "{form}: {}", seen.head);
        assert!(!written.contains(form), "{form}: {written}");
    }
}

/// contract.md 3: what the gateway knows by its digest alone is found where the request itself presents it.
#[test]
fn a_key_of_a_digest_goes_no_further_where_the_request_presents_it() {
    const LEGACY: &str = "a-legacy-tool-password-77";
    let origin = Origin::plain();
    let digest: String = closegate::keys::digest(LEGACY.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let world =
        gateway(origin.address).set("keys.old", &format!("hash = \"sha256:{digest}\"\nroutes = [\"sales\"]")).start();
    let presented = basic(format!("{LEGACY}:"));
    for target in [format!("/sales/x?k={LEGACY}"), format!("/sales/{LEGACY}")] {
        told(&ask(&world, &format!("GET {target}"), &presented), 400, "request_malformed");
    }
    let lines = format!("{presented}X-My-Key: {LEGACY}\r\nUser-Agent: tool ({LEGACY})\r\n");
    assert_eq!(ask(&world, "GET /sales/x", &lines).status, 200);
    assert!(!origin.seen()[0].head.contains(LEGACY));
    world.records.wait_for(3);
    assert!(find(&world.records.bytes(), LEGACY.as_bytes()).is_none());
}

#[test]
fn what_only_looks_a_little_like_a_key_passes() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let lines = format!(
        "Closegate-Key: {KEY}\r\nUser-Agent: cgk_monitoring/1.0\r\nContent-Type: multipart/form-data; boundary=cgk_boundary01\r\n"
    );
    let target = "/sales/api/v1/event/?_cursor=eyJhIjoxfQ9xcGk_abcDEF12345zz";
    assert_eq!(ask(&world, &format!("GET {target}"), &lines).status, 200);
    let seen = &origin.seen()[0];
    assert_eq!(seen.values("user-agent"), ["cgk_monitoring/1.0"]);
    assert_eq!(seen.values("content-type"), ["multipart/form-data; boundary=cgk_boundary01"]);
}

/// contract.md 3: 401 whatever the path, and whoever has a key is told what is wrong, and recorded.
#[test]
fn what_is_wrong_with_a_request_is_told_who_may_ask() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .set("routes.open", "credential = \"sales\"\nanonymous = true")
        .set("routes.sales", "credential = \"sales\"")
        .key("\"sales\"")
        .start();
    let wrong = [
        ("GET {}/%61pi/v1", "", "path_not_canonical"),
        ("GET {}/../x", "", "path_not_canonical"),
        ("GET {}/x", "X-HTTP-Method: x\r\n", "request_malformed"),
        ("POST {}/x", "X-HTTP-Method-Override: put\r\nContent-Length: 0\r\n", "request_malformed"),
    ];
    for (request, lines, code) in wrong {
        let sales = request.replace("{}", "/sales");
        told(&ask(&world, &sales, lines), 401, "key_missing");
        told(&ask(&world, &sales, &format!("{lines}Closegate-Key: {OTHER_KEY}\r\n")), 401, "key_invalid");
        told(&ask(&world, &sales, &format!("{lines}Closegate-Key: {KEY}\r\n")), 400, code);
        told(&ask(&world, &request.replace("{}", "/open"), lines), 400, code);
    }
    let records = world.records.wait_for(4 * wrong.len());
    for record in records.iter().filter(|record| record["status"] == 400) {
        let path = record["path"].as_str().unwrap();
        let key = if path.starts_with("/open") { serde_json::Value::Null } else { "main".into() };
        assert_eq!(record["key"], key, "{record}");
    }
    assert_eq!(origin.connections(), 0);
}
