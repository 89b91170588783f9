//! What is the matter of a file or of the process; what every database promises, `tests/it/store` asks for.

use std::os::unix::fs::PermissionsExt;

use jiff::Timestamp;
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
    assert_eq!(second, StoreError::Locked { path: path.clone() });
    // By another name as well.
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let linked = Place::Sqlite { path: link.clone(), otherwise: Otherwise::Refuse };
    assert_eq!(Store::open(linked, Role::Serving).await.unwrap_err(), StoreError::Locked { path: link });
    let visitor = Store::open(place(&folder), Role::Visiting).await.unwrap();
    visitor.insert(draft(Kind::Route, "partner"), &event()).await.unwrap();
    assert_eq!(first.records(Kind::Route).await.unwrap().len(), 2);
    first.close().await;
    drop(first);
    Store::open(place(&folder), Role::Serving).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_make_one_file_at_the_same_time_wait_for_one_another() {
    for _ in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let mut made = tokio::task::JoinSet::new();
        for index in 0..8 {
            let store = Store::new(place(&folder), Role::Visiting);
            made.spawn(async move { store.insert(draft(Kind::Route, &format!("r{index}")), &event()).await });
        }
        for made in made.join_all().await {
            made.unwrap();
        }
    }
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
        done = tokio::time::timeout(STUCK, followed) => done.expect("it is stuck"),
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
    // One that is there, and no file: a gateway without what was added would be another one.
    let path = folder.path().join("closegate.db");
    std::fs::create_dir(&path).unwrap();
    let refused = Store::open(Place::Sqlite { path, otherwise: Otherwise::Memory }, Role::Serving).await;
    assert!(matches!(refused, Err(StoreError::Unusable { .. })), "{refused:?}");
    // One that cannot be looked for: a folder whose links lead round in a circle.
    let circle = folder.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    let path = circle.join("closegate.db");
    let refused = Store::open(Place::Sqlite { path, otherwise: Otherwise::Memory }, Role::Serving).await;
    assert!(matches!(refused, Err(StoreError::Unusable { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_database_whose_answer_is_of_no_use_is_down_until_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(place(&folder), Role::Serving);
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    let run = async |text: &'static str| {
        let mut session = store.change().await.unwrap();
        session.run(text).await.unwrap();
        session.commit().await.unwrap();
    };
    run("ALTER TABLE cg_counters RENAME TO elsewhere").await;
    let error = store.revision().await.unwrap_err();
    assert!(!matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    let Health::Down { since } = *store.health().borrow() else { panic!("up") };
    // That it does this and that says nothing of the rest.
    run("ALTER TABLE elsewhere RENAME TO cg_counters").await;
    let taken = store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap_err();
    assert!(matches!(taken, StoreError::Taken { .. }), "{taken:?}");
    assert_eq!(*store.health().borrow(), Health::Down { since });
    store.revision().await.unwrap();
    assert_eq!(*store.health().borrow(), Health::Up);
}

#[tokio::test]
async fn a_database_that_gives_some_of_it_alone_is_down_without_coming_and_going() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(place(&folder), Role::Serving);
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    for (gone, back) in [
        ("ALTER TABLE cg_records RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO cg_records"),
        ("UPDATE cg_records SET body = 'no JSON'", "UPDATE cg_records SET body = '{}'"),
        ("ALTER TABLE cg_grants RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO cg_grants"),
    ] {
        let run = async |text: &'static str| {
            let mut session = store.change().await.unwrap();
            session.run(text).await.unwrap();
            session.commit().await.unwrap();
        };
        run(gone).await;
        let asked = (store.records(Kind::Route).await.err(), store.grants().await.err());
        assert!(asked.0.is_some() || asked.1.is_some(), "{gone}");
        let mut health = store.health();
        let Health::Down { .. } = *health.borrow_and_update() else { panic!("up after {gone}") };
        for _ in 0..3 {
            store.revision().await.unwrap_err();
            store.disabled().await.unwrap();
        }
        assert!(!health.has_changed().unwrap(), "{gone}");
        run(back).await;
        store.revision().await.unwrap();
        assert_eq!(*health.borrow(), Health::Up, "{back}");
    }
}

#[tokio::test]
async fn who_looks_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let looking = || Store::new(place(&folder), Role::Looking);
    assert_eq!(looking().records(Kind::Route).await, Ok(Vec::new()));
    assert!(!folder.path().join("data").exists());
    let store = Store::new(place(&folder), Role::Visiting);
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    let looker = looking();
    assert_eq!(looker.records(Kind::Route).await.unwrap().len(), 1);
    looker.insert(draft(Kind::Route, "partner"), &event()).await.unwrap_err();
    assert_eq!(store.records(Kind::Route).await.unwrap().len(), 1);
    let version = async |version: &'static str| {
        let mut session = store.change().await.unwrap();
        session.run(version).await.unwrap();
        session.commit().await.unwrap();
    };
    let known = migrate::NEWEST;
    version("UPDATE cg_schema SET version = 999").await;
    assert_eq!(looking().records(Kind::Route).await, Err(StoreError::Newer { found: 999, known }));
    // As an earlier program has left it, whose every step is still to be taken but the first.
    version("UPDATE cg_schema SET version = 1").await;
    match looking().records(Kind::Route).await {
        Ok(records) => assert_eq!((records.len(), known), (1, 1)),
        Err(older) => assert_eq!(older, StoreError::Older { found: 1, known }),
    }
    version("DROP TABLE cg_schema").await;
    assert_eq!(looking().records(Kind::Route).await, Ok(Vec::new()), "what has no tables of ours has nothing");
    let mut session = store.read().await.unwrap().unwrap();
    let tables = session.rows("SELECT name FROM sqlite_master WHERE name = 'cg_schema'", Vec::new()).await.unwrap();
    assert!(tables.is_empty(), "nor is it given any");
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

const STUCK: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn a_transaction_that_the_database_ended_by_itself_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(place(&folder), Role::Serving);
    store.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    let mut session = store.change().await.unwrap();
    // As SQLite does itself when its disk is full: what is asked to commit or to roll back then has nothing to end.
    session.run("ROLLBACK").await.unwrap();
    session.commit().await.unwrap_err();
    store.insert(draft(Kind::Route, "partner"), &event()).await.unwrap();
    assert_eq!(store.records(Kind::Route).await.unwrap().len(), 2);
}
