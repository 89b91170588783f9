//! One connection out: resolve, connect, handshake, each within its own time-out.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::fault::{ConnectError, NetFault};
use super::stream::{Socket, Stream};
use super::tls::{self, ALPN_H2};
use crate::origin::{Origin, Scheme};

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

const READ_AHEAD: usize = 64 * 1024;

impl Connector {
    /// Prepares TLS (with the roots of `ca` beside the system's) and the time-outs; `place` is an origin and the
    /// `host:port` to connect to for it.
    pub fn new(
        ca: Option<PathBuf>,
        place: Option<(Origin, String)>,
        connect_timeout: Duration,
        tls_timeout: Duration,
    ) -> Result<Self, NetFault> {
        Ok(Self { tls: tls::client(ca.as_deref())?, place, connect_timeout, tls_timeout })
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
