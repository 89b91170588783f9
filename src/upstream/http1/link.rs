//! One HTTP/1.1 connection to an upstream: the stream, what was read and not yet understood, and its place among the open ones.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::net::Stream;
use crate::upstream::Progress;
use crate::upstream::seat::Seat;

/// A connection that serves one exchange after the other.
pub(in crate::upstream) struct Link {
    stream: Stream,
    /// Bytes that were read and belong to the exchange under way.
    pub(in crate::upstream) inbox: BytesMut,
    /// The head of a request as it is written; kept for its room.
    pub(in crate::upstream) outbox: Vec<u8>,
    /// When it was laid into the pool.
    pub(in crate::upstream) idle_since: Instant,
    /// Whether it was there before the exchange: a connection that lay idle may have been closed meanwhile.
    pub(in crate::upstream) reused: bool,
    pub(in crate::upstream) seat: Seat,
    written: u64,
    read: u64,
}

impl Link {
    pub(in crate::upstream) fn over(stream: Stream, seat: Seat) -> Box<Self> {
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
    pub(in crate::upstream) fn lives(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        self.inbox.is_empty() && self.poll_fill(cx, LITTLE).is_pending()
    }

    /// As [`Self::lives`], and the socket itself says that nothing has arrived: for a request that must not be lost.
    pub(in crate::upstream) fn proves_alive(&mut self) -> bool {
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        let arrivals = rustix::net::recv(self.stream.socket(), &mut [0_u8; 1], flags);
        arrivals == Err(rustix::io::Errno::AGAIN) && self.lives()
    }

    /// Begins an exchange: nothing written, nothing read.
    pub(in crate::upstream) fn begin(&mut self) {
        self.written = 0;
        self.read = 0;
    }

    /// Bytes of the request written so far.
    pub(in crate::upstream) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes read since the exchange began.
    pub(in crate::upstream) fn read(&self) -> u64 {
        self.read
    }

    pub(in crate::upstream) fn progress(&self) -> Progress {
        match (self.written, self.read) {
            (0, _) => Progress::Nothing,
            (_, 0) => Progress::Written,
            _ => Progress::Answered,
        }
    }

    /// Reads more into the inbox, where there is room for `room` bytes; 0 is the end of the connection.
    pub(in crate::upstream) fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        self.inbox.reserve(room);
        // The future holds nothing between two polls.
        let count = ready!(pin!(self.stream.read_buf(&mut self.inbox)).poll(cx))?;
        self.read += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Writes the outbox from `at` on and the piece behind it; how much of both was taken.
    pub(in crate::upstream) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        at: usize,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let count = ready!(match (&self.outbox[at..], piece) {
            (one, []) | ([], one) => stream.poll_write(cx, one),
            (head, piece) => stream.poll_write_vectored(cx, &[io::IoSlice::new(head), io::IoSlice::new(piece)]),
        })?;
        self.written += count as u64;
        if count == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { Poll::Ready(Ok(count)) }
    }

    pub(in crate::upstream) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Takes bytes off the front of the inbox.
    pub(in crate::upstream) fn take(&mut self, count: usize) -> Bytes {
        self.inbox.split_to(count).freeze()
    }
}

#[cfg(test)]
impl Link {
    /// Waits until the reactor knows that something has come.
    pub(super) async fn arrival(&self) {
        self.stream.socket().readable().await.unwrap();
    }
}

/// Room for what an idle connection should not have to say.
const LITTLE: usize = 512;
