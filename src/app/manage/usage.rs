//! Usage as it is shown: rows, a chart over time, what Close's rate limits leave, and when things were used last.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use super::{Manager, refuse};
use crate::admin::model::{
    CredentialView, Headroom, KeyView, Usage, UsageBy, UsageChart, UsageLine, UsageQuery, UsageRow,
};
use crate::admin::{Code, Refusal};
use crate::app::usage::{kept_since, now};
use crate::config;
use crate::store::{By, Only, Question, Sum, Used};
use crate::usage::{Amounts, Span};

/// From when on usage is asked for, and how it is counted then; times in minutes since 1970.
struct Period {
    span: Span,
    from: u64,
    /// The minute that it is.
    until: u64,
}

/// What is remembered to have been used.
pub(super) trait Dated {
    const USED: Used;

    fn name(&self) -> &str;
    fn last_used(&mut self) -> &mut Option<Timestamp>;
}

impl Dated for KeyView {
    const USED: Used = Used::Key;

    fn name(&self) -> &str {
        &self.name
    }

    fn last_used(&mut self) -> &mut Option<Timestamp> {
        &mut self.last_used_at
    }
}

impl Dated for CredentialView {
    const USED: Used = Used::Credential;

    fn name(&self) -> &str {
        &self.name
    }

    fn last_used(&mut self) -> &mut Option<Timestamp> {
        &mut self.last_used_at
    }
}

impl Manager {
    pub(super) async fn show_usage(&self, query: UsageQuery) -> Result<Usage, Refusal> {
        let period = Period::of(query.since.as_deref())?;
        let points = query.points.map(points).transpose()?;
        let by = query.by.unwrap_or_default();
        let UsageQuery { key, route, credential, endpoint, .. } = query;
        let only = Only { key, route, credential, endpoint };
        let Period { span, from, .. } = period;
        let whole = Question { span, from, step: u64::MAX, by: asked(by), only };
        let mut sums = self.sums(&whole).await?;
        sums.sort_by(|a, b| (b.amounts.requests, &a.name).cmp(&(a.amounts.requests, &b.name)));
        let chart = match points {
            Some(points) => Some(self.chart(&period, points, &whole, &sums).await?),
            None => None,
        };
        let mut total = Amounts::default();
        sums.iter().for_each(|sum| total.add(&sum.amounts));
        Ok(Usage {
            since: moment(from),
            until: Timestamp::now(),
            by,
            rows: sums.iter().take(MOST_ROWS).map(|sum| row(sum.name.clone(), &sum.amounts)).collect(),
            total: row("total".to_owned(), &total),
            chart,
            headroom: self.headroom(),
        })
    }

    /// The same with when they were used last.
    pub(super) async fn with_uses<T: Dated>(&self, mut views: Vec<T>) -> Result<Vec<T>, Refusal> {
        // The list is of use without it.
        let uses = self.last_uses().await.unwrap_or_default();
        for view in &mut views {
            let at = uses.get(&(T::USED, view.name().to_owned()));
            *view.last_used() = at.and_then(|at| Timestamp::from_second(i64::try_from(*at).ok()?).ok());
        }
        Ok(views)
    }

    /// The same for one.
    pub(super) async fn with_use<T: Dated>(&self, view: T) -> Result<T, Refusal> {
        self.with_uses(vec![view]).await?.pop().ok_or_else(Refusal::internal)
    }

    async fn last_uses(&self) -> Result<BTreeMap<(Used, String), u64>, Refusal> {
        let uses = match &self.books {
            Some(books) => books.last_uses().await,
            None => self.store().last_uses().await.map(|uses| {
                let uses = uses.into_iter();
                uses.map(|used| ((used.of, used.name), used.at)).collect()
            }),
        };
        uses.map_err(|fault| refuse::by_store(&fault))
    }

    async fn sums(&self, question: &Question) -> Result<Vec<Sum>, Refusal> {
        let sums = match &self.books {
            Some(books) => books.usage(question).await,
            None => self.store().usage(question).await,
        };
        sums.map_err(|fault| refuse::by_store(&fault))
    }

    /// How the rows went over time, those beyond the first ten together.
    async fn chart(&self, period: &Period, points: u64, whole: &Question, rows: &[Sum]) -> Result<UsageChart, Refusal> {
        let Period { span, from, until } = *period;
        let step = (until + 1 - from).div_ceil(points).next_multiple_of(span.minutes());
        let steps = usize::try_from((until - from) / step + 1).unwrap_or(1);
        let mut lines: Vec<UsageLine> =
            rows.iter().take(LINES).map(|row| UsageLine::empty(Some(&row.name), steps)).collect();
        let places: HashMap<&str, usize> = rows.iter().map(|row| row.name.as_str()).zip(0..LINES).collect();
        let mut others = UsageLine::empty(None, steps);
        for Sum { begins, name, amounts } in self.sums(&Question { step, ..whole.clone() }).await? {
            let line = places.get(name.as_str()).and_then(|place| lines.get_mut(*place)).unwrap_or(&mut others);
            line.add(usize::try_from((begins - from) / step).unwrap_or(usize::MAX), &amounts);
        }
        if others.requests.iter().any(|requests| *requests > 0) {
            lines.push(others);
        }
        Ok(UsageChart { step_seconds: step * 60, lines })
    }

    fn headroom(&self) -> Vec<Headroom> {
        let rooms = self.books.iter().flat_map(|books| books.headroom());
        let headroom = rooms.map(|room| Headroom {
            credential: room.credential.to_string(),
            group: room.group.to_owned(),
            limit: room.quota as f64,
            remaining: room.remaining as f64,
            reset_seconds: room.resets_in.as_secs_f64(),
        });
        headroom.collect()
    }
}

impl Period {
    /// What is asked for, as far as it is kept: up to a day by the minute, further back by the day.
    fn of(since: Option<&str>) -> Result<Self, Refusal> {
        let unread = || {
            Refusal::new(Code::Malformed, "`since` is no duration").hint("a number and a unit, such as `24h` or `30d`")
        };
        let back = since.map_or(Some(DAY), config::duration).ok_or_else(unread)?;
        let span = if back <= DAY { Span::Minute } else { Span::Day };
        let now = now();
        let until = now / 60;
        let from = span.around(now.saturating_sub(back.as_secs()) / 60).max(kept_since(span, until));
        Ok(Self { span, from, until })
    }
}

impl UsageLine {
    fn empty(name: Option<&str>, steps: usize) -> Self {
        let none = || vec![0; steps];
        Self { name: name.map(str::to_owned), requests: none(), errors: none(), rate_limited: none() }
    }

    fn add(&mut self, step: usize, amounts: &Amounts) {
        let Amounts { requests, errors, rate_limited, .. } = amounts;
        for (line, amount) in
            [(&mut self.requests, requests), (&mut self.errors, errors), (&mut self.rate_limited, rate_limited)]
        {
            // A clock that is ahead elsewhere counts in a step that is not here yet.
            if let Some(known) = line.get_mut(step) {
                *known += amount;
            }
        }
    }
}

fn asked(by: UsageBy) -> By {
    match by {
        UsageBy::Key => By::Key,
        UsageBy::Route => By::Route,
        UsageBy::Endpoint => By::Endpoint,
        UsageBy::Credential => By::Credential,
        UsageBy::Status => By::Status,
    }
}

fn points(points: u32) -> Result<u64, Refusal> {
    let fits = (1..=MOST_POINTS).contains(&points).then_some(points.into());
    fits.ok_or_else(|| Refusal::new(Code::Malformed, format!("`points` is a whole number from 1 to {MOST_POINTS}")))
}

fn row(name: String, amounts: &Amounts) -> UsageRow {
    let milliseconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
    let percentile = |percent| milliseconds(amounts.durations.percentile(percent));
    UsageRow {
        name,
        requests: amounts.requests,
        errors: amounts.errors,
        rate_limited: amounts.rate_limited,
        refused: amounts.refused,
        request_bytes: amounts.request_bytes,
        response_bytes: amounts.response_bytes,
        waits: amounts.waits,
        waited_ms: u64::try_from(amounts.waited.as_millis()).unwrap_or(u64::MAX),
        mean_ms: milliseconds(amounts.durations.mean()),
        p50_ms: percentile(50),
        p95_ms: percentile(95),
        p99_ms: percentile(99),
    }
}

fn moment(minute: u64) -> Timestamp {
    let seconds = i64::try_from(minute * 60).unwrap_or_default();
    Timestamp::from_second(seconds).unwrap_or_default()
}

const DAY: Duration = Duration::from_secs(86_400);
const MOST_ROWS: usize = 1000;
const MOST_POINTS: u32 = 1440;
/// How many rows have a line of their own in a chart.
const LINES: usize = 10;
