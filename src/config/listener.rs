//! The listeners of the data plane: `[listen]`, and `[listeners.NAME]` with the same settings beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::finding::Wrong;
use super::raw::Node;
use super::walk::{Section, Split, Walk};
use super::{Config, kinds};
use crate::id::ListenerName;

/// `[listen]` and `[listeners.NAME]`.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Where it listens.
    pub address: Address,
    /// With it the listener speaks TLS only.
    pub tls: Option<Tls>,
    /// Host names accepted (lower case, without a port); empty: loopback names on loopback, else any; `*`: any.
    pub hosts: Vec<String>,
    /// Connections at once; one more waits in the kernel's queue.
    pub max_connections: usize,
    /// Connections at once from one address; one more is closed.
    pub max_connections_per_peer: usize,
    /// Bytes of a request's body.
    pub max_body: u64,
    /// To receive a request's head; also to finish a TLS handshake.
    pub header_timeout: Duration,
    /// Between two pieces of a request's body.
    pub body_timeout: Duration,
    /// Keep-alive without a request.
    pub idle_timeout: Duration,
    /// Bytes of a request's whole head.
    pub max_header_bytes: usize,
    /// Bytes of a request's target.
    pub max_uri_bytes: usize,
    /// Header lines of a request.
    pub max_headers: usize,
    /// Peers whose `X-Forwarded-For` names the client: in records and per-peer limits, never in a decision.
    pub trusted_proxies: Vec<IpNet>,
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(UnixAddress),
    /// The sockets that systemd hands over (`sd_listen_fds(3)`).
    Systemd,
}

/// A socket in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixAddress {
    /// Its path.
    pub path: PathBuf,
    /// Its permissions, such as `0o660`.
    pub mode: u32,
    /// Its group, by name or number; none: that of the process.
    pub group: Option<String>,
}

/// `tls = { cert, key, client_ca }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file: the certificate, then those it was issued by.
    pub cert: PathBuf,
    /// A PEM file: the certificate's private key.
    pub key: PathBuf,
    /// A PEM file: clients must have a certificate issued by one of these.
    pub client_ca: Option<PathBuf>,
}

/// A listener with its name.
pub struct NamedListener<'c> {
    /// As metrics call it; `[listen]` is `default`.
    pub label: &'c str,
    /// The key of its table.
    pub key: String,
    /// Its settings.
    pub listener: &'c Listener,
}

impl Config {
    /// Every listener of the data plane: `[listen]` first, then the others by name.
    pub fn all_listeners(&self) -> impl Iterator<Item = NamedListener<'_>> {
        let first = NamedListener { label: ListenerName::DEFAULT, key: "listen".to_owned(), listener: &self.listen };
        let others = self.listeners.iter().map(|(name, listener)| NamedListener {
            label: name.as_str(),
            key: format!("listeners.{name}"),
            listener,
        });
        std::iter::once(first).chain(others)
    }
}

impl Address {
    /// Whether others than this machine's own processes can reach it. Of what systemd hands over nothing is known yet.
    pub fn is_wide(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().is_loopback())
    }

    /// The socket address, unless it is none of TCP.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Systemd => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(unix) => write!(f, "unix:{}", unix.path.display()),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: Address::Tcp((Ipv4Addr::LOCALHOST, 8080).into()),
            tls: None,
            hosts: Vec::new(),
            max_connections: 20_000,
            max_connections_per_peer: 20_000,
            max_body: 25 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(120),
            max_header_bytes: 32 << 10,
            max_uri_bytes: 16 << 10,
            max_headers: 100,
            trusted_proxies: Vec::new(),
        }
    }
}

/// Reads the listener of a table; what the table does not say is as in `known`.
pub(super) fn listener(at: &mut Section<'_>, walk: &mut Walk, known: Listener) -> Listener {
    let said = at.optional(walk, "address", place);
    Listener {
        address: address(at, walk, said).unwrap_or(known.address),
        tls: tls(at, walk),
        hosts: at.list(walk, "hosts", Split::Commas, kinds::host).unwrap_or(known.hosts),
        max_connections: at.or(walk, "max_connections", known.max_connections, kinds::count(CONNECTIONS)),
        max_connections_per_peer: at.or(
            walk,
            "max_connections_per_peer",
            known.max_connections_per_peer,
            kinds::count(CONNECTIONS),
        ),
        max_body: at.or(walk, "max_body", known.max_body, kinds::size(0..=1 << 40)),
        header_timeout: at.or(walk, "header_timeout", known.header_timeout, kinds::duration(kinds::TIMEOUT)),
        body_timeout: at.or(walk, "body_timeout", known.body_timeout, kinds::duration(kinds::TIMEOUT)),
        idle_timeout: at.or(walk, "idle_timeout", known.idle_timeout, kinds::duration(kinds::TIMEOUT)),
        max_header_bytes: at.or(walk, "max_header_bytes", known.max_header_bytes, kinds::memory(1 << 10..=1 << 20)),
        max_uri_bytes: at.or(walk, "max_uri_bytes", known.max_uri_bytes, kinds::memory(64..=MAX_URI)),
        max_headers: at.or(walk, "max_headers", known.max_headers, kinds::count(1..=4096)),
        trusted_proxies: at.list(walk, "trusted_proxies", Split::Commas, network).unwrap_or(known.trusted_proxies),
    }
}

/// `[listeners.NAME]`: what a table does not say is as in `[listen]`, but for where it listens and how.
pub(super) fn named(root: &mut Section<'_>, walk: &mut Walk, listen: &Listener) -> BTreeMap<ListenerName, Listener> {
    let mut listeners = BTreeMap::new();
    for (name, mut at) in root.named(walk, "listeners") {
        let (path, place) = (at.path().to_owned(), at.place().clone());
        if at.is_table() && at.count(&["address"]) == 0 {
            let hint = "such as `address = \"unix:/run/closegate/proxy.sock\"`";
            walk.fault(at.key("address"), place.clone(), Wrong::new("missing", hint));
        }
        // The address of `[listen]` is no other listener's.
        let listener = listener(&mut at, walk, Listener { address: Address::Systemd, ..listen.clone() });
        at.close(walk);
        match ListenerName::parse(name) {
            Ok(name) => drop(listeners.insert(name, listener)),
            Err(fault) => {
                let hint = "such as `tools` or `tls`; `default` is what `[listen]` is called";
                walk.fault(path, place, Wrong::new(fault.to_string(), hint));
            }
        }
    }
    listeners
}

/// The `tls` of a table, when it has one.
pub(super) fn tls(at: &mut Section<'_>, walk: &mut Walk) -> Option<Tls> {
    let folders = walk.folders();
    let node = at.node(walk, "tls")?;
    let mut at = Section::of(walk, at.key("tls"), node);
    let mut file = |at: &mut Section<'_>, key| {
        if at.is_table() && at.count(&[key]) == 0 {
            let hint = format!("`{key} = \"PATH\"`, a PEM file");
            walk.fault(at.key(key), at.place().clone(), Wrong::new("missing", hint));
        }
        at.optional(walk, key, kinds::file(folders.clone()))
    };
    let (cert, key) = (file(&mut at, "cert"), file(&mut at, "key"));
    let client_ca = at.optional(walk, "client_ca", kinds::file(folders));
    at.close(walk);
    Some(Tls { cert: cert?, key: key?, client_ca })
}

/// The whole address: a Unix socket's has permissions as well.
fn address(at: &mut Section<'_>, walk: &mut Walk, said: Option<Address>) -> Option<Address> {
    let Some(Address::Unix(mut unix)) = said else {
        if at.count(&["mode", "group"]) > 0 && (said.is_some() || at.count(&["address"]) == 0) {
            let key = if at.count(&["mode"]) > 0 { "mode" } else { "group" };
            let place = at.node(walk, key).map_or_else(|| at.place().clone(), |node| node.place.clone());
            let wrong = Wrong::new("only a Unix socket has it", "`address = \"unix:PATH\"`, or leave it out");
            walk.fault(at.key(key), place, wrong);
            let _ = (at.node(walk, "mode"), at.node(walk, "group"));
        } else if said.is_none() && at.count(&["address"]) == 1 {
            // What kind of address was meant is not known.
            let _ = (at.or(walk, "mode", MODE, permissions), at.optional(walk, "group", self::group));
        }
        return said;
    };
    if let Some(path) = unix.path.to_str() {
        unix.path = walk.folders().absolute(path, &walk.place(&at.key("address")));
    }
    unix.mode = at.or(walk, "mode", unix.mode, permissions);
    unix.group = at.optional(walk, "group", group);
    Some(Address::Unix(unix))
}

/// `IP:PORT`, `unix:PATH` or `systemd`.
fn place(node: &Node) -> Result<Address, Wrong> {
    let said = kinds::text(node)?;
    if said == "systemd" {
        return Ok(Address::Systemd);
    }
    if let Some(path) = said.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Address::Unix(UnixAddress { path: path.into(), mode: MODE, group: None }));
    }
    kinds::listener(node).map(Address::Tcp).map_err(|_| {
        Wrong::new(
            "expected an IP address and a port, `unix:PATH`, or `systemd`",
            "such as `\"127.0.0.1:8080\"`, `\"[::1]:8080\"`, `\"unix:/run/closegate/proxy.sock\"`, or, for every interface, `\"0.0.0.0:8080\"`",
        )
    })
}

/// Permissions in octal digits.
fn permissions(node: &Node) -> Result<u32, Wrong> {
    let said = kinds::text(node)?;
    let octal = !said.is_empty() && said.len() <= 4 && said.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(&said, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| Wrong::new("expected permissions in octal digits", "such as `\"0660\"`, in quotes"))
}

/// The name or number of a group.
fn group(node: &Node) -> Result<String, Wrong> {
    let said = kinds::text(node)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !said.is_empty() && said.len() <= 32 && said.bytes().all(plain) {
        return Ok(said);
    }
    Err(Wrong::new("expected the name of a group", "such as `\"tools\"`"))
}

/// An address or a network.
fn network(node: &Node) -> Result<IpNet, Wrong> {
    let said = kinds::text(node)?;
    let address = said.parse::<std::net::IpAddr>().map(IpNet::from);
    address.or_else(|_| said.parse::<IpNet>()).map(|network| network.trunc()).map_err(|_| {
        Wrong::new("expected an IP address or a network", "such as `\"10.0.0.7\"`, `\"10.0.0.0/8\"` or `\"fd00::/8\"`")
    })
}

const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
/// The longest target that `http::Uri` holds is one byte less than its mark for "none", 65 535.
const MAX_URI: usize = 65_533;
/// A Unix socket's permissions unless said otherwise: its owner and group may connect.
const MODE: u32 = 0o660;
