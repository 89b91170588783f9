//! A person authorizes a credential: there and back, once, and with the right browser's answer.

use super::*;
use crate::vault::Returned;

/// Opens the page, decides, and gives the URL that the browser is sent to.
async fn decide(scene: &Scene, url: &str, decision: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let query = url.strip_prefix("https://app.close.com/oauth2/authorize/?").unwrap();
    let form = format!("{query}&decision={decision}");
    let mut pipe = scene.simulator.pipe();
    let head = format!(
        "POST /oauth2/authorize/ HTTP/1.1\r\nhost: h\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    pipe.write_all(head.as_bytes()).await.unwrap();
    pipe.shutdown().await.unwrap();
    let mut answer = String::new();
    pipe.read_to_string(&mut answer).await.unwrap();
    let place = answer.lines().find_map(|line| line.strip_prefix("location: "));
    place.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_person_authorizes_and_the_credential_is_ready_everywhere() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    scene.join().await;
    let consent = scene.vault().begin_authorization(PARTNER, "ops").await.unwrap();
    assert_eq!(consent.state.len(), 43);
    let back = decide(&scene, &consent.url, "allow").await;
    let returned = Returned::of_url(&back).unwrap();
    assert_eq!(returned.state(), consent.state.as_str());
    // Another replica may be the one that the browser comes back to.
    let authorized = scene.replicas[1].vault.finish_authorization(returned, None, event()).await.unwrap();
    assert_eq!((&authorized.credential, authorized.event.subject.as_str()), (&name(), "partner"));
    assert_eq!(authorized.event.detail["begun_by"], "ops");
    scene.until(|| scene.state() == State::Ready && scene.state_of(1) == State::Ready).await;
    assert_eq!(scene.carried().await, scene.newest());
    let again = scene.vault().finish_authorization(Returned::of_url(&back).unwrap(), None, event()).await.unwrap_err();
    assert_eq!(again, FlowFault::Unknown);
    assert!(!scene.at_close().1, "the code was not sent a second time");
    scene.token_is_due().await;
    scene.until(|| scene.at_close().0 == 1).await;
    let printed = format!("{consent:?} {:?}", Returned::of_url(&back).unwrap());
    assert!(!printed.contains(consent.state.as_str()), "{printed}");
}

#[tokio::test(start_paused = true)]
async fn a_decline_a_stranger_and_a_late_answer_authorize_nothing() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    let vault = Arc::clone(&scene.replicas[0].vault);
    let consent = vault.begin_authorization(PARTNER, "ops").await.unwrap();
    let declined = decide(&scene, &consent.url, "decline").await;
    let finish = |url: String| {
        let vault = Arc::clone(&vault);
        async move { vault.finish_authorization(Returned::of_url(&url).unwrap(), None, event()).await.unwrap_err() }
    };
    let error = "access_denied".to_owned();
    assert_eq!(finish(declined.clone()).await, FlowFault::Declined { credential: name(), error });
    assert_eq!(finish(declined).await, FlowFault::Unknown, "its state is spent");
    let stranger = "https://localhost/oauth/callback?code=planted&state=planted".to_owned();
    assert_eq!(finish(stranger).await, FlowFault::Unknown);
    let consent = vault.begin_authorization(PARTNER, "ops").await.unwrap();
    let back = decide(&scene, &consent.url, "allow").await;
    // Ten minutes later; the wall clock stands still, so what was remembered is remembered anew.
    let flow = scene.grants.take(flow::digest_of(&consent.state)).await.unwrap().unwrap();
    scene.grants.remember(flow::digest_of(&consent.state), &flow, Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(finish(back).await, FlowFault::Unknown);
    assert!((consent.expires.duration_since(Timestamp::now()).as_secs() - 600).abs() <= 5);
    assert_eq!(scene.state(), State::NeedsAuthorization);
    assert!(scene.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_code_is_good_for_the_app_that_asked_alone() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    let consent = scene.vault().begin_authorization(PARTNER, "ops").await.unwrap();
    let back = decide(&scene, &consent.url, "allow").await;
    let Some(Credential { kind: CredentialKind::OAuth2(app), .. }) = scene.credentials.get_mut(&name()) else {
        panic!("no app")
    };
    app.client_id = "oa2client_other".to_owned();
    let other = scene.join().await;
    let fault = scene.replicas[other].vault.finish_authorization(Returned::of_url(&back).unwrap(), None, event()).await;
    assert_eq!(fault.unwrap_err(), FlowFault::Changed);
}

#[test]
fn what_comes_back_is_read_to_the_letter() {
    for good in [
        "https://localhost/oauth/callback?code=a%2Bb&state=s",
        "  https://h/x?state=s&scope=x+y&code=a%2bb#f\n",
        "?error=access_denied&state=s",
    ] {
        assert_eq!(Returned::of_url(good).unwrap().state(), "s", "{good}");
    }
    for bad in [
        "",
        "https://localhost/oauth/callback",
        "https://h/?code=a",
        "https://h/?state=s",
        "https://h/?state=&code=a",
        "https://h/?state=s&code=",
        "https://h/?state=s&code=a&code=b",
        "https://h/?state=s&code=a&error=b",
        "https://h/?state=s&code=%zz",
        "https://h/?state=s&code=%f",
    ] {
        assert_eq!(Returned::of_url(bad).unwrap_err(), FlowFault::Malformed, "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_exists_is_taken_over_and_one_that_does_not_changes_nothing() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    let grant = scene.simulator.grant(&scene.app).unwrap();
    let taken = scene.vault().adopt(PARTNER, &text(&format!("{}\n", grant.refresh_token)), event()).await.unwrap();
    scene.vault().taken_up(&taken).await;
    assert_eq!(scene.state(), State::Ready, "it was waited for");
    assert_eq!((scene.carried().await, scene.at_close()), (scene.newest(), (1, false)));
    let before = scene.carried().await;
    for (token, told) in [("", "empty"), ("a b", "blank"), ("planted-refresh-token", "`invalid_grant`")] {
        let fault = scene.vault().adopt(PARTNER, &text(token), event()).await.unwrap_err();
        assert!(fault.to_string().contains(told) && !fault.hint().is_empty(), "{fault}");
        assert!(!format!("{fault:?} {fault}").contains("planted"));
    }
    assert_eq!((scene.state(), scene.carried().await), (State::Ready, before));
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_taken_over_only_where_its_tokens_can_be_stored() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    let grant = scene.simulator.grant(&scene.app).unwrap();
    *scene.grants.down.lock().unwrap() = true;
    let refused = scene.vault().adopt(PARTNER, &text(&grant.refresh_token), event()).await.unwrap_err();
    assert!(refused.to_string().contains("the store cannot be reached"), "{refused}");
    assert!(scene.asked().is_empty(), "its token is not spent");
    // Lost once it is: what was given for it is kept until the store has it.
    *scene.grants.down.lock().unwrap() = false;
    scene.grants.failures.store(3, Ordering::Relaxed);
    let taken = scene.vault().adopt(PARTNER, &text(&grant.refresh_token), event()).await.unwrap();
    scene.vault().taken_up(&taken).await;
    assert_eq!((scene.carried().await, scene.at_close()), (scene.newest(), (1, false)));
}

#[tokio::test(start_paused = true)]
async fn an_authorization_is_not_one_of_another_credential() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    let consent = scene.vault().begin_authorization(PARTNER, "ops").await.unwrap();
    let back = decide(&scene, &consent.url, "allow").await;
    let other = CredentialName::parse("other").unwrap();
    let finish = |of| scene.vault().finish_authorization(Returned::of_url(&back).unwrap(), of, event());
    assert_eq!(finish(Some(&other)).await.unwrap_err(), FlowFault::OtherCredential);
    assert_eq!(finish(None).await.unwrap_err(), FlowFault::Unknown, "its state is spent");
    assert!(scene.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_grant_is_ended_at_close_as_far_as_close_can_be_reached() {
    let scene = Scene::granted().await;
    scene.vault().revocation(PARTNER).await.unwrap().unwrap().unwrap().carry_out().await.unwrap();
    assert!(scene.at_close().1);
    scene.grants.inner.remove(&name());
    assert!(scene.vault().revocation(PARTNER).await.unwrap().is_none(), "there is none to end");

    let scene = Scene::granted().await;
    *scene.line.cut.lock().unwrap() = true;
    let told = scene.vault().revocation(PARTNER).await.unwrap().unwrap().unwrap().carry_out().await.unwrap_err();
    assert_eq!(told.to_string(), "the token endpoint cannot be reached: the line is cut");
    assert!(!scene.at_close().1, "it lives on there");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_come_for_a_credential_that_was_removed_are_ended_at_close() {
    let scene = Scene::granted().await;
    scene.grants.close_gate();
    scene.token_is_due().await;
    scene.grants.waiting.subscribe().wait_for(|waiting| *waiting == 1).await.unwrap();
    scene.grants.inner.remove(&name());
    scene.grants.open_gate();
    scene.until(|| scene.at_close().1).await;
    assert_eq!(scene.at_close(), (1, true), "the refresh token that was renewed, not the one before");
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_an_app_is_examined_by_its_grant_or_by_a_token_that_is_none() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    let Some(Credential { kind: CredentialKind::OAuth2(app), .. }) = scene.credentials.get(&name()) else {
        panic!("no app")
    };
    let examine = async |secret: &str| {
        let trial = Trial::app_secret(app, &text(secret)).unwrap();
        scene.vault().examine_app(&name(), app, &trial).await.unwrap()
    };
    let right = scene.app.client_secret().to_owned();
    assert_eq!(examine(&right).await, AppVerdict::Accepted);
    assert_eq!(examine("planted-wrong").await, AppVerdict::Refused);
    scene.grant(HOUR).await;
    assert_eq!(examine("planted-wrong").await, AppVerdict::Refused);
    assert_eq!(scene.at_close(), (0, false), "nothing is spent");
    assert_eq!(examine(&right).await, AppVerdict::Accepted);
    assert_eq!(scene.at_close(), (1, false), "its grant is renewed");
    while scene.carried().await != scene.newest() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    *scene.line.cut.lock().unwrap() = true;
    assert!(matches!(examine(&right).await, AppVerdict::Undecided(why) if why.contains("cut")));
}

#[tokio::test(start_paused = true)]
async fn a_link_begins_what_it_was_made_for_once_and_as_long_as_that_waits() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    scene.join().await;
    let vault = scene.vault();
    let consent = vault.begin_authorization(PARTNER, "ops").await.unwrap();
    let ticket = vault.lend_link(&consent).await.unwrap();
    assert!(ticket.len() == 43 && *ticket != *consent.state);
    let unknown = |ticket: String| async move { vault.follow_link(&ticket).await.unwrap_err() };
    for wrong in ["", &ticket[1..], &consent.state, &ticket.to_lowercase()] {
        assert_eq!(unknown(wrong.to_owned()).await, FlowFault::UnknownLink, "{wrong}");
    }
    // Another replica may be the one that is opened.
    let opened = scene.replicas[1].vault.follow_link(&ticket).await.unwrap();
    assert_eq!((&opened.url, &opened.state, opened.expires), (&consent.url, &consent.state, consent.expires));
    assert_eq!(unknown(ticket.to_string()).await, FlowFault::UnknownLink, "it was opened");

    let late = vault.lend_link(&consent).await.unwrap();
    let digest = flow::digest_of(&late);
    scene.grants.lend(digest, &consent.state, Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(unknown(late.to_string()).await, FlowFault::UnknownLink, "its time is over");

    let over = vault.lend_link(&consent).await.unwrap();
    assert_eq!(vault.give_up_authorization(&consent.state).await, Ok(Some(name())));
    assert_eq!(vault.give_up_authorization(&consent.state).await, Ok(None));
    assert_eq!(unknown(over.to_string()).await, FlowFault::UnknownLink, "what it begins is over");
    let back = decide(&scene, &consent.url, "allow").await;
    let returned = Returned::of_url(&back).unwrap();
    assert_eq!(vault.finish_authorization(returned, None, event()).await.unwrap_err(), FlowFault::Unknown);
    assert!(scene.asked().is_empty(), "no code was shown to Close");
}

#[tokio::test(start_paused = true)]
async fn a_link_leads_to_no_other_app_than_it_was_made_for() {
    let mut scene = Scene::without_grant(|app| app).await;
    scene.join().await;
    let consent = scene.vault().begin_authorization(PARTNER, "ops").await.unwrap();
    let flow = scene.grants.take(flow::digest_of(&consent.state)).await.unwrap().unwrap();
    for changed in [
        Flow { client_id: "oa2client_other".to_owned(), ..flow.again() },
        Flow { redirect_uri: "https://evil.example/oauth/callback".to_owned(), ..flow.again() },
        Flow { credential: CredentialName::parse("gone").unwrap(), ..flow.again() },
    ] {
        let ticket = scene.vault().lend_link(&consent).await.unwrap();
        scene.grants.remember(flow::digest_of(&consent.state), &changed, consent.expires).await.unwrap();
        assert_eq!(scene.vault().follow_link(&ticket).await.unwrap_err(), FlowFault::Changed);
    }
}
