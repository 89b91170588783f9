//! Where changes are made: in a running gateway, which goes by them before they are answered, or on the store alone.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::{Code, Kind, Refusal};
use crate::app::bell::Bell;
use crate::app::managed::Snapshot;
use crate::app::outward::Outward;
use crate::app::reload::Effective;
use crate::app::remembered::Remembered;
use crate::config::{Base, Config, Finding};
use crate::id::CredentialName;
use crate::origin::Origin;
use crate::store::Store;
use crate::task;
use crate::telemetry::Telemetry;
use crate::vault::{
    Archive, Circumstances, Holdings, Introduction, State, Supply, Trial, Vault, Verdict, Watch, Withheld,
};

/// Where changes are made.
pub(super) enum Ground {
    /// In this process.
    Running { bell: Bell, effective: watch::Receiver<Arc<Effective>>, telemetry: Arc<Telemetry> },
    /// Nowhere but in the store: a gateway, if there is one, sees them there.
    Alone { base: Base },
}

impl Ground {
    /// What is in force, or would be.
    pub(super) async fn effective(&self, store: &Store) -> Result<Arc<Effective>, Refusal> {
        match self {
            Self::Running { effective, .. } => Ok(effective.borrow().clone()),
            Self::Alone { base } => {
                let snapshot = Snapshot::read(store).await.map_err(|fault| super::refuse::by_store(&fault))?;
                Effective::of(base, snapshot)
                    .map(Arc::new)
                    .map_err(|faults| super::refuse::by_findings("", &all(&faults)))
            }
        }
    }

    /// Has the change be in force: over once every request is judged by it.
    pub(super) async fn take_effect(&self) -> Result<(), Refusal> {
        match self {
            Self::Alone { .. } => Ok(()),
            Self::Running { bell, .. } => bell.catch_up().await.map(drop).map_err(|faults| {
                let detail = format!("the change is stored and not in force: {}", faults.join("; "));
                Refusal::new(Code::Internal, detail).hint("it is tried again when something else is changed")
            }),
        }
    }

    /// Has a start without the store know what is disabled; a running gateway sees to that when it goes by it.
    pub(super) async fn remember(&self, effective: &Effective, store: &Store) {
        if let (Self::Alone { .. }, Ok(disabled)) = (self, store.disabled().await) {
            Remembered::of(&effective.loaded.config).keep(&disabled).await;
        }
    }

    /// How credentials stand; where no gateway runs nothing is known of that.
    pub(super) fn state(effective: &Effective, name: &CredentialName) -> Option<State> {
        let states = effective.vault.as_ref()?.states();
        states.into_iter().find(|(known, _)| known == name).map(|(_, state)| state)
    }

    /// The vault that requests are served from.
    pub(super) fn vault(&self, effective: &Effective) -> Result<Arc<Vault>, Refusal> {
        let nobody = || Refusal::new(Code::WrongState, "no gateway is running: say which credential it is");
        effective.vault.clone().ok_or_else(nobody)
    }

    /// A vault with one credential in it, or the one with all that requests are served from.
    pub(super) async fn vault_of(
        &self,
        effective: &Effective,
        archive: &Arc<Archive>,
        name: &CredentialName,
    ) -> Result<Arc<Vault>, Refusal> {
        match &effective.vault {
            Some(vault) => Ok(Arc::clone(vault)),
            None => Ok(alone(effective, archive, name).await?.0),
        }
    }

    /// A vault to ask about what is no credential yet.
    pub(super) async fn vault_of_none(&self, effective: &Effective) -> Result<Arc<Vault>, Refusal> {
        match &effective.vault {
            Some(vault) => Ok(Arc::clone(vault)),
            None => Ok(vault(&effective.loaded.config, Holdings::default()).await?.0),
        }
    }

    /// Asks Close about a secret that is not in use.
    pub(super) async fn try_out(
        &self,
        effective: &Effective,
        trial: &Trial,
        origin: &Origin,
    ) -> Result<(Verdict, Option<Introduction>), Refusal> {
        Ok(self.vault_of_none(effective).await?.try_out(trial, origin).await)
    }

    /// Asks Close about a credential as it is in use, or would be.
    pub(super) async fn introduce(
        &self,
        effective: &Effective,
        archive: &Arc<Archive>,
        name: &CredentialName,
        origin: &Origin,
    ) -> Result<(Verdict, Option<Introduction>), Refusal> {
        let unknown = || Refusal::not_found(Kind::Credential, name);
        let known = |vault: &Vault| vault.find(name).ok_or_else(unknown);
        if let Some(vault) = &effective.vault {
            return Ok(vault.introduce(known(vault)?, origin).await);
        }
        let (vault, watches) = alone(effective, archive, name).await?;
        let id = known(&vault)?;
        // A grant is kept as a gateway would: where its access token has ended, it is renewed.
        watches.into_iter().for_each(|watch| task::spawn("credential", watch.run()));
        let introduced = vault.introduce(id, origin).await;
        vault.settled().await;
        Ok(introduced)
    }
}

/// A vault of one credential, that nobody serves from.
async fn alone(
    effective: &Effective,
    archive: &Arc<Archive>,
    name: &CredentialName,
) -> Result<(Arc<Vault>, Vec<Watch>), Refusal> {
    let mut config = effective.loaded.config.clone();
    config.credentials.retain(|known, _| known == name);
    let supply = Supply::new(Withheld::of(&effective.loaded.config), Some(Arc::clone(archive)));
    let disabled = effective.snapshot.disabled.clone();
    let circumstances = Circumstances { disabled, before: None };
    let held = Holdings::read(&config.credentials, Arc::new(supply), &circumstances).await;
    let (holdings, _) = held.map_err(|faults| unread(&faults))?;
    vault(&config, holdings).await
}

/// A vault that nobody serves from.
async fn vault(config: &Config, holdings: Holdings) -> Result<(Arc<Vault>, Vec<Watch>), Refusal> {
    let settings = config.upstream.clone();
    let outward = task::blocking(move || Outward::of(settings, None)).await;
    let outward = outward.ok_or_else(Refusal::internal)?.map_err(|fault| Refusal::new(Code::Invalid, fault.what))?;
    Ok(Vault::open(holdings, |_| Arc::default(), Arc::clone(&outward.connector)))
}

fn unread(faults: &[crate::vault::SecretFault]) -> Refusal {
    let what = faults.first().map_or_else(String::new, ToString::to_string);
    let refusal = Refusal::new(Code::WrongState, what);
    match faults.first() {
        Some(fault) => refusal.hint(fault.hint),
        None => refusal,
    }
}

fn all(faults: &crate::config::Faults) -> Vec<Finding> {
    faults.iter().cloned().collect()
}
