//! What becomes of a credential that Close may have rejected: one question, the verdict, the way back, the next key.

use super::*;

#[tokio::test]
async fn the_question_is_one_plain_get() {
    let scene = Scene::bearer("planted-token").await;
    assert_eq!(scene.vault.verify(SALES, &origin()).await, Verdict::Accepted);
    let heads = scene.close.heads.lock().unwrap().clone();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        heads,
        [format!(
            "GET /base/api/v1/me/ HTTP/1.1\r\nhost: api.close.com\r\naccept: application/json\r\n\
             user-agent: closegate/{version}\r\nauthorization: Bearer planted-token\r\n\r\n"
        )]
    );
}

#[tokio::test]
async fn a_verdict_is_401_or_2xx_and_nothing_else() {
    let scene = Scene::bearer("planted-token").await;
    for status in [204, 308, 403, 404, 429, 500] {
        *scene.close.status.lock().unwrap() = status;
        let verdict = scene.vault.verify(SALES, &origin()).await;
        let answered = http::StatusCode::from_u16(status).unwrap();
        let undecided = Verdict::Undecided(Undecided::Answered(answered));
        assert_eq!(verdict, if status == 204 { Verdict::Accepted } else { undecided });
    }
    *scene.close.status.lock().unwrap() = 0;
    let unreachable = Verdict::Undecided(Undecided::Unreachable("refused".to_owned()));
    assert_eq!(scene.vault.verify(SALES, &origin()).await, unreachable);
    *scene.close.status.lock().unwrap() = 99;
    assert_eq!(scene.vault.verify(SALES, &origin()).await, Verdict::Undecided(Undecided::Broken));
}

#[tokio::test(start_paused = true)]
async fn only_a_401_from_me_rejects_and_the_credential_recovers() {
    let scene = Scene::bearer("planted-token").await;
    assert_eq!((scene.counted(), scene.state()), ((true, 0, 0), State::Ready));

    scene.suspect(1);
    assert_eq!(scene.state(), State::Suspect);
    assert_eq!(scene.settled().await, State::Ready);
    assert_eq!(scene.close.asked().len(), 1);

    scene.close.refuse(&["Bearer planted-token"]);
    seconds(1).await;
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    assert_eq!(scene.counted(), (false, 1, 0));
    let unavailable = scene.vault.authorization(SALES).unwrap_err();
    assert_eq!(unavailable.reason, "Close refused it");
    assert!((1..=2).contains(&unavailable.retry_after));
    let asked = scene.close.asked().len();
    seconds(60).await;
    let tries = scene.close.asked().len() - asked;
    assert_eq!(tries, 5, "after 1, 2, 4, 8 and 16 seconds, and up to a quarter more");
    assert_eq!((scene.state(), scene.counted()), (State::Rejected, (false, 1, 0)));

    scene.close.refuse(&[]);
    seconds(20).await;
    assert_eq!((scene.state(), scene.counted()), (State::Ready, (true, 1, 0)));
    assert_eq!(scene.carried(), ("Bearer planted-token".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_file_is_read_again_while_rejected() {
    let scene = Scene::bearer("planted-token").await;
    scene.close.refuse(&["Bearer planted-token"]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    scene.write("token", "planted-again\n");
    seconds(2).await;
    assert_eq!((scene.state(), scene.carried().0), (State::Ready, "Bearer planted-again".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_file_replaced_before_the_401_is_taken_without_an_outage() {
    let scene = Scene::bearer("planted-token").await;
    scene.close.refuse(&["Bearer planted-token"]);
    scene.write("token", "planted-again\n");
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Ready);
    assert_eq!(scene.carried(), ("Bearer planted-again".to_owned(), 2));
    assert_eq!(scene.counted(), (true, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_cannot_be_asked_decides_nothing() {
    let scene = Scene::bearer("planted-token").await;
    for status in [0, 429, 503] {
        *scene.close.status.lock().unwrap() = status;
        scene.suspect(1);
        assert_eq!(scene.settled_in_time().await, State::Ready);
    }
    assert_eq!((scene.close.asked().len(), scene.counted()), (2, (true, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn many_suspicions_are_one_question_a_second() {
    let scene = Scene::bearer("planted-token").await;
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        for _ in 0..100 {
            scene.suspect(1);
        }
        assert_eq!(scene.settled_in_time().await, State::Ready);
    }
    assert_eq!(scene.close.asked().len(), 3);
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn next_is_promoted_when_current_is_rejected() {
    let scene = Scene::pair("api_current.planted", "api_next.planted").await;
    let (current, next) = ("Basic YXBpX2N1cnJlbnQucGxhbnRlZDo=", "Basic YXBpX25leHQucGxhbnRlZDo=");
    assert_eq!(scene.carried(), (current.to_owned(), 1));
    scene.close.refuse(&[current]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Ready);
    assert_eq!(scene.carried(), (next.to_owned(), 2));
    assert_eq!((scene.close.asked(), scene.counted()), (vec![current.to_owned(), next.to_owned()], (true, 0, 1)));

    scene.suspect(1);
    assert_eq!(scene.state(), State::Ready, "a 401 of the old key says nothing of the new one");

    scene.close.refuse(&[current, next]);
    scene.suspect(2);
    assert_eq!(scene.settled_in_time().await, State::Rejected);
    assert_eq!(scene.counted(), (false, 1, 1));
    scene.close.refuse(&[next]);
    seconds(60).await;
    assert_eq!(scene.state(), State::Rejected, "the old key is no candidate any more");
}

#[tokio::test(start_paused = true)]
async fn with_both_keys_refused_either_brings_the_credential_back() {
    let scene = Scene::pair("api_current.planted", "api_next.planted").await;
    let (current, next) = ("Basic YXBpX2N1cnJlbnQucGxhbnRlZDo=", "Basic YXBpX25leHQucGxhbnRlZDo=");
    scene.close.refuse(&[current, next]);
    scene.suspect(1);
    assert_eq!(scene.settled().await, State::Rejected);
    scene.close.refuse(&[next]);
    seconds(2).await;
    assert_eq!((scene.carried().0.as_str(), scene.counted()), (current, (true, 1, 0)));
    scene.close.refuse(&[current]);
    scene.suspect(2);
    seconds(2).await;
    assert_eq!((scene.carried().0.as_str(), scene.counted()), (next, (true, 1, 1)));
}

#[tokio::test]
async fn an_answer_is_scrubbed_of_both_keys_of_a_pair() {
    let scene = Scene::pair("api_current.planted", "api_next.planted").await;
    let mut redactor = scene.vault.authorization(SALES).unwrap().inject(&mut HeaderMap::new());
    let body = "api_current.planted YXBpX2N1cnJlbnQucGxhbnRlZDo= api_next.planted YXBpX25leHQucGxhbnRlZDo=";
    let out = redactor.scrub(bytes::Bytes::from(body));
    assert_eq!(out, format!("{0} {1}= {2} {3}=", "*".repeat(19), "*".repeat(27), "*".repeat(16), "*".repeat(23)));
    assert_eq!(redactor.redactions(), 4);
}
