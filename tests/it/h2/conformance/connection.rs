//! The connection as a whole: settings, pings, the window of the connection, its end (RFC 9113 3.4, 5.4, 6.5 to 6.9).

use super::super::client::{
    ACK, CONTINUATION, ENABLE_PUSH, Fate, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, WINDOW_UPDATE,
    fields, get,
};
use super::{Case, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, NO_ERROR, PROTOCOL_ERROR};
use crate::frames::{DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS};

use Fate::{Answer, Connection, Pong};

/// The most that a window may be.
const MAX_WINDOW: u32 = 0x7fff_ffff;
const SETTINGS_MAX_HEADER_LIST_SIZE: u16 = 6;

pub(super) const CASES: &[Case] = &[
    ("5.4.1 a connection error is told with GOAWAY", |c| _ = c.send(PING, 0, 0, [0; 4]), Connection(FRAME_SIZE_ERROR)),
    ("6.5 SETTINGS", |c| _ = c.settings(&[(INITIAL_WINDOW_SIZE, 100)]) && c.ping(), Pong),
    ("6.5 an acknowledgement with a payload", |c| _ = c.send(SETTINGS, ACK, 0, [0; 6]), Connection(FRAME_SIZE_ERROR)),
    ("6.5 SETTINGS on a stream", |c| _ = c.send(SETTINGS, 0, 1, []), Connection(PROTOCOL_ERROR)),
    ("6.5 SETTINGS of three octets", |c| _ = c.send(SETTINGS, 0, 0, [0; 3]), Connection(FRAME_SIZE_ERROR)),
    ("6.5 an acknowledgement of nothing", |c| _ = c.send(SETTINGS, ACK, 0, []), Connection(PROTOCOL_ERROR)),
    ("6.5.2 ENABLE_PUSH of 2", |c| _ = c.settings(&[(ENABLE_PUSH, 2)]), Connection(PROTOCOL_ERROR)),
    (
        "6.5.2 INITIAL_WINDOW_SIZE above the most",
        |c| _ = c.settings(&[(INITIAL_WINDOW_SIZE, MAX_WINDOW + 1)]),
        Connection(FLOW_CONTROL_ERROR),
    ),
    ("6.5.2 MAX_FRAME_SIZE below 2^14", |c| _ = c.settings(&[(MAX_FRAME_SIZE, 16383)]), Connection(PROTOCOL_ERROR)),
    ("6.5.2 MAX_FRAME_SIZE above 2^24-1", |c| _ = c.settings(&[(MAX_FRAME_SIZE, 1 << 24)]), Connection(PROTOCOL_ERROR)),
    ("6.5.2 an unknown setting", |c| _ = c.settings(&[(0xff, 1)]) && c.ping(), Pong),
    ("6.5.2 HEADER_TABLE_SIZE of 0", |c| _ = c.settings(&[(HEADER_TABLE_SIZE, 0)]) && c.ask(1, &get()), Answer(200)),
    (
        "6.5.2 MAX_HEADER_LIST_SIZE is advice",
        |c| _ = c.settings(&[(SETTINGS_MAX_HEADER_LIST_SIZE, 1)]) && c.ping(),
        Pong,
    ),
    (
        "6.5.3 the last of several values counts",
        |c| {
            c.settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)]);
            c.ask(1, &get());
            while c.next().is_some_and(|frame| frame.kind != HEADERS) {}
            let frame = c.next().unwrap();
            assert_eq!((frame.kind, frame.payload.len()), (DATA, 1));
            c.ping();
        },
        Pong,
    ),
    (
        "6.5.3 SETTINGS are acknowledged",
        |c| {
            c.settings(&[(INITIAL_WINDOW_SIZE, 100)]);
            while c.next().is_some_and(|frame| (frame.kind, frame.flags) != (SETTINGS, ACK)) {}
            c.ping();
        },
        Pong,
    ),
    (
        "6.7 PING is answered with its payload",
        |c| {
            c.send(PING, 0, 0, *b"conforms");
            let pong = std::iter::from_fn(|| c.next()).find(|frame| frame.kind == PING).unwrap();
            assert_eq!((pong.flags, pong.payload.as_slice()), (ACK, &b"conforms"[..]));
            c.ping();
        },
        Pong,
    ),
    (
        "6.7 an answer to no PING is not answered",
        |c| {
            c.send(PING, ACK, 0, *b"unasked.");
            c.ping();
            let pong = std::iter::from_fn(|| c.next()).find(|frame| frame.kind == PING).unwrap();
            assert_eq!(pong.payload, b"conforms");
            c.ping();
        },
        Pong,
    ),
    ("6.7 PING on a stream", |c| _ = c.send(PING, 0, 1, [0; 8]), Connection(PROTOCOL_ERROR)),
    ("6.7 PING of six octets", |c| _ = c.send(PING, 0, 0, [0; 6]), Connection(FRAME_SIZE_ERROR)),
    ("6.8 GOAWAY", |c| _ = c.send(GOAWAY, 0, 0, [0; 8]), Connection(NO_ERROR)),
    ("6.8 GOAWAY on a stream", |c| _ = c.send(GOAWAY, 0, 1, [0; 8]), Connection(PROTOCOL_ERROR)),
    (
        "6.8 GOAWAY does not end what is under way",
        |c| {
            c.ask(1, &get());
            c.send(GOAWAY, 0, 0, [0; 8]);
            assert_eq!(c.fate(), Answer(200));
        },
        Connection(NO_ERROR),
    ),
    ("7 GOAWAY with an unknown code", |c| _ = c.send(GOAWAY, 0, 0, [0, 0, 0, 0, 0, 0, 0, 255]), Connection(NO_ERROR)),
    (
        "7 RST_STREAM with an unknown code",
        |c| {
            c.begin(1, &get());
            c.send(RST_STREAM, 0, 1, [0, 0, 0, 255]);
            c.ping();
        },
        Pong,
    ),
    ("6.9 WINDOW_UPDATE of the connection", |c| _ = c.widen(0, 1) && c.ping(), Pong),
    ("6.9 an increment of 0 for the connection", |c| _ = c.widen(0, 0), Connection(PROTOCOL_ERROR)),
    ("6.9 WINDOW_UPDATE of three octets", |c| _ = c.send(WINDOW_UPDATE, 0, 0, [0; 3]), Connection(FRAME_SIZE_ERROR)),
    (
        "6.9 the reserved bit of an increment",
        |c| _ = c.send(WINDOW_UPDATE, 0, 0, (0x8000_0000_u32 | 1).to_be_bytes()) && c.ping(),
        Pong,
    ),
    (
        "6.9.1 the window of the connection above the most",
        |c| _ = c.widen(0, MAX_WINDOW) && c.widen(0, MAX_WINDOW),
        Connection(FLOW_CONTROL_ERROR),
    ),
    (
        "6.9.1 nothing is sent beyond the window",
        |c| {
            c.settings(&[(INITIAL_WINDOW_SIZE, 1)]);
            c.ask(1, &get());
            while c.next().is_some_and(|frame| frame.kind != HEADERS) {}
            assert_eq!(c.next().unwrap().payload, b"w");
            // The answer to the PING is the next frame: no more of the body came before it.
            c.ping();
            assert_eq!(c.next().unwrap().kind, PING);
            c.widen(1, 1);
            assert_eq!(c.next().unwrap().payload, b"h");
            c.ping();
        },
        Pong,
    ),
    (
        "6.9.2 a window that is set later counts for streams that are open",
        |c| {
            c.settings(&[(INITIAL_WINDOW_SIZE, 0)]);
            c.ask(1, &get());
            while c.next().is_some_and(|frame| frame.kind != HEADERS) {}
            c.settings(&[(INITIAL_WINDOW_SIZE, 1)]);
            let data = std::iter::from_fn(|| c.next()).find(|frame| frame.kind == DATA).unwrap();
            assert_eq!(data.payload, b"w");
            c.ping();
        },
        Pong,
    ),
    (
        "6.9.2 a window may become negative",
        |c| {
            c.settings(&[(INITIAL_WINDOW_SIZE, 3)]);
            c.ask(1, &get());
            let data = std::iter::from_fn(|| c.next()).find(|frame| frame.kind == DATA).unwrap();
            assert_eq!(data.payload, b"who");
            // 3 were sent: 2 - 3 + 2 leaves room for one.
            c.settings(&[(INITIAL_WINDOW_SIZE, 2)]);
            c.widen(1, 2);
            let data = std::iter::from_fn(|| c.next()).find(|frame| frame.kind == DATA).unwrap();
            assert_eq!(data.payload, b"l");
            c.ping();
        },
        Pong,
    ),
    (
        "6.9.2 a setting that takes a window above the most",
        |c| {
            c.begin(1, &fields("POST", "/sales/api/v1/lead/"));
            c.widen(1, MAX_WINDOW - 65_535);
            c.settings(&[(INITIAL_WINDOW_SIZE, 65_536)]);
        },
        Connection(FLOW_CONTROL_ERROR),
    ),
    ("4.1 a frame of an unknown kind", |c| _ = c.send(0x16, 0, 0, [0; 8]) && c.ping(), Pong),
    ("4.1 flags that are not defined", |c| _ = c.send(PING, 0x16, 0, *b"conforms"), Pong),
    ("4.1 the reserved bit of a stream", |c| _ = c.send(PING, 0, 0x8000_0000, *b"conforms"), Pong),
    ("5.5 an unknown kind on a stream", |c| _ = c.send(0xff, 0xff, 77, [7; 100]) && c.ping(), Pong),
    (
        "5.5 an unknown kind inside a header block",
        |c| {
            c.send(HEADERS, 0, 1, super::super::client::block(&get()));
            c.send(0xff, 0, 1, [0; 8]);
            c.send(CONTINUATION, 4, 1, []);
        },
        Connection(PROTOCOL_ERROR),
    ),
];
