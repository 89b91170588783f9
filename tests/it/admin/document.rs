//! The document of the admin API: whole, and made from the paths themselves.

use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(closegate::admin::openapi()).unwrap()
}

#[test]
fn every_operation_has_an_id_a_summary_and_its_errors() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{at}");
            let answers: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
            for status in ["400", "403", "421", "500", "503"] {
                assert!(answers.iter().any(|known| *known == status), "{at} has no {status}");
            }
            assert!(answers.iter().any(|status| status.starts_with(['2', '3'])), "{at}");
        }
    }
    assert!(ids.len() > 25);
    assert_eq!(document["security"].as_array().unwrap().len(), 2);
    for name in ["CredentialSecret", "Authorization"] {
        let variants = document["components"]["schemas"][name]["oneOf"].as_array().unwrap();
        assert!(variants.len() >= 3 && variants.iter().all(|one| one["additionalProperties"] == false), "{variants:?}");
    }
    let new = &document["components"]["schemas"]["NewKey"];
    assert_eq!(new["additionalProperties"], false, "{new}");
}
