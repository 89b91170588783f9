//! Tests of `closegate check`.

use super::*;
use crate::config::{Environment, Sources, load};

fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("closegate.toml"), text).unwrap();
    let secrets = ["A", "K", "SALES"].map(|name| (name, "planted-secret"));
    let environment: Environment = secrets.iter().chain(variables).copied().collect();
    load(&Sources { file: None, environment, folder: folder.path().to_owned() }).unwrap()
}

fn reported(loaded: &Loaded) -> Report {
    report(loaded, &Rehearsal::of(&loaded.config).unwrap())
}

const FILE: &str = r#"
[listen]
max_body = "1MiB"

[credentials.sales]
api_key = { current = { env = "SALES" }, next = { file = "/dev/null" } }

[credentials.partner]
bearer = { command = ["op", "read", "op://vault/planted-argument"] }

[keys.reporting]
secret = { file = "/dev/null" }
routes = ["sales"]
expires = 2027-06-30T00:00:00Z
"#;

#[test]
fn a_report_names_routes_keys_settings_and_their_sources() {
    let loaded = loaded(FILE, &[("CLOSEGATE__LISTEN__WORKERS", "2")]);
    let text = reported(&loaded).to_string();
    for line in [
        "sales    /sales -> sales -> https://api.close.com      no rules  needs a key  closegate.toml:5",
        "sales    api_key  env SALES, file /dev/null  closegate.toml:5",
        "reporting  sales  may *  no rules  no limits  expires 2027-06-30T00:00:00Z  file /dev/null  closegate.toml:11",
        "warning: routes.partner: no key may use this route\n  --> closegate.toml:8",
    ] {
        assert!(text.contains(line), "{line}\nin\n{text}");
    }
    let columns = |key: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(columns("listen.max_body"), ["listen.max_body", "1MiB", "closegate.toml:3"]);
    assert_eq!(columns("listen.workers"), ["listen.workers", "2", "env", "CLOSEGATE__LISTEN__WORKERS"]);
    assert_eq!(columns("upstream.url"), ["upstream.url", "https://api.close.com", "default"]);
    assert!(!text.contains("planted"), "{text}");
}

#[test]
fn a_key_is_shown_with_what_it_may_do_and_how_much() {
    let scoped = "scopes = [\"read\", \"send\"]\nrate = \"20/s\"\nburst = 40\nconcurrency = 8\ndaily_quota = 50000\nmode = \"observe\"";
    let loaded = loaded(&format!("{FILE}{scoped}"), &[]);
    let (text, json) = (reported(&loaded).to_string(), reported(&loaded).to_json());
    let row = "may read, send  no rules (observed)  20/s (burst 40), 8 at once, 50000 a day  expires";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("warning: keys.reporting.mode: scopes and rules of this key refuse nothing"), "{text}");
    assert_eq!((&json["keys"][0]["scopes"][1], &json["keys"][0]["observed"]), (&"send".into(), &true.into()));
}

#[test]
fn a_key_without_limits_is_warned_about() {
    let start = "[credentials.a]\napi_key = { env = \"A\" }\n[keys.k]\nroutes = [\"a\"]\nsecret = { env = \"K\" }\n";
    let warned = |lines: &str| {
        let loaded = loaded(&format!("{start}{lines}"), &[]);
        reported(&loaded).warnings.iter().any(|warning| warning.what.contains("without limits"))
    };
    for lines in ["", "scopes = [\"*\"]", "scopes = [\"read\"]\nmode = \"observe\""] {
        assert!(warned(lines), "{lines}");
    }
    for lines in ["scopes = [\"read\"]", "rate = \"20/s\"", "daily_quota = 5", "deny = [\"* /x\"]"] {
        assert!(!warned(lines), "{lines}");
    }
}

#[test]
fn scripts_read_the_same() {
    let json = reported(&loaded(FILE, &[])).to_json();
    assert_eq!(json["routes"][1]["prefix"], "/sales");
    assert_eq!(json["routes"][1]["source"], "closegate.toml:5");
    assert_eq!(json["keys"][0]["routes"][0], "sales");
    assert_eq!(json["warnings"][0]["key"], "routes.partner");
    assert!(json.get("live").is_none());
    assert!(!json.to_string().contains("planted"));
}

#[test]
fn who_may_use_a_route_depends_on_keys_and_listener() {
    let route = "[credentials.a]\napi_key = { env = \"A\" }\n[routes.a]\n";
    let say = |more: &str, variables: &[(&str, &str)]| {
        reported(&loaded(&format!("{route}{more}"), variables)).routes[0].access
    };
    let wide = [("CLOSEGATE__LISTEN__ADDRESS", "0.0.0.0:8080")];
    assert_eq!(say("", &[]), "open: no key is defined");
    assert_eq!(say("", &wide), "closed: no key is defined");
    assert_eq!(say("anonymous = true", &wide), "closed: no key is defined");
    assert_eq!(say("anonymous = true\ndanger_anonymous = true", &wide), "open");
    let key = "[keys.k]\nroutes = [\"a\"]\nsecret = { env = \"K\" }";
    assert_eq!(say(key, &[]), "needs a key");
    assert_eq!(say(&format!("anonymous = true\n{key}"), &[]), "open");
}

#[test]
fn the_outcomes_of_live_calls_are_appended() {
    let mut report = reported(&loaded(FILE, &[]));
    assert!(report.is_ok());
    report.append_live([
        ("sales".to_owned(), "200, organisation `Acme`".to_owned(), true),
        ("partner".to_owned(), "401".to_owned(), false),
    ]);
    assert!(!report.is_ok());
    let text = report.to_string();
    assert!(text.contains("sales    ok      200, organisation `Acme`"), "{text}");
    assert!(text.contains("partner  failed  401"), "{text}");
    assert_eq!(report.to_json()["live"][1]["ok"], false);
}
