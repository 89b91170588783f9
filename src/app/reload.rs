//! Reloads: everything is loaded again, and put to use whole or not at all.
//!
//! A reload is asked for (a signal, the admin API) or follows a file that has changed. What it finds wrong it says, and
//! then nothing is different; otherwise every worker has the new parts when it is over. Requests in flight end with
//! what they began with. What is fixed at the start, such as the listeners, waits for a restart.

mod in_force;
mod provenance;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::assemble::{self, Parts};
use super::bell::{self, Bells, Change, Outcome, Reloaded, Scope};
use super::doubts::{self, Doubts};
use super::files::{self, Watcher};
use super::keep::{Keep, Told};
use super::listeners::{Certificate, Renewed};
use super::managed::Snapshot;
use super::remembered::Remembered;
use super::secrets::{Beside, Fault, Material};
use super::{manage, part, service};
use crate::config::{Config, Faults, Finding, Loaded, differences_in_fixed};
use crate::store::{Event, Step};
use crate::task;
use crate::telemetry::{Reload, StoreState, Telemetry};
use crate::vault::Again;

pub(super) use in_force::{Current, Effective, Standing};
pub use provenance::Provenance;

/// New parts on their way to a worker.
pub(super) struct Renewal {
    pub(super) parts: Parts,
    /// Dropped once the worker goes by them, or is no more.
    pub(super) taken: mpsc::Sender<Infallible>,
}

/// Carries reloads out, one after the other.
pub(super) struct Reloader {
    pub(super) bells: Bells,
    pub(super) provenance: Option<Provenance>,
    /// The configuration of the start: what is fixed is compared with it.
    pub(super) started: Config,
    pub(super) current: Arc<Current>,
    /// The store of the start.
    pub(super) keep: Keep,
    /// What is disabled, for a start without the store.
    pub(super) remembered: Remembered,
    /// Those of listeners; the files are those of the start.
    pub(super) certificates: Vec<Certificate>,
    pub(super) watcher: Watcher,
    /// What is in force, for who shows or changes it.
    pub(super) effective: watch::Sender<Arc<Effective>>,
    pub(super) workers: Vec<mpsc::UnboundedSender<Renewal>>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) watched: part::Parts,
    /// What was said of secrets.
    pub(super) doubts: Doubts,
}

impl Reloader {
    /// Reloads whenever it is asked to, a file or the store has changed, until the task is dropped.
    pub(super) async fn run(mut self) {
        self.remember_keys().await;
        loop {
            tokio::select! {
                (scope, replies) = self.bells.rung() => {
                    let reloaded = match scope {
                        Scope::Everything => self.reload().await,
                        Scope::Store => self.catch_up().await,
                    };
                    bell::answer(replies, &reloaded);
                }
                changed = self.watcher.changed() => {
                    for file in changed {
                        tracing::info!(file = %file.display(), "a file has changed");
                    }
                    // It is in the log.
                    let _ = self.reload().await;
                }
                told = self.keep.told() => self.heed(told).await,
            }
        }
    }

    /// Waits for what may take its time, such as a command that gives a secret, and goes meanwhile by what is changed in the
    /// store: a key is revoked in any case.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                replies = self.bells.rung_for_store() => {
                    let reloaded = self.catch_up().await;
                    bell::answer(replies, &reloaded);
                }
                told = self.keep.told() => self.heed(told).await,
            }
        }
    }

    /// The store has told something.
    async fn heed(&mut self, told: Told) {
        match told {
            Told::Lost => {
                self.telemetry.store(StoreState::Down);
                if self.has_come_to_be() {
                    self.close().await;
                    return;
                }
                tracing::error!(
                    "the store is lost: what is known goes on, and nothing can be changed; hint: it is tried again"
                );
            }
            Told::Back => {
                self.telemetry.store(StoreState::Up);
                tracing::info!("the store is back");
                // It is in the log.
                let _ = self.catch_up().await;
            }
            // Of its own changes it was told before.
            Told::Changed if self.is_at(self.keep.revision()) => {}
            Told::Changed => drop(self.catch_up().await),
            Told::Stale => {
                tracing::error!("the store is lost for longer than store.max_stale: keys that it holds stop working");
                let snapshot = self.effective.borrow().snapshot.clone();
                // It is in the log.
                let _ = self.put(snapshot).await;
            }
        }
    }

    /// Whether a file of the store is there by now that this gateway has never read: another one serves from it, or it may
    /// not be opened. It can hold the first key.
    fn has_come_to_be(&self) -> bool {
        let effective = self.effective.borrow();
        let Snapshot { is_read, revision, .. } = effective.snapshot;
        is_read && revision == 0 && effective.loaded.base.is_some() && self.keep.store().file().is_some()
    }

    /// Takes for granted that keys were defined, until the store can be read: no route is open that one of them has closed.
    async fn close(&mut self) {
        let snapshot = self.effective.borrow().snapshot.doubted();
        // It is in the log.
        let _ = self.put(snapshot).await;
        tracing::error!(
            "a store has come to be that this gateway cannot read: every route needs a key from now on; hint: give each \
             gateway a `data_dir` of its own, or all of them one database"
        );
    }

    /// Reads the store again, and goes by what is there.
    async fn catch_up(&mut self) -> Reloaded {
        if self.effective.borrow().loaded.base.is_none() {
            return Ok(Outcome { change: Change::None, waiting: Vec::new() });
        }
        let snapshot = match Snapshot::read(self.keep.store()).await {
            Ok(snapshot) => snapshot,
            Err(fault) => {
                let fault = format!("{fault}; hint: {}", fault.hint());
                tracing::error!("what was added at run time cannot be read: {fault}");
                return Err(vec![fault]);
            }
        };
        self.keep.refreshed();
        if self.is_at(snapshot.revision) {
            return Ok(Outcome { change: Change::None, waiting: Vec::new() });
        }
        snapshot.warn();
        let outcome = self.put(snapshot).await?;
        self.remember_keys().await;
        Ok(outcome)
    }

    /// Whether what is in force is what the store had after that change.
    fn is_at(&self, revision: u64) -> bool {
        let effective = self.effective.borrow();
        effective.snapshot.revision == revision && effective.standing == Standing::Whole
    }

    /// Goes by what was added at run time, on top of what the sources said last.
    async fn put(&mut self, snapshot: Snapshot) -> Reloaded {
        let put = async {
            let loaded = self.with_believed(&self.effective.borrow().loaded, &snapshot)?;
            let gathered = self.gathering(Again::Nothing, &loaded, &snapshot).await;
            self.take(Scope::Store, loaded, snapshot, gathered).await
        };
        put.await.map_err(|faults: Faults| {
            let faults: Vec<String> = faults.iter().map(line).collect();
            for fault in &faults {
                tracing::error!("{fault}");
            }
            tracing::error!("what was changed at run time is not in force");
            faults
        })
    }

    async fn reload(&mut self) -> Reloaded {
        match self.attempt().await {
            Ok(outcome) => {
                self.telemetry.reloaded(Reload::Success);
                for setting in &outcome.waiting {
                    tracing::warn!("{setting}: was changed; hint: it takes effect at a restart");
                }
                tracing::info!(changed = outcome.change == Change::Applied, "the configuration is reloaded");
                Ok(outcome)
            }
            Err(faults) => {
                self.telemetry.reloaded(Reload::Failure);
                let faults: Vec<String> = faults.iter().map(line).collect();
                for fault in &faults {
                    tracing::error!("{fault}");
                }
                tracing::error!("the configuration is not reloaded: everything stays as it was");
                Err(faults)
            }
        }
    }

    /// Loads the sources again; what was added at run time stays as it was read last.
    async fn attempt(&mut self) -> Result<Outcome, Faults> {
        let sources = self.load().await?;
        let mut rounds = 1;
        let outcome = loop {
            let before = self.effective.borrow().clone();
            let loaded = self.with_believed(&sources, &before.snapshot)?;
            let gathering = self.gathering(Again::Declared, &loaded, &before.snapshot);
            let gathered = if rounds < ROUNDS { self.meanwhile(gathering).await } else { gathering.await };
            // What was gathered beside something that has changed since is gathered again.
            if Arc::ptr_eq(&before, &*self.effective.borrow()) {
                break self.take(Scope::Everything, loaded, before.snapshot.clone(), gathered).await?;
            }
            rounds += 1;
        };
        let file = sources.file.clone();
        if let Some(provenance) = &mut self.provenance {
            provenance.file = file;
        }
        self.remember_keys().await;
        Ok(outcome)
    }

    /// What was loaded with as much of what was added at run time as is believed.
    fn with_believed(&self, loaded: &Loaded, snapshot: &Snapshot) -> Result<Loaded, Faults> {
        match &loaded.base {
            Some(base) => base.with(&self.keep.believed(snapshot).managed()),
            None => Ok(loaded.again()),
        }
    }

    /// Reads everything that a configuration refers to, beside what is in force now.
    fn gathering(
        &self,
        again: Again,
        loaded: &Loaded,
        snapshot: &Snapshot,
    ) -> impl Future<Output = Result<Material, Vec<Fault>>> + use<> {
        let believed = loaded.base.as_ref().map(|_| self.keep.believed(snapshot).into_owned());
        let (config, archive, current) =
            (loaded.config.clone(), Arc::clone(&self.keep.archive), Arc::clone(&self.current));
        async move {
            let before = Some((&*current, again));
            Material::gather(&config, Beside { archive: Some(&archive), snapshot: believed.as_ref(), before }).await
        }
    }

    /// Uses what was read; nothing is used before nothing can be wrong with it any more.
    async fn take(
        &mut self,
        scope: Scope,
        loaded: Loaded,
        snapshot: Snapshot,
        gathered: Result<Material, Vec<Fault>>,
    ) -> Result<Outcome, Faults> {
        let placed = |faults: Vec<Fault>| -> Faults {
            let at = |fault: Fault| {
                let place = loaded.place(&fault.key);
                fault.at(place)
            };
            faults.into_iter().map(at).collect()
        };
        let renewed = match scope {
            Scope::Everything => Certificate::read_again(&self.certificates, &loaded.config).await,
            Scope::Store => Ok(Renewed::none()),
        };
        let (material, renewed) = match (gathered, renewed) {
            (Ok(material), Ok(renewed)) => (material, renewed),
            (gathered, renewed) => {
                return Err(placed([gathered.err(), renewed.err()].into_iter().flatten().flatten().collect()));
            }
        };
        let waiting = differences_in_fixed(&self.started, &loaded.config);
        doubts::tell_new(&self.effective.borrow().loaded.warnings, &loaded.warnings);
        self.doubts.tell(scope, &material.warnings);
        let change = if self.current.is(&loaded.config, &material) {
            if renewed.is_empty() { Change::None } else { Change::Applied }
        } else {
            self.apply(loaded.config.clone(), material).await.map_err(placed)?;
            Change::Applied
        };
        renewed.adopt();
        if scope == Scope::Everything {
            // The certificates of the start are in use for as long as it runs.
            let mut files = files::of(&loaded.config, loaded.file.as_deref());
            files.extend(files::certificates(&self.started));
            self.watcher.watch_only(&files);
        }
        if snapshot.is_read && self.keep.store().is_lasting() {
            self.remembered.keep(&snapshot.disabled).await;
        }
        self.show(loaded, snapshot);
        Ok(Outcome { change, waiting })
    }

    /// Has a store that is in use remember that there were keys, be they of the file: routes that they closed stay closed.
    async fn remember_keys(&self) {
        let effective = self.effective.borrow().clone();
        let Snapshot { is_read, revision, keys_ever_defined, .. } = effective.snapshot;
        if effective.loaded.config.keys.is_empty() || !is_read || revision == 0 || keys_ever_defined {
            return;
        }
        let event = Event {
            at: Timestamp::now(),
            actor: "gateway".to_owned(),
            action: "keys.define".to_owned(),
            subject: String::new(),
            origin: None,
            detail: serde_json::json!({}),
        };
        match self.keep.store().change_all(vec![Step::DefineKeys], &event).await {
            Ok(_) => manage::tell(&self.telemetry, &event),
            Err(fault) => {
                tracing::warn!("that there are keys is not remembered: {fault}; hint: {}", fault.hint());
            }
        }
    }

    /// Shows what is in force now.
    fn show(&self, loaded: Loaded, snapshot: Snapshot) {
        let whole = self.keep.has_keys() && snapshot.is_read;
        let standing = if whole { Standing::Whole } else { Standing::Partial };
        let vault = Some(Arc::clone(&self.current.parts.gate.vault));
        self.effective.send_replace(Arc::new(Effective { loaded, snapshot, standing, vault }));
    }

    /// Loads the configuration again. From here on its files are watched, as they were before they were read.
    async fn load(&mut self) -> Result<Loaded, Faults> {
        let Some(provenance) = self.provenance.clone() else { return Ok(Loaded::fixed(self.current.config.clone())) };
        let watched = self.watcher.seen().files();
        let read = task::blocking(move || provenance.read(watched));
        // One that panicked has said so.
        let (loaded, seen) = read.await.ok_or_else(|| Faults::from(provenance::unfinished()))?;
        self.watcher.watch(seen);
        loaded
    }

    /// Puts everything to use; over once every worker has.
    async fn apply(&mut self, config: Config, material: Material) -> Result<(), Vec<Fault>> {
        let key_texts = material.key_texts.clone();
        let before = &self.current.parts;
        let (parts, watches) = assemble::parts(&config, material, &self.telemetry, &before.lasting, Some(before))?;
        service::watch_over(watches, &self.watched);
        self.current = Arc::new(Current { config, key_texts, parts });
        let (taken, mut all_taken) = mpsc::channel(1);
        for worker in &self.workers {
            // One that has ended serves nobody.
            let _ = worker.send(Renewal { parts: self.current.parts.clone(), taken: taken.clone() });
        }
        drop(taken);
        all_taken.recv().await;
        Ok(())
    }
}

/// A fault in one line of the log.
fn line(fault: &Finding) -> String {
    let Finding { key, place, what, hint } = fault;
    format!("{key}: {what} ({place}); hint: {hint}")
}

/// How often a reload is begun again because something was changed meanwhile; then changes wait for it.
const ROUNDS: usize = 3;
