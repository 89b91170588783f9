//! The archive: what the store keeps sealed is sealed and opened here, and nowhere else.
//!
//! Which master key everything is sealed under stands in the store. A record under another one has the reference of the
//! master key read again, so that a gateway goes on while `closegate store rekey` works; one that still does not open is
//! refused and left as it is.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use serde_json::Value;

use super::SecretText;
use super::master::{MasterKey, NoMasterKey};
use super::seal::{Identity, Keyring, SealFault};
use super::secret::Secret;
use super::source::Withheld;
use crate::id::CredentialName;
use crate::store::{Content, Event, Fence, Grant, KeyId, Kind, Record, Sealed, Store, StoreError, Token};

/// The store, with the key to what is sealed in it.
pub struct Archive {
    store: Store,
    key: MasterKey,
    withheld: Withheld,
    /// As they were read last.
    ring: ArcSwapOption<Keyring>,
}

/// Why something of the archive cannot be had, or put there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveFault {
    /// The store does not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no master key.
    #[error(transparent)]
    Key(#[from] NoMasterKey),
    /// The store is sealed under another master key.
    #[error("the store is sealed under the master key {wanted}, and the one that is given is another")]
    OtherKey {
        /// The id of the one that it takes.
        wanted: KeyId,
    },
    /// What is sealed does not open: it was changed, or moved from another name.
    #[error("the secret of {of} does not open: it was changed or moved in the store")]
    Broken {
        /// Whose it is.
        of: String,
    },
    /// There is no such secret any more.
    #[error("the credential `{name}` was changed in the store meanwhile")]
    Replaced {
        /// The name of the credential.
        name: String,
    },
}

impl ArchiveFault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.hint(),
            Self::Key(fault) => fault.hint,
            Self::OtherKey { .. } => {
                "set `store.master_key` to the key that the store was made with; nothing was touched"
            }
            Self::Broken { .. } => "restore the database from a backup, or add the credential again",
            Self::Replaced { .. } => "it is read again by itself",
        }
    }
}

impl Archive {
    /// An archive that nothing was looked at yet.
    pub fn new(store: Store, key: MasterKey, withheld: Withheld) -> Self {
        Self { store, key, withheld, ring: ArcSwapOption::empty() }
    }

    /// Looks whether the master key is the store's, as far as there is anything. Nothing is made and nothing changed.
    pub async fn check(&self) -> Result<(), ArchiveFault> {
        match self.store.proof().await? {
            Some(proof) => self.opens(&proof).await.map(drop),
            // What is said outright is to be there.
            None => {
                self.key.read(&self.withheld).await?;
                Ok(())
            }
        }
    }

    /// The store behind it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Seals a secret for what it belongs to, under the key of the store.
    ///
    /// A change that would store it is refused with [`StoreError::OtherKey`] when the store was sealed anew in between:
    /// then seal it again.
    pub async fn seal(&self, content: &Content, plaintext: &[u8]) -> Result<Sealed, ArchiveFault> {
        let (ring, current) = self.current().await?;
        let named = Named::of(content);
        ring.seal(current, named.identity(), plaintext).map_err(|fault| told(fault, content))
    }

    /// Opens what was sealed for this.
    pub(super) async fn unseal(&self, content: &Content, sealed: &Sealed) -> Result<Secret, ArchiveFault> {
        let ring = self.ring_with(sealed.key()).await?;
        let named = Named::of(content);
        ring.open(named.identity(), sealed).map_err(|fault| told(fault, content))
    }

    /// Seals the secret of a credential that is to be added, or to be given another one.
    pub async fn seal_credential(&self, name: &CredentialName, secret: &SecretText) -> Result<Sealed, ArchiveFault> {
        self.seal(&Content::Record(Kind::Credential, name.to_string()), secret.expose()).await
    }

    /// The secret of a credential, if it is still that one of its successive secrets: the body of
    /// its record says which, else its version does.
    pub(super) async fn secret(&self, name: &CredentialName, version: u64) -> Result<Secret, ArchiveFault> {
        let record = self.store.record(Kind::Credential, name.as_str()).await?;
        let is_that = |record: &Record| {
            let secret = record.body.get("secret").and_then(Value::as_u64);
            secret.unwrap_or(record.version) == version
        };
        let sealed = record.filter(is_that).and_then(|record| record.sealed);
        let sealed = sealed.ok_or_else(|| ArchiveFault::Replaced { name: name.to_string() })?;
        self.unseal(&Content::Record(Kind::Credential, name.to_string()), &sealed).await
    }

    /// A grant, and its tokens.
    pub(super) async fn grant(&self, name: &CredentialName) -> Result<Option<(Grant, Option<Secret>)>, ArchiveFault> {
        let Some(grant) = self.store.grant(name.as_str()).await? else { return Ok(None) };
        let tokens = match &grant.sealed {
            Some(sealed) => Some(self.unseal(&Content::Grant(name.to_string()), sealed).await?),
            None => None,
        };
        Ok(Some((grant, tokens)))
    }

    /// Takes over tokens that somebody authorized; see [`Store::put_grant`].
    pub async fn put_grant(
        &self,
        name: &CredentialName,
        tokens: &[u8],
        expires_at: Option<Timestamp>,
        event: &Event,
    ) -> Result<Grant, ArchiveFault> {
        for _ in 0..TRIES {
            let token = self.token(name, tokens, expires_at).await?;
            match self.store.put_grant(name.as_str(), &token, event).await {
                Err(StoreError::OtherKey) => {}
                put => return Ok(put?),
            }
        }
        Err(StoreError::OtherKey.into())
    }

    /// Stores renewed tokens, which are durable when this returns; see [`Store::store_grant`].
    pub async fn store_grant(
        &self,
        name: &CredentialName,
        tokens: &[u8],
        expires_at: Option<Timestamp>,
        fence: Fence,
    ) -> Result<Grant, ArchiveFault> {
        for _ in 0..TRIES {
            let token = self.token(name, tokens, expires_at).await?;
            match self.store.store_grant(name.as_str(), &token, fence).await {
                Err(StoreError::OtherKey) => {}
                stored => return Ok(stored?),
            }
        }
        Err(StoreError::OtherKey.into())
    }

    async fn token(
        &self,
        name: &CredentialName,
        tokens: &[u8],
        expires_at: Option<Timestamp>,
    ) -> Result<Token, ArchiveFault> {
        Ok(Token { sealed: self.seal(&Content::Grant(name.to_string()), tokens).await?, expires_at })
    }

    /// The keys, and the one that the store is sealed under; on first need both are settled.
    async fn current(&self) -> Result<(Arc<Keyring>, KeyId), ArchiveFault> {
        let proof = match self.store.proof().await? {
            Some(proof) => proof,
            None => self.settle().await?,
        };
        Ok((self.opens(&proof).await?, proof.key()))
    }

    /// Settles on a master key for a store that has nothing sealed yet; of several that do so at once one is first.
    async fn settle(&self) -> Result<Sealed, ArchiveFault> {
        // The file, or that there is none, comes before the key beside it.
        self.store.make().await?;
        let ring = match self.key.read(&self.withheld).await? {
            Some(ring) => ring,
            None if self.store.is_lasting() => self.key.make(&self.withheld).await?,
            None => MasterKey::Passing.make(&self.withheld).await?,
        };
        let proof = prove(&ring)?;
        let first = ring.first();
        self.ring.store(Some(Arc::new(ring)));
        let settled = self.store.settle_on(&proof).await?;
        if settled.key() != first {
            self.ring.store(None);
        }
        Ok(settled)
    }

    /// The keys, when they open the proof of the store.
    async fn opens(&self, proof: &Sealed) -> Result<Arc<Keyring>, ArchiveFault> {
        let ring = self.ring_with(proof.key()).await?;
        ring.open(PROOF, proof).map_err(|_| ArchiveFault::Broken { of: "the store itself".to_owned() })?;
        Ok(ring)
    }

    /// The keys, with that one among them; read again when it was not there the last time.
    async fn ring_with(&self, id: KeyId) -> Result<Arc<Keyring>, ArchiveFault> {
        if let Some(ring) = self.ring.load_full().filter(|ring| ring.has(id)) {
            return Ok(ring);
        }
        let ring = self.read().await?.ok_or(ArchiveFault::OtherKey { wanted: id })?;
        let ring = Arc::new(ring);
        if !ring.has(id) {
            return Err(ArchiveFault::OtherKey { wanted: id });
        }
        self.ring.store(Some(Arc::clone(&ring)));
        Ok(ring)
    }

    /// The keys as they are now.
    pub(super) async fn read(&self) -> Result<Option<Keyring>, ArchiveFault> {
        Ok(self.key.read(&self.withheld).await?)
    }

    /// Where the keys come from.
    pub(super) fn key(&self) -> &MasterKey {
        &self.key
    }

    /// Goes by these keys from now on.
    pub(super) fn go_by(&self, ring: Keyring) {
        self.ring.store(Some(Arc::new(ring)));
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The names that an identity is made of.
pub(super) struct Named {
    kind: &'static str,
    name: String,
    purpose: &'static str,
}

impl Named {
    pub(super) fn of(content: &Content) -> Self {
        match content {
            Content::Record(kind, name) => Self { kind: kind.as_str(), name: name.clone(), purpose: "secret" },
            Content::Grant(name) => Self { kind: "grant", name: name.clone(), purpose: "tokens" },
            Content::Passing(purpose, digest) => {
                let name = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                Self { kind: "passing", name, purpose: purpose.as_str() }
            }
        }
    }

    pub(super) fn identity(&self) -> Identity<'_> {
        Identity { kind: self.kind, name: &self.name, purpose: self.purpose }
    }
}

/// Something known, sealed under the first key of a ring.
pub(super) fn prove(ring: &Keyring) -> Result<Sealed, ArchiveFault> {
    let broken = |_| ArchiveFault::Broken { of: "the store itself".to_owned() };
    ring.seal(ring.first(), PROOF, b"closegate").map_err(broken)
}

fn told(fault: SealFault, content: &Content) -> ArchiveFault {
    match (fault, content) {
        (SealFault::OtherKey(wanted), _) => ArchiveFault::OtherKey { wanted },
        (SealFault::Broken, Content::Record(kind, name)) => ArchiveFault::Broken { of: format!("the {kind} `{name}`") },
        (SealFault::Broken, Content::Grant(name)) => ArchiveFault::Broken { of: format!("the grant `{name}`") },
        (SealFault::Broken, Content::Passing(purpose, _)) => {
            ArchiveFault::Broken { of: format!("an entry of `{}`", purpose.as_str()) }
        }
    }
}

/// Whose secret the proof of the store is.
const PROOF: Identity<'_> = Identity { kind: "store", name: "", purpose: "proof" };
/// How often something is sealed anew while the store is.
const TRIES: usize = 3;

#[cfg(test)]
mod tests;
