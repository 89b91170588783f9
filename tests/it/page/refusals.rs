//! Why a tool is refused, as an operator finds it: one by one, by key and code, each explained.

use serde_json::{Value, json};

use super::browser::WIDE;
use super::world::{API_KEY, Site, TOKEN, VIEWER, site};

/// A key that may read, and its text.
fn scene() -> (Site, String) {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let new = json!({"name": "reporting", "routes": ["sales"], "scopes": ["read"], "daily_quota": 1});
    let text = site.call("POST", "/api/v1/keys", &new)["text"].as_str().unwrap().to_owned();
    (site, text)
}

#[test]
fn each_refusal_is_found_with_its_key_and_explained() {
    let (site, key) = scene();
    assert_eq!(site.tool(&key, "/sales/api/v1/me/").status, 200);
    assert_eq!(site.tool(&key, "/sales/api/v1/lead/").status, 429);
    assert_eq!(site.tool(&key, "/sales/api/v1/export/lead/").status, 403);
    assert_eq!(site.tool("cgk_0000wrng_0000000000000000", "/sales/api/v1/me/").status, 401);
    let browser = site.browser(WIDE, VIEWER);
    browser.screen("#/activity");
    browser.click("Refusals");
    let rows = "[...document.querySelectorAll('[aria-label=\"Refusals\"] tbody tr')]";
    browser.until(&format!("{rows}.length === 3"));
    browser.until(&format!("{rows}.some((row) => row.innerText.includes('429 key_quota_exhausted') && row.innerText.includes('reporting') && row.innerText.includes('GET /sales/api/v1/lead/') && row.innerText.includes('127.0.0.1'))"));
    browser.until(&format!("{rows}.some((row) => row.innerText.includes('401 key_invalid'))"));
    // Only what the steps decide alone is explained again: no key that nobody knows, and no limit.
    browser.until("[...document.querySelectorAll('td a')].filter((one) => one.innerText === 'Explain').length === 1");
    assert_eq!(browser.violations(), [""; 0]);
    // The sums come after the list, whenever each of them came.
    let order = "document.querySelector('[aria-label=\"Refusals\"]').compareDocumentPosition(document.querySelector('.bars')) === Node.DOCUMENT_POSITION_FOLLOWING";
    assert_eq!(browser.until(order), json!(true));

    browser.click("403 scope_missing");
    browser.until(&format!("{rows}.length === 1 && location.hash.includes('code=scope_missing')"));
    browser.click("Explain GET /sales/api/v1/export/lead/");
    browser.reads("Refused: 403 scope_missing");
    browser.reads("export");
    assert_eq!(browser.violations(), [""; 0]);

    browser.screen("#/keys/reporting");
    browser.click("What was refused");
    browser.until(&format!("{rows}.length === 2"));
    browser.click("Key reporting, show all keys");
    browser.until(&format!("{rows}.length === 3"));
    assert!(!browser.source().contains("0000wrng"));
}

#[test]
fn the_api_tells_refusals_by_key_and_code_and_no_more_than_it_is_asked_for() {
    let (site, key) = scene();
    (0..3).for_each(|_| assert_eq!(site.tool(&key, "/sales/api/v1/export/lead/").status, 403));
    assert_eq!(site.tool("cgk_0000wrng_0000000000000000", "/sales/api/v1/me/").status, 401);
    let told = |query: &str| {
        let told = site.call("GET", &format!("/api/v1/refusals{query}"), &Value::Null);
        told.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(""), ["key_invalid", "scope_missing", "scope_missing", "scope_missing"], "the newest first");
    assert_eq!(told("?limit=2"), ["key_invalid", "scope_missing"]);
    assert_eq!(told("?key=reporting&limit=1"), ["scope_missing"]);
    assert_eq!(told("?code=key_invalid"), ["key_invalid"]);
    assert_eq!(told("?key=nobody"), [""; 0]);
    let one = &site.call("GET", "/api/v1/refusals?key=reporting", &Value::Null)[0];
    assert_eq!((&one["route"], &one["method"], &one["status"]), (&json!("sales"), &json!("GET"), &json!(403)));
    assert_eq!((&one["path"], &one["scope"]), (&json!("/sales/api/v1/export/lead/"), &json!("export")));
}

#[test]
fn the_api_explains_by_the_steps_of_the_gateway_and_repeats_no_key() {
    let (site, key) = scene();
    let explain = |query: &str| site.call("GET", &format!("/api/v1/explain?{query}"), &Value::Null);
    let sent = explain("method=GET&path=/sales/api/v1/lead/&key=reporting");
    assert_eq!((&sent["sent"], &sent["refusal"], &sent["way"]["scope"]), (&json!(true), &Value::Null, &json!("read")));
    let refused = explain("method=POST&path=/sales/api/v1/lead/&key=reporting");
    assert_eq!((&refused["sent"], &refused["refusal"]["code"]), (&json!(false), &json!("scope_missing")));
    let nobody = explain("method=GET&path=/sales/api/v1/lead/");
    assert_eq!((&nobody["refusal"]["code"], &nobody["keys"]), (&json!("key_missing"), &json!(["reporting"])));
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for query in [format!("method=GET&path=/&key={key}"), "method=GET&path=https://localhost/".to_owned()] {
        let (status, _, text) = site.request("GET", &format!("/api/v1/explain?{query}"), &bearer, &Value::Null);
        assert_eq!(status, 422, "{text}");
        assert!(!text.contains(&key));
    }
}
