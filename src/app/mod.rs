//! The composition root: a configuration becomes a running gateway. The only place that knows every part.

mod assemble;
mod part;
mod rehearse;
mod secrets;
mod service;
mod worker;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use self::part::Ends;
use crate::admin::{Health, Phase};
use crate::config::Config;
use crate::edge::{self, Acceptor, Doors};
use crate::telemetry::Telemetry;

pub use rehearse::Rehearsal;
pub use secrets::{Fault, Secrets};

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
    /// Where the proxy listens.
    pub proxy: SocketAddr,
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
    grace: Duration,
    delay: Duration,
}

struct Sockets {
    proxy: TcpListener,
    admin: TcpListener,
    metrics: Option<TcpListener>,
}

impl Gateway {
    /// Binds, reads the secrets and starts the threads; everything that is wrong is said at once.
    ///
    /// `out` takes the access records.
    pub fn start(config: &Config, out: impl std::io::Write + Send + 'static) -> Result<Self, StartFaults> {
        let telemetry = Telemetry::new(assemble::telemetry_options(config), out);
        let sockets = bind(config);
        let parts = assemble::gate(config, &telemetry);
        let (sockets, parts) = match (sockets, parts) {
            (Ok(sockets), Ok(parts)) => (sockets, parts),
            (sockets, parts) => {
                let faults = [sockets.err(), parts.err()].into_iter().flatten().flatten();
                return Err(StartFaults(faults.map(|fault| fault.to_string()).collect()));
            }
        };
        Self::run(config, telemetry, sockets, parts).map_err(|error| StartFaults(vec![format!("error: {error}")]))
    }

    fn run(
        config: &Config,
        telemetry: Arc<Telemetry>,
        sockets: Sockets,
        parts: assemble::Parts,
    ) -> std::io::Result<Self> {
        let (proxy, admin) = (sockets.proxy.local_addr()?, sockets.admin.local_addr()?);
        let metrics = sockets.metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        let (stage, staged) = watch::channel(Stage::Serving);
        let (closed, closing) = watch::channel(false);
        let (watched, ends) = part::parts();
        let health = service::health(&parts.gate.vault);
        let cores =
            config.listen.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let mut workers = Vec::new();
        let mut senders = Vec::new();
        for number in 0..cores {
            let (sender, thread) = worker::spawn(number, config, &parts, &telemetry, staged.clone(), &watched)?;
            senders.push(sender);
            workers.push(thread);
        }
        let doors = Doors::new(
            config.listen.max_connections,
            config.listen.max_connections_per_peer,
            telemetry.listener("default"),
        );
        let acceptor = Acceptor { listener: sockets.proxy, doors, workers: senders };
        let listeners = [Some(sockets.admin), sockets.metrics].into_iter().flatten().collect();
        let others = vec![
            service::spawn_acceptor(acceptor, closing, &watched)?,
            service::spawn(listeners, telemetry.clone(), health.clone(), parts.gate.vault.clone(), staged, &watched)?,
        ];
        health.enter(Phase::Ready);
        let (grace, delay) = (config.listen.shutdown_grace, config.listen.shutdown_delay);
        Ok(Self { proxy, admin, metrics, telemetry, health, stage, closed, workers, others, ends, grace, delay })
    }

    /// Waits until a part of the running gateway ends, which none should: a thread, or what an operator's listener is
    /// served by. Its name; the gateway is to be stopped then.
    pub async fn failed(&mut self) -> String {
        self.ends.next().await
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

/// What cannot be listened on; nothing is listened on afterwards.
pub fn unbindable(config: &Config) -> Vec<Fault> {
    bind(config).err().unwrap_or_default()
}

fn bind(config: &Config) -> Result<Sockets, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut bind = |key: &str, address| match edge::bind(address) {
        Ok(listener) => Some(listener),
        Err(fault) => {
            let hint = "end the program that listens there, or set another address";
            faults.push(Fault { key: key.to_owned(), what: fault.to_string(), hint });
            None
        }
    };
    let proxy = bind("listen.address", config.listen.address);
    let admin = bind("admin.address", config.admin.address);
    let metrics = config.metrics.address.map(|address| bind("metrics.address", address));
    match (proxy, admin, metrics) {
        (Some(proxy), Some(admin), None) => Ok(Sockets { proxy, admin, metrics: None }),
        (Some(proxy), Some(admin), Some(Some(metrics))) => Ok(Sockets { proxy, admin, metrics: Some(metrics) }),
        _ => Err(faults),
    }
}
