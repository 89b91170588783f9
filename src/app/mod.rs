//! The composition root: a configuration becomes a running gateway. The only place that knows every part.

mod assemble;
mod files;
mod keep;
mod listeners;
mod load;
mod manage;
mod managed;
mod outward;
mod part;
mod rehearse;
mod reload;
mod secrets;
mod service;
mod storage;
mod worker;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use self::files::{Seen, Watcher};
use self::keep::Keep;
use self::managed::Snapshot;
use self::part::Ends;
use self::reload::{Current, Effective, Reloader, Standing};
use self::secrets::{Beside, Material};
use self::service::Chores;
use crate::admin::{Health, Management, Phase};
use crate::config::{Config, Loaded};
use crate::edge::{Acceptor, Local};
use crate::pace::Pacer;
use crate::store::Role;
use crate::telemetry::Telemetry;
use crate::vault::Archive;

pub use listeners::unusable_certificates;
pub use load::load;
pub use manage::Manager;
pub use rehearse::Rehearsal;
pub use reload::{Bell, Change, Outcome, Provenance, Reloaded};
pub use secrets::{Fault, Secrets};
pub use storage::archive;

/// Why a gateway does not start: everything that is wrong, each in a sentence or three.
#[derive(Debug)]
pub struct StartFaults(pub Vec<String>);

impl fmt::Display for StartFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n\n"))
    }
}

impl std::error::Error for StartFaults {}

/// Where the workers are on their way from serving to gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Requests are served.
    Serving,
    /// Requests are served, and each answer says that it is the last of its connection.
    Leaving,
    /// What is in flight is finished.
    Draining,
    /// What is in flight is dropped.
    Gone,
}

/// How a gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything in flight was finished.
    Drained,
    /// Something was still in flight after `listen.shutdown_grace`, and was dropped.
    Dropped,
    /// A thread panicked, and what it had in flight was lost.
    Broken,
}

/// A running gateway.
pub struct Gateway {
    /// Where the proxy listens: the label of a listener and its place, for each socket.
    pub listeners: Vec<(String, Local)>,
    /// Where the admin listener listens.
    pub admin: SocketAddr,
    /// Where the metrics listener listens, if there is one.
    pub metrics: Option<SocketAddr>,
    telemetry: Arc<Telemetry>,
    health: Arc<Health>,
    stage: watch::Sender<Stage>,
    closed: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    ends: Ends,
    bell: Bell,
    management: Arc<dyn Management>,
    grace: Duration,
    delay: Duration,
}

/// What a gateway starts with.
struct Beginning {
    provenance: Option<Provenance>,
    seen: Seen,
    effective: Effective,
    current: Current,
    chores: Chores,
    archive: Arc<Archive>,
}

impl Gateway {
    /// Binds, reads the secrets and starts the threads; everything that is wrong is said at once.
    ///
    /// `provenance` is where the configuration came from: it is loaded from there again at a reload, or once a file of
    /// it has changed. Without one it stays as it is, and a reload reads its secrets again. What was added at run time
    /// goes on top of a configuration that came from sources, and of no other. `out` takes the access records.
    pub fn start(
        loaded: &Loaded,
        provenance: Option<Provenance>,
        out: impl std::io::Write + Send + 'static,
    ) -> Result<Self, StartFaults> {
        let config = &loaded.config;
        let telemetry = Telemetry::new(assemble::telemetry_options(config), out);
        let sockets = listeners::bind(config);
        // What the service thread goes on with is begun on its runtime: connections to the store live on it.
        let runtime = service::runtime().map_err(|error| StartFaults(vec![format!("error: {error}")]))?;
        let beginning = runtime.block_on(begin(loaded, provenance, &telemetry));
        let (sockets, beginning) = match (sockets, beginning) {
            (Ok(sockets), Ok(beginning)) => (sockets, beginning),
            (sockets, beginning) => {
                let faults = [sockets.err(), beginning.err()].into_iter().flatten().flatten();
                return Err(StartFaults(faults.map(|fault| fault.to_string()).collect()));
            }
        };
        Self::run(config, telemetry, sockets, beginning, runtime)
            .map_err(|error| StartFaults(vec![format!("error: {error}")]))
    }

    fn run(
        config: &Config,
        telemetry: Arc<Telemetry>,
        sockets: listeners::Sockets,
        beginning: Beginning,
        runtime: Runtime,
    ) -> std::io::Result<Self> {
        let Beginning { provenance, seen, effective, current, chores, archive } = beginning;
        let (listeners, admin) = (sockets.places(), sockets.admin.local_addr()?);
        let metrics = sockets.metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        let (stage, staged) = watch::channel(Stage::Serving);
        let (closed, closing) = watch::channel(false);
        let (watched, ends) = part::parts();
        let (bell, bells) = reload::bell();
        let (effective, in_force) = watch::channel(Arc::new(effective));
        let health = service::health(in_force.clone(), archive.store().health());
        let management = Arc::new(Manager::running(Arc::clone(&archive), bell.clone(), in_force));
        let cores =
            config.process.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let certificates = sockets.certificates(config);
        let (entrances, front) = listeners::front(config, sockets.proxy, &telemetry);
        let (mut workers, mut senders, mut renewals) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..cores {
            let worker = worker::spawn(number, &front, &current.parts, &telemetry, staged.clone(), &watched)?;
            senders.push(worker.connections);
            renewals.push(worker.renewals);
            workers.push(worker.thread);
        }
        let reloader = Reloader {
            bells,
            provenance,
            started: config.clone(),
            current,
            keep: Keep::new(archive, config.store.max_stale),
            certificates,
            watcher: Watcher::new(seen),
            effective,
            workers: renewals,
            telemetry: telemetry.clone(),
            watched: watched.clone(),
        };
        let acceptor = Acceptor { entrances, workers: senders };
        let admins = [Some((sockets.admin, sockets.admin_tls)), sockets.metrics.map(|socket| (socket, None))];
        let admins = admins.into_iter().flatten().collect();
        let others = vec![
            service::spawn_acceptor(acceptor, closing, &watched)?,
            service::spawn(runtime, admins, telemetry.clone(), health.clone(), chores, reloader, staged, &watched)?,
        ];
        health.enter(Phase::Ready);
        let (grace, delay) = (config.process.shutdown_grace, config.process.shutdown_delay);
        Ok(Self {
            listeners,
            admin,
            metrics,
            telemetry,
            health,
            stage,
            closed,
            workers,
            others,
            ends,
            bell,
            management,
            grace,
            delay,
        })
    }

    /// The first address at which the proxy listens, if any is one of TCP.
    pub fn proxy(&self) -> Option<SocketAddr> {
        self.listeners.iter().find_map(|(_, local)| match local {
            Local::Tcp(address) => Some(*address),
            Local::Unix(_) => None,
        })
    }

    /// Waits until a part of the running gateway ends, which none should: a thread, or what an operator's listener is
    /// served by. Its name; the gateway is to be stopped then.
    pub async fn failed(&mut self) -> String {
        self.ends.next().await
    }

    /// What asks for reloads.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// What is managed at run time, for who asks in this process.
    pub fn management(&self) -> Arc<dyn Management> {
        Arc::clone(&self.management)
    }

    /// Ends the gateway: not ready, then no new connections, then what is in flight, then nothing.
    pub async fn stop(self) -> End {
        self.health.enter(Phase::Draining);
        self.stage.send_replace(Stage::Leaving);
        tokio::time::sleep(self.delay).await;
        self.closed.send_replace(true);
        self.stage.send_replace(Stage::Draining);
        // Workers hold a receiver each until their last connection is over; so does the service thread, which stays.
        let drained = tokio::time::timeout(self.grace, worker::all_gone(&self.workers)).await.is_ok();
        self.stage.send_replace(Stage::Gone);
        let threads = self.workers.into_iter().chain(self.others);
        let joined = tokio::task::spawn_blocking(move || threads.map(JoinHandle::join).filter(Result::is_err).count());
        let panicked = joined.await.unwrap_or(1);
        self.telemetry.flush();
        match (panicked, drained) {
            (0, true) => End::Drained,
            (0, false) => End::Dropped,
            _ => End::Broken,
        }
    }
}

/// Reads everything that the configuration refers to and what was added at run time, and makes the first parts of it.
async fn begin(
    loaded: &Loaded,
    provenance: Option<Provenance>,
    telemetry: &Arc<Telemetry>,
) -> Result<Beginning, Vec<Fault>> {
    // As they are before they are read: what changes later is seen to have changed.
    let watched = |from: &Provenance| Seen::of(files::of(&loaded.config, from.file.as_deref()));
    let seen = provenance.as_ref().map(watched).unwrap_or_default();
    let archive = Arc::new(storage::archive(&loaded.config, Role::Serving));
    let stored = storage::check(&archive).await;
    let snapshot = match (&loaded.base, &stored) {
        (None, _) => Snapshot::default(),
        (Some(_), Ok(None)) => Snapshot::read(archive.store()).await.unwrap_or_else(|_| Snapshot::unread()),
        (Some(_), _) => Snapshot::unread(),
    };
    let loaded = with_added(loaded, &snapshot);
    let beside = Beside { archive: Some(&archive), snapshot: loaded.base.as_ref().map(|_| &snapshot), before: None };
    let material = Material::gather(&loaded.config, beside).await;
    let (doubt, material) = match (stored, material) {
        (Ok(doubt), Ok(material)) => (doubt, material),
        (stored, material) => {
            return Err(stored.err().into_iter().chain(material.err().into_iter().flatten()).collect());
        }
    };
    snapshot.warn();
    if loaded.base.is_some() && !snapshot.is_read {
        tracing::warn!(
            "what is disabled is not known before the store was read: a credential of the configuration that was disabled is \
             sent until then; hint: take it out of the configuration, or start once the store answers"
        );
    }
    for warning in doubt.iter().chain(&material.warnings) {
        tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
    }
    let (config, key_texts) = (loaded.config.clone(), material.key_texts.clone());
    let meters = Arc::clone(telemetry);
    let (pacer, dispatcher) = Pacer::new(move |credential, group| meters.limit_meters(credential, group));
    let (parts, watches) = assemble::parts(&config, material, telemetry, &pacer, None)?;
    let standing = if snapshot.is_read { Standing::Whole } else { Standing::Partial };
    let effective = Effective { loaded, snapshot, standing, vault: Some(Arc::clone(&parts.gate.vault)) };
    let current = Current { config, key_texts, parts };
    let chores = Chores { watches, dispatcher };
    Ok(Beginning { provenance, seen, effective, current, chores, archive })
}

/// The configuration with what was added at run time.
fn with_added(loaded: &Loaded, snapshot: &Snapshot) -> Loaded {
    let added = loaded.base.as_ref().map(|base| base.with(&snapshot.managed()));
    match added {
        Some(Ok(added)) => {
            for warning in added.warnings.iter().filter(|warning| !loaded.warnings.contains(warning)) {
                tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
            }
            added
        }
        // By itself it had no fault.
        Some(Err(_)) | None => loaded.again(),
    }
}

/// What cannot be listened on; nothing is listened on afterwards.
pub fn unbindable(config: &Config) -> Vec<Fault> {
    listeners::bind(config).err().unwrap_or_default()
}
