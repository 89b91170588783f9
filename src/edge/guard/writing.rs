//! The write half: what a client does not take, whether it is still there, and how its connection ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::{Armed, Guard, Phase, is_blank};
use crate::edge::stream::Socket;

impl<IO: Socket> Guard<IO> {
    /// A client that takes nothing of its answer for the idle time is let go.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match (&poll, &self.writing) {
            (Poll::Ready(_), None) => poll,
            (Poll::Ready(_), Some(_)) => {
                self.writing = None;
                self.line.note_held_up(false);
                if self.line.answered() == self.number && matches!(self.armed, Armed::Nothing | Armed::Idle(_)) {
                    self.arm(Armed::Idle(self.number));
                }
                poll
            }
            (Poll::Pending, Some(deadline)) => {
                ready!(deadline.poll_passed(cx));
                self.line.reset();
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            (Poll::Pending, None) => {
                let deadline = self.reading.sibling();
                deadline.set(self.timeouts.idle);
                let pending = deadline.poll_passed(cx);
                self.writing = Some(deadline);
                self.line.note_held_up(true);
                pending.map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Fails once the client of a request in flight has left. The codec reads only so far ahead of a handler: while it
    /// does not, nothing but this would see the end of the connection behind what is unread.
    fn attend(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.line.answered() >= self.number {
            return Ok(());
        }
        if self.attended != self.number {
            self.attended = self.number;
            self.presence.set(PRESENCE);
        }
        while self.presence.poll_passed(cx).is_ready() {
            if self.io.is_left() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            self.presence.set(PRESENCE);
        }
        Ok(())
    }
}

impl<IO: Socket> AsyncWrite for Guard<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let poll = if length <= SMALL {
            // A head and a small body as one piece: the copy costs less than the system's look at two.
            let mut joined = [0; SMALL];
            let mut at = 0;
            for slice in slices {
                joined[at..at + slice.len()].copy_from_slice(slice);
                at += slice.len();
            }
            Pin::new(&mut this.io).poll_write(cx, &joined[..length])
        } else {
            Pin::new(&mut this.io).poll_write_vectored(cx, slices)
        };
        this.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The codec flushes each time that it is woken.
        this.attend(cx)?;
        // TLS takes an answer's end into a buffer of its own: whether the client takes it is seen here.
        let poll = Pin::new(&mut this.io).poll_flush(cx);
        this.watch(cx, poll)
    }

    /// Ends the write half, and reads on for a moment when the client may still be sending: closing at once would
    /// send a reset, and that would take the answer away from a client that has not read it yet (RFC 9112 9.6).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.line.note_parting();
        if this.line.is_reset() {
            return Poll::Ready(Ok(()));
        }
        if this.armed != Armed::Linger {
            let poll = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.watch(cx, poll))?;
            let still_sending = !matches!(this.phase, Phase::Head | Phase::Expired) || !is_blank(&this.held);
            if !still_sending {
                return Poll::Ready(Ok(()));
            }
            this.arm(Armed::Linger);
        }
        match this.drain(cx) {
            Poll::Pending if this.line.is_hurried() => Poll::Ready(Ok(())),
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => this.reading.poll_passed(cx).map(Ok),
        }
    }
}

impl<IO: Socket> Drop for Guard<IO> {
    fn drop(&mut self) {
        if self.line.is_reset() {
            self.io.reset_at_end();
        }
    }
}

/// Up to so many bytes are written as one piece.
const SMALL: usize = 2048;
/// How often it is seen whether the client of a request in flight is still there.
const PRESENCE: Duration = Duration::from_millis(500);
