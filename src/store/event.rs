//! Administrative events: who did what to what, when and from where; never a secret.

use jiff::{Timestamp, ToSpan};
use serde_json::Value as Json;

use super::Store;
use super::fault::StoreError;
use super::sql::{Row, Session, Value};

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Who: the name of a token, `cli`, or `closegate` itself.
    pub actor: String,
    /// What, such as `credential.rotate`.
    pub action: String,
    /// To what, such as `sales`.
    pub subject: String,
    /// From where: an address, if it was one.
    pub origin: Option<String>,
    /// More, for people; never a secret.
    pub detail: Json,
}

/// An event as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Grows with time.
    pub id: u64,
    /// What happened.
    pub event: Event,
}

/// Which events to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only those older than the one of this id.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

impl Event {
    /// An event of now, without a detail.
    pub fn now(actor: impl Into<String>, action: impl Into<String>, subject: impl Into<String>) -> Self {
        let (actor, action, subject) = (actor.into(), action.into(), subject.into());
        Self { at: Timestamp::now(), actor, action, subject, origin: None, detail: Json::Null }
    }

    /// The same, from somewhere.
    pub fn from(self, origin: impl Into<String>) -> Self {
        Self { origin: Some(origin.into()), ..self }
    }

    /// The same with more to say.
    pub fn with(self, detail: Json) -> Self {
        Self { detail, ..self }
    }
}

impl Store {
    /// Records an event that belongs to no change, such as a sign-in.
    pub async fn note(&self, event: &Event) -> Result<(), StoreError> {
        let noted = async {
            let mut session = self.change().await?;
            record(&mut session, event).await?;
            session.commit().await
        };
        self.heed(noted.await)
    }

    /// Recorded events, the newest first, and where the next page begins, if there is one.
    pub async fn events(&self, page: Page) -> Result<(Vec<Recorded>, Option<u64>), StoreError> {
        let Some(mut session) = self.read().await? else { return Ok((Vec::new(), None)) };
        let text = "SELECT id, at, actor, action, subject, origin, detail FROM cg_events \
                    WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let before = page.before.unwrap_or(i64::MAX.unsigned_abs());
        let values = vec![before.into(), u64::from(page.limit).saturating_add(1).into()];
        let rows = self.heed(session.rows(text, values).await)?;
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let events = rows.iter().take(limit).map(recorded).collect::<Result<Vec<_>, _>>()?;
        let next = events.last().map(|last| last.id).filter(|_| rows.len() > limit);
        Ok((events, next))
    }
}

/// Records an event as part of a transaction.
pub(super) async fn record(session: &mut Session, event: &Event) -> Result<(), StoreError> {
    let id = session.advance("events").await?;
    let text = "INSERT INTO cg_events (id, at, actor, action, subject, origin, detail) \
                VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let Event { at, actor, action, subject, origin, detail } = event;
    let values = vec![
        id.into(),
        (*at).into(),
        actor.as_str().into(),
        action.as_str().into(),
        subject.as_str().into(),
        Value::MaybeText(origin.clone()),
        detail.into(),
    ];
    session.rows(text, values).await?;
    if id.is_multiple_of(EVERY) { prune(session).await } else { Ok(()) }
}

/// Forgets what is older than 90 days, and of a hundred thousand the oldest.
pub(super) async fn prune(session: &mut Session) -> Result<(), StoreError> {
    let oldest = Timestamp::now() - (24 * DAYS).hours();
    session.rows("DELETE FROM cg_events WHERE at < $1", vec![oldest.into()]).await?;
    let text = "DELETE FROM cg_events WHERE id <= (SELECT value FROM cg_counters WHERE name = 'events') - $1";
    session.rows(text, vec![MOST.into()]).await.map(drop)
}

fn recorded(row: &Row) -> Result<Recorded, StoreError> {
    let event = Event {
        at: row.time(1)?,
        actor: row.text(2)?,
        action: row.text(3)?,
        subject: row.text(4)?,
        origin: row.maybe_text(5)?,
        detail: row.json(6)?,
    };
    Ok(Recorded { id: row.count(0)?, event })
}

const DAYS: i64 = 90;
const MOST: u64 = 100_000;
/// How many events come between two looks at what may be forgotten.
const EVERY: u64 = 256;
