//! A client that writes the bytes it is told to, and reads answers as strictly as it can.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to the gateway.
pub(crate) struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub version: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Whether the body ended where its framing says.
    pub whole: bool,
}

/// A test that hangs fails; nothing is measured by it.
const STUCK: Duration = Duration::from_secs(30);

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the gateway listens"))
    }

    /// A client on a connection that was made otherwise.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(STUCK)).unwrap();
        stream.set_write_timeout(Some(STUCK)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends and says whether the other side took it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads more; `false` at the end of the connection.
    fn fill(&mut self) -> bool {
        let mut piece = [0; 16384];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}; so far {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// Reads the head of the next answer.
    pub(crate) fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            assert!(self.fill(), "the connection ended before an answer: {:?}", String::from_utf8_lossy(&self.buffer));
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let mut lines = head[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let first = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
        let mut words = first.split(' ');
        let version = words.next().unwrap().to_owned();
        let status = words.next().unwrap().parse().unwrap();
        let headers = lines.map(field).collect();
        Answer { status, version, headers, body: Vec::new(), whole: true }
    }

    /// Reads the next answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        self.body(head, false)
    }

    /// Reads the next answer, to a HEAD request.
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        let head = self.head();
        self.body(head, true)
    }

    /// Reads the next answer; none where the connection ends before it is whole.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        while find(&self.buffer, b"\r\n\r\n").is_none() {
            if !self.fill() {
                return None;
            }
        }
        Some(self.answer()).filter(|answer| answer.whole)
    }

    pub(crate) fn body(&mut self, mut answer: Answer, to_head: bool) -> Answer {
        if to_head || matches!(answer.status, 100..=199 | 204 | 304) {
            return answer;
        }
        if answer.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            answer.whole = self.chunks(&mut answer.body);
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length && self.fill() {}
            let count = length.min(self.buffer.len());
            answer.body = self.buffer.drain(..count).collect();
            answer.whole = count == length;
        } else {
            while self.fill() {}
            answer.body = std::mem::take(&mut self.buffer);
        }
        answer
    }

    /// Reads what has come of a body; nothing at the end of the connection.
    pub(crate) fn part(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.buffer)
    }

    /// Reads so many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count && self.fill() {}
        self.buffer.drain(..count).collect()
    }

    /// Reads one chunk as it comes.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                break at;
            }
            if !self.fill() {
                return None;
            }
        };
        let size =
            usize::from_str_radix(std::str::from_utf8(&self.buffer[..end]).unwrap(), 16).expect("a chunk's size");
        while self.buffer.len() < end + 2 + size + 2 {
            if !self.fill() {
                return None;
            }
        }
        let chunk = self.buffer[end + 2..end + 2 + size].to_vec();
        assert_eq!(&self.buffer[end + 2 + size..end + 4 + size], b"\r\n");
        self.buffer.drain(..end + 4 + size);
        Some(chunk)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            match self.chunk() {
                None => return false,
                Some(chunk) if chunk.is_empty() => return true,
                Some(chunk) => body.extend(chunk),
            }
        }
    }

    /// Whether something comes within the time: a byte, or the end.
    pub(crate) fn stirs_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let came = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(STUCK)).unwrap();
        !self.buffer.is_empty() || !came.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Whether the connection ends without another byte.
    pub(crate) fn ends(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill()
    }

    /// Whether the connection ended by a reset.
    pub(crate) fn is_reset(&mut self) -> bool {
        loop {
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| std::str::from_utf8(value).unwrap())
    }

    /// The error's code; nothing for an answer of the upstream.
    pub(crate) fn code(&self) -> Option<&str> {
        self.header("closegate-error")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

fn field(line: &[u8]) -> (String, Vec<u8>) {
    let colon = line.iter().position(|byte| *byte == b':').unwrap();
    let name = std::str::from_utf8(&line[..colon]).unwrap().to_ascii_lowercase();
    (name, line[colon + 1..].trim_ascii().to_vec())
}

pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
