//! One worker: a thread with its own runtime, clock, pool and proxy, that shares nothing on the way of a request.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::assemble::Parts;
use super::listeners::Front;
use super::reload::Renewal;
use super::{Stage, part};
use crate::clock::{Sweep, TICK};
use crate::edge::{Accepted, Drain, Edge, Rules, serve};
use crate::heap;
use crate::proxy::{Door, Proxy};
use crate::task;
use crate::telemetry::Telemetry;
use crate::upstream::Pool;

/// What a worker is made of; crosses to its thread.
struct Seed {
    parts: Parts,
    doors: Vec<Door>,
    telemetry: Arc<Telemetry>,
    rules: Vec<Rules>,
    accepted: mpsc::UnboundedReceiver<Accepted>,
    renewed: mpsc::UnboundedReceiver<Renewal>,
    stage: watch::Receiver<Stage>,
}

/// A worker's thread, which makes its runtime while others make what it is to work with. It ends when it gets nothing.
pub(super) struct Hired {
    seed: SyncSender<Seed>,
    built: Receiver<io::Result<()>>,
    thread: JoinHandle<()>,
}

/// A running worker.
pub(super) struct Worker {
    /// Connections are sent to it here.
    pub(super) connections: mpsc::UnboundedSender<Accepted>,
    /// New parts are sent to it here.
    pub(super) renewals: mpsc::UnboundedSender<Renewal>,
    pub(super) thread: JoinHandle<()>,
}

/// Starts the thread of a worker.
pub(super) fn hire(number: usize, watched: &part::Parts) -> io::Result<Hired> {
    let (seed, sown) = sync_channel(1);
    let (report, built) = sync_channel(1);
    let runtime = move || Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let name = format!("worker-{number}");
    let part = watched.part(name.as_str());
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let _part = part;
        match runtime() {
            Ok(runtime) => {
                let _ = report.send(Ok(()));
                if let Ok(seed) = sown.recv() {
                    runtime.block_on(work(seed));
                }
            }
            Err(error) => drop(report.send(Err(error))),
        }
    })?;
    Ok(Hired { seed, built, thread })
}

impl Hired {
    /// Has the worker begin.
    pub(super) fn start(
        self,
        front: &Front,
        parts: &Parts,
        telemetry: &Arc<Telemetry>,
        stage: watch::Receiver<Stage>,
    ) -> io::Result<Worker> {
        // A local runtime is built on its own thread. A gateway that started before it is there would drop the
        // connections of a worker that cannot have one.
        self.built.recv().map_err(io::Error::other)??;
        let (connections, accepted) = mpsc::unbounded_channel();
        let (renewals, renewed) = mpsc::unbounded_channel();
        let seed = Seed {
            parts: parts.clone(),
            doors: front.doors.clone(),
            telemetry: telemetry.clone(),
            rules: front.rules.clone(),
            accepted,
            renewed,
            stage,
        };
        self.seed.send(seed).map_err(|_| io::Error::other("a worker has ended before it began"))?;
        Ok(Worker { connections, renewals, thread: self.thread })
    }
}

/// Waits until every worker's last connection is over.
pub(super) async fn all_gone(workers: &[JoinHandle<()>]) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !workers.iter().all(JoinHandle::is_finished) {
        look.tick().await;
    }
}

async fn work(seed: Seed) {
    let Seed { mut accepted, mut renewed, mut stage, .. } = seed;
    let sweep = Sweep::new();
    let drain = Rc::new(Drain::default());
    let Parts { gate, slots, outward, .. } = seed.parts;
    let mut pool = Pool::new(outward.shared.clone(), slots, outward.limits, sweep.clone());
    let core = Rc::new(seed.telemetry.core());
    let handler = Proxy::new(gate, seed.doors.into(), core, pool.clone(), drain.clone());
    let edge = Rc::new(Edge { handler: handler.clone(), rules: seed.rules, sweep: sweep.clone(), drain });
    let open = Open::default();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ebb = heap::ebb();
    let mut taking = true;
    loop {
        tokio::select! {
            connection = accepted.recv(), if taking => match connection {
                Some(connection) => {
                    let (edge, open) = (edge.clone(), open.enter());
                    task::spawn_local(async move {
                        serve(edge, connection).await;
                        drop(open);
                    });
                }
                None => taking = false,
            },
            Some(renewal) = renewed.recv() => {
                let Renewal { parts: Parts { gate, slots, outward, .. }, taken } = renewal;
                pool = pool.followed_by(outward.shared.clone(), slots, outward.limits);
                handler.renew(gate, pool.clone());
                drop(taken);
            }
            _ = ticks.tick() => {
                sweep.tick();
                pool.sweep();
            }
            _ = ebb.tick() => heap::give_back(),
            changed = stage.changed() => {
                let now = changed.map_or(Stage::Gone, |()| *stage.borrow_and_update());
                match now {
                    Stage::Serving => {}
                    Stage::Leaving => edge.drain.announce(),
                    Stage::Draining => edge.drain.begin(&sweep),
                    Stage::Gone => {
                        edge.drain.abandon();
                        return;
                    }
                }
            }
            () = open.emptied(), if edge.drain.is_draining() && !taking => return,
        }
    }
}

/// How many connections a worker has.
#[derive(Clone, Default)]
struct Open(Rc<Count>);

#[derive(Default)]
struct Count {
    connections: Cell<usize>,
    left: Notify,
}

/// One connection, counted until it is dropped.
struct Entered(Rc<Count>);

impl Open {
    fn enter(&self) -> Entered {
        self.0.connections.set(self.0.connections.get() + 1);
        Entered(self.0.clone())
    }

    async fn emptied(&self) {
        while self.0.connections.get() > 0 {
            self.0.left.notified().await;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.left.notify_one();
    }
}
