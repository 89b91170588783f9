//! HTTP/2 in front, frame by frame: conformance, what its requests may not say, floods, time (security.md 17, 18).

mod client;
mod conformance;
mod messages;

use std::net::SocketAddr;

use self::client::Client;
use crate::front::{Authority, place, shake};
use crate::world::{Setup, World};

/// Where a client of HTTP/2 comes in.
trait Door {
    /// A new connection, on which nothing was said yet.
    fn enter(&self) -> Client;
}

/// The plain port, with prior knowledge.
struct Clear(SocketAddr);

impl Door for Clear {
    fn enter(&self) -> Client {
        Client::connect(self.0)
    }
}

/// TLS, with HTTP/2 agreed by ALPN.
struct Sealed {
    authority: Authority,
    address: SocketAddr,
    world: World,
}

impl Sealed {
    /// Starts a gateway with a TLS listener beside the plain one.
    fn start(setup: Setup) -> Self {
        let authority = Authority::new();
        let identity = authority.sign("localhost");
        let listener = "address = \"127.0.0.1:0\"\ntls = { cert = \"tls.crt\", key = \"tls.key\" }";
        let setup = setup.file("tls.crt", &identity.cert).file("tls.key", &identity.key);
        let world = setup.set("listeners.tls", listener).start();
        Self { authority, address: place(&world, "tls"), world }
    }
}

impl Door for Sealed {
    fn enter(&self) -> Client {
        let session = shake(self.authority.client(None, &[b"h2"]), self.address).unwrap();
        assert_eq!(session.conn.alpn_protocol(), Some(&b"h2"[..]));
        let socket = session.sock.try_clone().unwrap();
        Client::over(Box::new(session), &socket)
    }
}
