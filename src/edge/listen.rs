//! Listening sockets and the thread that accepts: bounded in all, bounded a peer, handed out in turn to the workers.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, watch};

/// Why nobody listens.
#[derive(Debug, thiserror::Error)]
#[error("`{address}` cannot be listened on: {source}")]
pub struct ListenFault {
    /// Where.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// Binds and listens; the socket does not block.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenFault> {
    let listening = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // What is accepted here inherits it.
        socket.set_tcp_notsent_lowat(UNSENT)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    };
    listening().map_err(|source| ListenFault { address, source })
}

/// How many may come in at once.
pub struct Doors {
    max: usize,
    max_per_peer: usize,
    open: AtomicUsize,
    peers: DashMap<IpAddr, usize>,
    left: Notify,
    gauge: Arc<AtomicI64>,
}

/// A connection that was let in.
pub struct Accepted {
    /// The connection; it does not block.
    pub stream: TcpStream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// Which listener it came by.
    pub listener: usize,
    /// Its place, given back when dropped.
    pub pass: Pass,
}

/// A place among the connections that may be open.
pub struct Pass {
    doors: Arc<Doors>,
    peer: IpAddr,
}

impl Doors {
    /// At most `max` connections, `max_per_peer` of them from one address; `gauge` shows how many are open.
    pub fn new(max: usize, max_per_peer: usize, gauge: Arc<AtomicI64>) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_peer,
            open: AtomicUsize::new(0),
            peers: DashMap::new(),
            left: Notify::new(),
            gauge,
        })
    }

    async fn wait_for_room(&self) {
        loop {
            let left = self.left.notified();
            if self.open.load(Ordering::Acquire) < self.max {
                return;
            }
            left.await;
        }
    }

    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Pass> {
        let mut count = self.peers.entry(peer).or_insert(0);
        if *count >= self.max_per_peer {
            return None;
        }
        *count += 1;
        self.open.fetch_add(1, Ordering::AcqRel);
        self.gauge.fetch_add(1, Ordering::Relaxed);
        Some(Pass { doors: self.clone(), peer })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.doors.peers.remove_if_mut(&self.peer, |_, count| {
            *count -= 1;
            *count == 0
        });
        self.doors.gauge.fetch_sub(1, Ordering::Relaxed);
        self.doors.open.fetch_sub(1, Ordering::AcqRel);
        self.doors.left.notify_one();
    }
}

/// Accepts on one socket and hands connections to the workers in turn.
///
/// `SO_REUSEPORT` instead would let a few long-lived connections fall on one core.
pub struct Acceptor {
    /// The listening socket.
    pub listener: TcpListener,
    /// Who may come in.
    pub doors: Arc<Doors>,
    /// Where connections go.
    pub workers: Vec<mpsc::UnboundedSender<Accepted>>,
}

impl Acceptor {
    /// Accepts until `stop` says so; when the system is out of files or memory it waits and tries again.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "what is unsound for some type that lies about its descriptor is sound for std's"
        )]
        let listener = AsyncFd::new(self.listener)?;
        let mut turn = 0;
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                accepted = accept(&listener, &self.doors) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    if let Some(pass) = self.doors.admit(peer.ip()) {
                        // A worker that is gone has stopped the gateway already.
                        let _ =
                            self.workers[turn % self.workers.len()].send(Accepted { stream, peer, listener: 0, pass });
                        turn += 1;
                    }
                }
                Err(error) if is_exhaustion(&error) => {
                    tracing::warn!(%error, ?pause, "no connection can be accepted for now");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                // The client went away before it was accepted.
                Err(_) => {}
            }
        }
    }
}

async fn accept(listener: &AsyncFd<TcpListener>, doors: &Doors) -> io::Result<(TcpStream, SocketAddr)> {
    doors.wait_for_room().await;
    listener
        .async_io(tokio::io::Interest::READABLE, |listener| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (stream, peer) = rustix::net::acceptfrom_with(listener, flags)?;
            let stream = TcpStream::from(stream);
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            let peer = peer.map_or_else(|| stream.peer_addr(), Ok)?;
            SockRef::from(&stream).set_tcp_nodelay(true)?;
            Ok((stream, peer))
        })
        .await
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM: it passes, and trying again at once would spin (security.md 38).
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

const BACKLOG: i32 = 4096;
/// How much of an answer the system takes beyond what is under way to the client, in bytes. Without a bound it takes
/// megabytes, and then nothing until a third of them has been read: a slow client would look like one that has stopped.
const UNSENT: u32 = 128 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
