//! Each kind of frame: its size, its stream, its padding, its place among the others (RFC 9113 4.2, 6).

use super::super::client::{
    CONTINUATION, Fate, MAX_FRAME, PADDED, PRIORITY, PUSH_PROMISE, WINDOW_UPDATE, WITH_PRIORITY, block, get, post,
};
use super::{Case, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, held};
use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM};

use Fate::{Answer, Connection, Pong, Stream};

/// The whole of a request in one HEADERS frame.
const WHOLE: u8 = END_HEADERS | END_STREAM;

/// A header block and what stands before it.
fn behind(first: &[u8]) -> Vec<u8> {
    [first, &block(&get())].concat()
}

/// A header block in so many pieces.
fn pieces(count: usize) -> Vec<Vec<u8>> {
    let block = block(&get());
    block.chunks(block.len().div_ceil(count)).map(<[u8]>::to_vec).collect()
}

pub(super) const CASES: &[Case] = &[
    ("6.1 DATA", |c| _ = c.begin(1, &post()) && c.send(DATA, END_STREAM, 1, "test"), Answer(200)),
    (
        "6.1 several DATA frames",
        |c| _ = c.begin(1, &post()) && c.send(DATA, 0, 1, "test") && c.send(DATA, END_STREAM, 1, "test"),
        Answer(200),
    ),
    (
        "6.1 DATA with padding",
        |c| _ = c.begin(1, &post()) && c.send(DATA, END_STREAM | PADDED, 1, b"\x03test\0\0\0"),
        Answer(200),
    ),
    (
        "6.1 an empty DATA frame ends a request",
        |c| _ = c.begin(1, &post()) && c.send(DATA, END_STREAM, 1, []),
        Answer(200),
    ),
    (
        "4.2 DATA of 2^14 octets",
        |c| _ = c.begin(1, &post()) && c.send(DATA, END_STREAM, 1, [0; MAX_FRAME]),
        Answer(200),
    ),
    (
        "4.2 DATA of more",
        |c| _ = c.begin(1, &post()) && c.send(DATA, END_STREAM, 1, [0; MAX_FRAME + 1]),
        Connection(FRAME_SIZE_ERROR),
    ),
    ("4.2 HEADERS of more", |c| _ = c.send(HEADERS, WHOLE, 1, [0; MAX_FRAME + 1]), Connection(FRAME_SIZE_ERROR)),
    ("6.1 DATA on no stream", |c| _ = c.send(DATA, 0, 0, "test"), Connection(PROTOCOL_ERROR)),
    (
        "6.1 padding as long as the frame",
        |c| _ = c.begin(1, &post()) && c.send(DATA, END_STREAM | PADDED, 1, b"\x05test"),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.1 padding without its length",
        |c| _ = c.begin(1, &post()) && c.send(DATA, END_STREAM | PADDED, 1, []),
        Connection(PROTOCOL_ERROR),
    ),
    ("6.2 HEADERS", |c| _ = c.ask(1, &get()), Answer(200)),
    (
        "6.2 HEADERS with padding",
        |c| _ = c.send(HEADERS, WHOLE | PADDED, 1, [behind(&[3]), vec![0; 3]].concat()),
        Answer(200),
    ),
    (
        "6.2 HEADERS with priority",
        |c| _ = c.send(HEADERS, WHOLE | WITH_PRIORITY, 1, behind(&[0, 0, 0, 0, 255])),
        Answer(200),
    ),
    (
        "6.2 HEADERS with both",
        |c| _ = c.send(HEADERS, WHOLE | PADDED | WITH_PRIORITY, 1, [behind(&[1, 0x80, 0, 0, 0, 9]), vec![0]].concat()),
        Answer(200),
    ),
    ("6.2 HEADERS on no stream", |c| _ = c.send(HEADERS, WHOLE, 0, block(&get())), Connection(PROTOCOL_ERROR)),
    (
        "6.2 HEADERS with more padding than there is",
        |c| _ = c.send(HEADERS, WHOLE | PADDED, 1, [200, 0, 0]),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.2 HEADERS with half a priority",
        |c| _ = c.send(HEADERS, WHOLE | WITH_PRIORITY, 1, [0, 0]),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.2 HEADERS inside a header block",
        |c| _ = c.send(HEADERS, END_STREAM, 1, block(&get())) && c.send(HEADERS, WHOLE, 3, block(&get())),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.2 PRIORITY inside a header block",
        |c| _ = c.send(HEADERS, END_STREAM, 1, block(&get())) && c.send(PRIORITY, 0, 1, [0, 0, 0, 0, 255]),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.2 PING inside a header block",
        |c| _ = c.send(HEADERS, END_STREAM, 1, block(&get())) && c.send(PING, 0, 0, [0; 8]),
        Connection(PROTOCOL_ERROR),
    ),
    ("6.3 PRIORITY", |c| _ = c.send(PRIORITY, 0, 1, [0, 0, 0, 0, 0]) && c.ping(), Pong),
    ("6.3 PRIORITY of weight 256", |c| _ = c.send(PRIORITY, 0, 1, [0, 0, 0, 0, 255]) && c.ping(), Pong),
    ("6.3 PRIORITY on another stream", |c| _ = c.send(PRIORITY, 0, 3, [0, 0, 0, 1, 255]) && c.ping(), Pong),
    ("6.3 PRIORITY for itself alone", |c| _ = c.send(PRIORITY, 0, 3, [0x80, 0, 0, 1, 255]) && c.ping(), Pong),
    (
        "6.3 PRIORITY of a stream does not use up those below",
        |c| _ = c.send(PRIORITY, 0, 99, [0, 0, 0, 1, 255]) && c.ask(1, &get()),
        Answer(200),
    ),
    ("6.3 PRIORITY on no stream", |c| _ = c.send(PRIORITY, 0, 0, [0; 5]), Connection(PROTOCOL_ERROR)),
    (
        "6.3 PRIORITY of four octets",
        |c| _ = c.ask(1, &held()) && c.send(PRIORITY, 0, 1, [0; 4]),
        Connection(FRAME_SIZE_ERROR),
    ),
    ("6.4 RST_STREAM", |c| _ = c.begin(1, &post()) && c.reset(1, 8) && c.ping(), Pong),
    ("6.4 RST_STREAM on no stream", |c| _ = c.reset(0, 8), Connection(PROTOCOL_ERROR)),
    ("6.4 RST_STREAM of an idle stream", |c| _ = c.reset(1, 8), Connection(PROTOCOL_ERROR)),
    (
        "6.4 RST_STREAM of three octets",
        |c| _ = c.begin(1, &post()) && c.send(RST_STREAM, 0, 1, [0; 3]),
        Connection(FRAME_SIZE_ERROR),
    ),
    (
        "6.6 PUSH_PROMISE of a client",
        |c| _ = c.begin(1, &post()) && c.send(PUSH_PROMISE, 4, 1, [&[0, 0, 0, 2], &block(&get())[..]].concat()),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "8.4 PUSH_PROMISE on no stream",
        |c| _ = c.send(PUSH_PROMISE, 4, 0, [&[0, 0, 0, 2], &block(&get())[..]].concat()),
        Connection(PROTOCOL_ERROR),
    ),
    ("6.9 WINDOW_UPDATE of a stream", |c| _ = c.ask(1, &held()) && c.widen(1, 1) && c.ping(), Pong),
    ("6.9 an increment of 0 for a stream", |c| _ = c.ask(1, &held()) && c.widen(1, 0), Connection(PROTOCOL_ERROR)),
    (
        "6.9 WINDOW_UPDATE of five octets",
        |c| _ = c.ask(1, &held()) && c.send(WINDOW_UPDATE, 0, 1, [0; 5]),
        Connection(FRAME_SIZE_ERROR),
    ),
    (
        "6.9.1 the window of a stream above the most",
        |c| _ = c.ask(1, &held()) && c.widen(1, 0x7fff_ffff) && c.widen(1, 0x7fff_ffff),
        Stream(FLOW_CONTROL_ERROR),
    ),
    (
        "6.10 CONTINUATION",
        |c| {
            let pieces = pieces(2);
            c.send(HEADERS, END_STREAM, 1, &pieces[0]);
            c.send(CONTINUATION, END_HEADERS, 1, &pieces[1]);
        },
        Answer(200),
    ),
    (
        "6.10 CONTINUATION upon CONTINUATION",
        |c| {
            let pieces = pieces(4);
            c.send(HEADERS, END_STREAM, 1, &pieces[0]);
            c.send(CONTINUATION, 0, 1, &pieces[1]);
            c.send(CONTINUATION, 0, 1, &pieces[2]);
            c.send(CONTINUATION, END_HEADERS, 1, &pieces[3]);
        },
        Answer(200),
    ),
    (
        "6.10 an empty HEADERS frame and its CONTINUATION",
        |c| _ = c.send(HEADERS, END_STREAM, 1, []) && c.send(CONTINUATION, END_HEADERS, 1, block(&get())),
        Answer(200),
    ),
    (
        "6.10 DATA where CONTINUATION is due",
        |c| _ = c.send(HEADERS, 0, 1, block(&post())) && c.send(DATA, END_STREAM, 1, "test"),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.10 CONTINUATION of another stream",
        |c| _ = c.send(HEADERS, END_STREAM, 1, block(&get())) && c.send(CONTINUATION, END_HEADERS, 3, []),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.10 CONTINUATION on no stream",
        |c| _ = c.send(HEADERS, END_STREAM, 1, block(&get())) && c.send(CONTINUATION, END_HEADERS, 0, []),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.10 CONTINUATION upon nothing",
        |c| _ = c.send(CONTINUATION, END_HEADERS, 1, block(&get())),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.10 CONTINUATION upon a whole head",
        |c| _ = c.ask(1, &held()) && c.send(CONTINUATION, END_HEADERS, 1, block(&[("a", "b")])),
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.10 CONTINUATION upon the last CONTINUATION",
        |c| {
            c.send(HEADERS, END_STREAM, 1, block(&held()));
            c.send(CONTINUATION, END_HEADERS, 1, []);
            c.send(CONTINUATION, END_HEADERS, 1, block(&[("a", "b")]));
        },
        Connection(PROTOCOL_ERROR),
    ),
    (
        "6.10 CONTINUATION upon DATA",
        |c| {
            c.begin(1, &post());
            c.send(DATA, 0, 1, "test");
            c.send(CONTINUATION, END_HEADERS, 1, block(&[("a", "b")]));
        },
        Connection(PROTOCOL_ERROR),
    ),
];
