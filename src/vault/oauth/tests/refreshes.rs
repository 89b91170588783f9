//! A token that ends, is refused or cannot be stored: one refresh, durable before it is used.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_early_and_nothing_is_refused_meanwhile() {
    let scene = Scene::granted().await;
    let first = scene.carried().await;
    assert_eq!((first.clone(), scene.at_close()), (scene.newest(), (0, false)));
    tokio::time::sleep(HOUR.mul_f64(0.79)).await;
    assert_eq!(scene.at_close(), (0, false), "not before 80 of 100");
    tokio::time::sleep(HOUR.mul_f64(0.12)).await;
    assert_eq!((scene.at_close(), scene.counted()), ((1, false), (1, 0, 0)));
    let second = scene.carried().await;
    assert!(second != first && second == scene.newest());
    assert_eq!((scene.condition().await, scene.simulator.violations()), (Condition::Ready, Vec::new()));
    let expiry = scene.replicas[0].meters.token_expiry.load(Ordering::Relaxed);
    assert!((expiry - Timestamp::now().as_second() - 3600).abs() < 60, "{expiry}");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_requests_on_an_ended_token_are_one_refresh() {
    let scene = Scene::without_grant(|app| app).await;
    scene.grant(Duration::from_secs(1)).await;
    let mut scene = scene;
    scene.grants.close_gate();
    scene.join().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.until(|| *scene.grants.waiting.borrow() == 1).await;
    assert_eq!(scene.state(), State::Refreshing);
    let requests = futures_util::future::join_all((0..200).map(|_| scene.carried_by(0)));
    let (carried, ()) = tokio::join!(requests, async { scene.grants.open_gate() });
    assert!(carried.into_iter().all(|carried| carried.unwrap() == scene.newest()));
    assert_eq!((scene.at_close(), scene.asked().len()), ((1, false), 1));
}

#[tokio::test(start_paused = true)]
async fn a_rotated_token_is_durable_before_it_is_used() {
    let scene = Scene::granted().await;
    let first = scene.carried().await;
    scene.grants.failures.store(20, Ordering::Release);
    scene.grants.close_gate();
    scene.token_is_due().await;
    scene.until(|| scene.at_close().0 == 1).await;
    assert_eq!(scene.carried().await, first, "the new one exists, and is not stored");
    assert_eq!(scene.condition().await, Condition::Doubtful(Doubt::Unfinished));
    // From here on storing fails; nothing is asked for again, and nothing lost.
    scene.grants.open_gate();
    scene.until(|| scene.grants.failures.load(Ordering::Acquire) < 10).await;
    assert_eq!(scene.carried().await, first);
    scene.until(|| scene.counted().0 == 1).await;
    assert_eq!((scene.carried().await, scene.condition().await), (scene.newest(), Condition::Ready));
    assert_eq!((scene.at_close(), scene.grants.failures.load(Ordering::Acquire)), ((1, false), 0));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_stored_is_never_used_even_when_the_old_one_has_ended() {
    let scene = Scene::granted().await;
    scene.grants.failures.store(usize::MAX, Ordering::Release);
    tokio::time::sleep(HOUR + Duration::from_secs(1)).await;
    assert_eq!((scene.at_close(), scene.state()), ((1, false), State::Refreshing));
    let refused = scene.carried_by(0).await.unwrap_err();
    assert_eq!(refused.reason, "its access token was not renewed in time");
    scene.grants.failures.store(0, Ordering::Release);
    assert_eq!(scene.carried().await, scene.newest());
    assert_eq!(scene.at_close(), (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_and_a_watch_that_ends_cancel_nobodys_refresh() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.grant(Duration::from_secs(1)).await;
    scene.join().await;
    scene.grants.close_gate();
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.until(|| *scene.grants.waiting.borrow() == 1).await;
    let left = tokio::time::timeout(Duration::from_millis(1), scene.carried_by(0)).await;
    assert!(left.is_err());
    // A reload puts another entry in its place: the refresh under way ends as it would have.
    scene.vault().entries[0].retire();
    let under = Arc::clone(&scene.vault().means().under);
    tokio::task::yield_now().await;
    scene.grants.open_gate();
    under.over().await;
    assert_eq!((scene.at_close(), scene.condition().await), ((1, false), Condition::Ready));
    let next = scene.join().await;
    assert_eq!(scene.carried_by(next).await.unwrap(), scene.newest());
    assert_eq!(scene.at_close(), (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once_for_all_and_one_that_is_new_is_not() {
    let scene = Scene::granted().await;
    // Be they as new as they may.
    scene.simulator.expire_access_tokens();
    let awaited: Vec<_> = (0..50).filter_map(|_| scene.vault().renewed(PARTNER, 1)).collect();
    assert_eq!(awaited.len(), 50);
    let tokens = futures_util::future::join_all(awaited.into_iter().map(Awaiting::token)).await;
    assert!(tokens.iter().all(|token| token.as_ref().unwrap().generation() == 2));
    assert_eq!((scene.carried().await, scene.at_close()), (scene.newest(), (1, false)));
    let late = scene.vault().renewed(PARTNER, 1).unwrap().token().await.unwrap();
    assert_eq!((late.generation(), scene.at_close().0), (2, 1), "it is renewed already");
    assert!(scene.vault().renewed(PARTNER, 2).is_none(), "one that came in the place of a refused one is not");
    tokio::time::sleep(Duration::from_secs(11)).await;
    scene.simulator.expire_access_tokens();
    let later = scene.vault().renewed(PARTNER, 2).unwrap().token().await.unwrap();
    assert_eq!((later.generation(), scene.at_close().0), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_that_cannot_be_renewed_is_told_and_goes_on_being_used() {
    let scene = Scene::granted().await;
    scene.script(Trouble::Status(http::StatusCode::BAD_GATEWAY, bytes::Bytes::new()));
    // The endpoint is asked once, and not for every request that is refused meanwhile.
    for _ in 0..5 {
        let told = scene.vault().renewed(PARTNER, 1).unwrap().token().await.unwrap_err();
        assert_eq!(told.reason, "its access token could not be renewed");
        assert_eq!((scene.state(), scene.counted()), (State::Ready, (0, 1, 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_token_of_a_credential_that_is_changed_meanwhile_is_told_at_once() {
    let scene = Scene::granted().await;
    scene.grants.close_gate();
    let awaiting = scene.vault().renewed(PARTNER, 1).unwrap();
    let entry = &scene.vault().entries[0];
    let began = tokio::time::Instant::now();
    let (told, ()) = tokio::join!(awaiting.token(), async {
        tokio::task::yield_now().await;
        entry.retire();
    });
    assert_eq!(told.unwrap_err().reason, "its credential was changed meanwhile");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_asks_to_be_left_alone_is_whoever_is_refused() {
    let scene = Scene::granted().await;
    let busy = http::Response::builder().status(429).header("retry-after", "120").body(bytes::Bytes::new()).unwrap();
    scene.simulator.script(Fault::new(Trouble::Answer(busy)).under("/oauth2/token/").always());
    scene.simulator.script(
        Fault::new(Trouble::Status(http::StatusCode::UNAUTHORIZED, bytes::Bytes::new())).under("/api/").always(),
    );
    let asked = scene.asked().len();
    for _ in 0..60 {
        if let Some(awaiting) = scene.vault().renewed(PARTNER, 1) {
            assert!(awaiting.token().await.is_err());
        }
        scene.vault().suspect(PARTNER, 1, &Origin::close());
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert_eq!(scene.asked().len() - asked, 1, "in a minute, of two that it named");
    assert_eq!(scene.state(), State::Rejected, "Close refuses it, and there is no other");
}

#[tokio::test(start_paused = true)]
async fn a_new_token_that_close_refuses_takes_the_credential_out_of_use_until_it_is_taken() {
    let scene = Scene::granted().await;
    let origin = Origin::close();
    // Not the token's age: Close refuses whatever this grant gives.
    scene.simulator.script(
        Fault::new(Trouble::Status(http::StatusCode::UNAUTHORIZED, bytes::Bytes::new())).under("/api/").always(),
    );
    let replaced = scene.vault().renewed(PARTNER, 1).unwrap().token().await.unwrap();
    assert_eq!(replaced.generation(), 2);
    assert!(scene.vault().renewed(PARTNER, 2).is_none(), "it is the one in its place");
    scene.vault().suspect(PARTNER, 2, &origin);
    assert_eq!(scene.state(), State::Suspect);
    scene.until(|| scene.state() == State::Rejected).await;
    assert_eq!(scene.replicas[0].meters.rejections.load(Ordering::Relaxed), 1);
    assert_eq!(scene.vault().authorization(PARTNER).unwrap_err().reason, "Close refused it");
    let asked = scene.asked().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!((1..=7).contains(&(scene.asked().len() - asked)), "ever more rarely: {}", scene.asked().len() - asked);
    scene.simulator.clear_faults();
    scene.until(|| scene.state() == State::Ready).await;
    assert_eq!((scene.carried().await, scene.at_close().1), (scene.newest(), false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_repeats_the_old_or_the_new_token_is_scrubbed_of_both() {
    let scene = Scene::granted().await;
    let first = scene.simulator.grants()[0].access_token.clone();
    scene.token_is_due().await;
    scene.until(|| scene.counted().0 == 1).await;
    let second = scene.simulator.grants()[0].access_token.clone();
    let authorization = scene.vault().authorization(PARTNER).unwrap();
    let mut redactor = authorization.inject(&mut HeaderMap::new());
    let mut clean = redactor.scrub(bytes::Bytes::from(format!("{first} {second} x"))).to_vec();
    // Where a token happens to begin with that letter it is held back until the end.
    clean.extend(redactor.finish().unwrap_or_default());
    assert_eq!(String::from_utf8(clean).unwrap(), format!("{} {} x", "*".repeat(44), "*".repeat(44)));
}

#[tokio::test(start_paused = true)]
async fn nothing_prints_a_token() {
    let scene = Scene::granted().await;
    let grant = &scene.simulator.grants()[0];
    let stored = scene.grants.inner.stored(&name()).await.unwrap().unwrap();
    let printed = format!("{stored:?} {:?} {:?}", scene.vault(), scene.vault().authorization(PARTNER));
    assert!(printed.contains("Ready"), "the control: {printed}");
    assert!(!printed.contains(&grant.access_token) && !printed.contains(&grant.refresh_token), "{printed}");
}

#[tokio::test(start_paused = true)]
async fn a_credential_without_a_grant_waits_for_a_person_and_one_of_another_app_too() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    assert_eq!(scene.state(), State::NeedsAuthorization);
    let refused = scene.carried_by(0).await.unwrap_err();
    assert_eq!(refused.reason, "nobody has authorized it yet");
    let grant = scene.simulator.grant(&scene.app).unwrap();
    let given = tokens::Given { access: secret(&grant.access_token), refresh: None, lifetime: HOUR };
    let other = Tokens::of(given, &secret(&grant.refresh_token), "oa2client_other");
    scene.grants.put(&name(), &other, &event()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.state(), State::NeedsAuthorization);
    scene.grants.put(&name(), &scene.tokens(&grant, HOUR), &event()).await.unwrap();
    scene.until(|| scene.state() == State::Ready).await;
    scene.grants.inner.remove(&name());
    scene.until(|| scene.state() == State::NeedsAuthorization).await;
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_not_taken_in_the_body_is_shown_by_basic_from_then_on() {
    let mut scene = Scene::without_grant(|app| app.authenticating(ClientAuthentication::Basic)).await;
    scene.grant(HOUR).await;
    scene.join().await;
    for asked in [2, 3] {
        scene.token_is_due().await;
        scene.until(|| scene.asked().len() == asked).await;
    }
    scene.until(|| scene.counted().0 == 2).await;
    let by_basic: Vec<_> = scene.asked().iter().map(|seen| seen.header("authorization").is_some()).collect();
    assert_eq!((by_basic, scene.at_close()), (vec![false, true, true], (2, false)));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_given_a_longer_life_is_not_asked_for_again_at_once() {
    let scene = Scene::granted().await;
    let text = r#"{"access_token":"the-same-token-as-before","token_type":"bearer","expires_in":3600}"#;
    let answer = http::Response::builder().header("content-type", "application/json").body(text.into()).unwrap();
    scene.script(Trouble::Answer(answer));
    tokio::time::sleep(HOUR * 4).await;
    assert!((4..=6).contains(&scene.asked().len()), "{}", scene.asked().len());
    assert_eq!(scene.carried().await, "Bearer the-same-token-as-before");
}
