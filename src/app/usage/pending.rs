//! What was counted and is not written yet, within bounds: of too many series in one span the later ones are counted
//! together, and of too many minutes the oldest are given up; their days stay.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::store::{Batch, By, Deed, LastUse, Only, Question, Sum, Used};
use crate::usage::{Amounts, Count, NONE, OTHER, Series, Span};

/// Counts that wait to be written.
pub(super) struct Pending {
    writer: String,
    number: u64,
    /// Handed to the store, which has not said that it has it: it is written again, as it is.
    unsure: Option<Arc<Batch>>,
    minutes: Shelf,
    days: Shelf,
    uses: BTreeMap<(Used, String), u64>,
    /// Those that are not written yet.
    new_uses: BTreeMap<(Used, String), u64>,
}

/// When its span begins, of what, and what it came to.
type One<'p> = (u64, &'p Series, &'p Amounts);

/// The counts of one kind of span.
struct Shelf {
    span: Span,
    counts: BTreeMap<(u64, Series), Amounts>,
    /// The series that this process has counted apart, by span; the latest few.
    apart: BTreeMap<u64, HashSet<Series>>,
    /// How many it counts apart in one span.
    most_apart: usize,
    /// How many counts it keeps.
    most: usize,
}

impl Pending {
    pub(super) fn new(writer: String) -> Self {
        let (minutes, days) = (Shelf::of(Span::Minute), Shelf::of(Span::Day));
        Self { writer, number: 0, unsure: None, minutes, days, uses: BTreeMap::new(), new_uses: BTreeMap::new() }
    }

    /// Adds what ended in a minute since 1970.
    pub(super) fn add(&mut self, minute: u64, series: Series, amounts: Amounts) {
        for (of, name) in [(Used::Key, &series.key), (Used::Credential, &series.credential)] {
            // Nobody's names are no use of anything.
            if !matches!(&**name, NONE | OTHER | "anonymous") {
                for uses in [&mut self.uses, &mut self.new_uses] {
                    let last = uses.entry((of, name.to_string())).or_default();
                    *last = amounts.last.max(*last);
                }
            }
        }
        self.minutes.add(minute, series.clone(), &amounts);
        self.days.add(minute, series, &amounts);
    }

    /// Forgets what would not be kept any more at this minute, and what there is no room for.
    pub(super) fn forget_before(&mut self, minute: u64) {
        self.minutes.forget_before(minute);
        self.days.forget_before(minute);
    }

    /// What is to be written next; the same until it is said to be written.
    pub(super) fn batch(&mut self) -> Option<Arc<Batch>> {
        if let Some(batch) = &self.unsure {
            return Some(Arc::clone(batch));
        }
        let mut counts: Vec<Count> = self.minutes.take(AT_ONCE).collect();
        counts.extend(self.days.take(AT_ONCE));
        let uses = std::mem::take(&mut self.new_uses).into_iter();
        let uses: Vec<LastUse> = uses.map(|((of, name), at)| LastUse { of, name, at }).collect();
        if counts.is_empty() && uses.is_empty() {
            return None;
        }
        self.number += 1;
        let batch = Arc::new(Batch { writer: self.writer.clone(), number: self.number, counts, uses });
        self.unsure = Some(Arc::clone(&batch));
        Some(batch)
    }

    /// Notes that the batch is written.
    pub(super) fn written(&mut self) {
        self.unsure = None;
    }

    /// When what was used, as far as this process has seen it.
    pub(super) fn uses(&self) -> &BTreeMap<(Used, String), u64> {
        &self.uses
    }

    /// What of all this is asked for.
    pub(super) fn usage(&self, question: &Question) -> Vec<Sum> {
        let fits = |(begins, series, _): &One| *begins >= question.from && is_among(series, &question.only);
        self.waiting(question.span).filter(fits).map(|one| sum(question, one)).collect()
    }

    /// What a key did since that minute, by the day, but for what was refused.
    pub(super) fn deeds(&self, key: &str, from: u64) -> Vec<Deed> {
        let fits = |(begins, series, amounts): &One| {
            *begins >= from && &*series.key == key && amounts.requests > amounts.refused
        };
        let deed = |(_, series, amounts): One| Deed {
            method: series.method.to_string(),
            endpoint: series.endpoint.to_string(),
            scope: series.scope.to_string(),
            requests: amounts.requests - amounts.refused,
        };
        self.waiting(Span::Day).filter(fits).map(deed).collect()
    }

    fn waiting(&self, span: Span) -> impl Iterator<Item = One<'_>> {
        let shelf = match span {
            Span::Minute => &self.minutes,
            Span::Day => &self.days,
        };
        let unsure = self.unsure.iter().flat_map(|batch| &batch.counts).filter(move |count| count.span == span);
        let unsure = unsure.map(|count| (count.begins, &count.series, &count.amounts));
        shelf.counts.iter().map(|((begins, series), amounts)| (*begins, series, amounts)).chain(unsure)
    }
}

impl Shelf {
    fn of(span: Span) -> Self {
        let (most_apart, most) = match span {
            Span::Minute => (MINUTE_APART, MINUTES_WAITING),
            Span::Day => (DAY_APART, usize::MAX),
        };
        Self { span, counts: BTreeMap::new(), apart: BTreeMap::new(), most_apart, most }
    }

    fn add(&mut self, minute: u64, series: Series, amounts: &Amounts) {
        let begins = self.span.around(minute);
        let apart = self.apart.entry(begins).or_default();
        let known = apart.contains(&series) || apart.len() < self.most_apart && apart.insert(series.clone());
        let series = if known { series } else { series.beyond() };
        self.counts.entry((begins, series)).or_default().add(amounts);
    }

    fn forget_before(&mut self, minute: u64) {
        let oldest = super::kept_since(self.span, minute);
        while self.counts.first_key_value().is_some_and(|((begins, _), _)| *begins < oldest)
            || self.counts.len() > self.most
        {
            self.counts.pop_first();
        }
        while self.apart.len() > SPANS_APART {
            self.apart.pop_first();
        }
    }

    fn take(&mut self, most: usize) -> impl Iterator<Item = Count> {
        let span = self.span;
        let next = std::iter::from_fn(|| self.counts.pop_first()).take(most);
        next.map(move |((begins, series), amounts)| Count { span, begins, series, amounts })
    }
}

fn is_among(series: &Series, only: &Only) -> bool {
    let fits = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    fits(&only.key, &series.key)
        && fits(&only.route, &series.route)
        && fits(&only.credential, &series.credential)
        && only.endpoint.as_ref().is_none_or(|wanted| *wanted == name(By::Endpoint, series))
}

/// A count as it is put together with others.
fn sum(question: &Question, (begins, series, amounts): One) -> Sum {
    let step = question.step.max(1);
    let begins = question.from + (begins - question.from) / step * step;
    Sum { begins, name: name(question.by, series), amounts: amounts.clone() }
}

fn name(by: By, series: &Series) -> String {
    match by {
        By::Key => series.key.to_string(),
        By::Route => series.route.to_string(),
        By::Credential => series.credential.to_string(),
        By::Endpoint if matches!(&*series.endpoint, NONE | OTHER) => series.endpoint.to_string(),
        By::Endpoint => format!("{} {}", series.method, series.endpoint),
        By::Status => format!("{}xx", series.status_class),
    }
}

/// How many series a process counts apart in one minute; `docs/usage.md` says so.
const MINUTE_APART: usize = 500;
/// How many it counts apart in one day.
const DAY_APART: usize = 5000;
/// How many counts by the minute wait while the store is away.
const MINUTES_WAITING: usize = 20_000;
/// Of how many spans it is known what is counted apart: late ones come from the span before.
const SPANS_APART: usize = 3;
/// How many counts of each kind are written at once.
const AT_ONCE: usize = 250;

#[cfg(test)]
mod tests {
    use super::*;

    fn series(key: &str, status_class: u8) -> Series {
        let text = |text: &str| -> Arc<str> { text.into() };
        Series {
            key: text(key),
            route: text("sales"),
            credential: text("close"),
            endpoint: text("/api/v1/me/"),
            method: text("GET"),
            scope: text("read"),
            status_class,
        }
    }

    fn one(last: u64) -> Amounts {
        Amounts { requests: 1, last, ..Amounts::default() }
    }

    fn pending() -> Pending {
        Pending::new("w".to_owned())
    }

    fn question(span: Span, by: By) -> Question {
        Question { span, from: 0, step: u64::MAX, by, only: Only::default() }
    }

    fn requests(sums: &[Sum]) -> u64 {
        sums.iter().map(|sum| sum.amounts.requests).sum()
    }

    #[test]
    fn a_batch_stays_the_same_until_it_is_written() {
        let mut pending = pending();
        assert_eq!(pending.batch(), None);
        pending.add(100, series("a", 2), one(6000));
        let first = pending.batch().unwrap();
        pending.add(100, series("a", 2), one(6001));
        assert_eq!(pending.batch().unwrap(), first, "its answer was lost");
        assert_eq!(requests(&pending.usage(&question(Span::Minute, By::Key))), 2, "it is still counted");
        pending.written();
        let second = pending.batch().unwrap();
        assert_eq!((first.number, second.number), (1, 2));
        assert_eq!(second.counts.len(), 2, "a minute and a day");
        let uses: Vec<_> = second.uses.iter().map(|used| (used.of, used.name.as_str(), used.at)).collect();
        assert_eq!(uses, [(Used::Key, "a", 6001), (Used::Credential, "close", 6001)]);
        pending.written();
        assert_eq!(pending.batch(), None);
    }

    #[test]
    fn series_beyond_the_bound_of_a_span_are_counted_together() {
        let mut pending = pending();
        for _ in 0..2 {
            for key in 0..=MINUTE_APART + 10 {
                pending.add(100, series(&format!("k{key}"), 2), one(0));
            }
        }
        pending.add(100, series("late", 5), one(0));
        let by_key = pending.usage(&question(Span::Minute, By::Key));
        let beyond = by_key.iter().filter(|sum| sum.name == OTHER);
        assert_eq!(beyond.map(|sum| sum.amounts.requests).sum::<u64>(), 23);
        assert_eq!(pending.minutes.counts.len(), MINUTE_APART + 2, "one for each class of status");
        assert_eq!(pending.days.counts.len(), MINUTE_APART + 12, "a day has more room");
        assert_eq!(requests(&by_key), 2 * (MINUTE_APART as u64 + 11) + 1);
    }

    #[test]
    fn what_waits_too_long_is_given_up_by_the_minute_and_kept_by_the_day() {
        let mut pending = pending();
        let start = 5 * Span::Day.minutes();
        for minute in 0..1440 {
            for key in 0..20 {
                pending.add(start + minute, series(&format!("k{key}"), 2), one(0));
            }
        }
        pending.forget_before(start + 1439);
        assert_eq!(pending.minutes.counts.len(), MINUTES_WAITING);
        assert_eq!(requests(&pending.usage(&question(Span::Day, By::Route))), 1440 * 20);
        pending.forget_before(start + 3 * 1440);
        assert!(pending.minutes.counts.is_empty());
        pending.forget_before(start + 90 * 1440);
        assert!(pending.days.counts.is_empty());
    }

    #[test]
    fn usage_is_put_together_as_it_is_asked_for() {
        let mut pending = pending();
        for (minute, key, class) in [(100, "a", 2), (101, "a", 4), (105, "b", 2), (90, "a", 2)] {
            pending.add(minute, series(key, class), one(0));
        }
        let only = Only { key: Some("a".to_owned()), ..Only::default() };
        let asked = Question { span: Span::Minute, from: 100, step: 5, by: By::Status, only };
        let mut sums = pending.usage(&asked);
        sums.sort_by(|a, b| a.name.cmp(&b.name));
        let told: Vec<_> = sums.iter().map(|sum| (sum.begins, sum.name.as_str(), sum.amounts.requests)).collect();
        assert_eq!(told, [(100, "2xx", 1), (100, "4xx", 1)]);
        let only = Only { endpoint: Some("GET /api/v1/me/".to_owned()), ..Only::default() };
        let asked = Question { step: 5, only, ..asked };
        assert_eq!(requests(&pending.usage(&asked)), 3);
    }
}
