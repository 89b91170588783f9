//! Tests of the loader: faults, environment, look-up of the file, the documented file.

mod managed;
mod oauth;
mod starter;
mod storage;
mod tables;

use std::path::Path;

use super::*;

/// A folder with a configuration file, and variables.
struct Setup {
    folder: tempfile::TempDir,
    sources: Sources,
}

fn setup(text: &str, variables: &[(&str, &str)]) -> Setup {
    let setup = bare(variables);
    std::fs::write(setup.folder.path().join("closegate.toml"), text).unwrap();
    setup
}

fn bare(variables: &[(&str, &str)]) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let environment = HELD.iter().chain(variables).copied().collect();
    let sources = Sources { file: None, environment, folder: folder.path().to_owned() };
    Setup { folder, sources }
}

fn good(text: &str, variables: &[(&str, &str)]) -> Loaded {
    load(&setup(text, variables).sources).unwrap_or_else(|faults| panic!("{faults}"))
}

fn bad(text: &str, variables: &[(&str, &str)]) -> Vec<Finding> {
    let faults = load(&setup(text, variables).sources).expect_err("faults");
    faults.iter().cloned().collect()
}

/// A file below a folder, with nothing in it; its path.
fn touch(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "").unwrap();
    path.to_str().unwrap().to_owned()
}

/// The one fault of a file: its key, its place, and what it says.
fn only(text: &str, variables: &[(&str, &str)]) -> (String, String, String) {
    let faults = bad(text, variables);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    (faults[0].key.clone(), faults[0].place.to_string(), format!("{}; {}", faults[0].what, faults[0].hint))
}

/// The secrets that the files of the tests refer to.
const HELD: [(&str, &str); 4] = [("A", "planted"), ("K", "planted"), ("SALES", "planted"), ("T", "planted")];

const SALES: &str = "[credentials.sales]\napi_key = { env = \"SALES\" }\n";

const TEN_FAULTS: &str = r#"
[listen]
address = "api_planted0.planted0"
max_bdy = "planted1"
max_body = "planted2"

[upstream]
url = "https://user:planted3@api.close.com"

[credentials.sales]
api_key = "api_planted4.planted4"

[credentials.partner]
bearer = { env = "api_planted5.planted5" }

[credentials.unset]
api_key = { env = "CLOSE_UNSET_KEY" }

[routes.sales]
prefix = "/partner"

[routes.lost]
credential = "planted6"

[keys.reporting]
hash = "cgk_planted7_planted7"

[keys.other]
secret = { file = "k" }
routes = ["seles"]
expires = "planted8"

[api_planted9planted9planted9]
planted = "planted10"
"#;

#[test]
fn ten_faults_are_named_at_once_and_no_planted_secret_is() {
    let faults = load(&setup(TEN_FAULTS, &[]).sources).expect_err("faults");
    let places: Vec<String> = faults.iter().map(|fault| format!("{} {}", fault.key, fault.place)).collect();
    assert_eq!(
        places,
        [
            "listen.address closegate.toml:3",
            "listen.max_bdy closegate.toml:4",
            "listen.max_body closegate.toml:5",
            "upstream.url closegate.toml:8",
            "credentials.sales.api_key closegate.toml:11",
            "credentials.partner.bearer.env closegate.toml:14",
            "credentials.unset.api_key.env closegate.toml:17",
            "routes.sales.prefix closegate.toml:20",
            "routes.lost.credential closegate.toml:23",
            "keys.reporting.routes closegate.toml:25",
            "keys.reporting.hash closegate.toml:26",
            "keys.other.secret.file closegate.toml:29",
            "keys.other.routes[0] closegate.toml:30",
            "keys.other.expires closegate.toml:31",
            "*** closegate.toml:33",
        ]
    );
    for text in [faults.to_string(), format!("{faults:?}"), format!("{faults:#?}"), faults.to_json().to_string()] {
        assert!(text.contains("max_bdy"), "the control: {text}");
        assert!(!text.contains("planted"), "{text}");
    }
    assert!(faults.iter().all(|fault| !fault.hint.is_empty() && !fault.what.is_empty()));
}

#[test]
fn a_fault_reads_like_a_compilers() {
    let faults = load(&setup("[listen]\n\nmax_bdy = \"1MiB\"\n", &[]).sources).expect_err("faults");
    assert_eq!(
        faults.to_string(),
        "error: listen.max_bdy: unknown setting\n  --> closegate.toml:3\n  hint: did you mean `max_body`?"
    );
    assert_eq!(faults.to_json()["faults"][0]["source"], "closegate.toml:3");
}

#[test]
fn a_fault_of_syntax_shows_its_place_and_not_its_line() {
    let (key, place, what) = only("[credentials.sales]\n  api_key = api_planted.planted\n", &[]);
    assert_eq!((key.as_str(), place.as_str()), ("syntax", "closegate.toml:2"));
    assert!(what.contains("column 13") && !what.contains("planted"), "{what}");
    let (_, place, what) = only("[log]\nlevel = \"info\"\nlevel = \"planted\"\n", &[]);
    assert!(place == "closegate.toml:3" && !what.contains("planted"), "{place} {what}");
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
    let file = "[listen]\naddress = \"127.0.0.1:1\"\nmax_headers = 50\n";
    let loaded = good(
        file,
        &[
            ("CLOSEGATE__LISTEN__ADDRESS", "127.0.0.1:2"),
            ("CLOSEGATE__LISTEN__HOSTS", "a.example, B.example"),
            ("CLOSEGATE__LISTEN__WORKERS", "4"),
            ("CLOSEGATE__UPSTREAM__DANGER_CLEARTEXT_UPSTREAM", "true"),
            ("CLOSEGATE_PORT", "tcp://10.0.0.1:80"),
        ],
    );
    let Config { listen, upstream, .. } = &loaded.config;
    assert_eq!(
        (listen.address.to_string().as_str(), listen.max_headers, loaded.config.process.workers),
        ("127.0.0.1:2", 50, Some(4))
    );
    assert_eq!(listen.hosts, ["a.example", "b.example"]);
    assert!(upstream.danger_cleartext_upstream);
    let origin = |key: &str| loaded.origins[key].to_string();
    assert_eq!(origin("listen.address"), "env CLOSEGATE__LISTEN__ADDRESS");
    assert_eq!(origin("listen.max_headers"), "closegate.toml:3");
    assert_eq!(origin("listen.max_body"), "default");
}

#[test]
fn tables_with_names_can_come_from_the_environment_whole() {
    let digest = format!("sha256:{}", "0aF1".repeat(16));
    let variables = [
        ("CLOSEGATE__CREDENTIALS__BIG_SALES__API_KEY__ENV", "SALES"),
        ("CLOSEGATE__ROUTES__BIG_SALES__ANONYMOUS", "true"),
        ("CLOSEGATE__KEYS__NIGHTLY__HASH", digest.as_str()),
        ("CLOSEGATE__KEYS__NIGHTLY__ROUTES", "[\"big-sales\"]"),
        ("CLOSEGATE__KEYS__NIGHTLY__EXPIRES", "2027-06-30T00:00:00Z"),
    ];
    let loaded = load(&bare(&variables).sources).unwrap();
    let route = &loaded.config.routes[&RouteName::parse("big-sales").unwrap()];
    assert!(route.anonymous && route.prefix.as_str() == "/big-sales");
    let key = &loaded.config.keys[&KeyName::parse("nightly").unwrap()];
    assert!(matches!(key.secret, KeySecret::Digest([0x0a, 0xf1, ..])));
    assert_eq!(key.expires, Some("2027-06-30T00:00:00Z".parse().unwrap()));
    assert_eq!(loaded.place("routes.big-sales.anonymous").to_string(), "env CLOSEGATE__ROUTES__BIG_SALES__ANONYMOUS");
}

#[test]
fn a_fault_of_the_environment_names_the_variable_and_not_its_value() {
    for (variable, key) in [
        ("CLOSEGATE__LISTEN__MAX_BODY", "listen.max_body"),
        ("CLOSEGATE__LISTEN__MAX_BDY", "listen.max_bdy"),
        ("CLOSEGATE__LISTEN__WORKERS", "listen.workers"),
        ("CLOSEGATE__CREDENTIALS__SALES__API_KEY", "credentials.sales.api_key"),
        ("CLOSEGATE__LISTEN", "listen"),
        ("CLOSEGATE__LOG__", "log."),
    ] {
        let (at, place, what) = only(SALES, &[(variable, "api_planted.planted")]);
        assert!(place == format!("env {variable}") && !what.contains("planted"), "{place}: {what}");
        assert_eq!(at, key);
    }
    let (_, _, what) = only(SALES, &[("CLOSEGATE__CREDENTIALS__SALES__API_KEY", "x")]);
    assert!(what.contains("`CLOSEGATE__CREDENTIALS__SALES__API_KEY__ENV`"), "{what}");
    let twice = [("CLOSEGATE__LOG__LEVEL", "info"), ("CLOSEGATE__LOG__level", "debug")];
    assert!(only("", &twice).2.contains("two variables"));
}

#[test]
fn what_is_not_served_yet_is_unknown_and_the_nearest_known_is_named() {
    for (text, key, hint) in [
        ("[listen]\nadress = \"x\"", "listen.adress", "did you mean `address`?"),
        ("[upstream]\nhtpp = \"auto\"", "upstream.htpp", "did you mean `http`?"),
        ("[admin]\nhost = []", "admin.host", "did you mean `hosts`?"),
        ("[credentials.a]\napi_key = { env = \"A\", sytemd = \"a\" }", "credentials.a.api_key.sytemd", "`systemd`?"),
        ("[credentials.a]\napi_key = { env = \"A\", vault = \"a\" }", "credentials.a.api_key.vault", "`systemd`, "),
        ("[credentials.a]\napi_key = { env = \"A\" }\nsecret = {}", "credentials.a.secret", "nearest"),
    ] {
        let (at, _, what) = only(text, &[]);
        assert!(at == key && what.contains("unknown setting") && what.contains(hint), "{at}: {what}");
    }
    let (_, _, what) = only("[upstream]\nhttp = \"h3\"", &[]);
    assert!(what.contains("`\"auto\"` or `\"h1\"` or `\"h2\"`"), "{what}");
    let (_, _, what) = only("[upstream]\nredact = \"all\"", &[]);
    assert!(what.contains("`\"plain\"` or `\"decode\"` or `\"off\"`"), "{what}");
}

#[test]
fn a_proxy_is_a_plain_url_without_a_secret() {
    let upstream = |proxy: &str| format!("[upstream]\nproxy = \"{proxy}\"\n");
    let proxy = |url: &str| good(&upstream(url), &[]).config.upstream.proxy.unwrap().host_and_port();
    for (url, place) in [
        ("http://Proxy.corp:3128", "proxy.corp:3128"),
        ("http://proxy.corp:3128/", "proxy.corp:3128"),
        ("http://proxy.corp", "proxy.corp:80"),
        ("http://[::1]:3128", "[::1]:3128"),
    ] {
        assert_eq!(proxy(url), place);
    }
    for url in ["http://planted:planted@proxy.corp:3128", "http://planted@proxy.corp"] {
        let (at, _, what) = only(&upstream(url), &[]);
        assert!(at == "upstream.proxy" && what.contains("no user name and no password"), "{at}: {what}");
        assert!(what.contains("leave them out") && !what.contains("planted"), "{what}");
    }
    for url in ["proxy.corp:3128", "https://proxy.corp:3128", "socks5://a:1", "http://a:1/x", "http://a:1/?q", ""] {
        let (at, _, what) = only(&upstream(url), &[]);
        assert!(at == "upstream.proxy" && what.contains("`\"http://proxy.corp:3128\"`"), "{url}: {what}");
    }
}

#[test]
fn bounds_hold() {
    for (line, fine) in [
        ("max_uri_bytes = \"65533B\"", true),
        ("max_uri_bytes = \"65534B\"", false),
        ("max_header_bytes = \"1KiB\"", true),
        ("max_header_bytes = \"1023B\"", false),
        ("max_header_bytes = \"1MiB\"", true),
        ("max_header_bytes = \"1048577B\"", false),
        ("workers = 256", true),
        ("workers = 257", false),
        ("workers = 0", false),
        ("workers = \"2\"", false),
        ("header_timeout = \"0s\"", false),
        ("header_timeout = 10", false),
        ("shutdown_delay = \"0s\"", true),
        ("max_connections = -1", false),
        ("max_connections = 1.5", false),
        ("hosts = [\"*\", \"[::1]\"]", true),
        ("hosts = [\"a:80\"]", false),
        ("hosts = \"a\"", false),
        ("address = \"unix:/run/x\"", true),
        ("address = \"unix:\"", false),
        ("address = \"systemd\"", true),
        ("address = \"unix:/run/x\"\nmode = \"0600\"\ngroup = \"tools\"", true),
        ("address = \"unix:/run/x\"\nmode = \"0888\"", false),
        ("address = \"unix:/run/x\"\nmode = \"1777\"", false),
        ("mode = \"0600\"", false),
        ("trusted_proxies = [\"10.0.0.0/8\", \"::1\"]", true),
        ("trusted_proxies = [\"localhost\"]", false),
    ] {
        let text = format!("[listen]\n{line}\n");
        assert_eq!(load(&setup(&text, &[]).sources).is_ok(), fine, "{line}");
    }
}

#[test]
fn further_listeners_take_their_limits_from_the_first() {
    let text = r#"
        [listen]
        max_body = "1MiB"
        hosts = ["gate.example"]
        [listeners.tools]
        address = "unix:proxy.sock"
        [listeners.strict]
        address = "[::1]:8443"
        max_body = "2KiB"
    "#;
    let loaded = good(text, &[]);
    let all: Vec<_> = loaded.config.all_listeners().collect();
    let labels: Vec<_> = all.iter().map(|named| (named.label, named.key.as_str())).collect();
    assert_eq!(labels, [("default", "listen"), ("strict", "listeners.strict"), ("tools", "listeners.tools")]);
    let sizes: Vec<_> = all.iter().map(|named| named.listener.max_body).collect();
    assert_eq!(sizes, [1 << 20, 2 << 10, 1 << 20]);
    assert!(all.iter().all(|named| named.listener.hosts == ["gate.example"]));
    let Address::Unix(unix) = &all[2].listener.address else { panic!("{:?}", all[2].listener.address) };
    assert_eq!((unix.path.is_absolute(), unix.mode), (true, 0o660));
    for (text, at) in [
        ("[listeners.a]\nmax_headers = 1", "listeners.a.address"),
        ("[listeners.default]\naddress = \"systemd\"", "listeners.default"),
        ("[listeners.a]\naddress = \"127.0.0.1:8080\"", "listeners.a.address"),
        ("[listeners.a]\naddress = \"127.0.0.1:1\"\nworkers = 1", "listeners.a.workers"),
        ("[listeners.a]\naddress = \"127.0.0.1:1\"\nmode = \"0600\"", "listeners.a.mode"),
        ("[listen]\ntls = { cert = \"none.pem\", key = \"closegate.toml\" }", "listen.tls.cert"),
        ("[listen]\ntls = { cert = \"closegate.toml\" }", "listen.tls.key"),
    ] {
        assert_eq!(only(text, &[]).0, at);
    }
}

#[test]
fn two_listeners_on_one_address_are_refused() {
    let (key, _, what) = only("[listen]\naddress = \"127.0.0.1:8081\"\n", &[]);
    assert!(key == "admin.address" && what.contains("`listen.address` (closegate.toml:2)"), "{key}: {what}");
    good("[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n", &[]);
}

#[test]
fn levels_are_levels_or_filters() {
    for (level, fine) in [("debug", true), ("info,closegate::proxy=trace", true), ("inof", false), ("a=b=c", false)] {
        let text = format!("[log]\nlevel = \"{level}\"\n");
        assert_eq!(load(&setup(&text, &[]).sources).is_ok(), fine, "{level}");
    }
}

#[test]
fn the_first_file_of_the_order_is_read() {
    let level = |setup: &Setup| load(&setup.sources).map(|loaded| loaded.config.log.level);
    let write = |path: &Path, level: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("[log]\nlevel = \"{level}\"\n")).unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("closegate/closegate.toml"), "trace");
    let xdg = folder.path().to_str().unwrap();
    let mut setup = bare(&[("XDG_CONFIG_HOME", xdg), ("CLOSEGATE_CONFIG", "named.toml")]);
    write(&setup.folder.path().join("said.toml"), "error");
    setup.sources.file = Some("said.toml".into());
    assert_eq!(level(&setup).unwrap(), "error");
    setup.sources.file = None;
    let missing = level(&setup).unwrap_err();
    assert!(
        missing.to_string().starts_with("error: CLOSEGATE_CONFIG: the configuration file cannot be read"),
        "{missing}"
    );
    write(&setup.folder.path().join("named.toml"), "warn");
    assert_eq!(level(&setup).unwrap(), "warn");
    setup.sources.environment = [("XDG_CONFIG_HOME", xdg)].into_iter().collect();
    assert_eq!(level(&setup).unwrap(), "trace");
    write(&setup.folder.path().join("closegate.toml"), "debug");
    assert_eq!(level(&setup).unwrap(), "debug");
    setup.sources.file = Some("nowhere.toml".into());
    assert!(level(&setup).unwrap_err().to_string().contains("--> nowhere.toml"));
}

/// The documented file with every example taken in.
fn with_examples() -> String {
    DOCUMENTED.lines().map(|line| line.strip_prefix("#| ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documented_values_are_the_defaults() {
    let documented = good(DOCUMENTED, &[]);
    assert_eq!(format!("{:?}", documented.config), format!("{:?}", Config::default()));
    for setting in settings(&documented) {
        assert_eq!(setting.source == Place::Default, setting.value == "unset", "{}", setting.key);
    }
}

#[test]
fn every_known_key_is_documented_and_every_example_works() {
    let text = with_examples().replace("\"/run/secrets/", "\"secrets/");
    let said =
        |before: &str| -> Vec<&str> { text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect() };
    let variables: Vec<_> = said("env = \"").into_iter().map(|name| (name, "planted")).collect();
    let setup = setup(&text, &variables);
    for file in ["file", "ca", "cert", "key"].iter().flat_map(|kind| said(&format!("{kind} = \""))) {
        touch(setup.folder.path(), file);
    }
    let loaded = load(&setup.sources).unwrap_or_else(|faults| panic!("{faults}"));
    // One table of a kind shows what another leaves out.
    let kind = |key: &str| {
        let mut parts: Vec<&str> = key.split('.').collect();
        if matches!(parts[0], "credentials" | "routes" | "keys" | "listeners") && parts.len() > 1 {
            parts[1] = "NAME";
        }
        // What every listener has is said of the first.
        if parts[0] == "listeners" && parts.len() > 2 && !matches!(parts[2], "address" | "mode" | "group") {
            parts.splice(..2, ["listen"]);
        }
        parts.join(".")
    };
    let said: std::collections::BTreeSet<String> =
        loaded.origins.iter().filter(|(_, place)| **place != Place::Default).map(|(key, _)| kind(key)).collect();
    // How a reference is written is said once for all.
    let reference =
        |key: &str| [".env", ".file", ".systemd", ".command", ".refresh"].iter().any(|end| key.ends_with(end));
    for key in loaded.origins.keys().map(|key| kind(key)).filter(|key| !reference(key)) {
        assert!(said.contains(&key), "`{key}` is not documented");
    }
    for end in ["env =", "file =", "systemd =", "command =", "refresh ="] {
        assert!(DOCUMENTED.contains(end), "`{end}` is not documented");
    }
}

#[test]
fn every_setting_that_is_read_is_shown() {
    let loaded = good("", &[]);
    let settings = settings(&loaded);
    let shown: Vec<&str> = settings.iter().map(|setting| setting.key.as_str()).collect();
    for key in loaded.origins.keys().filter(|key| key.contains('.')) {
        assert!(shown.contains(&key.as_str()), "`{key}` is not shown");
    }
    assert!(shown.iter().all(|key| loaded.origins.contains_key(*key)));
}

const FAULTY: &str = r#"[listen]
address = "127.0.0.1:1"
max_bdy = 1
[admin]
address = "nowhere"
[credentials.a]
bearer = { env = "NEVER_SET" }
[credentials.abcdefghijklmnopqrstuvwxyz]
bearer = { env = "A" }
[keys.abcdefghijklmnopqrstuvwxyz]
secret = { env = "A" }
routes = ["a"]
"#;

#[test]
fn names_are_known_without_what_they_refer_to() {
    let text = "[upstream]
ca = \"absent.pem\"
[credentials.sales]
api_key = { current = { env = \"NEVER_SET\" }, next = { file = \"absent.secret\" } }
[credentials.partner]
bearer = { systemd = \"partner\" }
[listeners.tls]
address = \"127.0.0.1:0\"
tls = { cert = \"absent.pem\", key = \"absent.key\" }
[routes.partner]
[keys.tool]
secret = { file = \"absent.key\" }
routes = [\"sales\"]
";
    assert_eq!(bad(text, &[]).len(), 7);
    let loaded = load_names(&setup(text, &[]).sources).unwrap();
    let names: Vec<_> = loaded.config.routes.keys().collect();
    assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["partner", "sales"]);
    assert_eq!(names.into_iter().map(|name| loaded.is_default_route(name)).collect::<Vec<_>>(), [false, true]);
    let faulty = load_names(&setup("[keys.tool]\nroutes = [\"sales\"]", &[]).sources).unwrap_err();
    assert_eq!(faulty.iter().count(), 2, "what is wrong with names is told: {faulty}");
}

#[test]
fn what_could_be_typed_outlives_the_faults() {
    let mut faults = load(&setup(FAULTY, &[]).sources).expect_err("faults");
    let part = faults.part().unwrap();
    let left = (part.listen.address.to_string(), part.credentials.len(), part.keys.len());
    assert_eq!(left, ("127.0.0.1:1".to_owned(), 1, 0), "what is named like a secret is left out");
    for (key, concerned) in [
        ("listen.address", false),
        ("listen.max_bdy", true),
        ("listen", true),
        ("admin.address", true),
        ("admin.address.deeper", true),
        ("credentials.a.bearer", true),
        ("credentials.a.bear", false),
        ("credentials.ab", false),
    ] {
        assert_eq!(faults.concern(key), concerned, "{key}");
    }
    let key = "listen.address".to_owned();
    faults.append([Finding { place: faults.place(&key), key, what: "taken".into(), hint: "move".into() }]);
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["listen.address", "listen.max_bdy", "admin.address", "credentials.a.bearer.env"]);
    assert_eq!(faults.to_json()["faults"][0]["source"], "closegate.toml:2");
    assert!(load(&setup("[listen", &[]).sources).expect_err("faults").part().is_none());
}

#[test]
fn where_a_setting_comes_from_is_where_somebody_said_it() {
    let text = "[listen]\nmax_headers = 50\n[listeners.my-tools]\naddress = \"127.0.0.1:1\"\nmax_body = \"1MiB\"\n";
    let loaded = load(&setup(text, &[("CLOSEGATE__LISTENERS__MY_TOOLS__HOSTS", "gate")]).sources).unwrap();
    let all = settings(&loaded);
    let of = |key: &str| all.iter().find(|setting| setting.key == key).unwrap().source.to_string();
    assert_eq!(of("listeners.my-tools.max_headers"), "closegate.toml:2");
    assert_eq!(of("listeners.my-tools.max_body"), "closegate.toml:5");
    assert_eq!(of("listeners.my-tools.hosts"), "env CLOSEGATE__LISTENERS__MY_TOOLS__HOSTS");
    assert_eq!(
        (of("listeners.my-tools.tls"), of("listeners.my-tools.idle_timeout")),
        ("default".to_owned(), "default".to_owned())
    );
}

#[test]
fn a_variable_is_named_as_a_shell_can_set_it() {
    let variables = [("CLOSEGATE__CREDENTIALS__MY_SALES__API_KEY__ENV", "UNSET")];
    let faults = load(&setup("", &variables).sources).unwrap_err();
    let loaded = load_names(&setup("", &variables).sources).unwrap();
    assert_eq!(loaded.place("credentials.my-sales").to_string(), "env CLOSEGATE__CREDENTIALS__MY_SALES");
    assert!(!faults.to_string().contains("MY-SALES"), "{faults}");
}

#[test]
fn hints_are_true_of_what_stands_there() {
    let hint =
        |text: &str| load(&setup(text, &[]).sources).unwrap_err().iter().next().unwrap().hint.clone().into_owned();
    assert!(hint("[listen]\nmax_headers = 0").contains("within these bounds"));
    assert!(hint("[listen]\nmax_headers = \"9\"").contains("without quotes"));
    let hash = format!("hash = \"sha256:{}\"", "0".repeat(64));
    assert!(hint(&format!("[keys.k]\n{hash}")).contains("declare a credential or a route first"));
    let route = "[credentials.a]\nbearer = { command = [\"x\"] }\n";
    assert!(hint(&format!("{route}[keys.k]\n{hash}")).contains("`routes = [\"a\"]`"));
}
