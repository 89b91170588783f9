//! A key that is shown once is not lost by a click in the wrong place.

use serde_json::{Value, json};

use super::browser::{Browser, WIDE};
use super::world::{API_KEY, Site, TOKEN, site};

/// A browser that shows a key which was just made, having come there from the list of keys.
fn scene() -> (Site, Browser) {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/keys");
    browser.until("document.querySelector('h1')?.innerText === 'Keys'");
    browser.screen("#/connect");
    browser.click("Continue");
    browser.fill("key-name", "crm-sync");
    browser.click("Make the key");
    browser.reads("shown this once");
    (site, browser)
}

const SHOWN: &str = "document.querySelector('.key-once code')?.innerText.startsWith('cgk_') === true && location.hash === '#/connect' && document.querySelector('dialog') === null";
const ASKED: &str = "document.querySelector('dialog[open] h2')?.innerText === 'Leave without the key of crm-sync?' && location.hash === '#/connect'";

#[test]
fn leaving_before_it_is_copied_is_asked_for_by_every_way_out() {
    let (_site, browser) = scene();
    for way in [
        "document.querySelector('.nav a[href=\"#/usage\"]').click()",
        "history.back()",
        "[...document.querySelectorAll('button')].find((one) => one.innerText === 'Done').click()",
        "[...document.querySelectorAll('button')].find((one) => one.innerText === 'Connect another tool').click()",
        "[...document.querySelectorAll('button')].find((one) => one.innerText === 'Sign out').click()",
    ] {
        browser.run(way, json!([]));
        browser.until(ASKED);
        browser.click("Stay");
        browser.until(SHOWN);
    }
    assert!(browser.would_ask_before_unload());
    browser.screen("#/usage");
    browser.until(ASKED);
    browser.click("Leave without it");
    browser.until("document.querySelector('h1')?.innerText === 'Usage' && location.hash === '#/usage'");
    assert!(!browser.would_ask_before_unload());
}

#[test]
fn once_it_is_copied_nobody_is_asked() {
    let (_site, browser) = scene();
    browser.click("Copy the key");
    browser.until("document.querySelector('.key-once')?.innerText.includes('Copied')");
    assert!(!browser.would_ask_before_unload());
    browser.click("Connect another tool");
    browser.until("document.querySelector('h2')?.innerText === 'Which credential does the tool work with?'");
    browser.click("sales");
    browser.click("Continue");
    browser.click("Continue");
    browser.fill("key-name", "reporting");
    browser.click("Make the key");
    browser.reads("shown this once");
    // Marked and copied by hand.
    let script =
        "getSelection().selectAllChildren(document.querySelector('.key-once code')); document.execCommand('copy')";
    browser.run(script, json!([]));
    browser.click("Done");
    browser.until("document.querySelector('h1')?.innerText === 'reporting'");
}

#[test]
fn a_session_that_ends_takes_it_not_away() {
    let (site, browser) = scene();
    browser.forget_cookies();
    // The screen asks for the key's first request again and again.
    browser.until("performance.getEntriesByType('resource').some((one) => one.responseStatus === 401 && one.name.endsWith('/keys/crm-sync'))");
    browser.until(SHOWN);
    assert_eq!(site.call("GET", "/api/v1/keys/crm-sync", &Value::Null)["state"], "active");
}
