//! HTTP/2 in front, frame by frame: conformance, what its requests may not say, floods, time (security.md 17, 18).

mod client;
mod conformance;
mod floods;
mod messages;
mod timeouts;

use std::net::SocketAddr;

use self::client::Client;
use crate::front::{Authority, TLS, sealed, shake};
use crate::spawned::Spawned;
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

/// TLS, with HTTP/2 agreed by ALPN, at a gateway in this process or in one of its own.
struct Sealed<W> {
    authority: Authority,
    address: SocketAddr,
    world: W,
}

impl Sealed<World> {
    /// Starts a gateway with a TLS listener beside the plain one.
    fn start(setup: Setup) -> Self {
        let authority = Authority::new();
        let world = sealed(setup, &authority).start();
        Self { authority, address: world.place(TLS), world }
    }
}

impl Sealed<Spawned> {
    /// The same in a process of its own.
    fn spawn(setup: Setup) -> Self {
        let authority = Authority::new();
        let world = sealed(setup, &authority).spawn();
        Self { authority, address: world.place(TLS), world }
    }
}

impl<W> Door for Sealed<W> {
    fn enter(&self) -> Client {
        let session = shake(self.authority.client(None, &[b"h2"]), self.address).unwrap();
        assert_eq!(session.conn.alpn_protocol(), Some(&b"h2"[..]));
        let socket = session.sock.try_clone().unwrap();
        Client::over(Box::new(session), &socket)
    }
}
