//! The vault: the only place that reads plaintext credentials.
//!
//! Out of it come an [`Authorization`], which injects a credential and knows nothing else, and a [`Redactor`], which
//! takes the credential out of the answer again. A credential that is dead or cannot be read is never sent, and there
//! is no switch that changes that (security.md 46).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use crate::config;
use crate::id::{CredentialId, CredentialName};
use crate::net::Connector;
use crate::origin::Origin;
use crate::telemetry::CredentialMeters;

mod archive;
mod authorization;
mod credential;
mod entry;
mod handed;
mod harden;
mod lookout;
mod master;
mod needle;
mod oauth;
mod pause;
mod probe;
mod redactor;
mod rekey;
mod seal;
mod secret;
mod source;
mod trial;
mod watch;

pub use archive::{Archive, ArchiveFault};
pub use authorization::{Authorization, Presented};
pub use entry::{State, Unavailable};
pub use handed::SecretText;
pub use harden::{HardenFault, harden};
pub use master::{MasterKey, NoMasterKey};
pub use oauth::{
    AppVerdict, Authorized, Awaiting, Condition, Consent, Death, Doing, Doubt, Flow, FlowFault, Grants, GrantsFault,
    MemoryGrants, Returned, Revocation, Sharing, Stored, Tokens, Verifier, state_digest,
};
pub use probe::{Introduction, Named, Person, Undecided, Verdict};
pub use redactor::Redactor;
pub use rekey::{GivenKey, Rekeyed};
pub use source::{KeyText, SecretFault, Supply, Warning, Withheld, digest, token_digest};
pub use trial::{Trial, Unfit};
pub use watch::Watch;

use credential::{Candidate, Slot};
use entry::{Entry, Switch};
use oauth::Under;
use probe::Dial;
use source::Unread;

/// Every credential, ready to be sent or known not to be.
pub struct Vault {
    /// In the order of their names.
    entries: Box<[Arc<Entry>]>,
    /// Those of now, also for the vaults that came before.
    means: Arc<ArcSwap<Means>>,
}

/// What was read of every credential, before any of it is used.
#[derive(Default)]
pub struct Holdings {
    credentials: BTreeMap<CredentialName, Holding>,
    supply: Arc<Supply>,
}

struct Holding {
    slots: Vec<Slot>,
    known: Vec<Option<Candidate>>,
    switch: Switch,
}

/// What beside its references decides about a credential.
#[derive(Default)]
pub struct Circumstances<'a> {
    /// The credentials that somebody took out of use.
    pub disabled: BTreeSet<String>,
    /// The vault before, and what of it is read again.
    pub before: Option<(&'a Vault, Again)>,
}

/// What is read again of that which a vault knows already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Variables, files and commands: what lies in the store changes with its reference.
    Declared,
    /// Nothing: only what is referred to anew.
    Nothing,
}

/// What secrets are read and questions are asked with.
struct Means {
    supply: Arc<Supply>,
    dial: Arc<dyn Dial>,
    /// Where the tokens of OAuth credentials lie.
    grants: Arc<dyn Grants>,
    /// What must not be dropped halfway; of all vaults that follow one another.
    under: Arc<Under>,
}

impl Holdings {
    /// Reads every secret. What cannot be read is a fault, all of them at once; only a command that fails is none, nor
    /// a secret of the store that cannot be had: such a credential begins unavailable and is tried again.
    pub async fn read(
        credentials: &BTreeMap<CredentialName, config::Credential>,
        supply: Arc<Supply>,
        circumstances: &Circumstances<'_>,
    ) -> Result<(Self, Vec<Warning>), Vec<SecretFault>> {
        let slots: Vec<_> = credentials.iter().map(|(name, credential)| Slot::of(name, credential)).collect();
        let (known, warnings) = read_all(&slots, &supply, circumstances).await?;
        let switch = |name: &CredentialName| {
            if circumstances.disabled.contains(name.as_str()) { Switch::Off } else { Switch::On }
        };
        let holdings = slots.into_iter().zip(known).zip(credentials.keys());
        let holdings =
            holdings.map(|((slots, known), name)| (name.clone(), Holding { slots, known, switch: switch(name) }));
        Ok((Self { credentials: holdings.collect(), supply }, warnings))
    }
}

impl Vault {
    /// A vault of these credentials, and the watches over them, which are to be run.
    pub fn open(
        holdings: Holdings,
        meters: impl Fn(&CredentialName) -> Arc<CredentialMeters>,
        connector: Arc<Connector>,
    ) -> (Arc<Self>, Vec<Watch>) {
        let grants = holdings.supply.grants();
        Self::open_over(None, holdings, meters, connector, grants)
    }

    /// The vault that takes this one's place, and the watches over what is new in it, which are to be run.
    ///
    /// A credential that is configured as before and gave the same secrets stays as it is, with the watch that is
    /// running: whether it is in use, and which secret was promoted. The watches over what was changed or removed end.
    pub fn followed_by(
        &self,
        holdings: Holdings,
        meters: impl Fn(&CredentialName) -> Arc<CredentialMeters>,
        connector: Arc<Connector>,
    ) -> (Arc<Self>, Vec<Watch>) {
        let grants = Arc::clone(&self.means().grants);
        Self::open_over(Some(self), holdings, meters, connector, grants)
    }

    fn open_over(
        before: Option<&Self>,
        holdings: Holdings,
        meters: impl Fn(&CredentialName) -> Arc<CredentialMeters>,
        dial: Arc<dyn Dial>,
        grants: Arc<dyn Grants>,
    ) -> (Arc<Self>, Vec<Watch>) {
        let Holdings { credentials, supply } = holdings;
        let under = before.map(|before| Arc::clone(&before.means().under)).unwrap_or_default();
        let means = Arc::new(Means { supply, dial, grants, under });
        let means = match before {
            Some(before) => {
                before.means.store(means);
                Arc::clone(&before.means)
            }
            None => Arc::new(ArcSwap::new(means)),
        };
        let (mut entries, mut watches) = (Vec::new(), Vec::new());
        for (name, holding) in credentials {
            let standing = before.and_then(|before| before.entries.get(before.place(&name)?));
            if let Some(same) = standing.filter(|entry| entry.stands_for(&holding)) {
                entries.push(Arc::clone(same));
                continue;
            }
            if let Some(changed) = standing {
                changed.retire();
                if holding.switch == Switch::Off {
                    changed.disable();
                }
            }
            let meters = meters(&name);
            let entry = Arc::new(Entry::new(name, meters, holding));
            match entry.switch() {
                Switch::On => watches.push(Watch::begin(&entry, &means, standing.map(|before| &**before))),
                // Nothing about it changes by itself.
                Switch::Off => entry.disable(),
            }
            entries.push(entry);
        }
        let vault = Self { entries: entries.into(), means };
        let removed = before.into_iter().flat_map(|before| &before.entries);
        removed.filter(|entry| vault.place(entry.name()).is_none()).for_each(|entry| entry.retire());
        (Arc::new(vault), watches)
    }

    /// Whether these credentials, and what was read of them, are those that it has.
    pub fn holds(&self, holdings: &Holdings) -> bool {
        let same = |(entry, (name, holding)): (&Arc<Entry>, (&CredentialName, &Holding))| {
            entry.name() == name && entry.stands_for(holding)
        };
        self.entries.len() == holdings.credentials.len() && self.entries.iter().zip(&holdings.credentials).all(same)
    }

    fn place(&self, name: &CredentialName) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.name().cmp(name)).ok()
    }

    /// The credential of that name.
    pub fn find(&self, name: &CredentialName) -> Option<CredentialId> {
        u32::try_from(self.place(name)?).ok().map(CredentialId)
    }

    /// The name of a credential.
    pub fn name(&self, id: CredentialId) -> &CredentialName {
        self.entry(id).name()
    }

    /// What a request as this credential carries, or why it must not be sent.
    pub fn authorization(&self, id: CredentialId) -> Result<Authorization, Unavailable> {
        self.entry(id).authorization()
    }

    /// Whether a credential has tokens that are renewed.
    pub fn renews(&self, id: CredentialId) -> bool {
        self.entry(id).renewal().is_some()
    }

    /// Of a credential whose access token has ended: waits for the next one, which is on its way already. None where there
    /// are no tokens to wait for.
    pub fn awaited(&self, id: CredentialId) -> Option<Awaiting> {
        Awaiting::any(self.entry(id))
    }

    /// An upstream answered 401 to an authorization of that generation: has another token asked for, once for all who
    /// are refused, and waits for it. None where that is of no use: the credential has no tokens, or this one is new.
    pub fn renewed(&self, id: CredentialId, generation: u64) -> Option<Awaiting> {
        Awaiting::beyond(self.entry(id), generation)
    }

    /// Waits until no token is on its way any more: a process that ends before may lose one.
    pub async fn settled(&self) {
        self.means().under.over().await;
    }

    /// An upstream answered 401 to an authorization of that generation: has the [`Watch`] ask Close, once.
    pub fn suspect(&self, id: CredentialId, generation: u64, origin: &Origin) {
        self.entry(id).suspect(generation, origin);
    }

    /// Asks Close once whether it takes the credential; changes nothing, but that an access token which has ended is waited
    /// for, whose watch is to be running.
    pub async fn verify(&self, id: CredentialId, origin: &Origin) -> Verdict {
        match self.sendable(id).await {
            Ok(authorization) => self.means().ask(origin, authorization).await,
            Err(unavailable) => Verdict::Undecided(Undecided::Unavailable(unavailable.reason)),
        }
    }

    /// The same, and who somebody is with the credential.
    pub async fn introduce(&self, id: CredentialId, origin: &Origin) -> (Verdict, Option<Introduction>) {
        match self.sendable(id).await {
            Ok(authorization) => self.means.load_full().introduce(origin, authorization).await,
            Err(unavailable) => (Verdict::Undecided(Undecided::Unavailable(unavailable.reason)), None),
        }
    }

    async fn sendable(&self, id: CredentialId) -> Result<Authorization, Unavailable> {
        match self.awaited(id) {
            Some(awaiting) => awaiting.token().await,
            None => self.authorization(id),
        }
    }

    /// The same for a secret that nobody uses yet.
    pub async fn try_out(&self, trial: &Trial, origin: &Origin) -> (Verdict, Option<Introduction>) {
        self.means.load_full().introduce(origin, trial.authorization()).await
    }

    /// How many requests are still under way with a secret of this vault that another one has followed.
    pub fn uses(&self, name: &CredentialName) -> usize {
        self.place(name).map_or(0, |place| self.entries[place].uses())
    }

    /// What Close calls the API key that is in use, or would be: the part of it that is no secret.
    pub fn key_id(&self, name: &CredentialName) -> Option<Arc<str>> {
        self.entries[self.place(name)?].key_id()
    }

    /// How every credential stands, by name.
    pub fn states(&self) -> Vec<(CredentialName, State)> {
        self.entries.iter().map(|entry| (entry.name().clone(), entry.state())).collect()
    }

    fn entry(&self, id: CredentialId) -> &Arc<Entry> {
        &self.entries[id.0 as usize]
    }

    fn means(&self) -> Arc<Means> {
        self.means.load_full()
    }
}

impl Means {
    async fn ask(&self, origin: &Origin, authorization: Authorization) -> Verdict {
        probe::ask(&*self.dial, origin, authorization).await
    }

    async fn introduce(&self, origin: &Origin, authorization: Authorization) -> (Verdict, Option<Introduction>) {
        probe::introduce(&*self.dial, origin, authorization).await
    }

    async fn read(&self, slot: &Slot) -> Result<Candidate, Unread> {
        slot.read(&self.supply).await.map(|(candidate, _)| candidate)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.credentials.keys()).finish()
    }
}

type Known = Vec<Vec<Option<Candidate>>>;

/// Reads every slot at once, since commands take their time; tells faults and warnings in the order of the slots.
async fn read_all(
    slots: &[Vec<Slot>],
    supply: &Arc<Supply>,
    circumstances: &Circumstances<'_>,
) -> Result<(Known, Vec<Warning>), Vec<SecretFault>> {
    let mut read = BTreeMap::new();
    let mut reading = JoinSet::new();
    for slot in slots.iter().flatten() {
        if let Some(known) = circumstances.known(slot) {
            read.insert(slot.key().to_owned(), Ok((known, Vec::new())));
        } else {
            let (slot, supply) = (slot.clone(), Arc::clone(supply));
            reading.spawn(async move {
                let found = slot.read(&supply).await.map(|(candidate, warnings)| (Some(candidate), warnings));
                (slot.key().to_owned(), found)
            });
        }
    }
    read.extend(reading.join_all().await);
    let (mut warnings, mut faults) = (Vec::new(), Vec::new());
    let mut settle = |slot: &Slot| match read.remove(slot.key())? {
        Ok((candidate, seen)) => {
            warnings.extend(seen);
            candidate
        }
        Err(unread) if slot.may_fail() => {
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

impl Circumstances<'_> {
    /// What need not be read, because the vault before has read it: `Some(None)` when it gave nothing.
    fn known(&self, slot: &Slot) -> Option<Option<Candidate>> {
        let (before, again) = self.before?;
        let same = before.entries.iter().find_map(|entry| entry.gave(slot))?;
        match again {
            // What did not open may open with another master key.
            _ if slot.is_stored() => same.map(Some),
            Again::Nothing => Some(same),
            Again::Declared => None,
        }
    }
}

#[cfg(test)]
mod tests;
