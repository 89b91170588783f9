//! Opens a database: SQLite's file with its lock, PostgreSQL's connections, or memory.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::fault::StoreError;
use super::migrate::{self, Tables};
use super::sql::SLOW_DISK;
use super::sql::{Open, Pool};
use super::{LIMIT, Otherwise, Place, Role};
use crate::task;

/// Whether there is something to open, without making it.
pub(super) async fn is_there(place: &Place) -> bool {
    match place {
        Place::Memory => false,
        Place::Postgres(_) => true,
        Place::Sqlite { path, .. } => {
            let path = path.clone();
            // One that may not be looked for is not taken for none.
            task::blocking(move || path.try_exists().unwrap_or(true)).await.unwrap_or(true)
        }
    }
}

/// Whether there certainly is no such file: what may not be looked for may well be there, and with it what closes routes.
fn is_surely_absent(path: &Path) -> bool {
    match path.try_exists() {
        Ok(exists) => !exists,
        Err(error) => error.kind() == io::ErrorKind::NotADirectory,
    }
}

/// Opens it, made where it is not there yet, and at the version of this program; as it is where it is only looked at.
pub(super) async fn make(place: &Place, role: Role) -> Result<Open, StoreError> {
    let open = match place {
        Place::Memory => memory(),
        Place::Postgres(url) => Open::of(postgres(url, role)?),
        Place::Sqlite { path, otherwise } => match file(path.clone(), role).await {
            // What is there and cannot be used is not left out in silence.
            Err(StoreError::Unusable { what }) if *otherwise == Otherwise::Memory && is_surely_absent(path) => {
                tracing::warn!("{what}: what is added is kept in memory; hint: set `data_dir` to a folder to write to");
                memory()
            }
            opened => opened?,
        },
    };
    let tables = match role {
        Role::Serving | Role::Visiting => migrate::run(&open.pool).await.map(|()| Tables::Known),
        Role::Looking => migrate::look(&open.pool).await,
    };
    match tables {
        Ok(tables) => Ok(Open { is_blank: tables == Tables::None, ..open }),
        Err(error) => {
            open.pool.close().await;
            Err(error)
        }
    }
}

/// One connection, kept: with it the database would go.
fn memory() -> Open {
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let options = SqliteConnectOptions::new().in_memory(true).foreign_keys(true).disable_statement_logging();
    Open { in_memory: true, ..Open::of(Pool::Sqlite(pool.connect_lazy_with(options))) }
}

/// One connection as well: the file has one writer at a time, and whoever reads waits for no longer than a write takes.
async fn file(path: PathBuf, role: Role) -> Result<Open, StoreError> {
    let options = SqliteConnectOptions::new().filename(&path).busy_timeout(BUSY).foreign_keys(true);
    let options = options.disable_statement_logging();
    let (options, serving) = if role == Role::Looking {
        (options.pragma("query_only", "ON"), None)
    } else {
        let prepared = task::blocking(move || Ok((prepare(&path, role)?, has_log(&path)))).await;
        let (serving, has_log) = prepared.unwrap_or_else(|| Err(StoreError::unusable("its file cannot be made")))?;
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        if !has_log {
            begin_log(&options).await?;
        }
        (options, serving)
    };
    let pool =
        SqlitePoolOptions::new().max_connections(1).acquire_timeout(SLOW_DISK).idle_timeout(None).max_lifetime(None);
    Ok(Open { serving, ..Open::of(Pool::Sqlite(pool.connect_lazy_with(options))) })
}

/// Gives a new file its write-ahead log (`journal_mode`). Where several make one at the same time, SQLite does not wait for
/// the others as it does later (`busy_timeout`), but refuses at once: the file is not theirs alone.
async fn begin_log(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let deadline = Instant::now() + BUSY;
    let begun = async {
        loop {
            match options.connect().await {
                Ok(connection) => return Ok(connection.close().await?),
                Err(sqlx::Error::Database(error)) if is_busy(&*error) && Instant::now() < deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    let late = |_| Err(StoreError::unreachable("no connection within the time for it"));
    tokio::time::timeout(SLOW_DISK, begun).await.unwrap_or_else(late)
}

/// Whether a file says that it is read by way of a log (<https://www.sqlite.org/fileformat.html#file_format_version_numbers>).
fn has_log(path: &Path) -> bool {
    let mut header = [0; 20];
    File::open(path).and_then(|mut file| file.read_exact(&mut header)).is_ok_and(|()| header[18..] == [2, 2])
}

/// SQLITE_BUSY, by its primary code.
fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

/// Makes folder and file for this user alone, and takes the lock of the one gateway that serves from it.
fn prepare(path: &Path, role: Role) -> Result<Option<File>, StoreError> {
    let cannot = |what: &str, path: &Path, error: &io::Error| {
        StoreError::unusable(format!("{what} `{}` cannot be made ({})", path.display(), error.kind()))
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| cannot("the folder", folder, &error))?;
    }
    // SQLite gives the files beside it the permissions of this one.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|error| cannot("the file", path, &error))?;
    match role {
        Role::Serving => lock(path).map(Some),
        Role::Visiting | Role::Looking => Ok(None),
    }
}

/// The lock lies in a file of its own, which stays: SQLite's own locks are not to be touched, and the system lets go of
/// this one whatever way the process ends.
fn lock(path: &Path) -> Result<File, StoreError> {
    // Beside the file itself, whatever links lead to it.
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = file.into_os_string();
    name.push(".lock");
    let name = PathBuf::from(name);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
    let file = file.map_err(|error| {
        StoreError::unusable(format!("the file `{}` cannot be made ({})", name.display(), error.kind()))
    })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(error) => Err(StoreError::unusable(format!("`{}` cannot be locked ({error})", name.display()))),
    }
}

fn postgres(url: &str, role: Role) -> Result<Pool, StoreError> {
    let limits = if role == Role::Looking { LOOKING } else { LIMITS };
    let options = PgConnectOptions::from_str(url)?.application_name("closegate").disable_statement_logging();
    // By statements and not by options of the connection: poolers between refuse those.
    let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(LIMIT).after_connect(move |connection, _| {
        Box::pin(async move { sqlx::raw_sql(limits).execute(connection).await.map(drop) })
    });
    Ok(Pool::Postgres(pool.connect_lazy_with(options)))
}

/// How long SQLite waits for somebody else's transaction.
const BUSY: Duration = Duration::from_secs(4);
/// How soon it is tried again where SQLite does not wait.
const AGAIN: Duration = Duration::from_millis(5);
const LIMITS: &str =
    "SET statement_timeout = '5s'; SET lock_timeout = '4s'; SET idle_in_transaction_session_timeout = '10s'";
const LOOKING: &str = "SET statement_timeout = '5s'; SET default_transaction_read_only = on";
