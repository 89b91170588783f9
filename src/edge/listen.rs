//! The thread that accepts: bounded in all, bounded a peer, handed out in turn to the workers.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
        let mut turned_away = TurnedAway::default();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                accepted = accept(&socket, &doors) => accepted,
            };
            match accepted {
                Ok((socket, peer)) => {
                    pause = FIRST_PAUSE;
                    match doors.admit(peer) {
                        // A worker that is gone has stopped the gateway already.
                        Some(pass) => drop(next().send(Accepted { socket, peer, listener, pass })),
                        None => turned_away.note(peer, Instant::now()),
                    }
                }
                Err(error) if is_of_a_connection(&error) => {}
                // EMFILE and its kin, or what nobody has thought of: trying again at once would spin (security.md 38).
                Err(error) => {
                    tracing::warn!(%error, ?pause, "no connection can be accepted for now");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
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

/// Connections of one peer that were one too many, for the log: told at most once in so long.
#[derive(Default)]
struct TurnedAway {
    told: Option<Instant>,
    since: u64,
}

impl TurnedAway {
    fn note(&mut self, peer: Peer, now: Instant) {
        if let Some(count) = self.due(now) {
            tracing::warn!(
                ?peer,
                count,
                "connections are refused: the peer has listen.max_connections_per_peer of them; hint: raise it, or name \
                 a proxy that speaks for many in trusted_proxies"
            );
        }
    }

    /// How many there were since that was told last, if it is time to tell.
    fn due(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < BETWEEN_WARNINGS) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// Whether it is a matter of one connection, which ended before it was accepted, and not of the socket (accept(2)).
fn is_of_a_connection(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let passing = [
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::INTR,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::NOTCONN,
    ];
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::NotConnected || passing.iter().any(|errno| code == Some(errno.raw_os_error()))
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Between two warnings of the same thing.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_once_a_minute_with_their_number() {
        let (mut turned_away, begun) = (TurnedAway::default(), Instant::now());
        assert_eq!(turned_away.due(begun), Some(1));
        let second = Duration::from_secs(1);
        assert!((1..60).all(|after| turned_away.due(begun + after * second).is_none()));
        assert_eq!(turned_away.due(begun + 60 * second), Some(60));
        assert_eq!(turned_away.due(begun + 61 * second), None);
    }

    #[test]
    fn line_38_only_what_concerns_one_connection_is_passed_over_at_once() {
        use rustix::io::Errno;
        for (errno, passes) in [
            (Errno::CONNABORTED, true),
            (Errno::PROTO, true),
            (Errno::MFILE, false),
            (Errno::NOMEM, false),
            (Errno::INVAL, false),
            (Errno::PERM, false),
        ] {
            assert_eq!(is_of_a_connection(&errno.into()), passes, "{errno:?}");
        }
    }
}
