//! Which key everything is sealed under, and the change to another one: in one transaction, for all that is sealed.

use std::time::Duration;

use super::event::{self, Event};
use super::fault::StoreError;
use super::passing::Purpose;
use super::record::Kind;
use super::sealed::Sealed;
use super::sql::{Row, Session, Value};
use super::{Store, follow, grant, record};

/// Whose secret something sealed is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// That of a record.
    Record(Kind, String),
    /// The tokens of a grant, by the name of its credential.
    Grant(String),
    /// That of something that passes.
    Passing(Purpose, [u8; 32]),
}

impl Store {
    /// Something known, sealed under the key that everything is; none while nothing was sealed yet.
    pub async fn proof(&self) -> Result<Option<Sealed>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(None) };
        self.heed(proof(&mut session).await)
    }

    /// Settles on the key that everything is sealed under, unless that was done before; gives the proof that holds.
    pub async fn settle_on(&self, proposed: &Sealed) -> Result<Sealed, StoreError> {
        let settled = async {
            let mut session = self.change().await?;
            let text = "INSERT INTO cg_seal (id, proof) VALUES (1, $1) ON CONFLICT DO NOTHING";
            session.rows(text, vec![proposed.into()]).await?;
            let proof = proof(&mut session).await?.ok_or_else(|| StoreError::corrupt("its seal is missing"))?;
            session.commit().await?;
            Ok(proof)
        };
        self.heed(settled.await)
    }

    /// Seals everything anew, and settles on the key of the new proof: all of it with its event, or nothing. Gives how many
    /// there were.
    ///
    /// What somebody seals meanwhile under the key before is refused ([`StoreError::OtherKey`]). What `anew` gives none
    /// for is removed if it is passing; of anything else that is an error, and nothing is changed.
    pub async fn reseal<F>(&self, new: &Sealed, event: &Event, mut anew: F) -> Result<usize, StoreError>
    where
        F: FnMut(&Content, &Sealed) -> Option<Sealed> + Send,
    {
        let resealed = async {
            let Some(mut session) = self.change_known_within(LIMIT).await? else { return Ok((0, 0, 0)) };
            if session.is_shared() {
                session.run("SET LOCAL statement_timeout = '600s'; SET LOCAL lock_timeout = '60s'").await?;
            }
            // Whoever changes records or grants waits, in the same order as here.
            let records = session.advance(record::COUNTER).await?;
            let grants = session.advance(grant::COUNTER).await?;
            session.rows("UPDATE cg_seal SET proof = $1 WHERE id = 1", vec![new.into()]).await?;
            let count = reseal_records(&mut session, &mut anew).await?
                + reseal_grants(&mut session, &mut anew).await?
                + reseal_passing(&mut session, &mut anew).await?;
            event::record(&mut session, event).await?;
            follow::announce(&mut session).await?;
            session.commit().await?;
            Ok((records, grants, count))
        };
        let (records, grants, count) = self.heed(resealed.await)?;
        self.told(records);
        self.told_of_grants(grants);
        Ok(count)
    }
}

type Anew<'a> = dyn FnMut(&Content, &Sealed) -> Option<Sealed> + Send + 'a;

async fn reseal_records(session: &mut Session, anew: &mut Anew<'_>) -> Result<usize, StoreError> {
    let text = "SELECT name, sealed, kind FROM cg_records WHERE sealed IS NOT NULL";
    let rows = session.rows(text, Vec::new()).await?;
    for row in &rows {
        let (name, word) = (row.text(0)?, row.text(2)?);
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
        let kind = kind.ok_or_else(|| StoreError::corrupt("a record of an unknown kind"))?;
        let sealed = anew(&Content::Record(kind, name.clone()), &sealed(row)?).ok_or_else(|| unopened(kind, &name))?;
        let text = "UPDATE cg_records SET sealed = $1 WHERE kind = $2 AND name = $3";
        session.rows(text, vec![(&sealed).into(), word.as_str().into(), name.as_str().into()]).await?;
    }
    Ok(rows.len())
}

async fn reseal_grants(session: &mut Session, anew: &mut Anew<'_>) -> Result<usize, StoreError> {
    let rows = session.rows("SELECT name, sealed FROM cg_grants WHERE sealed IS NOT NULL", Vec::new()).await?;
    for row in &rows {
        let name = row.text(0)?;
        let sealed = anew(&Content::Grant(name.clone()), &sealed(row)?);
        let sealed = sealed.ok_or_else(|| StoreError::corrupt(format!("the grant `{name}` cannot be opened")))?;
        let text = "UPDATE cg_grants SET sealed = $1 WHERE name = $2";
        session.rows(text, vec![(&sealed).into(), name.as_str().into()]).await?;
    }
    Ok(rows.len())
}

async fn reseal_passing(session: &mut Session, anew: &mut Anew<'_>) -> Result<usize, StoreError> {
    let text = "SELECT digest, sealed, purpose FROM cg_passing WHERE sealed IS NOT NULL";
    let rows = session.rows(text, Vec::new()).await?;
    for row in &rows {
        let (digest, word) = (row.blob(0)?, row.text(2)?);
        let purpose = Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == word);
        let known = <[u8; 32]>::try_from(digest.as_slice()).ok().zip(purpose);
        let sealed = match known {
            Some((digest, purpose)) => anew(&Content::Passing(purpose, digest), &sealed(row)?),
            None => None,
        };
        let key = [Value::from(word.as_str()), Value::Blob(digest)];
        match sealed {
            Some(sealed) => {
                let text = "UPDATE cg_passing SET sealed = $3 WHERE purpose = $1 AND digest = $2";
                session.rows(text, key.into_iter().chain([(&sealed).into()]).collect()).await?;
            }
            None => {
                let text = "DELETE FROM cg_passing WHERE purpose = $1 AND digest = $2";
                session.rows(text, key.into()).await?;
            }
        }
    }
    Ok(rows.len())
}

/// Refuses what is sealed under another key than the store, as part of the transaction that would write it.
pub(super) async fn permit(session: &mut Session, sealed: Option<&Sealed>) -> Result<(), StoreError> {
    let Some(sealed) = sealed else { return Ok(()) };
    let proof = proof(session).await?;
    let same = proof.is_some_and(|proof| proof.key() == sealed.key());
    if same { Ok(()) } else { Err(StoreError::OtherKey) }
}

async fn proof(session: &mut Session) -> Result<Option<Sealed>, StoreError> {
    let row = session.row("SELECT proof FROM cg_seal WHERE id = 1", Vec::new()).await?;
    row.map(|row| sealed_at(&row, 0)).transpose()
}

fn sealed(row: &Row) -> Result<Sealed, StoreError> {
    sealed_at(row, 1)
}

fn sealed_at(row: &Row, at: usize) -> Result<Sealed, StoreError> {
    row.maybe_sealed(at)?.ok_or_else(|| StoreError::corrupt("something sealed is missing"))
}

fn unopened(kind: Kind, name: &str) -> StoreError {
    StoreError::corrupt(format!("the secret of the {kind} `{name}` cannot be opened"))
}

/// A store may hold much, and others are waited for.
const LIMIT: Duration = Duration::from_secs(600);
