//! Sockets that listen: TCP and Unix ones of our own, and those that systemd hands over (`sd_listen_fds(3)`).
//!
//! A Unix socket comes to its place with its permissions already set and somebody behind it: it is made under another
//! name and moved there, over a stale one. One that somebody still listens on is a fault.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::{Address, UnixAddress};
use crate::id::ListenerName;

/// Why nobody listens.
#[derive(Debug, thiserror::Error)]
#[error("`{address}` cannot be listened on: {source}")]
pub struct ListenFault {
    /// Where.
    pub address: Address,
    /// What the system says.
    pub source: io::Error,
}

impl ListenFault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        use io::ErrorKind as Kind;
        let unix = matches!(self.address, Address::Unix(_));
        match self.source.kind() {
            _ if matches!(self.address, Address::Systemd) => {
                "start it by its socket, as config/systemd/closegate.socket does, or set an address"
            }
            _ if self.source.get_ref().is_some_and(|inner| inner.is::<NoGroup>()) => {
                "make the group, or set another one"
            }
            Kind::AddrInUse => "end the program that listens there, or set another address",
            Kind::PermissionDenied if unix => {
                "let this user write to the folder (`RuntimeDirectory=` in a systemd unit), and be of the group"
            }
            Kind::PermissionDenied => {
                "a port below 1024 takes `CAP_NET_BIND_SERVICE` (`AmbientCapabilities=` in a systemd unit): grant it, or \
                 set a higher port"
            }
            Kind::AddrNotAvailable => {
                "set an address that an interface of this machine has, or 0.0.0.0 for all of them"
            }
            Kind::NotFound | Kind::NotADirectory if unix => {
                "make the folder first (`RuntimeDirectory=` in a systemd unit does), or set another path"
            }
            Kind::AlreadyExists => "remove what lies there, or set another path",
            _ if self.source.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
                "let the process open more files (`ulimit -n`, `LimitNOFILE=`)"
            }
            _ => "set another address",
        }
    }
}

/// No group of this machine has the name.
#[derive(Debug, thiserror::Error)]
#[error("there is no group `{0}`")]
struct NoGroup(String);

/// Where a socket listens in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A path; none for a socket without a name.
    Unix(Option<PathBuf>),
}

/// A socket that listens and does not block.
#[derive(Debug)]
pub struct Bound {
    socket: OwnedFd,
    local: Local,
    /// Removed at the end.
    _own: Option<OwnSocket>,
}

/// A socket's file that this process made.
#[derive(Debug)]
struct OwnSocket {
    path: PathBuf,
    inode: (u64, u64),
}

/// The sockets that systemd handed to this process, until each is taken.
pub struct Inherited(Vec<(String, Bound)>);

impl Local {
    /// Whether only this machine's own processes can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix"),
        }
    }
}

/// Binds a TCP address and listens.
pub fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ListenFault> {
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
    listening().map_err(|source| ListenFault { address: Address::Tcp(address), source })
}

/// Binds and listens where a listener says; from what systemd handed over it takes the sockets of its name.
pub fn bind(address: &Address, label: &str, inherited: &mut Inherited) -> Result<Vec<Bound>, ListenFault> {
    let fault = |source| ListenFault { address: address.clone(), source };
    match address {
        Address::Tcp(tcp) => bind_tcp(*tcp)?.try_into().map(|bound| vec![bound]).map_err(fault),
        Address::Unix(unix) => bind_unix(unix).map(|bound| vec![bound]).map_err(fault),
        Address::Systemd => match inherited.take(label) {
            none if none.is_empty() => Err(fault(io::Error::new(io::ErrorKind::NotFound, NOT_HANDED_OVER))),
            bound => Ok(bound),
        },
    }
}

/// What would keep anybody from listening there, as far as that is seen without listening: the folder of a Unix socket,
/// and its group.
pub fn look_at(address: &Address) -> Result<(), ListenFault> {
    let Address::Unix(unix) = address else { return Ok(()) };
    let seen = || {
        let folder = unix.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if !std::fs::metadata(folder.unwrap_or(Path::new(".")))?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        unix.group.as_deref().map_or(Ok(0), number_of).map(drop)
    };
    seen().map_err(|source| ListenFault { address: address.clone(), source })
}

impl Bound {
    /// Where it listens.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// Whether it is a socket that connections can be accepted from (`SO_ACCEPTCONN` of socket(7)).
    fn listens(&self) -> bool {
        rustix::net::sockopt::socket_acceptconn(self).unwrap_or(false)
    }
}

#[cfg(test)]
impl Bound {
    /// Any descriptor in the place of a socket.
    pub fn unnamed(listener: TcpListener) -> Self {
        Self { socket: listener.into(), local: Local::Unix(None), _own: None }
    }
}

impl AsRawFd for Bound {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl TryFrom<TcpListener> for Bound {
    type Error = io::Error;

    fn try_from(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let local = Local::Tcp(listener.local_addr()?);
        Ok(Self { socket: listener.into(), local, _own: None })
    }
}

impl TryFrom<UnixListener> for Bound {
    type Error = io::Error;

    fn try_from(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let local = Local::Unix(listener.local_addr()?.as_pathname().map(Path::to_owned));
        Ok(Self { socket: listener.into(), local, _own: None })
    }
}

impl Inherited {
    /// The sockets handed to this process, by their names.
    pub fn of_process() -> Self {
        let mut handed = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let taken = (0..handed.len()).filter_map(|at| {
            let name = names.next().unwrap_or_default().to_owned();
            let taken = take(&mut handed, at).filter(Bound::listens);
            if taken.is_none() {
                tracing::warn!(
                    "systemd handed over `{name}`, which is no stream socket that listens; hint: `ListenStream=` and \
                     `Accept=no` in its socket unit"
                );
            }
            taken.map(|bound| (name, bound))
        });
        Self(taken.collect())
    }

    /// No socket at all.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Says which no listener has taken: nobody will ever answer there.
    pub fn warn_of_the_rest(&self) {
        for (name, bound) in &self.0 {
            tracing::warn!(
                "systemd handed over `{name}` ({}), and no listener takes it; hint: a listener of that name with \
                 `address = \"systemd\"`, or another `FileDescriptorName=`",
                bound.local()
            );
        }
    }

    /// Those of a listener's name; `[listen]` takes those that no name tells apart as well.
    fn take(&mut self, label: &str) -> Vec<Bound> {
        let unnamed = |name: &str| label == ListenerName::DEFAULT && UNNAMED.contains(&name);
        let (taken, left) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| name == label || unnamed(name));
        self.0 = left;
        let taken: Vec<(String, Bound)> = taken;
        taken.into_iter().map(|(_, bound)| bound).collect()
    }
}

fn take(handed: &mut ListenFd, at: usize) -> Option<Bound> {
    if let Ok(Some(listener)) = handed.take_tcp_listener(at) {
        // Best effort: the socket serves without it as well.
        let _ = SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT);
        return listener.try_into().ok();
    }
    handed.take_unix_listener(at).ok().flatten()?.try_into().ok()
}

fn bind_unix(unix: &UnixAddress) -> io::Result<Bound> {
    refuse_occupied(&unix.path)?;
    let making = unix.path.with_extension(format!("{}~", std::process::id()));
    // What an earlier process of this number left behind.
    let _ = std::fs::remove_file(&making);
    let made = listen_unix(unix, &making);
    let bound = made.and_then(|listener| {
        std::fs::rename(&making, &unix.path)?;
        let seen = std::fs::symlink_metadata(&unix.path)?;
        let own = OwnSocket { path: unix.path.clone(), inode: (seen.dev(), seen.ino()) };
        let local = Local::Unix(Some(unix.path.clone()));
        Ok(Bound { socket: listener.into(), local, _own: Some(own) })
    });
    bound.inspect_err(|_| drop(std::fs::remove_file(&making)))
}

fn listen_unix(unix: &UnixAddress, at: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(at)?)?;
    // Before anybody can know its name or connect.
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(unix.mode))?;
    if let Some(group) = &unix.group {
        std::os::unix::fs::chown(at, None, Some(number_of(group)?))?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from(socket))
}

/// Only a socket that nobody listens on makes way.
fn refuse_occupied(path: &Path) -> io::Result<()> {
    let seen = match std::fs::symlink_metadata(path) {
        Ok(seen) => seen,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !seen.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else than a socket"));
    }
    match UnixStream::connect(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}

fn number_of(group: &str) -> io::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = nix::unistd::Group::from_name(group)?;
    let found = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, NoGroup(group.to_owned())))?;
    Ok(found.gid.as_raw())
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        // A successor may have taken the place already.
        let seen = std::fs::symlink_metadata(&self.path);
        if seen.is_ok_and(|seen| (seen.dev(), seen.ino()) == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

const BACKLOG: i32 = 4096;
/// How much of an answer the system takes beyond what is under way to the client, in bytes. Without a bound it takes
/// megabytes, and then nothing until a third of them has been read: a slow client would look like one that has stopped.
const UNSENT: u32 = 128 * 1024;
/// What systemd calls a socket without `FileDescriptorName=`, or with that of the unit as it is shipped.
const UNNAMED: [&str; 5] = ["", "unknown", "listen", "closegate", "closegate.socket"];
const NOT_HANDED_OVER: &str = "systemd handed over no socket for it";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &tempfile::TempDir) -> UnixAddress {
        UnixAddress { path: folder.path().join("proxy.sock"), mode: 0o620, group: None }
    }

    #[test]
    fn a_unix_socket_has_its_permissions_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let bound = bind_unix(&at(&folder)).unwrap();
        let seen = std::fs::symlink_metadata(&at(&folder).path).unwrap();
        assert_eq!(seen.permissions().mode() & 0o777, 0o620);
        assert!(bound.local().is_local());
        assert!(bind_unix(&at(&folder)).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse));
        drop(bound);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = at(&folder).path;
        drop(UnixListener::bind(&path).unwrap());
        let bound = bind_unix(&at(&folder)).unwrap();
        UnixStream::connect(&path).unwrap();
        // A successor has moved its own to the same place: that stays.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "kept").unwrap();
        drop(bound);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        assert!(bind_unix(&at(&folder)).is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
    }

    #[test]
    fn sockets_that_were_handed_over_are_told_apart_by_name() {
        let one = || Bound::try_from(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let mut inherited = Inherited(vec![
            ("closegate.socket".to_owned(), one()),
            ("tools".to_owned(), one()),
            (String::new(), one()),
        ]);
        assert_eq!(inherited.take("other").len(), 0);
        assert_eq!(inherited.take("tools").len(), 1);
        assert_eq!(inherited.take("default").len(), 2);
        let fault = bind(&Address::Systemd, "default", &mut inherited).unwrap_err();
        assert!(fault.to_string().contains("handed over no socket"), "{fault}");
    }

    #[test]
    fn what_cannot_be_listened_on_has_a_hint_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let taken = bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let tcp = |address: &str| Address::Tcp(address.parse().unwrap());
        let unix = |path: &str, group: Option<&str>| {
            Address::Unix(UnixAddress { path: folder.path().join(path), mode: 0o600, group: group.map(str::to_owned) })
        };
        std::fs::write(folder.path().join("file"), "").unwrap();
        for (address, hint) in [
            (tcp(&taken.local_addr().unwrap().to_string()), "end the program"),
            // For documentation (RFC 5737): no machine has it.
            (tcp("192.0.2.1:8080"), "an interface of this machine"),
            (unix("nowhere/proxy.sock", None), "make the folder first"),
            (unix("file/proxy.sock", None), "make the folder first"),
            (unix("file", None), "remove what lies there"),
            (unix("proxy.sock", Some("no-such-group")), "make the group"),
            (Address::Systemd, "start it by its socket"),
        ] {
            let fault = bind(&address, "default", &mut Inherited::none()).unwrap_err();
            assert!(fault.hint().contains(hint), "{fault}: {}", fault.hint());
        }
    }
}
