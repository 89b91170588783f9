//! The composition root: a configuration becomes a running gateway. The only place that knows every part.

mod assemble;
mod listeners;
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
use crate::edge::{Acceptor, Local};
use crate::telemetry::Telemetry;

pub use listeners::unusable_certificates;
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
    grace: Duration,
    delay: Duration,
}

impl Gateway {
    /// Binds, reads the secrets and starts the threads; everything that is wrong is said at once.
    ///
    /// `out` takes the access records.
    pub fn start(config: &Config, out: impl std::io::Write + Send + 'static) -> Result<Self, StartFaults> {
        let telemetry = Telemetry::new(assemble::telemetry_options(config), out);
        let sockets = listeners::bind(config);
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
        sockets: listeners::Sockets,
        parts: assemble::Parts,
    ) -> std::io::Result<Self> {
        let (listeners, admin) = (sockets.places(), sockets.admin.local_addr()?);
        let metrics = sockets.metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        let (stage, staged) = watch::channel(Stage::Serving);
        let (closed, closing) = watch::channel(false);
        let (watched, ends) = part::parts();
        let health = service::health(&parts.gate.vault);
        let cores =
            config.process.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let (entrances, front) = listeners::front(config, sockets.proxy, &telemetry);
        let mut workers = Vec::new();
        let mut senders = Vec::new();
        for number in 0..cores {
            let (sender, thread) = worker::spawn(number, config, &front, &parts, &telemetry, staged.clone(), &watched)?;
            senders.push(sender);
            workers.push(thread);
        }
        let acceptor = Acceptor { entrances, workers: senders };
        let admins = [Some((sockets.admin, sockets.admin_tls)), sockets.metrics.map(|socket| (socket, None))];
        let admins = admins.into_iter().flatten().collect();
        let others = vec![
            service::spawn_acceptor(acceptor, closing, &watched)?,
            service::spawn(admins, telemetry.clone(), health.clone(), parts.gate.vault.clone(), staged, &watched)?,
        ];
        health.enter(Phase::Ready);
        let (grace, delay) = (config.process.shutdown_grace, config.process.shutdown_delay);
        Ok(Self { listeners, admin, metrics, telemetry, health, stage, closed, workers, others, ends, grace, delay })
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
    listeners::bind(config).err().unwrap_or_default()
}
