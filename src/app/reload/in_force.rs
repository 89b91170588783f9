//! What is in force: what the workers go by, and what is shown of it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::app::assemble::Parts;
use crate::app::managed::Snapshot;
use crate::app::secrets::{History, Material};
use crate::config::{Base, Config, Faults, Finding, KeySecret, Loaded, Place};
use crate::id::KeyName;
use crate::vault::{KeyText, Vault};

/// What is in force.
pub(in crate::app) struct Current {
    pub(in crate::app) config: Config,
    pub(in crate::app) key_texts: Vec<KeyText>,
    pub(in crate::app) parts: Parts,
}

/// What is in force, as it is shown and as changes are checked against: without what it is made of.
pub(in crate::app) struct Effective {
    /// All of it together, with the base that things are added to.
    pub(in crate::app) loaded: Loaded,
    /// What was added.
    pub(in crate::app) snapshot: Snapshot,
    /// Whether all of the snapshot is in force, as the store had it when it was read.
    pub(in crate::app) standing: Standing,
    /// Its credentials, where a gateway runs.
    pub(in crate::app) vault: Option<Arc<Vault>>,
}

/// How what was added at run time stands to what is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Standing {
    /// It is.
    Whole,
    /// The store could not be read yet, or is lost for so long that keys are not believed.
    Partial,
}

impl Current {
    /// Whether this configuration, and what was read for it, would change nothing.
    pub(super) fn is(&self, config: &Config, material: &Material) -> bool {
        let Self { config: now, key_texts, parts } = self;
        // What is fixed at the start decides nothing here.
        let Config {
            upstream,
            credentials,
            routes,
            keys,
            pace,
            data_dir: _,
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
            && (material.history == History::None || parts.gate.keys.ever_defined())
            && Arc::ptr_eq(&parts.outward, &material.outward)
            && parts.gate.vault.holds(&material.holdings)
    }

    /// What was read of each key, with what it was read from.
    pub(in crate::app) fn texts(&self) -> HashMap<&KeyName, (&KeySecret, KeyText)> {
        let keys = self.config.keys.iter().zip(&self.key_texts);
        keys.map(|((name, key), text)| (name, (&key.secret, *text))).collect()
    }
}

impl Effective {
    /// What the sources and the store come to where no gateway runs.
    pub(in crate::app) fn of(base: &Base, snapshot: Snapshot) -> Result<Self, Faults> {
        let loaded = base.with(&snapshot.managed())?;
        Ok(Self { loaded, snapshot, standing: Standing::Whole, vault: None })
    }

    /// Why something that was added is left out.
    pub(in crate::app) fn left_out(&self, key: &str) -> Option<String> {
        let warning = |warning: &&Finding| warning.key == key && warning.place == Place::Managed;
        self.loaded.warnings.iter().find(warning).map(|warning| warning.what.to_string())
    }
}
