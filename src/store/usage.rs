//! Usage that is kept: counts that processes add up, how they are asked for, and how long they stay.
//!
//! A batch is written whole and counts once, also when its answer was lost and it is written again. What is kept has
//! bounds: minutes for a day, days for 90 days, and of both no more rows than there is room for.

use std::time::Duration;

use jiff::Timestamp;

use super::Store;
use super::fault::StoreError;
use super::sql::{Row, Session, Value};
use crate::histogram::{BUCKETS, Histogram};
use crate::usage::{Amounts, Count, Span};

/// Counts that a process writes in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Which process; drawn at its start.
    pub writer: String,
    /// Grows with every batch of that process; one of the same number is the same batch.
    pub number: u64,
    /// What is added.
    pub counts: Vec<Count>,
    /// What was used when.
    pub uses: Vec<LastUse>,
}

/// When something was used last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// What it is.
    pub of: Used,
    /// Its name.
    pub name: String,
    /// In seconds since 1970.
    pub at: u64,
}

/// What is remembered to have been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Used {
    /// A gateway key.
    Key,
    /// A credential.
    Credential,
}

/// What counts are put together by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The gateway key.
    Key,
    /// The route.
    Route,
    /// The credential.
    Credential,
    /// The operation: `GET /api/v1/me/`, or `none`.
    Endpoint,
    /// How it ended: `2xx` and so on.
    Status,
}

/// Which usage is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// By the minute or by the day.
    pub span: Span,
    /// From when on, in minutes since 1970.
    pub from: u64,
    /// How many minutes are put together, from then on.
    pub step: u64,
    /// What is put together.
    pub by: By,
    /// Only those of certain names.
    pub only: Only,
}

/// Names that counts are narrowed down to; what is not said may be any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    /// The gateway key.
    pub key: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// The credential.
    pub credential: Option<String>,
    /// The operation, as [`By::Endpoint`] names it.
    pub endpoint: Option<String>,
}

/// What was used of one name in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// When the step begins, in minutes since 1970.
    pub begins: u64,
    /// Of what.
    pub name: String,
    /// What it came to.
    pub amounts: Amounts,
}

/// What a key did that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deed {
    /// The method that was carried out.
    pub method: String,
    /// The path template; `none` where it is not documented.
    pub endpoint: String,
    /// The scope that it took.
    pub scope: String,
    /// How often.
    pub requests: u64,
}

impl Used {
    fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Credential => "credential",
        }
    }
}

impl By {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Route => "route",
            Self::Credential => "credential",
            Self::Endpoint => "endpoint",
            Self::Status => "status",
        }
    }
}

impl Store {
    /// Adds a batch to what was counted before, by whomever. Again is no fault, and counts once.
    pub async fn add_usage(&self, batch: &Batch) -> Result<(), StoreError> {
        let added = async {
            let mut session = self.change().await?;
            if is_new(&mut session, batch).await? {
                for count in &batch.counts {
                    session.rows(ADD, values(count)).await?;
                }
                for LastUse { of, name, at } in &batch.uses {
                    let values = vec![of.as_str().into(), name.as_str().into(), (*at).into()];
                    session.rows(REMEMBER, values).await?;
                }
            }
            session.commit().await
        };
        self.heed(added.await)
    }

    /// What was used, put together as it is asked for; nothing where nothing was.
    pub async fn usage(&self, question: &Question) -> Result<Vec<Sum>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(Vec::new()) };
        let Question { span, from, step, by, only: Only { key, route, credential, endpoint } } = question.clone();
        let only = [key, route, credential, endpoint].map(Value::MaybeText);
        let asked = [span.minutes().into(), from.into(), step.max(1).into(), by.as_str().into()];
        let rows = self.heed(session.rows(SUMS, asked.into_iter().chain(only).collect()).await)?;
        let sum = |row: &Row| Ok(Sum { begins: row.count(0)?, name: row.text(1)?, amounts: amounts(row, 2)? });
        rows.iter().map(sum).collect()
    }

    /// What a key did since that minute, by the day, but for what was refused.
    pub async fn deeds(&self, key: &str, from: u64) -> Result<Vec<Deed>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(Vec::new()) };
        let rows = self.heed(session.rows(DEEDS, vec![key.into(), from.into()]).await)?;
        let deed = |row: &Row| {
            Ok(Deed { method: row.text(0)?, endpoint: row.text(1)?, scope: row.text(2)?, requests: row.count(3)? })
        };
        rows.iter().map(deed).collect()
    }

    /// When each key and credential was used last, as far as that was written.
    pub async fn last_uses(&self) -> Result<Vec<LastUse>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(Vec::new()) };
        let rows = self.heed(session.rows("SELECT kind, name, at FROM cg_last_uses", Vec::new()).await)?;
        let known = |row: &Row| {
            let of = match row.text(0)?.as_str() {
                "credential" => Used::Credential,
                _ => Used::Key,
            };
            Ok(LastUse { of, name: row.text(1)?, at: row.count(2)? })
        };
        rows.iter().map(known).collect()
    }
}

/// Forgets what is older than is kept, and of too many rows the oldest.
pub(super) async fn prune(session: &mut Session, now: Timestamp) -> Result<(), StoreError> {
    let minute = u64::try_from(now.as_second()).unwrap_or_default() / 60;
    for (span, most) in [(Span::Minute, MOST_MINUTES), (Span::Day, MOST_DAYS)] {
        let oldest = span.around(minute).saturating_sub((span.kept() - 1) * span.minutes());
        let values = || vec![span.minutes().into(), oldest.into()];
        session.rows("DELETE FROM cg_usage WHERE span = $1 AND begins < $2", values()).await?;
        session.rows(TRIM, vec![span.minutes().into(), most.into()]).await?;
    }
    let gone = now - jiff::SignedDuration::from_hours(24 * 90);
    session.rows("DELETE FROM cg_usage_writers WHERE at < $1", vec![gone.into()]).await?;
    let gone = now - jiff::SignedDuration::from_hours(24 * 400);
    session.rows("DELETE FROM cg_last_uses WHERE at < $1", vec![Value::Int(gone.as_second())]).await?;
    let yesterday = (minute / Span::Day.minutes()).saturating_sub(1);
    session.rows("DELETE FROM cg_allowances WHERE day < $1", vec![yesterday.into()]).await.map(drop)
}

/// Whether a batch was not written before; notes that it is.
async fn is_new(session: &mut Session, batch: &Batch) -> Result<bool, StoreError> {
    let values = vec![batch.writer.as_str().into(), batch.number.into(), Timestamp::now().into()];
    Ok(session.row(NOTE, values).await?.is_some())
}

fn values(count: &Count) -> Vec<Value> {
    let Count { span, begins, series, amounts } = count;
    let names = [&series.key, &series.route, &series.credential, &series.endpoint, &series.method, &series.scope];
    let numbers = [
        amounts.requests,
        amounts.errors,
        amounts.rate_limited,
        amounts.refused,
        amounts.request_bytes,
        amounts.response_bytes,
        amounts.waits,
        micros(amounts.waited),
        micros(amounts.durations.sum()),
    ];
    let place = [span.minutes().into(), (*begins).into()].into_iter();
    let series = names.into_iter().map(|name| Value::from(&**name)).chain([u64::from(series.status_class).into()]);
    let counts = numbers.into_iter().chain(*amounts.durations.buckets()).map(Value::from);
    place.chain(series).chain(counts).collect()
}

fn amounts(row: &Row, first: usize) -> Result<Amounts, StoreError> {
    let at = |column: usize| row.count(first + column);
    let mut buckets = [0; BUCKETS];
    for (bucket, column) in buckets.iter_mut().zip(9..) {
        *bucket = at(column)?;
    }
    Ok(Amounts {
        requests: at(0)?,
        errors: at(1)?,
        rate_limited: at(2)?,
        refused: at(3)?,
        request_bytes: at(4)?,
        response_bytes: at(5)?,
        waits: at(6)?,
        waited: Duration::from_micros(at(7)?),
        durations: Histogram::of(buckets, Duration::from_micros(at(8)?)),
        last: 0,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

const NOTE: &str = "INSERT INTO cg_usage_writers (writer, number, at) VALUES ($1, $2, $3) \
     ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at \
     WHERE cg_usage_writers.number < excluded.number RETURNING number";
const REMEMBER: &str = "INSERT INTO cg_last_uses (kind, name, at) VALUES ($1, $2, $3) \
     ON CONFLICT (kind, name) DO UPDATE SET at = excluded.at WHERE cg_last_uses.at < excluded.at";
const ADD: &str = "INSERT INTO cg_usage (span, begins, key_name, route_name, credential_name, endpoint, method, scope, status_class, requests, errors, \
     rate_limited, refused, request_bytes, response_bytes, waits, waited_us, took_us, d0, d1, d2, d3, d4, d5, d6, \
     d7, d8, d9, d10, d11, d12, d13, d14, d15) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
     $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34) \
     ON CONFLICT (span, begins, key_name, route_name, credential_name, endpoint, method, scope, status_class) \
     DO UPDATE SET requests = cg_usage.requests + excluded.requests, errors = cg_usage.errors + excluded.errors, \
     rate_limited = cg_usage.rate_limited + excluded.rate_limited, refused = cg_usage.refused + excluded.refused, \
     request_bytes = cg_usage.request_bytes + excluded.request_bytes, \
     response_bytes = cg_usage.response_bytes + excluded.response_bytes, waits = cg_usage.waits + excluded.waits, \
     waited_us = cg_usage.waited_us + excluded.waited_us, took_us = cg_usage.took_us + excluded.took_us, \
     d0 = cg_usage.d0 + excluded.d0, d1 = cg_usage.d1 + excluded.d1, d2 = cg_usage.d2 + excluded.d2, \
     d3 = cg_usage.d3 + excluded.d3, d4 = cg_usage.d4 + excluded.d4, d5 = cg_usage.d5 + excluded.d5, \
     d6 = cg_usage.d6 + excluded.d6, d7 = cg_usage.d7 + excluded.d7, d8 = cg_usage.d8 + excluded.d8, \
     d9 = cg_usage.d9 + excluded.d9, d10 = cg_usage.d10 + excluded.d10, d11 = cg_usage.d11 + excluded.d11, \
     d12 = cg_usage.d12 + excluded.d12, d13 = cg_usage.d13 + excluded.d13, d14 = cg_usage.d14 + excluded.d14, \
     d15 = cg_usage.d15 + excluded.d15";
const SUMS: &str = "SELECT $2 + (begins - $2) / $3 * $3, CASE $4 WHEN 'key' THEN key_name WHEN 'route' THEN route_name \
     WHEN 'credential' THEN credential_name WHEN 'status' THEN CAST(status_class AS TEXT) || 'xx' \
     ELSE CASE WHEN endpoint IN ('none', '_other') THEN endpoint ELSE method || ' ' || endpoint END END, \
     CAST(SUM(requests) AS BIGINT), CAST(SUM(errors) AS BIGINT), CAST(SUM(rate_limited) AS BIGINT), \
     CAST(SUM(refused) AS BIGINT), CAST(SUM(request_bytes) AS BIGINT), CAST(SUM(response_bytes) AS BIGINT), \
     CAST(SUM(waits) AS BIGINT), CAST(SUM(waited_us) AS BIGINT), CAST(SUM(took_us) AS BIGINT), \
     CAST(SUM(d0) AS BIGINT), CAST(SUM(d1) AS BIGINT), CAST(SUM(d2) AS BIGINT), CAST(SUM(d3) AS BIGINT), \
     CAST(SUM(d4) AS BIGINT), CAST(SUM(d5) AS BIGINT), CAST(SUM(d6) AS BIGINT), CAST(SUM(d7) AS BIGINT), \
     CAST(SUM(d8) AS BIGINT), CAST(SUM(d9) AS BIGINT), CAST(SUM(d10) AS BIGINT), CAST(SUM(d11) AS BIGINT), \
     CAST(SUM(d12) AS BIGINT), CAST(SUM(d13) AS BIGINT), CAST(SUM(d14) AS BIGINT), CAST(SUM(d15) AS BIGINT) \
     FROM cg_usage WHERE span = $1 AND begins >= $2 AND ($5 IS NULL OR key_name = $5) \
     AND ($6 IS NULL OR route_name = $6) AND ($7 IS NULL OR credential_name = $7) \
     AND ($8 IS NULL OR CASE WHEN endpoint IN ('none', '_other') THEN endpoint ELSE method || ' ' || endpoint END = $8) \
     GROUP BY 1, 2";
const DEEDS: &str = "SELECT method, endpoint, scope, CAST(SUM(requests - refused) AS BIGINT) FROM cg_usage \
     WHERE span = 1440 AND key_name = $1 AND begins >= $2 GROUP BY method, endpoint, scope \
     HAVING SUM(requests - refused) > 0 ORDER BY endpoint, method, scope";
const TRIM: &str = "DELETE FROM cg_usage WHERE span = $1 AND begins < \
     (SELECT begins FROM cg_usage WHERE span = $1 ORDER BY begins DESC LIMIT 1 OFFSET $2)";
/// Most rows by the minute: what two processes write in a day that count all they may.
const MOST_MINUTES: u64 = 1_500_000;
/// Most rows by the day.
const MOST_DAYS: u64 = 500_000;
