//! The states of a stream, the numbers of streams, and how many there may be at once (RFC 9113 5).

use super::super::client::{CONTINUATION, Fate, PRIORITY, WITH_PRIORITY, block, get, post};
use super::{CANCEL, Case, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, held};
use crate::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS};

use Fate::{Connection, Pong, Stream};

pub(super) const CASES: &[Case] = &[
    ("5.1 idle: DATA", |c| _ = c.send(DATA, END_STREAM, 1, "test"), Connection(PROTOCOL_ERROR)),
    ("5.1 idle: WINDOW_UPDATE", |c| _ = c.widen(1, 100), Connection(PROTOCOL_ERROR)),
    ("5.1 idle: CONTINUATION", |c| _ = c.send(CONTINUATION, END_HEADERS, 1, []), Connection(PROTOCOL_ERROR)),
    ("5.1 idle: PRIORITY", |c| _ = c.send(PRIORITY, 0, 1, [0, 0, 0, 0, 1]) && c.ping(), Pong),
    ("5.1 idle: a stream of the server's", |c| _ = c.send(DATA, 0, 2, "test"), Connection(PROTOCOL_ERROR)),
    ("5.1 half closed: WINDOW_UPDATE", |c| _ = c.ask(1, &held()) && c.widen(1, 1) && c.ping(), Pong),
    (
        "5.1 half closed: PRIORITY",
        |c| _ = c.ask(1, &held()) && c.send(PRIORITY, 0, 1, [0, 0, 0, 0, 1]) && c.ping(),
        Pong,
    ),
    ("5.1 half closed: RST_STREAM", |c| _ = c.ask(1, &held()) && c.reset(1, CANCEL) && c.ping(), Pong),
    (
        "5.1 half closed: DATA",
        |c| _ = c.ask(1, &held()) && c.send(DATA, END_STREAM, 1, "test"),
        Connection(STREAM_CLOSED),
    ),
    ("5.1 half closed: HEADERS", |c| _ = c.ask(1, &held()) && c.ask(1, &get()), Connection(STREAM_CLOSED)),
    (
        "5.1 half closed: CONTINUATION",
        |c| _ = c.ask(1, &held()) && c.send(CONTINUATION, END_HEADERS, 1, []),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "5.1 closed by RST_STREAM: DATA",
        |c| _ = c.begin(1, &post()) && c.reset(1, CANCEL) && c.send(DATA, END_STREAM, 1, "test"),
        Stream(STREAM_CLOSED),
    ),
    (
        "5.1 closed by RST_STREAM: HEADERS",
        |c| _ = c.begin(1, &post()) && c.reset(1, CANCEL) && c.ask(1, &get()),
        Connection(STREAM_CLOSED),
    ),
    (
        "5.1 closed by RST_STREAM: CONTINUATION",
        |c| _ = c.begin(1, &post()) && c.reset(1, CANCEL) && c.send(CONTINUATION, END_HEADERS, 1, []),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "5.1 closed: DATA",
        |c| {
            c.exchange(1, &get());
            c.send(DATA, END_STREAM, 1, "test");
        },
        Stream(STREAM_CLOSED),
    ),
    (
        "5.1 closed: HEADERS",
        |c| {
            c.exchange(1, &get());
            c.ask(1, &get());
        },
        Connection(STREAM_CLOSED),
    ),
    (
        "5.1 closed: CONTINUATION",
        |c| {
            c.exchange(1, &get());
            c.send(CONTINUATION, END_HEADERS, 1, []);
        },
        Connection(PROTOCOL_ERROR),
    ),
    (
        "5.1 closed: PRIORITY",
        |c| {
            c.exchange(1, &get());
            c.send(PRIORITY, 0, 1, [0, 0, 0, 0, 1]);
            c.ping();
        },
        Pong,
    ),
    (
        "5.1 closed: WINDOW_UPDATE",
        |c| {
            c.exchange(1, &get());
            c.widen(1, 1);
            c.ping();
        },
        Pong,
    ),
    (
        "5.1 closed: RST_STREAM",
        |c| {
            c.exchange(1, &get());
            c.reset(1, CANCEL);
            c.ping();
        },
        Pong,
    ),
    ("5.1.1 an even number", |c| _ = c.ask(2, &get()), Connection(PROTOCOL_ERROR)),
    ("5.1.1 a smaller number", |c| _ = c.ask(5, &held()) && c.ask(3, &get()), Connection(PROTOCOL_ERROR)),
    (
        "5.1.1 the largest number",
        |c| {
            assert_eq!(c.exchange(0x7fff_ffff, &get()).status, 200);
            c.send(GOAWAY, 0, 0, [0; 8]);
        },
        Connection(NO_ERROR),
    ),
    (
        "5.1.1 numbers that were left out are closed",
        |c| _ = c.ask(5, &held()) && c.send(DATA, 0, 3, "test"),
        Stream(STREAM_CLOSED),
    ),
    (
        "5.1.2 more streams than there may be",
        |c| {
            assert!((0..=100).all(|number| c.ask(number * 2 + 1, &held())));
            assert_eq!(c.fate(), Stream(REFUSED_STREAM));
            c.reset(1, CANCEL);
            c.ping();
        },
        Pong,
    ),
    (
        "5.3.1 HEADERS that depend on themselves",
        |c| {
            _ = c.send(
                HEADERS,
                END_HEADERS | END_STREAM | WITH_PRIORITY,
                1,
                [&[0, 0, 0, 1, 255], &block(&get())[..]].concat(),
            )
        },
        Stream(PROTOCOL_ERROR),
    ),
    (
        "5.3.1 PRIORITY that depends on itself",
        |c| _ = c.ask(1, &held()) && c.send(PRIORITY, 0, 1, [0, 0, 0, 1, 255]),
        Stream(PROTOCOL_ERROR),
    ),
];
