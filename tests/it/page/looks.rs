//! Every screen in both themes and widths: accessible, within its width, and without a fault.

use closegate::sim::OAuthApp;
use serde_json::json;

use super::browser::{Browser, Window};
use super::world::{API_KEY, Site, TOKEN, sign_in, site};

/// Screens, each with what shows that it is there.
const SCREENS: [(&str, &str); 17] = [
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
    ("#/activity?view=refusals", "document.querySelector('[aria-label=\"Refusals\"]')"),
    ("#/keys?show=unused", "document.querySelector('.empty')"),
    ("#/keys/gone", "document.querySelector('.empty a')"),
    ("#/nonsense", "document.querySelector('.empty a')"),
    ("#/credentials/partner", "document.querySelector('.facts') && document.getElementById('pasted')"),
    ("#/settings", "document.querySelector('table')"),
];

fn filled() -> Site {
    let site = site("");
    site.call(
        "POST",
        "/api/v1/credentials",
        &json!({"name": "sales", "description": "Sales organization", "method": {"api_key": API_KEY}}),
    );
    let app = OAuthApp::new("Bluth Company", &site.address("/oauth/callback")).unwrap();
    site.simulator.register(app.clone());
    let token = format!("http://{}/oauth2/token/", site.simulator.address());
    let oauth = json!({"client_id": app.client_id(), "client_secret": app.client_secret(), "token_url": token});
    site.call("POST", "/api/v1/credentials", &json!({"name": "partner", "method": {"oauth2": oauth}}));
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

/// What is shown is accessible, and all of it within the window.
fn examine(browser: &Browser, what: &str) {
    assert_eq!(browser.violations(), [""; 0], "{what}");
    let wide = browser.run("return document.documentElement.scrollWidth - innerWidth", json!([]));
    assert!(wide.as_f64().unwrap() <= 0.0, "{what} is {wide} pixels too wide");
    let script = "return [...document.querySelectorAll('a, button, input, select, textarea, td, th[scope=row], h1, h2, dd')]
        .filter((one) => one.checkVisibility() && !one.closest('.skip, .hidden'))
        .filter((one) => { const { left, right, width } = one.getBoundingClientRect(); return width > 1 && (left < 0 || right > innerWidth + 1); })
        .map((one) => `${one.tagName} ${one.innerText}`)";
    assert_eq!(browser.run(script, json!([])), json!([]), "{what}: out of the window");
}

/// Clicks, waits, and looks at what it leads to.
fn step(browser: &Browser, called: &str, there: &str) {
    browser.click(called);
    browser.until(&format!("Boolean({there}) && document.querySelector('.spinner') === null"));
    examine(browser, called);
}

/// Dialogs, each on its screen and behind its button.
const DIALOGS: [(&str, &str); 10] = [
    ("#/credentials/sales", "Edit description"),
    ("#/credentials/sales", "Rotate"),
    ("#/credentials/sales", "Disable"),
    ("#/credentials/sales", "Remove credential"),
    ("#/keys/reporting", "Change"),
    ("#/keys/reporting", "Rotate"),
    ("#/keys/reporting", "Revoke"),
    ("#/routes", "Add route"),
    ("#/routes/sales", "Change"),
    ("#/routes/sales", "Remove"),
];

fn every_dialog(browser: &Browser) {
    for (hash, called) in DIALOGS {
        browser.screen(hash);
        step(browser, called, "document.querySelector('dialog[open]')");
        browser.click("Cancel");
        browser.until("document.querySelector('dialog') === null");
    }
}

/// Adding a credential in both ways, with what is wrong beside its field, and the authorization of an app.
fn every_form(browser: &Browser) {
    browser.screen("#/add-credential");
    step(browser, "Verify and save", "document.getElementById('api-key-fault')");
    step(browser, "OAuth 2.0", "document.getElementById('client-id')");
    step(browser, "Other addresses than Close’s", "document.getElementById('revocation')?.checkVisibility()");
    step(browser, "Save and authorize", "document.getElementById('client-secret-fault')");
    browser.screen("#/credentials/partner");
    browser.until("Boolean(document.getElementById('pasted'))");
    step(browser, "Finish", "document.getElementById('pasted-fault')");
    step(browser, "I have a refresh token already", "document.getElementById('refresh-token')?.checkVisibility()");
    browser.screen("#/explain?method=DELETE&path=/sales/api/v1/lead/&key=reporting");
    browser.until("Boolean(document.querySelector('.note.bad') && document.querySelector('dl.facts'))");
    examine(browser, "a refusal, explained");
}

/// From the choice of a credential to the key that is shown once, and the question whether to leave it.
fn every_step_to_a_key(browser: &Browser) {
    browser.screen("#/connect");
    let credentials = "document.querySelectorAll('[name=credential]').length === 2";
    browser.until(credentials);
    examine(browser, "which credential");
    browser.click("sales");
    step(browser, "Continue", "document.querySelector('[name=preset]')");
    step(browser, "Scope by scope", "document.querySelectorAll('[type=checkbox]').length > 5");
    step(browser, "Continue", "document.getElementById('key-name')");
    step(browser, "Rules and mode", "document.getElementById('deny')?.checkVisibility()");
    browser.fill("rate", "fast");
    step(browser, "Make the key", "document.getElementById('rate-fault')");
    browser.fill("rate", "20/s");
    step(browser, "Make the key", "document.querySelector('.key-once')");
    for tool in ["Python", "Node", "Airbyte", "Singer"] {
        step(browser, tool, "document.querySelector('.snippet')");
    }
    step(browser, "Done", "document.querySelector('dialog[open]')");
    browser.click("Leave without it");
    browser.screen("#/keys/reporting");
    browser.click("Rotate");
    browser.until("Boolean(document.querySelector('dialog select'))");
    step(browser, "Rotate", "document.querySelector('.key-once')");
    browser.click("Copy the key");
    browser.until("document.querySelector('.key-once').innerText.includes('Copied')");
    browser.click("Done");
}

fn every_screen(theme: &str, width: u32) {
    let site = filled();
    let browser = Browser::open(Window { theme, width, names: "" });
    browser.go(&site.address("/"));
    browser.until("Boolean(document.querySelector('#token'))");
    examine(&browser, "signing in");
    step(&browser, "Sign in", "document.getElementById('token-fault')");
    sign_in(&browser, TOKEN);
    for (hash, there) in SCREENS {
        browser.screen(hash);
        browser.until(&format!("Boolean({there})"));
        examine(&browser, hash);
        browser.until("document.querySelector('.side a[href=\"#/connect\"]').checkVisibility()");
    }
    every_dialog(&browser);
    every_form(&browser);
    every_step_to_a_key(&browser);
    let faults = browser.console().into_iter().filter(|fault| !fault.contains("status of 4"));
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
