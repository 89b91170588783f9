//! Writing an answer: its head, its body in the coding it needs, and the faults that lie in how it is written.

use std::io;
use std::io::Write as _;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;

use super::answer::{Answer, Body, pattern};
use super::fault::Trouble;
use super::seen::Arriving;
use super::shared::Shared;
use super::wire::{Framing, Head, Socket, Wire};

/// How a body tells its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// There is none: the answer to a HEAD, a 204, a 304.
    Absent,
    /// By `content-length`.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By chunks, with a `content-length` beside them that lies in wait.
    Both(u64),
    /// By the end of the connection, for HTTP/1.0.
    UntilClose,
}

impl Coding {
    fn of(head: &Head, answer: &Answer, trouble: Option<&Trouble>) -> Self {
        let both = matches!(trouble, Some(Trouble::BothLengths));
        match known_length(answer.body()) {
            _ if matches!(answer.status().as_u16(), 204 | 304) => Self::Absent,
            Some(length) if both => Self::Both(length),
            Some(length) => Self::Length(length),
            None if head.minor_version == 0 => Self::UntilClose,
            None => Self::Chunked,
        }
    }

    fn is_chunked(self) -> bool {
        matches!(self, Self::Chunked | Self::Both(_))
    }
}

fn known_length(body: &Body) -> Option<u64> {
    match body {
        Body::Whole(bytes) => Some(bytes.len() as u64),
        Body::Pattern { length, chunk: None } => Some(*length),
        _ => None,
    }
}

/// Writes an answer to a request, as the trouble has it. An answer that was cut on order is an error, which ends the
/// connection.
pub(super) async fn deliver<S: Socket>(
    shared: &Shared,
    wire: &mut Wire<S>,
    head: &Head,
    answer: Answer,
    trouble: Option<&Trouble>,
) -> io::Result<()> {
    let mut coding = Coding::of(head, &answer, trouble);
    let mut pending = interim(trouble);
    write_head(&mut pending, head, &answer, coding)?;
    if head.method == "HEAD" {
        coding = Coding::Absent;
    }
    let left = if let Some(Trouble::CutBody(bytes)) = trouble { Some(*bytes) } else { None };
    let hold = if let Some(Trouble::HoldBody(bytes)) = trouble { Some(*bytes) } else { None };
    let mut delivery = Delivery { wire, coding, pending, left, hold };
    if coding == Coding::Absent {
        return delivery.flush().await;
    }
    let trailer = delivery.body(shared, answer.into_body()).await?;
    delivery.end(trailer).await
}

/// Sends a request's body back while it comes, in the framing in which it comes.
pub(super) async fn echo<S: Socket>(
    wire: &mut Wire<S>,
    head: &Head,
    answer: &Answer,
    framing: &mut Framing,
    arriving: &mut Arriving,
) -> io::Result<()> {
    let coding = match *framing {
        Framing::Ended => Coding::Length(0),
        Framing::Length(length) => Coding::Length(length),
        _ => Coding::Chunked,
    };
    let mut pending = Vec::new();
    write_head(&mut pending, head, answer, coding)?;
    let mut delivery = Delivery { wire, coding, pending, left: None, hold: None };
    delivery.flush().await?;
    while let Some(piece) = delivery.wire.piece(framing).await? {
        arriving.add(&piece);
        delivery.push(&piece).await?;
        delivery.flush().await?;
    }
    delivery.end(None).await
}

fn interim(trouble: Option<&Trouble>) -> Vec<u8> {
    let times = if let Some(Trouble::Informational(times)) = trouble { *times } else { 0 };
    b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n".repeat(times)
}

fn write_head(out: &mut Vec<u8>, head: &Head, answer: &Answer, coding: Coding) -> io::Result<()> {
    let status = answer.status();
    write!(out, "HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or("Unknown"))?;
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
        write_line(out, name.as_str(), value.as_bytes());
    }
    if let Coding::Length(length) | Coding::Both(length) = coding {
        write_line(out, "content-length", length.to_string().as_bytes());
    }
    if coding.is_chunked() {
        write_line(out, "transfer-encoding", b"chunked");
    }
    if !head.keeps_alive() {
        write_line(out, "connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// An answer on its way: small parts leave together.
struct Delivery<'w, S> {
    wire: &'w mut Wire<S>,
    coding: Coding,
    pending: Vec<u8>,
    /// Bytes of the body until it is cut.
    left: Option<u64>,
    /// Bytes of the body before the gate.
    hold: Option<u64>,
}

impl<S: Socket> Delivery<'_, S> {
    /// Writes a body of any kind; the trailer line that ends it, when it has one.
    async fn body(&mut self, shared: &Shared, body: Body) -> io::Result<Option<String>> {
        match body {
            Body::Whole(bytes) => self.whole(shared, bytes).await?,
            Body::Pattern { length, chunk } => self.pattern(length, chunk.unwrap_or(FLUSH)).await?,
            Body::Gated(pieces) => self.gated(shared, pieces).await?,
            Body::Pieces { pieces, trailer } => {
                for piece in pieces {
                    self.push(&piece).await?;
                    self.flush().await?;
                }
                return Ok(trailer);
            }
            Body::Echo => {}
        }
        Ok(None)
    }

    async fn whole(&mut self, shared: &Shared, mut bytes: Bytes) -> io::Result<()> {
        if let Some(hold) = self.hold {
            let first = bytes.split_to(usize::try_from(hold).unwrap_or(usize::MAX).min(bytes.len()));
            self.push(&first).await?;
            self.flush().await?;
            self.pass_gate(shared).await?;
        }
        self.push(&bytes).await
    }

    async fn pass_gate(&mut self, shared: &Shared) -> io::Result<()> {
        tokio::select! {
            () = shared.pass_gate() => Ok(()),
            () = self.wire.gone() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn pattern(&mut self, length: u64, size: usize) -> io::Result<()> {
        let mut sent = 0;
        while sent < length {
            let piece = usize::try_from(length - sent).map_or(size, |left| left.min(size));
            self.push(&pattern(sent, piece)).await?;
            sent += piece as u64;
        }
        Ok(())
    }

    async fn gated(&mut self, shared: &Shared, pieces: u32) -> io::Result<()> {
        self.flush().await?;
        for number in 1..=pieces {
            self.pass_gate(shared).await?;
            self.push(&Bytes::from(format!("piece {number}\n"))).await?;
            self.flush().await?;
        }
        Ok(())
    }

    /// Adds a piece of the body; it is sent when enough has gathered.
    async fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        let within = self.left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX).min(piece.len());
        self.left = self.left.map(|left| left - within as u64);
        if self.coding.is_chunked() {
            write!(self.pending, "{:x}\r\n", piece.len())?;
        }
        self.pending.extend_from_slice(&piece[..within]);
        if within < piece.len() {
            self.flush().await?;
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut as ordered"));
        }
        if self.coding.is_chunked() {
            self.pending.extend_from_slice(b"\r\n");
        }
        if self.pending.len() >= FLUSH { self.flush().await } else { Ok(()) }
    }

    /// Sends what has gathered.
    async fn flush(&mut self) -> io::Result<()> {
        self.wire.send(&self.pending).await?;
        self.pending.clear();
        Ok(())
    }

    /// Ends the body.
    async fn end(mut self, trailer: Option<String>) -> io::Result<()> {
        if self.coding.is_chunked() {
            self.pending.extend_from_slice(b"0\r\n");
            if let Some(line) = trailer {
                write!(self.pending, "{line}\r\n")?;
            }
            self.pending.extend_from_slice(b"\r\n");
        }
        self.flush().await
    }
}

const FLUSH: usize = 16 * 1024;
