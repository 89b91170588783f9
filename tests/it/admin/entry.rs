//! Who is let into the admin API, from which pages, by which names, and what a viewer may do.

use std::sync::Arc;

use closegate::admin::{Answer, InMemory, Session, SessionId, Sessions};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::office::{ADMIN, Office, VIEWER};
use crate::raw::Raw;
use crate::world::{KEY, RUNTIME};

/// Every operation of the API: a method and a path.
fn operations() -> Vec<(String, String)> {
    let document = serde_json::to_value(closegate::admin::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let operations = item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| ["get", "put", "post", "delete"].contains(&key.as_str()));
        let named = path.replace("{name}", "sales");
        let named = named.replace("{ticket}", "ticket-of-sales");
        operations.map(move |(method, operation)| (method.to_uppercase(), format!("{named}{}", query(operation))))
    });
    operations.collect()
}

/// What an operation must be asked with, from its `?` on: for each value a word.
fn query(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let required = parameters.filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
    let pairs: Vec<String> =
        required.map(|parameter| format!("{}=word", parameter["name"].as_str().unwrap())).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// What browsers ask that have nothing yet, or come from Close.
fn is_for_browsers(path: &str) -> bool {
    path.starts_with("/oauth/")
}

const CALLBACK: &str = "/oauth/callback";
const LINK: &str = "/oauth/start/ticket-of-sales";
const SESSION: &str = "/api/v1/session";

#[test]
fn nothing_but_the_three_probes_is_answered_without_a_token() {
    let office = Office::open();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(office.ask("GET", path).host("any.example").send().status, 200, "{path}");
        assert_eq!(office.admin("DELETE", path).refused(), (405, "method_not_allowed".to_owned()), "{path}");
    }
    let operations = operations();
    assert!(operations.len() > 25, "{operations:?}");
    let closed = operations
        .iter()
        .filter(|(method, path)| !is_for_browsers(path) && (method, path.as_str()) != (&"POST".to_owned(), SESSION));
    for (method, path) in
        closed.chain(&[("GET".to_owned(), "/openapi.json".to_owned()), ("GET".to_owned(), "/nothing".to_owned())])
    {
        assert_eq!(office.ask(method, path).refused(), (401, "unauthenticated".to_owned()), "{method} {path}");
        let wrong = office.ask(method, path).host("evil.example").token(ADMIN);
        assert_eq!(wrong.refused(), (421, "host_refused".to_owned()), "{method} {path}");
        let foreign = office.admin(method, path).header("Origin", "https://evil.example");
        assert_eq!(foreign.refused(), (403, "origin_refused".to_owned()), "{method} {path}");
    }
    assert!(office.memory.events().is_empty(), "nothing was done, and no token was wrong");
}

#[test]
fn a_wrong_token_is_nobodys() {
    let office = Office::open();
    let long = format!("{ADMIN}x");
    for wrong in ["", "x", &ADMIN[1..], &ADMIN.to_uppercase(), &long, KEY] {
        let refused = office.ask("GET", "/api/v1/keys").token(wrong).refused();
        assert_eq!(refused, (401, "unauthenticated".to_owned()), "{wrong}");
    }
    for scheme in ["Basic", "Token", "Bearer:"] {
        let line = format!("{scheme} {ADMIN}");
        let refused = office.ask("GET", "/api/v1/keys").header("Authorization", &line).refused();
        assert_eq!(refused.0, 401, "{scheme}");
    }
    let twice = office.admin("GET", "/api/v1/keys").token(ADMIN).refused();
    assert_eq!(twice.0, 401, "two lines");
    // A wrong token beside a good session is a wrong token.
    let (cookie, _) = office.sign_in(ADMIN);
    let beside = office.ask("GET", "/api/v1/keys").token("wrong").header("Cookie", &cookie).refused();
    assert_eq!(beside.0, 401);
    assert_eq!(
        office.ask("GET", "/api/v1/keys").header("authorization", &format!("bearer {ADMIN}")).send().status,
        200
    );
    let answer = office.ask("GET", "/api/v1/keys").send();
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"closegate admin\""));
    let refused: Vec<_> =
        office.memory.events().into_iter().filter(|event| event.action == "session.refused").collect();
    assert_eq!(refused.len(), 1, "once a minute from one address: {refused:?}");
    assert_eq!((refused[0].actor.as_str(), refused[0].from.as_deref()), ("unknown", Some("127.0.0.1")));
}

#[test]
fn wrong_tokens_from_an_address_hold_up_no_right_one_from_there() {
    let office = Office::open();
    let wrong = || office.ask("GET", "/api/v1/keys").token("wrong");
    let waiting: Vec<Raw> = (0..30)
        .map(|_| {
            let mut client = Raw::connect(office.address);
            client.send(wrong().text());
            client
        })
        .collect();
    // Once one is refused without a wait, as many wait as may.
    while wrong().refused() != (429, "too_many_attempts".to_owned()) {}
    assert_eq!(office.admin("GET", "/api/v1/keys").send().status, 200);
    office.sign_in(ADMIN);
    drop(waiting);
}

#[test]
fn a_browser_that_began_nothing_is_sent_back_in_vain() {
    let office = Office::open();
    for (query, status) in [
        ("", 400),
        ("?code=a", 400),
        ("?state=", 400),
        ("?state=a&state=b&code=c", 400),
        ("?state=a", 409),
        ("?state=a&code=b&error=c", 409),
        ("?state=a&code=b", 409),
    ] {
        let answer = office.ask("GET", &format!("{CALLBACK}{query}")).send();
        assert_eq!(answer.status, status, "{query}");
        assert!(answer.text().contains("Not authorized"), "{query}");
    }
    assert!(office.memory.events().is_empty());
}

#[test]
fn a_link_is_opened_by_a_person_in_a_browser_and_by_nothing_else() {
    let office = Office::open();
    office.add("sales");
    let before = office.memory.events().len();
    let link = |method: &str| office.ask(method, LINK).host("gate.example.com");
    for site in ["cross-site", "same-site"] {
        let refused = link("GET").header("Sec-Fetch-Site", site).refused();
        assert_eq!(refused, (403, "origin_refused".to_owned()), "{site}");
    }
    assert_eq!(link("GET").header("Origin", "https://evil.example").refused().0, 403);
    assert_eq!(link("GET").host("evil.example").refused().0, 421);
    for name in ["Sec-Purpose", "Purpose"] {
        assert_eq!(link("GET").header(name, "prefetch").send().status, 409, "{name}");
    }
    assert_eq!(link("HEAD").send().status, 401);
    assert_eq!(link("HEAD").token(ADMIN).send().status, 409, "who looks does not open it");
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(link(method).send().status, 401, "{method}");
    }
    assert_eq!(office.memory.events().len(), before, "nothing has used it up");
    let unknown = office.ask("GET", "/oauth/start/planted").send();
    assert!(unknown.status == 409 && unknown.header("set-cookie").is_none(), "{}", unknown.text());
    assert_eq!(unknown.header("content-type"), Some("text/html; charset=utf-8"));
    for site in [None, Some("none"), Some("same-origin")] {
        let opened = site.map_or(link("GET"), |site| link("GET").header("Sec-Fetch-Site", site)).send();
        assert_eq!(opened.status, 302, "{}", opened.text());
        assert_eq!(opened.header("location"), Some("https://app.close.com/oauth2/authorize/?state=x"));
        assert_eq!(opened.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(opened.header("cache-control"), Some("no-store"));
        let cookie = opened.header("set-cookie").unwrap();
        let parts =
            ["__Host-closegate-oauth=state-of-sales", "HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=600"];
        assert!(parts.iter().all(|part| cookie.contains(part)), "{cookie}");
    }
}

#[test]
fn a_link_is_given_to_an_admin_and_leads_to_this_listener() {
    let office = Office::open();
    office.add("sales");
    let path = "/api/v1/credentials/sales/authorize";
    let ask = |token: &str| office.ask("POST", path).token(token).json(json!({ "link": {} }));
    assert_eq!(ask(VIEWER).refused().0, 403);
    let given = ask(ADMIN).send();
    assert_eq!(given.json()["link"], format!("https://gate.example.com{LINK}"));
    assert_eq!(given.header("set-cookie"), None, "whoever asks for a link is not the browser");
    let begun = office.admin("POST", path).send();
    assert!(begun.header("set-cookie").is_some() && begun.json()["link"].is_null(), "{}", begun.text());
    let outcome = |token: &str, state: &str| {
        office.ask("POST", &format!("{path}/outcome")).token(token).json(json!({ "state": state }))
    };
    assert_eq!(outcome(ADMIN, "state-of-sales").send().json()["outcome"], "authorized");
    assert_eq!(outcome(ADMIN, "planted").refused(), (409, "authorization_refused".to_owned()));
    assert_eq!(outcome(VIEWER, "state-of-sales").refused().0, 403);
}

/// A browser that left for one authorization and comes back with another: somebody else's, perhaps.
#[test]
fn what_comes_back_to_another_browser_is_taken_from_none() {
    let office = Office::open();
    office.add("sales");
    let before = office.memory.events().len();
    let back = |cookie: &str| {
        let path = format!("{CALLBACK}?code=planted&state=state-of-partner");
        office.ask("GET", &path).host("gate.example.com").header("Cookie", cookie).send().status
    };
    assert_eq!(back("__Host-closegate-oauth=planted"), 409);
    assert_eq!(back("closegate-oauth=state-of-sales"), 409, "a cookie that is bound to nothing");
    assert_eq!(back("__Host-closegate-oauth=state-of-partner; __Host-closegate-oauth=state-of-sales"), 409);
    assert_eq!(office.memory.events().len(), before);
    assert_eq!(back("__Host-closegate-oauth=state-of-sales"), 409);
    let last = office.memory.events().pop().unwrap();
    assert_eq!((last.action.as_str(), last.subject.as_deref()), ("mismatch", Some("sales")), "that one is over");
}

#[test]
fn a_viewer_can_change_nothing() {
    let office = Office::open();
    office.add("sales");
    let before = office.memory.events().len();
    let (cookie, csrf) = office.sign_in(VIEWER);
    let signed_in = office.memory.events().len();
    for (method, path) in operations().iter().filter(|(_, path)| path != SESSION && !is_for_browsers(path)) {
        let by_token = office.ask(method, path).token(VIEWER);
        let by_cookie = office.ask(method, path).header("Cookie", &cookie).header("closegate-csrf", &csrf);
        for question in [by_token, by_cookie] {
            if method == "GET" {
                let status = question.send().status;
                // Of the three things only the credential is there.
                assert!(status == 200 || (status == 404 && path.contains("/sales")), "{path}: {status}");
            } else {
                assert_eq!(question.refused(), (403, "forbidden".to_owned()), "{method} {path}");
            }
        }
    }
    assert_eq!(signed_in, before + 1);
    assert_eq!(office.memory.events().len(), signed_in, "nothing was done");
    let out = office.ask("DELETE", SESSION).header("Cookie", &cookie).header("closegate-csrf", &csrf).send();
    assert_eq!(out.status, 204, "a viewer may sign out");
}

#[test]
fn what_a_session_changes_it_confirms() {
    let office = Office::open();
    let (cookie, csrf) = office.sign_in(ADMIN);
    let (_, other) = office.sign_in(ADMIN);
    let new = || json!({ "name": "sales", "method": { "bearer": "planted" } });
    let ask = || office.ask("POST", "/api/v1/credentials").header("Cookie", &cookie).json(new());
    for wrong in [None, Some(""), Some(other.as_str()), Some("x")] {
        let question = wrong.map_or_else(ask, |value| ask().header("closegate-csrf", value));
        assert_eq!(question.refused(), (403, "csrf_missing".to_owned()), "{wrong:?}");
    }
    let page = |site: &str| ask().header("closegate-csrf", &csrf).header("Sec-Fetch-Site", site);
    assert_eq!(page("cross-site").refused(), (403, "origin_refused".to_owned()));
    assert_eq!(page("same-site").refused(), (403, "origin_refused".to_owned()));
    assert_eq!(page("same-origin").send().status, 201);
    let events = office.memory.events();
    let added = events.iter().find(|event| event.action == "credential.add").unwrap();
    assert_eq!((added.actor.as_str(), added.from.as_deref()), ("ops", Some("127.0.0.1")));
}

#[test]
fn a_session_is_a_cookie_that_no_script_and_no_other_site_has() {
    let office = Office::open();
    let sign_in = |host: &str| office.ask("POST", SESSION).host(host).json(json!({ "token": ADMIN })).send();
    let plain = sign_in(&office.address.to_string());
    let cookie = plain.header("set-cookie").unwrap();
    assert!(cookie.starts_with("closegate-session=") && !cookie.contains("Secure"), "{cookie}");
    let public = sign_in("gate.example.com");
    let cookie = public.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-closegate-session="), "{cookie}");
    for part in ["; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/"] {
        assert!(cookie.contains(part) && !cookie.contains("Domain"), "{cookie}");
    }
    // What was got in one way is nothing in the other.
    let (name_and_value, _) = cookie.split_once(';').unwrap();
    assert_eq!(office.ask("GET", SESSION).header("Cookie", name_and_value).refused().0, 401);
    let shown = office.ask("GET", SESSION).host("gate.example.com").header("Cookie", name_and_value).send();
    assert_eq!(shown.json()["name"], "ops");
    assert_eq!(shown.json()["way"], "session");
    for wrong in [json!({ "token": "wrong" }), json!({ "token": KEY })] {
        assert_eq!(office.ask("POST", SESSION).json(wrong).refused(), (401, "unauthenticated".to_owned()));
    }
    let foreign = office.ask("POST", SESSION).header("Origin", "https://evil.example").json(json!({ "token": ADMIN }));
    assert_eq!(foreign.refused(), (403, "origin_refused".to_owned()), "nobody is signed in by another site");
}

#[test]
fn a_session_ends_when_its_time_is_over_and_when_somebody_signs_out() {
    let sessions = Arc::new(InMemory::default());
    let office = Office::with(sessions.clone());
    let (cookie, csrf) = office.sign_in(ADMIN);
    let ask = || office.ask("GET", SESSION).header("Cookie", &cookie);
    assert_eq!(ask().send().status, 200);
    // The same session, long unused.
    let id = closegate::keys::digest(cookie.split_once('=').unwrap().1.as_bytes());
    let session = RUNTIME.block_on(sessions.find(id)).unwrap().unwrap();
    let old = Session { seen: session.seen - SignedDuration::from_hours(1), ..session.clone() };
    RUNTIME.block_on(sessions.keep(id, old, Timestamp::now() - SignedDuration::from_secs(1))).unwrap();
    assert_eq!(ask().refused(), (401, "unauthenticated".to_owned()), "expired");
    // One that was got with a token of the same name, before that was changed.
    let changed = Session { mark: "another".to_owned(), ..session.clone() };
    RUNTIME.block_on(sessions.keep(id, changed, session.opened + SignedDuration::from_hours(1))).unwrap();
    assert_eq!(ask().refused().0, 401, "its token is no more");
    RUNTIME.block_on(sessions.keep(id, session.clone(), session.opened + SignedDuration::from_hours(1))).unwrap();
    assert_eq!(ask().send().status, 200);
    let out = office.ask("DELETE", SESSION).header("Cookie", &cookie).header("closegate-csrf", &csrf).send();
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(ask().refused().0, 401, "signed out");
    let actions: Vec<_> = office.memory.events().into_iter().map(|event| event.action).collect();
    assert_eq!(actions, ["session.open", "session.close"]);
}

/// Sessions that somebody ends as soon as they are found, as a request that was on its way then sees them.
#[derive(Default)]
struct EndedMeanwhile(InMemory);

impl Sessions for EndedMeanwhile {
    fn keep(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, ()> {
        self.0.keep(id, session, until)
    }

    fn prolong(&self, id: SessionId, session: Session, until: Timestamp) -> Answer<'_, bool> {
        self.0.prolong(id, session, until)
    }

    fn find(&self, id: SessionId) -> Answer<'_, Option<Session>> {
        Box::pin(async move {
            let found = self.0.find(id).await?;
            self.0.forget(id).await?;
            // Not used for a while: it is to be prolonged.
            Ok(found.map(|session| Session { seen: session.seen - SignedDuration::from_mins(5), ..session }))
        })
    }

    fn forget(&self, id: SessionId) -> Answer<'_, ()> {
        self.0.forget(id)
    }
}

#[test]
fn a_request_on_its_way_revives_no_session_that_is_ended_meanwhile() {
    let sessions = Arc::new(EndedMeanwhile::default());
    let office = Office::with(sessions.clone());
    let (cookie, _) = office.sign_in(ADMIN);
    let id = closegate::keys::digest(cookie.split_once('=').unwrap().1.as_bytes());
    assert!(RUNTIME.block_on(sessions.0.find(id)).unwrap().is_some());
    assert_eq!(office.ask("GET", SESSION).header("Cookie", &cookie).refused().0, 401);
    assert_eq!(RUNTIME.block_on(sessions.0.find(id)).unwrap(), None);
}

#[test]
fn a_new_session_ends_the_one_that_the_browser_had() {
    let office = Office::open();
    let (before, _) = office.sign_in(ADMIN);
    let again = office.ask("POST", SESSION).header("Cookie", &before).json(json!({ "token": ADMIN })).send();
    assert_eq!(again.status, 200);
    assert_eq!(office.ask("GET", SESSION).header("Cookie", &before).refused().0, 401);
}

#[test]
fn every_answer_says_what_a_browser_may_make_of_it() {
    let office = Office::open();
    for answer in [
        office.admin("GET", "/api/v1/keys").send(),
        office.ask("GET", "/api/v1/keys").send(),
        office.ask("GET", CALLBACK).send(),
    ] {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name} of {}", answer.status);
        }
        assert!(answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")));
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let office = Office::open();
    let mut client = Raw::connect(office.address);
    for _ in 0..3 {
        client.send(office.admin("GET", SESSION).text());
        assert_eq!(client.answer().status, 200);
    }
}
