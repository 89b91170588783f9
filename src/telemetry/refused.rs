//! The last refusals, one by one: who was refused what, when and why, so that an operator sees why a tool gets 403 or 429.
//!
//! It is a bounded memory of a core, beside its counters: those of known keys are kept apart, so that no flood of strangers
//! pushes them out. What a client chose is masked as in access records, and cut.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::mask;
use super::names::{Label, Names};
use super::record::{Answerer, Client, MethodLabel, Record};

/// A request that the gateway refused, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// When it ended, since 1970.
    pub at: Duration,
    /// Its id, as in the answer and in the access record.
    pub request_id: String,
    /// Where it came from.
    pub client: Client,
    /// The gateway key, by name; none where it presented none that is known.
    pub key: Option<Arc<str>>,
    /// The route, where it came so far.
    pub route: Option<Arc<str>>,
    /// The method; `_OTHER` for one that HTTP does not name.
    pub method: &'static str,
    /// The path without its query; keys in it are masked, and a long one is cut.
    pub path: Option<String>,
    /// The operation of the catalogue.
    pub endpoint: Option<&'static str>,
    /// The scope that it takes.
    pub scope: Option<&'static str>,
    /// The status of the answer.
    pub status: u16,
    /// The gateway's code (contract.md 4).
    pub code: &'static str,
    /// What the client calls itself; masked and cut like the path.
    pub user_agent: Option<String>,
}

/// A core's memory of what it refused.
#[derive(Default)]
pub(super) struct Refusals {
    known: VecDeque<Kept>,
    strangers: VecDeque<Kept>,
}

/// A refusal as it is remembered.
#[derive(Clone)]
pub(super) struct Kept {
    refused: Refused,
    key: Label,
    route: Label,
}

impl Refusals {
    /// Remembers it.
    pub(super) fn keep(&mut self, kept: Kept) {
        let stranger = matches!(kept.key, Label::NONE | Label::ANONYMOUS);
        let ring = if stranger { &mut self.strangers } else { &mut self.known };
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(kept);
    }

    /// All that is remembered, with the names.
    pub(super) fn list(&self, names: &Names) -> Vec<Refused> {
        let name = |label: Label| (label != Label::NONE).then(|| names.text(label));
        let all = self.known.iter().chain(&self.strangers);
        all.map(|one| Refused { key: name(one.key), route: name(one.route), ..one.refused.clone() }).collect()
    }
}

impl Kept {
    /// A request that ended at this time since 1970, if the gateway refused it.
    pub(super) fn of(record: &Record, at: Duration) -> Option<Self> {
        // What is only observed has a code as well, and passes.
        let code = record.code.filter(|_| record.origin == Answerer::Gateway)?;
        Some(Self { refused: Refused::of(record, code, at), key: record.key, route: record.route })
    }
}

impl Refused {
    fn of(record: &Record, code: &'static str, at: Duration) -> Self {
        Self {
            at,
            request_id: record.request_id.as_str().to_owned(),
            client: record.client,
            key: None,
            route: None,
            method: MethodLabel::of(record.method.as_ref()).as_str(),
            path: record.target.as_ref().map(|target| shown(target.path().as_bytes())),
            endpoint: record.endpoint,
            scope: record.scope,
            status: record.status,
            code,
            user_agent: record.user_agent.as_ref().map(|agent| shown(agent.as_bytes())),
        }
    }
}

/// A text of the client's, masked before it is cut: half a key is one as well.
fn shown(text: &[u8]) -> String {
    let masked = mask::masked(text);
    let text = String::from_utf8_lossy(&masked);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// So many are remembered of known keys by each core, and as many of everybody else.
const KEPT: usize = 250;
/// Characters of a text that a client chose.
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tests::record;

    fn refused(key: Label, path: &str) -> Record {
        let target = Some(path.parse().unwrap());
        Record { key, target, code: Some("scope_missing"), status: 403, ..record() }
    }

    fn note(refusals: &mut Refusals, record: &Record) {
        refusals.keep(Kept::of(record, Duration::ZERO).unwrap());
    }

    #[test]
    fn what_passed_is_not_remembered() {
        assert!(Kept::of(&record(), Duration::ZERO).is_none());
        let passed = Record { origin: Answerer::Upstream, ..refused(Label::NONE, "/") };
        assert!(Kept::of(&passed, Duration::ZERO).is_none());
    }

    #[test]
    fn strangers_push_out_no_refusal_of_a_known_key_and_all_is_bounded() {
        let names = Names::new(9);
        let key = names.key("reporting");
        let mut refusals = Refusals::default();
        note(&mut refusals, &refused(key, "/sales/first"));
        (0..3 * KEPT).for_each(|_| note(&mut refusals, &refused(Label::NONE, "/junk")));
        let list = refusals.list(&names);
        assert_eq!(list.len(), 1 + KEPT);
        assert_eq!((list[0].key.as_deref(), list[0].path.as_deref()), (Some("reporting"), Some("/sales/first")));
        (0..2 * KEPT).for_each(|_| note(&mut refusals, &refused(key, "/sales/more")));
        assert_eq!(refusals.list(&names).len(), 2 * KEPT);
    }

    #[test]
    fn a_key_in_what_a_client_chose_is_masked_and_long_texts_are_cut() {
        let key = "cgk_0123abcd_0123456789abcdef";
        let mut refusals = Refusals::default();
        let agent = Some(format!("tool {key}").parse().unwrap());
        let long = format!("/{}/{key}", "a".repeat(LONGEST - 10));
        for path in [&format!("/sales/{key}/"), "/sales/%63gk_0123abcd_0123456789abcdef/", long.as_str()] {
            note(&mut refusals, &Record { user_agent: agent.clone(), ..refused(Label::NONE, path) });
        }
        for one in refusals.list(&Names::new(9)) {
            let (path, agent) = (one.path.unwrap(), one.user_agent.unwrap());
            assert!(!path.contains("0123abcd") && path.contains("cgk_***"), "{path}");
            assert_eq!(agent, "tool cgk_***");
        }
        assert_eq!(shown("ä".repeat(1000).as_bytes()).chars().count(), LONGEST + 1);
    }
}
