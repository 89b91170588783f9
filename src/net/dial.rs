//! From `host:port` to a TCP connection: looked up once, and connected to what was found and permitted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

/// A name that is being looked up.
pub(super) type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks `host:port` up: as the system does it, or as a test says.
pub(super) type Resolve = Box<dyn Fn(String) -> Resolving + Send + Sync>;

/// The resolver of the system; an address is its own.
pub(super) fn system() -> Resolve {
    Box::new(|place| Box::pin(async move { Ok(lookup_host(place).await?.collect()) }))
}

/// Connects to the first of the addresses that takes it. Each but the last has an equal share of the time that is left:
/// one behind which nobody answers leaves the next ones theirs. Who calls bounds the whole.
pub(super) async fn connect(addresses: &[SocketAddr], within: Duration) -> io::Result<TcpStream> {
    let until = Instant::now() + within;
    let (last, others) = addresses.split_last().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let lefts = (2..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev();
    for (address, left) in others.iter().zip(lefts) {
        let share = (until.saturating_duration_since(Instant::now()) / left).max(LEAST_SHARE);
        // What one of them was is of no matter while there is another.
        if let Ok(Ok(socket)) = tokio::time::timeout(share, TcpStream::connect(address)).await {
            return ready(socket);
        }
    }
    ready(TcpStream::connect(last).await?)
}

fn ready(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_tcp_user_timeout(Some(UNHEARD))?;
    Ok(socket)
}

/// The least that an address is waited for while there are others.
const LEAST_SHARE: Duration = Duration::from_millis(250);
/// How long what was sent may stay without an acknowledgement before a connection counts as dead (RFC 5482); without it
/// the system goes on for a quarter of an hour, and requests with it.
const UNHEARD: Duration = Duration::from_secs(20);
