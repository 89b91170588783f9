//! HTTP/1 of the simulator, read and written by hand: a server library could not be made to misbehave on order.
//!
//! It promises keep-alive, pipelining, chunked bodies and bodies of any length; it refuses a message whose framing is
//! in doubt (RFC 9112 6.3), because a gateway must never send one.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A socket that can also be ended by a TCP reset.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the coming drop of the socket a reset instead of an orderly end.
    fn reset_on_drop(&self);
}

impl Socket for TcpStream {
    fn reset_on_drop(&self) {
        if let Err(error) = self.set_zero_linger() {
            tracing::debug!(%error, "the simulator could not arm a reset");
        }
    }
}

impl Socket for TlsStream<TcpStream> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }
}

impl Socket for DuplexStream {
    /// A pipe in memory knows no reset: it ends.
    fn reset_on_drop(&self) {}
}

/// The head of a request, byte for byte.
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) minor_version: u8,
    pub(super) headers: Vec<(String, Bytes)>,
}

impl Head {
    /// The target without its query.
    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// What stands behind the `?`; empty without one.
    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Every value of a header, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.headers.iter().filter(move |(each, _)| each.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The first value of a header, when it is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(each, _)| each.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// How the body is framed; the fault is told in words.
    pub(super) fn framing(&self) -> Result<Framing, &'static str> {
        let mut lengths = self.all("content-length");
        let mut codings = self.all("transfer-encoding");
        match (lengths.next(), codings.next()) {
            (None, None) => Ok(Framing::Ended),
            (Some(_), Some(_)) => Err("content-length beside transfer-encoding"),
            (Some(length), None) if lengths.next().is_none() => parse_length(length),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() => {
                Ok(Framing::NextChunk)
            }
            _ => Err("a repeated framing header, or a transfer coding other than chunked"),
        }
    }

    /// Whether the connection goes on after the answer (RFC 9112 9.3).
    pub(super) fn keeps_alive(&self) -> bool {
        let options = self.all("connection").flat_map(|line| line.split(|byte| *byte == b','));
        let says_close = options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(b"close"));
        self.minor_version == 1 && !says_close
    }

    /// Whether the client waits for a 100 before it sends its body.
    pub(super) fn expects_continue(&self) -> bool {
        self.minor_version == 1 && self.text("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }
}

fn parse_length(digits: &[u8]) -> Result<Framing, &'static str> {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    match text.parse() {
        Ok(length) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Framing::of_length(length)),
        _ => Err("a content-length that is no number"),
    }
}

/// Where the reader stands in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is nothing more to read.
    Ended,
    /// So many bytes of a body of known length are to come.
    Length(u64),
    /// The line with a chunk's size comes next.
    NextChunk,
    /// So many bytes of a chunk are to come.
    Chunk(u64),
}

impl Framing {
    fn of_length(length: u64) -> Self {
        if length == 0 { Self::Ended } else { Self::Length(length) }
    }

    fn after(self, read: usize) -> Self {
        match self {
            Self::Length(left) => Self::of_length(left - read as u64),
            Self::Chunk(left) => Self::Chunk(left - read as u64),
            other => other,
        }
    }
}

/// One connection: the socket and what was read ahead of need.
pub(super) struct Wire<S> {
    socket: S,
    ahead: BytesMut,
    /// The trailer lines of the last body that was read to its end.
    pub(super) trailers: Vec<Bytes>,
}

impl<S: Socket> Wire<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, ahead: BytesMut::new(), trailers: Vec::new() }
    }

    /// The next request's head; none when the client is done. What is no head is `InvalidData`.
    pub(super) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some((length, head)) = parse_head(&self.ahead)? {
                self.ahead.advance(length);
                self.trailers.clear();
                return Ok(Some(head));
            }
            if self.ahead.len() > MAX_HEAD {
                return Err(invalid("a head that is too large"));
            }
            if self.read_some().await? == 0 {
                return if self.ahead.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next piece of a body; none at its end. A body that was cut is `UnexpectedEof`.
    pub(super) async fn piece(&mut self, framing: &mut Framing) -> io::Result<Option<Bytes>> {
        loop {
            match *framing {
                Framing::Ended => return Ok(None),
                Framing::Chunk(0) => {
                    self.expect_line_end().await?;
                    *framing = Framing::NextChunk;
                }
                Framing::NextChunk => *framing = self.chunk_size().await?,
                Framing::Length(left) | Framing::Chunk(left) => {
                    let piece = self.up_to(left).await?;
                    *framing = framing.after(piece.len());
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// Resolves when the client has gone; what it sends meanwhile is kept for later.
    pub(super) async fn gone(&mut self) {
        while self.ahead.len() <= MAX_HEAD {
            if matches!(self.read_some().await, Ok(0) | Err(_)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Writes and flushes.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    /// Ends the connection in order: our side first, then whatever the client still sends is read and dropped.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.socket.shutdown().await?;
        for _ in 0..LINGER_READS {
            self.ahead.clear();
            if self.read_some().await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Ends the connection with a TCP reset.
    pub(super) fn reset(self) {
        self.socket.reset_on_drop();
    }

    async fn chunk_size(&mut self) -> io::Result<Framing> {
        let line = self.line().await?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let digits = std::str::from_utf8(digits).map_err(|_| invalid("a chunk size that is no text"))?;
        match u64::from_str_radix(digits, 16) {
            Ok(0) => {
                self.read_trailers().await?;
                Ok(Framing::Ended)
            }
            Ok(size) if !digits.starts_with('+') => Ok(Framing::Chunk(size)),
            _ => Err(invalid("a chunk size that is no number")),
        }
    }

    async fn read_trailers(&mut self) -> io::Result<()> {
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(());
            }
            self.trailers.push(line);
        }
    }

    async fn expect_line_end(&mut self) -> io::Result<()> {
        if self.line().await?.is_empty() { Ok(()) } else { Err(invalid("a chunk longer than its size")) }
    }

    async fn line(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.ahead, b"\r\n") {
                let line = self.ahead.split_to(end).freeze();
                self.ahead.advance(2);
                return Ok(line);
            }
            if self.ahead.len() > MAX_LINE {
                return Err(invalid("a line that is too long"));
            }
            self.fill().await?;
        }
    }

    async fn up_to(&mut self, wanted: u64) -> io::Result<Bytes> {
        if self.ahead.is_empty() {
            self.fill().await?;
        }
        let length = usize::try_from(wanted).map_or(self.ahead.len(), |wanted| wanted.min(self.ahead.len()));
        Ok(self.ahead.split_to(length).freeze())
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.read_some().await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        self.ahead.reserve(READ);
        self.socket.read_buf(&mut self.ahead).await
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<(usize, Head)>> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut slots);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let headers = request.headers.iter().map(|field| (field.name.to_owned(), Bytes::copy_from_slice(field.value)));
    Ok(Some((
        length,
        Head {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            minor_version: request.version.unwrap_or_default(),
            headers: headers.collect(),
        },
    )))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

const MAX_HEAD: usize = 256 * 1024;
const MAX_HEADERS: usize = 256;
const MAX_LINE: usize = 16 * 1024;
const READ: usize = 32 * 1024;
const LINGER_READS: usize = 64;
