//! Brings a database to the version that this program knows, once, however many start at the same time.

use std::time::Duration;

use super::fault::StoreError;
use super::sql::{Pool, Session};

/// The steps from nothing to the newest version; each is one text for both databases. One that was released never
/// changes.
const STEPS: [&str; 2] = [include_str!("migrations/0001_store.sql"), include_str!("migrations/0002_usage.sql")];

/// The newest version.
pub(super) const NEWEST: u64 = STEPS.len() as u64;

/// Takes the steps that were not taken yet, all of them or none, under a lock.
pub(super) async fn run(pool: &Pool) -> Result<(), StoreError> {
    if known(&mut pool.read().await?).await? == Some(NEWEST) {
        return Ok(());
    }
    let mut session = pool.change(LIMIT).await?;
    if session.is_shared() {
        // The lock ends with the transaction.
        session.run("SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '60s'").await?;
        session.rows("SELECT pg_advisory_xact_lock($1)::text", vec![super::sql::Value::Int(LOCK)]).await?;
    }
    let found = version(&mut session).await?;
    if found > NEWEST {
        return Err(StoreError::Newer { found, known: NEWEST });
    }
    for (step, text) in (1..).zip(STEPS).filter(|(step, _)| *step > found) {
        session.run(text).await?;
        session.rows("UPDATE cg_schema SET version = $1", vec![step.into()]).await?;
    }
    session.commit().await
}

/// What of its tables a database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    /// None.
    None,
    /// Those that this program knows.
    Known,
}

/// Looks whether the tables are those that this program knows, and leaves them as they are.
pub(super) async fn look(pool: &Pool) -> Result<Tables, StoreError> {
    match known(&mut pool.read().await?).await? {
        None | Some(0) => Ok(Tables::None),
        Some(NEWEST) => Ok(Tables::Known),
        Some(found) if found > NEWEST => Err(StoreError::Newer { found, known: NEWEST }),
        Some(found) => Err(StoreError::Older { found, known: NEWEST }),
    }
}

/// The version of the database, made 0 where there is nothing yet.
async fn version(session: &mut Session) -> Result<u64, StoreError> {
    if let Some(known) = known(session).await? {
        return Ok(known);
    }
    session.run("CREATE TABLE cg_schema (version BIGINT NOT NULL); INSERT INTO cg_schema VALUES (0)").await?;
    Ok(0)
}

/// The version of the database; none where there is nothing yet.
async fn known(session: &mut Session) -> Result<Option<u64>, StoreError> {
    let tables = if session.is_shared() {
        "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'cg_schema'"
    } else {
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'cg_schema'"
    };
    let tables = session.row(tables, Vec::new()).await?;
    if !tables.is_some_and(|row| row.int(0).is_ok_and(|tables| tables > 0)) {
        return Ok(None);
    }
    let row = session.row("SELECT version FROM cg_schema", Vec::new()).await?;
    row.ok_or_else(|| StoreError::corrupt("its version is missing"))?.count(0).map(Some)
}

/// A table may be large, and who comes second waits for who came first.
const LIMIT: Duration = Duration::from_secs(60);
/// `closegat` in ASCII: advisory locks are shared by everything that uses the database.
const LOCK: i64 = 0x636c_6f73_6567_6174;
