//! Whatever the token endpoint does wrong, the token that is there goes on being used, and the grant lives.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};

use super::*;

/// An answer with headers of its own.
fn answer(status: u16, headers: &[(http::HeaderName, &str)], body: &'static str) -> Trouble {
    let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    Trouble::Answer(answer)
}

/// The fault lasts from before the refresh is due until the token has nearly ended, then it is over.
async fn survives(trouble: Trouble) -> Scene {
    let scene = Scene::granted().await;
    let first = scene.carried().await;
    scene.script(trouble);
    scene.token_is_due().await;
    let minutes = HOUR.mul_f64(0.08);
    tokio::time::sleep(minutes).await;
    let (successes, failures, refusals) = scene.counted();
    assert!(successes == 0 && refusals == 0, "{:?}", scene.counted());
    assert!((3..=20).contains(&failures), "tried again with growing pauses: {failures}");
    assert_eq!((scene.state(), scene.carried().await), (State::Ready, first));
    assert!(!scene.at_close().1);
    scene.simulator.clear_faults();
    scene.until(|| scene.counted().0 == 1).await;
    assert_eq!((scene.carried().await, scene.condition().await), (scene.newest(), Condition::Ready));
    assert_eq!(scene.at_close(), (1, false));
    scene
}

#[tokio::test(start_paused = true)]
async fn a_500_kills_no_grant() {
    survives(answer(500, &[], "{}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_500_that_says_invalid_grant_kills_no_grant() {
    survives(answer(500, &[], r#"{"error":"invalid_grant"}"#)).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_kills_no_grant() {
    survives(Trouble::GarbageHead).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_in_a_good_answer_kills_no_grant() {
    survives(answer(200, &[(CONTENT_TYPE, "application/json")], "\u{1}{\"access_token\": ")).await;
}

#[tokio::test(start_paused = true)]
async fn html_kills_no_grant() {
    survives(answer(200, &[(CONTENT_TYPE, "text/html")], "<html><body>Maintenance</body></html>")).await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed_and_kills_no_grant() {
    let scene = survives(answer(302, &[(LOCATION, "/elsewhere/")], "")).await;
    assert!(scene.simulator.seen().iter().all(|seen| seen.target != "/elsewhere/"));
}

#[tokio::test(start_paused = true)]
async fn silence_kills_no_grant() {
    survives(Trouble::NoAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_before_the_request_is_read_kills_no_grant() {
    survives(Trouble::CloseUnread).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_cut_before_the_answer_kills_no_grant() {
    survives(Trouble::CloseBeforeAnswer).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_kills_no_grant() {
    survives(Trouble::HugeHead(1 << 20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_429_is_obeyed_and_kills_no_grant() {
    let scene = Scene::granted().await;
    let first = scene.carried().await;
    scene.script(answer(429, &[(RETRY_AFTER, "120")], "{}"));
    scene.token_is_due().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let asked = scene.asked().len();
    assert!(asked <= 6, "it is left alone for two minutes at a time: {asked}");
    assert_eq!(
        (scene.state(), scene.carried().await, scene.condition().await),
        (State::Ready, first, Condition::Ready)
    );
    scene.simulator.clear_faults();
    scene.until(|| scene.counted().0 == 1).await;
    assert_eq!((scene.carried().await, scene.at_close()), (scene.newest(), (1, false)));
}

#[tokio::test(start_paused = true)]
async fn a_token_endpoint_that_cannot_be_reached_kills_no_grant_and_leaves_no_doubt() {
    let scene = Scene::granted().await;
    let first = scene.carried().await;
    *scene.line.cut.lock().unwrap() = true;
    scene.token_is_due().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((scene.carried().await, scene.condition().await), (first, Condition::Ready));
    *scene.line.cut.lock().unwrap() = false;
    scene.until(|| scene.counted().0 == 1).await;
    assert_eq!(scene.carried().await, scene.newest());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_keeps_a_refresh_from_being_begun() {
    let scene = Scene::granted().await;
    let first = scene.carried().await;
    *scene.grants.down.lock().unwrap() = true;
    scene.token_is_due().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((scene.carried().await, scene.asked().len()), (first, 0));
    *scene.grants.down.lock().unwrap() = false;
    scene.until(|| scene.counted().0 == 1).await;
    assert_eq!((scene.carried().await, scene.at_close()), (scene.newest(), (1, false)));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_during_a_fault_is_not_sent_and_requests_are_told_when_to_come_again() {
    let scene = Scene::granted().await;
    scene.script(answer(503, &[], "{}"));
    tokio::time::sleep(HOUR + Duration::from_secs(120)).await;
    let refused = scene.vault().authorization(PARTNER).unwrap_err();
    assert_eq!(refused.reason, "its access token has ended, and the token endpoint gives no other one");
    assert!((1..=75).contains(&refused.retry_after), "{}", refused.retry_after);
    assert_eq!(scene.state(), State::Refreshing);
    assert!(!scene.replicas[0].meters.up.load(Ordering::Relaxed));
    scene.simulator.clear_faults();
    scene.until(|| scene.state() == State::Ready).await;
    assert_eq!((scene.carried().await, scene.at_close().1), (scene.newest(), false));
}

#[tokio::test(start_paused = true)]
async fn a_client_secret_that_is_not_taken_kills_no_grant_and_is_read_again() {
    let scene = Scene::granted().await;
    let file = scene.folder.path().join("secret");
    std::fs::write(&file, "another-secret-than-that").unwrap();
    let (slot, withheld) = (scene.vault().entries[0].slots()[0].clone(), Arc::default());
    let (wrong, _) = slot.read(&withheld).await.unwrap();
    scene.vault().entries[0].remember(0, Some(wrong));
    scene.token_is_due().await;
    scene.until(|| scene.counted().1 > 0).await;
    assert_eq!((scene.state(), scene.condition().await), (State::Ready, Condition::Ready));
    std::fs::write(&file, scene.app.client_secret()).unwrap();
    scene.until(|| scene.counted().0 == 1).await;
    assert_eq!(scene.at_close(), (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_refused_grant_is_over_after_the_store_was_read_again() {
    let scene = Scene::granted().await;
    scene.simulator.revoke_grants();
    let reads = scene.grants.reads.load(Ordering::Relaxed);
    scene.token_is_due().await;
    scene.until(|| scene.counted().2 == 1).await;
    assert_eq!(scene.state(), State::Dead { reason: Death::Refused.reason() });
    assert_eq!(scene.condition().await, Condition::Dead(Death::Refused));
    assert!(
        scene.grants.reads.load(Ordering::Relaxed) >= reads + 3,
        "before the lease, under it, and after the refusal"
    );
    let (asked, refused) = (scene.asked().len(), scene.carried_by(0).await.unwrap_err());
    assert_eq!(refused.reason, Death::Refused.reason());
    tokio::time::sleep(HOUR).await;
    assert_eq!(scene.asked().len(), asked, "what is over is not tried again");
    // A person authorizes it again.
    scene
        .grants
        .put(&name(), &scene.tokens(&scene.simulator.grant(&scene.app).unwrap(), HOUR), &event())
        .await
        .unwrap();
    scene.until(|| scene.state() == State::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_ends_a_strict_grant_and_the_state_says_why() {
    let scene = Scene::granted().await;
    scene.simulator.script(Fault::new(Trouble::LoseAnswer).under("/oauth2/token/"));
    scene.token_is_due().await;
    scene.until(|| scene.counted().2 == 1).await;
    assert_eq!(scene.state(), State::Dead { reason: Death::AfterUnanswered.reason() });
    assert_eq!((scene.at_close(), scene.counted()), ((1, true), (0, 1, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_during_which_the_process_ended_is_tried_again_and_named_when_it_is_refused() {
    for (spent, state) in [(false, State::Ready), (true, State::Dead { reason: Death::AfterUnfinished.reason() })] {
        let mut scene = Scene::without_grant(|app| app.reuse(Reuse::IsRefused)).await;
        let grant = scene.grant(Duration::ZERO).await;
        // What a process leaves that ends between its request and the answer: a mark, and a lease that runs out.
        let fence = scene.grants.lease(&name(), "gone", Duration::from_secs(6)).await.unwrap().unwrap();
        scene.grants.mark(&name(), Condition::Doubtful(Doubt::Unfinished), fence).await.unwrap();
        if spent {
            let form = format!(
                "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
                scene.app.client_id(),
                scene.app.client_secret(),
                grant.refresh_token
            );
            post(&scene.simulator, &form).await;
        }
        scene.join().await;
        assert_eq!(scene.state(), state, "spent: {spent}");
    }
}

/// Asks the token endpoint as another process would.
async fn post(simulator: &Simulator, form: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut pipe = simulator.pipe();
    let head = format!(
        "POST /oauth2/token/ HTTP/1.1\r\nhost: h\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    pipe.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    pipe.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}
