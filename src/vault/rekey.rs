//! Seals the whole store under another master key, while gateways go on.
//!
//! The keys of a reference stand in order, and the first is the one to seal under. Where it is not yet the store's, all
//! is sealed anew under it. Where it is, a new one is put in front, if it lies in a file; the one before stays behind it
//! until everything is sealed anew. Gateways read their reference again when they meet a key that they do not have. Whatever
//! is interrupted may be begun again: at no time is anything sealed under a key that the reference lacks.

use std::path::PathBuf;

use serde_json::json;

use super::archive::{Archive, ArchiveFault, Named, prove};
use super::master::{self, Hold, MasterKey, NoMasterKey};
use super::seal::Keyring;
use crate::store::{Content, Event, KeyId, Sealed};

/// A master key that was given, not made.
pub struct GivenKey(Keyring);

/// What resealing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rekeyed {
    /// Nothing was sealed yet: there is nothing to do.
    Nothing,
    /// Everything is sealed under the key that was given already.
    Already {
        /// That key.
        now: KeyId,
    },
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
    /// Seals everything under the first key of the reference, or under a new one that is put there; `actor` is who has it
    /// done, as the event tells it.
    pub async fn rekey(&self, given: Option<GivenKey>, actor: &str) -> Result<Rekeyed, ArchiveFault> {
        let Some(proof) = self.store().proof().await? else { return Ok(Rekeyed::Nothing) };
        self.check().await?;
        // What is in the file stays so from here on.
        let file =
            self.key().file().map(|file| Ok::<_, NoMasterKey>((file.to_owned(), Hold::of(file)?))).transpose()?;
        let before = self.store().proof().await?.unwrap_or(proof).key();
        let known = self.read().await?.ok_or(ArchiveFault::OtherKey { wanted: before })?;
        let new = match given {
            Some(GivenKey(ring)) if ring.first() == before => {
                if known.first() == before {
                    self.tidy(&known, file.as_ref().map(|(_, hold)| hold)).await?;
                }
                return Ok(Rekeyed::Already { now: before });
            }
            Some(GivenKey(ring)) => Some(ring).filter(|ring| ring.first() != known.first()),
            None if known.first() != before => None,
            None => Some(Keyring::random().map_err(|_| master::no_randomness())?.0),
        };
        let Some(new) = new else {
            let secrets = self.reseal(&known, before, actor).await?;
            let file = self.tidy(&known, file.as_ref().map(|(_, hold)| hold)).await?;
            return Ok(Rekeyed::Done { secrets, before, now: known.first(), file });
        };
        if self.store().is_shared() {
            return Err(shared().into());
        }
        let (file, hold) = file.ok_or_else(elsewhere)?;
        let both = known.behind(&new);
        master::replace(&file, &both, &hold).await?;
        let secrets = self.reseal(&both, before, actor).await?;
        let now = new.first();
        master::replace(&file, &new, &hold).await?;
        self.go_by(new);
        Ok(Rekeyed::Done { secrets, before, now, file: Some(file) })
    }

    /// Takes the keys before out of the file that is this gateway's own. A reference may be read by others, who may not
    /// know the new key yet: what is in it is for whoever wrote it.
    async fn tidy(&self, ring: &Keyring, hold: Option<&Hold>) -> Result<Option<PathBuf>, ArchiveFault> {
        let (MasterKey::Beside(path), Some(hold)) = (self.key(), hold) else { return Ok(None) };
        let first = ring.only_first();
        master::replace(path, &first, hold).await?;
        self.go_by(first);
        Ok(Some(path.clone()))
    }

    async fn reseal(&self, ring: &Keyring, before: KeyId, actor: &str) -> Result<usize, ArchiveFault> {
        let (proof, now) = (prove(ring)?, ring.first());
        let event = Event::now(actor, "store.rekey", "store");
        let event = event.with(json!({ "before": before.to_string(), "now": now.to_string() }));
        let resealed = self.store().reseal(&proof, &event, |content, sealed| anew(ring, content, sealed)).await?;
        self.go_by(ring.clone());
        tracing::info!(%before, %now, secrets = resealed, "the store is sealed under another master key");
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

/// A key that is made here would be unknown to everybody else.
fn shared() -> NoMasterKey {
    NoMasterKey {
        what: "replicas may share this store, and would not know a master key that is put in this file alone"
            .to_owned(),
        hint: "put the new key in front of the one in use where every replica has its own, with a blank or a line break \
               between the two, and run this again; `openssl rand -base64 32` makes one",
    }
}
