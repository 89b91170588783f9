//! What crosses the gateway: which fields reach the upstream, which reach the client, and that the rest is untouched.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::errors::told;
use crate::origin::{Origin, Seen};
use crate::raw::{Answer, Raw, find};
use crate::world::{INJECTED, KEY, OTHER_KEY, SECRET, World, gateway};

/// A value that must go no further.
const CANARY: &str = "canary-of-the-client";

/// A GET on `/sales/api/v1/me/` with the key and further lines.
fn with_lines(world: &World, lines: &str) -> Answer {
    world.get("/sales/api/v1/me/", lines)
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// The names of a request's fields, in lower case.
fn names(seen: &Seen) -> Vec<String> {
    let fields = seen.head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.map(|(name, _)| name.to_ascii_lowercase()).collect()
}

#[test]
fn line_19_a_forwarded_request_carries_exactly_one_authorization_its_routes_own() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .file("partner.secret", "partner-token/PLANTED")
        .set("credentials.partner", "bearer = { file = \"partner.secret\" }")
        .key("\"sales\", \"partner\"")
        .start();
    let presented = [
        format!("Closegate-Key: {KEY}\r\n"),
        format!("Closegate-Key: {KEY}\r\nAuthorization: Basic {CANARY}\r\n"),
        format!("Authorization: Bearer {KEY}\r\nProxy-Authorization: Basic {CANARY}\r\n"),
        format!("Authorization: Bearer {KEY}\r\nX-Authorization: {CANARY}\r\nauthorization_: {CANARY}\r\n"),
        format!("authorization: bearer {KEY}\r\nAuthorization2: {CANARY}\r\nX_Authorization: {CANARY}\r\n"),
    ];
    for lines in &presented {
        for route in ["sales", "partner"] {
            let answer = world.ask(format!("GET /{route}/a HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
            assert_eq!(answer.status, 200, "{lines}");
        }
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 2 * presented.len());
    for (number, seen) in seen.iter().enumerate() {
        let own = [INJECTED, "Bearer partner-token/PLANTED"][number % 2];
        assert_eq!(seen.values("authorization"), [own]);
        assert_eq!(names(seen).iter().filter(|name| letters(name).contains("authorization")).count(), 1, "{seen:?}");
    }
}

#[test]
fn line_20_no_credential_of_the_client_and_no_key_reaches_the_upstream() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").other_key("\"sales\"").start();
    let long = "a".repeat(80);
    let fields = [
        "Authorization",
        "Proxy-Authorization",
        "Proxy-Anything",
        "Cookie",
        "Cookie2",
        "X-Cookie",
        "Set-Cookie",
        "Closegate-Anything",
        "Closegate_Key",
        "closegatekey",
        "X-Closegate-Key",
        &format!("Closegate-{long}"),
        &format!("X-Closegate-{long}"),
        &format!("Proxy-{long}"),
        "X-Api-Key",
        "Api-Key",
        "X-Auth-Token",
        "X-Authorization",
        "Authorization_",
        "HTTP2-Settings",
    ];
    let mut lines = format!("X-Harmless: stays\r\nX-Spare: {OTHER_KEY}\r\nReferer: http://localhost/?key={KEY}\r\n");
    // In Base64, as a tool or another proxy may have put it together: alone, as a pair, or behind other text.
    let encoded = [format!("{KEY}:"), format!("x:{KEY}"), format!("id={OTHER_KEY}")].map(|text| STANDARD.encode(text));
    for (name, encoded) in ["X-Original-Authorization", "X-Upstream-Auth", "X-State"].iter().zip(&encoded) {
        write!(lines, "{name}: Basic {encoded}\r\n").unwrap();
    }
    write!(lines, "X-{KEY}: a name\r\n").unwrap();
    for name in fields {
        write!(lines, "{name}: {CANARY}\r\n").unwrap();
    }
    let body = "5\r\nhello\r\n0\r\nAuthorization: Basic trailer\r\nX-Trailer: canary-of-the-client\r\n\r\n";
    let answer = world.ask(format!(
        "POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nTrailer: X-Trailer\r\n\
         Transfer-Encoding: chunked\r\n{lines}\r\n{body}"
    ));
    assert_eq!(answer.status, 200);
    let seen = &origin.seen()[0];
    assert_eq!((seen.values("x-harmless"), &seen.body[..]), (vec!["stays"], &b"hello"[..]));
    let pieces = encoded.iter().map(|encoded| &encoded[8..24]);
    for secret in [CANARY, KEY, OTHER_KEY, "trailer", "Trailer"].into_iter().chain(pieces) {
        assert!(!seen.head.contains(secret), "{secret} in {}", seen.head);
    }
    assert!(!seen.head.to_lowercase().contains("cgk_"), "{}", seen.head);
}

#[test]
fn line_09_what_connection_names_stays_here_on_every_line_of_it() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = with_lines(
        &world,
        "Connection: X-One , keep-alive,,X-TWO\r\nX-One: hop\r\nX-Two: hop\r\nX-Three: hop\r\nX-Four: end\r\n\
         connection: x-three\r\nKeep-Alive: timeout=hop\r\nTE: trailers\r\nProxy-Connection: hop\r\n",
    );
    assert_eq!(answer.status, 200);
    let seen = &origin.seen()[0];
    assert_eq!(seen.values("x-four"), ["end"]);
    assert!(!seen.head.contains("hop") && !seen.head.contains("trailers"), "{}", seen.head);
    assert!(seen.values("connection").is_empty(), "{}", seen.head);
}

#[test]
fn line_09_connection_may_not_name_what_the_request_needs() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    for name in ["Authorization", "Host", "Content-Length", "Cookie", "Closegate-Key", "closegate-key", "AUTHORIZATION"]
    {
        for lines in [
            format!("Connection: {name}\r\n"),
            format!("Connection: close, {name}\r\n"),
            format!("Connection: keep-alive\r\nConnection: x-a,{name} ,x-b\r\n"),
        ] {
            told(&with_lines(&world, &lines), 400, "request_malformed");
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn line_10_look_alikes_of_reserved_names_stay_here() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let names = [
        "Transfer_Encoding",
        "Transfer.Encoding",
        "TransferEncoding",
        "Content_Length",
        "Content-Length2",
        "X-Content-Length",
        "X-Transfer-Encoding",
        "X-Host",
        "Host_",
        "Forwarded",
        "X-Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Prefix",
        "X_Forwarded_For",
        "X-Forwarded-User",
        "X-Real-IP",
        "X_Real_Ip",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-Host",
        "Upgrade",
        "X-Upgrade",
        "Upgrade_",
        "Keep_Alive",
        "Proxy_Connection",
        "T-E",
        "Trailer_",
        "Expect_",
        "Connection_",
    ];
    for name in names {
        let answer = with_lines(&world, &format!("{name}: {CANARY}\r\n"));
        assert!(matches!(answer.status, 200 | 400), "{name}: {answer:?}");
    }
    for seen in origin.seen() {
        assert!(!seen.head.contains(CANARY), "{}", seen.head);
        assert_eq!((seen.values("host").len(), seen.values("content-length").len()), (1, 0), "{}", seen.head);
    }
}

#[test]
fn line_11_an_upgrade_is_dropped_and_the_request_goes_on() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let lines = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    assert_eq!(with_lines(&world, lines).status, 200);
    let head = origin.seen()[0].head.to_ascii_lowercase();
    assert!(!head.contains("upgrade") && !head.contains("h2c") && !head.contains("settings"), "{head}");
}

#[test]
fn end_to_end_fields_pass_as_bytes_and_in_order() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut request = format!("GET /sales/a HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n").into_bytes();
    request.extend(b"X-Many: one\r\nAccept: */*\r\nX-Many: two\r\nX-Bytes: \xe9\tb\r\nX-Empty:\r\nVia: 1.0 theirs\r\n");
    request.extend(b"User-Agent: Close/1.0 python requests\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(world.ask(&request).status, 200);
    let seen = &origin.seen()[0];
    assert_eq!(seen.values("x-many"), ["one", "two"]);
    assert_eq!(seen.values("x-bytes"), ["\u{fffd}\tb"], "one byte that is no UTF-8");
    assert_eq!((seen.values("x-empty"), seen.values("via")), (vec![""], vec!["1.0 theirs"]));
    assert_eq!(seen.values("user-agent"), ["Close/1.0 python requests"]);
    assert_eq!(seen.values("accept-encoding"), ["gzip"]);
    let mut names = names(seen);
    names.sort();
    names.dedup();
    let expected =
        ["accept", "accept-encoding", "authorization", "host", "user-agent", "via", "x-bytes", "x-empty", "x-many"];
    assert_eq!(names, expected, "nothing is added but the two");
}

#[test]
fn line_23_path_and_query_go_through_byte_for_byte() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let long = format!("/api/v1/lead/?query={}", "name%3A%22%C3%A9%22+or+(a:b)".repeat(300));
    assert!(long.len() > 8000);
    let targets = [
        "/api/v1/lead/?q=%3a%3A+b&_fields=id,name",
        "/api/v1//lead///?_skip=0",
        "/api/v1/lead/a%20b/%C3%A9%2B/@:!$&'()*+,=~",
        "/api/v1/lead/?",
        "/api/v1/lead/??a=?&b=/../%2e%2e/%00//",
        "/api/v1/lead/?a=%zz&b=%&c=[x]{y}|z^`\\;d",
        "/api/v1/lead/?%61=%5Fx&a&&=&a=b=c",
        "",
        "/",
        "?a=b",
        "//",
        &long,
    ];
    for target in targets {
        assert_eq!(world.get(&format!("/sales{target}"), "").status, 200, "{target}");
    }
    for (target, seen) in targets.iter().zip(origin.seen()) {
        let slash = if target.starts_with('/') { "" } else { "/" };
        assert_eq!(seen.line(), format!("GET {slash}{target} HTTP/1.1"));
    }
}

#[test]
fn a_base_path_of_the_upstream_is_kept() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .replace("upstream", &format!("url = \"http://{}/base/\"\ndanger_cleartext_upstream = true", origin.address))
        .key("\"sales\"")
        .start();
    for (target, sent) in
        [("/sales/a?b", "/base/a?b"), ("/sales//a", "/base//a"), ("/sales", "/base"), ("/api/x", "/base/api/x")]
    {
        assert_eq!(world.get(target, "").status, 200);
        assert_eq!(origin.seen().last().unwrap().line(), format!("GET {sent} HTTP/1.1"));
    }
}

#[test]
fn places_on_the_upstream_become_paths_on_the_gateway() {
    let origin = Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            let place = seen.values("x-place").first().map(ToString::to_string).unwrap();
            let fields = format!("location: {place}\r\ncontent-location: {place}\r\n");
            conversation.send(format!("HTTP/1.1 201 Created\r\n{fields}content-length: 0\r\n\r\n"));
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let own = origin.address;
    let upper = format!("HTTP://{own}/api/v1/lead/");
    for (place, prefixed, bare) in [
        (format!("http://{own}/api/v1/lead/?a=b#c"), "/sales/api/v1/lead/?a=b#c", "/api/v1/lead/?a=b#c"),
        (format!("//{own}/api/v1/lead/"), "/sales/api/v1/lead/", "/api/v1/lead/"),
        (format!("http://{own}"), "/sales/", "/"),
        (upper, "/sales/api/v1/lead/", "/api/v1/lead/"),
        ("/api/v1/lead/lead_1/".to_owned(), "/sales/api/v1/lead/lead_1/", "/api/v1/lead/lead_1/"),
        (
            "https://s3.example/export.csv?sig=a/b".to_owned(),
            "https://s3.example/export.csv?sig=a/b",
            "https://s3.example/export.csv?sig=a/b",
        ),
        (
            format!("http://{own}.evil.example/"),
            &*format!("http://{own}.evil.example/"),
            &*format!("http://{own}.evil.example/"),
        ),
        ("lead_1/".to_owned(), "lead_1/", "lead_1/"),
        ("?_skip=100".to_owned(), "?_skip=100", "?_skip=100"),
    ] {
        let lines = format!("X-Place: {place}\r\nX-Forwarded-Host: evil.example\r\n");
        for (path, expected) in [("/sales/api/v1/x/", prefixed), ("/api/v1/x/", bare)] {
            let answer = world.get(path, &lines);
            assert_eq!(answer.header("location"), Some(expected), "{place}");
            assert_eq!(answer.header("content-location"), Some(expected), "{place}");
        }
    }
}

#[test]
fn a_place_of_bytes_that_are_no_text_becomes_a_path_too() {
    let origin = Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            let mut answer = b"HTTP/1.1 302 Found\r\nlocation: http://".to_vec();
            answer.extend(seen.values("host")[0].as_bytes());
            answer.extend(b"/caf\xe9/\r\ncontent-length: 0\r\n\r\n");
            conversation.send(answer);
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = with_lines(&world, "");
    let location = answer.headers.iter().find(|(name, _)| name == "location").unwrap();
    assert_eq!(location.1, b"/sales/caf\xe9/");
}

#[test]
fn line_24_a_redirect_is_passed_and_never_followed() {
    let elsewhere = Origin::plain();
    let place = elsewhere.address;
    for status in [301, 302, 303, 307, 308] {
        let redirect = format!("HTTP/1.1 {status} Go\r\nlocation: http://{place}/x\r\ncontent-length: 4\r\n\r\nmove");
        let origin = Origin::answering(redirect);
        let world = gateway(origin.address).key("\"sales\"").start();
        let answer = with_lines(&world, "");
        let expected = format!("http://{place}/x");
        assert_eq!((answer.status, answer.header("location")), (status, Some(&*expected)));
        assert_eq!((answer.text().as_str(), origin.seen().len()), ("move", 1));
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// Fields of an answer that stay here, each with a marked value.
const STAYS: &str = "Set-Cookie: hop=1\r\nset-cookie: hop=2\r\nSet-Cookie2: hop\r\nStrict-Transport-Security: max-age=hop\r\n\
    Alt-Svc: h3=\":443\"; hop\r\nClear-Site-Data: \"hop\"\r\nAccess-Control-Allow-Origin: hop\r\n\
    Access-Control-Allow-Credentials: hop\r\nAccess-Control-Anything: hop\r\nConnection: X-Hop, content-length, host\r\n\
    Connection: x-hop2\r\nX-Hop: hop\r\nX-Hop2: hop\r\nKeep-Alive: timeout=hop\r\nProxy-Authenticate: hop\r\n\
    Proxy-Authentication-Info: hop\r\nProxy-Connection: hop\r\nProxy-Status: hop\r\nUpgrade: hop\r\nTrailer: hop\r\nTE: hop\r\n\
    Closegate-Error: hop\r\nClosegate-Anything: hop\r\n";

#[test]
fn line_09_an_answer_is_copied_without_what_stays_here() {
    let passes = "X-Many: one\r\nX-Many: two\r\nETag: \"e\"\r\nRateLimit: limit=100, remaining=50, reset=5\r\n\
                  Content-Type: application/json\r\nVary: Accept\r\nWWW-Authenticate: Basic\r\n";
    let mut sent = format!("HTTP/1.1 200 OK\r\n{STAYS}{passes}Content-Length: 2\r\n").into_bytes();
    sent.extend(b"X-Bytes: caf\xe9\r\n\r\n{}");
    let origin = Origin::answering(sent);
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = with_lines(&world, "");
    assert_eq!((answer.status, answer.text().as_str(), answer.whole), (200, "{}", true));
    for (name, value) in &answer.headers {
        assert!(find(value, b"hop").is_none(), "{name}: {}", String::from_utf8_lossy(value));
    }
    let values = |wanted| answer.headers.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| &value[..]);
    assert!(values("x-many").eq([b"one", b"two"]));
    assert!(values("x-bytes").eq([b"caf\xe9"]), "header values pass as bytes");
    for (name, value) in [
        ("etag", "\"e\""),
        ("ratelimit", "limit=100, remaining=50, reset=5"),
        ("content-type", "application/json"),
        ("vary", "Accept"),
        ("www-authenticate", "Basic"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!(answer.header("via"), None);
}

#[test]
fn trailers_interim_answers_and_the_reason_are_dropped() {
    let origin = Origin::answering(format!(
        "HTTP/1.1 103 Early\r\nLink: </hop>\r\n\r\nHTTP/1.1 200 hop {SECRET}\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Hop: hop\r\nAuthorization: {INJECTED}\r\n\r\n"
    ));
    let world = gateway(origin.address).key("\"sales\"").start();
    let request = "GET /sales/a HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\n";
    let bytes = everything(&world, &format!("{request}Closegate-Key: {KEY}\r\nConnection: close\r\n\r\n"));
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("hello"), "{text}");
    for dropped in ["hop", "Early", "HTTP/1.1 103", SECRET, INJECTED] {
        assert!(!text.contains(dropped), "{dropped} in {text}");
    }
}

/// All bytes that come back on a connection of its own.
fn everything(world: &World, request: &str) -> Vec<u8> {
    use std::io::Read as _;
    let mut client = Raw::connect(world.proxy);
    client.send(request);
    let mut bytes = Vec::new();
    client.socket().try_clone().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn line_26_nothing_that_an_upstream_says_to_one_client_reaches_another() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nset-cookie: session=canary\r\ncontent-length: 0\r\n\r\n");
    let world = gateway(origin.address).key("\"sales\"").other_key("\"sales\"").start();
    for key in [KEY, OTHER_KEY, KEY] {
        let answer = world.ask(format!(
            "GET /sales/a HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {key}\r\nCookie: own=canary\r\n\r\n"
        ));
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
    }
    assert!(origin.seen().iter().all(|seen| !seen.head.to_ascii_lowercase().contains("cookie")));
}

#[test]
fn line_29_no_answer_lets_a_web_page_read_it() {
    let origin = Origin::answering(
        "HTTP/1.1 204 No Content\r\naccess-control-allow-origin: *\r\naccess-control-allow-methods: GET\r\n\
         access-control-max-age: 5\r\n\r\n",
    );
    let world = gateway(origin.address).key("\"sales\"").start();
    let lines = format!(
        "Host: localhost\r\nClosegate-Key: {KEY}\r\nOrigin: http://localhost\r\nAccess-Control-Request-Method: GET\r\n"
    );
    for method in ["OPTIONS", "GET"] {
        let answer = world.ask(format!("{method} /sales/api/v1/me/ HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(answer.status, 204);
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control")), "{answer:?}");
    }
    let refused = with_lines(&world, "Origin: https://evil.example\r\n");
    assert!(refused.headers.iter().all(|(name, _)| !name.starts_with("access-control")), "{refused:?}");
}

#[test]
fn line_30_the_data_plane_and_the_admin_listener_do_not_serve_each_other() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    for path in ["/metrics", "/healthz", "/readyz", "/"] {
        let without = world.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        told(&without, 401, "key_missing");
        told(&world.get(path, ""), 404, "no_route");
    }
    let mut admin = Raw::connect(world.admin);
    admin.send(format!("GET /sales/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nAuthorization: Bearer {KEY}\r\n\r\n"));
    let answer = admin.answer();
    assert_eq!((answer.status, answer.code()), (401, None));
    assert_eq!(origin.connections(), 0);
}
