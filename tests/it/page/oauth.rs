//! An OAuth app on the page: added, declined, authorized on Close's own page of consent, and by a pasted address.

use closegate::sim::OAuthApp;
use serde_json::json;

use super::browser::{Browser, WIDE};
use super::world::{Site, TOKEN, site};
use crate::authorizing::decide;

/// A gateway, and an app whose redirect URL is its callback.
fn scene() -> (Site, OAuthApp) {
    let site = site("");
    let app = OAuthApp::new("Bluth Company", &site.address("/oauth/callback")).unwrap();
    site.simulator.register(app.clone());
    (site, app)
}

/// Adds the app as `partner`, by hand.
fn add(browser: &Browser, site: &Site, app: &OAuthApp) {
    let close = |path: &str| format!("http://{}/oauth2/{path}/", site.simulator.address());
    browser.screen("#/add-credential");
    browser.fill("name", "partner");
    browser.click("OAuth 2.0");
    browser.fill("client-id", app.client_id());
    browser.fill("client-secret", "planted-wrong-secret");
    browser.click("Other addresses than Close’s");
    browser.fill("redirect", &site.address("/oauth/callback"));
    browser.fill("authorization", &close("authorize"));
    browser.fill("token", &close("token"));
    browser.fill("revocation", &close("revoke"));
    browser.click("Save and authorize");
    browser.until("document.getElementById('client-secret-fault')?.innerText.includes('invalid_client')");
    browser.fill("client-secret", app.client_secret());
    browser.click("Save and authorize");
    browser.until("document.querySelector('.title .badge')?.innerText === 'Needs authorization'");
}

#[test]
fn an_app_is_declined_then_authorized_and_the_page_sees_it() {
    let (site, app) = scene();
    let browser = site.browser(WIDE, TOKEN);
    add(&browser, &site, &app);
    assert_eq!(browser.violations(), [""; 0]);
    for (decision, told) in [("Decline", "access_denied"), ("Allow", "The credential partner is authorized.")] {
        browser.click("Open Close to authorize\n(opens in a new tab)");
        browser.enter_new_tab();
        browser.reads("asks for full access");
        browser.click(decision);
        browser.reads(told);
        assert_eq!(browser.violations(), [""; 0]);
        browser.leave_tab();
        if decision == "Decline" {
            browser.reads("declined the authorization of");
            browser.click("Make a new link");
            browser.until("!document.querySelector('.spinner')");
        }
    }
    browser.until("document.querySelector('.title .badge')?.innerText === 'Ready'");
    browser.reads("Bluth Company");
    browser.reads("and is renewed before");
    let status = site.gateway.ask("GET /partner/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status;
    assert_eq!(status, 200);
    assert!(!browser.source().contains(app.client_secret()));

    // Once more, though it works: by the address that a browser ended on.
    browser.click("Authorize again");
    let link = browser.until("document.querySelector('a[target=\"_blank\"][href*=\"oauth2/authorize\"]')?.href");
    let back = decide(link.as_str().unwrap(), "allow");
    browser.fill("pasted", "https://localhost/nothing");
    browser.click("Finish");
    browser.until("document.getElementById('pasted')?.getAttribute('aria-invalid') === 'true'");
    browser.fill("pasted", &back);
    browser.click("Finish");
    browser.reads("partner is authorized.");
    assert_eq!(site.simulator.grants().len(), 2);

    browser.click("Remove credential");
    browser.fill("confirm-word", "partner");
    browser.click("Remove for good");
    browser.until("location.hash === '#/credentials'");
    assert!(site.simulator.grants()[1].over, "it is revoked at Close");
    assert_eq!(site.simulator.violations(), [""; 0]);
}

#[test]
fn a_grant_that_close_ended_says_so_and_is_authorized_again() {
    let (site, app) = scene();
    let close = |path: &str| format!("http://{}/oauth2/{path}/", site.simulator.address());
    let oauth = json!({
        "client_id": app.client_id(), "client_secret": app.client_secret(),
        "redirect_uri": site.address("/oauth/callback"), "authorization_url": close("authorize"),
        "token_url": close("token"), "revocation_url": close("revoke"),
    });
    site.call("POST", "/api/v1/credentials", &json!({ "name": "partner", "method": { "oauth2": oauth } }));
    let had = site.simulator.grant(&app).unwrap().refresh_token;
    site.call("POST", "/api/v1/credentials/partner/authorize", &json!({ "refresh_token": had }));
    site.simulator.revoke_grants();
    // Whoever rotates the secret has the grant renewed with it, and hears of its end.
    site.call("POST", "/api/v1/credentials/partner/rotate", &json!({ "secret": app.client_secret() }));
    let browser = site.browser(WIDE, TOKEN);
    browser.click("partner");
    browser.until("document.querySelector('.title .badge')?.innerText === 'Authorization ended'");
    browser.reads("invalid_grant");
    browser.click("Start authorization");
    browser.click("Open Close to authorize\n(opens in a new tab)");
    browser.enter_new_tab();
    browser.click("Allow");
    browser.reads("The credential partner is authorized.");
    browser.leave_tab();
    browser.until("document.querySelector('.title .badge')?.innerText === 'Ready'");
}

#[test]
fn a_grant_of_another_tool_is_taken_over_by_its_refresh_token() {
    let (site, app) = scene();
    let browser = site.browser(WIDE, TOKEN);
    add(&browser, &site, &app);
    let had = site.simulator.grant(&app).unwrap().refresh_token;
    browser.click("I have a refresh token already");
    browser.click("Take it over");
    browser.reads("Paste the refresh token.");
    browser.fill("refresh-token", "planted-token-of-nobody");
    browser.click("Take it over");
    browser.until("document.getElementById('refresh-token-fault')?.innerText.includes('invalid_grant')");
    assert_eq!(browser.violations(), [""; 0]);
    browser.fill("refresh-token", &had);
    browser.click("Take it over");
    browser.until("document.querySelector('.title .badge')?.innerText === 'Ready'");
    assert!(!browser.source().contains(&had));
    let status = site.gateway.ask("GET /partner/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status;
    assert_eq!(status, 200);
    assert_eq!(site.simulator.violations(), [""; 0]);
}
