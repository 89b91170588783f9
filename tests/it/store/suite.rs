//! What a store promises, whatever database it lies in: run on memory, a file and PostgreSQL.

use std::time::Duration;

use closegate::store::{
    Ask, Batch, By, Content, Draft, Event, Expected, Given, GrantState, KeyId, Kind, LastUse, Only, Page, Passing,
    Purpose, Question, Recorded, Sealed, Step, Store, StoreError, Sum, Token, Used,
};
use closegate::usage::{Amounts, Count, Series, Span};
use jiff::{Timestamp, ToSpan};
use serde_json::json;

/// Asks for every promise, each of a store with nothing in it.
pub(crate) async fn every_promise_is_kept(mut fresh: impl AsyncFnMut() -> Store) {
    records_are_added_changed_and_removed_once(&settled(fresh().await).await).await;
    a_change_is_made_whole_or_not_at_all(&settled(fresh().await).await).await;
    what_is_disabled_is_enabled_again_and_forgotten_with_its_credential(&settled(fresh().await).await).await;
    that_keys_were_defined_is_never_forgotten(&settled(fresh().await).await).await;
    a_grant_is_renewed_by_whoever_holds_the_newest_lease(&settled(fresh().await).await).await;
    a_lease_that_ran_out_is_taken_by_others_and_its_fence_with_it(&settled(fresh().await).await).await;
    what_passes_is_taken_once_and_expires(&settled(fresh().await).await).await;
    events_come_newest_first_by_pages_and_old_ones_go(&settled(fresh().await).await).await;
    what_is_sealed_under_another_key_is_refused_and_resealing_is_whole(&settled(fresh().await).await).await;
    usage_of_several_adds_up_and_a_batch_counts_once(&fresh().await).await;
    usage_is_kept_as_long_as_it_should(&fresh().await).await;
    parts_of_a_day_are_given_out_once(&fresh().await).await;
}

/// Settles on the key that [`sealed`] seals under.
async fn settled(store: Store) -> Store {
    store.settle_on(&sealed(1, "proof")).await.unwrap();
    store
}

/// Something sealed, as far as the store can tell.
pub(crate) fn sealed(key: u8, text: &str) -> Sealed {
    let mut bytes = vec![1];
    bytes.extend([key; KeyId::LENGTH]);
    bytes.extend(text.as_bytes());
    Sealed::parse(bytes).unwrap()
}

pub(crate) fn event() -> Event {
    Event::now("ops", "credential.add", "sales")
}

pub(crate) fn draft(kind: Kind, name: &str) -> Draft {
    Draft { kind, name: name.to_owned(), body: json!({ "of": name }), sealed: None }
}

pub(crate) fn token(text: &str) -> Token {
    Token { sealed: sealed(1, text), expires_at: Some(Timestamp::from_second(1_800_000_000).unwrap()) }
}

async fn records_are_added_changed_and_removed_once(store: &Store) {
    let with_secret = Draft { sealed: Some(sealed(1, "one")), ..draft(Kind::Credential, "sales") };
    let added = store.insert(with_secret.clone(), &event()).await.unwrap();
    assert_eq!(added.body, json!({ "of": "sales" }));
    assert_eq!(added.sealed, Some(sealed(1, "one")));
    assert_eq!(store.record(Kind::Credential, "sales").await, Ok(Some(added.clone())));
    let taken = StoreError::Taken { kind: Kind::Credential, name: "sales".to_owned() };
    assert_eq!(store.insert(with_secret.clone(), &event()).await, Err(taken));
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();

    let changed = Draft { body: json!({ "of": "more" }), ..with_secret };
    let replaced = store.replace(changed.clone(), Expected::Version(added.version), &event()).await.unwrap();
    assert!(replaced.version > added.version);
    let stale = store.replace(changed.clone(), Expected::Version(added.version), &event()).await;
    let found = StoreError::Changed { kind: Kind::Credential, name: "sales".to_owned(), found: replaced.version };
    assert_eq!(stale, Err(found.clone()));
    assert_eq!(store.remove(Kind::Credential, "sales", Expected::Version(1), &event()).await, Err(found));
    assert_eq!(store.records(Kind::Credential).await, Ok(vec![replaced.clone()]));

    store.remove(Kind::Credential, "sales", Expected::Any, &event()).await.unwrap();
    let absent = StoreError::Absent { kind: Kind::Credential, name: "sales".to_owned() };
    assert_eq!(store.replace(changed.clone(), Expected::Any, &event()).await, Err(absent));
    // One that comes back is not taken for the one before.
    let again = store.insert(changed, &event()).await.unwrap();
    assert!(again.version > replaced.version);
}

async fn a_change_is_made_whole_or_not_at_all(store: &Store) {
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    let (before, revision) = (events(store).await, store.revision().await.unwrap());
    let steps = vec![
        Step::Insert(draft(Kind::Credential, "sales")),
        Step::Disable("sales".to_owned()),
        Step::Insert(draft(Kind::Route, "sales")),
    ];
    assert!(matches!(store.change_all(steps, &event()).await, Err(StoreError::Taken { kind: Kind::Route, .. })));
    assert_eq!(store.records(Kind::Credential).await, Ok(Vec::new()));
    assert!(store.disabled().await.unwrap().is_empty());
    assert_eq!((events(store).await, store.revision().await), (before, Ok(revision)));
    let steps = vec![Step::Insert(draft(Kind::Credential, "sales")), Step::Insert(draft(Kind::Route, "partner"))];
    let written = store.change_all(steps, &event()).await.unwrap();
    assert_eq!(written.iter().map(|record| record.version).collect::<Vec<_>>(), [revision + 1, revision + 1]);
}

async fn what_is_disabled_is_enabled_again_and_forgotten_with_its_credential(store: &Store) {
    let change = async |step| store.change_all(vec![step], &event()).await.map(drop);
    store.insert(draft(Kind::Credential, "sales"), &event()).await.unwrap();
    for name in ["sales", "of-the-file", "sales"] {
        change(Step::Disable(name.to_owned())).await.unwrap();
    }
    assert_eq!(store.disabled().await.unwrap().into_iter().collect::<Vec<_>>(), ["of-the-file", "sales"]);
    change(Step::Enable("of-the-file".to_owned())).await.unwrap();
    store.put_grant("sales", &token("t"), &event()).await.unwrap();
    store.remove(Kind::Credential, "sales", Expected::Any, &event()).await.unwrap();
    assert!(store.disabled().await.unwrap().is_empty());
    assert_eq!(store.grants().await, Ok(Vec::new()));
}

async fn that_keys_were_defined_is_never_forgotten(store: &Store) {
    assert_eq!(store.keys_ever_defined().await, Ok(false));
    store.insert(draft(Kind::Key, "tool"), &event()).await.unwrap();
    store.remove(Kind::Key, "tool", Expected::Any, &event()).await.unwrap();
    assert_eq!(store.keys_ever_defined().await, Ok(true));
}

async fn a_grant_is_renewed_by_whoever_holds_the_newest_lease(store: &Store) {
    let none = StoreError::NoGrant { name: "partner".to_owned() };
    assert_eq!(store.lease_grant("partner", "a", TTL).await, Err(none));
    let put = store.put_grant("partner", &token("first"), &event()).await.unwrap();
    assert_eq!(store.grant("partner").await, Ok(Some(put.clone())));
    assert_eq!(put.state, GrantState::Ready);

    let fence = store.lease_grant("partner", "a", TTL).await.unwrap().unwrap();
    assert_eq!(store.lease_grant("partner", "b", TTL).await, Ok(None));
    let marked = store.mark_grant("partner", GrantState::Refreshing, Some("sent"), fence).await.unwrap();
    assert_eq!((marked.sealed, marked.reason.as_deref()), (Some(sealed(1, "first")), Some("sent")));
    let stored = store.store_grant("partner", &token("second"), fence).await.unwrap();
    assert!(stored.generation > put.generation);
    assert_eq!((stored.state, &stored.reason), (GrantState::Ready, &None));
    assert_eq!(store.grant("partner").await, Ok(Some(stored)));

    store.release_grant("partner", fence).await.unwrap();
    let stale = StoreError::Stale { name: "partner".to_owned() };
    assert_eq!(store.store_grant("partner", &token("late"), fence).await, Err(stale.clone()));
    assert_eq!(store.renew_lease("partner", fence, TTL).await, Err(stale.clone()));
    let newer = store.lease_grant("partner", "b", TTL).await.unwrap().unwrap();
    assert!(newer > fence);
    // Gives back what is not its own any more.
    store.release_grant("partner", fence).await.unwrap();
    assert_eq!(store.lease_grant("partner", "c", TTL).await, Ok(None));
    // Somebody authorizes anew: whoever renews the old tokens must not write over the new ones.
    store.put_grant("partner", &token("authorized"), &event()).await.unwrap();
    assert_eq!(store.store_grant("partner", &token("late"), newer).await, Err(stale.clone()));
    assert_eq!(store.mark_grant("partner", GrantState::Dead, None, newer).await, Err(stale));
    let now = store.grant("partner").await.unwrap().unwrap();
    assert_eq!((now.sealed, now.state), (Some(sealed(1, "authorized")), GrantState::Ready));
    let before = store.lease_grant("partner", "d", TTL).await.unwrap().unwrap();
    remove(store, "partner").await;
    assert_eq!(store.grant("partner").await, Ok(None));
    // The name is used again: whoever renews the grant before must not write into this one.
    store.put_grant("partner", &token("of another"), &event()).await.unwrap();
    for _ in 0..3 {
        let fence = store.lease_grant("partner", "e", TTL).await.unwrap().unwrap();
        assert!(fence > before, "{fence:?} after {before:?}");
        let late = store.store_grant("partner", &token("late"), before).await;
        assert_eq!(late, Err(StoreError::Stale { name: "partner".to_owned() }));
        store.release_grant("partner", fence).await.unwrap();
    }
    remove(store, "partner").await;
}

/// Removes a grant, with its credential.
async fn remove(store: &Store, name: &str) {
    store.insert(draft(Kind::Credential, name), &event()).await.unwrap();
    store.remove(Kind::Credential, name, Expected::Any, &event()).await.unwrap();
}

async fn a_lease_that_ran_out_is_taken_by_others_and_its_fence_with_it(store: &Store) {
    store.put_grant("partner", &token("first"), &event()).await.unwrap();
    let dead = store.lease_grant("partner", "a", Duration::ZERO).await.unwrap().unwrap();
    // Nobody else has it yet: tokens that exist are not lost.
    store.store_grant("partner", &token("second"), dead).await.unwrap();
    let alive = store.lease_grant("partner", "b", TTL).await.unwrap().unwrap();
    let stale = StoreError::Stale { name: "partner".to_owned() };
    assert_eq!(store.store_grant("partner", &token("third"), dead).await, Err(stale.clone()));
    assert_eq!(store.mark_grant("partner", GrantState::Dead, None, dead).await, Err(stale));
    store.store_grant("partner", &token("fourth"), alive).await.unwrap();
}

async fn what_passes_is_taken_once_and_expires(store: &Store) {
    let later = Passing { body: json!({ "a": 1 }), sealed: Some(sealed(1, "verifier")), expires_at: in_hours(1) };
    let past = Passing { expires_at: in_hours(-1), ..later.clone() };
    for (digest, passing) in [([1; 32], &later), ([2; 32], &past)] {
        store.remember(Purpose::OAuthState, digest, passing).await.unwrap();
        store.remember(Purpose::Session, digest, passing).await.unwrap();
    }
    let stored = store.recall(Purpose::Session, [1; 32]).await.unwrap().unwrap();
    assert_eq!((stored.body, stored.sealed), (later.body.clone(), later.sealed.clone()));
    assert_eq!(store.recall(Purpose::Session, [2; 32]).await, Ok(None));
    assert_eq!(store.take(Purpose::OAuthState, [2; 32]).await, Ok(None));
    assert!(store.take(Purpose::OAuthState, [1; 32]).await.unwrap().is_some());
    assert_eq!(store.take(Purpose::OAuthState, [1; 32]).await, Ok(None));
    store.sweep().await.unwrap();
    assert!(store.recall(Purpose::Session, [1; 32]).await.unwrap().is_some());
    let again = json!({ "a": 2 });
    assert_eq!(store.renew(Purpose::Session, [1; 32], &again, in_hours(2)).await, Ok(true));
    let renewed = store.recall(Purpose::Session, [1; 32]).await.unwrap().unwrap();
    assert_eq!((&renewed.body, renewed.sealed), (&again, later.sealed.clone()));
    assert!(renewed.expires_at > later.expires_at);
    store.forget(Purpose::Session, [1; 32]).await.unwrap();
    assert_eq!(store.recall(Purpose::Session, [1; 32]).await, Ok(None));
    assert_eq!(store.renew(Purpose::Session, [1; 32], &again, in_hours(2)).await, Ok(false), "it was forgotten");
    assert_eq!(store.recall(Purpose::Session, [1; 32]).await, Ok(None));
    store.remember(Purpose::Session, [2; 32], &past).await.unwrap();
    assert_eq!(store.renew(Purpose::Session, [2; 32], &again, in_hours(2)).await, Ok(false), "its time was over");
}

async fn events_come_newest_first_by_pages_and_old_ones_go(store: &Store) {
    let old = Event { at: in_hours(-24 * 91), ..Event::now("ops", "old", "") };
    store.note(&old).await.unwrap();
    for number in 1..=5 {
        store.note(&event().from("192.0.2.1").with(json!({ "number": number }))).await.unwrap();
    }
    let page = |before, limit| store.events(Page { before, limit });
    let (first, next) = page(None, 2).await.unwrap();
    let numbers = |events: &[Recorded]| events.iter().map(|at| at.event.detail["number"].clone()).collect::<Vec<_>>();
    assert_eq!(numbers(&first), [5, 4]);
    assert_eq!(first[0].event.origin.as_deref(), Some("192.0.2.1"));
    let (second, next) = page(next, 3).await.unwrap();
    assert_eq!(numbers(&second), [3, 2, 1]);
    assert_eq!(page(next, 10).await.unwrap().0[0].event.action, "old");
    store.sweep().await.unwrap();
    assert_eq!(page(next, 10).await, Ok((Vec::new(), None)));
}

async fn what_is_sealed_under_another_key_is_refused_and_resealing_is_whole(store: &Store) {
    let with = |name: &str, key| Draft { sealed: Some(sealed(key, name)), ..draft(Kind::Credential, name) };
    assert_eq!(store.insert(with("a", 2), &event()).await, Err(StoreError::OtherKey));
    store.insert(with("a", 1), &event()).await.unwrap();
    store.put_grant("a", &token("t"), &event()).await.unwrap();
    let passing = Passing { body: json!(null), sealed: Some(sealed(1, "p")), expires_at: in_hours(1) };
    store.remember(Purpose::OAuthState, [1; 32], &passing).await.unwrap();
    store.remember(Purpose::Session, [2; 32], &passing).await.unwrap();
    assert_eq!(store.settle_on(&sealed(2, "proof")).await, Ok(sealed(1, "proof")), "settled before");

    let proof = sealed(2, "proof");
    let told = event();
    let gives_up = store.reseal(&proof, &told, |content, _| match content {
        Content::Record(..) => Some(sealed(2, "new")),
        Content::Grant(_) | Content::Passing(..) => None,
    });
    assert!(matches!(gives_up.await, Err(StoreError::Corrupt { .. })));
    assert_eq!(store.proof().await, Ok(Some(sealed(1, "proof"))));
    assert_eq!(store.record(Kind::Credential, "a").await.unwrap().unwrap().sealed, Some(sealed(1, "a")));

    let mut seen = Vec::new();
    let count = store.reseal(&proof, &told, |content, _| {
        seen.push(content.clone());
        (*content != Content::Passing(Purpose::Session, [2; 32])).then(|| sealed(2, "new"))
    });
    assert_eq!(count.await, Ok(4));
    assert_eq!(seen.len(), 4);
    assert_eq!(store.proof().await, Ok(Some(sealed(2, "proof"))));
    assert_eq!(store.record(Kind::Credential, "a").await.unwrap().unwrap().sealed, Some(sealed(2, "new")));
    assert_eq!(store.grant("a").await.unwrap().unwrap().sealed, Some(sealed(2, "new")));
    assert_eq!(store.take(Purpose::OAuthState, [1; 32]).await.unwrap().unwrap().sealed, Some(sealed(2, "new")));
    assert_eq!(store.take(Purpose::Session, [2; 32]).await, Ok(None));
    assert_eq!(store.insert(with("b", 1), &event()).await, Err(StoreError::OtherKey));
    let fence = store.lease_grant("a", "o", TTL).await.unwrap().unwrap();
    assert_eq!(store.store_grant("a", &token("t"), fence).await, Err(StoreError::OtherKey));
}

async fn events(store: &Store) -> usize {
    store.events(Page { before: None, limit: 1_000 }).await.unwrap().0.len()
}

fn in_hours(hours: i64) -> Timestamp {
    Timestamp::now() + hours.hours()
}

const TTL: Duration = Duration::from_secs(60);

/// A request of a key, in a minute, that took 3 ms.
fn count(minute: u64, key: &str, status_class: u8) -> Count {
    let names = [key, "sales", "close", "/api/v1/me/", "GET", "read"].map(std::sync::Arc::from);
    let [key, route, credential, endpoint, method, scope] = names;
    let series = Series { key, route, credential, endpoint, method, scope, status_class };
    let mut amounts =
        Amounts { requests: 1, request_bytes: 10, response_bytes: u64::from(u32::MAX), ..Amounts::default() };
    amounts.durations.observe(Duration::from_millis(3));
    amounts.refused = u64::from(status_class == 4);
    Count { span: Span::Minute, begins: minute, series, amounts }
}

fn batch(writer: &str, number: u64, counts: Vec<Count>) -> Batch {
    Batch { writer: writer.to_owned(), number, counts, uses: Vec::new() }
}

fn asked(by: By, from: u64) -> Question {
    Question { span: Span::Minute, from, step: u64::MAX, by, only: Only::default() }
}

fn told(mut sums: Vec<Sum>) -> Vec<(u64, String, u64)> {
    sums.sort_by(|a, b| (a.begins, &a.name).cmp(&(b.begins, &b.name)));
    sums.into_iter().map(|sum| (sum.begins, sum.name, sum.amounts.requests)).collect()
}

async fn usage_of_several_adds_up_and_a_batch_counts_once(store: &Store) {
    let now = Timestamp::now().as_second().unsigned_abs() / 60;
    assert_eq!(store.usage(&asked(By::Key, 0)).await, Ok(Vec::new()));
    let first = batch("one", 1, vec![count(now - 9, "a", 2), count(now - 1, "a", 2), count(now - 1, "b", 4)]);
    for again in
        [&first, &first, &batch("two", 1, vec![count(now - 1, "a", 2)]), &batch("one", 2, vec![count(now, "a", 5)])]
    {
        store.add_usage(again).await.unwrap();
    }
    let named = |name: &str, requests| (now - 9, name.to_owned(), requests);
    let by = async |by| told(store.usage(&asked(by, now - 9)).await.unwrap());
    assert_eq!(by(By::Key).await, [named("a", 4), named("b", 1)]);
    assert_eq!(by(By::Status).await, [named("2xx", 3), named("4xx", 1), named("5xx", 1)]);
    assert_eq!(by(By::Endpoint).await, [named("GET /api/v1/me/", 5)]);
    assert_eq!((by(By::Route).await, by(By::Credential).await), (vec![named("sales", 5)], vec![named("close", 5)]));
    let only = Only { key: Some("a".to_owned()), endpoint: Some("GET /api/v1/me/".to_owned()), ..Only::default() };
    let steps = store.usage(&Question { step: 5, only, ..asked(By::Key, now - 9) }).await.unwrap();
    assert_eq!(told(steps), [(now - 9, "a".to_owned(), 1), (now - 4, "a".to_owned(), 3)]);
    let sums = store.usage(&asked(By::Route, 0)).await.unwrap();
    let amounts = &sums[0].amounts;
    assert_eq!((amounts.refused, amounts.request_bytes, amounts.response_bytes), (1, 50, 5 * u64::from(u32::MAX)));
    assert_eq!(amounts.durations.sum(), Duration::from_millis(15));
    assert_eq!(amounts.durations.percentile(50), Some(Duration::from_millis(5)));

    let used = |of, at| LastUse { of, name: "a".to_owned(), at };
    for (number, at) in [(3, 70), (4, 60)] {
        let uses = vec![used(Used::Key, at), used(Used::Credential, at + 1)];
        store.add_usage(&Batch { uses, ..batch("one", number, Vec::new()) }).await.unwrap();
    }
    let mut uses = store.last_uses().await.unwrap();
    uses.sort_by_key(|used| used.of);
    assert_eq!(uses, [used(Used::Key, 70), used(Used::Credential, 71)]);

    let day = |count: Count| Count { span: Span::Day, begins: Span::Day.around(now), ..count };
    let days = vec![day(count(0, "a", 2)), day(count(0, "a", 4)), day(count(0, "b", 2))];
    store.add_usage(&batch("two", 2, days)).await.unwrap();
    let deeds = store.deeds("a", Span::Day.around(now)).await.unwrap();
    assert_eq!(deeds.len(), 1);
    assert_eq!((deeds[0].method.as_str(), deeds[0].requests), ("GET", 1), "what was refused was not done");
}

async fn usage_is_kept_as_long_as_it_should(store: &Store) {
    let now = Timestamp::now().as_second().unsigned_abs() / 60;
    let day = |days: u64| Count { span: Span::Day, begins: Span::Day.around(now) - days * 1440, ..count(0, "a", 2) };
    let counts = vec![count(now - 1438, "a", 2), count(now - 1442, "a", 2), day(89), day(91)];
    store.add_usage(&batch("one", 1, counts)).await.unwrap();
    let kept = async |span| told(store.usage(&Question { span, step: 1, ..asked(By::Key, 0) }).await.unwrap()).len();
    assert_eq!((kept(Span::Minute).await, kept(Span::Day).await), (2, 2));
    store.sweep().await.unwrap();
    assert_eq!((kept(Span::Minute).await, kept(Span::Day).await), (1, 1));
}

async fn parts_of_a_day_are_given_out_once(store: &Store) {
    let ask = |day, more, overdrawn| Ask { name: "a".to_owned(), day, most: 100, more, overdrawn };
    let allot = async |ask: Ask| store.allot(&[ask]).await.unwrap()[0];
    assert_eq!(allot(ask(7, 60, 0)).await, Given { day: 7, total: 60, granted: 60 });
    assert_eq!(allot(ask(7, 60, 0)).await, Given { day: 7, total: 100, granted: 40 });
    assert_eq!(allot(ask(7, 60, 3)).await, Given { day: 7, total: 103, granted: 0 });
    assert_eq!(store.allowances().await, Ok(vec![("a".to_owned(), 7, 103)]));
    store.give_back(&[("a".to_owned(), 7, 13), ("a".to_owned(), 6, 50), ("b".to_owned(), 7, 1)]).await.unwrap();
    assert_eq!(allot(ask(7, 5, 0)).await, Given { day: 7, total: 95, granted: 5 });
    assert_eq!(allot(ask(8, 5, 1)).await, Given { day: 8, total: 6, granted: 5 });
    assert_eq!(allot(ask(7, 5, 0)).await, Given { day: 8, total: 6, granted: 0 }, "somebody has begun the next day");
}
