//! A request on its way out: its head is encoded once, its body streams behind it (RFC 9112 3, 6, 7.1).

use std::io;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Request;

use super::link::Link;
use crate::upstream::{Announced, Broken, Owed, Upload};

/// What is left to be written of a request.
pub(super) struct Sending<B> {
    body: B,
    framing: Framing,
    owed: Owed,
    /// How much of the link's outbox is written.
    at: usize,
    /// A piece of the body that is not wholly written.
    piece: Bytes,
    stage: Stage,
    /// Whether the body was asked for a piece: then the request cannot be sent again.
    touched: bool,
    /// Whether everything that came of the body is written.
    waits: bool,
    hold: Hold,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// None, or so many bytes as the head says.
    Plain,
    /// Chunks; whether one was written already.
    Chunked { begun: bool },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The body is not over.
    Body,
    /// Everything is encoded.
    Rest,
    /// The connection has everything.
    Done,
}

/// Whether the head waits for the body. A codec hands over what it has of a body once it was asked, a turn later: then one
/// write takes both.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    NotYet,
    Now,
    Over,
}

/// Why a request was not written to its end.
#[derive(Debug)]
pub(super) enum Unsent {
    /// While the head was held back the idle connection was closed, or bytes came that nobody asked for. Nothing is written.
    Stale,
    /// The connection does not take more.
    Connection(io::Error),
    /// Its own body ended early, or is not as long as was said.
    Body,
}

impl From<Broken> for Unsent {
    fn from(Broken: Broken) -> Self {
        Self::Body
    }
}

impl<B: Upload> Sending<B> {
    /// Encodes the head into the link's outbox; the body stays with the sending.
    pub(super) fn begin(link: &mut Link, request: &Request<()>, body: B) -> Self {
        let outbox = &mut link.outbox;
        outbox.clear();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
            outbox.extend_from_slice(part.as_bytes());
        }
        for (name, value) in request.headers() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                outbox.extend_from_slice(part);
            }
        }
        let announced = Announced::of(request.method(), &body);
        let (framing, owed) = (frame(outbox, &announced), Owed::of(&announced));
        let (piece, stage) = (Bytes::new(), Stage::Body);
        Self { body, framing, owed, at: 0, piece, stage, touched: false, waits: false, hold: Hold::NotYet }
    }

    /// Whether the next move is the client's: a piece of the body has not come yet.
    pub(super) fn waits_for_body(&self) -> bool {
        self.waits
    }

    /// Whether the connection has all of it.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether nothing is written yet because the head waits for the body, until the next turn.
    pub(super) fn is_held(&self) -> bool {
        self.hold == Hold::Now
    }

    /// The body, if nothing of it was taken: then the request may be sent again.
    pub(super) fn into_untouched(self) -> Option<B> {
        (!self.touched).then_some(self.body)
    }

    /// Writes on until everything is written.
    pub(super) fn poll(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        if self.is_held() {
            self.hold = Hold::Over;
            if link.reused && !link.proves_alive() {
                return Poll::Ready(Err(Unsent::Stale));
            }
        }
        loop {
            if self.stage == Stage::Done {
                return Poll::Ready(Ok(()));
            }
            // A first piece that is there already goes out with the head.
            let waits = self.stage == Stage::Body && self.piece.is_empty() && self.encode_next(link, cx)?.is_pending();
            self.waits = false;
            if waits && link.written() == 0 && self.hold == Hold::NotYet {
                self.hold = Hold::Now;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.write(link, cx)).map_err(Unsent::Connection)?;
            self.waits = waits;
            if waits {
                // What the stream itself holds back goes out while the body is waited for.
                let _ = link.poll_flush(cx).map_err(Unsent::Connection)?;
                return Poll::Pending;
            }
            if self.stage == Stage::Rest {
                ready!(link.poll_flush(cx)).map_err(Unsent::Connection)?;
                self.stage = Stage::Done;
            }
        }
    }

    /// Encodes the next piece of the body, or its end, behind what is to be written.
    fn encode_next(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Result<Poll<()>, Unsent> {
        loop {
            let frame = if self.body.is_end_stream() {
                None
            } else {
                self.touched = true;
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(frame) => frame,
                    Poll::Pending => return Ok(Poll::Pending),
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        self.owed.keep(data.len())?;
                        self.begin_piece(&mut link.outbox, data);
                        return Ok(Poll::Ready(()));
                    }
                    // Trailers do not go on, and an empty chunk would end the body.
                    _ => {}
                },
                Some(Err(_)) => return Err(Unsent::Body),
                None => {
                    self.owed.end()?;
                    self.end_pieces(&mut link.outbox);
                    return Ok(Poll::Ready(()));
                }
            }
        }
    }

    fn begin_piece(&mut self, outbox: &mut Vec<u8>, data: Bytes) {
        if let Framing::Chunked { begun } = &mut self.framing {
            let before = if std::mem::replace(begun, true) { "\r\n" } else { "" };
            // Writing to a vector does not fail.
            let _ = write!(outbox, "{before}{:x}\r\n", data.len());
        }
        self.piece = data;
    }

    fn end_pieces(&mut self, outbox: &mut Vec<u8>) {
        match self.framing {
            Framing::Plain => {}
            Framing::Chunked { begun: true } => outbox.extend_from_slice(b"\r\n0\r\n\r\n"),
            Framing::Chunked { begun: false } => outbox.extend_from_slice(b"0\r\n\r\n"),
        }
        self.stage = Stage::Rest;
    }

    /// Writes what is encoded.
    fn write(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.at < link.outbox.len() || !self.piece.is_empty() {
            let written = ready!(link.poll_write(cx, self.at, &self.piece))?;
            let of_head = written.min(link.outbox.len() - self.at);
            self.at += of_head;
            self.piece.advance(written - of_head);
        }
        link.outbox.clear();
        self.at = 0;
        Poll::Ready(Ok(()))
    }
}

/// Ends a head with what says how its body is delimited (RFC 9112 6.3).
fn frame(outbox: &mut Vec<u8>, announced: &Announced) -> Framing {
    // Writing to a vector does not fail.
    let (framing, _) = match announced {
        Announced::Nothing => (Framing::Plain, outbox.write_all(b"\r\n")),
        Announced::Length(length) => (Framing::Plain, write!(outbox, "content-length: {length}\r\n\r\n")),
        Announced::Unknown => {
            (Framing::Chunked { begun: false }, outbox.write_all(b"transfer-encoding: chunked\r\n\r\n"))
        }
    };
    framing
}
