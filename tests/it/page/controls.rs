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
    browser.click("Undo");
    browser.until("!document.body.innerText.includes('It is what the key may do.')");
    let key = site.call("GET", "/api/v1/keys/crm-sync", &Value::Null);
    assert_eq!((&key["scopes"], &key["allow"]), (&json!(["*"]), &json!([])));
}

/// The page asks for the key again every few seconds; what the dialog began with is what it changes.
#[test]
fn what_somebody_else_changes_while_a_dialog_is_open_is_not_written_over() {
    let (site, _) = scene();
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/keys/crm-sync");
    browser.click("Change");
    browser.fill("description", "changed on the page");
    let narrow = json!({"routes": ["sales"], "scopes": ["read"], "deny": ["* /api/v1/lead/**"]});
    site.call("PUT", "/api/v1/keys/crm-sync", &narrow);
    // Behind the dialog the page has seen it.
    browser.until("[...document.querySelectorAll('dd code')].some((rule) => rule.innerText === '* /api/v1/lead/**')");
    browser.click("Save");
    browser.until("document.querySelector('dialog [role=alert]')?.innerText.length > 0");
    let key = site.call("GET", "/api/v1/keys/crm-sync", &Value::Null);
    assert_eq!((&key["scopes"], &key["deny"]), (&json!(["read"]), &narrow["deny"]));
}

#[test]
fn a_rotated_key_is_shown_until_it_is_done_and_waits_for_nothing() {
    let (site, texts) = scene();
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/keys/crm-sync");
    browser.click("Rotate");
    browser.until("Boolean(document.querySelector('dialog select'))");
    browser.click("Rotate");
    browser.reads("New key of crm-sync");
    // The old text goes on, and is no sign of the new one.
    assert_eq!(site.tool(&texts[0], "/sales/api/v1/me/").status, 200);
    assert!(!browser.text().contains("first request"), "{}", browser.text());
    browser.click("Copy the key");
    browser.until("document.querySelector('.key-once').innerText.includes('Copied')");
    browser.click("Done");
    browser.reads("What it may do");
    assert!(!browser.text().contains("shown this once"), "{}", browser.text());
}

#[test]
fn who_used_a_credential_in_the_last_day_is_named_before_it_is_disabled() {
    let (site, texts) = scene();
    assert_eq!(site.tool(&texts[1], "/sales/api/v1/me/").status, 200);
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/credentials/sales");
    browser.click("Disable");
    browser.until("document.querySelector('dialog')?.innerText.includes('Who used it in the last day stops working')");
    let told = browser.run("return document.querySelector('dialog').innerText", json!([]));
    let told = told.as_str().unwrap();
    assert!(told.contains("reporting: 1 request") && told.contains("1 other active key can reach it"), "{told}");
}

#[test]
fn what_is_said_of_operations_times_and_use_is_true() {
    let (site, texts) = scene();
    assert_eq!(site.tool(&texts[0], "/sales/api/v1/me/").status, 200);
    assert_eq!(site.tool("cgk_0000wrng_0000000000000000", "/sales/api/v1/me/").status, 401);
    let browser = site.browser(WIDE, TOKEN);
    // A source reads, and is shown no operation by the name of a deletion.
    browser.screen("#/connect/sales");
    browser.until("document.querySelectorAll('.examples code').length > 0");
    let examples = browser.run("return document.querySelector('.note .examples').innerText", json!([]));
    let examples = examples.as_str().unwrap();
    assert!(examples.contains("GET /lead/") && !examples.contains("delete"), "{examples}");
    // What was refused before anybody looked is not called undocumented alone, and no request has no latency.
    browser.screen("#/usage");
    browser.click("Endpoint");
    browser.reads("none looked up, or not documented");
    browser.reads("no request just now");
    // A key that was made just now is none that is not used.
    browser.screen("#/keys?show=unused");
    browser.reads("No key like that");
    browser.reads("without a request in the last 30 days");
}
