//! An upstream that answers with the bytes it is told to, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::raw::find;

/// A listening upstream; each connection runs the script.
pub(crate) struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Seen>>,
    arrived: Condvar,
    connections: AtomicUsize,
    ended: Mutex<usize>,
    end: Condvar,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub head: String,
    pub body: Vec<u8>,
    pub connection: usize,
}

impl Seen {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The values of a header, in the order of its lines.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// One connection, in the hands of a script.
pub(crate) struct Conversation {
    stream: TcpStream,
    buffer: Vec<u8>,
    number: usize,
    shared: Arc<Shared>,
}

const STUCK: Duration = Duration::from_secs(30);

impl Origin {
    /// Runs the script on every connection, each on a thread.
    pub(crate) fn start(script: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// As [`Self::start`], on a socket that listens already.
    pub(crate) fn on(listener: TcpListener, script: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (script, own) = (Arc::new(script), shared.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, shared) = (script.clone(), own.clone());
                let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let mut conversation = Conversation { stream: stream.unwrap(), buffer: Vec::new(), number, shared };
                conversation.stream.set_read_timeout(Some(STUCK)).unwrap();
                std::thread::spawn(move || {
                    script(&mut conversation);
                    *conversation.shared.ended.lock().unwrap() += 1;
                    conversation.shared.end.notify_all();
                });
            }
        });
        Self { address, shared }
    }

    /// Answers every request with the same bytes.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |conversation| {
            while conversation.request().is_some() {
                conversation.send(&answer);
            }
        })
    }

    /// Answers every request with 200 and a short body.
    pub(crate) fn plain() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until so many requests have arrived.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Seen> {
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

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Conversation {
    /// The number of the connection, from 1.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// How many requests have arrived, on all connections.
    pub(crate) fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(count) if count > 0 => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            _ => false,
        }
    }

    /// Reads the head of a request and remembers it; nothing when the connection ended.
    pub(crate) fn request_head(&mut self) -> Option<String> {
        let end = loop {
            match find(&self.buffer, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.fill() => {}
                None => return None,
            }
        };
        Some(String::from_utf8_lossy(&self.buffer.drain(..end).collect::<Vec<_>>()).into_owned())
    }

    /// Reads a whole request and remembers it; nothing when the connection ended before its end.
    pub(crate) fn request(&mut self) -> Option<Seen> {
        let head = self.request_head()?;
        self.body_of(head)
    }

    /// Reads the body that a head announces and remembers the request; nothing when the connection ended before its end.
    pub(crate) fn body_of(&mut self, head: String) -> Option<Seen> {
        let mut seen = Seen { head, body: Vec::new(), connection: self.number };
        if seen.values("transfer-encoding").contains(&"chunked") {
            while let Some(chunk) = self.chunk() {
                if chunk.is_empty() {
                    self.remember(seen.clone());
                    return Some(seen);
                }
                seen.body.extend(chunk);
            }
            return None;
        }
        let length = seen.values("content-length").first().map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            if !self.fill() {
                return None;
            }
        }
        seen.body = self.buffer.drain(..length).collect();
        self.remember(seen.clone());
        Some(seen)
    }

    /// Reads until the bytes have come, and leaves everything to be read.
    pub(crate) fn wait_until_holds(&mut self, bytes: &[u8]) {
        while find(&self.buffer, bytes).is_none() {
            assert!(self.fill(), "the connection ended before the bytes came");
        }
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            match find(&self.buffer, b"\r\n") {
                Some(at) => break at,
                None if self.fill() => {}
                None => return None,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&self.buffer[..end]).unwrap(), 16).unwrap();
        while self.buffer.len() < end + size + 4 {
            if !self.fill() {
                return None;
            }
        }
        let chunk = self.buffer[end + 2..end + 2 + size].to_vec();
        self.buffer.drain(..end + size + 4);
        Some(chunk)
    }

    pub(crate) fn remember(&self, seen: Seen) {
        self.shared.requests.lock().unwrap().push(seen);
        self.shared.arrived.notify_all();
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Waits for the other side to end the connection.
    pub(crate) fn wait_for_end(&mut self) {
        while self.fill() {}
    }

    /// Passes bytes between this connection and another place, both ways, until both have ended.
    pub(crate) fn relay(&mut self, to: SocketAddr) {
        let mut there = TcpStream::connect(to).unwrap();
        let (mut here, mut back) = (self.stream.try_clone().unwrap(), there.try_clone().unwrap());
        let pass = |from: &mut TcpStream, to: &mut TcpStream| {
            // However it ends, it has ended.
            let _ = std::io::copy(from, to);
            let _ = to.shutdown(Shutdown::Write);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| pass(&mut here, &mut there));
            pass(&mut back, &mut self.stream);
        });
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Ends this side of the connection.
    pub(crate) fn shutdown_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub(crate) fn shutdown(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
