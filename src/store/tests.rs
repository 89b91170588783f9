//! What the store promises, in memory and in a file; `tests/it/store.rs` asks PostgreSQL for the same.

use std::os::unix::fs::PermissionsExt;

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Something sealed, as far as the store can tell.
fn sealed(key: u8, text: &str) -> Sealed {
    let mut bytes = vec![1];
    bytes.extend([key; KeyId::LENGTH]);
    bytes.extend(text.as_bytes());
    Sealed::parse(bytes).unwrap()
}

fn event() -> Event {
    Event::now("ops", "credential.add", "sales")
}

fn draft(kind: Kind, name: &str) -> Draft {
    Draft { kind, name: name.to_owned(), body: json!({ "of": name }), sealed: None }
}

fn token(text: &str) -> Token {
    Token { sealed: sealed(1, text), expires_at: Some(Timestamp::from_second(1_800_000_000).unwrap()) }
}

fn place(folder: &TempDir) -> Place {
    Place::Sqlite { path: folder.path().join("data/closegate.db"), otherwise: Otherwise::Refuse }
}

async fn memory() -> Store {
    let store = Store::new(Place::Memory, Role::Serving);
    store.settle_on(&sealed(1, "proof")).await.unwrap();
    store
}

#[tokio::test]
async fn nothing_is_made_before_something_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(place(&folder), Role::Serving).await.unwrap();
    assert_eq!(store.prepare().await, Ok(Presence::Absent));
    assert_eq!(store.records(Kind::Credential).await, Ok(Vec::new()));
    assert_eq!(store.revision().await, Ok(0));
    assert_eq!(store.take(Purpose::Session, [0; 32]).await, Ok(None));
    store.sweep().await.unwrap();
    assert!(!folder.path().join("data").exists());
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    assert_eq!(store.prepare().await, Ok(Presence::Open));
    let mode = |path: &str| folder.path().join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    for file in ["closegate.db", "closegate.db-wal", "closegate.db-shm", "closegate.db.lock"] {
        assert_eq!(mode(&format!("data/{file}")), 0o600, "{file}");
    }
}

#[tokio::test]
async fn records_are_added_changed_and_removed_once() {
    let store = memory().await;
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

#[tokio::test]
async fn a_change_is_made_whole_or_not_at_all() {
    let store = memory().await;
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    let (before, revision) = (events(&store).await, store.revision().await.unwrap());
    let steps = vec![
        Step::Insert(draft(Kind::Credential, "sales")),
        Step::Disable("sales".to_owned()),
        Step::Insert(draft(Kind::Route, "sales")),
    ];
    assert!(matches!(store.change_all(steps, &event()).await, Err(StoreError::Taken { kind: Kind::Route, .. })));
    assert_eq!(store.records(Kind::Credential).await, Ok(Vec::new()));
    assert!(store.disabled().await.unwrap().is_empty());
    assert_eq!((events(&store).await, store.revision().await), (before, Ok(revision)));
    let steps = vec![Step::Insert(draft(Kind::Credential, "sales")), Step::Insert(draft(Kind::Route, "partner"))];
    let written = store.change_all(steps, &event()).await.unwrap();
    assert_eq!(written.iter().map(|record| record.version).collect::<Vec<_>>(), [revision + 1, revision + 1]);
}

#[tokio::test]
async fn what_is_disabled_is_enabled_again_and_forgotten_with_its_credential() {
    let store = memory().await;
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

#[tokio::test]
async fn that_keys_were_defined_is_never_forgotten() {
    let store = memory().await;
    assert_eq!(store.keys_ever_defined().await, Ok(false));
    store.insert(draft(Kind::Key, "tool"), &event()).await.unwrap();
    store.remove(Kind::Key, "tool", Expected::Any, &event()).await.unwrap();
    assert_eq!(store.keys_ever_defined().await, Ok(true));
    let of_the_file = memory().await;
    of_the_file.change_all(vec![Step::DefineKeys], &event()).await.unwrap();
    assert_eq!(of_the_file.keys_ever_defined().await, Ok(true));
}

#[tokio::test]
async fn a_grant_is_renewed_by_whoever_holds_the_newest_lease() {
    let store = memory().await;
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
    store.remove_grant("partner", &event()).await.unwrap();
    assert_eq!(store.grant("partner").await, Ok(None));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_by_others_and_its_fence_with_it() {
    let store = memory().await;
    store.put_grant("partner", &token("first"), &event()).await.unwrap();
    let dead = store.lease_grant("partner", "a", Duration::ZERO).await.unwrap().unwrap();
    // Nobody else has it yet: tokens that exist are not lost.
    store.store_grant("partner", &token("second"), dead).await.unwrap();
    let alive = store.lease_grant("partner", "b", TTL).await.unwrap().unwrap();
    let stale = StoreError::Stale { name: "partner".to_owned() };
    assert_eq!(store.store_grant("partner", &token("third"), dead).await, Err(stale));
    store.store_grant("partner", &token("fourth"), alive).await.unwrap();
}

#[tokio::test]
async fn what_passes_is_taken_once_and_expires() {
    let store = memory().await;
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
    store.forget(Purpose::Session, [1; 32]).await.unwrap();
    assert_eq!(store.recall(Purpose::Session, [1; 32]).await, Ok(None));
}

#[tokio::test]
async fn events_come_newest_first_by_pages_and_old_ones_go() {
    let store = memory().await;
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

#[tokio::test]
async fn a_later_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(place(&folder), Role::Serving);
    let mut session = store.change().await.unwrap();
    session.run("UPDATE cg_schema SET version = 999").await.unwrap();
    session.commit().await.unwrap();
    store.close().await;
    let refused = Store::open(place(&folder), Role::Visiting).await.unwrap_err();
    assert_eq!(refused, StoreError::Newer { found: 999, known: migrate::NEWEST });
}

#[tokio::test]
async fn one_gateway_serves_from_a_file_and_others_visit() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::new(place(&folder), Role::Serving);
    first.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    let second = Store::open(place(&folder), Role::Serving).await.unwrap_err();
    let path = folder.path().join("data/closegate.db");
    assert_eq!(second, StoreError::Locked { path });
    let visitor = Store::open(place(&folder), Role::Visiting).await.unwrap();
    visitor.insert(draft(Kind::Route, "partner"), &event()).await.unwrap();
    assert_eq!(first.records(Kind::Route).await.unwrap().len(), 2);
    first.close().await;
    drop(first);
    Store::open(place(&folder), Role::Serving).await.unwrap();
}

#[tokio::test]
async fn what_another_process_changes_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Store::new(place(&folder), Role::Serving);
    let (mut records, mut grants) = (gateway.changes(), gateway.grant_changes());
    let visitor = Store::new(place(&folder), Role::Visiting);
    let followed = async {
        visitor.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
        records.wait_for(|revision| *revision == 1).await.unwrap();
        visitor.settle_on(&sealed(1, "proof")).await.unwrap();
        visitor.put_grant("partner", &token("t"), &event()).await.unwrap();
        grants.wait_for(|generation| *generation == 1).await.unwrap();
        // Its own change is told at once, with nobody looking.
        gateway.insert(draft(Kind::Route, "partner"), &event()).await.unwrap();
        assert_eq!(*records.borrow(), 2);
    };
    tokio::select! {
        never = gateway.follow() => match never {},
        () = followed => {}
    }
}

#[tokio::test]
async fn where_no_file_can_be_made_memory_serves_if_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let path = folder.path().join("file/data/closegate.db");
    let refused = Store::new(Place::Sqlite { path: path.clone(), otherwise: Otherwise::Refuse }, Role::Serving);
    assert!(matches!(refused.insert(draft(Kind::Route, "sales"), &event()).await, Err(StoreError::Unusable { .. })));
    let store = Store::new(Place::Sqlite { path, otherwise: Otherwise::Memory }, Role::Serving);
    assert!(store.is_lasting());
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    assert!(!store.is_lasting());
    assert_eq!(store.records(Kind::Route).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_sealed_under_another_key_is_refused_and_resealing_is_whole() {
    let store = memory().await;
    let with = |name: &str, key| Draft { sealed: Some(sealed(key, name)), ..draft(Kind::Credential, name) };
    assert_eq!(store.insert(with("a", 2), &event()).await, Err(StoreError::OtherKey));
    store.insert(with("a", 1), &event()).await.unwrap();
    store.put_grant("a", &token("t"), &event()).await.unwrap();
    let passing = Passing { body: json!(null), sealed: Some(sealed(1, "p")), expires_at: in_hours(1) };
    store.remember(Purpose::OAuthState, [1; 32], &passing).await.unwrap();
    store.remember(Purpose::Session, [2; 32], &passing).await.unwrap();
    assert_eq!(store.settle_on(&sealed(2, "proof")).await, Ok(sealed(1, "proof")), "settled before");

    let proof = sealed(2, "proof");
    let gives_up = store.reseal(&proof, |content, _| match content {
        Content::Record(..) => Some(sealed(2, "new")),
        Content::Grant(_) | Content::Passing(..) => None,
    });
    assert!(matches!(gives_up.await, Err(StoreError::Corrupt { .. })));
    assert_eq!(store.proof().await, Ok(Some(sealed(1, "proof"))));
    assert_eq!(store.record(Kind::Credential, "a").await.unwrap().unwrap().sealed, Some(sealed(1, "a")));

    let mut seen = Vec::new();
    let count = store.reseal(&proof, |content, _| {
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

#[tokio::test]
async fn a_database_that_does_not_answer_is_down_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().display().to_string().replace('/', "%2F");
    let store = Store::new(Place::Postgres(format!("postgres://u:planted-password@{socket}/d")), Role::Serving);
    assert_eq!(*store.health().borrow(), Health::Up);
    let error = store.prepare().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    let Health::Down { since } = *store.health().borrow() else { panic!("up") };
    store.records(Kind::Key).await.unwrap_err();
    assert_eq!(*store.health().borrow(), Health::Down { since });
    assert!(!format!("{error} {error:?} {store:?}").contains("planted"));
    let bad = Store::open(Place::Postgres("postgres://planted:pass word@[/".to_owned()), Role::Serving).await;
    let bad = bad.unwrap_err();
    assert!(matches!(bad, StoreError::Unusable { .. }) && !format!("{bad} {bad:?}").contains("planted"), "{bad:?}");
}

async fn events(store: &Store) -> usize {
    store.events(Page { before: None, limit: 1_000 }).await.unwrap().0.len()
}

fn in_hours(hours: i64) -> Timestamp {
    Timestamp::now() + hours.hours()
}

const TTL: Duration = Duration::from_secs(60);
