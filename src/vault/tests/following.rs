//! A vault that takes the place of another: what stays, what changes, what is gone.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_the_same_stays_as_it_is() {
    let mut scene = Scene::bearer("planted-token").await;
    scene.close.refuse(&["Bearer planted-token"]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    assert_eq!(scene.renew().await, 0);
    assert_eq!((scene.state(), scene.counted()), (State::Rejected, (false, 1, 0)));
    scene.close.refuse(&[]);
    seconds(2).await;
    assert_eq!((scene.state(), scene.carried().1), (State::Ready, 2), "the watch goes on");
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_takes_the_place_of_a_rejected_one() {
    let mut scene = Scene::bearer("planted-token").await;
    let before = Arc::clone(&scene.vault);
    scene.close.refuse(&["Bearer planted-token"]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    scene.write("token", "planted-again");
    assert_eq!(scene.renew().await, 1);
    assert_eq!((scene.state(), scene.carried()), (State::Ready, ("Bearer planted-again".to_owned(), 1)));
    assert_eq!(scene.counted(), (true, 1, 0));
    // The watch over what was changed has ended: nothing brings it back, and no more is asked for it.
    seconds(600).await;
    assert_eq!(before.states()[0].1, State::Rejected);
    assert_eq!((scene.close.asked().len(), scene.counted()), (1, (true, 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn what_began_with_an_old_secret_still_has_it() {
    let mut scene = Scene::bearer("planted-token").await;
    let before = Arc::clone(&scene.vault);
    scene.write("token", "planted-again");
    assert_eq!(scene.renew().await, 1);
    let mut headers = HeaderMap::new();
    before.authorization(SALES).unwrap().inject(&mut headers);
    assert_eq!(headers[AUTHORIZATION], "Bearer planted-token");
    scene.close.refuse(&["Bearer planted-token"]);
    before.suspect(SALES, 1, &origin());
    seconds(5).await;
    assert_eq!((scene.state(), scene.counted()), (State::Ready, (true, 0, 0)), "what it comes to is nobody's matter");
    assert!(scene.close.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_promoted_secret_stays_promoted_while_both_are_the_same() {
    let mut scene = Scene::pair("api_current.planted", "api_next.planted").await;
    let (current, next) = ("Basic YXBpX2N1cnJlbnQucGxhbnRlZDo=", "Basic YXBpX25leHQucGxhbnRlZDo=");
    scene.close.refuse(&[current]);
    scene.suspect(1);
    assert_eq!((scene.settled().await, scene.carried().0.as_str()), (State::Ready, next));
    assert_eq!(scene.renew().await, 0);
    assert_eq!(scene.carried(), (next.to_owned(), 2));
    scene.write("current", "api_later.planted");
    assert_eq!(scene.renew().await, 1);
    assert_eq!(scene.carried().0, "Basic YXBpX2xhdGVyLnBsYW50ZWQ6");
}

#[tokio::test]
async fn a_credential_that_is_removed_and_one_that_is_added_are_gone_and_there() {
    let mut scene = Scene::bearer("planted-token").await;
    let (_, credential) = scene.credentials.pop_first().unwrap();
    scene.credentials.insert(name("partner"), credential);
    let before = Arc::clone(&scene.vault);
    assert_eq!(scene.renew().await, 1);
    assert_eq!((scene.vault.find(&name("sales")), scene.vault.find(&name("partner"))), (None, Some(SALES)));
    assert!(before.authorization(SALES).is_ok());
    // The watch over it was the only other one that held it.
    while Arc::strong_count(&before.entries[0]) > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_disabled_credential_is_sent_by_nobody_until_it_is_enabled() {
    let scene = Scene::bearer("planted-token").await;
    let disabled = Circumstances { disabled: ["sales".to_owned()].into(), ..Circumstances::default() };
    let (out, watches) = scene.follow(scene.read(&disabled).await.unwrap());
    assert!(watches.is_empty(), "nothing about it changes by itself");
    assert_eq!(out.states()[0].1, State::Disabled);
    for vault in [&out, &scene.vault] {
        let refused = vault.authorization(SALES).unwrap_err();
        assert_eq!((refused.reason, refused.retry_after), ("it is disabled", 60), "also for who began before");
    }
    assert!(!scene.meters.up.load(Ordering::Relaxed));
    let (back, watches) = Vault::open_over(
        Some(&out),
        scene.read(&Circumstances::default()).await.unwrap(),
        |_| Arc::clone(&scene.meters),
        Arc::new(Wiring(Arc::clone(&scene.close))),
        grants(),
    );
    assert_eq!((watches.len(), back.states()[0].1), (1, State::Ready));
    assert!(scene.meters.up.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_is_known_need_not_be_read_again() {
    let scene = Scene::bearer("planted-token").await;
    std::fs::remove_file(scene.folder.path().join("token")).unwrap();
    let over = |again| Circumstances { before: Some((&*scene.vault, again)), ..Circumstances::default() };
    let known = scene.read(&over(Again::Nothing)).await.unwrap();
    assert!(scene.vault.holds(&known));
    assert!(scene.read(&over(Again::Declared)).await.is_err());
}
