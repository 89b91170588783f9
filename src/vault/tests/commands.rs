//! Secrets that a command gives: run again after a rejection, at a refresh and at a reload.

use super::*;

#[tokio::test]
async fn a_command_runs_once_more_after_a_rejection() {
    let scene = Scene::command(&[("token", "planted-token")], None).await;
    scene.close.refuse(&["Bearer planted-token"]);
    scene.write("token", "planted-again");
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Ready);
    assert_eq!((scene.carried(), scene.counted()), (("Bearer planted-again".to_owned(), 2), (true, 0, 0)));
}

#[tokio::test]
async fn a_command_that_fails_leaves_its_credential_unavailable_until_it_works() {
    let scene = Scene::command(&[], None).await;
    assert_eq!((scene.state(), scene.counted()), (UNAVAILABLE, (false, 0, 0)));
    assert_eq!(scene.warnings[0].key, "credentials.sales.bearer");
    assert_eq!(scene.warnings[0].what, "command `cat` failed: exit status: 1");
    let unavailable = scene.vault.authorization(SALES).unwrap_err();
    assert!((1..=2).contains(&unavailable.retry_after));
    let undecided = Undecided::Unavailable("its secret cannot be had");
    assert_eq!(scene.vault.verify(SALES, &origin()).await, Verdict::Undecided(undecided));
    scene.write("token", "planted-token");
    scene.becomes(State::Ready).await;
    assert_eq!((scene.carried().0.as_str(), scene.counted()), ("Bearer planted-token", (true, 0, 0)));
}

#[tokio::test]
async fn a_refresh_takes_a_new_token_and_a_failed_one_takes_it_away() {
    let scene = Scene::command(&[("token", "planted-token")], Some(Duration::from_millis(50))).await;
    scene.write("token", "planted-again");
    while scene.carried().1 == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.carried(), ("Bearer planted-again".to_owned(), 2));
    std::fs::remove_file(scene.folder.path().join("token")).unwrap();
    scene.becomes(UNAVAILABLE).await;
    assert_eq!(scene.counted(), (false, 0, 0));
    scene.write("token", "planted-again");
    scene.becomes(State::Ready).await;
    assert_eq!(scene.carried().1, 3);
}

#[tokio::test]
async fn a_command_runs_again_and_one_that_fails_takes_its_credential_out_of_use() {
    let mut scene = Scene::command(&[("token", "planted-token")], None).await;
    assert_eq!(scene.renew().await, 0);
    scene.write("token", "planted-again");
    assert_eq!(scene.renew().await, 1);
    assert_eq!(scene.carried().0, "Bearer planted-again");
    std::fs::remove_file(scene.folder.path().join("token")).unwrap();
    assert_eq!(scene.renew().await, 1);
    assert_eq!((scene.state(), scene.counted()), (UNAVAILABLE, (false, 0, 0)));
    scene.write("token", "planted-again");
    scene.becomes(State::Ready).await;
}
