//! The store: what was added while the gateway runs, in SQLite, PostgreSQL or memory. Of secrets it knows sealed bytes.
//!
//! Every change is one transaction with its event, and tells whoever follows: in this process at once, in others within
//! a second. Nothing here waits longer than five seconds, but for a change of tables. A file is made when something is first written, not before.
//! It runs on the service thread; no request waits for it.

mod allowance;
mod event;
mod fault;
mod follow;
mod grant;
mod migrate;
mod open;
mod passing;
mod record;
mod reseal;
mod sealed;
mod sql;
mod usage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OnceCell, watch};

pub use self::allowance::{Ask, Given};
pub use self::event::{Event, Page, Recorded};
pub use self::fault::StoreError;
pub use self::grant::{Fence, Grant, GrantState, Token};
pub use self::passing::{Passing, Purpose};
pub use self::record::{Draft, Expected, Kind, Record, Step};
pub use self::reseal::Content;
pub use self::sealed::{KeyId, Sealed};
pub use self::usage::{Batch, By, Deed, LastUse, Only, Question, Sum, Used};

use self::sql::{Open, Session};

/// Where a store lies.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// In the memory of this process, gone with it.
    Memory,
    /// In an SQLite file.
    Sqlite {
        /// The file; `-wal`, `-shm` and `.lock` lie beside it.
        path: PathBuf,
        /// What to do where it cannot be made.
        otherwise: Otherwise,
    },
    /// In a PostgreSQL database, at this URL; it may hold a password, so it is never printed.
    Postgres(String),
}

/// What to do where the file of a store cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// Refuse.
    Refuse,
    /// Warn, and keep everything in memory.
    Memory,
}

/// Who opens a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A gateway: of an SQLite file it is the only one.
    Serving,
    /// The command line, to change something: beside a gateway or alone.
    Visiting,
    /// The command line, to look: nothing is changed, not even the version of the tables.
    Looking,
}

/// Whether the database works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It did when it was asked last.
    Up,
    /// It does not.
    Down {
        /// When that was first seen.
        since: Timestamp,
    },
}

/// Whether there is anything yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing was ever written.
    Absent,
    /// The database is there, and open.
    Open,
}

/// The store. Clones are the same one.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    place: Place,
    role: Role,
    open: OnceCell<Open>,
    records: watch::Sender<u64>,
    grants: watch::Sender<u64>,
    health: watch::Sender<Health>,
}

impl Store {
    /// The store at a place; nothing is opened before something asks for it.
    pub fn new(place: Place, role: Role) -> Self {
        let (records, grants) = (watch::Sender::new(0), watch::Sender::new(0));
        Self(Arc::new(Inner {
            place,
            role,
            open: OnceCell::new(),
            records,
            grants,
            health: watch::Sender::new(Health::Up),
        }))
    }

    /// The same, opened: whatever is wrong with it is told now. Nothing is made that is not there.
    pub async fn open(place: Place, role: Role) -> Result<Self, StoreError> {
        let store = Self::new(place, role);
        store.prepare().await?;
        Ok(store)
    }

    /// Opens what is there: connects, and brings the database to the version of this program unless it is only looked at.
    ///
    /// Later calls of anything else do so by themselves.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreachable`] may pass by itself; [`StoreError::Locked`], [`StoreError::Older`], [`StoreError::Newer`],
    /// [`StoreError::Unusable`] and [`StoreError::Corrupt`] need somebody to see to them.
    pub async fn prepare(&self) -> Result<Presence, StoreError> {
        Ok(self.known().await?.map_or(Presence::Absent, |_| Presence::Open))
    }

    /// Makes what is not there yet, and opens it.
    pub async fn make(&self) -> Result<(), StoreError> {
        self.made().await.map(drop)
    }

    /// Whether what is written outlives this process.
    pub fn is_lasting(&self) -> bool {
        let in_memory = |open: &Open| open.in_memory;
        self.0.place != Place::Memory && !self.0.open.get().is_some_and(in_memory)
    }

    /// Whether several gateways may serve from it.
    pub fn is_shared(&self) -> bool {
        matches!(self.0.place, Place::Postgres(_))
    }

    /// The database file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0.place {
            Place::Sqlite { path, .. } => Some(path),
            Place::Memory | Place::Postgres(_) => None,
        }
    }

    /// Ends every connection.
    pub async fn close(&self) {
        if let Some(open) = self.0.open.get() {
            open.pool.close().await;
        }
    }

    /// Whether the database works, as it was seen last.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.health.subscribe()
    }

    /// A connection to read by; none while nothing was ever written.
    async fn read(&self) -> Result<Option<Session>, StoreError> {
        let Some(open) = self.known().await? else { return Ok(None) };
        self.heed(open.pool.read().await).map(Some)
    }

    /// A transaction to change something in; the first one makes what is not there.
    async fn change(&self) -> Result<Session, StoreError> {
        let open = self.made().await?;
        self.heed(open.pool.change(open.pool.patience()).await)
    }

    /// A transaction in what is there; none while nothing was ever written.
    async fn change_known(&self) -> Result<Option<Session>, StoreError> {
        let Some(open) = self.known().await? else { return Ok(None) };
        self.heed(open.pool.change(open.pool.patience()).await).map(Some)
    }

    async fn change_known_within(&self, limit: Duration) -> Result<Option<Session>, StoreError> {
        let Some(open) = self.known().await? else { return Ok(None) };
        self.heed(open.pool.change(limit).await).map(Some)
    }

    async fn known(&self) -> Result<Option<&Open>, StoreError> {
        let known = self.0.open.initialized() || open::is_there(&self.0.place).await;
        if known { Ok(Some(self.made().await?).filter(|open| !open.is_blank)) } else { Ok(None) }
    }

    async fn made(&self) -> Result<&Open, StoreError> {
        match self.0.open.get() {
            Some(open) => Ok(open),
            None => self.heed(self.0.open.get_or_try_init(|| open::make(&self.0.place, self.0.role)).await),
        }
    }

    /// Notes by an answer when the database does not work. That one thing works says nothing of the others:
    /// [`Store::follow`] sees when all do.
    fn heed<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let Some(fault) = answer.as_ref().err().filter(|fault| fault.is_outage()) else { return answer };
        self.0.health.send_if_modified(|health| {
            let lost = *health == Health::Up;
            if lost {
                tracing::warn!("{fault}; hint: {}", fault.hint());
                *health = Health::Down { since: Timestamp::now() };
            }
            lost
        });
        answer
    }

    /// Whether the database was lost, and is not known to work again.
    fn is_down(&self) -> bool {
        *self.0.health.borrow() != Health::Up
    }

    /// Reads everything that a gateway goes by. A database that gives some of it does not work; one that gives all does.
    async fn examine(&self) -> Result<(), StoreError> {
        for kind in Kind::ALL {
            self.records(kind).await?;
        }
        self.disabled().await?;
        self.grants().await?;
        self.proof().await?;
        self.0.health.send_if_modified(|health| std::mem::replace(health, Health::Up) != Health::Up);
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.place).finish()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("Memory"),
            Self::Sqlite { path, .. } => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres"),
        }
    }
}

/// How long anything may take of a database that is a process of its own.
const LIMIT: Duration = Duration::from_secs(5);
