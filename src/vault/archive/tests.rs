//! What of the store opens, with which key, and what is left when somebody takes its files.

use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::config::SecretRef;
use crate::store::{Draft, Expected, Otherwise, Page, Passing, Place, Purpose, Role};
use crate::vault::source::{Supply, read};
use crate::vault::{GivenKey, Rekeyed};

const PLANTED: &[u8] = b"api_planted.planted";

fn store(folder: &TempDir, role: Role) -> Store {
    Store::new(Place::Sqlite { path: folder.path().join("closegate.db"), otherwise: Otherwise::Refuse }, role)
}

fn archive(folder: &TempDir, key: &str, role: Role) -> Archive {
    Archive::new(store(folder, role), MasterKey::Beside(folder.path().join(key)), Withheld::default())
}

fn name(text: &str) -> CredentialName {
    CredentialName::parse(text).unwrap()
}

fn event() -> Event {
    Event::now("ops", "credential.add", "sales")
}

async fn add(archive: &Archive, name: &str, secret: &[u8]) -> u64 {
    let sealed = archive.seal(&Content::Record(Kind::Credential, name.to_owned()), secret).await.unwrap();
    let draft = Draft { kind: Kind::Credential, name: name.to_owned(), body: json!({}), sealed: Some(sealed) };
    archive.store().insert(draft, &event()).await.unwrap().version
}

fn copy(from: &Path, to: &Path) {
    for file in from.read_dir().unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test]
async fn what_was_stored_is_read_by_its_reference() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder, "master.key", Role::Serving);
    archive.check().await.unwrap();
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is made before it is needed");
    let version = add(&archive, "sales", PLANTED).await;
    let supply = Supply::new(Withheld::default(), Some(Arc::new(archive)));
    let found = async |version| read(&SecretRef::Stored { credential: name("sales"), version }, &supply).await;
    assert_eq!(found(version).await.unwrap().secret.expose(), PLANTED);
    let other = found(version + 1).await.unwrap_err();
    assert_eq!(
        other.what,
        "the secret of `sales` in the store: the credential `sales` was changed in the store meanwhile"
    );
    let closed = read(&SecretRef::Stored { credential: name("sales"), version }, &Supply::default()).await;
    assert!(closed.unwrap_err().what.ends_with("is not open"));
}

#[tokio::test]
async fn a_copy_of_the_database_yields_no_secret_without_the_master_key() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder, "master.key", Role::Serving);
    let version = add(&archive, "sales", PLANTED).await;
    archive.put_grant(&name("partner"), PLANTED, None, &event()).await.unwrap();
    let state = Content::Passing(Purpose::OAuthState, [7; 32]);
    let sealed = Some(archive.seal(&state, PLANTED).await.unwrap());
    let passing = Passing { body: json!({}), sealed, expires_at: Timestamp::MAX };
    archive.store().remember(Purpose::OAuthState, [7; 32], &passing).await.unwrap();

    let taken = tempfile::tempdir().unwrap();
    copy(folder.path(), taken.path());
    let key = std::fs::read(taken.path().join("master.key")).unwrap();
    std::fs::remove_file(taken.path().join("master.key")).unwrap();
    let mut wal = 0;
    for file in taken.path().read_dir().unwrap().map(Result::unwrap) {
        let bytes = std::fs::read(file.path()).unwrap();
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(!holds(PLANTED) && !holds(b"planted") && !holds(&key[..44]), "{:?}", file.file_name());
        wal += usize::from(file.file_name() == "closegate.db-wal" && holds(b"credential") && holds(b"partner"));
    }
    assert_eq!(wal, 1, "the control: what was looked through is what was written");

    let thief = self::archive(&taken, "other.key", Role::Visiting);
    let wanted = archive.store().proof().await.unwrap().unwrap().key();
    assert_eq!(thief.check().await, Err(ArchiveFault::OtherKey { wanted }));
    let refused = thief.secret(&name("sales"), version).await.unwrap_err();
    assert_eq!(refused, ArchiveFault::OtherKey { wanted });
    assert!(!taken.path().join("other.key").exists(), "no key is made beside a store that has one");
    std::fs::write(taken.path().join("other.key"), Keyring::random().unwrap().1.as_bytes()).unwrap();
    assert_eq!(thief.check().await, Err(ArchiveFault::OtherKey { wanted }));
    assert_eq!(thief.seal(&state, b"x").await, Err(ArchiveFault::OtherKey { wanted }));
    // And with the key it is all there.
    std::fs::write(taken.path().join("other.key"), &key).unwrap();
    assert_eq!(thief.secret(&name("sales"), version).await.unwrap().expose(), PLANTED);
}

/// The id of a key is no proof of it.
#[tokio::test]
async fn a_store_whose_proof_does_not_open_is_not_sealed_into() {
    let folder = tempfile::tempdir().unwrap();
    let (ring, text) = Keyring::random().unwrap();
    std::fs::write(folder.path().join("master.key"), text.as_bytes()).unwrap();
    let archive = archive(&folder, "master.key", Role::Serving);
    let other = Identity { kind: "store", name: "", purpose: "another" };
    archive.store().settle_on(&ring.seal(ring.first(), other, b"closegate").unwrap()).await.unwrap();
    let broken = ArchiveFault::Broken { of: "the store itself".to_owned() };
    assert_eq!(archive.check().await, Err(broken.clone()));
    let state = Content::Passing(Purpose::OAuthState, [7; 32]);
    assert_eq!(archive.seal(&state, PLANTED).await, Err(broken));
}

#[tokio::test]
async fn a_record_that_was_moved_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder, "master.key", Role::Serving);
    add(&archive, "sales", PLANTED).await;
    let version = add(&archive, "partner", b"api_another.another").await;
    let sealed = archive.store().record(Kind::Credential, "sales").await.unwrap().unwrap().sealed;
    let body = json!({});
    let moved = Draft { kind: Kind::Credential, name: "partner".to_owned(), body, sealed: sealed.clone() };
    let moved = archive.store().replace(moved, Expected::Version(version), &event()).await.unwrap();
    let broken = ArchiveFault::Broken { of: "the credential `partner`".to_owned() };
    assert_eq!(archive.secret(&name("partner"), moved.version).await.unwrap_err(), broken);
    let grant = archive.unseal(&Content::Grant("sales".to_owned()), &sealed.unwrap()).await.unwrap_err();
    assert_eq!(grant, ArchiveFault::Broken { of: "the grant `sales`".to_owned() });
}

#[tokio::test]
async fn a_running_gateway_goes_on_through_a_rekey_and_nothing_stays_under_the_key_before() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = archive(&folder, "master.key", Role::Serving);
    let version = add(&gateway, "sales", PLANTED).await;
    gateway.put_grant(&name("partner"), b"tokens 1", None, &event()).await.unwrap();
    let fence = gateway.store().lease_grant("partner", "g", TTL).await.unwrap().unwrap();
    let before = std::fs::read(folder.path().join("master.key")).unwrap();
    // Sealed by the gateway before, and written after.
    let content = Content::Record(Kind::Credential, "late".to_owned());
    let late = gateway.seal(&content, PLANTED).await.unwrap();

    let command = archive(&folder, "master.key", Role::Visiting);
    let Rekeyed::Done { secrets, before: old, now, file } = command.rekey(None, "cli:ops").await.unwrap() else {
        panic!()
    };
    assert_eq!((secrets, file), (2, Some(folder.path().join("master.key"))));
    assert_ne!(old, now);

    let draft = |sealed| Draft { kind: Kind::Credential, name: "late".to_owned(), body: json!({}), sealed };
    assert_eq!(gateway.store().insert(draft(Some(late)), &event()).await, Err(StoreError::OtherKey));
    let anew = gateway.seal(&content, PLANTED).await.unwrap();
    assert_eq!(anew.key(), now);
    gateway.store().insert(draft(Some(anew)), &event()).await.unwrap();
    assert_eq!(gateway.secret(&name("sales"), version).await.unwrap().expose(), PLANTED);
    let stored = gateway.store_grant(&name("partner"), b"tokens 2", None, fence).await.unwrap();
    assert_eq!(stored.sealed.unwrap().key(), now);

    let former = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(former.path(), &before).unwrap();
    let reference = MasterKey::Reference(SecretRef::File(former.path().to_owned()));
    let former = Archive::new(store(&folder, Role::Visiting), reference, Withheld::default());
    assert_eq!(former.check().await, Err(ArchiveFault::OtherKey { wanted: now }));
    let names = folder.path().read_dir().unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(names.filter(|name| name.to_string_lossy().contains("key")).count(), 1, "nothing lies about");
}

#[tokio::test]
async fn a_key_in_front_of_the_one_before_is_gone_over_to() {
    let folder = tempfile::tempdir().unwrap();
    let first = archive(&folder, "master.key", Role::Serving);
    assert_eq!(first.rekey(None, "cli:ops").await, Ok(Rekeyed::Nothing));
    let version = add(&first, "sales", PLANTED).await;
    let path = folder.path().join("master.key");
    let before = std::fs::read_to_string(&path).unwrap();
    let (given, text) = Keyring::random().unwrap();
    std::fs::write(&path, format!("{}\n{before}", *text)).unwrap();
    let command = archive(&folder, "master.key", Role::Visiting);
    command.check().await.unwrap();
    // As it is left by one that was interrupted: it is ended, and the key before is taken away.
    let Rekeyed::Done { now, file, .. } = command.rekey(None, "cli:ops").await.unwrap() else { panic!() };
    assert_eq!((now, file), (given.first(), Some(path.clone())));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", *text));
    let after = archive(&folder, "master.key", Role::Visiting);
    assert_eq!(after.secret(&name("sales"), version).await.unwrap().expose(), PLANTED);
    // One that was made elsewhere takes its place in the file.
    let (other, text) = Keyring::random().unwrap();
    let Rekeyed::Done { now, .. } =
        after.rekey(Some(GivenKey::parse(text.as_bytes()).unwrap()), "cli:ops").await.unwrap()
    else {
        panic!()
    };
    assert_eq!((now, std::fs::read_to_string(&path).unwrap()), (other.first(), format!("{}\n", *text)));
    // Given once more, there is nothing to do.
    let again = after.rekey(Some(GivenKey::parse(text.as_bytes()).unwrap()), "cli:ops").await;
    assert_eq!(again, Ok(Rekeyed::Already { now: other.first() }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", *text));
    let (events, _) = after.store().events(Page { before: None, limit: 10 }).await.unwrap();
    let told: Vec<_> = events.iter().map(|known| (known.event.action.as_str(), known.event.actor.as_str())).collect();
    assert_eq!(told, [("store.rekey", "cli:ops"), ("store.rekey", "cli:ops"), ("credential.add", "ops")]);
    assert_eq!(events[0].event.detail["now"], other.first().to_string());
}

#[tokio::test]
async fn one_that_was_interrupted_goes_on_with_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let version = add(&archive(&folder, "master.key", Role::Serving), "sales", PLANTED).await;
    let path = folder.path().join("master.key");
    let before = std::fs::read_to_string(&path).unwrap();
    let (given, text) = Keyring::random().unwrap();
    let rekey = async || {
        let command = archive(&folder, "master.key", Role::Visiting);
        command.rekey(Some(GivenKey::parse(text.as_bytes()).unwrap()), "cli:ops").await
    };
    // Before anything was sealed anew: the key lies in front of the other.
    std::fs::write(&path, format!("{}\n{before}", *text)).unwrap();
    let done = rekey().await.unwrap();
    assert!(matches!(&done, Rekeyed::Done { now, .. } if *now == given.first()), "{done:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", *text));
    // After that: the one before is still there.
    std::fs::write(&path, format!("{}\n{before}", *text)).unwrap();
    assert_eq!(rekey().await, Ok(Rekeyed::Already { now: given.first() }));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", *text));
    let after = archive(&folder, "master.key", Role::Visiting);
    assert_eq!(after.secret(&name("sales"), version).await.unwrap().expose(), PLANTED);
}

#[tokio::test]
async fn of_two_that_change_the_key_one_is_refused_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    add(&archive(&folder, "master.key", Role::Serving), "sales", PLANTED).await;
    let path = folder.path().join("master.key");
    let before = std::fs::read(&path).unwrap();
    let other = crate::vault::master::Hold::of(&path).unwrap();
    let command = archive(&folder, "master.key", Role::Visiting);
    let refused = command.rekey(None, "cli:ops").await.unwrap_err();
    assert!(refused.to_string().starts_with("somebody else is changing the master key"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(other);
    command.rekey(None, "cli:ops").await.unwrap();
}

#[tokio::test]
async fn of_two_that_make_the_first_key_both_have_the_one_that_was_first() {
    let folder = tempfile::tempdir().unwrap();
    let key = MasterKey::Beside(folder.path().join("master.key"));
    // Both have seen that there is none.
    let (one, other) = (key.make(&Withheld::default()).await.unwrap(), key.make(&Withheld::default()).await.unwrap());
    assert_eq!(one.first(), other.first());
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing lies about");
}

#[tokio::test]
async fn a_reference_that_others_may_read_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let version = add(&archive(&folder, "master.key", Role::Serving), "sales", PLANTED).await;
    let path = folder.path().join("master.key");
    let before = std::fs::read_to_string(&path).unwrap();
    let (given, text) = Keyring::random().unwrap();
    let both = format!("{}\n{before}", *text);
    std::fs::write(&path, &both).unwrap();
    let reference = MasterKey::Reference(SecretRef::File(path.clone()));
    let replica = Archive::new(store(&folder, Role::Visiting), reference, Withheld::default());
    let Rekeyed::Done { now, file, .. } = replica.rekey(None, "cli:ops").await.unwrap() else { panic!() };
    assert_eq!((now, file), (given.first(), None));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), both);
    std::fs::write(&path, text.as_bytes()).unwrap();
    let after = archive(&folder, "master.key", Role::Visiting);
    assert_eq!(after.secret(&name("sales"), version).await.unwrap().expose(), PLANTED);
}

#[tokio::test]
async fn a_master_key_of_another_length_is_a_fault_that_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("master.key"), "planted+planted+planted+planted+planted+plant").unwrap();
    let fault = archive(&folder, "master.key", Role::Serving).check().await.unwrap_err();
    let said = format!("{fault} {fault:?} {}", fault.hint());
    assert!(
        said.contains("holds no master key") && said.contains("openssl rand") && !said.contains("planted"),
        "{said}"
    );
}

#[tokio::test]
async fn in_memory_there_is_a_key_of_this_process() {
    let archive = Archive::new(Store::new(Place::Memory, Role::Serving), MasterKey::Passing, Withheld::default());
    archive.check().await.unwrap();
    let version = add(&archive, "sales", PLANTED).await;
    assert_eq!(archive.secret(&name("sales"), version).await.unwrap().expose(), PLANTED);
}

const TTL: std::time::Duration = std::time::Duration::from_secs(60);
