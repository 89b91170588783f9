//! Seals the whole store under another master key, while gateways go on.
//!
//! The keys of a reference stand in order, and the first is the one to seal under. Where it is not yet the store's, all
//! is sealed anew under it. Where it is, a new one is put in front, if it lies in a file; the one before stays behind it
//! until everything is sealed anew. Gateways read their reference again when they meet a key that they do not have. Whatever
//! is interrupted may be begun again: at no time is anything sealed under a key that the reference lacks.

use std::path::PathBuf;

use super::archive::{Archive, ArchiveFault, Named, prove};
use super::master::{self, MasterKey, NoMasterKey};
use super::seal::Keyring;
use crate::store::{Content, KeyId, Sealed};

/// A master key that was given, not made.
pub struct GivenKey(Keyring);

/// What resealing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rekeyed {
    /// Nothing was sealed yet: there is nothing to do.
    Nothing,
    /// Everything is sealed under another key.
    Done {
        /// How many secrets there were.
        secrets: usize,
        /// The key that they were sealed under.
        before: KeyId,
        /// The key that they are sealed under.
        now: KeyId,
        /// The file that the key lies in now, if it was put there.
        file: Option<PathBuf>,
    },
}

impl GivenKey {
    /// Takes the Base64 of 32 bytes.
    pub fn parse(text: &[u8]) -> Result<Self, NoMasterKey> {
        match Keyring::parse(text) {
            Ok(ring) if ring.ids().count() == 1 => Ok(Self(ring)),
            _ => Err(NoMasterKey { what: "what was given is no master key".to_owned(), hint: master::MAKE }),
        }
    }
}

impl Archive {
    /// Seals everything under the first key of the reference, or under a new one that is put there.
    pub async fn rekey(&self, given: Option<GivenKey>) -> Result<Rekeyed, ArchiveFault> {
        let Some(proof) = self.store().proof().await? else { return Ok(Rekeyed::Nothing) };
        self.check().await?;
        let known = self.read().await?.ok_or(ArchiveFault::OtherKey { wanted: proof.key() })?;
        let before = proof.key();
        if given.is_none() && known.first() != before {
            let secrets = self.reseal(&known, before).await?;
            return self.tidy(Rekeyed::Done { secrets, before, now: known.first(), file: None }, &known).await;
        }
        let file = self.key().file().ok_or_else(elsewhere)?.to_owned();
        let new = match given {
            Some(GivenKey(ring)) => ring,
            None => Keyring::random().map_err(|_| master::no_randomness())?.0,
        };
        if known.has(new.first()) {
            return Err(same().into());
        }
        let both = known.behind(&new);
        master::replace(&file, &both).await?;
        let secrets = self.reseal(&both, before).await?;
        let now = new.first();
        master::replace(&file, &new).await?;
        self.go_by(new);
        Ok(Rekeyed::Done { secrets, before, now, file: Some(file) })
    }

    /// Takes the keys before out of the file that is this gateway's own. A reference may be read by others, who may not
    /// know the new key yet: what is in it is for whoever wrote it.
    async fn tidy(&self, rekeyed: Rekeyed, ring: &Keyring) -> Result<Rekeyed, ArchiveFault> {
        match (self.key(), rekeyed) {
            (MasterKey::Beside(path), Rekeyed::Done { secrets, before, now, .. }) => {
                let first = ring.only_first();
                master::replace(path, &first).await?;
                self.go_by(first);
                Ok(Rekeyed::Done { secrets, before, now, file: Some(path.clone()) })
            }
            (_, rekeyed) => Ok(rekeyed),
        }
    }

    async fn reseal(&self, ring: &Keyring, before: KeyId) -> Result<usize, ArchiveFault> {
        let proof = prove(ring)?;
        let resealed = self.store().reseal(&proof, |content, sealed| anew(ring, content, sealed)).await?;
        self.go_by(ring.clone());
        tracing::info!(%before, now = %ring.first(), secrets = resealed, "the store is sealed under another master key");
        Ok(resealed)
    }
}

fn anew(ring: &Keyring, content: &Content, sealed: &Sealed) -> Option<Sealed> {
    let named = Named::of(content);
    let secret = ring.open(named.identity(), sealed).ok()?;
    ring.seal(ring.first(), named.identity(), secret.expose()).ok()
}

fn elsewhere() -> NoMasterKey {
    NoMasterKey {
        what: "a new master key cannot be put where this one comes from".to_owned(),
        hint: "put one in front of it, with a blank or a line break between the two, and run this again; `openssl rand \
               -base64 32` makes one",
    }
}

fn same() -> NoMasterKey {
    NoMasterKey { what: "the master key that was given is in use already".to_owned(), hint: master::MAKE }
}
