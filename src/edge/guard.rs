//! The wire guard: reads a connection before the codec does, and lets only bytes through that can be read one way.
//!
//! Each head is judged once, where it lies in the codec's buffer; only a head that came in pieces is held back until
//! it is whole. A bad head is replaced by a minimal one and nothing after it is delivered, so that the handler is
//! called and answers with a 4xx of ours; a body that breaks its framing is reported through the [`Line`]. The guard
//! also tells idle, head and body time apart, notices a client that left before the codec has read all that it sent,
//! and lets a refused client read its answer before the connection ends.

mod vet;
mod writing;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

use super::head::{HeadLimits, WireFault};
use super::line::{BodyFault, Line};
use super::opening::First;
use super::stream::Socket;
use crate::chunked::Chunks;
use crate::clock::{Deadline, Sweep};

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To send a head.
    pub head: Duration,
    /// Between two pieces of a body.
    pub body: Duration,
    /// Between two requests; also between two pieces of an answer that the client takes.
    pub idle: Duration,
}

/// A connection's read half under guard, and its write half as it is.
pub(super) struct Guard<IO: Socket> {
    io: IO,
    line: Rc<Line>,
    limits: HeadLimits,
    timeouts: Timeouts,
    phase: Phase,
    /// A head in pieces, or bytes that are found good and wait for room.
    held: Vec<u8>,
    /// How many of the held bytes may be delivered.
    good: usize,
    /// What the codec sees instead of a refused head.
    stand_in: &'static [u8],
    /// The number of the message that is read, or was read last.
    number: u64,
    reading: Rc<Deadline>,
    armed: Armed,
    writing: Option<Deadline>,
    /// When to see whether the client of a request in flight is still there.
    presence: Deadline,
    /// The last message that the deadline was set for.
    attended: u64,
    lingered: u64,
}

/// What the guard expects next.
#[derive(Clone, Copy)]
enum Phase {
    Head,
    Length(u64),
    Chunks(Chunks),
    /// The message was refused: what still comes is dropped.
    Refused,
    /// The connection was idle too long.
    Expired,
}

/// What the deadline for reading was set for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    Nothing,
    Idle(u64),
    Head,
    Body,
    Linger,
}

/// How far the guard came with a run of bytes.
struct Vetted {
    /// Bytes from the front that may be delivered.
    good: usize,
    /// Whether the message after them was refused.
    refused: bool,
}

impl<IO: Socket> Guard<IO> {
    /// Guards a connection of which some bytes were read already.
    pub(super) fn new(io: IO, first: First, limits: HeadLimits, timeouts: Timeouts, sweep: &Rc<Sweep>) -> Self {
        let armed = if first.deadline.is_some() { Armed::Head } else { Armed::Nothing };
        let reading = Rc::new(first.deadline.unwrap_or_else(|| Deadline::new(sweep)));
        let mut guard = Self {
            io,
            line: Line::new(reading.clone(), timeouts.idle),
            limits,
            timeouts,
            phase: Phase::Head,
            held: Vec::new(),
            good: 0,
            stand_in: STAND_IN,
            number: 0,
            reading,
            armed,
            writing: None,
            presence: Deadline::new(sweep),
            attended: 0,
            lingered: 0,
        };
        guard.vet_held(first.bytes);
        guard
    }

    /// The line to the handler.
    pub(super) fn line(&self) -> Rc<Line> {
        self.line.clone()
    }

    /// Reads into the codec's buffer and vets the bytes there; what may not be delivered yet is taken back.
    fn read_in_place(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Read>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(read) => read?,
            Poll::Pending => return self.wait(cx),
        }
        let fresh = &buf.filled()[before..];
        if fresh.is_empty() {
            return Poll::Ready(Ok(Read::Delivered));
        }
        let numbered = self.number;
        let vetted = self.vet(fresh);
        if !vetted.refused && vetted.good < fresh.len() {
            self.held.extend_from_slice(&fresh[vetted.good..]);
        }
        buf.set_filled(before + vetted.good);
        if vetted.refused && self.number > numbered && matches!(self.phase, Phase::Refused) {
            self.stand_in();
        }
        if vetted.good == 0 { Poll::Ready(Ok(Read::More)) } else { Poll::Ready(Ok(Read::Delivered)) }
    }

    /// Reads on to a head that came in pieces.
    fn read_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let mut piece = [std::mem::MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        match Pin::new(&mut self.io).poll_read(cx, &mut piece) {
            Poll::Ready(read) => read?,
            Poll::Pending => return self.wait(cx),
        }
        if piece.filled().is_empty() {
            self.held.clear();
            return Poll::Ready(Ok(Read::Delivered));
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(piece.filled());
        self.vet_held(held);
        Poll::Ready(Ok(Read::More))
    }

    /// Vets what is held; what is good of it is delivered next.
    fn vet_held(&mut self, mut held: Vec<u8>) {
        let numbered = self.number;
        let vetted = self.vet(&held);
        if vetted.refused {
            held.truncate(vetted.good);
        }
        self.good = vetted.good;
        self.held = held;
        if vetted.refused && self.number > numbered && matches!(self.phase, Phase::Refused) {
            self.stand_in();
        }
    }

    /// Puts a minimal head in the place of a refused one, so that the handler is called.
    fn stand_in(&mut self) {
        // A body that broke its framing has a handler already; it hears of the fault through the line.
        if self.line.known_fault_of(self.number).is_none() {
            self.held.truncate(self.good);
            self.held.extend_from_slice(self.stand_in);
            self.good = self.held.len();
        }
    }

    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.good.min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.drain(..count);
        self.good -= count;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Nothing to read for now: sees to the deadline of what is waited for.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let waits_for = match self.phase {
            Phase::Head if !is_blank(&self.held) => Armed::Head,
            // The last answer was handed over, but the codec still has some of it.
            Phase::Head if self.writing.is_some() => Armed::Nothing,
            Phase::Head if self.line.answered() == self.number => Armed::Idle(self.number),
            Phase::Head | Phase::Refused | Phase::Expired => Armed::Nothing,
            Phase::Length(_) | Phase::Chunks(_) => Armed::Body,
        };
        self.line.note_head(waits_for == Armed::Head);
        match waits_for {
            // The end of an exchange may have set the deadline.
            Armed::Nothing => self.arm(Armed::Nothing),
            same if same == self.armed => {}
            // The deadline was set when the exchange was over, or the rest of its answer was written.
            Armed::Idle(1..) => self.armed = waits_for,
            other => self.arm(other),
        }
        ready!(self.reading.poll_passed(cx));
        self.expire(waits_for);
        Poll::Ready(Ok(Read::More))
    }

    fn arm(&mut self, waits_for: Armed) {
        self.armed = waits_for;
        match waits_for {
            Armed::Nothing => self.reading.clear(),
            Armed::Idle(_) => self.reading.set(self.timeouts.idle),
            Armed::Head => self.reading.set(self.timeouts.head),
            Armed::Body => self.reading.set(self.timeouts.body),
            Armed::Linger => self.reading.set(LINGER),
        }
    }

    fn expire(&mut self, waited_for: Armed) {
        self.reading.clear();
        self.armed = Armed::Nothing;
        match waited_for {
            Armed::Head => {
                let held = std::mem::take(&mut self.held);
                self.refuse(WireFault::HeadTimeout, &held);
                self.stand_in();
            }
            Armed::Body => {
                self.line.break_body(self.number, BodyFault::Timeout);
                self.phase = Phase::Refused;
            }
            Armed::Idle(_) | Armed::Nothing | Armed::Linger => self.phase = Phase::Expired,
        }
    }

    /// Drops what still comes, within a bound; ready at the end of it.
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [std::mem::MaybeUninit::uninit(); PIECE];
        while self.lingered < MAX_LINGER {
            let mut piece = ReadBuf::uninit(&mut piece);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => self.lingered += piece.filled().len() as u64,
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<IO: Socket> Guard<IO> {
    /// Takes back bytes that were delivered to a codec and not used by it.
    pub(super) fn take_back(&mut self, delivered: &[u8]) {
        self.held.splice(..0, delivered.iter().copied());
        self.good += delivered.len();
    }

    /// Reads on for a connection that no codec holds a buffer for: ready when there is something to deliver, or with
    /// the end.
    pub(super) fn poll_stir(&mut self, cx: &mut Context<'_>) -> Poll<Stir> {
        // A tail of the last answer may lie in TLS yet.
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.io).poll_flush(cx) {
            return Poll::Ready(Stir::End);
        }
        loop {
            match self.phase {
                _ if self.good > 0 => return Poll::Ready(Stir::Bytes),
                Phase::Expired => return Poll::Ready(Stir::End),
                Phase::Refused => return Poll::Ready(Stir::Bytes),
                Phase::Head | Phase::Length(_) | Phase::Chunks(_) => {}
            }
            match ready!(self.read_held(cx)) {
                Ok(Read::More) => {}
                Ok(Read::Delivered) | Err(_) => return Poll::Ready(Stir::End),
            }
        }
    }
}

/// What became of a connection that rested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stir {
    /// A head is there for the codec, whole or refused.
    Bytes,
    /// The client has left, or was idle too long.
    End,
}

/// What a step of reading came to.
enum Read {
    /// The codec's buffer holds what it may see; nothing new there means the end.
    Delivered,
    /// There is more to do before the codec may be answered.
    More,
}

impl<IO: Socket> AsyncRead for Guard<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.good > 0 {
                this.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            let step = match this.phase {
                Phase::Expired => return Poll::Ready(Ok(())),
                Phase::Refused => {
                    // The end of the stream would make the codec drop the answer.
                    let _ = this.drain(cx);
                    return Poll::Pending;
                }
                _ if this.held.is_empty() => ready!(this.read_in_place(cx, buf))?,
                _ => ready!(this.read_held(cx))?,
            };
            if matches!(this.phase, Phase::Length(_) | Phase::Chunks(_)) {
                this.arm(Armed::Nothing);
            }
            if matches!(step, Read::Delivered) {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Whether nothing of a request has come yet, but for the empty line that may stand before it.
fn is_blank(bytes: &[u8]) -> bool {
    BLANK.starts_with(bytes)
}

/// The empty line that may stand before a request.
const BLANK: &[u8] = b"\r\n";
/// What the codec sees instead of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// The same for a HEAD, whose answer has no body.
const HEAD_STAND_IN: &[u8] = b"HEAD / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";
/// How much is read at once of a head that comes in pieces.
const PIECE: usize = 4096;
/// How long a client that was refused may go on sending.
const LINGER: Duration = Duration::from_secs(5);
/// How much a client that was refused may go on sending, in bytes.
const MAX_LINGER: u64 = 64 * 1024 * 1024;
