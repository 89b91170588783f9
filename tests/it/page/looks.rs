//! Every screen in both themes and widths: accessible, within its width, and without a fault.

use serde_json::json;

use super::browser::{Browser, Window};
use super::world::{API_KEY, Site, TOKEN, sign_in, site};

/// Screens, each with what shows that it is there.
const SCREENS: [(&str, &str); 12] = [
    ("#/credentials", "document.querySelector('.tile')"),
    ("#/credentials/sales", "document.querySelector('.facts') && document.querySelector('.copyline')"),
    ("#/add-credential", "document.querySelector('#api-key')"),
    ("#/connect/sales", "document.querySelector('[name=preset]')"),
    ("#/keys", "document.querySelector('table')"),
    (
        "#/keys/reporting",
        "document.querySelector('h1')?.innerText === 'reporting' && document.querySelectorAll('.facts').length === 2",
    ),
    ("#/routes", "document.querySelector('table')"),
    ("#/routes/sales", "document.querySelector('.copyline') && document.querySelector('.bar')"),
    ("#/explain?method=GET&path=/sales/api/v1/me/", "document.querySelector('dl.facts, .note.bad')"),
    ("#/usage", "document.querySelectorAll('.u-wrap').length === 3"),
    ("#/activity", "document.querySelector('table')"),
    ("#/settings", "document.querySelector('table')"),
];

fn filled() -> Site {
    let site = site("");
    site.call(
        "POST",
        "/api/v1/credentials",
        &json!({"name": "sales", "description": "Sales organization", "method": {"api_key": API_KEY}}),
    );
    let made = site.call(
        "POST",
        "/api/v1/keys",
        &json!({"name": "reporting", "routes": ["sales"], "scopes": ["read"], "rate": "20/s"}),
    );
    for path in ["/sales/api/v1/me/", "/sales/api/v1/lead/", "/sales/api/v1/export/lead/"] {
        site.tool(made["text"].as_str().unwrap(), path);
    }
    site
}

fn examine(browser: &Browser, what: &str) {
    assert_eq!(browser.violations(), [""; 0], "{what}");
    let wide = browser.run("return document.documentElement.scrollWidth - innerWidth", json!([]));
    assert!(wide.as_f64().unwrap() <= 0.0, "{what} is {wide} pixels too wide");
}

fn every_screen(theme: &str, width: u32) {
    let site = filled();
    let browser = Browser::open(Window { theme, width, names: "" });
    browser.go(&site.address("/"));
    browser.until("Boolean(document.querySelector('#token'))");
    examine(&browser, "signing in");
    sign_in(&browser, TOKEN);
    for (hash, there) in SCREENS {
        browser.screen(hash);
        browser.until(&format!("Boolean({there})"));
        examine(&browser, hash);
    }
    browser.screen("#/activity?view=refusals");
    browser.until("Boolean(document.querySelector('[aria-label=\"Refusals\"]'))");
    examine(&browser, "refusals");
    browser.screen("#/credentials/sales");
    browser.click("Remove credential");
    examine(&browser, "a confirmation");
    browser.click("Cancel");
    browser.screen("#/keys/reporting");
    browser.click("Change");
    examine(&browser, "a form in a dialog");
    let faults = browser.console().into_iter().filter(|fault| !fault.contains("status of 401"));
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn light_and_wide() {
    every_screen("light", 1280);
}

#[test]
fn dark_and_wide() {
    every_screen("dark", 1280);
}

#[test]
fn light_and_narrow() {
    every_screen("light", 390);
}

#[test]
fn dark_and_narrow() {
    every_screen("dark", 390);
}

#[test]
fn nobody_needs_a_mouse() {
    let site = filled();
    let browser = Browser::open(Window { theme: "light", width: 1280, names: "" });
    browser.go(&site.address("/"));
    sign_in(&browser, TOKEN);
    browser.until("document.activeElement?.tagName === 'H1'");
    browser.screen("#/keys");
    browser.until("document.activeElement?.innerText === 'Keys'");
    browser.keys("/");
    browser.until("document.activeElement?.id === 'key-search'");
    browser.keys("report");
    browser.until("location.hash.includes('q=report')");
    browser.screen("#/keys/reporting");
    browser.until("document.activeElement?.innerText === 'reporting'");
    browser.click("Revoke");
    browser.until("document.activeElement?.closest('dialog') !== null");
    browser.keys("\u{e00c}");
    browser.until("document.querySelector('dialog') === null && document.activeElement?.innerText === 'Revoke'");
}

#[test]
fn the_theme_is_chosen_and_kept() {
    let site = filled();
    let browser = site.browser(Window { theme: "light", width: 1280, names: "" }, TOKEN);
    browser.click("Dark theme");
    browser.until("getComputedStyle(document.documentElement).colorScheme === 'dark'");
    browser.go(&site.address("/"));
    browser.until("Boolean(document.querySelector('.frame')) && getComputedStyle(document.documentElement).colorScheme === 'dark'");
    browser.click("Light theme");
    browser.until("getComputedStyle(document.documentElement).colorScheme === 'light'");
}
