//! Records: credentials, routes and gateway keys that were added at run time, and what is disabled.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::event::{self, Event};
use super::fault::StoreError;
use super::grant;
use super::sealed::Sealed;
use super::sql::{Row, Session, Value};
use super::{Store, reseal};

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A credential of Close.
    Credential,
    /// A route.
    Route,
    /// A gateway key.
    Key,
}

/// A record as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Its name, one of its kind.
    pub name: String,
    /// Which change made it what it is; no two records ever have the same, also not one that was removed.
    pub version: u64,
    /// Everything about it that is no secret.
    pub body: Json,
    /// Its secret.
    pub sealed: Option<Sealed>,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A record that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it is.
    pub kind: Kind,
    /// Its name, one of its kind.
    pub name: String,
    /// Everything about it that is no secret.
    pub body: Json,
    /// Its secret.
    pub sealed: Option<Sealed>,
}

/// Which version of a record a change is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Any,
    /// This one; any other refuses the change.
    Version(u64),
}

/// One part of a change, of which all are made or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Adds a record, whose name must be free. The first key is remembered for ever ([`Store::keys_ever_defined`]).
    Insert(Draft),
    /// Writes over a record.
    Replace(Draft, Expected),
    /// Removes a record; with a credential its grant goes, and that it was disabled.
    Remove(Kind, String, Expected),
    /// Removes a record alone: what goes by its name is somebody else's, such as of a credential that the configuration
    /// declares.
    Discard(Kind, String, Expected),
    /// Takes a credential out of use, be it of the store or of the configuration file.
    Disable(String),
    /// Puts it to use again.
    Enable(String),
    /// Remembers that a gateway key was defined, wherever.
    DefineKeys,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Credential, Self::Route, Self::Key];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Route => "route",
            Self::Key => "key",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Store {
    /// Every record of a kind, by name.
    pub async fn records(&self, kind: Kind) -> Result<Vec<Record>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(Vec::new()) };
        let text = "SELECT name, version, body, sealed, updated_at FROM cg_records WHERE kind = $1 ORDER BY name";
        let rows = session.rows(text, vec![kind.as_str().into()]).await;
        self.heed(rows.and_then(|rows| rows.iter().map(|row| record(kind, row)).collect()))
    }

    /// One record.
    pub async fn record(&self, kind: Kind, name: &str) -> Result<Option<Record>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(None) };
        self.heed(find(&mut session, kind, name).await)
    }

    /// Adds a record, whose name must be free.
    pub async fn insert(&self, draft: Draft, event: &Event) -> Result<Record, StoreError> {
        let written = self.change_all(vec![Step::Insert(draft)], event).await?;
        written.into_iter().next().ok_or_else(|| StoreError::corrupt("a record was written and is not there"))
    }

    /// Writes over a record.
    pub async fn replace(&self, draft: Draft, expected: Expected, event: &Event) -> Result<Record, StoreError> {
        let written = self.change_all(vec![Step::Replace(draft, expected)], event).await?;
        written.into_iter().next().ok_or_else(|| StoreError::corrupt("a record was written and is not there"))
    }

    /// Removes a record; with a credential its grant goes, and that it was disabled.
    pub async fn remove(&self, kind: Kind, name: &str, expected: Expected, event: &Event) -> Result<(), StoreError> {
        self.change_all(vec![Step::Remove(kind, name.to_owned(), expected)], event).await.map(drop)
    }

    /// Makes several changes, all of them or none, with their event; gives the records that were written.
    ///
    /// # Errors
    ///
    /// [`StoreError::Taken`], [`StoreError::Changed`] and [`StoreError::Absent`] when records are not as the steps take
    /// them to be, [`StoreError::OtherKey`] when something was sealed under another key than the store is.
    pub async fn change_all(&self, steps: Vec<Step>, event: &Event) -> Result<Vec<Record>, StoreError> {
        let made = async {
            let mut session = self.change().await?;
            let version = session.advance(COUNTER).await?;
            let now = session.now().await?;
            let (mut written, mut grants) = (Vec::new(), None);
            for step in steps {
                if let Step::Remove(Kind::Credential, name, _) = &step {
                    grants = grant::remove(&mut session, name).await?.or(grants);
                }
                written.extend(take(&mut session, step, version, now).await?);
            }
            event::record(&mut session, event).await?;
            super::follow::announce(&mut session).await?;
            session.commit().await?;
            Ok((version, grants, written))
        };
        let (version, grants, written) = self.heed(made.await)?;
        self.told(version);
        if let Some(grants) = grants {
            self.told_of_grants(grants);
        }
        Ok(written)
    }

    /// The credentials that are disabled, those of the configuration file among them.
    pub async fn disabled(&self) -> Result<BTreeSet<String>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(BTreeSet::new()) };
        let rows = self.heed(session.rows("SELECT name FROM cg_disabled", Vec::new()).await)?;
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// Remembers for ever that a gateway key was defined, where it lies elsewhere than in the store. Nothing is made for that
    /// where there is no store yet.
    pub async fn note_keys(&self) -> Result<(), StoreError> {
        let noted = async {
            let Some(mut session) = self.change_known().await? else { return Ok(()) };
            define_keys(&mut session).await?;
            session.commit().await
        };
        self.heed(noted.await)
    }

    /// Whether a gateway key was ever defined, be it gone.
    pub async fn keys_ever_defined(&self) -> Result<bool, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(false) };
        let row = session.row("SELECT value FROM cg_counters WHERE name = 'keys'", Vec::new()).await;
        Ok(self.heed(row)?.map(|row| row.int(0)).transpose()?.is_some_and(|keys| keys > 0))
    }
}

async fn take(session: &mut Session, step: Step, version: u64, now: Timestamp) -> Result<Option<Record>, StoreError> {
    match step {
        Step::Insert(draft) => insert(session, draft, version, now).await.map(Some),
        Step::Replace(draft, expected) => replace(session, draft, expected, version, now).await.map(Some),
        Step::Remove(kind, name, expected) => remove(session, kind, &name, expected).await.map(|()| None),
        Step::Discard(kind, name, expected) => discard(session, kind, &name, expected).await.map(|()| None),
        Step::Disable(name) => {
            let text = "INSERT INTO cg_disabled (name, since) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            session.rows(text, vec![name.as_str().into(), now.into()]).await.map(|_| None)
        }
        Step::Enable(name) => {
            session.rows("DELETE FROM cg_disabled WHERE name = $1", vec![name.as_str().into()]).await.map(|_| None)
        }
        Step::DefineKeys => define_keys(session).await.map(|()| None),
    }
}

async fn insert(session: &mut Session, draft: Draft, version: u64, now: Timestamp) -> Result<Record, StoreError> {
    reseal::permit(session, draft.sealed.as_ref()).await?;
    if draft.kind == Kind::Key {
        define_keys(session).await?;
    }
    let text = "INSERT INTO cg_records (kind, name, version, body, sealed, updated_at) \
                VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING version";
    match session.row(text, values(&draft, version, now)).await? {
        Some(_) => Ok(written(draft, version, now)),
        None => Err(StoreError::Taken { kind: draft.kind, name: draft.name }),
    }
}

async fn replace(
    session: &mut Session,
    draft: Draft,
    expected: Expected,
    version: u64,
    now: Timestamp,
) -> Result<Record, StoreError> {
    reseal::permit(session, draft.sealed.as_ref()).await?;
    expect(session, draft.kind, &draft.name, expected).await?;
    let text = "UPDATE cg_records SET version = $3, body = $4, sealed = $5, updated_at = $6 \
                WHERE kind = $1 AND name = $2";
    session.rows(text, values(&draft, version, now)).await?;
    Ok(written(draft, version, now))
}

async fn discard(session: &mut Session, kind: Kind, name: &str, expected: Expected) -> Result<(), StoreError> {
    expect(session, kind, name, expected).await?;
    let text = "DELETE FROM cg_records WHERE kind = $1 AND name = $2";
    session.rows(text, vec![kind.as_str().into(), name.into()]).await.map(drop)
}

async fn remove(session: &mut Session, kind: Kind, name: &str, expected: Expected) -> Result<(), StoreError> {
    discard(session, kind, name, expected).await?;
    if kind == Kind::Credential {
        session.rows("DELETE FROM cg_disabled WHERE name = $1", vec![name.into()]).await?;
    }
    Ok(())
}

/// Changes of records come one after the other ([`Session::advance`]): what is found here stays so.
async fn expect(session: &mut Session, kind: Kind, name: &str, expected: Expected) -> Result<(), StoreError> {
    let found = find(session, kind, name).await?;
    let found = found.ok_or_else(|| StoreError::Absent { kind, name: name.to_owned() })?.version;
    match expected {
        Expected::Version(version) if version != found => {
            Err(StoreError::Changed { kind, name: name.to_owned(), found })
        }
        Expected::Version(_) | Expected::Any => Ok(()),
    }
}

async fn find(session: &mut Session, kind: Kind, name: &str) -> Result<Option<Record>, StoreError> {
    let text = "SELECT name, version, body, sealed, updated_at FROM cg_records WHERE kind = $1 AND name = $2";
    let row = session.row(text, vec![kind.as_str().into(), name.into()]).await?;
    row.map(|row| record(kind, &row)).transpose()
}

async fn define_keys(session: &mut Session) -> Result<(), StoreError> {
    session.rows("UPDATE cg_counters SET value = 1 WHERE name = 'keys'", Vec::new()).await.map(drop)
}

fn values(draft: &Draft, version: u64, now: Timestamp) -> Vec<Value> {
    let (kind, name) = (draft.kind.as_str().into(), draft.name.as_str().into());
    vec![kind, name, version.into(), (&draft.body).into(), draft.sealed.as_ref().into(), now.into()]
}

fn written(draft: Draft, version: u64, updated_at: Timestamp) -> Record {
    let Draft { kind, name, body, sealed } = draft;
    Record { kind, name, version, body, sealed, updated_at }
}

fn record(kind: Kind, row: &Row) -> Result<Record, StoreError> {
    Ok(Record {
        kind,
        name: row.text(0)?,
        version: row.count(1)?,
        body: row.json(2)?,
        sealed: row.maybe_sealed(3)?,
        updated_at: row.time(4)?,
    })
}

/// Moved on by every change of records.
pub(super) const COUNTER: &str = "records";
