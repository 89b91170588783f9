//! What watching the charts costs the requests of tools: the workers, which serve those, have no part in it.

use std::fs;

use serde_json::{Value, json};

use super::world::{API_KEY, Site, TOKEN, site};

/// Nanoseconds of CPU that the threads with such names have had so far.
fn cpu(site: &Site, named: &str) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", site.gateway.id())).unwrap().map(|task| task.unwrap().path());
    let own = tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(named)));
    let spent = |stat: String| stat.split(' ').next().and_then(|spent| spent.parse::<u64>().ok()).unwrap();
    own.map(|task| spent(fs::read_to_string(task.join("schedstat")).unwrap())).sum()
}

/// What the screens with live figures ask again and again.
const POLLS: [&str; 5] = [
    "/metrics",
    "/api/v1/usage?since=24h&by=key&points=60",
    "/api/v1/usage?since=90d&by=endpoint&points=60",
    "/api/v1/refusals?limit=200",
    "/api/v1/credentials?show=attention&limit=1",
];

#[test]
fn watching_the_charts_takes_nothing_from_the_workers() {
    let site = site("");
    site.call("POST", "/api/v1/credentials", &json!({"name": "sales", "method": {"api_key": API_KEY}}));
    let new = json!({"name": "reporting", "routes": ["sales"], "scopes": ["read"]});
    let key = site.call("POST", "/api/v1/keys", &new)["text"].as_str().unwrap().to_owned();
    let before = cpu(&site, "worker-");
    (0..50).for_each(|_| assert_eq!(site.tool(&key, "/sales/api/v1/me/").status, 200));
    assert!(cpu(&site, "worker-") > before, "the workers serve tools");

    let (workers, service) = (cpu(&site, "worker-"), cpu(&site, "service"));
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for _ in 0..100 {
        for path in POLLS {
            assert_eq!(site.request("GET", path, &bearer, &Value::Null).0, 200, "{path}");
        }
    }
    let (workers, service) = (cpu(&site, "worker-") - workers, cpu(&site, "service") - service);
    println!("500 polls: {} µs of the service thread, {} µs of the workers", service / 1000, workers / 1000);
    // They look after their connections several times a second, whoever polls.
    assert!(workers * SHARE < service, "{workers} ns of the workers, {service} ns of the service thread");
}

/// The workers have at most one part of so many.
const SHARE: u64 = 25;
