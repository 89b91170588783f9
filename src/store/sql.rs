//! One way to ask two databases: statements with `$1`, values and cells of the three types that the store needs.
//!
//! Everything has an end: what is not done by the session's deadline is given up, and its connection with it.

use std::fs::File;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use sqlx::{Column, Database, Decode, Postgres, Sqlite, Transaction, Type, TypeInfo, ValueRef};
use tokio::time::Instant;

use super::fault::StoreError;
use super::sealed::Sealed;

/// A database that is open.
pub(super) struct Open {
    pub(super) pool: Pool,
    /// Held while a gateway serves from the file.
    #[expect(dead_code, reason = "it is there to be dropped with the rest")]
    pub(super) serving: Option<File>,
    /// Whether it is gone with the process.
    pub(super) in_memory: bool,
    /// Whether it has no tables, and is not to be given any.
    pub(super) is_blank: bool,
}

/// Connections to one of the two.
#[derive(Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A value that a statement takes.
pub(super) enum Value {
    Int(i64),
    MaybeInt(Option<i64>),
    Text(String),
    MaybeText(Option<String>),
    Blob(Vec<u8>),
    MaybeBlob(Option<Vec<u8>>),
}

/// One row of an answer.
pub(super) struct Row(Vec<Cell>);

enum Cell {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// A connection that is asked one thing after the other, in a transaction or without.
///
/// One of PostgreSQL that is dropped within a transaction, or before it has answered, is closed, which undoes what was
/// begun: whether the other side still answers is not waited for.
pub(super) struct Session {
    connection: Option<Connection>,
    /// Whether something was asked, and the answer not awaited yet.
    asking: bool,
    deadline: Instant,
    limit: Duration,
}

enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    SqliteChange(Transaction<'static, Sqlite>),
    Postgres(PoolConnection<Postgres>),
    PostgresChange(PoolConnection<Postgres>),
}

impl Open {
    /// One of a gateway or of nobody in particular, that outlives the process.
    pub(super) fn of(pool: Pool) -> Self {
        Self { pool, serving: None, in_memory: false, is_blank: false }
    }
}

impl Pool {
    /// How long anything may take. A file is slow only where its disk is busy with something else, and then it helps
    /// nobody to give up early: there is no other way to it.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Sqlite(_) => SLOW_DISK,
            Self::Postgres(_) => super::LIMIT,
        }
    }

    /// A connection for statements that stand alone.
    pub(super) async fn read(&self) -> Result<Session, StoreError> {
        let limit = self.patience();
        let deadline = Instant::now() + limit;
        let acquired = Box::pin(async {
            Ok(match self {
                Self::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
                Self::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
            })
        });
        Ok(Session::new(within(deadline, limit, acquired).await?, deadline, limit))
    }

    /// A connection within a transaction. SQLite's has the right to write from its beginning, so that it never fails
    /// on the way.
    pub(super) async fn change(&self, limit: Duration) -> Result<Session, StoreError> {
        let deadline = Instant::now() + limit;
        let pool = match self {
            Self::Sqlite(pool) => {
                let begun = within(deadline, limit, Box::pin(begin(pool)));
                return Ok(Session::new(Connection::SqliteChange(begun.await?), deadline, limit));
            }
            Self::Postgres(pool) => pool,
        };
        let connection = within(deadline, limit, Box::pin(async { Ok(pool.acquire().await?) })).await?;
        let mut session = Session::new(Connection::PostgresChange(connection), deadline, limit);
        session.run("BEGIN").await?;
        Ok(session)
    }

    /// Ends every connection; those of others end by themselves.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Session {
    fn new(connection: Connection, deadline: Instant, limit: Duration) -> Self {
        Self { connection: Some(connection), asking: false, deadline, limit }
    }

    /// Whether it is one of PostgreSQL.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.connection, Some(Connection::Postgres(_) | Connection::PostgresChange(_)))
    }

    /// The time that expiries are measured by, in whole milliseconds: of PostgreSQL its own, so that the clocks of replicas do not matter.
    pub(super) async fn now(&mut self) -> Result<jiff::Timestamp, StoreError> {
        if !self.is_shared() {
            let millis = jiff::Timestamp::now().as_millisecond();
            return jiff::Timestamp::from_millisecond(millis).map_err(|_| unexpected("a time"));
        }
        let row = self.row("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", Vec::new()).await?;
        row.ok_or_else(|| unexpected("a time"))?.time(0)
    }

    /// Moves a counter on, and gives its new value. Whoever else moves it waits until this transaction is over, so
    /// that changes of one kind come one after the other.
    pub(super) async fn advance(&mut self, counter: &'static str) -> Result<u64, StoreError> {
        let text = "UPDATE cg_counters SET value = value + 1 WHERE name = $1 RETURNING value";
        let row = self.row(text, vec![counter.into()]).await?;
        row.ok_or_else(|| unexpected("a counter"))?.count(0)
    }

    /// Asks for rows.
    pub(super) async fn rows(&mut self, text: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        let asked = Box::pin(async {
            match connection {
                Connection::Sqlite(one) => of_sqlite(text, values, one).await,
                Connection::SqliteChange(one) => of_sqlite(text, values, one).await,
                Connection::Postgres(one) | Connection::PostgresChange(one) => of_postgres(text, values, one).await,
            }
        });
        self.asking = true;
        let answer = within(self.deadline, self.limit, asked).await;
        self.settle(&answer);
        answer
    }

    /// Asks for one row, or none.
    pub(super) async fn row(&mut self, text: &'static str, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(text, values).await?.into_iter().next())
    }

    /// Runs statements without values.
    pub(super) async fn run(&mut self, text: &'static str) -> Result<(), StoreError> {
        let connection = self.connection.as_mut().ok_or_else(gone)?;
        let run = Box::pin(async {
            match connection {
                Connection::Sqlite(one) => sqlx::raw_sql(text).execute(&mut **one).await.map(|_| ()),
                Connection::SqliteChange(one) => sqlx::raw_sql(text).execute(&mut **one).await.map(|_| ()),
                Connection::Postgres(one) | Connection::PostgresChange(one) => {
                    sqlx::raw_sql(text).execute(&mut **one).await.map(|_| ())
                }
            }
            .map_err(StoreError::from)
        });
        self.asking = true;
        let done = within(self.deadline, self.limit, run).await;
        self.settle(&done);
        done
    }

    /// Makes what was changed last: durable when this returns.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        match self.connection.take() {
            Some(Connection::SqliteChange(change)) => {
                within(self.deadline, self.limit, Box::pin(async { Ok(change.commit().await?) })).await
            }
            Some(change @ Connection::PostgresChange(_)) => {
                self.connection = Some(change);
                self.run("COMMIT").await?;
                if let Some(Connection::PostgresChange(one)) = self.connection.take() {
                    self.connection = Some(Connection::Postgres(one));
                }
                Ok(())
            }
            Some(Connection::Sqlite(_) | Connection::Postgres(_)) => Ok(()),
            None => Err(gone()),
        }
    }

    /// A connection of PostgreSQL that did not answer is not used again.
    fn settle<T>(&mut self, answer: &Result<T, StoreError>) {
        self.asking = false;
        if !matches!(answer, Err(StoreError::Unreachable { .. })) {
            return;
        }
        if let Some(Connection::Postgres(one) | Connection::PostgresChange(one)) = self.connection.take() {
            drop(one.detach());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        match self.connection.take() {
            Some(Connection::PostgresChange(one)) => drop(one.detach()),
            Some(Connection::Postgres(one)) if self.asking => drop(one.detach()),
            _ => {}
        }
    }
}

impl Row {
    pub(super) fn int(&self, at: usize) -> Result<i64, StoreError> {
        self.maybe_int(at)?.ok_or_else(|| unexpected("a number"))
    }

    /// A number that never is negative.
    pub(super) fn count(&self, at: usize) -> Result<u64, StoreError> {
        u64::try_from(self.int(at)?).map_err(|_| unexpected("a count"))
    }

    pub(super) fn maybe_int(&self, at: usize) -> Result<Option<i64>, StoreError> {
        match self.0.get(at) {
            Some(Cell::Int(number)) => Ok(Some(*number)),
            Some(Cell::Null) => Ok(None),
            _ => Err(unexpected("a number")),
        }
    }

    pub(super) fn text(&self, at: usize) -> Result<String, StoreError> {
        self.maybe_text(at)?.ok_or_else(|| unexpected("a text"))
    }

    pub(super) fn maybe_text(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self.0.get(at) {
            Some(Cell::Text(text)) => Ok(Some(text.clone())),
            Some(Cell::Null) => Ok(None),
            _ => Err(unexpected("a text")),
        }
    }

    pub(super) fn maybe_blob(&self, at: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.get(at) {
            Some(Cell::Blob(bytes)) => Ok(Some(bytes.clone())),
            Some(Cell::Null) => Ok(None),
            _ => Err(unexpected("bytes")),
        }
    }

    pub(super) fn blob(&self, at: usize) -> Result<Vec<u8>, StoreError> {
        self.maybe_blob(at)?.ok_or_else(|| unexpected("bytes"))
    }

    pub(super) fn maybe_sealed(&self, at: usize) -> Result<Option<Sealed>, StoreError> {
        let sealed = |bytes| Sealed::parse(bytes).ok_or_else(|| unexpected("something sealed"));
        self.maybe_blob(at)?.map(sealed).transpose()
    }

    pub(super) fn json(&self, at: usize) -> Result<serde_json::Value, StoreError> {
        serde_json::from_str(&self.text(at)?).map_err(|_| unexpected("JSON"))
    }

    pub(super) fn time(&self, at: usize) -> Result<jiff::Timestamp, StoreError> {
        jiff::Timestamp::from_millisecond(self.int(at)?).map_err(|_| unexpected("a time"))
    }

    pub(super) fn maybe_time(&self, at: usize) -> Result<Option<jiff::Timestamp>, StoreError> {
        let time = |at| jiff::Timestamp::from_millisecond(at).map_err(|_| unexpected("a time"));
        self.maybe_int(at)?.map(time).transpose()
    }
}

impl From<&Sealed> for Value {
    fn from(sealed: &Sealed) -> Self {
        Self::Blob(sealed.as_bytes().to_vec())
    }
}

impl From<Option<&Sealed>> for Value {
    fn from(sealed: Option<&Sealed>) -> Self {
        Self::MaybeBlob(sealed.map(|sealed| sealed.as_bytes().to_vec()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    /// Counts that grow by one stay far below the largest number.
    fn from(count: u64) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<jiff::Timestamp> for Value {
    fn from(at: jiff::Timestamp) -> Self {
        Self::Int(at.as_millisecond())
    }
}

impl From<Option<jiff::Timestamp>> for Value {
    fn from(at: Option<jiff::Timestamp>) -> Self {
        Self::MaybeInt(at.map(jiff::Timestamp::as_millisecond))
    }
}

impl From<&serde_json::Value> for Value {
    fn from(body: &serde_json::Value) -> Self {
        Self::Text(body.to_string())
    }
}

/// A transaction that has the right to write. SQLite ends one by itself when its disk is full, which the library does not
/// notice: it takes the next for one within it, and the connection is of no more use.
async fn begin(pool: &sqlx::SqlitePool) -> Result<sqlx::Transaction<'static, Sqlite>, StoreError> {
    match pool.begin_with("BEGIN IMMEDIATE").await {
        Err(sqlx::Error::InvalidSavePointStatement) => {
            pool.acquire().await?.close().await?;
            Ok(pool.begin_with("BEGIN IMMEDIATE").await?)
        }
        begun => Ok(begun?),
    }
}

async fn of_sqlite(
    text: &'static str,
    values: Vec<Value>,
    connection: &mut sqlx::SqliteConnection,
) -> Result<Vec<Row>, StoreError> {
    let mut query = sqlx::query::<Sqlite>(text);
    for value in values {
        query = match value {
            Value::Int(value) => query.bind(value),
            Value::MaybeInt(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::MaybeText(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
            Value::MaybeBlob(value) => query.bind(value),
        };
    }
    query.fetch_all(connection).await?.iter().map(cells).collect()
}

async fn of_postgres(
    text: &'static str,
    values: Vec<Value>,
    connection: &mut sqlx::PgConnection,
) -> Result<Vec<Row>, StoreError> {
    let mut query = sqlx::query::<Postgres>(text);
    for value in values {
        query = match value {
            Value::Int(value) => query.bind(value),
            Value::MaybeInt(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::MaybeText(value) => query.bind(value),
            Value::Blob(value) => query.bind(value),
            Value::MaybeBlob(value) => query.bind(value),
        };
    }
    query.fetch_all(connection).await?.iter().map(cells).collect()
}

fn cells<'r, R>(row: &'r R) -> Result<Row, StoreError>
where
    R: sqlx::Row,
    usize: sqlx::ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let cell = |column: &<R::Database as Database>::Column| {
        let at = column.ordinal();
        let value = row.try_get_raw(at)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let kind = value.type_info().name().to_owned();
        Ok(match kind.as_str() {
            "INTEGER" | "INT8" | "INT4" | "BIGINT" => Cell::Int(row.try_get(at)?),
            "TEXT" | "VARCHAR" => Cell::Text(row.try_get(at)?),
            "BLOB" | "BYTEA" => Cell::Blob(row.try_get(at)?),
            _ => return Err(unexpected("a number, a text or bytes")),
        })
    };
    Ok(Row(row.columns().iter().map(cell).collect::<Result<_, _>>()?))
}

/// Boxed: what the library makes of a query is large, and stands in everything that waits for one.
async fn within<T>(
    deadline: Instant,
    limit: Duration,
    work: BoxFuture<'_, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |_| StoreError::unreachable(format!("no answer within {} s", limit.as_secs()));
    tokio::time::timeout_at(deadline, work).await.map_err(late)?
}

/// How long a commit to a file may take.
pub(super) const SLOW_DISK: Duration = Duration::from_secs(30);

fn gone() -> StoreError {
    StoreError::unreachable("the connection is gone")
}

fn unexpected(wanted: &str) -> StoreError {
    StoreError::corrupt(format!("expected {wanted}"))
}
