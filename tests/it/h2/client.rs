//! A client of HTTP/2 that writes the frames it is told to, in clear text with prior knowledge or over TLS (RFC 9113 4).

use std::collections::BTreeMap;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use httlib_hpack::Decoder;

use crate::frames::{DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS};
use crate::raw::Answer;
use crate::world::KEY;

pub(crate) const PRIORITY: u8 = 2;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
pub(crate) const ENABLE_PUSH: u16 = 2;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(crate) const MAX_FRAME_SIZE: u16 = 5;

/// The most of a frame that a server takes unless it says otherwise.
pub(crate) const MAX_FRAME: usize = 16_384;
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection to the gateway.
pub(crate) struct Client {
    io: BufReader<Box<dyn Wire>>,
    socket: TcpStream,
    hpack: Decoder<'static>,
    /// The fields of the last HEADERS frame.
    fields: Vec<(String, Vec<u8>)>,
    answers: BTreeMap<u32, Coming>,
    /// The code of the last GOAWAY.
    pub gone: Option<u32>,
    /// Whether what is read is given back to the windows.
    pub generous: bool,
}

/// Bytes in both directions.
pub(crate) trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// An answer as far as it has come.
struct Coming {
    answer: Answer,
    end: Option<End>,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With END_STREAM.
    Whole,
    /// With RST_STREAM and this code.
    Reset(u32),
    /// With the connection.
    Gone,
}

/// What the gateway did about frames that were sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// GOAWAY with this code, and the end of the connection.
    Connection(u32),
    /// RST_STREAM with this code.
    Stream(u32),
    /// The end of the connection without a word.
    Closed,
    /// The head of an answer with this status.
    Answer(u16),
    /// A PING was answered: all is well.
    Pong,
}

const STUCK: Duration = Duration::from_secs(30);

impl Client {
    /// A connection on which nothing was said yet.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the gateway listens");
        let io = Box::new(socket.try_clone().unwrap());
        Self::over(io, &socket)
    }

    /// A client on a connection that was made otherwise; `socket` is what lies below it.
    pub(crate) fn over(io: Box<dyn Wire>, socket: &TcpStream) -> Self {
        socket.set_read_timeout(Some(STUCK)).unwrap();
        socket.set_write_timeout(Some(STUCK)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            io: BufReader::new(io),
            socket: socket.try_clone().unwrap(),
            hpack: Decoder::default(),
            fields: Vec::new(),
            answers: BTreeMap::new(),
            gone: None,
            generous: true,
        }
    }

    /// Says the preface and settings, and waits for those of the gateway.
    pub(crate) fn shake(mut self, settings: &[(u16, u32)]) -> Self {
        self.write(PREFACE);
        self.settings(settings);
        let first = self.next().expect("settings");
        assert_eq!((first.kind, first.flags), (SETTINGS, 0), "{first:?}");
        self.send(SETTINGS, ACK, 0, []);
        loop {
            let frame = self.next().expect("an acknowledgement");
            if (frame.kind, frame.flags) == (SETTINGS, ACK) {
                return self;
            }
        }
    }

    /// The connection, and the socket below it; what was read already is forgotten.
    pub(crate) fn into_wire(self) -> (Box<dyn Wire>, TcpStream) {
        (self.io.into_inner(), self.socket)
    }

    /// Writes bytes and says whether the other side took them.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        let io = self.io.get_mut();
        io.write_all(bytes).and_then(|()| io.flush()).is_ok()
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> bool {
        self.write(&frame(kind, flags, stream, payload.as_ref()))
    }

    pub(crate) fn settings(&mut self, settings: &[(u16, u32)]) -> bool {
        let payload =
            settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
        self.send(SETTINGS, 0, 0, payload.collect::<Vec<u8>>())
    }

    /// A request without a body.
    pub(crate) fn ask(&mut self, stream: u32, fields: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> bool {
        self.write(&headers(END_STREAM, stream, &block(fields)))
    }

    /// The head of a request whose body follows.
    pub(crate) fn begin(&mut self, stream: u32, fields: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> bool {
        self.write(&headers(0, stream, &block(fields)))
    }

    pub(crate) fn reset(&mut self, stream: u32, code: u32) -> bool {
        self.send(RST_STREAM, 0, stream, code.to_be_bytes())
    }

    pub(crate) fn widen(&mut self, stream: u32, by: u32) -> bool {
        self.send(WINDOW_UPDATE, 0, stream, by.to_be_bytes())
    }

    pub(crate) fn ping(&mut self) -> bool {
        self.send(PING, 0, 0, *b"conforms")
    }

    /// The next frame as it comes; nothing at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        self.fill(&mut payload)?;
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if frame.kind == HEADERS {
            self.decode(&frame);
        }
        Some(frame)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.io.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came; answers so far: {:?}", self.answers.keys())
            }
            Err(_) => None,
        }
    }

    /// What became of what was sent.
    pub(crate) fn fate(&mut self) -> Fate {
        loop {
            let Some(frame) = self.next() else { return Fate::Closed };
            match (frame.kind, frame.flags & ACK) {
                (GOAWAY, _) => {
                    let fate = Fate::Connection(frame.code());
                    while self.next().is_some() {}
                    return fate;
                }
                (RST_STREAM, _) => return Fate::Stream(frame.code()),
                (HEADERS, _) => return Fate::Answer(self.take_head().status),
                (PING, ACK) => return Fate::Pong,
                _ => {}
            }
        }
    }

    /// Every header block counts for those after it.
    fn decode(&mut self, frame: &Frame) {
        assert_eq!(frame.flags & (END_HEADERS | PADDED | WITH_PRIORITY), END_HEADERS, "{frame:?}");
        let mut fields = Vec::new();
        self.hpack.decode(&mut frame.payload.clone(), &mut fields).unwrap();
        self.fields = fields.into_iter().map(|(name, value, _)| (String::from_utf8(name).unwrap(), value)).collect();
    }

    fn take_head(&mut self) -> Answer {
        let mut headers = std::mem::take(&mut self.fields);
        let (name, status) = headers.remove(0);
        assert_eq!(name, ":status");
        let status = std::str::from_utf8(&status).unwrap().parse().unwrap();
        Answer { status, version: "HTTP/2".to_owned(), headers, body: Vec::new(), whole: false }
    }

    /// Reads one frame and does what a client does about it; `false` at the end of the connection.
    pub(crate) fn attend(&mut self) -> bool {
        let Some(frame) = self.next() else {
            self.answers.values_mut().for_each(|coming| _ = coming.end.get_or_insert(End::Gone));
            return false;
        };
        match (frame.kind, frame.flags & ACK) {
            (HEADERS, ended) => {
                let answer = self.take_head();
                let end = (ended != 0).then_some(End::Whole);
                self.answers.insert(frame.stream, Coming { answer, end });
            }
            (DATA, ended) => {
                if let Some(coming) = self.answers.get_mut(&frame.stream) {
                    coming.answer.body.extend(&frame.payload);
                    coming.end = (ended != 0).then_some(End::Whole);
                }
                if self.generous && !frame.payload.is_empty() {
                    let by = u32::try_from(frame.payload.len()).unwrap();
                    self.widen(0, by);
                    if ended == 0 {
                        self.widen(frame.stream, by);
                    }
                }
            }
            (RST_STREAM, _) => {
                let coming = self.answers.entry(frame.stream).or_insert_with(Coming::headless);
                coming.end.get_or_insert(End::Reset(frame.code()));
            }
            (GOAWAY, _) => self.gone = Some(frame.code()),
            (SETTINGS, 0) => _ = self.send(SETTINGS, ACK, 0, []),
            (PING, 0) => _ = self.send(PING, ACK, 0, &frame.payload),
            _ => {}
        }
        true
    }

    /// Reads an answer to its end, and says how it ended.
    pub(crate) fn ended(&mut self, stream: u32) -> (Answer, End) {
        loop {
            if let Some(end) = self.answers.get(&stream).and_then(|coming| coming.end) {
                let mut answer = self.answers.remove(&stream).unwrap().answer;
                answer.whole = end == End::Whole;
                return (answer, end);
            }
            if !self.attend() && !self.answers.contains_key(&stream) {
                return (Coming::headless().answer, End::Gone);
            }
        }
    }

    /// Reads an answer to its end.
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        self.ended(stream).0
    }

    /// Sends a request without a body and reads its answer.
    pub(crate) fn exchange(&mut self, stream: u32, fields: &[(&str, &str)]) -> Answer {
        assert!(self.ask(stream, fields));
        self.answer(stream)
    }
}

impl Coming {
    /// What a stream is that ended without an answer.
    fn headless() -> Self {
        let answer =
            Answer { status: 0, version: "HTTP/2".to_owned(), headers: Vec::new(), body: Vec::new(), whole: false };
        Self { answer, end: None }
    }
}

/// The fields of a request with [`KEY`].
pub(crate) fn fields<'a>(method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("closegate-key", KEY)]
}

/// The fields of a plain GET.
pub(crate) fn get() -> Vec<(&'static str, &'static str)> {
    fields("GET", "/sales/api/v1/me/")
}

/// The fields of a POST.
pub(crate) fn post() -> Vec<(&'static str, &'static str)> {
    fields("POST", "/sales/api/v1/lead/")
}

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block in as many frames as it takes.
pub(crate) fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut pieces = block.chunks(MAX_FRAME).peekable();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let flags = if kind == HEADERS { flags } else { 0 };
        frames.extend(frame(kind, flags | last, stream, piece));
        kind = CONTINUATION;
    }
    frames
}

/// A header block that names everything in full, without indexing and without Huffman's code (RFC 7541 6.2.2).
pub(crate) fn block(fields: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        literal(&mut block, name.as_ref());
        literal(&mut block, value.as_ref());
    }
    block
}

/// RFC 7541 5.1, 5.2.
fn literal(block: &mut Vec<u8>, text: &[u8]) {
    if text.len() < 127 {
        block.push(u8::try_from(text.len()).unwrap());
    } else {
        block.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap());
    }
    block.extend(text);
}
