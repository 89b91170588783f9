//! What the admin API does with what it is asked: strict bodies, pages, tags, places, and no secret in any answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::office::{ADMIN, Office, VIEWER};
use crate::raw::Answer;

fn key(name: &str) -> Value {
    json!({ "name": name, "routes": ["sales"], "scopes": ["read"] })
}

#[test]
fn a_credential_is_added_changed_and_removed() {
    let office = Office::open();
    let added = office.add("sales");
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.header("location"), Some("/api/v1/credentials/sales"));
    assert_eq!(added.header("etag"), Some("\"1\""));
    assert_eq!(added.json()["method"], "api_key");
    assert_eq!(office.add("sales").json()["code"], "conflict");
    let path = "/api/v1/credentials/sales";
    let described = json!({ "description": "Sales organization" });
    let stale = office.admin("PUT", path).header("If-Match", "\"7\"").json(described.clone());
    assert_eq!(stale.refused(), (412, "precondition_failed".to_owned()));
    let changed = office.admin("PUT", path).header("If-Match", "\"1\"").json(described).send();
    assert_eq!((changed.status, changed.header("etag")), (200, Some("\"2\"")));
    assert_eq!(changed.json()["description"], "Sales organization");
    for (action, state) in [("disable", "disabled"), ("enable", "ready")] {
        let answer = office.admin("POST", &format!("{path}/{action}")).send();
        assert_eq!(answer.json()["state"], state, "{}", answer.text());
    }
    assert_eq!(office.admin("POST", &format!("{path}/verify")).send().json()["verdict"], "accepted");
    let rotated = office.admin("POST", &format!("{path}/rotate")).json(json!({ "secret": "api_planted.again" })).send();
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    assert_eq!(office.admin("DELETE", path).header("If-Match", "W/\"6\"").refused().0, 412, "a weak tag is no match");
    let gone = office.admin("DELETE", path).header("If-Match", "*").send();
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert_eq!(office.admin("GET", path).refused(), (404, "not_found".to_owned()));
    for name in ["Sales", "a%2Fb", "..", "%FF"] {
        assert_eq!(office.admin("GET", &format!("/api/v1/credentials/{name}")).refused().0, 404, "{name}");
    }
}

#[test]
fn a_keys_text_is_shown_when_it_is_made_and_never_again() {
    let office = Office::open();
    let created = office.admin("POST", "/api/v1/keys").json(key("reporting")).send();
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.header("location"), Some("/api/v1/keys/reporting"));
    let text = created.json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("cgk_"), "{text}");
    let rotated = office.admin("POST", "/api/v1/keys/reporting/rotate").send().json();
    assert_ne!(rotated["text"].as_str().unwrap(), text);
    let texts = [text, rotated["text"].as_str().unwrap().to_owned()];
    for path in ["/api/v1/keys", "/api/v1/keys/reporting", "/api/v1/events"] {
        let answer = office.admin("GET", path).send();
        assert!(answer.status == 200 && texts.iter().all(|text| !answer.text().contains(text)), "{path}");
    }
    let revoked = office.admin("POST", "/api/v1/keys/reporting/revoke").send().json();
    assert_eq!(revoked["state"], "revoked");
}

#[test]
fn lists_come_in_pages_in_the_order_of_names() {
    let office = Office::open();
    let mut names: Vec<String> = (0..25).map(|number| format!("key-{number:02}")).collect();
    for name in names.iter().rev() {
        office.admin("POST", "/api/v1/keys").json(key(name)).send();
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = office.admin("GET", &format!("/api/v1/keys?limit=10{after}")).send().json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        // One that comes in between is seen once, where it belongs, or not at all.
        if after.is_empty() {
            office.admin("POST", "/api/v1/keys").json(key("key-00-new")).send();
            office.admin("POST", "/api/v1/keys").json(key("key-20-new")).send();
            names.insert(21, "key-20-new".to_owned());
        }
        after = format!("&cursor={next}");
    }
    assert_eq!(seen, names);
    let found = office.admin("GET", "/api/v1/keys?q=KEY-1").send().json();
    assert_eq!(found["data"].as_array().unwrap().len(), 10);
    for bad in ["subject=", "actor=", "action=", &format!("subject={}", "a".repeat(101)), "cursor="] {
        let refused = office.admin("GET", &format!("/api/v1/events?{bad}")).refused();
        assert_eq!(refused, (400, "malformed".to_owned()), "{bad}");
    }
    for bad in ["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "cursor=%21", "cursor=", "page=2", "limit=-1"] {
        let refused = office.admin("GET", &format!("/api/v1/keys?{bad}")).refused();
        assert_eq!(refused, (400, "malformed".to_owned()), "{bad}");
    }
}

#[test]
fn lists_are_told_by_state_route_credential_and_order_and_how_many_there_are() {
    let office = Office::open();
    for (name, routes, expires) in [("b", "sales", "2027-01-02"), ("c", "sales", "2027-01-01"), ("a", "partner", "")] {
        let expires = if expires.is_empty() { Value::Null } else { json!(format!("{expires}T00:00:00Z")) };
        let new = json!({ "name": name, "routes": [routes], "scopes": ["read"], "expires_at": expires });
        assert_eq!(office.admin("POST", "/api/v1/keys").json(new).send().status, 201);
    }
    office.admin("POST", "/api/v1/keys/b/revoke").send();
    let told = |list: &str| {
        let page = office.admin("GET", &format!("/api/v1/{list}")).send().json();
        let names = page["data"].as_array().unwrap_or_else(|| panic!("{list}: {page}")).iter();
        (names.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" "), page["total"].clone())
    };
    for (query, names, total) in [
        ("", "a b c", 3),
        ("?limit=2", "a b", 3),
        ("?limit=2&cursor=b", "c", 3),
        ("?show=active", "a c", 2),
        ("?show=ended", "b", 1),
        ("?show=unused", "", 0),
        ("?route=sales", "b c", 2),
        ("?route=sales&show=active&q=C", "c", 1),
        ("?order=expires", "c b a", 3),
        ("?order=expires&limit=1&cursor=c", "b", 3),
        ("?order=used", "a b c", 3),
        ("?order=used&cursor=gone", "a b c", 3),
        ("?cursor=bb", "c", 3),
    ] {
        assert_eq!(told(&format!("keys{query}")), (names.to_owned(), json!(total)), "{query}");
    }
    office.add("sales");
    for none in ["keys?credential=sales", "keys?credential=gone", "keys?route=gone"] {
        assert_eq!(told(none), (String::new(), json!(0)), "{none}");
    }
    office.add("partner");
    office.admin("POST", "/api/v1/credentials/partner/disable").send();
    for (query, names) in
        [("", "partner sales"), ("?show=ready", "sales"), ("?show=disabled", "partner"), ("?show=attention", "")]
    {
        assert_eq!(told(&format!("credentials{query}")).0, names, "{query}");
    }
    for bad in ["show=all", "order=size", "credential=%21", "route=%21", "order=used&cursor=%21"] {
        assert_eq!(office.admin("GET", &format!("/api/v1/keys?{bad}")).refused().0, 400, "{bad}");
    }
}

#[test]
fn a_body_is_json_of_the_right_shape_and_size() {
    let office = Office::open();
    let post = || office.admin("POST", "/api/v1/keys");
    let body = key("reporting").to_string();
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/jsonx"]
    {
        let refused = post().header("Content-Type", kind).body(&body).refused();
        assert_eq!(refused, (415, "unsupported_media_type".to_owned()), "{kind}");
    }
    assert_eq!(post().body(&body).refused().0, 415, "no type at all");
    assert_eq!(post().header("Content-Type", "Application/JSON; charset=UTF-8").body(&body).send().status, 201);
    let json = |text: &str| post().header("Content-Type", "application/json").body(text).refused();
    for bad in ["", "{", "[]", "null", &format!("{body} {body}"), &"[".repeat(20_000), "{\"name\":\"a\"}"] {
        assert_eq!(json(bad), (400, "malformed".to_owned()), "{bad:.40}");
    }
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(70_000));
    assert_eq!(json(&long), (413, "too_large".to_owned()));
    let twice = body.replacen("{", "{\"name\":\"other\",", 1);
    let problem = post().header("Content-Type", "application/json").body(&twice).send().json();
    assert_eq!(problem["detail"], "duplicate field `name`");
    let unknown = body.replacen("{", "{\"nmae\":\"other\",", 1);
    let problem = post().header("Content-Type", "application/json").body(&unknown).send().json();
    assert_eq!(problem["errors"][0]["field"], "nmae", "{problem}");
}

/// Of every request that has a body one that is taken, and the same as lists of the values of its fields, in their order.
const BODIES: [(&str, &str, &[&str]); 16] = [
    (
        "post /api/v1/credentials",
        r#"{"name":"one","description":"x","method":{"bearer":"planted"}}"#,
        &[r#"["one","x",{"bearer":"planted"}]"#],
    ),
    (
        "post /api/v1/credentials",
        r#"{"name":"two","method":{"basic":{"username":"u","password":"planted"}}}"#,
        &[r#"{"name":"two","method":{"basic":["u","planted"]}}"#],
    ),
    (
        "post /api/v1/credentials",
        r#"{"name":"three","method":{"oauth2":{"client_id":"oa2client_x","client_secret":"planted"}}}"#,
        &[r#"{"name":"three","method":{"oauth2":["oa2client_x","planted",null,null,null,null]}}"#],
    ),
    ("put /api/v1/credentials/{name}", r#"{"description":"x"}"#, &[r#"["x"]"#]),
    ("post /api/v1/credentials/{name}/rotate", r#"{"secret":"api_planted.again"}"#, &[r#"["api_planted.again"]"#]),
    ("post /api/v1/credentials/{name}/authorize", r#"{"start":{}}"#, &[r#"{"start":[]}"#, "[]", r#"["start"]"#]),
    ("post /api/v1/credentials/{name}/authorize", r#"{"link":{}}"#, &[r#"{"link":[]}"#]),
    ("post /api/v1/credentials/{name}/authorize/outcome", r#"{"state":"state-of-sales"}"#, &[r#"["state-of-sales"]"#]),
    ("post /api/v1/credentials/{name}/authorize", r#"{"redirect_url":"?code=c&state=s"}"#, &[r#"{"redirect_url":[]}"#]),
    (
        "post /api/v1/routes",
        r#"{"name":"other","prefix":"/other","credential":"sales"}"#,
        &[r#"["other","/other","sales",null,[],[],false]"#],
    ),
    (
        "put /api/v1/routes/{name}",
        r#"{"prefix":"/other","credential":"sales"}"#,
        &[r#"["/other","sales",null,[],[],false]"#],
    ),
    (
        "post /api/v1/keys",
        r#"{"name":"other","routes":["sales"],"scopes":["read"]}"#,
        &[r#"["other",null,["sales"],["read"],[],[],null,null,null,null,null,"enforce"]"#],
    ),
    (
        "put /api/v1/keys/{name}",
        r#"{"routes":["sales"],"scopes":["read"]}"#,
        &[r#"[null,["sales"],["read"],[],[],null,null,null,null,null,"enforce"]"#],
    ),
    ("post /api/v1/keys/{name}/rotate", r#"{"overlap":"1h"}"#, &[r#"["1h"]"#, "[null]"]),
    ("post /api/v1/keys/{name}/rotate", "null", &["[]"]),
    (
        "post /api/v1/session",
        r#"{"token":"planted-token-of-the-admin-0123"}"#,
        &[r#"["planted-token-of-the-admin-0123"]"#],
    ),
];

#[test]
fn where_an_object_is_expected_a_list_is_refused_in_every_request() {
    let office = Office::open();
    office.add("sales");
    let document = serde_json::to_value(closegate::admin::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let asked = paths.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter().filter(|(_, operation)| !operation["requestBody"].is_null());
        operations.map(move |(method, _)| format!("{method} {path}"))
    });
    let asked: BTreeSet<String> = asked.collect();
    let known: BTreeSet<String> = BODIES.iter().map(|(operation, ..)| (*operation).to_owned()).collect();
    assert_eq!(asked, known, "each request that has a body is tried");
    for (operation, good, lists) in BODIES {
        let (method, path) = operation.split_once(' ').unwrap();
        let (method, path) = (method.to_uppercase(), path.replace("{name}", "sales"));
        let ask = |body: &str| office.admin(&method, &path).header("Content-Type", "application/json").body(body);
        for list in lists {
            assert_eq!(ask(list).refused(), (400, "malformed".to_owned()), "{operation}: {list}");
        }
        let answer = ask(good).send();
        assert_ne!(answer.status, 400, "{operation}: {good}: {}", answer.text());
    }
}

#[test]
fn every_path_says_which_methods_it_knows() {
    let office = Office::open();
    office.add("sales");
    for (path, methods) in [
        ("/api/v1/credentials", ["GET", "HEAD", "POST"].as_slice()),
        ("/api/v1/credentials/sales", &["DELETE", "GET", "HEAD", "PUT"]),
        ("/api/v1/credentials/sales/verify", &["POST"]),
        ("/openapi.json", &["GET", "HEAD"]),
    ] {
        let options = office.admin("OPTIONS", path).send();
        let allowed = |answer: &Answer| {
            let mut known: Vec<String> =
                answer.header("allow").unwrap().split(',').map(|word| word.trim().to_owned()).collect();
            known.sort();
            known
        };
        assert_eq!(
            (options.status, allowed(&options)),
            (204, methods.iter().map(|word| (*word).to_owned()).collect()),
            "{path}"
        );
        let refused = office.admin("PATCH", path).send();
        assert_eq!((refused.status, allowed(&refused)), (405, allowed(&options)), "{path}");
    }
    let head = office.admin("HEAD", "/api/v1/credentials/sales").send();
    assert_eq!((head.status, head.header("etag"), head.body.len()), (200, Some("\"1\""), 0));
    assert_eq!(office.admin("GET", "/api/v1/credentials/").refused().0, 404);
}

#[test]
fn an_authorization_comes_back_to_the_browser_that_began_it() {
    let office = Office::open();
    office.add("partner");
    let begun = office.admin("POST", "/api/v1/credentials/partner/authorize").send();
    assert_eq!(begun.status, 202, "{}", begun.text());
    let state = begun.json()["state"].as_str().unwrap().to_owned();
    let cookie = begun.header("set-cookie").unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Max-Age=600"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap();
    let come =
        |query: &str| office.ask("GET", &format!("/oauth/callback?{query}")).header("Sec-Fetch-Site", "cross-site");
    let good = format!("code=planted-code&state={state}");
    let done = |answer: &Answer| {
        office.memory.events().iter().filter(|event| event.action == "credential.authorized").count() > 0
            && answer.status == 200
    };
    for other in [
        come(&good),
        come(&good).header("Cookie", "closegate-oauth=another"),
        come(&good).header("Cookie", &format!("{cookie}; {cookie}")),
    ] {
        let answer = other.send();
        assert!(answer.status == 409 && !done(&answer), "another browser: {}", answer.text());
        assert!(!answer.text().contains("planted-code"), "{}", answer.text());
    }
    let declined = come(&format!("error=access_denied&state={state}")).header("Cookie", cookie).send();
    assert!(declined.status == 409 && declined.text().contains("declined"), "{}", declined.text());
    let answer = come(&good).header("Cookie", cookie).send();
    assert!(done(&answer), "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(!answer.text().contains("<script") && !answer.text().contains("planted-code"), "{}", answer.text());
    assert!(answer.header("set-cookie").unwrap().contains("Max-Age=0"));
    // Or the person pastes the address.
    let paste = |name: &str, body: Value| {
        let path = format!("/api/v1/credentials/{name}/authorize");
        office.admin("POST", &path).json(body).send()
    };
    let address = format!("https://localhost/oauth/callback?{good}");
    assert_eq!(paste("partner", json!({ "redirect_url": address })).status, 200);
    assert_eq!(
        paste("partner", json!({ "redirect_url": "https://localhost/" })).json()["errors"][0]["field"],
        "redirect_url"
    );
    office.add("sales");
    assert_eq!(paste("sales", json!({ "redirect_url": address })).json()["code"], "authorization_refused", "another's");
    assert_eq!(paste("partner", json!({ "refresh_token": "planted-refresh" })).status, 200);
}

#[test]
fn no_answer_holds_a_planted_secret() {
    let office = Office::open();
    let secrets = [
        json!({ "api_key": "api_planted.planted" }),
        json!({ "bearer": "planted-bearer" }),
        json!({ "basic": { "username": "u", "password": "planted-password" } }),
        json!({ "oauth2": { "client_id": "c", "client_secret": "planted-client-secret" } }),
    ];
    let mut answers = Vec::new();
    for (number, method) in secrets.iter().enumerate() {
        let new = json!({ "name": format!("c{number}"), "method": method });
        answers.push(office.admin("POST", "/api/v1/credentials").json(new.clone()).send());
        answers.push(office.admin("POST", "/api/v1/credentials").json(new).send());
        // Where it does not belong.
        for wrong in [
            json!({ "name": method, "method": method }),
            json!({ "name": "x", "method": { "planted": method } }),
            json!([method]),
        ] {
            answers.push(office.admin("POST", "/api/v1/credentials").json(wrong).send());
        }
        let path = format!("/api/v1/credentials/c{number}");
        answers.push(office.admin("POST", &format!("{path}/rotate")).json(json!({ "secret": "planted-again" })).send());
        answers
            .push(office.admin("POST", &format!("{path}/rotate")).json(json!({ "secret": { "planted": 1 } })).send());
        answers.push(
            office
                .admin("POST", &format!("{path}/authorize"))
                .json(json!({ "refresh_token": "planted-refresh" }))
                .send(),
        );
        answers
            .push(office.admin("POST", &format!("{path}/authorize")).json(json!({ "redirect_url": "planted" })).send());
        answers.push(office.admin("GET", &path).send());
        answers.push(office.admin("DELETE", &path).send());
    }
    answers.push(office.ask("POST", "/api/v1/session").json(json!({ "token": "planted-wrong" })).send());
    answers.push(office.ask("POST", "/api/v1/session").json(json!({ "planted-wrong": ADMIN })).send());
    answers.push(office.ask("POST", "/api/v1/session").json(json!({ "token": ADMIN })).send());
    answers.push(office.ask("GET", "/oauth/callback?code=planted&state=planted").send());
    for path in ["credentials", "routes", "keys", "events", "usage", "endpoints", "config", "session"] {
        answers.push(office.admin("GET", &format!("/api/v1/{path}")).send());
        answers.push(office.ask("GET", &format!("/api/v1/{path}?planted=planted")).token(VIEWER).send());
        answers.push(office.ask("GET", &format!("/api/v1/{path}")).token("planted-token").send());
    }
    answers.push(office.admin("GET", "/openapi.json").send());
    assert!(answers.iter().any(|answer| answer.status == 201) && answers.iter().any(|answer| answer.status == 400));
    for answer in answers {
        let heads = answer.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
        let text = format!("{}\n{}", heads.collect::<Vec<_>>().join("\n"), answer.text());
        assert!(!text.contains("planted"), "{text}");
    }
    assert!(!format!("{:?}", office.memory.events()).contains("planted"));
}
