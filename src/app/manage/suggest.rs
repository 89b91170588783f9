//! `key suggest`: the least scopes and rules that cover what a key really used, by what is kept of its usage.
//!
//! What was refused was not used. An operation becomes a rule with `*` for each parameter of its path; what Close does not
//! document has no path in the usage that is kept, so that no rule can cover it, and its number is told instead.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Manager, refuse, view};
use crate::admin::model::{KeyView, Scope, Suggestion, UsedOperation};
use crate::admin::{Kind, Refusal};
use crate::app::usage::{kept_since, now};
use crate::catalogue::{Catalogue, Demand};
use crate::id::KeyName;
use crate::store::Deed;
use crate::usage::{NONE, OTHER, Span};

impl Manager {
    pub(super) async fn suggest(&self, name: &KeyName) -> Result<Suggestion, Refusal> {
        let key = view::key(&*self.effective().await?, name).ok_or_else(|| Refusal::not_found(Kind::Key, name))?;
        let from = kept_since(Span::Day, now() / 60);
        let deeds = match &self.books {
            Some(books) => books.deeds(name.as_str(), from).await,
            None => self.store().deeds(name.as_str(), from).await,
        };
        let deeds = deeds.map_err(|fault| refuse::by_store(&fault))?;
        let seconds = i64::try_from(from * 60).unwrap_or_default();
        Ok(suggestion(&key, Timestamp::from_second(seconds).unwrap_or_default(), deeds))
    }
}

fn suggestion(key: &KeyView, since: Timestamp, deeds: Vec<Deed>) -> Suggestion {
    let (documented, undocumented): (Vec<Deed>, Vec<Deed>) =
        together(deeds).into_iter().partition(|deed| !matches!(deed.endpoint.as_str(), NONE | OTHER));
    let undocumented: u64 = undocumented.iter().map(|deed| deed.requests).sum();
    let scopes: BTreeSet<Scope> = documented.iter().flat_map(|deed| scopes_of(key, deed)).collect();
    let mut used: Vec<UsedOperation> = documented.iter().map(operation).collect();
    used.sort_by(|a, b| (b.requests, &a.endpoint, &a.method).cmp(&(a.requests, &b.endpoint, &b.method)));
    let mut notes = Vec::new();
    if documented.is_empty() {
        notes.push("it has not used any operation that Close documents".to_owned());
    }
    if undocumented > 0 {
        notes.push(dropped(undocumented));
    }
    if documented.iter().any(|deed| is_open(key, deed)) {
        notes.push(
            "it may both write mail or messages and send them, so that what they said was not read: whether it needs \
             `send` is not known"
                .to_owned(),
        );
    }
    Suggestion {
        key: key.name.clone(),
        since,
        until: Timestamp::now(),
        scopes: scopes.into_iter().collect(),
        allow: rules(&documented),
        used,
        undocumented,
        notes,
    }
}

/// What the rules do not cover.
fn dropped(undocumented: u64) -> String {
    match undocumented {
        1 => "1 request went to a path that Close does not document: these rules refuse it; the access records say which \
              it was"
            .to_owned(),
        many => format!(
            "{many} requests went to paths that Close does not document: these rules refuse them; the access records say \
             which they were"
        ),
    }
}

/// Deeds of one kind as one.
fn together(deeds: Vec<Deed>) -> Vec<Deed> {
    let mut sums: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for Deed { method, endpoint, scope, requests } in deeds {
        *sums.entry((endpoint, method, scope)).or_default() += requests;
    }
    let deed = |((endpoint, method, scope), requests)| Deed { method, endpoint, scope, requests };
    sums.into_iter().map(deed).collect()
}

/// The rules that allow these operations: one for each path, with every method that was used on it.
fn rules(deeds: &[Deed]) -> Vec<String> {
    let mut methods: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for deed in deeds {
        methods.entry(pattern(&deed.endpoint)).or_default().insert(&deed.method);
    }
    let rule = |(pattern, methods): (String, BTreeSet<&str>)| {
        let methods: Vec<&str> = methods.into_iter().collect();
        format!("{} {pattern}", methods.join(","))
    };
    methods.into_iter().map(rule).collect()
}

/// `/api/v1/lead/{id}/` as `/api/v1/lead/*`.
fn pattern(endpoint: &str) -> String {
    let segment = |segment| if str::starts_with(segment, '{') { "*" } else { segment };
    let pattern = endpoint.split('/').map(segment).collect::<Vec<_>>().join("/");
    pattern.strip_suffix("*/").map_or(pattern.clone(), |below| format!("{below}*"))
}

/// Whether the body of what was done decides on its scope, and was not read.
fn is_open(key: &KeyView, deed: &Deed) -> bool {
    let has = |scope| key.scopes.as_ref().is_none_or(|all| all.contains(&scope) || all.contains(&Scope::All));
    let by_status = Catalogue::close().operations().any(|operation| {
        operation.endpoint == deed.endpoint
            && operation.method.as_str() == deed.method
            && operation.demand == Demand::ByStatus
    });
    by_status && has(Scope::Write) && has(Scope::Send)
}

fn scopes_of(key: &KeyView, deed: &Deed) -> Vec<Scope> {
    if is_open(key, deed) {
        return vec![Scope::Write, Scope::Send];
    }
    let scope = crate::scope::Scope::parse(&deed.scope).map(view::shown_scope);
    scope.into_iter().collect()
}

fn operation(deed: &Deed) -> UsedOperation {
    let Deed { method, endpoint, scope, requests } = deed.clone();
    UsedOperation { method, endpoint, scope, requests }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::{KeyState, Mode, Source, Version};
    use crate::rule::Rule;

    fn key(scopes: Option<Vec<Scope>>) -> KeyView {
        KeyView {
            name: "reporting".to_owned(),
            id: None,
            description: None,
            routes: vec!["sales".to_owned()],
            scopes,
            allow: Vec::new(),
            deny: Vec::new(),
            rate: None,
            burst: None,
            concurrency: None,
            daily_quota: None,
            expires_at: None,
            mode: Mode::Enforce,
            peer_uid: None,
            state: KeyState::Active,
            source: Source::managed(),
            created_at: None,
            updated_at: None,
            last_used_at: None,
            version: Version(1),
        }
    }

    fn deed(method: &str, endpoint: &str, scope: &str, requests: u64) -> Deed {
        let [method, endpoint, scope] = [method, endpoint, scope].map(str::to_owned);
        Deed { method, endpoint, scope, requests }
    }

    fn suggested(scopes: Option<Vec<Scope>>, deeds: Vec<Deed>) -> Suggestion {
        suggestion(&key(scopes), Timestamp::UNIX_EPOCH, deeds)
    }

    #[test]
    fn operations_become_rules_and_scopes() {
        let suggestion = suggested(
            None,
            vec![
                deed("GET", "/api/v1/lead/", "read", 3),
                deed("PUT", "/api/v1/lead/{id}/", "write", 1),
                deed("GET", "/api/v1/lead/{id}/", "read", 5),
                deed("GET", "/api/v1/lead/{id}/", "read", 2),
            ],
        );
        assert_eq!(suggestion.scopes, [Scope::Read, Scope::Write]);
        assert_eq!(suggestion.allow, ["GET /api/v1/lead/", "GET,PUT /api/v1/lead/*"]);
        assert_eq!(suggestion.used[0], operation(&deed("GET", "/api/v1/lead/{id}/", "read", 7)));
        assert!(suggestion.notes.is_empty(), "{:?}", suggestion.notes);
    }

    #[test]
    fn every_documented_operation_has_a_rule_that_can_be_read() {
        for operation in Catalogue::close().operations() {
            let rules = rules(&[deed(operation.method.as_str(), operation.endpoint, "read", 1)]);
            assert!(rules.len() == 1 && Rule::parse(&rules[0]).is_ok(), "{rules:?}");
        }
    }

    #[test]
    fn what_cannot_be_covered_is_told() {
        let suggestion = suggested(None, vec![deed("GET", NONE, "read", 4), deed("POST", OTHER, OTHER, 1)]);
        assert_eq!((suggestion.undocumented, suggestion.notes.len()), (5, 2));
        assert!(suggestion.scopes.is_empty() && suggestion.allow.is_empty());
        assert!(suggestion.notes[1].starts_with("5 requests went to paths that Close does not document"));
        let one = suggested(None, vec![deed("GET", "/api/v1/lead/", "read", 1), deed("GET", NONE, "read", 1)]);
        assert_eq!(
            one.notes,
            ["1 request went to a path that Close does not document: these rules refuse it; the access records say \
              which it was"]
        );
    }

    #[test]
    fn where_the_body_decides_its_scope_is_known_when_it_was_read() {
        let mail = || vec![deed("POST", "/api/v1/activity/email/", "write", 1)];
        assert_eq!(suggested(Some(vec![Scope::Write]), mail()).scopes, [Scope::Write]);
        let both = suggested(Some(vec![Scope::Write, Scope::Send]), mail());
        assert_eq!((both.scopes, both.notes.len()), (vec![Scope::Write, Scope::Send], 1));
        assert_eq!(suggested(None, mail()).scopes, [Scope::Write, Scope::Send]);
    }
}
