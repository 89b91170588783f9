//! Tells of changes: those of this process at once, those of others when PostgreSQL notifies or a look shows them.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault::StoreError;
use super::sql::{Pool, Session};
use super::{Store, grant, record};

impl Store {
    /// Grows with every change of a record, of what is disabled, and of whether keys were ever defined. While
    /// [`Store::follow`] runs it grows within a second of a change that somebody else made.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.records.subscribe()
    }

    /// The same for grants.
    pub fn grant_changes(&self) -> watch::Receiver<u64> {
        self.0.grants.subscribe()
    }

    /// How many changes of records there were; 0 while nothing was ever written.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        Ok(self.look().await?.0)
    }

    /// Follows what others change and whether the database works, until it is dropped. One for a store.
    pub async fn follow(&self) -> Infallible {
        let ((), never) = tokio::join!(self.listen(), self.poll());
        never
    }

    /// Looks again and again, at PostgreSQL more rarely, since it tells by itself; while it is down more often.
    async fn poll(&self) -> Infallible {
        let mut swept = Instant::now();
        loop {
            // What went wrong is noted and logged once; whoever asks for something is told.
            let _ = self.look().await;
            if swept.elapsed() > SWEEP {
                swept = Instant::now();
                let _ = self.sweep().await;
            }
            tokio::time::sleep(if self.is_shared() && !self.is_down() { SLOW } else { PAUSE }).await;
        }
    }

    /// Waits for notifications of PostgreSQL; a connection that is lost is made again.
    async fn listen(&self) {
        if !self.is_shared() {
            return;
        }
        loop {
            if let Ok(Some(open)) = self.known().await
                && let Pool::Postgres(pool) = &open.pool
            {
                // Ends with a connection that is lost.
                let _ = self.hear(pool).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn hear(&self, pool: &PgPool) -> Result<Infallible, sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        loop {
            // What was changed before it listened, or while the connection was lost, is seen as well.
            let _ = self.look().await;
            // None: it had to connect again.
            listener.try_recv().await?;
        }
    }

    /// Reads the counters, and tells of what has changed.
    async fn look(&self) -> Result<(u64, u64), StoreError> {
        let counters = async {
            let Some(mut session) = self.read().await? else { return Ok((0, 0)) };
            let rows = session.rows("SELECT name, value FROM cg_counters", Vec::new()).await?;
            let mut counters = (0, 0);
            for row in &rows {
                match row.text(0)?.as_str() {
                    record::COUNTER => counters.0 = row.count(1)?,
                    grant::COUNTER => counters.1 = row.count(1)?,
                    _ => {}
                }
            }
            Ok(counters)
        };
        let (records, grants) = self.heed(counters.await)?;
        if self.is_down() {
            self.examine().await?;
        }
        self.told(records);
        self.told_of_grants(grants);
        Ok((records, grants))
    }

    /// Tells those who follow records.
    pub(super) fn told(&self, counter: u64) {
        set(&self.0.records, counter);
    }

    /// Tells those who follow grants.
    pub(super) fn told_of_grants(&self, counter: u64) {
        set(&self.0.grants, counter);
    }
}

/// Has PostgreSQL tell the other replicas once the transaction is over.
pub(super) async fn announce(session: &mut Session) -> Result<(), StoreError> {
    if !session.is_shared() {
        return Ok(());
    }
    session.run("NOTIFY closegate").await
}

/// A counter may also be lower than before, after a backup was restored: what is different is told.
fn set(told: &watch::Sender<u64>, counter: u64) {
    told.send_if_modified(|known| {
        let differs = *known != counter;
        *known = counter;
        differs
    });
}

/// What is listened to.
const CHANNEL: &str = "closegate";
/// Between two looks at a file, or at what is down.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at what tells by itself.
const SLOW: Duration = Duration::from_secs(3);
const SWEEP: Duration = Duration::from_secs(3600);
