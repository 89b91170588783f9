//! The composition root: a configuration becomes a running gateway. The only place that knows every part.

mod assemble;
mod begin;
mod bell;
mod blocking;
mod desk;
mod doubts;
mod files;
mod keep;
mod listeners;
mod load;
mod manage;
mod managed;
mod operators;
mod outward;
mod part;
mod rehearse;
mod reload;
mod remembered;
mod room;
mod secrets;
mod service;
mod storage;
mod together;
mod usage;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use zeroize::Zeroizing;

use self::begin::{Beginning, begin};
use self::files::Watcher;
use self::keep::Keep;
use self::part::Ends;
use self::reload::Reloader;
use self::remembered::Remembered;
use self::service::Post;
use self::usage::Books;
use crate::admin::{Api, Desk, Health, House, Invitation, Management, Phase, Surface, Token, Tokens};
use crate::config::{Admin, Config, Loaded};
use crate::edge::{Acceptor, Local};
use crate::task;
use crate::telemetry::Telemetry;
use crate::vault::Archive;

pub use bell::{Bell, Change, Outcome, Reloaded};
pub use listeners::unusable;
pub use load::load;
pub use manage::Manager;
pub use operators::{TokenPlace, own_token};
pub use rehearse::Rehearsal;
pub use reload::Provenance;
pub use secrets::{Asking, Fault, Secrets};
pub use storage::archive;
pub use together::Together;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFaults {
    /// Everything that is wrong with what it was told, each in a sentence or three.
    #[error("{}", .0.join("\n\n"))]
    Configured(Vec<String>),
    /// The system lacks what it needs, such as files or threads: another time it may not.
    #[error("error: the gateway does not start: {0}\n  hint: {hint}", hint = lacking(.0))]
    System(#[from] io::Error),
}

/// What to do where the system lacks something.
fn lacking(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => "let the process open more files (`ulimit -n`, `LimitNOFILE=`)",
        Some(Errno::NFILE) => "the whole system has no open file left: raise `fs.file-max`, or end what holds them",
        Some(Errno::AGAIN) => {
            "let this user have more threads (`ulimit -u`, `TasksMax=`, the pids limit of a container)"
        }
        Some(Errno::NOMEM) => "give the process more memory",
        _ => "try again; does it come back, the text above is the system's own",
    }
}

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
    /// Somebody insisted, and what was in flight was dropped.
    Hurried,
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
    /// The link that lets one person into the page, where there is no credential yet.
    pub invitation: Option<Zeroizing<String>>,
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

/// What a gateway runs on.
struct Threads {
    watched: part::Parts,
    ends: Ends,
    hired: Vec<worker::Hired>,
    /// Of the service thread.
    runtime: Runtime,
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
        out: impl io::Write + Send + 'static,
    ) -> Result<Self, StartFaults> {
        let config = &loaded.config;
        let (watched, ends) = part::parts();
        let cores =
            config.process.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let telemetry = Telemetry::new(assemble::telemetry_options(config), out);
        // What is missing for the workers and beside them is no fault of the configuration that is read then.
        room::for_files(cores)?;
        let hired = (0..cores).map(|number| worker::hire(number, &watched)).collect::<Result<Vec<_>, _>>()?;
        let spare = room::for_a_thread()?;
        let sockets = listeners::bind(config);
        // What the service thread goes on with is begun on its runtime: connections to the store live on it.
        let runtime = service::runtime()?;
        spare.leave();
        let beginning = task::block_on_alone(&runtime, begin(loaded, provenance, &telemetry));
        let (sockets, beginning) = match (sockets, beginning) {
            (Ok(sockets), Ok(beginning)) => (sockets, beginning),
            (sockets, beginning) => {
                let faults = [sockets.err(), beginning.err()].into_iter().flatten().flatten();
                return Err(StartFaults::Configured(faults.map(|fault| fault.to_string()).collect()));
            }
        };
        let threads = Threads { watched, ends, hired, runtime };
        Ok(Self::run(config, telemetry, sockets, beginning, threads)?)
    }

    fn run(
        config: &Config,
        telemetry: Arc<Telemetry>,
        sockets: listeners::Sockets,
        beginning: Beginning,
        threads: Threads,
    ) -> io::Result<Self> {
        let Threads { watched, ends, hired, runtime } = threads;
        let Beginning { provenance, seen, effective, current, chores, archive, tokens, doubts } = beginning;
        let is_empty = effective.loaded.config.credentials.is_empty();
        let (listeners, admin) = (sockets.places(), sockets.admin.local_addr()?);
        let metrics = sockets.metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        let (stage, staged) = watch::channel(Stage::Serving);
        let (closed, closing) = watch::channel(false);
        let (bell, bells) = bell::bell();
        let (effective, in_force) = watch::channel(Arc::new(effective));
        let health = service::health(in_force.clone(), archive.store().health());
        let books = Books::new(Arc::clone(&telemetry), archive.store().clone(), in_force.clone());
        let books = Arc::new(books.giving_out(current.parts.lasting.allotments.clone()));
        let (own, counted) = (Arc::clone(&telemetry), Arc::clone(&books));
        let management = Arc::new(Manager::running(Arc::clone(&archive), bell.clone(), in_force, own, counted));
        let office = office(config, &management, &archive, tokens).at(desk::place(config, &listeners));
        let (office, invitation) = if is_empty { invite(config, office, admin)? } else { (office, None) };
        let api = Api::new(office);
        let certificates = sockets.certificates(config);
        let (entrances, front) = listeners::front(config, sockets.proxy, &telemetry);
        let (mut workers, mut senders, mut renewals) = (Vec::new(), Vec::new(), Vec::new());
        for hired in hired {
            let worker = hired.start(&front, &current.parts, &telemetry, staged.clone())?;
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
            remembered: Remembered::of(config),
            certificates,
            watcher: Watcher::new(seen),
            effective,
            workers: renewals,
            telemetry: telemetry.clone(),
            watched: watched.clone(),
            doubts,
        };
        let acceptor = Acceptor { entrances, workers: senders };
        let surface = || Surface::probes(telemetry.clone(), health.clone());
        let admin_post = Post { socket: sockets.admin, tls: sockets.admin_tls, surface: surface().with_api(api) };
        let metrics_post = sockets.metrics.map(|socket| Post { socket, tls: None, surface: surface() });
        let posts = std::iter::once(admin_post).chain(metrics_post).collect();
        let others = vec![
            service::spawn_acceptor(acceptor, closing, &watched)?,
            service::spawn(runtime, posts, chores, reloader, books, staged, &watched)?,
        ];
        health.enter(Phase::Ready);
        let (grace, delay) = (config.process.shutdown_grace, config.process.shutdown_delay);
        Ok(Self {
            listeners,
            admin,
            metrics,
            invitation,
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
        self.stop_unless(std::future::pending()).await
    }

    /// The same, but that it waits for nothing any longer once somebody insists.
    pub async fn stop_unless(self, insisted: impl Future<Output = ()>) -> End {
        self.health.enter(Phase::Draining);
        self.stage.send_replace(Stage::Leaving);
        let orderly = async {
            tokio::time::sleep(self.delay).await;
            self.closed.send_replace(true);
            self.stage.send_replace(Stage::Draining);
            // Workers hold a receiver each until their last connection is over; so does the service thread, which stays.
            tokio::time::timeout(self.grace, worker::all_gone(&self.workers)).await
        };
        let drained = tokio::select! {
            drained = orderly => if drained.is_ok() { End::Drained } else { End::Dropped },
            () = insisted => End::Hurried,
        };
        self.closed.send_replace(true);
        self.stage.send_replace(Stage::Gone);
        let threads = self.workers.into_iter().chain(self.others);
        let joined = task::aside(move || threads.map(JoinHandle::join).filter(Result::is_err).count());
        let panicked = joined.await.unwrap_or(1);
        self.telemetry.flush();
        if panicked == 0 { drained } else { End::Broken }
    }
}

/// Draws the link that lets one person into the page.
fn invite(config: &Config, office: Desk, admin: SocketAddr) -> std::io::Result<(Desk, Option<Zeroizing<String>>)> {
    let (invitation, end) = Invitation::draw().map_err(std::io::Error::other)?;
    let link = Zeroizing::new(format!("{}{}", desk::page(config, admin), *end));
    Ok((office.inviting(invitation), Some(link)))
}

/// What the admin API of a gateway works with.
fn office(config: &Config, management: &Arc<Manager>, archive: &Arc<Archive>, tokens: Vec<Token>) -> Desk {
    let Admin { public_url, hosts, address, .. } = &config.admin;
    let house = House { public_url: public_url.clone(), hosts: hosts.clone(), address: Some(address.ip()) };
    let sessions = Arc::new(operators::StoredSessions(Arc::clone(archive)));
    let (does, notes) = (Arc::clone(management), Arc::clone(management));
    Desk::new(does, sessions, notes, Tokens::new(tokens), house)
}

/// What cannot be listened on; nothing is listened on afterwards.
pub fn unbindable(config: &Config) -> Vec<Fault> {
    listeners::bind(config).err().unwrap_or_default()
}
