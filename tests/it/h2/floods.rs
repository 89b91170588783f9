//! Floods: the connection ends, or it costs little memory, and others are served all the while (security.md 18).
//!
//! Each is played in clear text and over TLS at a gateway in a process of its own, by a client that listens and by one
//! that never reads. After each piece of a flood another client asks, on a connection that it keeps.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

use super::client::{
    CONTINUATION, INITIAL_WINDOW_SIZE, MAX_FRAME, PADDED, PRIORITY, WINDOW_UPDATE, Wire, block, fields, frame, get,
    headers, post,
};
use super::conformance::PROTOCOL_ERROR;
use super::{Clear, Door, Sealed};
use crate::faults;
use crate::frames::{CANCEL, DATA, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS};
use crate::origin::Origin;
use crate::raw::Raw;
use crate::spawned::Spawned;
use crate::world::gateway;

/// What a flood may cost, in KiB.
const LITTLE: u64 = 8 << 10;
/// What streams may cost that go no further, in KiB.
const STALLED: u64 = 16 << 10;
/// How often the other client is served while nothing more of a flood is taken, before that is believed.
const PATIENCE: usize = 50;
/// The size of `/big/`.
const LARGE: usize = 64 << 20;
/// RFC 9113 7: the peer asks for too much.
const ENHANCE_YOUR_CALM: u32 = 11;

/// A piece of a flood by its number, in bytes.
type Piece = fn(u32) -> Vec<u8>;

/// What a flooding client does about what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Listens,
    NeverReads,
}

/// How a flood came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The gateway ended the connection; with this code, where that was heard.
    Ended(Option<u32>),
    /// The gateway takes no more of it.
    Held,
    /// Everything was sent and taken.
    Spent,
}

/// A client that sends whatever it likes and waits for nobody.
struct Flooder {
    wire: Box<dyn Wire>,
    _socket: TcpStream,
    manner: Manner,
    heard: Vec<u8>,
    gone: Option<u32>,
}

impl Flooder {
    fn enter(door: &impl Door, manner: Manner, settings: &[(u16, u32)]) -> Self {
        let (wire, socket) = door.enter().shake(settings).into_wire();
        socket.set_nonblocking(true).unwrap();
        Self { wire, _socket: socket, manner, heard: Vec::new(), gone: None }
    }

    /// Sends pieces for as long as they are taken.
    fn pour(&mut self, pieces: u32, piece: Piece, other: &mut Other) -> End {
        for number in 0..pieces {
            let piece = piece(number);
            let (mut at, mut refused) = (0, 0);
            while at < piece.len() {
                match self.wire.write(&piece[at..]) {
                    Ok(count) => (at, refused) = (at + count, 0),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => refused += 1,
                    Err(_) => return self.ended(),
                }
                if !self.listen() {
                    return self.ended();
                }
                other.is_served();
                if refused > PATIENCE && self.manner == Manner::NeverReads {
                    return End::Held;
                }
                assert!(refused < 100 * PATIENCE, "a client that listens is not read from");
            }
        }
        // What has ended says so by now; what goes on has taken everything.
        for _ in 0..PATIENCE {
            other.is_served();
            if self.wire.flush().is_err_and(|error| error.kind() != ErrorKind::WouldBlock) || !self.listen() {
                return self.ended();
            }
        }
        End::Spent
    }

    fn ended(&mut self) -> End {
        self.listen();
        End::Ended(self.gone)
    }

    /// Reads what is there; `false` at the end of the connection.
    fn listen(&mut self) -> bool {
        let mut piece = [0; 16_384];
        while self.manner == Manner::Listens {
            match self.wire.read(&mut piece) {
                Ok(0) => return false,
                Ok(count) => self.hear(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        while let [high, middle, low, kind, ..] = *self.heard {
            let end = 9 + u32::from_be_bytes([0, high, middle, low]) as usize;
            if self.heard.len() < end {
                return;
            }
            if kind == GOAWAY {
                self.gone = Some(u32::from_be_bytes(self.heard[13..17].try_into().unwrap()));
            }
            self.heard.drain(..end);
        }
    }
}

/// The client that is served all the while.
struct Other(Raw);

impl Other {
    fn is_served(&mut self) {
        let answer = faults::exchange(&mut self.0, &faults::get());
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "another client suffers");
    }
}

/// An upstream that answers; `/big/` with more than any buffer holds, `/held/` not while this is there: of a body it
/// then takes nothing.
struct Upstream {
    origin: Origin,
    _held: Sender<()>,
}

impl Upstream {
    fn start() -> Self {
        let (held, until) = mpsc::channel();
        let until = Mutex::new(until);
        let origin = Origin::start(move |conversation| {
            while let Some(head) = conversation.request_head() {
                if head.starts_with("POST /held/") {
                    // It is over when the test is.
                    let _ = until.lock().unwrap().recv();
                } else if head.starts_with("GET /held/") {
                    conversation.wait_for_end();
                }
                let Some(seen) = conversation.body_of(head) else { return };
                if !seen.line().contains("/big/") {
                    conversation.send(faults::WHOLE);
                    continue;
                }
                conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
                let piece = vec![b'x'; 1 << 20];
                while conversation.send(&piece) {}
            }
        });
        Self { origin, _held: held }
    }
}

/// Plays a flood at a fresh gateway; how it ended, and what it cost in KiB.
fn play(door: &impl Door, world: &Spawned, manner: Manner, settings: &[(u16, u32)], flood: (u32, Piece)) -> (End, u64) {
    let mut other = Other(world.connect());
    (0..200).for_each(|_| other.is_served());
    let before = world.peak();
    let mut flooder = Flooder::enter(door, manner, settings);
    let end = flooder.pour(flood.0, flood.1, &mut other);
    (0..200).for_each(|_| other.is_served());
    (end, world.grown_beyond(before))
}

/// Plays a flood in a manner at both doors, and holds it to its bound.
fn withstands_in(
    manner: Manner,
    bound: u64,
    settings: &[(u16, u32)],
    flood: (u32, Piece),
    expected: impl Fn(Manner, End) -> bool,
) {
    let upstream = Upstream::start();
    for secured in ["in clear text", "over TLS"] {
        let sealed = Sealed::spawn(gateway(upstream.origin.address).key("\"sales\""));
        let (end, cost) = match secured {
            "over TLS" => play(&sealed, &sealed.world, manner, settings, flood),
            _ => play(&Clear(sealed.world.proxy), &sealed.world, manner, settings, flood),
        };
        // What `cargo test -- --nocapture` shows.
        println!("{secured}, {manner:?}: {end:?}, {cost} KiB");
        assert!(expected(manner, end), "{secured}, {manner:?}: {end:?}");
        assert!(cost < bound, "{secured}, {manner:?}: {cost} KiB");
        let bombs = upstream.origin.seen().iter().filter(|seen| !seen.values("x-bomb").is_empty()).count();
        assert_eq!(bombs, 0, "{secured}, {manner:?}: a bomb went upstream");
    }
}

/// Plays a flood in both manners at both doors.
fn withstands(bound: u64, settings: &[(u16, u32)], flood: (u32, Piece), expected: fn(Manner, End) -> bool) {
    withstands_in(Manner::Listens, bound, settings, flood, expected);
    withstands_in(Manner::NeverReads, bound, settings, flood, expected);
}

/// A flood that the gateway does not put up with.
fn is_ended(_: Manner, end: End) -> bool {
    matches!(end, End::Ended(None | Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)))
}

/// A flood that costs nothing: from a client that listens all of it is taken, from another perhaps no more than has room.
fn is_borne(manner: Manner, end: End) -> bool {
    match manner {
        Manner::Listens => end == End::Spent,
        Manner::NeverReads => matches!(end, End::Spent | End::Held),
    }
}

/// Streams that nobody used yet: a hundred for each piece.
fn hundred(piece: u32) -> impl Iterator<Item = u32> {
    (0..100).map(move |number| (piece * 100 + number) * 2 + 1)
}

fn many(count: usize, frame: &[u8]) -> Vec<u8> {
    frame.repeat(count)
}

#[test]
fn line_18_rapid_reset() {
    let piece = |piece| {
        let reset = |stream| frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        hundred(piece)
            .flat_map(|stream| [headers(END_STREAM, stream, &block(&get())), reset(stream)].concat())
            .collect()
    };
    withstands(LITTLE, &[], (200, piece), is_ended);
}

#[test]
fn line_18_resets_of_requests_that_are_under_way() {
    // Each is looked at before it is reset: that is the client's right, and every one of them is an exchange.
    let piece = |piece: u32| {
        let reset = |stream| frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        let ask = |stream| headers(END_STREAM, stream, &block(&fields("GET", "/sales/held/")));
        let before = piece.checked_sub(1).into_iter().flat_map(hundred).flat_map(reset);
        before.chain(hundred(piece).flat_map(ask)).collect()
    };
    withstands(LITTLE, &[], (20, piece), is_borne);
}

#[test]
fn line_18_made_you_reset_by_a_window_that_does_not_grow() {
    let piece = |piece| {
        let fault = |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
        hundred(piece)
            .flat_map(|stream| [headers(END_STREAM, stream, &block(&get())), fault(stream)].concat())
            .collect()
    };
    withstands(LITTLE, &[], (100, piece), is_ended);
}

#[test]
fn line_18_made_you_reset_by_a_window_that_grows_too_far() {
    let piece = |piece| {
        let fault = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
        hundred(piece)
            .flat_map(|stream| [headers(END_STREAM, stream, &block(&get())), fault(stream)].concat())
            .collect()
    };
    withstands(LITTLE, &[], (100, piece), is_ended);
}

#[test]
fn line_18_made_you_reset_by_a_body_that_is_too_long() {
    let piece = |piece| {
        let mut fields = post();
        fields.push(("content-length", "1"));
        let (block, fault) = (block(&fields), |stream| frame(DATA, 0, stream, b"two"));
        hundred(piece).flat_map(|stream| [headers(0, stream, &block), fault(stream)].concat()).collect()
    };
    withstands(LITTLE, &[], (100, piece), is_ended);
}

#[test]
fn line_18_continuations_without_end() {
    let piece = |piece| {
        let field = block(&[("x-field", "a value that is there again and again")]);
        let part = many(MAX_FRAME / field.len(), &field);
        match piece {
            0 => frame(HEADERS, END_STREAM, 1, &block(&get())),
            _ => many(4, &frame(CONTINUATION, 0, 1, &part)),
        }
    };
    withstands(LITTLE, &[], (1000, piece), is_ended);
}

#[test]
fn line_18_continuations_of_nothing() {
    let piece = |piece| match piece {
        0 => frame(HEADERS, END_STREAM, 1, &block(&get())),
        _ => many(1000, &frame(CONTINUATION, 0, 1, &[])),
    };
    withstands(LITTLE, &[], (200, piece), is_ended);
}

#[test]
fn line_18_data_of_nothing() {
    let piece = |piece| match piece {
        0 => headers(0, 1, &block(&fields("POST", "/sales/held/"))),
        _ => many(1000, &frame(DATA, 0, 1, &[])),
    };
    withstands(LITTLE, &[], (200, piece), is_ended);
}

#[test]
fn line_18_data_of_padding() {
    let piece = |piece| {
        let mut padding = [0; 256];
        padding[0] = 255;
        match piece {
            0 => headers(0, 1, &block(&fields("POST", "/sales/held/"))),
            _ => many(100, &frame(DATA, PADDED, 1, &padding)),
        }
    };
    withstands(LITTLE, &[], (200, piece), is_ended);
}

#[test]
fn line_18_settings() {
    withstands(LITTLE, &[], (200, |_| many(1000, &frame(SETTINGS, 0, 0, &[]))), is_borne);
    let setting = |piece: u32| {
        let [high, low] = INITIAL_WINDOW_SIZE.to_be_bytes();
        many(1000, &frame(SETTINGS, 0, 0, &[high, low, 0, 0, 0, u8::try_from(piece % 100).unwrap()]))
    };
    withstands(LITTLE, &[], (200, setting), is_borne);
}

#[test]
fn line_18_pings() {
    withstands(LITTLE, &[], (200, |_| many(1000, &frame(PING, 0, 0, b"flooding"))), is_borne);
}

#[test]
fn line_18_frames_that_ask_for_nothing() {
    let unknown = |_| many(1000, &frame(0x77, 0, 0, b"what is this"));
    let priorities = |piece| {
        let about = |stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 16]);
        (0..10).flat_map(|_| hundred(piece)).flat_map(about).collect()
    };
    let windows = |_| many(1000, &frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()));
    let floods: [Piece; 3] = [unknown, priorities, windows];
    for piece in floods {
        withstands(LITTLE, &[], (200, piece), is_borne);
    }
}

#[test]
fn line_18_a_bomb_of_hpack() {
    // RFC 7541 6.2.1: a long field goes into the table; 6.1: a byte each takes it out again, 12,000 times a frame.
    let piece = |piece: u32| {
        let value = "x".repeat(3900);
        let mut bomb = block(&[("x-bomb", &value)]);
        bomb[0] = 0x40;
        let request = block(&get());
        let bomb = [&request[..], &bomb[..], &[0xbe; 12_000]].concat();
        headers(END_STREAM, piece * 2 + 1, &bomb)
    };
    withstands(LITTLE, &[], (1000, piece), is_ended);
}

/// A hundred requests for `/big/`.
fn ask_for_much(piece: u32) -> Vec<u8> {
    let block = block(&fields("GET", "/sales/big/"));
    hundred(piece).flat_map(|stream| headers(END_STREAM, stream, &block)).collect()
}

#[test]
fn line_18_windows_of_nothing() {
    // No byte of an answer's body may be sent, and then one of each.
    for window in [0, 1] {
        withstands(STALLED, &[(INITIAL_WINDOW_SIZE, window)], (1, ask_for_much), |_, end| end == End::Spent);
    }
}

#[test]
fn line_18_answers_that_nobody_reads() {
    // All the windows there are, and a client that takes nothing off its socket.
    let piece = |piece| match piece {
        0 => frame(WINDOW_UPDATE, 0, 0, &0x7f00_0000_u32.to_be_bytes()),
        _ => ask_for_much(0),
    };
    let settings = [(INITIAL_WINDOW_SIZE, 0x7fff_ffff)];
    withstands_in(Manner::NeverReads, STALLED, &settings, (2, piece), |_, end| end == End::Spent);
}

#[test]
fn line_18_uploads_that_nobody_takes() {
    let piece = |piece| match piece {
        0 => {
            let block = block(&fields("POST", "/sales/held/"));
            hundred(0).flat_map(|stream| headers(0, stream, &block)).collect()
        }
        // As much as all windows together allow, and not a byte more.
        _ => hundred(0).flat_map(|stream| frame(DATA, 0, stream, &[b'x'; 2048])).collect(),
    };
    withstands(STALLED, &[], (1 + 10, piece), |_, end| end == End::Spent);
}
