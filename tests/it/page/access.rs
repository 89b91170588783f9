//! Who is let in, and what the page and its API never say.

use std::collections::BTreeSet;

use closegate::sim::OAuthApp;
use serde_json::{Value, json};

use super::browser::{Browser, WIDE};
use super::world::{API_KEY, Site, TOKEN, VIEWER, site};

#[test]
fn a_wrong_token_is_told_so_beside_the_field() {
    let site = site("");
    let browser = Browser::open(WIDE);
    browser.go(&site.address("/#/keys"));
    browser.click("Sign in");
    browser.reads("Enter the token.");
    browser.fill("token", "no-such-token");
    browser.click("Sign in");
    browser.reads("This is no valid token");
    browser.fill("token", TOKEN);
    browser.click("Sign in");
    // The screen that was asked for, not the first.
    browser.until("document.querySelector('h1')?.innerText === 'Keys'");
    browser.click("Sign out");
    browser.until("Boolean(document.getElementById('token'))");
    assert!(!browser.source().contains(TOKEN));
}

#[test]
fn a_viewer_sees_no_button_that_would_be_refused() {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let browser = site.browser(WIDE, VIEWER);
    browser.reads("sales");
    for hash in ["#/credentials", "#/credentials/sales", "#/keys", "#/settings", "#/connect"] {
        browser.screen(hash);
        browser.until("Boolean(document.querySelector('h1'))");
        let text = browser.text();
        for action in ["Add credential", "Rotate", "Disable", "Remove", "Reload now", "Verify", "Make the key"] {
            assert!(!text.contains(action), "{hash} shows `{action}`");
        }
    }
}

#[test]
fn a_session_that_is_over_leads_to_the_door_and_back() {
    let site = site("");
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/settings");
    browser.reads("listen.address");
    browser.forget_cookies();
    browser.screen("#/keys");
    browser.until("Boolean(document.getElementById('token'))");
    super::world::sign_in(&browser, TOKEN);
    browser.until("document.querySelector('h1')?.innerText === 'Keys'");
}

/// Signs in without a browser: the cookie and the CSRF token.
fn session(site: &Site) -> (String, String) {
    let (status, head, text) = site.request("POST", "/api/v1/session", "", &json!({"token": TOKEN}));
    assert_eq!(status, 200, "{text}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let csrf = serde_json::from_str::<Value>(&text).unwrap()["csrf"].as_str().unwrap().to_owned();
    (cookie.split(';').next().unwrap().to_owned(), csrf)
}

#[test]
fn a_cookie_alone_changes_nothing() {
    let site = site("");
    let (cookie, csrf) = session(&site);
    let attempts = [
        (format!("Cookie: {cookie}\r\n"), 403),
        (format!("Cookie: {cookie}\r\nclosegate-csrf: wrong\r\n"), 403),
        (format!("Cookie: {cookie}\r\nclosegate-csrf: {csrf}\r\nOrigin: https://evil.example\r\n"), 403),
        (format!("Cookie: {cookie}\r\nclosegate-csrf: {csrf}\r\nSec-Fetch-Site: cross-site\r\n"), 403),
        (format!("Cookie: {cookie}\r\nclosegate-csrf: {csrf}\r\nHost: evil.example\r\n"), 421),
        ("Authorization: Bearer wrong\r\n".to_owned(), 401),
        (format!("Authorization: Bearer {VIEWER}\r\n"), 403),
        (format!("Cookie: {cookie}\r\nclosegate-csrf: {csrf}\r\n"), 200),
    ];
    for (headers, expected) in attempts {
        let (status, _, text) = site.request("POST", "/api/v1/reload", &headers, &Value::Null);
        assert_eq!(status, expected, "{headers}{text}");
    }
}

#[test]
fn the_page_is_for_its_own_hosts() {
    let site = site("");
    for path in ["/", "/ui/app.js"] {
        let (status, head, _) = site.request("GET", path, "", &Value::Null);
        assert_eq!(status, 200);
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(site.request("GET", path, "Host: evil.example\r\n", &Value::Null).0, 421);
    }
}

/// Every address that the document of the API says can be got, with names and words that lead to something.
fn addresses(site: &Site) -> Vec<String> {
    let document = site.call("GET", "/openapi.json", &Value::Null);
    let paths = document["paths"].as_object().unwrap().iter().filter(|(_, item)| item["get"].is_object());
    let addresses = paths.flat_map(|(path, item)| {
        let parameters = item["get"]["parameters"].as_array().cloned().unwrap_or_default();
        let words = parameters.iter().filter(|one| one["in"] == "query" && one["required"] == true);
        let words: Vec<String> = words.map(|one| word(one["name"].as_str().unwrap())).collect();
        let names: &[&str] = match path.split('/').nth(3) {
            Some("keys") => &["reporting"],
            _ => &["sales", "partner"],
        };
        let named = names.iter().map(|name| path.replace("{name}", name).replace("{ticket}", "no-such-ticket"));
        let named: BTreeSet<String> = named.collect();
        named.into_iter().map(move |path| if words.is_empty() { path } else { format!("{path}?{}", words.join("&")) })
    });
    addresses.collect()
}

/// What a parameter is asked with that has to be there.
fn word(parameter: &str) -> String {
    let value = match parameter {
        "method" => "GET",
        "path" => "/sales/api/v1/me/",
        "state" => "no-such-state",
        other => panic!("nobody has said what to ask with as `{other}`"),
    };
    format!("{parameter}={value}")
}

/// A gateway of which every secret is planted: those of credentials, a grant, a key and tokens; and the secrets.
fn planted() -> (Site, Vec<String>) {
    let site = site("");
    let app = OAuthApp::new("Bluth Company", &site.address("/oauth/callback")).unwrap();
    site.simulator.register(app.clone());
    let close = |path: &str| format!("http://{}/oauth2/{path}/", site.simulator.address());
    let oauth = json!({
        "client_id": app.client_id(), "client_secret": app.client_secret(),
        "redirect_uri": site.address("/oauth/callback"), "authorization_url": close("authorize"),
        "token_url": close("token"), "revocation_url": close("revoke"),
    });
    let grant = site.simulator.grant(&app).unwrap().refresh_token;
    let answers = [
        site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}})),
        site.call("POST", "/api/v1/credentials/sales/rotate", &json!({ "secret": API_KEY })),
        site.call("POST", "/api/v1/credentials/sales/verify", &Value::Null),
        site.call("POST", "/api/v1/credentials", &json!({"name": "partner", "method": {"oauth2": oauth}})),
        site.call("POST", "/api/v1/credentials/partner/authorize", &json!({ "refresh_token": grant })),
    ];
    let made =
        site.call("POST", "/api/v1/keys", &json!({"name": "reporting", "routes": ["sales"], "scopes": ["read"]}));
    let key = made["text"].as_str().unwrap().to_owned();
    let secret = API_KEY.rsplit_once('.').unwrap().1;
    let grants = site.simulator.grants();
    let tokens = grants.iter().flat_map(|grant| [grant.refresh_token.clone(), grant.access_token.clone()]);
    let more = [secret, &key, TOKEN, VIEWER, app.client_secret(), &grant].map(str::to_owned);
    let planted: Vec<String> = more.into_iter().chain(tokens).collect();
    for answer in answers {
        let text = answer.to_string();
        assert!(planted.iter().all(|one| !text.contains(one)), "{text}");
    }
    // Usage, and a refusal with the key in its path.
    assert_eq!(site.tool(&key, "/sales/api/v1/me/").status, 200);
    assert_eq!(site.tool(&key, "/sales/api/v1/export/lead/").status, 403);
    assert_eq!(site.tool(&key, &format!("/sales/api/v1/lead/{key}/")).status, 400);
    (site, planted)
}

#[test]
fn no_answer_holds_a_secret() {
    let (site, planted) = planted();
    let mut addresses = addresses(&site);
    assert!(addresses.len() > 15, "{addresses:?}");
    addresses.extend(["/", "/ui/app.js", "/metrics", "/readyz", "/healthz", "/openapi.json"].map(str::to_owned));
    for address in addresses {
        let (status, head, text) =
            site.request("GET", &address, &format!("Authorization: Bearer {TOKEN}\r\n"), &Value::Null);
        // Without a ticket and a state browsers are told so.
        let expected = if address.starts_with("/oauth/") { 400..500 } else { 200..201 };
        assert!(expected.contains(&status), "{address}: {status} {text}");
        for planted in &planted {
            assert!(!head.contains(planted) && !text.contains(planted), "{address}");
        }
    }
    let browser = site.browser(WIDE, TOKEN);
    for hash in [
        "#/credentials/sales",
        "#/credentials/partner",
        "#/keys/reporting",
        "#/activity",
        "#/activity?view=refusals",
        "#/usage",
        "#/explain?method=GET&path=/sales/api/v1/me/&key=reporting",
        "#/settings",
    ] {
        browser.screen(hash);
        browser.until("Boolean(document.querySelector('.facts, table'))");
        let shown = browser.source();
        for planted in &planted {
            assert!(!shown.contains(planted), "{hash}");
        }
    }
}
