//! The routes on the page: seen, added, changed, removed, and explained.

use serde_json::json;

use super::browser::WIDE;
use super::world::{API_KEY, TOKEN, VIEWER, site};

#[test]
fn a_route_is_added_changed_and_removed() {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/routes");
    browser.click("Add route");
    browser.click("Add the route");
    browser.reads("Give it a name.");
    browser.fill("route-name", "sales-read");
    browser.fill("route-allow", "everything");
    browser.click("Add the route");
    browser.until("document.getElementById('route-allow')?.getAttribute('aria-invalid') === 'true'");
    browser.fill("route-allow", "GET,HEAD /api/v1/me/");
    browser.click("Add the route");
    browser.until("document.querySelector('h1')?.innerText === 'sales-read'");
    let ask = |path: &str| site.gateway.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).status;
    assert_eq!((ask("/sales-read/api/v1/me/"), ask("/sales-read/api/v1/lead/")), (200, 403));

    browser.click("Change");
    browser.fill("route-prefix", "/elsewhere");
    browser.click("Save");
    browser.reads("sales-read is changed.");
    assert_eq!((ask("/elsewhere/api/v1/me/"), ask("/elsewhere/api/v1/lead/")), (200, 403));

    browser.click("Explain a request");
    browser.until("document.getElementById('explain-method')?.value === 'GET'");
    browser.reads("Sent to Close");
    browser.fill("explain-path", "/elsewhere/api/v1/lead/");
    browser.click("Explain");
    browser.reads("Refused: 403 path_denied");
    browser.reads("covered by no rule that allows");

    browser.screen("#/routes/sales-read");
    browser.click("Remove");
    browser.click("Remove for good");
    browser.until("location.hash === '#/routes' && document.querySelectorAll('tbody tr').length === 1");
    assert_ne!(ask("/elsewhere/api/v1/me/"), 200);
}

#[test]
fn what_the_file_declares_is_shown_and_left_alone() {
    let site =
        site("[credentials.sales]\napi_key = { file = \"admin.token\" }\n[routes.sales]\ndeny = [\"DELETE /**\"]\n");
    let browser = site.browser(WIDE, VIEWER);
    browser.screen("#/routes");
    browser.reads("1 rule");
    assert!(!browser.text().contains("Add route"));
    browser.click("sales");
    browser.reads("DELETE /**");
    browser.reads("read-only here");
    assert!(!browser.text().contains("Remove"));
}
