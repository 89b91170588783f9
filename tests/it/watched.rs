//! A real Prometheus reads a running gateway, and every query of the dashboard is answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::origin::Origin;
use crate::raw::Raw;
use crate::spawned::Process;
use crate::world::{INJECTED, World, gateway};

/// What there is nothing to show of in a gateway whose credential is an API key that nobody limits or rejects: the queries
/// are answered, with nothing.
const EMPTY: [&str; 4] = [
    "closegate_pacing_wait_seconds_bucket",
    "closegate_credential_refreshes_total",
    "closegate_credential_token_expiry_timestamp_seconds",
    "closegate_upstream_retries_total",
];

const STUCK: Duration = Duration::from_secs(120);

/// The queries of the dashboard, as Grafana would send them.
fn queries() -> Vec<String> {
    let text = std::fs::read_to_string(project("config/grafana/closegate.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let sent = |target: &Value| {
        let query = target["expr"].as_str().unwrap();
        query.replace("$__rate_interval", "10s").replace("$__range", "1m").replace("$route", ".*")
    };
    targets.map(sent).collect()
}

fn project(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Prometheus, reading the gateway; it ends with the value.
struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    fn start(world: &World) -> Self {
        let folder = TempDir::new().unwrap();
        let text = std::fs::read_to_string(project("config/prometheus.yml")).unwrap();
        let alerts = project("config/prometheus/alerts.yml");
        let text = text
            .replace("scrape_interval: 15s", "scrape_interval: 250ms\n  evaluation_interval: 1s")
            .replace("prometheus/alerts.yml", alerts.to_str().unwrap())
            .replace("closegate:9464", &world.admin.to_string());
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display())).arg("--web.listen-address=127.0.0.1:0");
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        let process = Process::start(command);
        let address = process.stderr.address_after("msg=\"Listening on\" address=");
        process.stderr.wait_for("Server is ready to receive web requests", 1);
        Self { address, _process: process, _folder: folder }
    }

    /// What it answers: the series that there are.
    fn ask(&self, query: &str) -> Vec<Value> {
        let path = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        let mut client = Raw::connect(self.address);
        client.send(format!("GET /api/v1/query?{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let answer = client.answer().json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{query}: {answer}")).clone()
    }
}

/// Requests of all kinds: that end well, that the gateway refuses, that fail, with what Close tells of its limits; and one whose
/// answer has the secret in it.
fn traffic(world: &World) {
    for _ in 0..5 {
        assert_eq!(world.get("/sales/api/v1/lead/", "").status, 200);
        assert_eq!(world.get("/sales/api/v1/broken/", "").status, 503);
        assert_eq!(world.get("/sales/oauth2/token", "").status, 403);
    }
    assert_eq!(world.get("/sales/api/v1/limited/", "").status, 429);
    assert_eq!(world.get("/sales/api/v1/echo/", "").status, 200);
}

#[test]
fn a_prometheus_answers_every_query_of_the_dashboard() {
    let origin = Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            let limit = "ratelimit: limit=60, remaining=59, reset=5";
            let echo = if seen.line().contains("/echo/") { INJECTED } else { "nothing" };
            let status = if seen.line().contains("/broken/") {
                "503 Service Unavailable"
            } else if seen.line().contains("/limited/") {
                "429 Too Many Requests"
            } else {
                "200 OK"
            };
            conversation
                .send(format!("HTTP/1.1 {status}\r\n{limit}\r\nx-echo: {echo}\r\ncontent-length: 2\r\n\r\n{{}}"));
        }
    });
    let setup =
        gateway(origin.address).set("keys.main", "expires = 2199-01-01T00:00:00Z").set("pace", "max_wait = \"0s\"");
    let world = setup.key("\"sales\"").start();
    world.reload().unwrap();
    traffic(&world);
    let prometheus = Prometheus::start(&world);
    let mut missing: BTreeMap<String, Vec<Value>> = queries().into_iter().map(|query| (query, Vec::new())).collect();
    assert!(missing.len() > 25, "{missing:?}");
    let may_be_empty = |query: &str| EMPTY.iter().any(|name| query.contains(name));
    let begun = Instant::now();
    while missing.keys().any(|query| !may_be_empty(query)) {
        traffic(&world);
        missing.retain(|query, _| prometheus.ask(query).is_empty());
        assert!(begun.elapsed() < STUCK, "nothing to show for {missing:#?}");
    }
    let named = |query: &String| EMPTY.iter().find(|name| query.contains(*name));
    assert_eq!(missing.keys().filter_map(named).count(), missing.len(), "{missing:#?}");
    // The rules are loaded: of all that has happened one cries at once.
    let firing = || prometheus.ask("ALERTS{alertstate=\"firing\"}");
    while firing().is_empty() {
        traffic(&world);
        assert!(begun.elapsed() < STUCK, "no alert fires");
    }
    let named = |alert: &Value| alert["metric"]["alertname"].as_str().unwrap().to_owned();
    assert_eq!(firing().iter().map(named).collect::<Vec<_>>(), ["ClosegateSecretCameBack"]);
    assert_eq!(prometheus.ask("up{job=\"closegate\"}").len(), 1);
}
