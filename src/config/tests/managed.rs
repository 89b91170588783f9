//! Tests of what is added at run time: checked like the file, never in its way, and never a reason to stop.

use serde_json::{Value, json};

use super::*;

fn entries(settings: Value) -> serde_json::Map<String, Value> {
    let Value::Object(entries) = settings else { panic!("{settings}") };
    entries
}

fn stored(name: &str) -> Addition {
    let reference = SecretRef::Stored { credential: CredentialName::parse(name).unwrap(), version: 1 };
    Addition::new(Kind::Credential, name, serde_json::Map::new()).with_secret("api_key", reference)
}

fn route(name: &str, settings: Value) -> Addition {
    Addition::new(Kind::Route, name, entries(settings))
}

fn key(name: &str, routes: &[&str]) -> Addition {
    let digest = format!("sha256:{}", "0".repeat(64));
    Addition::new(
        Kind::Key,
        name,
        entries(json!({ "hash": digest, "routes": routes, "expires": "2027-01-01T00:00:00Z" })),
    )
}

fn managed(additions: impl IntoIterator<Item = Addition>) -> Managed {
    let mut managed = Managed::default();
    additions.into_iter().for_each(|addition| managed.push(addition));
    managed
}

fn base(text: &str) -> Base {
    Base::read(&setup(text, &[]).sources).unwrap()
}

fn of_store(warnings: &[Finding]) -> Vec<(&str, &str)> {
    let managed = warnings.iter().filter(|warning| warning.place == Place::Managed);
    managed.map(|warning| (warning.key.as_str(), &*warning.what)).collect()
}

#[test]
fn additions_stand_beside_the_file_and_say_where_they_come_from() {
    let added = managed([stored("partner"), route("partner", json!({})), key("tool", &["partner", "sales"])]);
    let loaded = base(SALES).with(&added).unwrap();
    let names = |config: &Config| config.routes.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&loaded.config), ["partner", "sales"]);
    assert_eq!(loaded.config.keys.len(), 1);
    let places = ["credentials.partner", "routes.partner", "keys.tool", "credentials.sales"];
    assert_eq!(places.map(|key| loaded.place(key).to_string()), ["managed", "managed", "managed", "closegate.toml:1"]);
    assert!(of_store(&loaded.warnings).is_empty(), "{:?}", loaded.warnings);
    let CredentialKind::ApiKey { current, .. } = &loaded.config.credentials.values().next().unwrap().kind else {
        panic!()
    };
    assert!(matches!(current, SecretRef::Stored { version: 1, .. }));
}

#[test]
fn what_was_added_has_the_routes_that_were_added_for_it_and_takes_none_from_the_file() {
    let loaded =
        base(SALES).with(&managed([stored("partner"), route("other", json!({ "credential": "sales" }))])).unwrap();
    let routes: Vec<_> = loaded.config.routes.keys().map(ToString::to_string).collect();
    assert_eq!(routes, ["other", "sales"], "partner has none, and sales keeps its default");
}

#[test]
fn the_file_wins_and_what_it_hides_is_named() {
    let added = managed([stored("sales"), route("sales", json!({})), stored("partner"), route("partner", json!({}))]);
    let loaded = base(SALES).with(&added).unwrap();
    let hidden = "stays out of use: the configuration declares the same name";
    assert_eq!(of_store(&loaded.warnings), [("credentials.sales", hidden), ("routes.sales", hidden)]);
    assert_eq!(loaded.place("credentials.sales").to_string(), "closegate.toml:1");
}

#[test]
fn what_cannot_be_used_is_left_out_with_all_that_needs_it() {
    let added = managed([
        stored("a"),
        route("taken", json!({ "prefix": "/sales", "credential": "sales" })),
        route("lost", json!({ "credential": "nobody" })),
        route("clear", json!({ "credential": "a", "upstream": "http://192.0.2.1" })),
        route("a", json!({ "unheard": true })),
        route("good", json!({ "credential": "a" })),
        key("poor", &["lost"]),
        key("rich", &["lost", "good"]),
        Addition::new(Kind::Credential, "x", entries(json!({ "api_key": "api_planted" }))),
        route("planted0planted0planted0planted0", json!({ "credential": "nobody" })),
    ]);
    let loaded = base(SALES).with(&added).unwrap();
    let names = |config: &Config| config.routes.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&loaded.config), ["good", "sales"]);
    let [(name, key)] = loaded.config.keys.iter().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((name.as_str(), key.routes.len()), ("rich", 1), "it goes on with the route that it has");
    let left: Vec<_> =
        of_store(&loaded.warnings).into_iter().map(|(key, _)| key).filter(|key| key.len() < 20).collect();
    for expected in ["routes.taken", "routes.lost", "routes.clear", "routes.a", "keys.poor", "credentials.x"] {
        assert!(left.contains(&expected), "{expected} in {left:?}");
    }
    assert!(!format!("{:?}", loaded.warnings).contains("planted"));
}

#[test]
fn only_the_sources_are_ever_at_fault() {
    let faulty = Base::read(&setup("[credentials.sales]\n", &[]).sources).unwrap();
    let faults = faulty.with(&managed([stored("partner"), route("partner", json!({}))])).unwrap_err();
    assert_eq!(faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(), ["credentials.sales"]);
    // Cleartext that the file allows for its own route alone, and an open route that a key closes.
    let text = "[listen]\naddress = \"0.0.0.0:0\"\n[upstream]\nurl = \"http://127.0.0.1:1\"\n\
                [routes.sales]\ndanger_cleartext_upstream = true\nanonymous = true\n";
    let loaded = base(&[text, SALES].concat()).with(&managed([
        stored("partner"),
        route("partner", json!({})),
        key("tool", &["sales"]),
    ]));
    let loaded = loaded.unwrap();
    assert_eq!(loaded.config.routes.len(), 1);
    assert_eq!(loaded.config.keys.len(), 1);
}

#[test]
fn objections_are_those_of_the_addition() {
    let base = base(SALES);
    let added = managed([stored("a"), route("a", json!({}))]);
    let fields = |addition: Addition| {
        let found = base.objections(&added, addition);
        found.into_iter().map(|finding| finding.key).collect::<Vec<_>>()
    };
    assert_eq!(fields(route("b", json!({ "credential": "a" }))), [""; 0]);
    assert_eq!(fields(route("b", json!({ "prefix": "/a", "credential": "a" }))), ["routes.b.prefix"]);
    assert_eq!(fields(route("a", json!({ "prefix": "/z", "credential": "a" }))), [""; 0], "in place of itself");
    assert_eq!(fields(key("k", &["nowhere"])), ["keys.k.routes[0]"]);
    assert_eq!(fields(key("k", &["a"])), [""; 0]);
}

#[test]
fn what_would_put_something_else_out_of_use_is_refused() {
    let base = base(SALES);
    let added = managed([
        stored("zeta"),
        route("sales2", json!({ "prefix": "/s", "credential": "sales" })),
        route("beta", json!({ "prefix": "/b", "credential": "sales" })),
        route("zeta2", json!({ "prefix": "/aaa", "credential": "sales" })),
    ]);
    let found = |addition: Addition| {
        let found = base.objections(&added, addition);
        found.into_iter().map(|finding| (finding.key, finding.what.into_owned())).collect::<Vec<_>>()
    };
    // Names that sort before those that they would hide.
    let [(key, what)] = found(route("aaa", json!({ "prefix": "/s", "credential": "sales" }))).try_into().unwrap();
    assert_eq!(key, "routes.aaa.prefix");
    assert!(what.contains("`routes.sales2`") && what.contains("the same prefix"), "{what}");
    let changed = found(route("beta", json!({ "prefix": "/s", "credential": "sales" })));
    assert_eq!(changed.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["routes.beta.prefix"]);
    // The route that a new credential has by default.
    let default = found(route("aaa", json!({ "credential": "zeta" })));
    assert_eq!(default.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["routes.aaa.prefix"]);
    assert_eq!(found(route("beta", json!({ "prefix": "/c", "credential": "sales" }))), []);
    assert_eq!(found(route("aaa", json!({ "prefix": "/a", "credential": "sales" }))), []);
}

#[test]
fn no_file_can_say_what_only_the_store_does() {
    let text =
        |extra: &str| format!("{SALES}[keys.k]\nroutes = [\"sales\"]\nhash = \"sha256:{}\"\n{extra}", "0".repeat(64));
    let former = format!("former = {{ hash = \"sha256:{}\", until = 2027-01-01T00:00:00Z }}", "1".repeat(64));
    assert_eq!(only(&text(&former), &[]).0, "keys.k.former");
    assert_eq!(only(&text("created = 2027-01-01T00:00:00Z"), &[]).0, "keys.k.created");
    let faults = bad("[credentials.a]\napi_key = { stored = 1 }\n", &[]);
    assert!(faults.iter().any(|fault| fault.key == "credentials.a.api_key"), "{faults:?}");
}
