//! The controls of the usage screen and of a key: how far back, by what, limits, the suggested policy.

use serde_json::{Value, json};

use super::browser::WIDE;
use super::world::{API_KEY, Site, TOKEN, site};

/// A credential, two keys, and the text of each.
fn scene() -> (Site, Vec<String>) {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let make = |name: &str| {
        let new = json!({"name": name, "routes": ["sales"], "scopes": ["*"]});
        site.call("POST", "/api/v1/keys", &new)["text"].as_str().unwrap().to_owned()
    };
    let texts = vec![make("crm-sync"), make("reporting")];
    (site, texts)
}

#[test]
fn usage_is_seen_by_tool_endpoint_status_route_and_credential_and_as_far_back_as_is_asked() {
    let (site, texts) = scene();
    (0..3).for_each(|_| assert_eq!(site.tool(&texts[0], "/sales/api/v1/me/").status, 200));
    assert_eq!(site.tool(&texts[1], "/sales/api/v1/api_key/").status, 403);
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/usage");
    let rows = "[...document.querySelectorAll('[aria-label=\"Usage that is kept\"] tbody tr')]";
    let row = |name: &str, requests: u32| {
        format!(
            "{rows}.some((row) => row.cells[0].innerText.trim() === '{name}' && row.cells[1].innerText === '{requests}')"
        )
    };
    for (group, found) in [
        ("Endpoint", row("GET /api/v1/me/", 3)),
        ("Status", row("4xx", 1)),
        ("Route", row("sales", 4)),
        ("Credential", row("sales", 4)),
        ("Tool", row("crm-sync", 3)),
    ] {
        browser.click(group);
        browser.until(&found);
    }
    for period in ["Hour", "Week", "Month", "90 days", "Day"] {
        browser.click(period);
        browser.until(&format!(
            "[...document.querySelectorAll('[aria-label=\"How far back\"] button')].find((one) => one.innerText === '{period}').getAttribute('aria-pressed') === 'true'"
        ));
        browser.until(&row("crm-sync", 3));
        browser.until("Boolean(document.querySelector('[aria-label=\"Usage that is kept\"] .u-wrap'))");
    }
}

#[test]
fn limits_are_set_on_the_page_and_hold_at_once() {
    let (site, texts) = scene();
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/keys/crm-sync");
    browser.click("Change");
    browser.fill("quota", "many");
    browser.click("Save");
    browser.until("document.getElementById('quota')?.getAttribute('aria-invalid') === 'true'");
    browser.fill("quota", "1");
    browser.fill("concurrency", "4");
    browser.fill("rate", "600/m");
    browser.choose("lifetime", "30");
    browser.click("Save");
    browser.reads("600/m, 4 at once, 1 a day");
    let key = site.call("GET", "/api/v1/keys/crm-sync", &Value::Null);
    assert_eq!((&key["daily_quota"], &key["concurrency"], &key["rate"]), (&json!(1), &json!(4), &json!("600/m")));
    assert!(key["expires_at"].is_string(), "{key}");
    assert_eq!(site.tool(&texts[0], "/sales/api/v1/me/").status, 200);
    assert_eq!(site.tool(&texts[0], "/sales/api/v1/me/").status, 429);

    browser.click("Undo");
    browser.until("!document.body.innerText.includes('1 a day')");
    assert_eq!(site.tool(&texts[0], "/sales/api/v1/me/").status, 200);
}

#[test]
fn a_suggested_policy_is_taken_over() {
    let (site, texts) = scene();
    assert_eq!(site.tool(&texts[0], "/sales/api/v1/me/").status, 200);
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/keys/crm-sync");
    browser.reads("GET /api/v1/me/");
    browser.click("Take it over");
    browser.reads("crm-sync may do what it used, and nothing else.");
    browser.reads("It is what the key may do.");
    let key = site.call("GET", "/api/v1/keys/crm-sync", &Value::Null);
    assert_eq!((&key["scopes"], &key["allow"]), (&json!(["read"]), &json!(["GET /api/v1/me/"])));
    assert_eq!(site.tool(&texts[0], "/sales/api/v1/me/").status, 200);
    assert_eq!(site.tool(&texts[0], "/sales/api/v1/lead/").status, 403);
}
