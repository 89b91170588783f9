//! The official Python client works through the gateway, and never sees what it works with.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use closegate::sim::{Accepted, Options, Simulator};
use serde_json::{Value, json};

use crate::world::{INJECTED, KEY, OTHER_KEY, RUNTIME, SECRET, gateway};

/// What it prints; it must end well.
fn python(arguments: &Value) -> Vec<u8> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = project.join("target/py/bin/python");
    assert!(python.exists(), "{} is missing: tests/run makes it", python.display());
    let mut client = Command::new(python);
    client.arg(project.join("tests/client.py")).env_clear();
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
        let answers = python(&json!({ "base": base, "key": KEY, "stranger": OTHER_KEY }));
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
