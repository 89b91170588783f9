//! The vault: the only place that reads plaintext credentials.
//!
//! Out of it come an [`Authorization`], which injects a credential and knows nothing else, and a [`Redactor`], which
//! takes the credential out of the answer again. A credential that is dead or cannot be read is never sent, and there
//! is no switch that changes that (security.md 46).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use crate::config;
use crate::id::{CredentialId, CredentialName};
use crate::net::Connector;
use crate::origin::Origin;
use crate::telemetry::CredentialMeters;

mod authorization;
mod credential;
mod entry;
mod harden;
mod needle;
mod probe;
mod redactor;
mod secret;
mod source;
mod watch;

pub use authorization::Authorization;
pub use entry::{State, Unavailable};
pub use harden::{HardenFault, harden};
pub use probe::{Undecided, Verdict};
pub use redactor::Redactor;
pub use source::{KeyText, SecretFault, Warning, Withheld, digest};

use credential::{Candidate, Slot};
use entry::Entry;
use probe::Dial;
use source::Unread;
use watch::Watch;

/// Every credential, ready to be sent or known not to be.
pub struct Vault {
    /// In the order of their names.
    entries: Box<[Entry]>,
    /// Taken by [`Vault::run`].
    watches: Mutex<Vec<Watch>>,
    withheld: Arc<Withheld>,
    dial: Arc<dyn Dial>,
}

impl Vault {
    /// Reads every secret. What cannot be read is a fault, all of them at once; only a command that fails is none: its
    /// credential begins unavailable and is tried again.
    pub async fn open(
        credentials: &BTreeMap<CredentialName, config::Credential>,
        withheld: Arc<Withheld>,
        meters: impl Fn(&CredentialName) -> Arc<CredentialMeters>,
        connector: Arc<Connector>,
    ) -> Result<(Arc<Self>, Vec<Warning>), Vec<SecretFault>> {
        Self::open_over(credentials, withheld, meters, connector).await
    }

    async fn open_over(
        credentials: &BTreeMap<CredentialName, config::Credential>,
        withheld: Arc<Withheld>,
        meters: impl Fn(&CredentialName) -> Arc<CredentialMeters>,
        dial: Arc<dyn Dial>,
    ) -> Result<(Arc<Self>, Vec<Warning>), Vec<SecretFault>> {
        let slots: Vec<_> = credentials.iter().map(|(name, credential)| Slot::of(name, credential)).collect();
        let (known, warnings) = read_all(&slots, &withheld).await?;
        let entries: Box<[_]> = credentials.keys().map(|name| Entry::new(name.clone(), meters(name))).collect();
        let watch = |((id, entry), (slots, known))| Watch::begin(CredentialId(id), slots, known, entry);
        let watches = (0..).zip(&entries).zip(slots.into_iter().zip(known)).map(watch).collect();
        Ok((Arc::new(Self { entries, watches: Mutex::new(watches), withheld, dial }), warnings))
    }

    /// The credential of that name.
    pub fn find(&self, name: &CredentialName) -> Option<CredentialId> {
        let at = self.entries.binary_search_by(|entry| entry.name().cmp(name)).ok()?;
        u32::try_from(at).ok().map(CredentialId)
    }

    /// The name of a credential.
    pub fn name(&self, id: CredentialId) -> &CredentialName {
        self.entry(id).name()
    }

    /// What a request as this credential carries, or why it must not be sent.
    pub fn authorization(&self, id: CredentialId) -> Result<Authorization, Unavailable> {
        self.entry(id).authorization()
    }

    /// An upstream answered 401 to an authorization of that generation: has [`Vault::run`] ask Close, once.
    pub fn suspect(&self, id: CredentialId, generation: u64, origin: &Origin) {
        self.entry(id).suspect(generation, origin);
    }

    /// Watches over every credential until it is dropped; to be called once, on the service thread.
    pub async fn run(self: Arc<Self>) {
        let watches = std::mem::take(&mut *self.watches.lock().unwrap_or_else(PoisonError::into_inner));
        let mut running = JoinSet::new();
        for watch in watches {
            running.spawn(watch.run(Arc::clone(&self)));
        }
        while let Some(ended) = running.join_next().await {
            if ended.is_err() {
                tracing::error!("a credential's watch panicked; that credential stays as it is until a restart");
            }
        }
    }

    /// Asks Close once whether it takes the credential; changes nothing.
    pub async fn verify(&self, id: CredentialId, origin: &Origin) -> Verdict {
        match self.authorization(id) {
            Ok(authorization) => self.ask(origin, authorization).await,
            Err(unavailable) => Verdict::Undecided(Undecided::Unavailable(unavailable.reason)),
        }
    }

    /// How every credential stands, by name.
    pub fn states(&self) -> Vec<(CredentialName, State)> {
        self.entries.iter().map(|entry| (entry.name().clone(), entry.state())).collect()
    }

    fn entry(&self, id: CredentialId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    async fn ask(&self, origin: &Origin, authorization: Authorization) -> Verdict {
        probe::ask(&*self.dial, origin, authorization).await
    }

    async fn read(&self, slot: &Slot) -> Result<Candidate, Unread> {
        slot.read(&self.withheld).await.map(|(candidate, _)| candidate)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

type Known = Vec<Vec<Option<Candidate>>>;

/// Reads every slot at once, since commands take their time; tells faults and warnings in the order of the slots.
async fn read_all(slots: &[Vec<Slot>], withheld: &Arc<Withheld>) -> Result<(Known, Vec<Warning>), Vec<SecretFault>> {
    let mut reading = JoinSet::new();
    for slot in slots.iter().flatten() {
        let (slot, withheld) = (slot.clone(), Arc::clone(withheld));
        reading.spawn(async move { (slot.key().to_owned(), slot.read(&withheld).await) });
    }
    let mut read: BTreeMap<_, _> = reading.join_all().await.into_iter().collect();
    let (mut warnings, mut faults) = (Vec::new(), Vec::new());
    let mut settle = |slot: &Slot| match read.remove(slot.key())? {
        Ok((candidate, seen)) => {
            warnings.extend(seen);
            Some(candidate)
        }
        Err(unread) if slot.is_command() => {
            warnings.push(unread.warn(slot.key()));
            None
        }
        Err(unread) => {
            faults.push(unread.at(slot.key()));
            None
        }
    };
    let known = slots.iter().map(|slots| slots.iter().map(&mut settle).collect()).collect();
    if faults.is_empty() { Ok((known, warnings)) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
