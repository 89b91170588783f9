//! One connection out: resolve, connect, handshake, each within its own time-out.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::origin::{Origin, Scheme};

/// What makes connections impossible from the start.
#[derive(Debug, thiserror::Error)]
pub enum NetFault {
    /// The file of roots cannot be used.
    #[error("`{path}` cannot be used as roots: {why}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The cryptographic provider lacks TLS 1.2 or 1.3.
    #[error("the cryptographic provider offers no safe version of TLS")]
    Provider,
}

/// Why there is no connection; in every case no byte of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name was not resolved.
    #[error("the upstream's name does not resolve")]
    Resolve(#[source] io::Error),
    /// No address took the connection.
    #[error("the upstream does not take connections")]
    Connect(#[source] io::Error),
    /// Nobody answered within `connect_timeout`.
    #[error("the upstream did not take the connection in time")]
    ConnectTimeout,
    /// The handshake failed: an invalid certificate, a wrong name, an old version, no TLS at all.
    #[error("no TLS session with the upstream")]
    Tls(#[source] io::Error),
    /// The handshake was not over within `tls_timeout`.
    #[error("the TLS handshake with the upstream was not over in time")]
    TlsTimeout,
}

/// Which versions of HTTP a TLS handshake offers (ALPN, RFC 7301); clear text has no such choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone.
    Http2,
    /// Both, HTTP/2 preferred.
    Both,
}

impl Offer {
    fn protocols(self) -> Vec<Vec<u8>> {
        let (h1, h2) = (b"http/1.1".to_vec(), ALPN_H2.to_vec());
        match self {
            Self::Http1 => vec![h1],
            Self::Http2 => vec![h2],
            Self::Both => vec![h2, h1],
        }
    }
}

/// How connections out are made.
pub struct Connector {
    tls: Arc<ClientConfig>,
    place: Option<(Origin, String)>,
    connect_timeout: Duration,
    tls_timeout: Duration,
}

/// A connection out, with TLS unless the origin is `http`.
pub enum Stream {
    /// Clear text.
    Plain(TcpStream),
    /// TLS over large reads: one system call for a 16 KiB record instead of four.
    Tls(Box<TlsStream<BufReader<Socket>>>),
}

const READ_AHEAD: usize = 64 * 1024;
const ALPN_H2: &[u8] = b"h2";

impl Connector {
    /// Prepares TLS (with the roots of `ca` beside the system's) and the time-outs; `place` is an origin and the
    /// `host:port` to connect to for it.
    pub fn new(
        ca: Option<PathBuf>,
        place: Option<(Origin, String)>,
        connect_timeout: Duration,
        tls_timeout: Duration,
    ) -> Result<Self, NetFault> {
        Ok(Self { tls: super::tls::client(ca.as_deref())?, place, connect_timeout, tls_timeout })
    }

    /// Connects to the origin, or to the place said instead of it; what the peer chose of the offer says the stream.
    pub async fn connect(&self, origin: &Origin, offer: Offer) -> Result<Stream, ConnectError> {
        let dialled = tokio::time::timeout(self.connect_timeout, self.dial(origin)).await;
        let socket = dialled.map_err(|_| ConnectError::ConnectTimeout)??;
        match origin.scheme() {
            Scheme::Http => Ok(Stream::Plain(socket)),
            Scheme::Https => {
                let shaken = tokio::time::timeout(self.tls_timeout, self.handshake(origin, offer, socket)).await;
                shaken.map_err(|_| ConnectError::TlsTimeout)?
            }
        }
    }

    async fn dial(&self, origin: &Origin) -> Result<TcpStream, ConnectError> {
        let addresses: Vec<_> = match &self.place {
            Some((for_origin, place)) if for_origin == origin => {
                lookup_host(place.as_str()).await.map_err(ConnectError::Resolve)?.collect()
            }
            _ => lookup_host((origin.host(), origin.port())).await.map_err(ConnectError::Resolve)?.collect(),
        };
        let socket = TcpStream::connect(addresses.as_slice()).await.map_err(ConnectError::Connect)?;
        socket.set_nodelay(true).map_err(ConnectError::Connect)?;
        Ok(socket)
    }

    async fn handshake(&self, origin: &Origin, offer: Offer, socket: TcpStream) -> Result<Stream, ConnectError> {
        let name = ServerName::try_from(origin.host().to_owned())
            .map_err(|error| ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let io = BufReader::with_capacity(READ_AHEAD, Socket(socket));
        let connector = TlsConnector::from(self.tls.clone());
        let stream = connector.with_alpn(offer.protocols()).connect(name, io).await.map_err(ConnectError::Tls)?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

impl Stream {
    /// Whether the handshake agreed on HTTP/2; without TLS, or without an agreement, it is HTTP/1.1.
    pub fn agreed_on_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(ALPN_H2),
        }
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.get_ref().0.get_ref().0,
        }
    }
}

/// A socket to which one piece is written as one piece: TLS hands its records over as lists, mostly of one.
pub struct Socket(TcpStream);

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(&mut self.get_mut().0);
        match slices {
            [one] => socket.poll_write(cx, one),
            many => socket.poll_write_vectored(cx, many),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
