//! The flow and the tokens, asked of the world without a socket between.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde_json::Value;

use super::*;
use crate::sim::answer::Body;
use crate::sim::params::{self, Params};
use crate::sim::rate::RateLimit;
use crate::sim::wire::Head;
use crate::sim::{api, shared};

const REDIRECT: &str = "https://localhost/oauth/callback";
const VERIFIER: &str = "a-verifier-of-the-least-length-which-is-43-xx";

struct Scene {
    world: World,
    app: OAuthApp,
}

fn scene(change: impl FnOnce(OAuthApp) -> OAuthApp) -> Scene {
    let mut world = shared::World::new(RateLimit::new(1000, Duration::from_secs(1))).unwrap();
    let app = change(OAuthApp::new("sales", REDIRECT).unwrap());
    world.register(app.clone());
    Scene { world, app }
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes()))
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", params::encode(value))).collect();
    pairs.join("&")
}

fn text(answer: Answer) -> String {
    match answer.into_body() {
        Body::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

impl Scene {
    fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers =
            headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        let head =
            Head { method: method.to_owned(), target: target.to_owned(), minor_version: 1, headers: headers.collect() };
        api::answer(&mut self.world, &Request { head: &head, body: body.as_bytes(), scheme: "http" })
    }

    fn form(&mut self, target: &str, pairs: &[(&str, &str)]) -> Answer {
        self.ask("POST", target, &[("content-type", "application/x-www-form-urlencoded")], &encoded(pairs))
    }

    /// The question of a correct app.
    fn question(&self) -> Vec<(&'static str, String)> {
        vec![
            ("client_id", self.app.client_id().to_owned()),
            ("response_type", "code".to_owned()),
            ("redirect_uri", REDIRECT.to_owned()),
            ("state", "s&1".to_owned()),
            ("code_challenge", challenge()),
            ("code_challenge_method", "S256".to_owned()),
        ]
    }

    /// Where the person is sent to by the decision, taken apart.
    fn decide(&mut self, question: &[(&'static str, String)], decision: &str) -> Params {
        let mut pairs: Vec<_> = question.iter().map(|(name, value)| (*name, value.as_str())).collect();
        pairs.push(("decision", decision));
        let answer = self.form("/oauth2/authorize/", &pairs);
        assert_eq!(answer.status(), 302);
        let place = answer.headers()["location"].to_str().unwrap();
        Params::parse(place.strip_prefix(REDIRECT).unwrap().strip_prefix('?').unwrap())
    }

    fn code(&mut self) -> String {
        let question = self.question();
        let back = self.decide(&question, "allow");
        assert_eq!(back.first("state"), Some("s&1"));
        back.first("code").unwrap().to_owned()
    }

    fn exchange(&mut self, code: &str, verifier: &str) -> (u16, Value) {
        let app = self.app.clone();
        let pairs = [
            ("client_id", app.client_id()),
            ("client_secret", app.client_secret()),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", verifier),
        ];
        let answer = self.form("/oauth2/token/", &pairs);
        (answer.status().as_u16(), serde_json::from_str(&text(answer)).unwrap())
    }

    fn refresh(&mut self, token: &str) -> (u16, Value) {
        let app = self.app.clone();
        let pairs = [
            ("client_id", app.client_id()),
            ("client_secret", app.client_secret()),
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
        ];
        let answer = self.form("/oauth2/token/", &pairs);
        (answer.status().as_u16(), serde_json::from_str(&text(answer)).unwrap())
    }

    fn me(&mut self, token: &str) -> u16 {
        self.ask("GET", "/api/v1/me/", &[("authorization", &format!("Bearer {token}"))], "").status().as_u16()
    }
}

#[test]
fn a_person_consents_and_the_code_is_good_once() {
    let mut scene = scene(|app| app);
    let target = {
        let question = scene.question();
        let pairs: Vec<_> = question.iter().map(|(name, value)| (*name, value.as_str())).collect();
        format!("/oauth2/authorize/?{}", encoded(&pairs))
    };
    let page = scene.ask("GET", &target, &[], "");
    assert_eq!(
        (page.status().as_u16(), page.headers()["content-type"].to_str().unwrap()),
        (200, "text/html; charset=utf-8")
    );
    let page = text(page);
    assert!(page.contains("name=\"state\" value=\"s&amp;1\"") && page.contains("<b>sales</b>"), "{page}");

    let code = scene.code();
    let (status, tokens) = scene.exchange(&code, VERIFIER);
    let mut fields: Vec<_> = tokens.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let all = ["access_token", "expires_in", "organization_id", "refresh_token", "scope", "token_type", "user_id"];
    assert_eq!((status, fields.as_slice(), &tokens["expires_in"]), (200, all.as_slice(), &Value::from(3600)));
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(scene.me(access), 200);
    assert_eq!(scene.exchange(&code, VERIFIER), (400, serde_json::json!({ "error": "invalid_grant" })));
    assert_eq!(scene.me(access), 401, "a code that is used twice ends what came of it");
}

#[test]
fn a_code_needs_its_verifier_and_a_decline_is_told() {
    let mut scene = scene(|app| app);
    let code = scene.code();
    assert_eq!(scene.exchange(&code, "another-verifier-of-the-least-length-43-xxxxx").0, 400);
    assert_eq!(scene.exchange(&code, VERIFIER).0, 200, "a wrong guess does not spend it");
    let question = scene.question();
    let back = scene.decide(&question, "decline");
    assert_eq!(
        (back.first("error"), back.first("state"), back.first("code")),
        (Some("access_denied"), Some("s&1"), None)
    );
}

#[test]
fn a_question_of_a_stranger_is_shown_and_one_with_a_fault_is_returned() {
    let mut scene = scene(|app| app);
    let with = |scene: &Scene, name: &str, value: &str| {
        let changed =
            scene.question().into_iter().map(|(each, was)| (each, if each == name { value.to_owned() } else { was }));
        changed.collect::<Vec<_>>()
    };
    for (name, value) in [("client_id", "oa2client_other"), ("redirect_uri", "https://evil.example/")] {
        let question = with(&scene, name, value);
        let pairs: Vec<_> = question.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = scene.form("/oauth2/authorize/", &pairs);
        assert_eq!(answer.status(), 400, "{name}");
        assert!(!answer.headers().contains_key("location"));
    }
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("state", "", "invalid_request"),
    ] {
        let question = with(&scene, name, value);
        assert_eq!(scene.decide(&question, "allow").first("error"), Some(error), "{name}");
    }
}

#[test]
fn refresh_tokens_rotate_and_a_spent_one_ends_the_grant() {
    let mut scene = scene(|app| app);
    let first = scene.world.oauth.grant(scene.app.client_id()).unwrap();
    let (status, tokens) = scene.refresh(&first.refresh_token);
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    assert_eq!((status, scene.me(access), scene.me(&first.access_token)), (200, 200, 200));
    assert_ne!(refresh, first.refresh_token);
    assert_eq!(scene.world.oauth.grants()[0].refreshes, 1);
    assert_eq!(scene.refresh(&first.refresh_token).0, 400);
    assert_eq!((scene.refresh(refresh).0, scene.me(access)), (400, 401));
    assert!(scene.world.oauth.grants()[0].over);
}

#[test]
fn a_lenient_close_refuses_a_spent_token_and_no_more() {
    let mut scene = scene(|app| app.reuse(Reuse::IsRefused));
    let first = scene.world.oauth.grant(scene.app.client_id()).unwrap();
    let (_, tokens) = scene.refresh(&first.refresh_token);
    assert_eq!(scene.refresh(&first.refresh_token).0, 400);
    assert_eq!(scene.refresh(tokens["refresh_token"].as_str().unwrap()).0, 200);
}

#[test]
fn an_app_shows_its_secret_in_the_way_that_it_may() {
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    for (way, in_body, by_basic) in [
        (ClientAuthentication::Either, "invalid_grant", "invalid_grant"),
        (ClientAuthentication::Body, "invalid_grant", "invalid_client"),
        (ClientAuthentication::Basic, "invalid_client", "invalid_grant"),
    ] {
        let mut scene = scene(|app| app.known_as("oa2client_a", "s/e=c").authenticating(way));
        assert_eq!(scene.refresh("x").1["error"], in_body, "{way:?}");
        let basic = format!("Basic {}", STANDARD.encode("oa2client_a:s%2Fe%3Dc"));
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("authorization", basic.as_str())];
        let answer = scene.ask("POST", "/oauth2/token/", &headers, &encoded(&pairs));
        assert_eq!(answer.headers().contains_key("www-authenticate"), by_basic == "invalid_client");
        assert!(text(answer).contains(by_basic), "{way:?}");
    }
    let mut scene = scene(|app| app.known_as("oa2client_a", "right"));
    let wrong = [("client_id", "oa2client_a"), ("client_secret", "wrong"), ("grant_type", "refresh_token")];
    assert_eq!(scene.form("/oauth2/token/", &wrong).status(), 401);
}

#[tokio::test(start_paused = true)]
async fn an_access_token_ends_with_its_time_or_its_grant() {
    let mut scene = scene(|app| app.lifetime(Duration::from_secs(10)));
    let grant = scene.world.oauth.grant(scene.app.client_id()).unwrap();
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(scene.me(&grant.access_token), 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(scene.me(&grant.access_token), 401);
    let access = scene.refresh(&grant.refresh_token).1["access_token"].as_str().unwrap().to_owned();
    assert_eq!(scene.me(&access), 200);
    let app = scene.app.clone();
    let revoked = [("client_id", app.client_id()), ("client_secret", app.client_secret()), ("token", access.as_str())];
    assert_eq!(scene.form("/oauth2/revoke/", &revoked).status(), 200);
    assert_eq!(scene.me(&access), 401);
    assert!(!format!("{:?} {:?}", scene.app, scene.world.oauth.grants()).contains(&access));
}

#[test]
fn other_methods_and_media_types_are_refused() {
    let mut scene = scene(|app| app);
    let answer = scene.ask("GET", "/oauth2/token/", &[], "");
    assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
    assert_eq!(scene.ask("POST", "/oauth2/token/", &[("content-type", "application/json")], "{}").status(), 400);
    assert_eq!(scene.ask("GET", "/oauth2/register/", &[], "").status(), 404);
}
