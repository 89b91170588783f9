//! What one core has counted for the usage that is kept: by minute and series, in cells that nobody else writes.
//!
//! Of a combination that it knows it counts without an allocation; of more than [`MOST`] it counts together those that
//! came last, so that it stays bounded however rarely it is taken.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;

use super::names::{Label, Names};
use super::record::{Answerer, MethodLabel, Record};
use super::table::Word;
use crate::usage::{Amounts, NONE, Series};

/// A core's counts since they were taken last.
#[derive(Default)]
pub(super) struct Tally {
    cells: HashMap<Combination, Amounts>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Combination {
    /// Minutes since 1970.
    minute: u32,
    key: Label,
    route: Label,
    credential: Label,
    endpoint: Word,
    scope: Word,
    method: MethodLabel,
    status_class: u8,
}

impl Tally {
    /// Counts a request that has ended, at this second since 1970.
    pub(super) fn count(&mut self, record: &Record, duration: Duration, now: u64) {
        let amounts = self.cell(Combination::of(record, now));
        amounts.requests += 1;
        amounts.errors += u64::from(record.status >= 400 && record.status != 429);
        amounts.rate_limited += u64::from(record.status == 429);
        // What is only observed has a code as well, and passes.
        amounts.refused += u64::from(record.code.is_some() && record.origin == Answerer::Gateway);
        amounts.request_bytes += record.request_bytes;
        amounts.response_bytes += record.response_bytes;
        amounts.waits += u64::from(!record.paced.is_zero());
        amounts.waited += record.paced;
        amounts.durations.observe(duration);
        amounts.last = amounts.last.max(now);
    }

    /// Gives what was counted, by the minute since 1970, and keeps the room for what comes.
    pub(super) fn drain(&mut self, names: &Names, mut take: impl FnMut(u64, Series, Amounts)) {
        for (combination, amounts) in self.cells.drain() {
            take(combination.minute.into(), combination.series(names), amounts);
        }
    }

    fn cell(&mut self, combination: Combination) -> &mut Amounts {
        let known = self.cells.len() < MOST || self.cells.contains_key(&combination);
        self.cells.entry(if known { combination } else { combination.beyond() }).or_default()
    }
}

impl Combination {
    fn of(record: &Record, now: u64) -> Self {
        Self {
            minute: u32::try_from(now / 60).unwrap_or(u32::MAX),
            key: record.key,
            route: record.route,
            credential: record.credential,
            endpoint: Word(record.endpoint.unwrap_or(NONE)),
            scope: Word(record.scope.unwrap_or(NONE)),
            method: MethodLabel::of(record.method.as_ref()),
            status_class: (record.status / 100).min(9) as u8,
        }
    }

    fn beyond(self) -> Self {
        let (label, word) = (Label::OTHER, Word(crate::usage::OTHER));
        let (key, route, credential, endpoint, scope) = (label, label, label, word, word);
        Self { key, route, credential, endpoint, scope, method: MethodLabel::of(None), ..self }
    }

    fn series(&self, names: &Names) -> Series {
        let text = |word: &'static str| -> Arc<str> { word.into() };
        let series = Series {
            key: names.text(self.key),
            route: names.text(self.route),
            credential: names.text(self.credential),
            endpoint: text(self.endpoint.0),
            method: text(self.method.as_str()),
            scope: text(self.scope.0),
            status_class: self.status_class,
        };
        if series.is_beyond() { series.beyond() } else { series }
    }
}

/// Most combinations that a core counts apart, beside the few that stand for the rest.
const MOST: usize = 2000;

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    fn drained(tally: &mut Tally, names: &Names) -> Vec<(u64, Series, Amounts)> {
        let mut all = Vec::new();
        tally.drain(names, |minute, series, amounts| all.push((minute, series, amounts)));
        all
    }

    #[test]
    fn requests_of_one_series_and_minute_are_counted_together() {
        let names = Names::new(1);
        let (mut tally, mut record) = (Tally::default(), record());
        (record.key, record.route) = (names.key("reporting"), names.label("sales"));
        (record.endpoint, record.scope) = (Some("/api/v1/me/"), Some("read"));
        (record.request_bytes, record.response_bytes) = (3, 5);
        tally.count(&record, Duration::from_millis(2), 120);
        tally.count(&record, Duration::from_millis(4), 179);
        tally.count(&record, Duration::from_millis(4), 180);
        (record.status, record.code) = (429, Some("key_rate_limited"));
        record.paced = Duration::from_secs(1);
        tally.count(&record, Duration::ZERO, 180);
        let mut all = drained(&mut tally, &names);
        all.sort_by_key(|(minute, series, _)| (*minute, series.status_class));
        assert_eq!(all.len(), 3);
        let (minute, series, amounts) = &all[0];
        assert_eq!((*minute, &*series.key, &*series.route, &*series.credential), (2, "reporting", "sales", "none"));
        assert_eq!((&*series.endpoint, &*series.method, &*series.scope), ("/api/v1/me/", "GET", "read"));
        assert_eq!((amounts.requests, amounts.request_bytes, amounts.response_bytes, amounts.last), (2, 6, 10, 179));
        assert_eq!(amounts.durations.sum(), Duration::from_millis(6));
        assert_eq!((all[1].0, all[1].2.requests), (3, 1));
        let refused = &all[2].2;
        assert_eq!((refused.errors, refused.rate_limited, refused.refused, refused.waits), (0, 1, 1, 1));
        assert_eq!(refused.waited, Duration::from_secs(1));
        assert!(drained(&mut tally, &names).is_empty());
    }

    #[test]
    fn what_is_only_observed_counts_as_used() {
        let (names, mut tally, mut record) = (Names::new(1), Tally::default(), record());
        (record.code, record.origin) = (Some("scope_missing"), Answerer::Upstream);
        tally.count(&record, Duration::ZERO, 0);
        assert_eq!(drained(&mut tally, &names)[0].2.refused, 0);
    }

    #[test]
    fn combinations_beyond_the_bound_are_counted_together() {
        let names = Names::new(10 * MOST);
        let (mut tally, mut record) = (Tally::default(), record());
        let keys: Vec<Label> = (0..MOST + 500).map(|number| names.key(&format!("k{number}"))).collect();
        for _ in 0..2 {
            for key in &keys {
                record.key = *key;
                tally.count(&record, Duration::ZERO, 60);
            }
        }
        let all = drained(&mut tally, &names);
        assert_eq!(all.len(), MOST + 1);
        let (_, series, amounts) = all.iter().find(|(_, series, _)| series.is_beyond()).unwrap();
        assert_eq!((amounts.requests, &*series.method, series.status_class), (1000, "_other", 2));
        assert_eq!(all.iter().map(|(_, _, amounts)| amounts.requests).sum::<u64>(), 2 * keys.len() as u64);
    }
}
