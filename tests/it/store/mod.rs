//! The store on each database: its promises, races between replicas, a database that goes and comes back.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use closegate::config::SecretRef;
use closegate::store::{
    Content, Draft, Fence, Health, Kind, Otherwise, Place, Presence, Role, Step, Store, StoreError,
};
use closegate::vault::{Archive, ArchiveFault, GivenKey, MasterKey, Rekeyed, Withheld};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::postgres::Postgres;
use crate::spawned::{Spawned, closegate, run};
use crate::world::gateway;

use suite::{draft, event, sealed, token};

mod suite;

fn in_file(path: &Path) -> Place {
    Place::Sqlite { path: path.to_owned(), otherwise: Otherwise::Refuse }
}

#[tokio::test]
async fn in_memory_every_promise_is_kept() {
    suite::every_promise_is_kept(async || Store::new(Place::Memory, Role::Serving)).await;
}

#[tokio::test]
async fn in_a_file_every_promise_is_kept() {
    let folder = TempDir::new().unwrap();
    let mut count = 0;
    let fresh = async || {
        count += 1;
        Store::new(in_file(&folder.path().join(format!("{count}.db"))), Role::Serving)
    };
    suite::every_promise_is_kept(fresh).await;
}

#[tokio::test]
async fn in_postgresql_every_promise_is_kept() {
    let server = Postgres::start();
    let mut count = 0;
    let fresh = async || {
        count += 1;
        Store::new(Place::Postgres(server.database(&format!("suite{count}"))), Role::Serving)
    };
    suite::every_promise_is_kept(fresh).await;
}

#[tokio::test]
async fn of_many_that_ask_for_a_lease_at_once_one_has_it() {
    let (server, folder) = (Postgres::start(), TempDir::new().unwrap());
    race(Place::Postgres(server.database("race")), Place::Postgres(server.database("other"))).await;
    race(in_file(&folder.path().join("race.db")), in_file(&folder.path().join("other.db"))).await;
}

/// Two replicas, each with many that ask at once: every lease has one holder, and a fence that was never there before.
async fn race(place: Place, other: Place) {
    let replicas = [Role::Serving, Role::Visiting].map(|role| Store::new(place.clone(), role));
    replicas[0].settle_on(&sealed(1, "proof")).await.unwrap();
    replicas[0].put_grant("partner", &token("first"), &event()).await.unwrap();
    let mut fences: BTreeSet<Fence> = BTreeSet::new();
    for _ in 0..5 {
        let mut asking = JoinSet::new();
        for number in 0..8 {
            let (replica, owner) = (replicas[number % 2].clone(), format!("replica {number}"));
            asking.spawn(async move { replica.lease_grant("partner", &owner, Duration::from_secs(60)).await.unwrap() });
        }
        let won: Vec<Fence> = asking.join_all().await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(fences.last() < won.last(), "fences grow");
        // Only who has it may write, whichever replica it asks.
        replicas[1].store_grant("partner", &token("renewed"), won[0]).await.unwrap();
        if let Some(former) = fences.last() {
            let late = replicas[0].store_grant("partner", &token("late"), *former).await;
            assert_eq!(late, Err(StoreError::Stale { name: "partner".to_owned() }));
        }
        fences.insert(won[0]);
        replicas[0].release_grant("partner", won[0]).await.unwrap();
    }
    let elsewhere = Store::new(other, Role::Serving);
    assert!(matches!(elsewhere.lease_grant("partner", "a", Duration::ZERO).await, Err(StoreError::NoGrant { .. })));
}

#[tokio::test]
async fn replicas_that_start_at_once_make_the_tables_once() {
    let server = Postgres::start();
    let place = Place::Postgres(server.database("start"));
    let mut starting = JoinSet::new();
    for _ in 0..6 {
        let place = place.clone();
        starting.spawn(async move { Store::open(place, Role::Serving).await?.prepare().await });
    }
    assert!(starting.join_all().await.iter().all(|started| *started == Ok(Presence::Open)));
}

#[tokio::test]
async fn a_change_on_one_replica_is_told_on_another_within_a_second() {
    let server = Postgres::start();
    let place = Place::Postgres(server.database("told"));
    let [one, other] = [(); 2].map(|()| Store::new(place.clone(), Role::Serving));
    let (mut records, mut grants) = (other.changes(), other.grant_changes());
    one.settle_on(&sealed(1, "proof")).await.unwrap();
    let changed = async {
        let mut waited = Vec::new();
        for number in 0..8 {
            let begun = Instant::now();
            one.insert(draft(Kind::Route, &format!("route-{number}")), &event()).await.unwrap();
            let now = one.revision().await.unwrap();
            records.wait_for(|revision| *revision == now).await.unwrap();
            let put = one.put_grant("partner", &token("t"), &event()).await.unwrap();
            grants.wait_for(|generation| *generation == put.generation).await.unwrap();
            waited.push(begun.elapsed());
        }
        // A look every three seconds would have taken that long for most of them.
        waited.sort();
        assert!(waited[waited.len() / 2] < Duration::from_secs(1), "{waited:?}");
    };
    while_followed(&other, changed).await;
}

#[tokio::test]
async fn a_database_that_goes_and_comes_back_heals_and_what_was_missed_is_told() {
    let mut server = Postgres::start();
    let url = server.database("lost");
    let [one, other] = [(); 2].map(|()| Store::new(Place::Postgres(url.clone()), Role::Serving));
    one.insert(draft(Kind::Route, "sales"), &event()).await.unwrap();
    let (mut health, mut records) = (other.health(), other.changes());
    let lost = async {
        records.wait_for(|revision| *revision == 1).await.unwrap();
        // Beside what is done here: a server that ends waits for who connects just then, to tell it so.
        #[expect(clippy::disallowed_methods, reason = "this thread is the client")]
        let halted = tokio::task::spawn_blocking(move || {
            server.halt();
            server
        });
        let mut server = halted.await.unwrap();
        health.wait_for(|health| *health != Health::Up).await.unwrap();
        for refused in [
            one.insert(draft(Kind::Route, "partner"), &event()).await.map(drop),
            other.records(Kind::Route).await.map(drop),
            one.note(&event()).await,
        ] {
            assert!(matches!(refused, Err(StoreError::Unreachable { .. })), "{refused:?}");
        }
        server.resume();
        health.wait_for(|health| *health == Health::Up).await.unwrap();
        one.insert(draft(Kind::Route, "partner"), &event()).await.unwrap();
        records.wait_for(|revision| *revision == 2).await.unwrap();
        assert_eq!(other.records(Kind::Route).await.unwrap().len(), 2);
    };
    while_followed(&other, lost).await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_takes_connections_and_says_nothing_holds_nobody_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::Postgres(format!("postgres://gate@{}/closegate", listener.local_addr().unwrap()));
    let store = Store::new(place, Role::Serving);
    let error = store.prepare().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    drop(listener);
}

/// Follows a store while something is done, which must end.
async fn while_followed(store: &Store, done: impl Future<Output = ()>) {
    tokio::select! {
        never = store.follow() => match never {},
        done = tokio::time::timeout(STUCK, done) => done.expect("it is stuck"),
    }
}

/// A store in the folder where a gateway of this configuration looks for it, with something in it.
async fn filled(folder: &TempDir) -> (Store, PathBuf) {
    let path = folder.path().join("closegate/closegate.db");
    let store = Store::new(in_file(&path), Role::Visiting);
    store.change_all(vec![Step::Insert(draft(Kind::Route, "planted"))], &event()).await.unwrap();
    (store, path)
}

#[tokio::test]
async fn a_gateway_with_another_master_key_does_not_start_and_touches_nothing() {
    let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let setup = gateway(([127, 0, 0, 1], 9).into()).file("master", key);
    let folder = setup.set("store", "master_key = { file = \"master\" }").write();
    let (store, path) = filled(&folder).await;
    store.settle_on(&sealed(7, "proof")).await.unwrap();
    store.close().await;
    let before = std::fs::read(&path).unwrap();
    for command in ["serve", "check"] {
        let ended = run(closegate(folder.path()).arg(command));
        assert_eq!(ended.code, Some(78), "{ended:?}");
        let said = "store.master_key: the store is sealed under the master key 0707070707070707";
        assert!(ended.stderr.contains(said) && !ended.stderr.contains(&key[..8]), "{ended:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_second_gateway_on_one_file_does_not_start_and_the_command_line_does() {
    let folder = gateway(([127, 0, 0, 1], 9).into()).write();
    let (store, path) = filled(&folder).await;
    let command = closegate(folder.path());
    let first = Spawned::start(command, folder);
    let second = run(closegate(first.folder.path()).arg("serve"));
    assert_eq!(second.code, Some(78), "{second:?}");
    let said = format!("store.url: another gateway serves from `{}`\n  hint: stop it", path.display());
    assert!(second.stderr.contains(&said), "{second:?}");
    assert_eq!(run(closegate(first.folder.path()).arg("check")).code, Some(0));
    store.insert(draft(Kind::Route, "another"), &event()).await.unwrap();
    assert_eq!(first.ask_admin("/healthz").status, 200);
}

#[tokio::test]
async fn a_store_of_replicas_is_sealed_under_no_key_that_one_file_alone_has() {
    let (server, folder) = (Postgres::start(), TempDir::new().unwrap());
    let place = Place::Postgres(server.database("rekey"));
    let archive = |file: &str| {
        let key = MasterKey::Reference(SecretRef::File(folder.path().join(file)));
        Archive::new(Store::new(place.clone(), Role::Visiting), key, Withheld::default())
    };
    let (old, new) =
        ("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n");
    for replica in ["one", "two"] {
        std::fs::write(folder.path().join(replica), old).unwrap();
    }
    let (one, two) = (archive("one"), archive("two"));
    let content = Content::Record(Kind::Credential, "sales".to_owned());
    let sealed = one.seal(&content, b"planted").await.unwrap();
    let credential = Draft { sealed: Some(sealed), ..draft(Kind::Credential, "sales") };
    one.store().insert(credential, &event()).await.unwrap();
    for given in [None, Some(GivenKey::parse(new.as_bytes()).unwrap())] {
        let refused = one.rekey(given, "cli:ops").await.unwrap_err();
        assert!(refused.hint().contains("every replica"), "{refused}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("one")).unwrap(), old);
    two.seal(&content, b"planted").await.unwrap();
    // With the new key in front everywhere it works, and both go on.
    for replica in ["one", "two"] {
        std::fs::write(folder.path().join(replica), format!("{new}{old}")).unwrap();
    }
    let done = one.rekey(None, "cli:ops").await.unwrap();
    assert!(matches!(done, Rekeyed::Done { secrets: 1, file: None, .. }), "{done:?}");
    for replica in [one, two] {
        replica.seal(&content, b"planted").await.unwrap();
        replica.store().close().await;
    }
}

#[tokio::test]
async fn the_command_line_seals_the_store_anew() {
    let folder = gateway(([127, 0, 0, 1], 9).into()).write();
    let (store, path) = filled(&folder).await;
    let key = path.with_file_name("master.key");
    let archive = || {
        let store = Store::new(in_file(&path), Role::Visiting);
        Archive::new(store, MasterKey::Beside(key.clone()), Withheld::default())
    };
    let rekey =
        |more: &[&str], stdin: Stdio| run(closegate(folder.path()).args(["store", "rekey"]).args(more).stdin(stdin));
    let nothing = rekey(&[], Stdio::null());
    assert!(nothing.code == Some(0) && nothing.stdout.contains("nothing is sealed yet"), "{nothing:?}");

    let content = Content::Record(Kind::Credential, "sales".to_owned());
    let running = archive();
    let secret = running.seal(&content, b"api_planted.planted").await.unwrap();
    let credential = Draft { sealed: Some(secret), ..draft(Kind::Credential, "sales") };
    store.insert(credential, &event()).await.unwrap();
    let before = std::fs::read_to_string(&key).unwrap();
    let made = rekey(&[], Stdio::null());
    assert!(made.code == Some(0) && made.stdout.starts_with("1 secret is sealed under the master key "), "{made:?}");
    let after = std::fs::read_to_string(&key).unwrap();
    assert!(after != before && after.len() == before.len() + 1, "one key, and a line's end");
    running.seal(&content, b"another").await.expect("who runs reads the key again");

    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n").unwrap();
    drop(writer);
    let given = rekey(&["--new-key-stdin", "--output", "json"], reader.into());
    assert!(given.code == Some(0) && given.stdout.contains("\"now\":\"50ab13d99d521533\""), "{given:?}");
    archive().check().await.unwrap();
    std::fs::write(&key, before).unwrap();
    assert!(matches!(archive().check().await, Err(ArchiveFault::OtherKey { .. })));
    let lost = rekey(&[], Stdio::null());
    assert!(lost.code == Some(1) && lost.stderr.contains("sealed under the master key 50ab13d99d521533"), "{lost:?}");
}

const STUCK: Duration = Duration::from_secs(60);
