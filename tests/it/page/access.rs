//! Who is let in, and what the page and its API never say.

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

#[test]
fn no_answer_holds_a_secret() {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let made =
        site.call("POST", "/api/v1/keys", &json!({"name": "reporting", "routes": ["sales"], "scopes": ["read"]}));
    let key = made["text"].as_str().unwrap();
    assert_eq!(site.tool(key, "/sales/api/v1/me/").status, 200);
    let secret = API_KEY.rsplit_once('.').unwrap().1;
    let paths = [
        "/",
        "/ui/app.js",
        "/metrics",
        "/readyz",
        "/openapi.json",
        "/api/v1/session",
        "/api/v1/gateway",
        "/api/v1/credentials",
        "/api/v1/credentials/sales",
        "/api/v1/routes",
        "/api/v1/keys",
        "/api/v1/keys/reporting",
        "/api/v1/events",
        "/api/v1/config",
        "/api/v1/endpoints",
    ];
    for path in paths {
        let (status, head, text) =
            site.request("GET", path, &format!("Authorization: Bearer {TOKEN}\r\n"), &Value::Null);
        assert_eq!(status, 200, "{path}: {text}");
        for planted in [secret, key, TOKEN, VIEWER] {
            assert!(!head.contains(planted) && !text.contains(planted), "{path}");
        }
    }
    let browser = site.browser(WIDE, TOKEN);
    for hash in ["#/credentials/sales", "#/keys/reporting", "#/activity", "#/settings"] {
        browser.screen(hash);
        browser.until("Boolean(document.querySelector('.facts, table'))");
        let shown = browser.source();
        for planted in [secret, key, TOKEN, VIEWER] {
            assert!(!shown.contains(planted), "{hash}");
        }
    }
}
