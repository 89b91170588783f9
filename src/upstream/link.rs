//! One connection to an upstream: the stream, what was read and not yet understood, and its place among the open ones.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::Progress;
use super::pool::Shared;
use crate::net::Stream;
use crate::telemetry::UpstreamMeters;

/// A connection that serves one exchange after the other.
pub(super) struct Link {
    stream: Stream,
    /// Bytes that were read and belong to the exchange under way.
    pub(super) inbox: BytesMut,
    /// The head of a request as it is written; kept for its room.
    pub(super) outbox: Vec<u8>,
    /// When it was laid into the pool.
    pub(super) idle_since: Instant,
    /// Whether it has served an exchange.
    pub(super) reused: bool,
    pub(super) seat: Seat,
    written: u64,
    read: u64,
}

impl Link {
    pub(super) fn over(stream: Stream, seat: Seat) -> Box<Self> {
        Box::new(Self {
            stream,
            inbox: BytesMut::new(),
            outbox: Vec::new(),
            idle_since: Instant::now(),
            reused: false,
            seat,
            written: 0,
            read: 0,
        })
    }

    /// Looks at the idle connection: `false` when it was closed, or when bytes came that nobody asked for.
    ///
    /// The reactor's knowledge is enough; no system call is made for a connection that it knows nothing new of.
    pub(super) fn lives(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.inbox.is_empty() && self.poll_fill(cx, LITTLE).is_pending()
    }

    /// As [`Self::lives`], and the socket itself says that nothing has arrived: for a request that must not be lost.
    pub(super) fn proves_alive(&mut self) -> bool {
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        let arrivals = rustix::net::recv(self.stream.socket(), &mut [0_u8; 1], flags);
        arrivals == Err(rustix::io::Errno::AGAIN) && self.lives()
    }

    /// Begins an exchange: nothing written, nothing read.
    pub(super) fn begin(&mut self) {
        self.written = 0;
        self.read = 0;
    }

    /// Bytes of the request written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes read since the exchange began.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    pub(super) fn progress(&self) -> Progress {
        match (self.written, self.read) {
            (0, 0) => Progress::Nothing,
            (_, 0) => Progress::Written,
            _ => Progress::Answered,
        }
    }

    /// Reads more into the inbox, where there is room for `room` bytes; 0 is the end of the connection.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        self.inbox.reserve(room);
        // The future holds nothing between two polls.
        let count = ready!(pin!(self.stream.read_buf(&mut self.inbox)).poll(cx))?;
        self.read += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Writes the outbox from `at` on and the piece behind it; how much of both was taken.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, at: usize, piece: &[u8]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let count = ready!(match (&self.outbox[at..], piece) {
            (one, []) | ([], one) => stream.poll_write(cx, one),
            (head, piece) => stream.poll_write_vectored(cx, &[io::IoSlice::new(head), io::IoSlice::new(piece)]),
        })?;
        self.written += count as u64;
        if count == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { Poll::Ready(Ok(count)) }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Takes bytes off the front of the inbox.
    pub(super) fn take(&mut self, count: usize) -> Bytes {
        self.inbox.split_to(count).freeze()
    }
}

/// A place among the connections that may be open; given back when dropped.
pub(super) struct Seat {
    shared: Arc<Shared>,
    meters: Arc<UpstreamMeters>,
}

impl Seat {
    /// Takes a place, or says that there is none.
    pub(super) fn take(shared: &Arc<Shared>, meters: &Arc<UpstreamMeters>) -> Option<Self> {
        let free = |open: usize| (open < shared.max_connections).then_some(open + 1);
        shared.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        meters.active.fetch_add(1, Ordering::Relaxed);
        Some(Self { shared: shared.clone(), meters: meters.clone() })
    }

    /// Counts the connection as idle.
    pub(super) fn rest(&self) {
        self.meters.active.fetch_sub(1, Ordering::Relaxed);
        self.meters.idle.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the connection as active again.
    pub(super) fn rise(&self) {
        self.meters.idle.fetch_sub(1, Ordering::Relaxed);
        self.meters.active.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.meters.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room for what an idle connection should not have to say.
const LITTLE: usize = 512;
