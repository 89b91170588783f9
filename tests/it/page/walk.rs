//! What an operator does first: a credential, a tool, its first request, and its end.

use std::process::Command;

use super::browser::{Browser, WIDE};
use super::world::{API_KEY, Site, TOKEN, bare_site, bare_site_in_memory, sign_in, site};

/// Runs a line that the page gives, as a person pastes it: what curl wrote, and the status.
fn pasted(line: &str) -> (String, String) {
    let command = format!("{line} --silent --show-error --write-out '\\n%{{http_code}}'");
    let output = Command::new("bash").args(["-c", &command]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
    (body.to_owned(), status.to_owned())
}

fn clean(browser: &Browser) {
    // What the page asked for and was refused is no fault of it: who is signed in is asked first.
    let faults = browser.console().into_iter().filter(|fault| !fault.contains("status of 4"));
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn from_the_first_run_to_a_revoked_key() {
    let site = bare_site();
    let browser = Browser::open(WIDE);
    let link = site.gateway.stderr.after("add the first credential at ");
    browser.go(&link);
    browser.reads("No credential yet");
    assert!(!browser.address().contains("start/"), "{}", browser.address());

    browser.click("Add your first credential");
    browser.click("Verify and save");
    browser.reads("Give it a name.");
    browser.reads("Paste the API key.");
    browser.fill("name", "sales");
    browser.fill("api-key", "api_wrong.wrongwrongwrong");
    browser.click("Verify and save");
    browser.until("document.getElementById('api-key-fault')?.innerText.includes('401')");
    browser.fill("api-key", API_KEY);
    browser.click("Verify and save");
    browser.until("document.querySelector('h1')?.innerText === 'sales' && document.querySelector('.badge.good')?.innerText === 'Ready'");
    browser.reads("Bluth Company");

    browser.run("document.querySelector('.page-head a.button').click()", serde_json::json!([]));
    browser.click("Destination");
    browser.click("Continue");
    browser.fill("key-name", "crm-sync");
    browser.click("Make the key");
    let line = browser.until("document.querySelector('.snippet pre')?.innerText.includes('curl -u cgk_') && document.querySelector('.snippet pre').innerText");
    browser.reads("Waiting for its first request");
    let line = line.as_str().unwrap();
    let (body, status) = pasted(line);
    assert_eq!(status, "200", "{line}: {body}");
    assert!(body.contains("Bluth Company"), "{body}");
    browser.reads("The first request has arrived.");

    browser.click("Copy the key");
    browser.until("document.querySelector('.key-once').innerText.includes('Copied')");
    browser.screen("#/usage");
    browser.until("[...document.querySelectorAll('.bar a')].some((one) => one.innerText === 'crm-sync')");

    browser.screen("#/keys/crm-sync");
    browser.click("Revoke");
    browser.reads("From this moment every request with it is answered 401.");
    browser.click("Revoke for good");
    browser.until("document.querySelector('.title .badge')?.innerText === 'Revoked'");
    assert_eq!(pasted(line).1, "401");

    browser.screen("#/activity");
    browser.reads("revoked key");
    browser.reads("added credential");
    browser.reads("by: link");
    assert!(!browser.source().contains(API_KEY));
    assert_eq!(site.simulator.violations(), [""; 0]);
    clean(&browser);

    // The link is used up.
    let other = Browser::open(WIDE);
    other.go(&link);
    other.reads("This link was used already");
}

/// The token that the gateway has made, as its owner reads it.
fn made_token(site: &Site) -> String {
    std::fs::read_to_string(site.gateway.folder.path().join("data/admin.token")).unwrap().trim().to_owned()
}

#[test]
fn the_link_of_a_first_run_is_used_up_by_who_is_signed_in_already() {
    let site = bare_site();
    let link = site.gateway.stderr.after("add the first credential at ");
    let browser = Browser::open(WIDE);
    browser.go(&site.address("/"));
    sign_in(&browser, &made_token(&site));
    browser.go(&link);
    browser.until("location.hash === '#/credentials' && Boolean(document.querySelector('.frame'))");
    browser.go(&site.address("/#/activity"));
    browser.reads("by: link");
    // Whoever has the session sees that it is over, and stays where they are.
    browser.go("about:blank");
    browser.go(&link);
    browser.reads("That link was used already, or is over.");
    browser.until("location.hash === '#/credentials' && Boolean(document.querySelector('.frame'))");

    let other = Browser::open(WIDE);
    other.go(&link);
    other.reads("This link was used already");
    assert!(!other.address().contains("start/"), "{}", other.address());
}

#[test]
fn the_link_of_a_first_run_ends_with_the_first_credential() {
    let site = bare_site();
    let link = site.gateway.stderr.after("add the first credential at ");
    let bearer = format!("Authorization: Bearer {}\r\n", made_token(&site));
    let new = serde_json::json!({"name": "sales", "method": {"api_key": API_KEY}});
    assert_eq!(site.request("POST", "/api/v1/credentials", &bearer, &new).0, 201);
    // Not even when there is none any more.
    assert_eq!(site.request("DELETE", "/api/v1/credentials/sales", &bearer, &serde_json::Value::Null).0, 204);
    let (_, text) = link.split_once("#/start/").unwrap();
    let (status, ..) = site.request("POST", "/api/v1/session", "", &serde_json::json!({ "token": text }));
    assert_eq!(status, 401);
}

#[test]
fn a_first_run_leads_on_where_nothing_can_be_written() {
    let site = bare_site_in_memory();
    let link = site.gateway.stderr.after("add the first credential at ");
    assert!(site.gateway.stderr.text().contains("nobody has a token of the admin API"));
    let browser = Browser::open(WIDE);
    browser.go(&link);
    browser.click("Add your first credential");
    browser.fill("name", "sales");
    browser.fill("api-key", API_KEY);
    browser.click("Verify and save");
    browser.until("document.querySelector('h1')?.innerText === 'sales' && document.querySelector('.badge.good')?.innerText === 'Ready'");
}

#[test]
fn what_is_disabled_can_be_taken_back_and_what_is_removed_is_asked_for_by_name() {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &serde_json::json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let made = site.call(
        "POST",
        "/api/v1/keys",
        &serde_json::json!({"name": "reporting", "routes": ["sales"], "scopes": ["read"]}),
    );
    let key = made["text"].as_str().unwrap();
    assert_eq!(site.tool(key, "/sales/api/v1/me/").status, 200);
    let browser = site.browser(WIDE, TOKEN);
    browser.click("sales");
    browser.click("Disable");
    browser.reads("reporting");
    browser.run("document.querySelector('dialog .button.danger').click()", serde_json::json!([]));
    browser.reads("sales is disabled.");
    assert_eq!(site.tool(key, "/sales/api/v1/me/").status, 503);
    browser.click("Undo");
    browser.reads("sales is in use again.");
    assert_eq!(site.tool(key, "/sales/api/v1/me/").status, 200);

    // A key that would be left without a route is named before anything happens.
    browser.click("Remove credential");
    browser.click("Remove for good");
    browser.reads("That is not its name.");
    browser.fill("confirm-word", "sales");
    browser.click("Remove for good");
    browser.reads("the only one of key");
    browser.click("Cancel");
    site.call("POST", "/api/v1/keys/reporting/revoke", &serde_json::Value::Null);
    browser.click("Remove credential");
    browser.fill("confirm-word", "sales");
    browser.click("Remove for good");
    browser.until("location.hash === '#/credentials'");
    assert_ne!(site.tool(key, "/sales/api/v1/me/").status, 200);
}

#[test]
fn what_is_wrong_stands_beside_its_field() {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &serde_json::json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let browser = site.browser(WIDE, TOKEN);
    browser.screen("#/connect/sales");
    browser.click("Continue");
    browser.fill("rate", "fast");
    browser.click("Make the key");
    browser.until("document.getElementById('rate')?.getAttribute('aria-invalid') === 'true'");
    browser.until("document.getElementById(document.getElementById('rate').getAttribute('aria-describedby').split(' ').at(-1)).innerText.includes('20/s')");
    browser.fill("rate", "20/s");
    browser.click("Make the key");
    browser.reads("shown this once");
    clean(&browser);
}
