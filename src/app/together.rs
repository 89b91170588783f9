//! What file, environment and store come to together, for commands that look: as a gateway would go by it, or does.
//!
//! The store is only looked at, beside a gateway or without one, and no secret is read. Where it cannot be read, what the
//! sources say is shown, and that this is not all.

use super::blocking;
use super::managed::Snapshot;
use super::secrets::{Fault, History};
use super::storage;
use crate::admin;
use crate::config::{Loaded, StoreUrl};
use crate::store::Role;
use crate::vault::Warning;

/// The whole of what is configured and managed.
pub struct Together {
    /// The configuration with what was added at run time; each table says where it comes from.
    pub loaded: Loaded,
    /// Whether keys were ever defined.
    pub(super) history: History,
    /// What lies in the store.
    pub(super) snapshot: Snapshot,
    /// Why what was added at run time is not among it.
    pub doubt: Option<Warning>,
}

impl Together {
    /// Reads the store beside a configuration.
    ///
    /// # Errors
    ///
    /// When the system lacks what it takes to wait for a database.
    pub fn of(loaded: &Loaded) -> Result<Self, Vec<Fault>> {
        blocking::run(Self::read(loaded))
    }

    /// What the sources alone come to.
    pub fn alone(loaded: &Loaded) -> Self {
        Self { loaded: loaded.whole(), history: History::None, snapshot: Snapshot::default(), doubt: None }
    }

    async fn read(loaded: &Loaded) -> Self {
        let doubt = |what: String, hint| Some(Warning { key: "store.url".to_owned(), what, hint });
        let alone = Self::alone(loaded);
        if loaded.config.store.url == StoreUrl::Memory {
            // Somebody may listen there: only who is there keeps anything in memory.
            let is_served = admin::is_there(&loaded.config.admin).await.unwrap_or(true);
            let what =
                "what was added at run time is not shown: it lies in the memory of the gateway that runs".to_owned();
            let hint = "`closegate credential list` and `closegate key list` ask the gateway";
            return Self { doubt: is_served.then(|| doubt(what, hint)).flatten(), ..alone };
        }
        let archive = storage::archive(&loaded.config, Role::Looking);
        let read = Snapshot::read(archive.store()).await;
        archive.store().close().await;
        let snapshot = match read {
            Ok(snapshot) => snapshot,
            Err(fault) => {
                let what = format!("what was added at run time is not shown: {fault}");
                return Self { doubt: doubt(what, fault.hint()), ..alone };
            }
        };
        let history = if snapshot.keys_ever_defined { History::Keys } else { History::None };
        match loaded.base.as_ref().map(|base| base.with(&snapshot.managed())) {
            Some(Ok(loaded)) => Self { loaded, history, snapshot, doubt: None },
            // By itself it had no fault.
            Some(Err(_)) | None => Self { history, snapshot, ..alone },
        }
    }
}
