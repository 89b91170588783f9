//! Where changes are made: in a running gateway, which goes by them before they are answered, or on the store alone.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::{Code, Refusal};
use crate::app::bell::Bell;
use crate::app::managed::Snapshot;
use crate::app::outward::Outward;
use crate::app::reload::Effective;
use crate::app::remembered::Remembered;
use crate::config::{Base, Config, Finding};
use crate::id::CredentialName;
use crate::origin::Origin;
use crate::store::Store;
use crate::vault::{Circumstances, Holdings, Introduction, State, Supply, Trial, Vault, Verdict, Withheld};

/// Where changes are made.
pub(super) enum Ground {
    /// In this process.
    Running { bell: Bell, effective: watch::Receiver<Arc<Effective>> },
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

    /// Asks Close about a secret that is not in use.
    pub(super) async fn try_out(
        &self,
        effective: &Effective,
        trial: &Trial,
        origin: &Origin,
    ) -> Result<(Verdict, Option<Introduction>), Refusal> {
        let vault = match &effective.vault {
            Some(vault) => Arc::clone(vault),
            None => vault(&effective.loaded.config, Holdings::default()).await?,
        };
        Ok(vault.try_out(trial, origin).await)
    }

    /// Asks Close about a credential as it is in use, or would be.
    pub(super) async fn introduce(
        &self,
        effective: &Effective,
        archive: &Arc<crate::vault::Archive>,
        name: &CredentialName,
        origin: &Origin,
    ) -> Result<(Verdict, Option<Introduction>), Refusal> {
        let vault = match &effective.vault {
            Some(vault) => Arc::clone(vault),
            None => {
                let mut config = effective.loaded.config.clone();
                config.credentials.retain(|known, _| known == name);
                let supply = Supply::new(Withheld::of(&effective.loaded.config), Some(Arc::clone(archive)));
                let held = Holdings::read(&config.credentials, Arc::new(supply), &Circumstances::default()).await;
                let (holdings, _) = held.map_err(|faults| unread(&faults))?;
                vault(&config, holdings).await?
            }
        };
        let unknown = || Refusal::not_found(crate::admin::Kind::Credential, name);
        Ok(vault.introduce(vault.find(name).ok_or_else(unknown)?, origin).await)
    }
}

/// A vault that nobody serves from.
async fn vault(config: &Config, holdings: Holdings) -> Result<Arc<Vault>, Refusal> {
    let settings = config.upstream.clone();
    let outward = tokio::task::spawn_blocking(move || Outward::of(settings, None)).await;
    let outward = outward.map_err(|_| Refusal::internal())?.map_err(|fault| Refusal::new(Code::Invalid, fault.what))?;
    Ok(Vault::open(holdings, |_| Arc::default(), Arc::clone(&outward.connector)).0)
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
