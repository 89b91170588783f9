//! The official Python client works through the gateway, and never sees what it works with; it and others back off from
//! the gateway's limits as they do from Close's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use closegate::sim::{Accepted, Options, Simulator};
use serde_json::{Value, json};

use crate::world::{INJECTED, KEY, OTHER_KEY, RUNTIME, SECRET, gateway};

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

#[test]
fn clients_back_off_from_the_limits_of_a_key_as_from_those_of_close() {
    let simulator = Simulator::start(Options::new().accept(Accepted::api_key("sales", SECRET)));
    let simulator = RUNTIME.block_on(simulator).unwrap();
    // A key each, so that none waits for another.
    let keys = ["official", "close_dot", "tap"].map(|name| (name, format!("cgk_0123abcd_backing0off0{name:0<20}")));
    let mut setup = gateway(simulator.address());
    for (table, (name, key)) in ["keys.official", "keys.close-dot", "keys.tap"].into_iter().zip(&keys) {
        let lines = format!("secret = {{ file = \"{name}.key\" }}\nroutes = [\"sales\"]\nrate = \"1/s\"\nburst = 1");
        setup = setup.file(&format!("{name}.key"), key).set(table, &lines);
    }
    let world = setup.start();
    let base = format!("http://{}/sales/api/v1/", world.proxy);
    let keys: serde_json::Map<String, Value> =
        keys.map(|(name, key)| (name.to_owned(), key.into())).into_iter().collect();
    let waits: Value = serde_json::from_slice(&python("patience.py", &json!({ "base": base, "keys": keys }))).unwrap();
    for client in ["official", "close_dot", "tap"] {
        let waited: Vec<f64> = waits[client].as_array().unwrap().iter().map(|wait| wait.as_f64().unwrap()).collect();
        // A second for each call but the first, as the gateway said; on a slow machine it may be over already.
        assert!((1..=2).contains(&waited.len()) && waited.iter().all(|wait| *wait == 1.0), "{client}: {waits}");
    }
    let refused = world.metric("closegate_refused_requests_total{route=\"sales\",code=\"key_rate_limited\"}");
    assert!((3.0..=6.0).contains(&refused), "{refused}");
    RUNTIME.block_on(simulator.stop());
}
