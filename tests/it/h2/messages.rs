//! Requests that no server may take, or that two readers could read differently: refused before a byte goes upstream.

use super::client::{Client, End, Fate, block, fields, get, post};
use super::conformance::{CANCEL, NO_ERROR, PROTOCOL_ERROR};
use super::{Clear, Door, Sealed};
use crate::faults::{WHOLE, assert_error};
use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS};
use crate::origin::Origin;
use crate::world::{INJECTED, KEY, World, gateway};

use Outcome::{Connection, Refused, Stream};

/// What becomes of a request.
#[derive(Clone, Copy)]
enum Outcome {
    /// An answer of the gateway's own with this status and code, and a record.
    Refused(u16, &'static str),
    /// The codec resets the stream.
    Stream,
    /// The codec ends the connection.
    Connection,
}

const MALFORMED: Outcome = Refused(400, "request_malformed");

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A GET with these fields in the place of its own of the same names; no value takes a field out.
fn get_with(changes: &[(&[u8], Option<&[u8]>)]) -> Fields {
    let mut fields: Fields =
        get().iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect();
    for (name, value) in changes {
        let at = fields.iter().position(|(own, _)| own == name);
        match (at, value) {
            (Some(at), Some(value)) => fields[at].1 = value.to_vec(),
            (Some(at), None) => drop(fields.remove(at)),
            (None, Some(value)) => fields.push((name.to_vec(), value.to_vec())),
            (None, None) => {}
        }
    }
    fields
}

fn field(name: &[u8], value: &[u8]) -> Fields {
    get_with(&[(name, Some(value))])
}

fn more(name: &str, values: [&str; 2]) -> Fields {
    let mut fields = field(name.as_bytes(), values[0].as_bytes());
    fields.push((name.into(), values[1].into()));
    fields
}

/// Sends each on a connection of its own.
fn refuse(door: &impl Door, world: &World, origin: &Origin, cases: &[(&str, Fields, Outcome)]) {
    let before = world.records.wait_for(0).len();
    let mut codes = Vec::new();
    for (what, fields, outcome) in cases {
        let mut client = door.enter().shake(&[]);
        assert!(client.ask(1, fields), "{what}");
        match outcome {
            Refused(status, code) => {
                assert_error(&client.answer(1), *status, code, what);
                codes.push(*code);
            }
            Stream => assert_eq!(client.fate(), Fate::Stream(PROTOCOL_ERROR), "{what}"),
            Connection => assert_eq!(client.fate(), Fate::Connection(PROTOCOL_ERROR), "{what}"),
        }
        if !matches!(outcome, Connection) {
            assert!(client.ping(), "{what}");
            assert_eq!(client.fate(), Fate::Pong, "{what}: the connection goes on");
        }
    }
    assert_eq!((origin.connections(), origin.seen().len()), (0, 0), "something went upstream");
    let records = world.records.wait_for(before + codes.len());
    let recorded: Vec<_> = records[before..].iter().map(|record| record["code"].as_str().unwrap()).collect();
    assert_eq!(recorded, codes);
    assert!(records.iter().all(|record| record["origin"] == "gateway"), "{records:#?}");
}

/// Plays the cases in clear text and over TLS.
fn refuse_everywhere(cases: &[(&str, Fields, Outcome)]) {
    let origin = Origin::plain();
    let sealed = Sealed::start(gateway(origin.address).key("\"sales\""));
    refuse(&Clear(sealed.world.proxy), &sealed.world, &origin, cases);
    refuse(&sealed, &sealed.world, &origin, cases);
}

#[test]
fn line_17_connection_specific_fields() {
    refuse_everywhere(&[
        ("connection", field(b"connection", b"close"), Stream),
        ("connection of nothing", field(b"connection", b""), Stream),
        ("keep-alive", field(b"keep-alive", b"timeout=5"), Stream),
        ("proxy-connection", field(b"proxy-connection", b"keep-alive"), Stream),
        ("transfer-encoding", field(b"transfer-encoding", b"chunked"), Stream),
        ("transfer-encoding of something else", field(b"transfer-encoding", b"identity"), Stream),
        ("upgrade", field(b"upgrade", b"websocket"), Stream),
        ("te: gzip", field(b"te", b"gzip"), Stream),
        ("te: trailers among others", field(b"te", b"trailers, gzip"), Stream),
        ("te: Trailers", field(b"te", b"Trailers"), Stream),
    ]);
}

#[test]
fn line_17_names_and_values() {
    refuse_everywhere(&[
        ("a capital", field(b"X-Test", b"a"), Connection),
        ("a name of nothing", field(b"", b"a"), Connection),
        ("a blank in a name", field(b"x test", b"a"), Connection),
        ("a colon in a name", field(b"x:test", b"a"), Connection),
        ("CR LF in a name", field(b"x\r\ny", b"a"), Connection),
        ("NUL in a name", field(b"x\0y", b"a"), Connection),
        ("a letter beyond ASCII in a name", field("x-é".as_bytes(), b"a"), Connection),
        ("CR in a value", field(b"x-test", b"a\rb"), Connection),
        ("LF in a value", field(b"x-test", b"a\nb"), Connection),
        ("CR LF and a field in a value", field(b"x-test", b"a\r\nauthorization: b"), Connection),
        ("NUL in a value", field(b"x-test", b"a\0b"), Connection),
        ("DEL in a value", field(b"x-test", b"a\x7fb"), Connection),
        ("ESC in a value", field(b"x-test", b"a\x1bb"), Connection),
        ("a blank before a value", field(b"x-test", b" a"), MALFORMED),
        ("a blank after a value", field(b"x-test", b"a "), MALFORMED),
        ("a tab before a value", field(b"x-test", b"\ta"), MALFORMED),
        ("a tab after a value", field(b"x-test", b"a\t"), MALFORMED),
        ("a value of a blank", field(b"x-test", b" "), MALFORMED),
    ]);
}

#[test]
fn line_17_lengths() {
    refuse_everywhere(&[
        ("a length and no body", field(b"content-length", b"1"), Stream),
        ("a length that is none", field(b"content-length", b"+0"), Stream),
        ("a length of nothing", field(b"content-length", b""), MALFORMED),
        ("a list of lengths", field(b"content-length", b"0, 0"), Stream),
        ("a length with a blank", field(b"content-length", b" 0"), Stream),
        ("a length beyond all", field(b"content-length", b"99999999999999999999"), Stream),
        ("two lengths that differ", more("content-length", ["0", "00"]), MALFORMED),
        ("two lengths alike", more("content-length", ["0", "0"]), MALFORMED),
    ]);
}

#[test]
fn line_17_authorities() {
    let without = |changes: &[(&[u8], Option<&[u8]>)]| get_with(&[&[(&b":authority"[..], None)], changes].concat());
    refuse_everywhere(&[
        ("host differs", field(b"host", b"localhost:81"), MALFORMED),
        ("host is empty", field(b"host", b""), MALFORMED),
        ("neither is there", without(&[]), MALFORMED),
        ("two hosts", more("host", ["localhost", "localhost"]), MALFORMED),
        (
            "two hosts alone",
            {
                let mut fields = without(&[(b"host", Some(b"localhost"))]);
                fields.push(("host".into(), "localhost".into()));
                fields
            },
            MALFORMED,
        ),
        ("host is junk", without(&[(b"host", Some(b"local host"))]), MALFORMED),
        ("host has user information", without(&[(b"host", Some(b"user@localhost"))]), MALFORMED),
        ("an empty authority", field(b":authority", b""), Stream),
        ("user information", field(b":authority", b"user@localhost"), MALFORMED),
        ("user and password", field(b":authority", b"user:password@localhost"), MALFORMED),
        ("a blank", field(b":authority", b"local host"), Stream),
        ("a path", field(b":authority", b"localhost/sales"), Stream),
        ("a port that is none", field(b":authority", b"localhost:port"), MALFORMED),
        ("a port beyond all", field(b":authority", b"localhost:123456"), MALFORMED),
        ("two ports", field(b":authority", b"localhost:80:80"), Stream),
        ("an address that is not closed", field(b":authority", b"[::1"), Stream),
        ("a list", field(b":authority", b"localhost, localhost"), Stream),
        ("percent-encoded", field(b":authority", b"local%68ost"), Stream),
        ("another site", field(b":authority", b"evil.example"), Refused(421, "host_refused")),
        ("another site's host", without(&[(b"host", Some(b"evil.example"))]), Refused(421, "host_refused")),
    ]);
}

#[test]
fn line_17_targets() {
    let path = |path: &[u8]| field(b":path", path);
    refuse_everywhere(&[
        ("nothing", path(b""), Stream),
        ("a star", path(b"*"), MALFORMED),
        ("a star for OPTIONS", get_with(&[(b":method", Some(b"OPTIONS")), (b":path", Some(b"*"))]), MALFORMED),
        ("no slash", path(b"sales/api/v1/me/"), Stream),
        ("absolute form", path(b"http://localhost/sales/api/v1/me/"), Stream),
        ("an authority", path(b"localhost:80"), Stream),
        ("a query alone", path(b"?a=b"), MALFORMED),
        ("a blank", path(b"/sales/api v1/me/"), Stream),
        ("a tab", path(b"/sales/api\tv1/me/"), Stream),
        ("CR LF", path(b"/sales/ HTTP/1.1\r\nx: y"), Stream),
        ("NUL", path(b"/sales/\0"), Stream),
        ("raw UTF-8", path("/sales/é".as_bytes()), MALFORMED),
        ("bytes that are no text", path(b"/sales/\xff"), Connection),
        ("a quotation mark", path(b"/sales/a\"b"), MALFORMED),
        ("an angle bracket", path(b"/sales/a<b"), Stream),
        ("a backslash", path(b"/sales/a\\..\\b"), Refused(400, "path_not_canonical")),
        ("dot segments", path(b"/sales/../sales/api/v1/me/"), Refused(400, "path_not_canonical")),
        ("a key", path(format!("/sales/api/v1/me/?key={KEY}").as_bytes()), MALFORMED),
        (
            "a longer one than may be",
            path(format!("/sales/{}", "x".repeat(16 << 10)).as_bytes()),
            Refused(414, "uri_too_long"),
        ),
        ("an odd scheme", field(b":scheme", b"ftp"), MALFORMED),
        ("a scheme that is none", field(b":scheme", b"h t"), Stream),
        ("an empty scheme", field(b":scheme", b""), MALFORMED),
    ]);
}

#[test]
fn line_17_methods() {
    let method = |method: &[u8]| field(b":method", method);
    let connect = |more: &[(&[u8], Option<&[u8]>)]| {
        get_with(&[&[(&b":method"[..], Some(&b"CONNECT"[..])), (b":path", None), (b":scheme", None)], more].concat())
    };
    refuse_everywhere(&[
        ("lower case", method(b"get"), MALFORMED),
        ("nothing", method(b""), Connection),
        ("a blank", method(b"GET /x"), Connection),
        ("an underscore", method(b"GET_X"), MALFORMED),
        ("a long one", method(&[b'X'; 33]), MALFORMED),
        ("TRACE", method(b"TRACE"), Refused(405, "method_refused")),
        ("CONNECT", connect(&[]), Refused(405, "method_refused")),
        ("CONNECT elsewhere", connect(&[(b":authority", Some(b"api.close.com:443"))]), Refused(405, "method_refused")),
        ("CONNECT with a path", get_with(&[(b":method", Some(b"CONNECT"))]), Stream),
        (
            "extended CONNECT",
            {
                let mut fields = get_with(&[(b":method", Some(b"CONNECT"))]);
                fields.insert(0, (":protocol".into(), "websocket".into()));
                fields
            },
            Stream,
        ),
        (
            ":protocol without CONNECT",
            {
                let mut fields = get_with(&[]);
                fields.insert(0, (":protocol".into(), "websocket".into()));
                fields
            },
            Stream,
        ),
    ]);
}

#[test]
fn line_17_pseudo_fields() {
    let with_first = |name: &str, value: &str| {
        let mut fields = get_with(&[]);
        fields.insert(0, (name.into(), value.into()));
        fields
    };
    let late = |name: &str| {
        let mut fields = get_with(&[]);
        let at = fields.iter().position(|(own, _)| own == name.as_bytes()).unwrap();
        let field = fields.remove(at);
        fields.push(field);
        fields
    };
    refuse_everywhere(&[
        ("no method", get_with(&[(b":method", None)]), Stream),
        ("no scheme", get_with(&[(b":scheme", None)]), Stream),
        ("no path", get_with(&[(b":path", None)]), Stream),
        ("two methods", with_first(":method", "GET"), Stream),
        ("two schemes", with_first(":scheme", "http"), Stream),
        ("two paths", with_first(":path", "/"), Stream),
        ("two authorities", with_first(":authority", "localhost"), Stream),
        ("a status", with_first(":status", "200"), Stream),
        ("an unknown one", with_first(":host", "localhost"), Connection),
        ("a late method", late(":method"), Stream),
        ("a late path", late(":path"), Stream),
        ("a late authority", late(":authority"), Stream),
    ]);
}

#[test]
fn line_17_what_is_allowed_is_served() {
    let origin = Origin::plain();
    let sealed = Sealed::start(gateway(origin.address).key("\"sales\""));
    for client in [&mut Clear(sealed.world.proxy).enter().shake(&[]), &mut sealed.enter().shake(&[])] {
        for (number, (what, fields)) in [
            ("a host that says the same", field(b"host", b"LOCALHOST")),
            ("a host alone", get_with(&[(b":authority", None), (b"host", Some(b"localhost"))])),
            ("a port", field(b":authority", b"localhost:8080")),
            ("an address", field(b":authority", b"[::1]:80")),
            ("https behind something that speaks TLS", field(b":scheme", b"https")),
            ("a value beyond ASCII", field(b"x-test", b"caf\xe9")),
            ("an empty value", field(b"x-test", b"")),
            ("a tab inside a value", field(b"x-test", b"a\tb")),
            ("te: trailers", field(b"te", b"trailers")),
            ("no length", field(b"content-length", b"0")),
        ]
        .into_iter()
        .enumerate()
        {
            let stream = u32::try_from(number * 2 + 1).unwrap();
            assert!(client.ask(stream, &fields));
            assert_eq!(client.answer(stream).status, 200, "{what}");
        }
    }
    for seen in origin.seen() {
        assert_eq!(seen.line(), "GET /api/v1/me/ HTTP/1.1");
        assert_eq!(seen.values("authorization"), [INJECTED]);
        assert_eq!(seen.values("host"), [origin.address.to_string()]);
        for name in ["te", "content-length", "transfer-encoding", "connection", "closegate-key"] {
            assert_eq!(seen.values(name), [""; 0], "{name}");
        }
    }
}

#[test]
fn an_answer_to_head_is_a_head_that_tells_the_length_of_the_body() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n");
    let sealed = Sealed::start(gateway(origin.address).key("\"sales\""));
    for mut client in [Clear(sealed.world.proxy).enter(), sealed.enter()].map(|client| client.shake(&[])) {
        for (stream, path, status) in [(1, "/sales/api/v1/me/", 200), (3, "/nowhere", 404), (5, "/sales/%2e/", 400)] {
            client.ask(stream, &fields("HEAD", path));
            let (answer, end) = client.ended(stream);
            assert_eq!((answer.status, end, answer.body.len()), (status, End::Whole, 0), "{path}");
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            assert!(length > 100, "{path}: {length}");
        }
    }
    let records = sealed.world.records.wait_for(6);
    assert!(records.iter().all(|record| record["response_bytes"] == 0), "{records:#?}");
}

#[test]
fn line_06_a_fragment_goes_no_further_than_the_codec() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = Clear(world.proxy).enter().shake(&[]).exchange(1, &fields("GET", "/sales/api/v1/me/#/../../x"));
    assert_eq!(answer.status, 200);
    assert_eq!(origin.seen()[0].line(), "GET /api/v1/me/ HTTP/1.1");
    assert_eq!(world.records.wait_for(1)[0]["path"], "/sales/api/v1/me/");
}

/// A POST that may say how long it is, and then sends what it likes.
fn upload(client: &mut Client, length: Option<&str>, pieces: &[&str], trailers: &[(&str, &str)]) -> End {
    let mut fields = post();
    fields.extend(length.map(|length| ("content-length", length)));
    client.begin(1, &fields);
    for (number, piece) in pieces.iter().enumerate() {
        let last = number + 1 == pieces.len() && trailers.is_empty();
        client.send(DATA, if last { END_STREAM } else { 0 }, 1, piece);
    }
    if !trailers.is_empty() {
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, block(trailers));
    }
    client.ended(1).1
}

#[test]
fn line_17_a_body_that_is_not_as_long_as_it_says_is_never_completed_upstream() {
    let origin = Origin::answering(WHOLE);
    let sealed = Sealed::start(gateway(origin.address).key("\"sales\""));
    let trailers = &[("x-test", "a")][..];
    for (what, length, pieces, trailers) in [
        ("less", "9", &["test", "test"][..], &[][..]),
        ("nothing", "4", &[""], &[]),
        ("more", "3", &["test"], &[]),
        ("more in two pieces", "5", &["test", "test"], &[]),
        ("less before trailers", "9", &["test"], trailers),
        ("none announced", "0", &["test"], &[]),
    ] {
        for client in [&mut Clear(sealed.world.proxy).enter().shake(&[]), &mut sealed.enter().shake(&[])] {
            assert_eq!(upload(client, Some(length), pieces, trailers), End::Reset(PROTOCOL_ERROR), "{what}");
            assert!(client.ping());
            assert_eq!(client.fate(), Fate::Pong, "{what}: the connection goes on");
        }
    }
    assert_eq!(origin.seen().len(), 0, "{:?}", origin.seen());
    let records = sealed.world.records.wait_for(12);
    assert!(records.iter().all(|record| record["status"] != 200), "{records:#?}");
    // The connections that they began on are not used again.
    origin.wait_for_ends(origin.connections());
}

#[test]
fn line_13_an_upload_that_is_reset_never_becomes_a_whole_request() {
    let origin = Origin::answering(WHOLE);
    let sealed = Sealed::start(gateway(origin.address).key("\"sales\""));
    let mut count = 0;
    for code in [NO_ERROR, PROTOCOL_ERROR, CANCEL] {
        for length in [None, Some("4"), Some("5")] {
            for mut client in [Clear(sealed.world.proxy).enter(), sealed.enter()].map(|client| client.shake(&[])) {
                let mut fields = post();
                fields.extend(length.map(|length| ("content-length", length)));
                client.begin(1, &fields);
                client.send(DATA, 0, 1, "test");
                count += 1;
                // The request is on its way when it is cut.
                while origin.connections() < count {}
                client.reset(1, code);
                client.ping();
                assert_eq!(client.fate(), Fate::Pong, "{code} {length:?}: the connection goes on");
                origin.wait_for_ends(count);
                let records = sealed.world.records.wait_for(count);
                assert_eq!(records[count - 1]["status"], 499, "{code} {length:?}");
            }
        }
    }
    assert_eq!(origin.seen().len(), 0, "{:?}", origin.seen());
}

#[test]
fn line_20_trailers_reach_no_upstream() {
    let origin = Origin::answering(WHOLE);
    let world = gateway(origin.address).key("\"sales\"").start();
    for (count, trailers) in [
        [("authorization", "Basic c3R1ZmY6"), ("x-test", "smuggled")],
        [("content-length", "3"), ("x-test", "smuggled")],
        // The codec takes this one for good.
        [(":path", "/smuggled"), ("x-test", "smuggled")],
        [("closegate-key", KEY), ("x-test", "smuggled")],
    ]
    .iter()
    .enumerate()
    {
        let mut client = Clear(world.proxy).enter().shake(&[]);
        assert_eq!(upload(&mut client, Some("4"), &["test"], trailers), End::Whole, "{trailers:?}");
        let seen = &origin.wait_for(count + 1)[count];
        assert_eq!(seen.body, b"test");
        assert_eq!(seen.values("authorization"), [INJECTED]);
        assert!(!seen.head.contains("smuggled") && !seen.head.contains("trailer"), "{}", seen.head);
    }
    for trailers in [[("connection", "close")], [("transfer-encoding", "chunked")], [("te", "gzip")]] {
        let mut client = Clear(world.proxy).enter().shake(&[]);
        assert_eq!(upload(&mut client, None, &["test"], &trailers), End::Reset(PROTOCOL_ERROR), "{trailers:?}");
    }
    assert_eq!(origin.seen().len(), 4);
}
