//! The stream below an HTTP/2 connection, shared by its driver and those who want to know how it fares.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::Stream;

/// A stream, and how much has passed over it.
pub(super) struct Wire {
    /// Nothing once the connection is over: the socket is closed then, whoever still asks.
    stream: RefCell<Option<Stream>>,
    read: Cell<u64>,
    written: Cell<u64>,
    /// What may still be read in this turn of the driver.
    turn: Cell<usize>,
}

/// How much had passed at some time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) read: u64,
    pub(super) written: u64,
}

/// The driver's end.
pub(super) struct Tap(pub(super) Rc<Wire>);

impl Wire {
    pub(super) fn new(stream: Stream) -> Rc<Self> {
        let stream = RefCell::new(Some(stream));
        Rc::new(Self { stream, read: Cell::new(0), written: Cell::new(0), turn: Cell::new(TURN) })
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { read: self.read.get(), written: self.written.get() }
    }

    /// A turn of the driver begins.
    pub(super) fn begin_turn(&self) {
        self.turn.set(TURN);
    }

    /// Whether the socket itself knows nothing of an end; bytes that wait may be for others.
    pub(super) fn proves_alive(&self) -> bool {
        let stream = self.stream.borrow();
        let Some(stream) = &*stream else { return false };
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recv(stream.socket(), &mut [0_u8; 1], flags) {
            Ok((count, _)) => count > 0,
            Err(error) => error == rustix::io::Errno::AGAIN,
        }
    }

    pub(super) fn close(&self) {
        drop(self.stream.take());
    }

    fn with<T>(&self, act: impl FnOnce(Pin<&mut Stream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => act(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn count_written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let count = match &written {
            Poll::Ready(Ok(count)) => *count,
            // TLS may have written some of it before it failed.
            Poll::Ready(Err(_)) => 1,
            Poll::Pending => 0,
        };
        self.written.set(self.written.get() + count as u64);
        written
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = &*self.0;
        // Those for whom it was read come first: what nobody has taken is held in memory.
        if wire.turn.get() == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(wire.with(|stream| stream.poll_read(cx, buf)))?;
        let count = buf.filled().len() - before;
        wire.turn.set(wire.turn.get().saturating_sub(count));
        wire.read.set(wire.read.get() + count as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.count_written(self.0.with(|stream| stream.poll_write(cx, bytes)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.count_written(self.0.with(|stream| stream.poll_write_vectored(cx, slices)))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.stream.borrow().as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with(|stream| stream.poll_shutdown(cx))
    }
}

/// Most bytes that are read before others have their turn: as DATA they are bounded by windows, as heads by nothing.
const TURN: usize = 256 * 1024;
