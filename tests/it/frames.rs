//! An upstream that speaks HTTP/2 in clear text frame by frame, exactly as a script says (RFC 9113 4, 6).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A listening upstream; each connection runs the script once the client has spoken first.
pub(crate) struct Frames {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    /// Requests, as the connection and stream that they came by.
    requests: Mutex<Vec<(usize, u32)>>,
    arrived: Condvar,
    ended: Mutex<usize>,
    end: Condvar,
}

/// The client of one connection, in the hands of a script.
pub(crate) struct Peer {
    stream: TcpStream,
    number: usize,
    shared: Arc<Shared>,
}

/// A frame as it came.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ACK: u8 = 1;

pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;

const STUCK: Duration = Duration::from_secs(30);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Frames {
    /// Runs the script on every connection, each on a thread.
    pub(crate) fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        Self::with(&[], script)
    }

    /// As [`Self::start`], with settings that are said first.
    pub(crate) fn with(settings: &[(u16, u32)], script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [name.to_be_bytes().as_slice(), &value.to_be_bytes()].concat())
            .collect();
        let (script, own) = (Arc::new(script), shared.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, shared, settings) = (script.clone(), own.clone(), settings.clone());
                let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let mut peer = Peer { stream: stream.unwrap(), number, shared };
                peer.stream.set_read_timeout(Some(STUCK)).unwrap();
                peer.stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || {
                    let mut preface = [0; PREFACE.len()];
                    if peer.stream.read_exact(&mut preface).is_ok() {
                        assert_eq!(preface, PREFACE);
                        peer.send(SETTINGS, 0, 0, settings);
                        script(&mut peer);
                    }
                    *peer.shared.ended.lock().unwrap() += 1;
                    peer.shared.end.notify_all();
                });
            }
        });
        Self { address, shared }
    }

    /// Answers every request in the same way.
    pub(crate) fn answering(answer: impl Fn(&mut Peer, u32) + Send + Sync + 'static) -> Self {
        Self::start(move |peer| {
            while let Some(stream) = peer.request() {
                answer(peer, stream);
            }
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<(usize, u32)> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until so many requests have arrived.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<(usize, u32)> {
        let requests = self.shared.requests.lock().unwrap();
        let waited = self.shared.arrived.wait_timeout_while(requests, STUCK, |requests| requests.len() < count);
        let (requests, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "only {} of {count} requests arrived", requests.len());
        requests.clone()
    }

    /// Waits until the scripts of so many connections are over.
    pub(crate) fn wait_for_ends(&self, count: usize) {
        let ended = self.shared.ended.lock().unwrap();
        let waited = self.shared.end.wait_timeout_while(ended, STUCK, |ended| *ended < count);
        assert!(!waited.unwrap().1.timed_out(), "connections are still open");
    }
}

impl Peer {
    /// The number of the connection, from 1.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// The next frame, settings and pings answered; nothing when the connection ended.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).ok()?;
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            match (frame.kind, frame.flags & ACK) {
                (SETTINGS | PING, ACK) => {}
                // Whether the client still listens shows when it is read on.
                (SETTINGS, _) => _ = self.send(SETTINGS, ACK, 0, []),
                (PING, _) => _ = self.send(PING, ACK, 0, &frame.payload),
                _ => return Some(frame),
            }
        }
    }

    /// The next frame of a kind; what comes before it is dropped.
    pub(crate) fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The head of the next request.
    pub(crate) fn head(&mut self) -> Option<Frame> {
        let head = self.next_of(HEADERS)?;
        assert_eq!(head.flags & END_HEADERS, END_HEADERS);
        self.shared.requests.lock().unwrap().push((self.number, head.stream));
        self.shared.arrived.notify_all();
        Some(head)
    }

    /// Reads the next request to its end; which stream it is.
    pub(crate) fn request(&mut self) -> Option<u32> {
        let head = self.head()?;
        let mut ended = head.flags & END_STREAM != 0;
        while !ended {
            let frame = self.next()?;
            ended = frame.kind == DATA && frame.stream == head.stream && frame.flags & END_STREAM != 0;
        }
        Some(head.stream)
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> bool {
        let payload = payload.as_ref();
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).is_ok()
    }

    /// A head of status 200 with fields (each literal, RFC 7541 6.2.2).
    pub(crate) fn send_head(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) -> bool {
        self.send_status(stream, flags, "200", fields)
    }

    pub(crate) fn send_status(&mut self, stream: u32, flags: u8, status: &str, fields: &[(&str, &str)]) -> bool {
        self.send(HEADERS, END_HEADERS | flags, stream, block(status, fields))
    }

    /// 200 with a body.
    pub(crate) fn answer(&mut self, stream: u32, body: &str) -> bool {
        let length = body.len().to_string();
        self.send_head(stream, 0, &[("content-length", &length)]) && self.send(DATA, END_STREAM, stream, body)
    }

    /// Resets a stream.
    pub(crate) fn reset(&mut self, stream: u32, code: u32) -> bool {
        self.send(RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// Says that nothing above `last` is or will be acted on.
    pub(crate) fn go_away(&mut self, last: u32, code: u32) -> bool {
        self.send(GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    /// Ends the connection; what was sent arrives.
    pub(crate) fn shutdown(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// Waits for the other side to end the connection.
    pub(crate) fn wait_for_end(&mut self) {
        while self.next().is_some() {}
    }
}

impl Frame {
    /// The code of a RST_STREAM or the last word of a GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A header block that names everything in full; short texts only.
pub(crate) fn block(status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [(":status", status)].iter().chain(fields) {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}
