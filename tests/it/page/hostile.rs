//! What a hostile client and a hostile site can do to the page: nothing.

use serde_json::{Value, json};

use super::browser::{Browser, WIDE};
use super::world::{API_KEY, Site, TOKEN, site};

/// What would run, break out or lead away if it were taken for more than a text.
const BAIT: &str =
    "<img src=x onerror=\"document.title='taken'\">'\"></script><script>document.title='taken'</script>${1}{{1}}";

/// A browser ran nothing of what it was shown, and what was shown stands there as a text.
fn unmoved(browser: &Browser, hash: &str, shown: &str) {
    browser.screen(hash);
    browser.reads(shown);
    let state = browser.run(
        "return [document.title.includes('taken'), document.querySelectorAll('#app img:not([src=\"ui/icon.svg\"]), #app script, #app iframe').length]",
        json!([]),
    );
    assert_eq!(state, json!([false, 0]), "{hash}");
}

fn baited() -> (Site, Browser) {
    let site = site("");
    let new = json!({"name": "sales", "description": BAIT, "method": {"api_key": API_KEY}});
    site.call("POST", "/api/v1/credentials", &new);
    let new = json!({"name": "reporting", "description": BAIT, "routes": ["sales"], "scopes": ["read"]});
    let made = site.call("POST", "/api/v1/keys", &new);
    let key = made["text"].as_str().unwrap();
    let path = "/sales/api/v1/export/'onerror=document.title=1/%3Cimg%20src=x%3E/";
    let refused = site.gateway.ask(format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nUser-Agent: {BAIT}\r\nX-Request-Id: bait\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(refused.status, 403);
    let browser = site.browser(WIDE, TOKEN);
    (site, browser)
}

#[test]
fn nothing_that_somebody_else_wrote_runs_on_the_page() {
    let (_site, browser) = baited();
    let shown = "<img src=x onerror=";
    for hash in ["#/credentials", "#/credentials/sales", "#/keys/reporting", "#/activity?view=refusals"] {
        unmoved(&browser, hash, shown);
    }
    unmoved(&browser, "#/activity?view=refusals", "%3Cimg%20src=x%3E");
    let encoded = "%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D'taken'%22%3E";
    unmoved(&browser, &format!("#/keys/{encoded}"), "There is no key of this name");
    unmoved(&browser, &format!("#/activity?view=refusals&key={encoded}"), "Nothing like that was refused");
    unmoved(&browser, &format!("#/explain?method=GET&path={encoded}"), "Refused: 400");
    unmoved(&browser, &format!("#/keys?q={encoded}"), "1 key found");
    let faults = browser.console().into_iter().filter(|fault| !fault.contains("status of 4"));
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0], "the policy had nothing to stop");
}

#[test]
fn the_policy_stops_a_script_that_comes_in_all_the_same() {
    let (_site, browser) = baited();
    let script = "const put = (name, more) => { const one = Object.assign(document.createElement(name), more); document.body.append(one); };
        put('script', { textContent: \"document.title = 'taken'\" });
        put('script', { src: 'data:text/javascript,document.title=%22taken%22' });
        put('img', { src: 'x', onerror: null }); document.body.lastChild.setAttribute('onerror', \"document.title = 'taken'\");
        put('a', { href: \"javascript:document.title = 'taken'\" }); document.body.lastChild.click();
        fetch('http://127.0.0.1:9/', { mode: 'no-cors' }).catch(() => document.body.setAttribute('data-stopped', ''));";
    browser.run(script, json!([]));
    browser.until("document.body.hasAttribute('data-stopped')");
    assert_eq!(browser.run("return document.title.includes('taken')", json!([])), json!(false));
    let stopped = browser.console();
    for what in ["script-src", "connect-src"] {
        assert!(stopped.iter().any(|fault| fault.contains(what)), "{what}: {stopped:?}");
    }
}

#[test]
fn another_site_frames_nothing_and_asks_nothing() {
    let (site, browser) = baited();
    // To the gateway's listener the simulated Close is another origin.
    browser.go(&format!("http://{}/", site.simulator.address()));
    let script = "const [frame, done] = [document.createElement('iframe'), arguments[1]];
        frame.src = arguments[0]; frame.onload = () => document.documentElement.setAttribute('data-framed', String(frame.contentDocument === null || frame.contentDocument.body.innerText));
        document.documentElement.append(frame);
        fetch(arguments[0] + 'api/v1/reload', { method: 'POST', mode: 'no-cors', credentials: 'include' }).catch(() => {});";
    browser.run(script, json!([site.address("/")]));
    browser.until("document.documentElement.hasAttribute('data-framed')");
    let events = site.call("GET", "/api/v1/events?action=config.reload", &Value::Null);
    assert_eq!(events["data"], json!([]), "another site has the configuration reloaded");
    let (_, head, _) = site.request("GET", "/", "", &Value::Null);
    assert!(head.contains("frame-ancestors 'none'") && head.contains("x-frame-options: DENY"), "{head}");
    assert!(browser.console().iter().any(|fault| fault.contains("frame")), "the browser refuses the frame");
}

#[test]
fn signing_in_gives_another_session_and_leads_nowhere_else() {
    let site = site("");
    let open = |cookie: &str| {
        let headers = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
        let (status, head, _) = site.request("POST", "/api/v1/session", &headers, &json!({"token": TOKEN}));
        assert_eq!(status, 200);
        let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        set.split(';').next().unwrap().to_owned()
    };
    let known = open("");
    let name = known.split_once('=').unwrap().0;
    let planted = format!("{name}={}", "A".repeat(43));
    let fresh = open(&planted);
    assert!(fresh != planted && fresh != known && open(&known) != known, "each sign-in draws its own");
    let asks = |cookie: &str| site.request("GET", "/api/v1/keys", &format!("Cookie: {cookie}\r\n"), &Value::Null).0;
    assert_eq!((asks(&planted), asks(&fresh)), (401, 200));

    let browser = Browser::open(WIDE);
    for hash in ["#//evil.example/", "#/https:%2F%2Fevil.example", "#/../../evil", "?next=https://evil.example/#/keys"]
    {
        browser.go("about:blank");
        browser.forget_cookies();
        browser.go(&site.address(&format!("/{hash}")));
        super::world::sign_in(&browser, TOKEN);
        assert!(browser.address().starts_with(&site.address("/")), "{hash} leads to {}", browser.address());
        browser.forget_cookies();
    }
}
