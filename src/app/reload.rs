//! Reloads: everything is loaded again, and put to use whole or not at all.
//!
//! A reload is asked for (a signal, the admin API) or follows a file that has changed. What it finds wrong it says, and
//! then nothing is different; otherwise every worker has the new parts when it is over. Requests in flight end with
//! what they began with. What is fixed at the start, such as the listeners, waits for a restart.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::assemble::{self, Parts};
use super::files::{self, Seen, Watcher};
use super::listeners::Certificate;
use super::secrets::{Fault, Material, Secrets};
use super::{load, part, service};
use crate::config::{Config, Faults, Finding, Loaded, Place, Sources, differences_in_fixed};
use crate::telemetry::{Reload, Telemetry};
use crate::vault::{Archive, KeyText, Vault};

/// Where a configuration came from: at a reload it is loaded from there again.
#[derive(Clone)]
pub struct Provenance {
    /// Where it was looked for.
    pub sources: Sources,
    /// The file that was found.
    pub file: Option<PathBuf>,
}

/// What a reload without a fault came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether anything is different now.
    pub change: Change,
    /// The settings that differ from those of the start and wait for a restart.
    pub waiting: Vec<String>,
}

/// Whether a reload made a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Everything is as it was.
    None,
    /// Every request from now on is judged and sent by what was loaded.
    Applied,
}

/// What a reload came to, or everything that was wrong.
pub type Reloaded = Result<Outcome, Vec<String>>;

/// Asks for reloads.
#[derive(Clone)]
pub struct Bell(mpsc::UnboundedSender<oneshot::Sender<Reloaded>>);

/// Where they are asked for.
pub(super) struct Bells(mpsc::UnboundedReceiver<oneshot::Sender<Reloaded>>);

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
    pub(super) current: Current,
    /// The store of the start.
    pub(super) archive: Arc<Archive>,
    /// Those of listeners; the files are those of the start.
    pub(super) certificates: Vec<Certificate>,
    pub(super) watcher: Watcher,
    pub(super) vaults: watch::Sender<Arc<Vault>>,
    pub(super) workers: Vec<mpsc::UnboundedSender<Renewal>>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) watched: part::Parts,
}

/// What is in force.
pub(super) struct Current {
    pub(super) config: Config,
    pub(super) key_texts: Vec<KeyText>,
    pub(super) parts: Parts,
}

/// A bell and where it is heard.
pub(super) fn bell() -> (Bell, Bells) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Bell(sender), Bells(receiver))
}

impl Bell {
    /// Has everything loaded again, and put to use whole or not at all; begins at once, whether it is waited for or not.
    /// Gives what it came to, once every worker goes by it, or everything that was wrong.
    pub fn ring(&self) -> impl Future<Output = Reloaded> + Send + use<> {
        let (sender, reply) = oneshot::channel();
        // A gateway that is gone answers no more.
        let _ = self.0.send(sender);
        async { reply.await.unwrap_or_else(|_| Err(vec!["the gateway is ending".to_owned()])) }
    }
}

impl Bells {
    /// Waits until it is rung; one reload answers all that have done so.
    async fn rung(&mut self) -> Vec<oneshot::Sender<Reloaded>> {
        let Some(first) = self.0.recv().await else { return std::future::pending().await };
        let mut asked = vec![first];
        while let Ok(next) = self.0.try_recv() {
            asked.push(next);
        }
        asked
    }
}

impl Reloader {
    /// Reloads whenever it is asked to or a file has changed, until the task is dropped.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                asked = self.bells.rung() => {
                    let reloaded = self.reload().await;
                    for asked in asked {
                        // Not everybody waits for the answer.
                        let _ = asked.send(reloaded.clone());
                    }
                }
                changed = self.watcher.changed() => {
                    for file in changed {
                        tracing::info!(file = %file.display(), "a file has changed");
                    }
                    // It is in the log.
                    let _ = self.reload().await;
                }
            }
        }
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

    /// Reads everything, then uses it; nothing is used before nothing can be wrong with it any more.
    async fn attempt(&mut self) -> Result<Outcome, Faults> {
        let loaded = self.load().await?;
        let gathered = Material::gather(&loaded.config, Some(&self.current.parts.outward), Some(&self.archive)).await;
        let placed = |faults: Vec<Fault>| -> Faults {
            let at = |fault: Fault| {
                let place = loaded.place(&fault.key);
                fault.at(place)
            };
            faults.into_iter().map(at).collect()
        };
        let renewed = Certificate::read_again(&self.certificates);
        let (material, renewed) = match (gathered, renewed) {
            (Ok(material), Ok(renewed)) => (material, renewed),
            (gathered, renewed) => {
                return Err(placed([gathered.err(), renewed.err()].into_iter().flatten().flatten().collect()));
            }
        };
        let waiting = differences_in_fixed(&self.started, &loaded.config);
        let change = if self.is_current(&loaded.config, &material) {
            if renewed.is_empty() { Change::None } else { Change::Applied }
        } else {
            let warnings = loaded.warnings.iter().map(|warning| (&warning.key, &*warning.what, &*warning.hint));
            let secrets = material.warnings.iter().map(|warning| (&warning.key, &*warning.what, warning.hint));
            for (key, what, hint) in warnings.chain(secrets) {
                tracing::warn!("{key}: {what}; hint: {hint}");
            }
            self.apply(loaded.config.clone(), material).await.map_err(placed)?;
            Change::Applied
        };
        renewed.adopt();
        if let Some(provenance) = &mut self.provenance {
            provenance.file.clone_from(&loaded.file);
        }
        self.watcher.watch_only(&files::of(&loaded.config, loaded.file.as_deref()));
        Ok(Outcome { change, waiting })
    }

    /// Loads the configuration again. From here on its files are watched, as they were before they were read.
    async fn load(&mut self) -> Result<Loaded, Faults> {
        let (provenance, watched) = (self.provenance.clone(), self.watcher.seen().files());
        let config = self.current.config.clone();
        let read = tokio::task::spawn_blocking(move || {
            let Some(Provenance { sources, file }) = provenance else {
                let loaded = Loaded { config, warnings: Vec::new(), file: None, origins: BTreeMap::new() };
                return (Ok(loaded), Seen::default());
            };
            let before = Seen::of(watched);
            let mut seen = Seen::default();
            let loaded = load::load(&sources, |part| {
                seen = Seen::of(files::of(part, file.as_deref()));
                Secrets::faults_of_part(part)
            });
            let loaded = loaded.and_then(|loaded| match (file, &loaded.file) {
                (Some(file), None) => Err(gone(&file).into()),
                _ => Ok(loaded),
            });
            if let Ok(loaded) = &loaded {
                seen = Seen::of(files::of(&loaded.config, loaded.file.as_deref()));
            }
            (loaded, before.with(seen))
        });
        // One that panicked has said so.
        let (loaded, seen) = read.await.map_err(|_| Faults::from(unfinished()))?;
        self.watcher.watch(seen);
        loaded
    }

    fn is_current(&self, config: &Config, material: &Material) -> bool {
        let Current { config: now, key_texts, parts } = &self.current;
        // What is fixed at the start decides nothing here.
        let Config {
            upstream,
            credentials,
            routes,
            keys,
            pace,
            listen: _,
            listeners: _,
            process: _,
            admin: _,
            metrics: _,
            store: _,
            log: _,
        } = config;
        (upstream, credentials, routes, keys, pace)
            == (&now.upstream, &now.credentials, &now.routes, &now.keys, &now.pace)
            && *key_texts == material.key_texts
            && Arc::ptr_eq(&parts.outward, &material.outward)
            && parts.gate.vault.holds(&material.holdings)
    }

    /// Puts everything to use; over once every worker has.
    async fn apply(&mut self, config: Config, material: Material) -> Result<(), Vec<Fault>> {
        let key_texts = material.key_texts.clone();
        let before = &self.current.parts;
        let (parts, watches) = assemble::parts(&config, material, &self.telemetry, &before.pacer, Some(before))?;
        service::watch_over(watches, &self.watched);
        self.vaults.send_replace(Arc::clone(&parts.gate.vault));
        self.current = Current { config, key_texts, parts };
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

/// Without its file a configuration would be nothing but defaults: that takes a start.
fn gone(file: &Path) -> Finding {
    let name = file.to_string_lossy().into();
    let what = "the configuration file is not there any more".to_owned();
    let hint = "put it back, or start anew to do without one";
    Fault { key: "file".to_owned(), what, hint }.at(Place::File { name, line: None })
}

fn unfinished() -> Finding {
    let what = "the configuration could not be loaded to its end".to_owned();
    let hint = "this is a bug of closegate: the log says where";
    Fault { key: "config".to_owned(), what, hint }.at(Place::Default)
}
