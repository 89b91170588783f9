//! The sockets of a gateway: bound all or none, with their certificates, before anything else of it runs.

use std::net::TcpListener;
use std::sync::Arc;

use super::Fault;
use crate::config::{Config, Listener, Tls};
use crate::edge::{
    self, Bound, Doors, Entrance, HeadLimits, Inherited, Local, Offer, Rules, ServerTls, Session, Timeouts,
};
use crate::proxy::{Door, Exposure};
use crate::task;
use crate::telemetry::Telemetry;

/// What a gateway listens on.
pub(super) struct Sockets {
    /// Those of the proxy, one a listener of the configuration, in its order.
    pub(super) proxy: Vec<Listening>,
    pub(super) admin: TcpListener,
    pub(super) admin_tls: Option<Arc<ServerTls>>,
    pub(super) metrics: Option<TcpListener>,
}

/// One listener of the proxy.
pub(super) struct Listening {
    label: String,
    sockets: Vec<Bound>,
    tls: Option<Arc<ServerTls>>,
}

/// The certificate of a listener, read again at a reload.
#[derive(Clone)]
pub(super) struct Certificate {
    table: String,
    tls: Arc<ServerTls>,
}

/// What certificates will be once they are adopted.
pub(super) struct Renewed(Vec<(Arc<ServerTls>, Session)>);

impl Certificate {
    /// Reads them all again, where that may block; nothing changes yet. Where the configuration names other files by now,
    /// or none, those of the start are in use until a restart, and may be gone.
    pub(super) async fn read_again(all: &[Self], config: &Config) -> Result<Renewed, Vec<Fault>> {
        let all: Vec<_> = all.iter().map(|certificate| (certificate.clone(), certificate.standing(config))).collect();
        let read = task::blocking(move || Self::read_all(&all)).await;
        // One that panicked has said so.
        read.unwrap_or_else(|| Err(vec![unread()]))
    }

    fn read_all(all: &[(Self, Standing)]) -> Result<Renewed, Vec<Fault>> {
        let (mut renewed, mut faults) = (Vec::new(), Vec::new());
        for (Self { table, tls }, standing) in all {
            match (tls.read_again(), standing) {
                (Ok(session), _) => renewed.extend(session.map(|session| (tls.clone(), session))),
                (Err(fault), Standing::Named) => faults.push(untrusted(table, fault)),
                (Err(_), Standing::Moved) => {}
            }
        }
        if faults.is_empty() { Ok(Renewed(renewed)) } else { Err(faults) }
    }

    fn standing(&self, config: &Config) -> Standing {
        let tables = config.all_listeners().map(|named| (named.key, named.listener.tls.as_ref()));
        let mut tables = tables.chain([("admin".to_owned(), config.admin.tls.as_ref())]);
        let named = tables.find(|(table, _)| *table == self.table).and_then(|(_, files)| files);
        if named.is_some_and(|files| self.tls.is_of(files)) { Standing::Named } else { Standing::Moved }
    }
}

/// How the files of a certificate stand to the configuration as it is now.
enum Standing {
    /// It names them.
    Named,
    /// It does not any more.
    Moved,
}

impl Renewed {
    /// None is read again.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether every certificate is what it was.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// New connections are shown these from now on.
    pub(super) fn adopt(self) {
        for (tls, session) in self.0 {
            tls.adopt(session);
        }
    }
}

/// How the proxy's listeners are served, in the order of the configuration.
pub(super) struct Front {
    /// How their connections are.
    pub(super) rules: Vec<Rules>,
    /// Who may speak to them.
    pub(super) doors: Vec<Door>,
}

/// Binds everything, and takes over what systemd hands to this process.
pub(super) fn bind(config: &Config) -> Result<Sockets, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut inherited = Inherited::of_process();
    let mut proxy = Vec::new();
    for named in config.all_listeners() {
        let bound = edge::bind(&named.listener.address, named.label, &mut inherited);
        let sockets = told(bound, &format!("{}.address", named.key), &mut faults);
        let tls = tls(named.listener.tls.as_ref(), Offer::H2AndH1, &named.key, &mut faults);
        let label = named.label.to_owned();
        proxy.extend(sockets.map(|sockets| Listening { label, sockets, tls }));
    }
    inherited.warn_of_the_rest();
    let admin = told(edge::bind_tcp(config.admin.address), "admin.address", &mut faults);
    let admin_tls = tls(config.admin.tls.as_ref(), Offer::H1, "admin", &mut faults);
    let metrics = config.metrics.address.map(edge::bind_tcp).transpose();
    let metrics = told(metrics, "metrics.address", &mut faults);
    match (admin, metrics) {
        (Some(admin), Some(metrics)) if faults.is_empty() => Ok(Sockets { proxy, admin, admin_tls, metrics }),
        _ => Err(faults),
    }
}

/// What is wrong with the listeners of a configuration, seen without listening: certificates, keys, the folders and
/// groups of Unix sockets.
pub fn unusable(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    for named in config.all_listeners() {
        told(edge::look_at(&named.listener.address), &format!("{}.address", named.key), &mut faults);
        tls(named.listener.tls.as_ref(), Offer::H2AndH1, &named.key, &mut faults);
    }
    tls(config.admin.tls.as_ref(), Offer::H1, "admin", &mut faults);
    faults
}

impl Sockets {
    /// The certificates that listeners show, with the tables that name their files.
    pub(super) fn certificates(&self, config: &Config) -> Vec<Certificate> {
        let of_proxy = config.all_listeners().zip(&self.proxy).map(|(named, one)| (named.key, one.tls.clone()));
        let admin = ("admin".to_owned(), self.admin_tls.clone());
        let certificate = |(table, tls): (String, Option<_>)| tls.map(|tls| Certificate { table, tls });
        of_proxy.chain([admin]).filter_map(certificate).collect()
    }

    /// Where the proxy listens: a label and a place for each socket.
    pub(super) fn places(&self) -> Vec<(String, Local)> {
        let places = |one: &Listening| {
            one.sockets.iter().map(|socket| (one.label.clone(), socket.local().clone())).collect::<Vec<_>>()
        };
        self.proxy.iter().flat_map(places).collect()
    }
}

/// The proxy's sockets, ready to be accepted from, and how what they accept is served.
pub(super) fn front(config: &Config, listening: Vec<Listening>, telemetry: &Telemetry) -> (Vec<Entrance>, Front) {
    let mut front = Front { rules: Vec::new(), doors: Vec::new() };
    let mut entrances = Vec::new();
    let listeners = config.all_listeners().map(|named| named.listener);
    for (number, (listener, one)) in listeners.zip(listening).enumerate() {
        let Listening { label, sockets, tls } = one;
        let doors = Doors::new(
            listener.max_connections,
            listener.max_connections_per_peer,
            listener.trusted_proxies.clone(),
            telemetry.listener(&label),
        );
        front.doors.push(door(listener, exposure(&sockets)));
        front.rules.push(rules(listener, tls, doors.clone()));
        let entrance = |socket| Entrance { socket, listener: number, doors: doors.clone() };
        entrances.extend(sockets.into_iter().map(entrance));
    }
    (entrances, front)
}

/// Who may speak to a listener.
pub(super) fn door(listener: &Listener, exposure: Exposure) -> Door {
    Door { exposure, hosts: listener.hosts.clone(), max_body: listener.max_body, body_timeout: listener.body_timeout }
}

/// From where sockets can be reached: the widest of them decides.
fn exposure(sockets: &[Bound]) -> Exposure {
    let all = |fits: fn(&Local) -> bool| sockets.iter().all(|socket| fits(socket.local()));
    if all(|local| matches!(local, Local::Unix(_))) {
        Exposure::Socket
    } else if all(Local::is_local) {
        Exposure::Loopback
    } else {
        Exposure::Network
    }
}

/// The sizes that heads must keep at a listener.
pub(super) fn head_limits(listener: &Listener) -> HeadLimits {
    HeadLimits { bytes: listener.max_header_bytes, uri: listener.max_uri_bytes, lines: listener.max_headers }
}

fn rules(listener: &Listener, tls: Option<Arc<ServerTls>>, doors: Arc<Doors>) -> Rules {
    Rules {
        limits: head_limits(listener),
        timeouts: Timeouts { head: listener.header_timeout, body: listener.body_timeout, idle: listener.idle_timeout },
        tls,
        doors,
    }
}

fn told<T>(bound: Result<T, edge::ListenFault>, key: &str, faults: &mut Vec<Fault>) -> Option<T> {
    let told = |fault: edge::ListenFault| Fault { key: key.to_owned(), what: fault.to_string(), hint: fault.hint() };
    bound.map_err(|fault| faults.push(told(fault))).ok()
}

fn tls(files: Option<&Tls>, offer: Offer, table: &str, faults: &mut Vec<Fault>) -> Option<Arc<ServerTls>> {
    ServerTls::new(files?, offer).map_err(|fault| faults.push(untrusted(table, fault))).ok()
}

fn unread() -> Fault {
    let what = "certificates could not be read to their end".to_owned();
    Fault { key: "listen".to_owned(), what, hint: "this is a bug of closegate: the log says where" }
}

fn untrusted(table: &str, fault: edge::TlsFault) -> Fault {
    let hint = "PEM files of one certificate with its chain, and of its private key, that this user may read";
    Fault { key: format!("{table}.tls.{}", fault.setting), what: fault.to_string(), hint }
}
