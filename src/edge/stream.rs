//! A connection in, whatever it runs over: TCP or a Unix socket, plain or with TLS.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::layer::Layer;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody at an address.
    Tcp(SocketAddr),
    /// A process of this machine, and the user that it runs as, where the system says so.
    Unix(Option<u32>),
}

impl Peer {
    /// The user that a process of this machine runs as.
    pub fn uid(&self) -> Option<u32> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(uid) => *uid,
        }
    }

    /// The address, an IPv4 one as such.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }
}

/// A connection that can be ended without ceremony.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Makes the end of the connection a TCP reset.
    fn reset_at_end(&self);

    /// Whether the other side has ended the connection, or its half of it, however much is left to be read.
    fn is_left(&self) -> bool;
}

/// What carries the bytes.
pub(super) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection, with TLS over reads of whole records or without.
pub(super) type Stream = Layer<Transport, TlsStream<BufReader<Transport>>>;

impl Transport {
    /// Takes over a socket that was accepted; it must not block.
    pub(super) fn of(socket: OwnedFd, peer: Peer) -> io::Result<Self> {
        match peer {
            Peer::Tcp(_) => TcpStream::from_std(socket.into()).map(Self::Tcp),
            Peer::Unix(_) => UnixStream::from_std(socket.into()).map(Self::Unix),
        }
    }
}

impl Socket for Transport {
    fn reset_at_end(&self) {
        // Where it fails the connection is gone already; a Unix socket knows no reset, and closes as soon.
        if let Self::Tcp(socket) = self {
            let _ = socket.set_zero_linger();
        }
    }

    fn is_left(&self) -> bool {
        // What the runtime has heard of the socket already: this asks the system nothing.
        let cx = &mut Context::from_waker(Waker::noop());
        let heard = match self {
            Self::Tcp(socket) => pin!(socket.ready(Interest::READABLE)).poll(cx),
            Self::Unix(socket) => pin!(socket.ready(Interest::READABLE)).poll(cx),
        };
        matches!(heard, Poll::Ready(Ok(heard)) if heard.is_read_closed())
    }
}

impl Socket for Stream {
    fn reset_at_end(&self) {
        self.transport().reset_at_end();
    }

    fn is_left(&self) -> bool {
        self.transport().is_left()
    }
}

impl Stream {
    fn transport(&self) -> &Transport {
        match self {
            Self::Plain(transport) => transport,
            Self::Tls(stream) => stream.get_ref().0.get_ref(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // TLS hands its records over as lists, mostly of one.
        match (self.get_mut(), slices) {
            (Self::Tcp(socket), [one]) => Pin::new(socket).poll_write(cx, one),
            (Self::Tcp(socket), many) => Pin::new(socket).poll_write_vectored(cx, many),
            (Self::Unix(socket), many) => Pin::new(socket).poll_write_vectored(cx, many),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
