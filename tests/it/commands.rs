//! The commands that answer from the configuration: `route`, `completions`, `man`; what they print, and what they need.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::origin::Origin;
use crate::raw::Answer;
use crate::spawned::{Ended, closegate, run};
use crate::world::{KEY, OTHER_KEY, SECRET, Setup, World, gateway};

/// Method, path, the name of a key.
type Case = (&'static str, &'static str, Option<&'static str>);

/// Runs the program in a folder with the arguments.
fn called(folder: &Path, arguments: &[&str]) -> Ended {
    run(closegate(folder).args(arguments))
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// A gateway with routes and keys of every sort.
fn every_sort(origin: &Origin) -> Setup {
    let upstream = format!("upstream = \"http://{}/base\"\ncredential = \"sales\"", origin.address);
    gateway(origin.address)
        .set("routes.sales", "deny = [\"* /api/v1/export/**\", \"DELETE /api/v1/lead/*\"]")
        .set("routes.based", &upstream)
        .set("routes.open", "credential = \"sales\"\nanonymous = true\nallow = [\"GET /api/v1/me/\"]")
        .key("\"sales\", \"based\"")
        .set("keys.main", "allow = [\"GET,HEAD,DELETE /api/v1/**\", \"POST /api/v1/data/search/\", \"* /base/**\"]")
        .other_key("\"based\"")
        .file("old.key", "a-key-that-has-expired")
        .set("keys.old", "secret = { file = \"old.key\" }\nroutes = [\"sales\"]\nexpires = 2020-01-01T00:00:00Z")
}

const EVERY_SORT: &[Case] = &[
    ("GET", "/sales/api/v1/me/", None),
    ("GET", "/sales/api/v1/me/", Some("main")),
    ("GET", "/sales/api/v1/me/", Some("other")),
    ("GET", "/sales/api/v1/me/", Some("old")),
    ("GET", "/sales/api/v1//lead//?_limit=2&q=%3a+b", Some("main")),
    ("GET", "/sales", Some("main")),
    ("GET", "/sales?x", Some("main")),
    ("POST", "/sales/api/v1/data/search/", Some("main")),
    ("POST", "/sales/api/v1/lead/", Some("main")),
    ("DELETE", "/sales/api/v1/lead/lead_1/", Some("main")),
    ("DELETE", "/sales/api/v1/contact/cont_1/", Some("main")),
    ("GET", "/sales/api/v1/export/lead/", Some("main")),
    ("GET", "/sales/api/v1/%65xport/", Some("main")),
    ("GET", "/sales/oauth2/token/", Some("main")),
    ("GET", "/sales/api/v1/Api_Key/", Some("main")),
    ("GET", "/based/api/v1/api_key", Some("main")),
    ("GET", "/based/api/v1/lead/?a", Some("main")),
    ("PUT", "/based", Some("other")),
    ("GET", "/api/v1/me/", Some("main")),
    ("GET", "/api/v1/me/", Some("other")),
    ("GET", "/api/v1/me/", None),
    ("GET", "/open/api/v1/me/", None),
    ("GET", "/open/api/v1/me/", Some("main")),
    ("GET", "/open/api/v1/lead/", None),
    ("GET", "/open/api/v1/me/", Some("old")),
    ("GET", "/nowhere", None),
    ("GET", "/nowhere", Some("main")),
    ("GET", "/salesx/api/v1/me/", Some("main")),
    ("GET", "//sales/api/v1/me/", Some("main")),
    ("GET", "//sales/api/v1/me/", None),
    ("GET", "/sales/../based/x", Some("main")),
    ("GET", "/sales/%2e%2e/x", Some("main")),
    ("GET", "/sales/a;b", None),
    ("GET", "/sales/a%2fb", Some("main")),
    ("GET", "/sales/a b", Some("main")),
    ("GET", "/sales/a#b", Some("main")),
    ("GET", "/sales/a\"b", Some("main")),
    ("GET", "/sales/a?b=`", Some("main")),
    ("GET", "sales/a", Some("main")),
    ("GET", "*", Some("main")),
    ("POST", "/sales/api/v1/lead/?_method=GET", Some("main")),
    ("GET", "/sales/api/v1/lead/?a=1&%5Fmethod=DELETE", Some("main")),
    ("GET", "/sales/api/v1/lead/?key=cgk_0123abcd_x", Some("main")),
    ("GET", "/sales/cgk_0123abcd_x", None),
    ("TRACE", "/sales/api/v1/me/", Some("main")),
    ("CONNECT", "/sales/api/v1/me/", Some("main")),
    ("get", "/sales/api/v1/me/", Some("main")),
    ("FROB", "/based/x", Some("other")),
];

#[test]
fn explain_says_what_the_running_gateway_does() {
    let origin = Origin::plain();
    assert_agreement(&origin, every_sort(&origin), EVERY_SORT);
}

#[test]
fn explain_says_what_a_gateway_without_keys_does() {
    let origin = Origin::plain();
    let cases: &[Case] = &[
        ("GET", "/sales/api/v1/me/", None),
        ("DELETE", "/sales/x", None),
        ("GET", "/api/v1/me/", None),
        ("GET", "/sales/oauth2", None),
    ];
    assert_agreement(&origin, gateway(origin.address), cases);
    let wide = "address = \"0.0.0.0:0\"\nworkers = 1\nmax_uri_bytes = \"64B\"";
    let wide = gateway(origin.address).replace("listen", wide).set("routes.sales", "anonymous = true");
    let cases: &[Case] = &[
        ("GET", "/sales/api/v1/me/", None),
        ("GET", "/nowhere", None),
        ("GET", "/sales/0123456789012345678901234567890123456789012345678901234567890123456789", None),
    ];
    assert_agreement(&origin, wide, cases);
    let open = "prefix = \"/\"\ncredential = \"sales\"\nanonymous = true\ndanger_anonymous = true";
    let open =
        gateway(origin.address).replace("listen", "address = \"0.0.0.0:0\"\nworkers = 1").set("routes.root", open);
    assert_agreement(&origin, open, &[("GET", "/api/v1/me/", None), ("GET", "/", None), ("POST", "/x?y=%zz", None)]);
}

/// Asks the running gateway, then, once its secrets are gone, asks `route explain` the same.
fn assert_agreement(origin: &Origin, setup: Setup, cases: &[Case]) {
    let world = setup.start();
    let real: Vec<Real> = cases.iter().map(|case| Real::of(case, &world, origin)).collect();
    for entry in fs::read_dir(world.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "key" || extension == "secret") {
            fs::remove_file(path).unwrap();
        }
    }
    for (case, real) in cases.iter().zip(real) {
        let mut arguments = vec!["--output", "json", "route", "explain", case.0, case.1];
        arguments.extend(case.2.into_iter().flat_map(|key| ["--key", key]));
        let ended = called(world.folder.path(), &arguments);
        let told = json(&ended);
        let refusal = told["refusal"].as_object().map(|refusal| {
            let text = |name: &str| refusal[name].as_str().unwrap().to_owned();
            (refusal["status"].as_u64().unwrap(), text("code"), text("error"), text("hint"))
        });
        assert_eq!(refusal, real.refusal, "{case:?}: {told}");
        assert_eq!(told["sent"], real.refusal.is_none(), "{case:?}: {told}");
        assert_eq!(ended.code, Some(i32::from(real.refusal.is_some())), "{case:?}: {ended:?}");
        assert_eq!(real.record, [&told["route"], &told["credential"], &told["endpoint"]].map(name), "{case:?}: {told}");
        if let Some(url) = real.url {
            assert_eq!(told["upstream"], url, "{case:?}");
        }
    }
}

/// What the gateway did with a request.
struct Real {
    /// Status, code, error and hint of its own answer.
    refusal: Option<(u64, String, String, String)>,
    /// The URL that the upstream was asked for.
    url: Option<String>,
    /// Route, credential and endpoint of the record.
    record: [String; 3],
}

impl Real {
    fn of((method, path, key): &Case, world: &World, origin: &Origin) -> Self {
        let (before, records) = (origin.seen().len(), world.records.wait_for(0).len());
        let key = key.map_or_else(String::new, |name| format!("Closegate-Key: {}\r\n", text(name)));
        let answer = world.ask(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{key}\r\n"));
        let seen = origin.seen().get(before).cloned();
        assert_eq!(seen.is_some(), answer.code().is_none(), "{method} {path}: {answer:?}");
        let url = seen.map(|seen| {
            let line = seen.line().to_owned();
            let target = line.strip_prefix(method).unwrap().trim().strip_suffix(" HTTP/1.1").unwrap().to_owned();
            format!("http://{}{target}", seen.values("host")[0])
        });
        let record = world.records.wait_for(records + 1)[records].clone();
        Self {
            refusal: answer.code().map(|code| refusal(&answer, code)),
            url,
            record: [&record["route"], &record["credential"], &record["endpoint"]].map(name),
        }
    }
}

fn refusal(answer: &Answer, code: &str) -> (u64, String, String, String) {
    let body = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (u64::from(answer.status), code.to_owned(), text(&body["error"]), text(&body["closegate"]["hint"]))
}

/// A name, or `none` for none.
fn name(value: &Value) -> String {
    value.as_str().unwrap_or("none").to_owned()
}

fn text(key: &str) -> &'static str {
    match key {
        "main" => KEY,
        "other" => OTHER_KEY,
        "old" => "a-key-that-has-expired",
        other => panic!("which key is `{other}`?"),
    }
}

#[test]
fn a_refusal_names_the_keys_that_may() {
    let origin = Origin::plain();
    let folder = every_sort(&origin).write();
    let ended = called(folder.path(), &["route", "explain", "GET", "/based/x"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    assert!(ended.stdout.starts_with("refused: 401 key_missing: "), "{ended:?}");
    assert!(ended.stdout.contains("keys that may  main (route based), other (route based)\n"), "{ended:?}");
    let sent = called(folder.path(), &["route", "explain", "GET", "/based/x", "--key", "other"]);
    assert_eq!((sent.code, sent.stderr.as_str()), (Some(0), ""));
    assert!(sent.stdout.starts_with(&format!("sent: GET http://{}/base/x\n", origin.address)), "{sent:?}");
}

#[test]
fn listeners_that_would_do_otherwise_are_told() {
    let origin = Origin::plain();
    let folder = gateway(origin.address).set("listeners.wide", "address = \"0.0.0.0:0\"").write();
    let ended = called(folder.path(), &["route", "explain", "GET", "/sales/x", "--output", "json"]);
    let wide = serde_json::json!([{ "listener": "wide", "sent": false, "status": 401, "code": "key_missing" }]);
    assert_eq!((ended.code, &json(&ended)["elsewhere"]), (Some(0), &wide), "{ended:?}");
    // What is wrong with a path is told those alone who may ask.
    let odd = called(folder.path(), &["route", "explain", "GET", "/sales/../x", "--output", "json"]);
    assert_eq!((odd.code, &json(&odd)["elsewhere"]), (Some(1), &wide), "{odd:?}");
    let same = called(folder.path(), &["route", "explain", "TRACE", "/sales/x", "--output", "json"]);
    assert_eq!((same.code, &json(&same)["elsewhere"]), (Some(1), &serde_json::json!([])), "{same:?}");
    let text = called(folder.path(), &["route", "explain", "GET", "/sales/x"]).stdout;
    assert!(text.contains("on listener wide  refused: 401 key_missing\n"), "{text}");
    let listed = called(folder.path(), &["route", "list"]).stdout;
    assert!(listed.contains("closed: no key is defined"), "{listed}");
}

#[test]
fn a_question_without_sense_is_misuse_and_a_faulty_configuration_is_told() {
    let origin = Origin::plain();
    let folder = every_sort(&origin).write();
    for (arguments, code, said) in [
        (&["route", "explain", "GET", "/x", "--key", "mian"][..], 2, "did you mean `main`?"),
        (&["route", "explain", "GET", "/x", "--key", KEY], 2, "known here: `main`, `old`, `other`"),
        (&["route", "explain", "GET", "https://localhost/sales"], 2, "leave scheme and host out"),
        (&["route", "explain", "GET"], 2, "<PATH>"),
        (&["route"], 2, "explain"),
        (&["completions", "tcl"], 2, "possible values: bash"),
        (&["--config", "absent.toml", "route", "list"], 78, "absent.toml"),
    ] {
        let ended = called(folder.path(), arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(said) && !ended.stderr.contains(KEY), "{arguments:?}: {ended:?}");
    }
    fs::write(folder.path().join("closegate.toml"), format!("[credentials.sales]\napi_key = \"{SECRET}\"\n")).unwrap();
    for arguments in [&["route", "list"][..], &["route", "list", "--output", "json"]] {
        let ended = called(folder.path(), arguments);
        let text = ended.stdout + &ended.stderr;
        assert_eq!(ended.code, Some(78), "{text}");
        assert!(text.contains("credentials.sales.api_key") && !text.contains(SECRET), "{text}");
    }
}

#[test]
fn routes_are_listed_without_a_secret() {
    let folder = TempDir::new().unwrap();
    let configuration = "[credentials.sales]
api_key = { env = \"SALES\" }
[credentials.partner]
bearer = { command = [\"sh\", \"-c\", \"touch was-run; echo PLANTED\"] }
[routes.sales]
allow = [\"GET /api/v1/**\"]
[keys.tool]
secret = { env = \"TOOL\" }
routes = [\"sales\"]
";
    fs::write(folder.path().join("closegate.toml"), configuration).unwrap();
    let without = called(folder.path(), &["route", "list", "--output", "json"]);
    let with = run(closegate(folder.path())
        .args(["route", "list", "--output", "json"])
        .envs([("SALES", "PLANTED-secret"), ("TOOL", "PLANTED-key-of-the-tool")]));
    assert_eq!(json(&without), json(&with));
    let rows = json(&without);
    let of = |row: usize| ["name", "access", "source"].map(|column| rows[row][column].as_str().unwrap().to_owned());
    assert_eq!(of(0), ["partner", "needs a key", "closegate.toml:3"]);
    assert_eq!(of(1), ["sales", "needs a key", "closegate.toml:5"]);
    assert_eq!([&rows[0]["default"], &rows[1]["default"]], [true, false]);
    let text = called(folder.path(), &["route", "list"]);
    assert!(text.stdout.contains("closegate.toml:3 (default route of credential partner)"), "{text:?}");
    for ended in [without, with, text] {
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(!ended.stdout.contains("PLANTED"), "{ended:?}");
    }
    assert!(!folder.path().join("was-run").exists(), "no command is run");
    let nothing = called(TempDir::new().unwrap().path(), &["route", "list"]);
    assert!(nothing.code == Some(0) && nothing.stdout.contains("CLOSE_API_KEY"), "{nothing:?}");
}

#[test]
fn completions_are_what_the_shell_reads() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = called(folder.path(), &["completions", shell]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(ended.stdout.contains("explain"), "{shell}");
    }
    let script = called(folder.path(), &["completions", "bash"]).stdout;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let ended = bash.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    let complete = "eval \"$(cat)\"; COMP_WORDS=(closegate route ex); COMP_CWORD=2; _closegate closegate ex route; echo \"${COMPREPLY[@]}\"";
    let mut bash =
        Command::new("bash").args(["-c", complete]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert_eq!(bash.wait_with_output().unwrap().stdout, b"explain\n");
}

#[test]
fn the_manual_page_has_every_command() {
    let folder = TempDir::new().unwrap();
    // Neither configuration nor secret is looked at.
    fs::write(folder.path().join("closegate.toml"), "faulty").unwrap();
    let ended = called(folder.path(), &["man"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    // A hyphen is written as a minus.
    let page = ended.stdout.replace("\\-", "-");
    assert!(page.lines().any(|line| line.starts_with(".TH closegate 1 ")), "{page}");
    for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH COMMANDS", ".SH \"EXIT STATUS\""] {
        assert_eq!(page.lines().filter(|line| *line == section).count(), 1, "{section}: {page}");
    }
    for command in
        ["serve", "demo", "check", "health", "route list", "route explain", "endpoints", "completions", "man"]
    {
        assert!(
            page.contains(&format!(".SS \"closegate {command}\"\n\\fBclosegate {command}\\fR")),
            "{command}: {page}"
        );
        let help = called(folder.path(), &[command.split(' ').collect::<Vec<_>>(), vec!["--help"]].concat()).stdout;
        assert!(page.contains(help.lines().next().unwrap().split(':').next().unwrap()), "{command}: {help}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_fault_and_a_full_disk_is_one() {
    let origin = Origin::plain();
    let folder = every_sort(&origin).write();
    for (arguments, code) in [
        (&["man"][..], 0),
        (&["completions", "bash"], 0),
        (&["check"], 0),
        (&["route", "list", "--output", "json"], 0),
        (&["route", "explain", "GET", "/nowhere"], 1),
        (&["--help"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = closegate(folder.path()).args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((ended.status.code(), ended.stderr), (Some(code), Vec::new()), "{arguments:?}");
    }
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = closegate(folder.path()).arg("man").stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8(ended.stderr).unwrap().starts_with("error: stdout cannot be written to: "));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mute = closegate(folder.path()).args(["--config", "absent.toml", "check"]).stderr(writer).output().unwrap();
    assert_eq!(mute.status.code(), Some(78));
}
