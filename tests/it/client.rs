//! The official Python client works through the gateway, and never sees what it works with; it and others back off from
//! the gateway's limits as they do from Close's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use closegate::sim::{Accepted, Options, RateLimit, Simulator};
use serde_json::{Value, json};

use crate::world::{INJECTED, KEY, OTHER_KEY, RUNTIME, SECRET, Setup, World, gateway};

/// What a script of the tests prints; it must end well.
pub(crate) fn python(script: &str, arguments: &Value) -> Vec<u8> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = project.join("target/py/bin/python");
    assert!(python.exists(), "{} is missing: tests/run makes it", python.display());
    let mut client = Command::new(python);
    client.arg(project.join("tests").join(script)).env_clear();
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(arguments.to_string().as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_official_client_works_on_leads_with_a_gateway_key() {
    let options = Options::new().strict().accept(Accepted::api_key("sales", SECRET));
    let simulator = RUNTIME.block_on(Simulator::start(options)).unwrap();
    let world = gateway(simulator.address()).key("\"sales\"").spawn();
    for base in [format!("http://{}/sales/api/v1/", world.proxy), format!("http://{}/api/v1/", world.proxy)] {
        let answers = python("client.py", &json!({ "base": base, "key": KEY, "stranger": OTHER_KEY }));
        // The client saw many answers and the real credential in none.
        let parsed: Vec<Value> = serde_json::from_slice(&answers).unwrap();
        assert!(parsed.len() > 15, "{parsed:#?}");
        let text = String::from_utf8(answers).unwrap();
        for secret in [SECRET, "PLANTED", INJECTED.trim_start_matches("Basic ")] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    // Close saw the real credential and nothing else: no gateway key, no header that a correct gateway keeps.
    assert_eq!(simulator.authorizations(), [INJECTED]);
    assert_eq!(simulator.violations(), [""; 0]);
    let seen = simulator.seen();
    assert!(seen.len() > 30);
    for request in &seen {
        assert_eq!(request.header("authorization"), Some(INJECTED));
        assert!(request.header("user-agent").unwrap().starts_with("Close/"));
        assert!(request.header("x-tz-offset").is_some());
        let headers = request.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value]);
        for bytes in headers.chain([request.target.as_bytes(), &request.body]) {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains("cgk_") && !text.contains("plantedkey"), "{request:?}");
        }
    }
    RUNTIME.block_on(simulator.stop());
}

/// The clients from PyPI, by what `patience.py` calls them, and a key for each, so that none waits for another.
fn keyed(mut setup: Setup, limits: &str) -> (Setup, serde_json::Map<String, Value>) {
    let mut keys = serde_json::Map::new();
    for (table, name) in ["keys.official", "keys.close-dot", "keys.tap"].into_iter().zip(CLIENTS) {
        let key = format!("cgk_0123abcd_backing0off0{name:0<20}");
        let lines = format!("secret = {{ file = \"{name}.key\" }}\nroutes = [\"sales\"]\n{limits}");
        setup = setup.file(&format!("{name}.key"), &key).set(table, &lines);
        keys.insert(name.to_owned(), key.into());
    }
    (setup, keys)
}

const CLIENTS: [&str; 3] = ["official", "close_dot", "tap"];

/// How long each client waited, in seconds, while it made three calls.
fn waited(world: &World, keys: &serde_json::Map<String, Value>) -> [Vec<f64>; 3] {
    let base = format!("http://{}/sales/api/v1/", world.proxy);
    let waits: Value = serde_json::from_slice(&python("patience.py", &json!({ "base": base, "keys": keys }))).unwrap();
    CLIENTS.map(|client| waits[client].as_array().unwrap().iter().map(|wait| wait.as_f64().unwrap()).collect())
}

#[test]
fn clients_back_off_from_the_limits_of_a_key_as_from_those_of_close() {
    let simulator = Simulator::start(Options::new().accept(Accepted::api_key("sales", SECRET)));
    let simulator = RUNTIME.block_on(simulator).unwrap();
    let (setup, keys) = keyed(gateway(simulator.address()), "rate = \"1/s\"\nburst = 1");
    let world = setup.start();
    for waited in waited(&world, &keys) {
        // A second for each call but the first, as the gateway said; on a slow machine it may be over already.
        assert!((1..=2).contains(&waited.len()) && waited.iter().all(|wait| *wait == 1.0), "{waited:?}");
    }
    let refused = world.metric("closegate_refused_requests_total{route=\"sales\",code=\"key_rate_limited\"}");
    assert!((3.0..=6.0).contains(&refused), "{refused}");
    RUNTIME.block_on(simulator.stop());
}

#[test]
fn clients_back_off_when_the_gateway_knows_that_the_limit_of_close_is_reached() {
    let limited = Options::new().accept(Accepted::api_key("sales", SECRET));
    let simulator = Simulator::start(limited.rate_limit(RateLimit::new(1, Duration::from_secs(2))));
    let simulator = RUNTIME.block_on(simulator).unwrap();
    let (setup, keys) = keyed(gateway(simulator.address()).set("pace", "max_wait = \"1ms\""), "");
    let world = setup.start();
    for waited in waited(&world, &keys) {
        // Until the window of two seconds is over, as the gateway said.
        assert!(!waited.is_empty() && waited.iter().all(|wait| (1.0..=2.0).contains(wait)), "{waited:?}");
    }
    let refused = world.metric("closegate_refused_requests_total{route=\"sales\",code=\"upstream_rate_limited\"}");
    assert!(refused >= 3.0, "{refused}");
    // Close had no request to refuse.
    assert_eq!(simulator.seen().len(), 9);
    RUNTIME.block_on(simulator.stop());
}
