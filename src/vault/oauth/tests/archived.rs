//! Grants in a real store: what is put there comes back, under its conditions, and sealed.

use super::*;
use crate::store::{Otherwise, Place, Role, Store};
use crate::vault::{Archive, MasterKey, Withheld};

fn archive(folder: &TempDir) -> Archive {
    let place = Place::Sqlite { path: folder.path().join("closegate.db"), otherwise: Otherwise::Refuse };
    let key = MasterKey::Beside(folder.path().join("master.key"));
    Archive::new(Store::new(place, Role::Serving), key, Withheld::default())
}

fn tokens(access: &str, refresh: &str) -> Tokens {
    let given = tokens::Given { access: secret(access), refresh: None, lifetime: HOUR };
    Tokens::of(given, &secret(refresh), "oa2client_1")
}

async fn condition(archive: &Archive) -> Condition {
    archive.stored(&name()).await.unwrap().unwrap().condition
}

#[tokio::test]
async fn a_grant_outlives_the_process_with_its_condition_and_lies_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let first = archive(&folder);
    assert!(first.stored(&name()).await.unwrap().is_none());
    assert_eq!(first.lease(&name(), "a", HOUR).await, Err(GrantsFault::Absent));
    first.put(&name(), &tokens("planted-access", "planted-refresh"), &event()).await.unwrap();
    let mut changes = first.changes();
    changes.borrow_and_update();
    let fence = first.lease(&name(), "a", HOUR).await.unwrap().unwrap();
    assert_eq!(first.lease(&name(), "b", HOUR).await, Ok(None));
    for told in [
        Condition::Doubtful(Doubt::Unfinished),
        Condition::Doubtful(Doubt::Unanswered),
        Condition::Dead(Death::Refused),
        Condition::Dead(Death::AfterUnfinished),
        Condition::Dead(Death::AfterUnanswered),
        Condition::Ready,
    ] {
        first.mark(&name(), told, fence).await.unwrap();
        assert_eq!(condition(&first).await, told);
    }
    assert!(changes.has_changed().unwrap());
    first.keep(&name(), &tokens("planted-access-2", "planted-refresh-2"), fence).await.unwrap();
    first.renew(&name(), fence, HOUR).await.unwrap();
    first.release(&name(), fence).await.unwrap();
    assert_eq!(first.keep(&name(), &tokens("x", "y"), fence).await, Err(GrantsFault::Stale));
    first.store().close().await;
    drop(first);

    let second = archive(&folder);
    let stored = second.stored(&name()).await.unwrap().unwrap();
    assert!(stored.tokens.is_same(&tokens("planted-access-2", "planted-refresh-2")));
    assert_eq!(stored.condition, Condition::Ready);
    second.store().close().await;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, b"planted").is_none());
    }
}

#[tokio::test]
async fn a_flow_comes_back_once() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let verifier = Verifier(secret("planted-verifier"));
    let text = str::to_owned;
    let (client_id, redirect_uri, begun_by) = (text("id"), text("https://h/"), text("ops"));
    let flow = Flow { credential: name(), client_id, redirect_uri, begun_by, verifier };
    let until = Timestamp::now() + HOUR;
    archive.remember([7; 32], &flow, until).await.unwrap();
    assert!(archive.take([8; 32]).await.unwrap().is_none());
    let back = archive.take([7; 32]).await.unwrap().unwrap();
    assert_eq!((back.credential, back.client_id.as_str(), back.redirect_uri.as_str()), (name(), "id", "https://h/"));
    assert_eq!(back.begun_by, "ops");
    assert_eq!(back.verifier.0.expose(), b"planted-verifier");
    assert!(archive.take([7; 32]).await.unwrap().is_none());
}
