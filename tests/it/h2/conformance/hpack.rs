//! Header blocks in every form that they may have, and in those that they may not (RFC 7541).

use super::super::client::{CONTINUATION, Client, Fate, block, get};
use super::{COMPRESSION_ERROR, Case};
use crate::frames::{END_HEADERS, END_STREAM, HEADERS};

use Fate::{Answer, Connection};

/// The pseudo-fields of a GET by the static table, and the key.
fn indexed() -> Vec<u8> {
    [&[0x82, 0x86][..], &block(&get()[2..])].concat()
}

/// A GET with a piece of header block behind its own.
fn with(c: &mut Client, piece: &[u8]) {
    c.send(HEADERS, END_HEADERS | END_STREAM, 1, [&indexed(), piece].concat());
}

/// A GET with a piece of header block before its own.
fn upon(c: &mut Client, piece: &[u8]) {
    c.send(HEADERS, END_HEADERS | END_STREAM, 1, [piece, &indexed()].concat());
}

/// `www.example.com` in Huffman's code (RFC 7541 C.4.1).
const HUFFMAN: &[u8] = &[0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];

pub(super) const CASES: &[Case] = &[
    ("RFC 7541 6.1 an indexed field", |c| with(c, &[0x90]), Answer(200)),
    ("RFC 7541 6.2.1 a literal with indexing, indexed name", |c| with(c, b"\x7a\x04test"), Answer(200)),
    ("RFC 7541 6.2.1 the same in Huffman's code", |c| with(c, &[&[0x7a], HUFFMAN].concat()), Answer(200)),
    ("RFC 7541 6.2.1 a literal with indexing, new name", |c| with(c, b"\x40\x06x-test\x04test"), Answer(200)),
    (
        "RFC 7541 6.2.1 the same with a value in Huffman's code",
        |c| with(c, &[b"\x40\x06x-test", HUFFMAN].concat()),
        Answer(200),
    ),
    ("RFC 7541 6.2.2 a literal without indexing, indexed name", |c| with(c, b"\x0f\x2b\x04test"), Answer(200)),
    ("RFC 7541 6.2.2 the same in Huffman's code", |c| with(c, &[&[0x0f, 0x2b], HUFFMAN].concat()), Answer(200)),
    ("RFC 7541 6.2.2 a literal without indexing, new name", |c| with(c, b"\x00\x06x-test\x04test"), Answer(200)),
    (
        "RFC 7541 6.2.2 the same with a value in Huffman's code",
        |c| with(c, &[b"\x00\x06x-test", HUFFMAN].concat()),
        Answer(200),
    ),
    ("RFC 7541 6.2.3 a literal never indexed, indexed name", |c| with(c, b"\x1f\x2b\x04test"), Answer(200)),
    ("RFC 7541 6.2.3 the same in Huffman's code", |c| with(c, &[&[0x1f, 0x2b], HUFFMAN].concat()), Answer(200)),
    ("RFC 7541 6.2.3 a literal never indexed, new name", |c| with(c, b"\x10\x06x-test\x04test"), Answer(200)),
    (
        "RFC 7541 6.2.3 the same with a value in Huffman's code",
        |c| with(c, &[b"\x10\x06x-test", HUFFMAN].concat()),
        Answer(200),
    ),
    ("RFC 7541 6.3 a size of the table", |c| upon(c, &[0x20]), Answer(200)),
    ("RFC 7541 4.2 two sizes of the table", |c| upon(c, &[0x20, 0x3f, 0xe1, 0x1f]), Answer(200)),
    (
        "RFC 7541 2.3.2 what was added is found again",
        |c| {
            with(c, b"\x40\x06x-test\x04test");
            c.answer(1);
            c.send(HEADERS, END_HEADERS | END_STREAM, 3, [&indexed()[..], &[0xbe]].concat());
        },
        Answer(200),
    ),
    (
        "RFC 7541 2.3.2 what was evicted is not",
        |c| {
            with(c, b"\x40\x06x-test\x04test");
            c.answer(1);
            c.send(HEADERS, END_HEADERS | END_STREAM, 3, [&[0x20][..], &indexed(), &[0xbe]].concat());
        },
        Connection(COMPRESSION_ERROR),
    ),
    ("RFC 7541 2.3.3 an index that there is not", |c| with(c, &[0xff, 0x00]), Connection(COMPRESSION_ERROR)),
    (
        "RFC 7541 2.3.3 a name by an index that there is not",
        |c| with(c, b"\x7f\x00\x04test"),
        Connection(COMPRESSION_ERROR),
    ),
    ("RFC 7541 4.2 a size at the end of a block", |c| with(c, &[0x20]), Connection(COMPRESSION_ERROR)),
    ("RFC 7541 5.1 an endless number", |c| with(c, &[0xff; 12]), Connection(COMPRESSION_ERROR)),
    (
        "RFC 7541 5.2 a text longer than its block",
        |c| with(c, b"\x00\x06x-test\x7ftest"),
        Connection(COMPRESSION_ERROR),
    ),
    (
        "RFC 7541 5.2 padding of more than seven bits",
        |c| with(c, &[b"\x00\x06x-test", &[0x8d][..], &HUFFMAN[1..], &[0xff]].concat()),
        Connection(COMPRESSION_ERROR),
    ),
    ("RFC 7541 5.2 padding of zeros", |c| with(c, b"\x00\x06x-test\x83\x49\x50\x90"), Connection(COMPRESSION_ERROR)),
    (
        "RFC 7541 5.2 the code for the end",
        |c| with(c, b"\x00\x06x-test\x84\x49\x53\xff\xff"),
        Connection(COMPRESSION_ERROR),
    ),
    ("RFC 7541 6.1 the index 0", |c| with(c, &[0x80]), Connection(COMPRESSION_ERROR)),
    ("RFC 7541 6.3 a size above the setting", |c| upon(c, &[0x3f, 0xe2, 0x1f]), Connection(COMPRESSION_ERROR)),
    (
        "4.3 a header block that is none",
        |c| _ = c.send(HEADERS, END_HEADERS | END_STREAM, 1, [0x40]),
        Connection(COMPRESSION_ERROR),
    ),
    (
        "4.3 a field over the border of two frames",
        |c| {
            let block = indexed();
            let (first, rest) = block.split_at(block.len() - 3);
            c.send(HEADERS, END_STREAM, 1, first);
            c.send(CONTINUATION, END_HEADERS, 1, rest);
        },
        Answer(200),
    ),
    (
        "4.3 a header block that ends inside a field",
        |c| {
            let block = indexed();
            c.send(HEADERS, END_STREAM, 1, &block[..block.len() - 3]);
            c.send(CONTINUATION, END_HEADERS, 1, []);
        },
        Connection(COMPRESSION_ERROR),
    ),
];
