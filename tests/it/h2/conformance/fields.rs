//! Requests as messages: pseudo-fields, names, lengths, trailers (RFC 9113 8).

use super::super::client::{Client, Fate, block, fields, get, post};
use super::{Case, PROTOCOL_ERROR};
use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS};
use crate::world::KEY;

use Fate::{Answer, Connection, Stream};

/// A GET with one more field.
fn with(c: &mut Client, name: &str, value: &str) {
    let mut fields = get();
    fields.push((name, value));
    c.ask(1, &fields);
}

/// A GET without a field.
fn without(c: &mut Client, name: &str) {
    let mut fields = get();
    fields.retain(|(own, _)| *own != name);
    c.ask(1, &fields);
}

/// A GET with a pseudo-field doubled.
fn doubled(c: &mut Client, name: &str) {
    let mut fields = get();
    let field = *fields.iter().find(|(own, _)| *own == name).unwrap();
    fields.insert(0, field);
    c.ask(1, &fields);
}

/// A POST with trailers.
fn trailed(c: &mut Client, trailers: &[(&str, &str)]) {
    c.begin(1, &post());
    c.send(DATA, 0, 1, "test");
    c.send(HEADERS, END_HEADERS | END_STREAM, 1, block(trailers));
}

/// A POST that says how long it is, and its DATA frames.
fn long(c: &mut Client, length: &str, pieces: &[&str]) {
    let mut fields = post();
    fields.push(("content-length", length));
    c.begin(1, &fields);
    for (number, piece) in pieces.iter().enumerate() {
        c.send(DATA, if number + 1 == pieces.len() { END_STREAM } else { 0 }, 1, piece);
    }
}

pub(super) const CASES: &[Case] = &[
    ("8.1 GET", |c| _ = c.ask(1, &get()), Answer(200)),
    ("8.1 HEAD", |c| _ = c.ask(1, &fields("HEAD", "/sales/api/v1/me/")), Answer(200)),
    ("8.1 POST", |c| long(c, "4", &["test"]), Answer(200)),
    ("8.1 POST with trailers", |c| trailed(c, &[("x-test", "ok")]), Answer(200)),
    (
        "8.1 HEADERS that do not end a request that has a head",
        |c| _ = c.begin(1, &post()) && c.begin(1, &[("x", "y")]),
        Stream(PROTOCOL_ERROR),
    ),
    ("8.2.1 a name with a capital", |c| with(c, "X-Test", "ok"), Connection(PROTOCOL_ERROR)),
    ("8.2.2 connection", |c| with(c, "connection", "keep-alive"), Stream(PROTOCOL_ERROR)),
    ("8.2.2 keep-alive", |c| with(c, "keep-alive", "3"), Stream(PROTOCOL_ERROR)),
    ("8.2.2 proxy-connection", |c| with(c, "proxy-connection", "close"), Stream(PROTOCOL_ERROR)),
    ("8.2.2 transfer-encoding", |c| with(c, "transfer-encoding", "chunked"), Stream(PROTOCOL_ERROR)),
    ("8.2.2 upgrade", |c| with(c, "upgrade", "h2c"), Stream(PROTOCOL_ERROR)),
    ("8.2.2 te: trailers", |c| with(c, "te", "trailers"), Answer(200)),
    ("8.2.2 te: gzip", |c| with(c, "te", "gzip"), Stream(PROTOCOL_ERROR)),
    ("8.2.2 te: trailers, deflate", |c| with(c, "te", "trailers, deflate;q=0.5"), Stream(PROTOCOL_ERROR)),
    ("8.2.3 cookie in pieces", |c| with(c, "cookie", "a=b"), Answer(200)),
    (
        "8.3 an unknown pseudo-field",
        |c| {
            let mut fields = get();
            fields.insert(0, (":test", "ok"));
            c.ask(1, &fields);
        },
        Connection(PROTOCOL_ERROR),
    ),
    (
        "8.3 a pseudo-field of answers",
        |c| {
            let mut fields = get();
            fields.insert(0, (":status", "200"));
            c.ask(1, &fields);
        },
        Stream(PROTOCOL_ERROR),
    ),
    (
        "8.3 a pseudo-field after others",
        |c| {
            let mut fields = get();
            let path = fields.remove(2);
            fields.push(path);
            c.ask(1, &fields);
        },
        Stream(PROTOCOL_ERROR),
    ),
    ("8.1 a pseudo-field in trailers", |c| trailed(c, &[(":method", "POST")]), Answer(200)),
    ("8.3.1 an empty :path", |c| _ = c.ask(1, &fields("GET", "")), Stream(PROTOCOL_ERROR)),
    ("8.3.1 no :method", |c| without(c, ":method"), Stream(PROTOCOL_ERROR)),
    ("8.3.1 no :scheme", |c| without(c, ":scheme"), Stream(PROTOCOL_ERROR)),
    ("8.3.1 no :path", |c| without(c, ":path"), Stream(PROTOCOL_ERROR)),
    ("8.3.1 two of :method", |c| doubled(c, ":method"), Stream(PROTOCOL_ERROR)),
    ("8.3.1 two of :scheme", |c| doubled(c, ":scheme"), Stream(PROTOCOL_ERROR)),
    ("8.3.1 two of :path", |c| doubled(c, ":path"), Stream(PROTOCOL_ERROR)),
    ("8.3.1 two of :authority", |c| doubled(c, ":authority"), Stream(PROTOCOL_ERROR)),
    ("8.1.1 fewer octets than announced", |c| long(c, "5", &["test"]), Stream(PROTOCOL_ERROR)),
    ("8.1.1 fewer octets in several frames", |c| long(c, "9", &["test", "test"]), Stream(PROTOCOL_ERROR)),
    ("8.1.1 more octets than announced", |c| long(c, "1", &["test"]), Stream(PROTOCOL_ERROR)),
    ("8.1.1 more octets in several frames", |c| long(c, "5", &["test", "test"]), Stream(PROTOCOL_ERROR)),
    ("8.1.1 octets announced and none sent", |c| with(c, "content-length", "1"), Stream(PROTOCOL_ERROR)),
    ("8.1.1 none announced and none sent", |c| with(c, "content-length", "0"), Answer(200)),
    ("8.1.1 a length that is no number", |c| long(c, "+4", &["test"]), Stream(PROTOCOL_ERROR)),
    (
        "8.5 CONNECT with a :path",
        |c| {
            _ = c.ask(
                1,
                &[
                    (":method", "CONNECT"),
                    (":scheme", "http"),
                    (":path", "/"),
                    (":authority", "localhost"),
                    ("closegate-key", KEY),
                ],
            )
        },
        Stream(PROTOCOL_ERROR),
    ),
    (
        "8.5 CONNECT",
        |c| _ = c.ask(1, &[(":method", "CONNECT"), (":authority", "localhost:80"), ("closegate-key", KEY)]),
        Answer(405),
    ),
];
