//! Several gateways over one store: one refreshes, the others read what it got.

use super::*;

#[tokio::test(start_paused = true)]
async fn three_replicas_on_an_ended_token_are_one_refresh() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.grant(Duration::from_secs(1)).await;
    for _ in 0..3 {
        scene.join().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let requests = (0..200).map(|at| scene.carried_by(at % 3));
    let carried = futures_util::future::join_all(requests).await;
    assert!(carried.into_iter().all(|carried| carried.unwrap() == scene.newest()));
    assert_eq!((scene.at_close(), scene.asked().len()), ((1, false), 1));
}

#[tokio::test(start_paused = true)]
async fn replicas_take_turns_for_a_day_and_never_spend_a_token_twice() {
    let mut scene = Scene::granted().await;
    scene.join().await;
    for _ in 0..24 {
        scene.token_is_due().await;
        let (one, other) = (scene.carried_by(0).await.unwrap(), scene.carried_by(1).await.unwrap());
        assert_eq!((&one, &one), (&other, &scene.newest()));
    }
    let (refreshes, over) = scene.at_close();
    assert!(!over && (23..=27).contains(&refreshes), "{refreshes}");
    assert_eq!(scene.asked().len(), refreshes);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_another_process_stored_meanwhile_is_used_and_the_grant_lives() {
    let scene = Scene::granted().await;
    // Another process refreshes behind the back of the lease, as one does that was paused for long.
    let first = scene.simulator.grants()[0].clone();
    scene.grants.close_gate();
    scene.token_is_due().await;
    scene.until(|| *scene.grants.waiting.borrow() == 1).await;
    let other = scene.simulator.grants()[0].clone();
    assert_ne!(other.refresh_token, first.refresh_token);
    scene.grants.inner.put(&name(), &scene.tokens(&other, HOUR), &event()).await.unwrap();
    scene.grants.open_gate();
    scene.until(|| scene.vault().authorization(PARTNER).is_ok_and(|token| token.generation() == 2)).await;
    assert_eq!((scene.carried().await, scene.at_close()), (scene.newest(), (1, false)));
    assert_eq!(scene.condition().await, Condition::Ready);
}

#[tokio::test(start_paused = true)]
async fn who_gets_the_lease_after_somebody_else_has_refreshed_does_not_refresh_again() {
    let scene = Scene::granted().await;
    let other = scene.simulator.grant(&scene.app).unwrap();
    *scene.grants.overtaken.lock().unwrap() = Some(scene.tokens(&other, HOUR));
    scene.token_is_due().await;
    scene.until(|| scene.vault().authorization(PARTNER).is_ok_and(|token| token.generation() == 2)).await;
    assert_eq!(scene.carried().await, format!("Bearer {}", other.access_token));
    assert_eq!((scene.asked().len(), scene.grants.overtaken.lock().unwrap().is_some()), (0, false));
}

#[tokio::test(start_paused = true)]
async fn invalid_grant_is_no_end_where_the_store_has_other_tokens_by_then() {
    let scene = Scene::granted().await;
    let (simulator, grants) = (scene.simulator.clone(), Arc::clone(&scene.grants));
    // The first grant is over, and while Close says so another process stores a second one.
    simulator.revoke_grants();
    simulator.script(Fault::new(Trouble::NoAnswer).under("/oauth2/token/"));
    simulator.until(|simulator| simulator.held() == 1).await;
    let second = simulator.grant(&scene.app).unwrap();
    grants.inner.put(&name(), &scene.tokens(&second, HOUR), &event()).await.unwrap();
    simulator.release(1);
    let expected = format!("Bearer {}", second.access_token);
    scene.until(|| scene.vault().authorization(PARTNER).is_ok_and(|token| token.generation() == 2)).await;
    assert_eq!((scene.carried().await, scene.counted().2, scene.state()), (expected, 0, State::Ready));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.condition().await, Condition::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_lease_whose_holder_is_gone_runs_out() {
    let scene = Scene::granted().await;
    scene.grants.lease(&name(), "gone", HOUR).await.unwrap().unwrap();
    tokio::time::sleep(HOUR.mul_f64(0.95)).await;
    assert_eq!((scene.at_close().0, scene.state()), (0, State::Ready), "it is somebody else's turn");
    tokio::time::sleep(HOUR.mul_f64(0.1)).await;
    scene.until(|| scene.counted().0 == 1).await;
    assert_eq!((scene.carried().await, scene.at_close()), (scene.newest(), (1, false)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_held_on_to_while_the_token_endpoint_takes_its_time() {
    let scene = Scene::granted().await;
    scene.script(Trouble::NoAnswer);
    scene.simulator.until(|simulator| simulator.held() == 1).await;
    tokio::time::sleep(Duration::from_millis(8500)).await;
    let other = scene.grants.lease(&name(), "other", Duration::from_secs(1)).await.unwrap();
    assert_eq!((other, scene.simulator.held()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_is_changed_while_the_store_is_away_goes_on_with_its_token() {
    let scene = Scene::granted().await;
    let first = scene.carried().await;
    *scene.grants.down.lock().unwrap() = true;
    // Its client secret lies in a file, which is another one now.
    std::fs::write(scene.folder.path().join("secret"), "another-client-secret").unwrap();
    let (holdings, _) = Holdings::read(&scene.credentials, Arc::default(), &Circumstances::default()).await.unwrap();
    let (meters, line) = (Arc::clone(&scene.replicas[0].meters), Arc::clone(&scene.line));
    let grants = Arc::clone(&scene.grants);
    let (vault, watches) = Vault::open_over(Some(scene.vault()), holdings, |_| Arc::clone(&meters), line, grants);
    assert_eq!(watches.len(), 1, "it is another one");
    watches.into_iter().for_each(|watch| task::spawn("watch", watch.run()));
    let scene = Scene { replicas: vec![Replica { vault, meters }], ..scene };
    assert_eq!((scene.state(), scene.carried().await), (State::Ready, first));
    // What the store says counts, once it says something.
    let second = scene.simulator.grant(&scene.app).unwrap();
    *scene.grants.down.lock().unwrap() = false;
    scene.grants.put(&name(), &scene.tokens(&second, HOUR), &event()).await.unwrap();
    scene.until(|| scene.vault().authorization(PARTNER).is_ok_and(|token| token.generation() == 2)).await;
    assert_eq!(scene.carried().await, format!("Bearer {}", second.access_token));
}
