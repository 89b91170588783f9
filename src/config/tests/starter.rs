//! Tests of the start with two variables: one credential, one route, one key.

use super::*;

#[test]
fn two_variables_are_enough() {
    let loaded = load(&bare(&[("CLOSE_API_KEY", "api_planted"), ("CLOSEGATE_KEY", "planted")]).sources).unwrap();
    let Config { credentials, routes, keys, .. } = &loaded.config;
    let credential = &credentials[&CredentialName::parse("default").unwrap()];
    let reference = SecretRef::Env("CLOSE_API_KEY".to_owned());
    assert!(matches!(&credential.kind, CredentialKind::ApiKey { current, next: None } if *current == reference));
    let name = RouteName::parse("default").unwrap();
    assert_eq!((routes.len(), routes[&name].prefix.as_str()), (1, "/"));
    let key = &keys[&KeyName::parse("default").unwrap()];
    assert_eq!(key.secret, KeySecret::Reference(SecretRef::Env("CLOSEGATE_KEY".to_owned())));
    assert_eq!(key.routes, [name]);
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.place("routes.default.prefix").to_string(), "env CLOSE_API_KEY");
    assert!(!format!("{loaded:?}").contains("planted"));
}

#[test]
fn the_two_variables_may_name_files_and_never_both() {
    let folder = tempfile::tempdir().unwrap();
    let absolute = touch(folder.path(), "key");
    let setup = bare(&[("CLOSE_API_KEY_FILE", "secret"), ("CLOSEGATE_KEY_FILE", &absolute)]);
    touch(setup.folder.path(), "secret");
    let config = load(&setup.sources).unwrap().config;
    let credential = &config.credentials[&CredentialName::parse("default").unwrap()].kind;
    let file = SecretRef::File(setup.folder.path().join("secret"));
    assert!(matches!(credential, CredentialKind::ApiKey { current, .. } if *current == file));
    let key = &config.keys[&KeyName::parse("default").unwrap()].secret;
    assert_eq!(*key, KeySecret::Reference(SecretRef::File(absolute.as_str().into())));

    let all = [
        ("CLOSE_API_KEY", ""),
        ("CLOSE_API_KEY_FILE", absolute.as_str()),
        ("CLOSEGATE_KEY", ""),
        ("CLOSEGATE_KEY_FILE", absolute.as_str()),
    ];
    let faults = bad("", &all[..3]);
    assert!(faults.iter().any(|fault| fault.what == "`CLOSE_API_KEY` and `CLOSE_API_KEY_FILE` are both set"));
    assert_eq!(only("", &all[1..]).0, "CLOSEGATE_KEY");
}

#[test]
fn what_the_two_variables_hold_or_name_must_be_there() {
    let say = |variables: &[(&str, &str)]| -> Vec<String> {
        bad("", variables).into_iter().map(|fault| format!("{} {}: {}", fault.key, fault.place, fault.what)).collect()
    };
    assert_eq!(
        say(&[("CLOSE_API_KEY", ""), ("CLOSEGATE_KEY", "")]),
        [
            "credentials.default.api_key.env env CLOSE_API_KEY: the environment variable `CLOSE_API_KEY` is empty",
            "keys.default.secret.env env CLOSEGATE_KEY: the environment variable `CLOSEGATE_KEY` is empty",
        ]
    );
    let missing = "the file `/nowhere/secret` cannot be opened (entity not found)";
    assert_eq!(
        say(&[("CLOSE_API_KEY_FILE", "/nowhere/secret"), ("CLOSEGATE_KEY_FILE", "/nowhere/secret")]),
        [
            format!("credentials.default.api_key.file env CLOSE_API_KEY_FILE: {missing}"),
            format!("keys.default.secret.file env CLOSEGATE_KEY_FILE: {missing}"),
        ]
    );
}

#[test]
fn with_a_credential_configured_the_two_variables_make_nothing() {
    let variables = [("CLOSE_API_KEY", "x"), ("CLOSEGATE_KEY", "y")];
    let loaded = good(SALES, &variables);
    assert_eq!((loaded.config.credentials.len(), loaded.config.keys.len()), (1, 0));
    assert_eq!(loaded.warnings.iter().map(|warning| warning.key.as_str()).collect::<Vec<_>>(), ["CLOSEGATE_KEY"]);
    let key = "[keys.k]\nsecret = { env = \"CLOSEGATE_KEY\" }\nroutes = [\"sales\"]\nexpires = 2027-01-01T00:00:00Z\n";
    assert_eq!(good(&format!("{SALES}{key}"), &variables).warnings, []);
}

#[test]
fn a_started_route_can_be_shaped_by_the_file() {
    let text = "[routes.default]\nprefix = \"/close\"\nanonymous = true\n";
    let config = good(text, &[("CLOSE_API_KEY", "x")]).config;
    let route = &config.routes[&RouteName::parse("default").unwrap()];
    assert!(config.routes.len() == 1 && route.anonymous && route.prefix.as_str() == "/close");
    let named = "[routes.close]\ncredential = \"default\"\n";
    assert_eq!(good(named, &[("CLOSE_API_KEY", "x")]).config.routes.len(), 1);
}
