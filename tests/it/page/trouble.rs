//! What cannot be asked just now is no sign-out, and what is not there is told so.

use serde_json::json;

use super::browser::{Browser, WIDE};
use super::world::{API_KEY, Site, TOKEN, site};

fn scene() -> (Site, Browser) {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let browser = site.browser(WIDE, TOKEN);
    (site, browser)
}

#[test]
fn a_gateway_that_is_away_signs_nobody_out_and_is_seen_when_it_is_back() {
    let (site, browser) = scene();
    browser.reads("sales");
    browser.answer_with(None);
    browser.reads("The gateway does not answer.");
    browser.reads("It is tried again every few seconds.");
    assert!(browser.text().contains("sales"), "the screen stays: {}", browser.text());
    // Also who opens the page meanwhile is not asked for a token.
    browser.screen("#/keys");
    browser.reads("Loading keys");
    browser.answer_as_it_is();
    browser.reads("No key yet");
    browser.until("document.querySelector('.trouble').innerText === ''");
    assert_eq!(site.call("GET", "/api/v1/keys", &serde_json::Value::Null)["total"], 0);
}

#[test]
fn a_store_that_is_lost_signs_nobody_out_of_a_page_that_opens() {
    let (site, browser) = scene();
    browser.answer_with(Some((
        503,
        r#"{"code": "store_unavailable", "detail": "the store cannot be reached", "hint": "is it running?"}"#,
    )));
    browser.go(&site.address("/#/keys"));
    browser.run("location.reload()", json!([]));
    browser.reads("the store cannot be reached");
    browser.reads("You stay signed in.");
    assert_eq!(browser.run("return document.getElementById('token')", json!([])), serde_json::Value::Null);
    assert_eq!(browser.violations(), [""; 0]);
    browser.answer_as_it_is();
    browser.until("document.querySelector('h1')?.innerText === 'Keys'");
}

#[test]
fn an_address_of_nothing_says_so_and_leads_on() {
    let (site, browser) = scene();
    for (hash, told, on) in [
        ("#/keys/gone", "There is no key gone", "All keys"),
        ("#/credentials/gone", "There is no credential gone", "All credentials"),
        ("#/routes/gone", "There is no route gone", "All routes"),
        ("#/nonsense", "There is no screen nonsense", "All credentials"),
    ] {
        browser.screen(hash);
        browser.reads(told);
        assert_eq!(browser.violations(), [""; 0], "{hash}");
        browser.click(on);
        browser.until("document.querySelector('h1')?.innerText.startsWith('No such') === false");
    }
    browser.screen("#/connect/gone");
    browser.reads("There is no credential gone: choose another.");
    // What somebody removes while it is looked at.
    browser.screen("#/credentials/sales");
    browser.reads("Bluth Company");
    site.call("DELETE", "/api/v1/credentials/sales", &serde_json::Value::Null);
    browser.reads("There is no credential sales");
}
