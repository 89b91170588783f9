//! Tests of the tables with names, of what they call one another, and of the start with two variables.

use std::time::Duration;

use super::*;
use crate::origin::Reach;

#[test]
fn every_kind_of_credential_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let absolute = touch(folder.path(), "b");
    let text = r#"
[credentials.a]
api_key = { current = { env = "A" }, next = { file = "secrets/next" } }
[credentials.b]
basic = { username = "u", password = { file = "ABSOLUTE" } }
[credentials.c]
description = "third"
bearer = { command = ["op", "read"], refresh = "15m" }
"#;
    let setup = setup(&text.replace("ABSOLUTE", &absolute), &[]);
    touch(setup.folder.path(), "secrets/next");
    let config = load(&setup.sources).unwrap().config;
    let kind = |name: &str| &config.credentials[&CredentialName::parse(name).unwrap()].kind;
    let CredentialKind::ApiKey { current, next } = kind("a") else { panic!("{:?}", kind("a")) };
    assert_eq!(*current, SecretRef::Env("A".to_owned()));
    assert_eq!(*next, Some(SecretRef::File(setup.folder.path().join("secrets/next"))));
    let CredentialKind::Basic { username, password } = kind("b") else { panic!("{:?}", kind("b")) };
    assert_eq!((username.as_str(), password), ("u", &SecretRef::File(absolute.into())));
    let CredentialKind::Bearer(SecretRef::Command { argv, refresh }) = kind("c") else { panic!("{:?}", kind("c")) };
    assert_eq!((argv.join(" ").as_str(), *refresh), ("op read", Some(Duration::from_secs(900))));
}

#[test]
fn a_user_whom_the_system_cannot_name_is_no_peer() {
    let text = |uid: u32| format!("{SALES}[keys.k]\nroutes = [\"sales\"]\npeer = {{ uid = {uid} }}\n");
    let (at, _, what) = only(&text(65_534), &[]);
    assert_eq!(at, "keys.k.peer.uid");
    assert!(what.contains("cannot name") && what.contains("namespace"), "{what}");
    assert_eq!(good(&text(65_533), &[]).config.keys[&KeyName::parse("k").unwrap()].peer, Some(65_533));
}

#[test]
fn what_systemd_hands_over_is_found_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for name in ["close-sales", ".hidden"] {
        touch(Path::new(folder), name);
    }
    let directory = [("CREDENTIALS_DIRECTORY", folder)];
    let text = |name: &str| format!("{SALES}[credentials.a]\nbearer = {{ systemd = \"{name}\" }}\n");
    for name in ["close-sales", ".hidden"] {
        let config = good(&text(name), &directory).config;
        let reference = SecretRef::Systemd { name: name.to_owned(), path: Path::new(folder).join(name) };
        let CredentialKind::Bearer(found) = &config.credentials[&CredentialName::parse("a").unwrap()].kind else {
            panic!("{config:?}")
        };
        assert_eq!(*found, reference);
    }
    let key = "[keys.k]\nroutes = [\"sales\"]\nsecret = { systemd = \"close-sales\" }\n";
    let config = good(&format!("{SALES}{key}"), &directory).config;
    let secret = &config.keys[&KeyName::parse("k").unwrap()].secret;
    assert!(matches!(secret, KeySecret::Reference(SecretRef::Systemd { name, .. }) if name == "close-sales"));
    // A file that is not there, and a start outside of a unit.
    let (at, _, what) = only(&text("close-support"), &directory);
    assert_eq!(at, "credentials.a.bearer.systemd");
    assert!(what.contains("`close-support`") && what.contains("`LoadCredential=close-support:PATH`"), "{what}");
    for outside in [&[][..], &[("CREDENTIALS_DIRECTORY", "")]] {
        let (at, _, what) = only(&text("close-sales"), outside);
        assert_eq!(at, "credentials.a.bearer.systemd");
        assert!(what.contains("`CREDENTIALS_DIRECTORY` is not set") && what.contains("`LoadCredential="), "{what}");
    }
}

#[test]
fn a_name_of_systemds_is_no_path_and_no_secret() {
    let long = "a-".repeat(128);
    for name in ["", ".", "..", "...", "a/b", "/a", "../a", "a:b", "a\\n", "é", "api_planted0.planted0", &long] {
        let text = format!("{SALES}[credentials.a]\nbearer = {{ systemd = \"{name}\" }}\n");
        let (at, _, what) = only(&text, &[("CREDENTIALS_DIRECTORY", "/")]);
        assert_eq!(at, "credentials.a.bearer.systemd", "{name}");
        assert!(what.contains("name of a credential of systemd") && !what.contains("planted"), "{name}: {what}");
    }
}

#[test]
fn a_credential_is_exactly_one_kind_with_exactly_one_reference() {
    for (line, key) in [
        ("", "credentials.a"),
        ("api_key = { env = \"A\" }\nbearer = { env = \"A\" }", "credentials.a"),
        ("api_key = {}", "credentials.a.api_key"),
        ("api_key = { env = \"A\", file = \"a\" }", "credentials.a.api_key"),
        ("api_key = { env = \"A\", systemd = \"a\" }", "credentials.a.api_key"),
        ("api_key = { next = { env = \"A\" } }", "credentials.a.api_key.current"),
        ("api_key = { file = \"a\", refresh = \"1m\" }", "credentials.a.api_key.refresh"),
        ("bearer = { command = [] }", "credentials.a.bearer.command"),
        ("bearer = { command = [1] }", "credentials.a.bearer.command[0]"),
        ("basic = { password = { env = \"A\" } }", "credentials.a.basic.username"),
        ("basic = { username = \"u\" }", "credentials.a.basic.password"),
        ("basic = { username = \"u:p\", password = { env = \"A\" } }", "credentials.a.basic.username"),
        ("basic = \"planted\"", "credentials.a.basic"),
    ] {
        let keys: Vec<String> = bad(&format!("[credentials.a]\n{line}\n"), &[]).into_iter().map(|f| f.key).collect();
        assert!(keys.iter().any(|at| at == key), "{line}: {keys:?}");
    }
    assert_eq!(only("[credentials.Big]\napi_key = { env = \"A\" }", &[]).0, "credentials.Big");
}

#[test]
fn a_credential_without_a_route_gets_its_own() {
    let text = format!("{SALES}[credentials.two]\napi_key = {{ env = \"T\" }}\n[routes.t]\ncredential = \"two\"\n");
    let routes = good(&text, &[]).config.routes;
    let seen: Vec<_> =
        routes.iter().map(|(name, r)| format!("{name} {} {}", r.prefix.as_str(), r.credential)).collect();
    assert_eq!(seen, ["sales /sales sales", "t /t two"]);
    assert!(routes.values().all(|route| route.upstream == Origin::close()));
}

#[test]
fn routes_that_do_not_agree_are_refused() {
    let two =
        format!("{SALES}[routes.a]\ncredential = \"sales\"\nprefix = \"/x\"\n[routes.b]\ncredential = \"sales\"\n");
    let (key, place, what) = only(&format!("{two}prefix = \"/x\"\n"), &[]);
    assert_eq!((key.as_str(), place.as_str()), ("routes.b.prefix", "closegate.toml:8"));
    assert!(what.contains("the same prefix as `routes.a` (closegate.toml:5)"), "{what}");

    let taken =
        format!("{SALES}[credentials.two]\napi_key = {{ env = \"T\" }}\n[routes.two]\ncredential = \"sales\"\n");
    let (key, _, what) = only(&taken, &[]);
    assert!(key == "routes.two" && what.contains("default route of credential `two`"), "{key}: {what}");

    let (key, _, what) = only(&format!("{SALES}[routes.r]\ncredential = \"saels\"\n"), &[]);
    assert!(key == "routes.r.credential" && what.contains("did you mean `sales`?"), "{key}: {what}");
    let (key, _, what) = only("[routes.r]\n", &[]);
    assert!(key == "routes.r.credential" && what.contains("no credential is declared"), "{key}: {what}");
}

#[test]
fn a_key_needs_routes_that_exist_and_one_way_to_be_recognised() {
    let secret = "secret = { env = \"K\" }";
    for (lines, key, said) in [
        (format!("{secret}\n"), "keys.k.routes", "opens nothing"),
        (format!("{secret}\nroutes = []\n"), "keys.k.routes", "opens nothing"),
        (format!("{secret}\nroutes = [\"sale\"]\n"), "keys.k.routes[0]", "did you mean `sales`?"),
        ("routes = [\"sales\"]\n".to_owned(), "keys.k", "exactly one of"),
        (format!("{secret}\nhash = \"sha256:{}\"\nroutes = [\"sales\"]\n", "0".repeat(64)), "keys.k", "both"),
        (format!("hash = \"{}\"\nroutes = [\"sales\"]\n", "0".repeat(64)), "keys.k.hash", "64 hexadecimal digits"),
        (format!("{secret}\nroutes = [\"sales\"]\nexpires = 2027-06-30\n"), "keys.k.expires", "offset"),
        (format!("{secret}\nroutes = [\"sales\"]\nallow = [\"nonsense\"]\n"), "keys.k.allow[0]", "METHOD"),
        ("secret = \"planted\"\nroutes = [\"sales\"]\n".to_owned(), "keys.k.secret", "reference"),
    ] {
        let (at, _, what) = only(&format!("{SALES}[keys.k]\n{lines}"), &[]);
        assert!(at == key && what.contains(said), "{lines}: {at}: {what}");
    }
}

#[test]
fn clear_text_goes_to_loopback_only_and_only_when_said() {
    let text = |upstream: &str, route: &str| format!("{SALES}[routes.sales]\n{route}\n[upstream]\n{upstream}\n");
    let local = "url = \"http://127.0.0.1:9\"";
    let said = "danger_cleartext_upstream = true";
    assert_eq!(only(&text(local, ""), &[]).0, "upstream.url");
    good(&text(&format!("{local}\n{said}"), ""), &[]);
    good(&text(local, said), &[]);
    let far = format!("url = \"http://close.example\"\n{said}");
    assert!(only(&text(&far, ""), &[]).2.contains("beyond loopback"));
    let led_away = format!("{local}\n{said}\naddress = \"10.0.0.1:80\"");
    assert!(only(&text(&led_away, ""), &[]).2.contains("beyond loopback"));
    let proxied = |proxy: &str| text(&format!("{local}\n{said}\nproxy = \"http://{proxy}:3128\""), "");
    assert!(only(&proxied("proxy.corp"), &[]).2.contains("beyond loopback"));
    good(&proxied("localhost"), &[]);
    assert_eq!(only(&text("", "upstream = \"http://localhost:9\""), &[]).0, "routes.sales.upstream");
    good(&text("", &format!("upstream = \"http://localhost:9\"\n{said}")), &[]);
    let same_url = "upstream = \"http://127.0.0.1:9\"";
    assert_eq!(only(&text(&led_away, same_url), &[]).0, "routes.sales.upstream", "the address is that of the URL");
}

#[test]
fn how_far_a_name_may_lead_is_said_for_all_routes_or_for_one() {
    let said = "danger_private_upstream = true";
    let denied = "danger_private_upstream = false";
    let own = "upstream = \"https://close.example\"";
    for (upstream, route, reach) in [
        ("", String::new(), Reach::Public),
        ("", own.to_owned(), Reach::Public),
        (said, String::new(), Reach::Anywhere),
        (said, own.to_owned(), Reach::Anywhere),
        (said, denied.to_owned(), Reach::Public),
        ("", said.to_owned(), Reach::Anywhere),
        ("", format!("{own}\n{said}"), Reach::Anywhere),
        (denied, format!("{own}\n{said}"), Reach::Anywhere),
    ] {
        let text =
            format!("{SALES}[routes.sales]\n{route}\n[routes.other]\ncredential = \"sales\"\n[upstream]\n{upstream}\n");
        let config = good(&text, &[]).config;
        let of = |name: &str| config.routes[&RouteName::parse(name).unwrap()].upstream.reach();
        assert_eq!(of("sales"), reach, "{text}");
        assert_eq!(of("other"), config.upstream.url.reach(), "{text}");
    }
    // The route that a credential has by default.
    let config = good(&format!("{SALES}[upstream]\n{said}\n"), &[]).config;
    assert!(config.routes.values().all(|route| route.upstream.reach() == Reach::Anywhere));
}

#[test]
fn an_open_route_beyond_loopback_takes_a_word_of_its_own() {
    let key = "[keys.k]\nsecret = { env = \"K\" }\nroutes = [\"sales\"]\n[routes.sales]\nanonymous = true\n";
    let text = format!("{SALES}{key}");
    good(&text, &[]);
    let wide = [("CLOSEGATE__LISTEN__ADDRESS", "0.0.0.0:8080")];
    let warned = |text: &str, variables: &[(&str, &str)]| {
        let found = good(text, variables).warnings.into_iter().find(|warning| warning.key == "routes.sales.anonymous");
        found.map(|warning| (warning.place.to_string(), warning.what.into_owned()))
    };
    assert_eq!(warned(&text, &[]), None);
    let (place, what) = warned(&text, &wide).unwrap();
    assert!(place == "closegate.toml:7" && what.contains("`listen`"), "{place}: {what}");
    // Beside a listener on loopback, where the route is open, and without a key of the file.
    for text in [
        format!("{text}[listeners.wide]\naddress = \"0.0.0.0:8089\"\n"),
        format!("{SALES}[routes.sales]\nanonymous = true\n[listeners.wide]\naddress = \"0.0.0.0:8089\"\n"),
    ] {
        assert!(warned(&text, &[]).unwrap().1.contains("`listeners.wide`"));
    }
    assert_eq!(warned(&format!("{text}danger_anonymous = true\n"), &wide), None);
    good(&format!("{text}danger_anonymous = true\n"), &wide);
}

#[test]
fn secrets_that_are_not_there_are_named_and_commands_are_not_run() {
    let text = r#"
[credentials.a]
api_key = { current = { env = "EMPTY" }, next = { file = "next" } }
[credentials.b]
basic = { username = "u", password = { file = "." } }
[credentials.c]
bearer = { command = ["/nowhere/program"] }
[credentials.d]
bearer = { file = "planted0planted1planted2planted3" }
[keys.k]
secret = { env = "UNSET" }
routes = ["a"]
[routes.a]
anonymous = true
[upstream]
ca = "roots.pem"
"#;
    let setup = setup(text, &[("EMPTY", ""), ("CLOSEGATE__LISTEN__ADDRESS", "0.0.0.0:8080")]);
    let folder = setup.folder.path().to_str().unwrap();
    let faults = load(&setup.sources).expect_err("faults").to_string().replace(folder, "");
    let seen: Vec<_> = faults.lines().filter(|line| !line.starts_with("  hint") && !line.is_empty()).collect();
    assert_eq!(
        seen,
        [
            "error: credentials.a.api_key.current.env: the environment variable `EMPTY` is empty",
            "  --> closegate.toml:3",
            "error: credentials.a.api_key.next.file: the file `/next` cannot be opened (entity not found)",
            "  --> closegate.toml:3",
            "error: credentials.b.basic.password.file: the file `/.` cannot be opened (is a directory)",
            "  --> closegate.toml:5",
            "error: credentials.d.bearer.file: the file cannot be opened (entity not found)",
            "  --> closegate.toml:9",
            "error: keys.k.secret.env: the environment variable `UNSET` is not set",
            "  --> closegate.toml:11",
            "error: upstream.ca: the file `/roots.pem` cannot be opened (entity not found)",
            "  --> closegate.toml:16",
        ]
    );
}

#[test]
fn keys_have_scopes_and_limits() {
    let key = |lines: &str| format!("{SALES}[keys.k]\nroutes = [\"sales\"]\nsecret = {{ env = \"K\" }}\n{lines}");
    let typed = |lines: &str| {
        let config = good(&key(lines), &[]).config;
        config.keys.into_values().next().unwrap()
    };
    let plain = typed("");
    assert_eq!((plain.scopes, plain.mode, plain.limits.is_empty()), (None, Mode::Enforce, true));
    let full = typed(
        "scopes = [\"send\", \"read\"]\nmode = \"observe\"\nrate = \"20/m\"\nburst = 40\nconcurrency = 8\ndaily_quota = 50000",
    );
    assert_eq!(full.scopes.unwrap().names(), ["read", "send"]);
    let rate = full.limits.rate.unwrap();
    assert_eq!((rate.to_string().as_str(), rate.burst.get(), full.mode), ("20/m", 40, Mode::Observe));
    assert_eq!((full.limits.concurrency, full.limits.daily_quota), (Some(8), Some(50_000)));
    assert_eq!(typed("rate = \"20/m\"").limits.rate.unwrap().burst.get(), 20);
    assert_eq!(typed("scopes = [\"*\"]").scopes, Some(Scopes::ALL));
    assert_eq!(typed("scopes = []").scopes, Some(Scopes::NONE));
    for (lines, at) in [
        ("scopes = [\"raed\"]", "keys.k.scopes[0]"),
        ("scopes = \"read\"", "keys.k.scopes"),
        ("mode = \"off\"", "keys.k.mode"),
        ("rate = \"20\"", "keys.k.rate"),
        ("rate = 20", "keys.k.rate"),
        ("burst = 4", "keys.k.burst"),
        ("rate = \"1/s\"\nburst = 0", "keys.k.burst"),
        ("concurrency = 0", "keys.k.concurrency"),
        ("daily_quota = \"5\"", "keys.k.daily_quota"),
    ] {
        assert_eq!(only(&key(lines), &[]).0, at);
    }
}

#[test]
fn what_is_faulty_hides_no_other_fault_and_makes_none() {
    let keys = |text: &str| {
        let faults = bad(&format!("{SALES}{text}"), &HELD);
        faults.into_iter().map(|fault| (fault.key, fault.what.to_string())).collect::<Vec<_>>()
    };
    let only = |text: &str, expected: &[&str]| {
        let found = keys(text);
        let mut names: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, expected, "{found:#?}");
        assert!(found.iter().all(|(_, what)| !what.contains("unknown setting")), "{found:#?}");
    };
    let route = "upstream = \"https://a.example\"\nallow = [\"GET /x\"]\ndeny = [\"GET\"]\nanonymous = true\n";
    only(&format!("[routes.sales]\nprefix = \"nope\"\n{route}"), &["routes.sales.deny[0]", "routes.sales.prefix"]);
    only(&format!("[routes.sales]\ncredential = 5\n{route}"), &["routes.sales.credential", "routes.sales.deny[0]"]);
    only("[listen]\naddress = \"here\"\nmode = \"0660\"\ngroup = \"tools\"\n", &["listen.address"]);
    only("[listen]\naddress = \"here\"\nmode = \"rw\"\n", &["listen.address", "listen.mode"]);
    only(
        "[credentials.other]\nbearer = { command = \"x\", refresh = \"15m\" }\n",
        &["credentials.other.bearer.command"],
    );
}

#[test]
fn localhost_is_a_place_to_listen_at() {
    let listens = |text: &str| good(&format!("{SALES}[listen]\naddress = \"{text}\"\n"), &HELD).config.listen.address;
    assert_eq!(listens("localhost:8080"), Address::Tcp("127.0.0.1:8080".parse().unwrap()));
    for wrong in ["localhost", "localhost:", "localhost:99999", "localhost:http"] {
        bad(&format!("{SALES}[listen]\naddress = \"{wrong}\"\n"), &HELD);
    }
}
