//! One connection out: resolve, connect, handshake, each within its own time-out.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Permission;
use super::dial::{self, Resolve};
use super::fault::{ConnectError, NetFault, TunnelFault};
use super::stream::{Socket, Stream};
use super::tls::{self, ALPN_H2};
use super::tunnel;
use crate::origin::{Origin, Reach, Scheme};

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

/// How connections out shall be made.
#[derive(Debug)]
pub struct Options {
    /// A PEM file of roots that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// An origin, and the `host:port` to connect to for it.
    pub place: Option<(Origin, String)>,
    /// The HTTP proxy that every connection goes through.
    pub proxy: Option<Origin>,
    /// To connect.
    pub connect_timeout: Duration,
    /// To finish the TLS handshake.
    pub tls_timeout: Duration,
}

/// How connections out are made.
pub struct Connector {
    tls: Arc<ClientConfig>,
    resolve: Resolve,
    place: Option<(Origin, String)>,
    proxy: Option<Origin>,
    connect_timeout: Duration,
    tls_timeout: Duration,
}

const READ_AHEAD: usize = 64 * 1024;
/// What TLS takes before the socket has taken it: a head, and 64 KiB of a body behind it.
const WRITTEN_AT_ONCE: usize = 72 * 1024;

impl Connector {
    /// Prepares TLS; nothing is connected to yet.
    pub fn new(options: Options) -> Result<Self, NetFault> {
        let Options { ca, place, proxy, connect_timeout, tls_timeout } = options;
        let tls = tls::client(ca.as_deref())?;
        Ok(Self { tls, resolve: dial::system(), place, proxy, connect_timeout, tls_timeout })
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
        let target = self.target(origin);
        if let Some(proxy) = &self.proxy {
            return self.dial_through(proxy, &target.place, origin.scheme()).await;
        }
        let found = (self.resolve)(target.place.clone()).await.map_err(ConnectError::Resolve)?;
        let addresses = target.permission.admitted(&target.place, found)?;
        dial::connect(&addresses, self.connect_timeout).await.map_err(ConnectError::Connect)
    }

    /// The proxy resolves the name, where that leads cannot be judged here; clear text does not leave this machine.
    async fn dial_through(&self, proxy: &Origin, target: &str, carries: Scheme) -> Result<TcpStream, ConnectError> {
        let place = proxy.host_and_port();
        let permission = match carries {
            Scheme::Http => Permission::Loopback,
            Scheme::Https => Permission::Any,
        };
        let found = (self.resolve)(place.clone()).await.map_err(TunnelFault::Resolve)?;
        let addresses = permission.admitted(&place, found)?;
        let socket = dial::connect(&addresses, self.connect_timeout).await.map_err(TunnelFault::Connect)?;
        Ok(tunnel::open(socket, target).await?)
    }

    /// Where an origin is, and where that may lead.
    fn target(&self, origin: &Origin) -> Target {
        let said = self.place.as_ref().filter(|(of, _)| of.has_url_of(origin)).map(|(_, place)| place.clone());
        let literal = origin.host().parse::<IpAddr>().is_ok();
        let permission = match origin.scheme() {
            Scheme::Http => Permission::Loopback,
            Scheme::Https if said.is_some() || literal => Permission::Any,
            Scheme::Https if origin.is_loopback() => Permission::Loopback,
            Scheme::Https if origin.reach() == Reach::Anywhere => Permission::Any,
            Scheme::Https => Permission::Public,
        };
        Target { place: said.unwrap_or_else(|| origin.host_and_port()), permission }
    }

    async fn handshake(&self, origin: &Origin, offer: Offer, socket: TcpStream) -> Result<Stream, ConnectError> {
        let name = ServerName::try_from(origin.host().to_owned())
            .map_err(|error| ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let io = BufReader::with_capacity(READ_AHEAD, Socket(socket));
        let connector = TlsConnector::from(self.tls.clone());
        let mut stream = connector.with_alpn(offer.protocols()).connect(name, io).await.map_err(ConnectError::Tls)?;
        stream.get_mut().1.set_buffer_limit(Some(WRITTEN_AT_ONCE));
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// What is connected to for an origin.
struct Target {
    /// `host:port`.
    place: String,
    permission: Permission,
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A connector for which every name leads to these addresses.
    fn leading_to(addresses: &[SocketAddr], place: Option<(Origin, String)>) -> Connector {
        let options = Options { ca: None, place, proxy: None, connect_timeout: PATIENCE, tls_timeout: PATIENCE };
        let addresses = addresses.to_vec();
        let resolve: Resolve = Box::new(move |_| {
            let addresses = addresses.clone();
            Box::pin(async move { Ok(addresses) })
        });
        Connector { resolve, ..Connector::new(options).unwrap() }
    }

    fn origin(url: &str, reach: Reach) -> Origin {
        Origin::parse(url).unwrap().reaching(reach)
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn line_42_a_name_leads_to_a_private_address_only_where_that_is_said() {
        let (_listener, here) = listener().await;
        let name = "https://close.test";
        let place = |origin: &Origin| Some((origin.clone(), "inside.test:443".to_owned()));
        let (public, anywhere) = (origin(name, Reach::Public), origin(name, Reach::Anywhere));
        for (what, of, place, connects) in [
            ("a name", &public, None, false),
            ("a name that may lead anywhere", &anywhere, None, true),
            ("an address said for it", &public, place(&public), true),
            ("an address said for the URL, on a route that may lead anywhere", &anywhere, place(&public), true),
            ("an address said for another", &public, place(&origin("https://other.test", Reach::Public)), false),
            ("an address in the URL", &origin("https://10.0.0.1", Reach::Public), None, true),
            ("localhost", &origin("https://localhost", Reach::Public), None, true),
        ] {
            let dialled = leading_to(&[here], place).dial(of).await;
            match dialled {
                Ok(socket) => assert!(connects && socket.peer_addr().unwrap() == here, "{what}"),
                Err(error) => assert!(!connects && matches!(error, ConnectError::Prohibited(_)), "{what}: {error}"),
            }
        }
    }

    /// Where a connection is never taken: one that waits already has all the room there is.
    fn mute() -> (socket2::Socket, std::net::TcpStream, SocketAddr) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, std::net::TcpStream::connect(address).unwrap(), address)
    }

    #[tokio::test]
    async fn an_address_behind_which_nobody_answers_leaves_the_next_one_its_time() {
        let ((_listener, here), (_socket, _waiting, dead)) = (listener().await, mute());
        let connect_timeout = Duration::from_secs(2);
        let to = |addresses: &[SocketAddr]| Connector { connect_timeout, ..leading_to(addresses, None) };
        let localhost = origin("http://localhost", Reach::Public);
        let connected = to(&[dead, here]).connect(&localhost, Offer::Http1).await;
        let Ok(Stream::Plain(socket)) = connected else { panic!("the second takes it") };
        assert_eq!(socket.peer_addr().unwrap(), here);
        let user_timeout = socket2::SockRef::from(&socket).tcp_user_timeout().unwrap();
        assert!(user_timeout.is_some(), "what is not acknowledged is not waited for");
        let alone = to(&[dead]).connect(&localhost, Offer::Http1).await;
        assert!(matches!(alone, Err(ConnectError::ConnectTimeout)), "it is as dead as the test needs it");
    }

    #[tokio::test]
    async fn line_42_of_several_addresses_only_those_permitted_are_tried() {
        let ((_listener, here), (_other, other)) = (listener().await, listener().await);
        // It can be connected to, and is no address of loopback.
        let elsewhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, other.port()));
        let connector = leading_to(&[elsewhere, here], None);
        for url in ["https://localhost", "http://localhost"] {
            let socket = connector.dial(&origin(url, Reach::Public)).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), here, "{url}");
        }
    }

    #[tokio::test]
    async fn line_40_clear_text_stays_on_this_machine_wherever_its_name_leads() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
        let (localhost, literal) = ("http://localhost", "http://127.0.0.1");
        let said = |url| Some((origin(url, Reach::Public), "inside.test:80".to_owned()));
        for (url, place) in [(localhost, None), (localhost, said(localhost)), (literal, said(literal))] {
            for reach in [Reach::Public, Reach::Anywhere] {
                let refused = leading_to(&[elsewhere], place.clone()).dial(&origin(url, reach)).await;
                assert!(matches!(refused, Err(ConnectError::Prohibited(_))), "{url} {reach:?}");
            }
        }
    }

    #[tokio::test]
    async fn line_40_clear_text_goes_to_no_proxy_elsewhere() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 3128));
        let proxy = Some(origin("http://localhost:3128", Reach::Public));
        let connector = Connector { proxy, ..leading_to(&[elsewhere], None) };
        let refused = connector.dial(&origin("http://127.0.0.1", Reach::Public)).await;
        assert!(matches!(refused, Err(ConnectError::Prohibited(_))));
    }

    #[tokio::test]
    async fn a_refused_address_is_named_with_the_setting_in_the_cause_alone() {
        let metadata = SocketAddr::from(([169, 254, 169, 254], 443));
        let error = leading_to(&[metadata], None).dial(&origin("https://close.test", Reach::Public)).await.unwrap_err();
        assert_eq!(error.to_string(), "the upstream's address is not permitted");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("`close.test:443`") && cause.contains("169.254.169.254"), "{cause}");
        assert!(cause.contains("`danger_private_upstream = true`"), "{cause}");
    }
}
