//! From `host:port` to a TCP connection: looked up once, and connected to what was found and permitted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::{TcpStream, lookup_host};

/// A name that is being looked up.
pub(super) type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks `host:port` up: as the system does it, or as a test says.
pub(super) type Resolve = Box<dyn Fn(String) -> Resolving + Send + Sync>;

/// The resolver of the system; an address is its own.
pub(super) fn system() -> Resolve {
    Box::new(|place| Box::pin(async move { Ok(lookup_host(place).await?.collect()) }))
}

/// Connects to the first of the addresses that takes it.
pub(super) async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(addresses).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}
