//! What a gateway starts with: everything that its configuration refers to and what was added at run time, read once, and
//! the first parts made of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::assemble::{self, Lasting};
use super::bell::Scope;
use super::doubts::{self, Doubts};
use super::files::{self, Seen};
use super::managed::Snapshot;
use super::operators;
use super::reload::{Current, Effective, Provenance, Standing};
use super::remembered::Remembered;
use super::secrets::{Beside, Fault, Material};
use super::service::Chores;
use super::storage;
use super::usage;
use crate::admin::Token;
use crate::config::Loaded;
use crate::pace::Pacer;
use crate::store::Role;
use crate::telemetry::Telemetry;
use crate::vault::{Archive, Supply, Withheld};

/// What a gateway starts with.
pub(super) struct Beginning {
    pub(super) provenance: Option<Provenance>,
    pub(super) seen: Seen,
    pub(super) effective: Effective,
    pub(super) current: Arc<Current>,
    pub(super) chores: Chores,
    pub(super) archive: Arc<Archive>,
    pub(super) tokens: Vec<Token>,
    /// What was said of secrets.
    pub(super) doubts: Doubts,
}

/// Reads everything that the configuration refers to and what was added at run time, and makes the first parts of it.
pub(super) async fn begin(
    loaded: &Loaded,
    provenance: Option<Provenance>,
    telemetry: &Arc<Telemetry>,
) -> Result<Beginning, Vec<Fault>> {
    // As they are before they are read: what changes later is seen to have changed.
    let watched = |from: &Provenance| Seen::of(files::of(&loaded.config, from.file.as_deref()));
    let seen = provenance.as_ref().map(watched).unwrap_or_default();
    let archive = Arc::new(storage::archive(&loaded.config, Role::Serving));
    let stored = storage::check(&archive).await;
    let remembered = Remembered::of(&loaded.config);
    let snapshot = match (&loaded.base, &stored) {
        (None, _) => Snapshot::default(),
        (Some(_), Ok(None)) => match Snapshot::read(archive.store()).await {
            Ok(snapshot) => snapshot,
            Err(_) => unread(&remembered).await?,
        },
        (Some(_), _) => unread(&remembered).await?,
    };
    if snapshot.is_read && archive.store().is_lasting() {
        remembered.keep(&snapshot.disabled).await;
    }
    let loaded = with_added(loaded, &snapshot);
    let beside = Beside { archive: Some(&archive), snapshot: loaded.base.as_ref().map(|_| &snapshot), before: None };
    let material = Material::gather(&loaded.config, beside).await;
    let supply = Supply::new(Withheld::of(&loaded.config), None);
    // Who brings a configuration of its own brings its tokens with it.
    let tokens = match &loaded.base {
        Some(_) => operators::tokens(&loaded.config, &supply).await,
        None => operators::configured(&loaded.config, &supply).await,
    };
    let (doubt, material, (tokens, token_warnings)) = match (stored, material, tokens) {
        (Ok(doubt), Ok(material), Ok(tokens)) => (doubt, material, tokens),
        (stored, material, tokens) => {
            let faults = [material.err(), tokens.err()].into_iter().flatten().flatten();
            return Err(stored.err().into_iter().chain(faults).collect());
        }
    };
    let shared = operators::shared(&tokens, &material.key_texts);
    if !shared.is_empty() {
        return Err(shared);
    }
    snapshot.warn();
    for warning in doubt.iter().chain(&token_warnings) {
        tracing::warn!("{}: {}; hint: {}", warning.key, warning.what, warning.hint);
    }
    let mut doubts = Doubts::default();
    doubts.tell(Scope::Everything, &material.warnings);
    let (config, key_texts) = (loaded.config.clone(), material.key_texts.clone());
    let meters = Arc::clone(telemetry);
    let (pacer, dispatcher) = Pacer::new(move |credential, group| meters.limit_meters(credential, group));
    // Without sources nothing is kept. Of a store that nobody else has no parts are asked for: a key counts by itself.
    let allotments = loaded.base.as_ref().filter(|_| archive.store().is_lasting()).map(|_| Arc::default());
    let (parts, watches) = assemble::parts(&config, material, telemetry, &Lasting { pacer, allotments }, None)?;
    usage::remind(archive.store(), &parts.gate.keys).await;
    let standing = if snapshot.is_read { Standing::Whole } else { Standing::Partial };
    let effective = Effective { loaded, snapshot, standing, vault: Some(Arc::clone(&parts.gate.vault)) };
    let current = Arc::new(Current { config, key_texts, parts });
    let chores = Chores { watches, dispatcher };
    Ok(Beginning { provenance, seen, effective, current, chores, archive, tokens, doubts })
}

/// What a start goes by while the store cannot be read.
async fn unread(remembered: &Remembered) -> Result<Snapshot, Vec<Fault>> {
    let known = remembered.read().await.map_err(|fault| vec![fault])?;
    let Some(disabled) = known else {
        tracing::warn!(
            "what is disabled is not known before the store was read, and nothing of it is remembered in `data_dir`: a \
             credential of the configuration that was disabled is sent until then; hint: take it out of the configuration, \
             or start once the store answers"
        );
        return Ok(Snapshot::unread(BTreeSet::new()));
    };
    tracing::warn!(
        "the store cannot be read yet: until then {} credentials are disabled that were when it was read last",
        disabled.len()
    );
    Ok(Snapshot::unread(disabled))
}

/// The configuration with what was added at run time.
fn with_added(loaded: &Loaded, snapshot: &Snapshot) -> Loaded {
    let (Some(base), managed) = (&loaded.base, snapshot.managed()) else { return loaded.again() };
    if managed.is_empty() {
        return loaded.whole();
    }
    match base.with(&managed) {
        Ok(added) => {
            doubts::tell_new(&loaded.warnings, &added.warnings);
            added
        }
        // By itself it had no fault.
        Err(_) => loaded.again(),
    }
}
