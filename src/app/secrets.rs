//! Everything outside of a configuration that it refers to, read once and whole: secrets, gateway keys, roots.

use std::fmt;
use std::sync::Arc;

use super::blocking;
use super::managed::Snapshot;
use super::operators;
use super::outward::{self, Outward};
use super::reload::Current;
use super::storage;
use super::together::Together;
use crate::config::{Config, Credential, CredentialKind, KeySecret, SecretRef};
use crate::id::CredentialName;
use crate::keys::{self, DuplicateKey};
use crate::store::Role;
use crate::task;
use crate::vault::{
    self, Again, Archive, Circumstances, Holdings, KeyText, SecretFault, Supply, Vault, Verdict, Warning, Watch,
    Withheld,
};

/// One reason why a gateway does not start, or a reload changes nothing; it holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, such as `credentials.sales.api_key`.
    pub key: String,
    /// What is wrong, for people.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, what, hint } = self;
        write!(f, "error: {key}: {what}\n  hint: {hint}")
    }
}

/// The secrets of a configuration, in what would use them.
pub struct Secrets {
    /// The credentials; nobody watches over them.
    pub vault: Arc<Vault>,
    /// What works and deserves a look.
    pub warnings: Vec<Warning>,
    /// What Close says of each credential, where it was to be asked.
    pub verdicts: Vec<(CredentialName, Verdict)>,
}

/// Whom a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Nobody: what is there is read.
    Nobody,
    /// Close, with every credential at the upstream of its first route.
    Close,
}

impl Asking {
    /// Who asks is as little in the store as may be: tokens that Close gives must be stored.
    fn role(self, config: &Config) -> Role {
        let is_app = |credential: &Credential| matches!(credential.kind, CredentialKind::OAuth2(_));
        match self {
            Self::Close if config.credentials.values().any(is_app) => Role::Visiting,
            Self::Close | Self::Nobody => Role::Looking,
        }
    }
}

/// Everything that a configuration refers to, read and found good, before any of it is used.
pub(super) struct Material {
    pub(super) holdings: Holdings,
    /// One digest a gateway key, in the order of their names.
    pub(super) key_texts: Vec<KeyText>,
    pub(super) outward: Arc<Outward>,
    pub(super) warnings: Vec<Warning>,
    pub(super) history: History,
}

/// Whether gateway keys were ever defined that are not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum History {
    None,
    Keys,
}

/// What a configuration is gathered beside.
#[derive(Default)]
pub(super) struct Beside<'a> {
    /// Opens what lies in the store.
    pub(super) archive: Option<&'a Arc<Archive>>,
    /// What lies there.
    pub(super) snapshot: Option<&'a Snapshot>,
    /// What is in force, and what of it is read again.
    pub(super) before: Option<(&'a Current, Again)>,
}

impl Material {
    /// Reads it all, and says everything that is wrong with it; the way out stays the one before if nothing of it is
    /// different.
    pub(super) async fn gather(config: &Config, beside: Beside<'_>) -> Result<Self, Vec<Fault>> {
        let Beside { archive, snapshot, before } = beside;
        let supply = Arc::new(Supply::new(Withheld::of(config), archive.cloned()));
        let (settings, way) = (config.upstream.clone(), before.map(|(before, _)| Arc::clone(&before.parts.outward)));
        let outward = task::blocking(move || Outward::of(settings, way.as_ref()));
        let circumstances = Circumstances {
            disabled: snapshot.map(|snapshot| snapshot.disabled.clone()).unwrap_or_default(),
            before: before.map(|(before, again)| (&*before.parts.gate.vault, again)),
        };
        let credentials = Holdings::read(&config.credentials, Arc::clone(&supply), &circumstances);
        let (credentials, outward) = tokio::join!(credentials, outward);
        let known = before.filter(|(_, again)| *again == Again::Nothing).map(|(before, _)| before);
        let keys = key_texts(config, &supply, known).await;
        let history =
            if snapshot.is_some_and(|snapshot| snapshot.keys_ever_defined) { History::Keys } else { History::None };
        match (outward.unwrap_or_else(|| Err(outward::unfinished())), credentials, keys) {
            (Ok(outward), Ok((holdings, mut warnings)), Ok((key_texts, others))) => {
                warnings.extend(others);
                Ok(Self { holdings, key_texts, outward, warnings, history })
            }
            (outward, credentials, keys) => {
                let credentials = credentials.err().into_iter().flatten().map(Fault::from);
                Err(outward.err().into_iter().chain(credentials).chain(keys.err().into_iter().flatten()).collect())
            }
        }
    }
}

impl Secrets {
    /// Reads them for nobody: whether they could be used. The store is looked at as well, if there is one; what it has put out
    /// of use nobody is asked about.
    pub fn check(together: &Together, asking: Asking) -> Result<Self, Vec<Fault>> {
        let Together { loaded, snapshot, .. } = together;
        let config = &loaded.config;
        let archive = Arc::new(storage::archive(config, asking.role(config)));
        blocking::run(async {
            let stored = storage::check(&archive).await;
            let mut read =
                Self::read(config, Beside { archive: Some(&archive), snapshot: Some(snapshot), before: None }).await;
            if let (Ok(_), Ok((secrets, watches)), Asking::Close) = (&stored, &mut read, asking) {
                secrets.verdicts = verdicts(config, &secrets.vault, std::mem::take(watches)).await;
            }
            archive.store().close().await;
            match (stored, read) {
                (Ok(doubt), Ok((mut secrets, _))) => {
                    secrets.warnings.extend(doubt);
                    Ok(secrets)
                }
                (stored, read) => Err(stored.err().into_iter().chain(read.err().into_iter().flatten()).collect()),
            }
        })?
    }

    async fn read(config: &Config, beside: Beside<'_>) -> Result<(Self, Vec<Watch>), Vec<Fault>> {
        let material = Material::gather(config, beside).await;
        let tokens = operators::configured(config, &Supply::new(Withheld::of(config), None)).await;
        let (Material { holdings, outward, mut warnings, .. }, (_, doubts)) = match (material, tokens) {
            (Ok(material), Ok(tokens)) => (material, tokens),
            (material, tokens) => {
                return Err([material.err(), tokens.err()].into_iter().flatten().flatten().collect());
            }
        };
        warnings.extend(doubts);
        let (vault, watches) = Vault::open(holdings, |_| Arc::default(), Arc::clone(&outward.connector));
        Ok((Self { vault, warnings, verdicts: Vec::new() }, watches))
    }

    /// What is wrong with the secrets of a configuration that is not whole.
    ///
    /// No command is run: a table that is missing may have named the variables that it must not see (security.md 45).
    pub fn faults_of_part(part: &Config) -> Vec<Fault> {
        let mut part = part.clone();
        part.credentials.retain(|_, credential| !credential.kind.references().any(is_command));
        part.keys.retain(|_, key| !matches!(&key.secret, KeySecret::Reference(reference) if is_command(reference)));
        blocking::run(Self::read(&part, Beside::default())).and_then(|read| read).err().unwrap_or_default()
    }
}

/// What Close says of each credential. Grants are kept meanwhile, as a gateway does: an access token that has ended is
/// renewed, under the lease that keeps others away, and stored.
async fn verdicts(config: &Config, vault: &Vault, watches: Vec<Watch>) -> Vec<(CredentialName, Verdict)> {
    watches.into_iter().for_each(|watch| task::spawn("credential", watch.run()));
    let mut verdicts = Vec::new();
    for name in config.credentials.keys() {
        let route = config.routes.values().find(|route| route.credential == *name);
        let origin = route.map_or(&config.upstream.url, |route| &route.upstream);
        if let Some(id) = vault.find(name) {
            verdicts.push((name.clone(), vault.verify(id, origin).await));
        }
    }
    vault.settled().await;
    verdicts
}

/// The digest of every gateway key, or what is wrong with each; those that can be read are compared in any case.
///
/// What is in force need not be read again where that is given.
async fn key_texts(
    config: &Config,
    supply: &Supply,
    before: Option<&Current>,
) -> Result<(Vec<KeyText>, Vec<Warning>), Vec<Fault>> {
    let (mut known, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let read = before.map(Current::texts).unwrap_or_default();
    for (name, key) in &config.keys {
        let same = read.get(name).filter(|(secret, _)| **secret == key.secret);
        if let Some((_, text)) = same.copied() {
            known.push((name, text));
            continue;
        }
        match &key.secret {
            KeySecret::Digest(digest) => known.push((name, KeyText { digest: Some(*digest), fingerprint: None })),
            KeySecret::Peer => known.push((name, KeyText { digest: None, fingerprint: None })),
            KeySecret::Reference(reference) => {
                match vault::digest(&format!("keys.{name}.secret"), reference, supply).await {
                    Ok((text, warning)) => {
                        warnings.extend(warning);
                        known.push((name, text));
                    }
                    Err(fault) => faults.push(fault.into()),
                }
            }
        }
    }
    let duplicates = keys::duplicates(known.iter().filter_map(|(name, text)| Some((*name, text.digest.as_ref()?))));
    faults.extend(duplicates.iter().map(Fault::from));
    let texts = known.into_iter().map(|(_, text)| text).collect();
    if faults.is_empty() { Ok((texts, warnings)) } else { Err(faults) }
}

impl From<SecretFault> for Fault {
    fn from(fault: SecretFault) -> Self {
        let SecretFault { key, what, hint } = fault;
        Self { key, what, hint }
    }
}

impl From<&DuplicateKey> for Fault {
    fn from(duplicate: &DuplicateKey) -> Self {
        let others: Vec<String> = duplicate.others.iter().map(|name| format!("`keys.{name}`")).collect();
        let what = format!("the same key as {}", others.join(", "));
        Self { key: format!("keys.{}", duplicate.first), what, hint: "give each tool a key of its own" }
    }
}

fn is_command(reference: &SecretRef) -> bool {
    matches!(reference, SecretRef::Command { .. })
}
