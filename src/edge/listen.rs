//! The thread that accepts: bounded in all, bounded a peer, handed out in turn to the workers.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use futures_util::future::try_join_all;
use ipnet::IpNet;
use rustix::net::SocketFlags;
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, watch};

use super::bind::{Bound, Local};
use super::stream::Peer;

/// How many may come in at once by one listener.
pub struct Doors {
    max: usize,
    max_per_peer: usize,
    trusted: Vec<IpNet>,
    open: AtomicUsize,
    peers: DashMap<IpAddr, usize>,
    left: Notify,
    gauge: Arc<AtomicI64>,
}

/// A connection that was let in.
pub struct Accepted {
    /// The connection; it does not block.
    pub socket: OwnedFd,
    /// Who is at the other end.
    pub peer: Peer,
    /// Which listener it came by.
    pub listener: usize,
    /// Its place, given back when dropped.
    pub pass: Pass,
}

/// A place among the connections that may be open.
pub struct Pass {
    doors: Arc<Doors>,
    /// Its share of the peer's; none where a peer has no bound.
    _share: Option<Share>,
}

/// One of those that a client may have at once.
pub struct Share {
    doors: Arc<Doors>,
    peer: IpAddr,
}

impl Doors {
    /// At most `max` connections, `max_per_peer` of them from one address; `gauge` shows how many are open. A trusted
    /// proxy speaks for many: the bound holds for the clients that it names.
    pub fn new(max: usize, max_per_peer: usize, trusted: Vec<IpNet>, gauge: Arc<AtomicI64>) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_peer,
            trusted,
            open: AtomicUsize::new(0),
            peers: DashMap::new(),
            left: Notify::new(),
            gauge,
        })
    }

    /// Whether the address is that of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// A share of what one address may have at once; none when it has all of it.
    pub fn share(self: &Arc<Self>, peer: IpAddr) -> Option<Share> {
        let mut count = self.peers.entry(peer).or_insert(0);
        if *count >= self.max_per_peer {
            return None;
        }
        *count += 1;
        Some(Share { doors: self.clone(), peer })
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

    fn admit(self: &Arc<Self>, peer: Peer) -> Option<Pass> {
        let share = match peer.ip().filter(|address| !self.trusts(*address)) {
            Some(address) => Some(self.share(address)?),
            None => None,
        };
        self.open.fetch_add(1, Ordering::AcqRel);
        self.gauge.fetch_add(1, Ordering::Relaxed);
        Some(Pass { doors: self.clone(), _share: share })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.doors.gauge.fetch_sub(1, Ordering::Relaxed);
        self.doors.open.fetch_sub(1, Ordering::AcqRel);
        self.doors.left.notify_one();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.doors.peers.remove_if_mut(&self.peer, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

/// A socket that is accepted from, and who may come in by it.
pub struct Entrance {
    /// The socket.
    pub socket: Bound,
    /// Which listener it belongs to.
    pub listener: usize,
    /// Who may come in.
    pub doors: Arc<Doors>,
}

/// Accepts on every socket and hands connections to the workers in turn.
///
/// `SO_REUSEPORT` instead would let a few long-lived connections fall on one core.
pub struct Acceptor {
    /// The listening sockets.
    pub entrances: Vec<Entrance>,
    /// Where connections go.
    pub workers: Vec<mpsc::UnboundedSender<Accepted>>,
}

impl Acceptor {
    /// Accepts until `stop` says so; when the system is out of files or memory it waits and tries again.
    pub async fn run(self, stop: watch::Receiver<bool>) -> io::Result<()> {
        let turn = AtomicUsize::new(0);
        let next = || &self.workers[turn.fetch_add(1, Ordering::Relaxed) % self.workers.len()];
        try_join_all(self.entrances.into_iter().map(|entrance| entrance.run(stop.clone(), &next))).await?;
        Ok(())
    }
}

impl Entrance {
    async fn run<'w>(
        self,
        mut stop: watch::Receiver<bool>,
        next: &impl Fn() -> &'w mpsc::UnboundedSender<Accepted>,
    ) -> io::Result<()> {
        let Self { socket, listener, doors } = self;
        #[expect(deprecated, reason = "what is unsound for some type that lies about its descriptor is sound for ours")]
        let socket = AsyncFd::new(socket)?;
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                accepted = accept(&socket, &doors) => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    pause = FIRST_PAUSE;
                    if let Some(pass) = doors.admit(peer) {
                        // A worker that is gone has stopped the gateway already.
                        let _ = next().send(Accepted { socket, peer, listener, pass });
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

async fn accept(listener: &AsyncFd<Bound>, doors: &Doors) -> io::Result<(OwnedFd, Peer)> {
    doors.wait_for_room().await;
    listener
        .async_io(tokio::io::Interest::READABLE, |listener| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (socket, peer) = rustix::net::acceptfrom_with(listener, flags)?;
            let peer = match listener.local() {
                Local::Tcp(_) => {
                    SockRef::from(&socket).set_tcp_nodelay(true)?;
                    let address = peer.and_then(|peer| std::net::SocketAddr::try_from(peer).ok());
                    Peer::Tcp(address.ok_or(io::ErrorKind::NotConnected)?)
                }
                Local::Unix(_) => {
                    let said = rustix::net::sockopt::socket_peercred(&socket);
                    Peer::Unix(said.ok().map(|said| said.uid.as_raw()))
                }
            };
            Ok((socket, peer))
        })
        .await
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM: it passes, and trying again at once would spin (security.md 38).
fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|errno| errno.raw_os_error() == code))
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
