//! The program as a process: its commands and exit codes, signals, and what other processes may see of it.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::faults::{WHOLE, exchange, get};
use crate::origin::Origin;
use crate::raw::Raw;
use crate::signal::Signal;
use crate::spawned::{Ended, Process, Spawned, closegate, closegate_with_files, run};
use crate::world::{INJECTED, KEY, SECRET, gateway};

/// Exit codes of contract.md 2.
const OK: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(2);
const CONFIGURATION: Option<i32> = Some(78);

/// Runs the program in a folder with the arguments.
fn called(folder: &Path, arguments: &[&str]) -> Ended {
    run(closegate(folder).args(arguments))
}

/// Writes a configuration of its own into a folder.
fn folder_with(configuration: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("closegate.toml"), configuration).unwrap();
    folder
}

#[test]
fn exit_codes_are_those_of_the_contract() {
    let origin = Origin::plain();
    let good = gateway(origin.address).key("\"sales\"").write();
    // Nobody listens at port 1, be there a gateway on this machine or not.
    let bad = folder_with("[admin]\naddress = \"127.0.0.1:1\"\n[listen]\nmax_bdy = \"1MiB\"\n");
    let nothing = TempDir::new().unwrap();
    for (folder, arguments, code) in [
        (&good, &["--version"][..], OK),
        (&good, &["--help"], OK),
        (&good, &["check"], OK),
        (&good, &["--config", "closegate.toml", "check"], OK),
        (&good, &["check", "--output", "json"], OK),
        (&nothing, &["check"], OK),
        (&good, &["check", "--frob"], USAGE),
        (&good, &["frob"], USAGE),
        (&good, &["--output", "yaml", "check"], USAGE),
        (&good, &["serve", "more"], USAGE),
        (&bad, &["check"], CONFIGURATION),
        (&bad, &["serve"], CONFIGURATION),
        (&bad, &[], CONFIGURATION),
        (&bad, &["health"], CONFIGURATION),
        (&good, &["--config", "absent.toml", "check"], CONFIGURATION),
        (&good, &["--config", "absent.toml"], CONFIGURATION),
    ] {
        let ended = called(folder.path(), arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        // Data on stdout, everything else on stderr.
        assert_eq!(ended.stdout.is_empty(), code != OK, "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.is_empty(), code == OK, "{arguments:?}: {ended:?}");
    }
    assert_eq!(origin.connections(), 0, "`check` asks nobody");
}

#[test]
fn check_asks_close_only_when_told() {
    let accepting = Origin::plain();
    let folder = gateway(accepting.address).write();
    let ended = called(folder.path(), &["check", "--live"]);
    assert_eq!(ended.code, OK, "{ended:?}");
    let seen = &accepting.seen()[0];
    assert_eq!((seen.line(), seen.values("authorization")), ("GET /api/v1/me/ HTTP/1.1", vec![INJECTED]));
    let rejecting = Origin::answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
    let folder = gateway(rejecting.address).write();
    let ended = called(folder.path(), &["check", "--live"]);
    assert_eq!(ended.code, FAILED, "{ended:?}");
    assert!(!(ended.stdout + &ended.stderr).contains(SECRET));
}

#[test]
fn check_names_ten_faults_at_once_and_none_of_the_secrets() {
    let planted = "api_7b8KOSMa0OevK9qJvT6F9s.PLANTEDinPlaceOfAReference";
    let configuration = format!(
        "[listen]
address = \"{planted}\"
max_bdy = \"25MiB\"
header_timeout = \"{planted}\"
max_headers = \"{planted}\"

[upstream]
url = \"https://user:{planted}@api.close.com\"
redact = \"{planted}\"

[credentials.sales]
api_key = \"{planted}\"

[credentials.partner]
bearer = {{ env = \"{planted}\" }}

[credentials.both]
api_key = {{ env = \"A\" }}
bearer = {{ env = \"B\" }}

[routes.sales]
credential = \"absent\"

[routes.one]
prefix = \"/same\"
credential = \"both\"

[routes.two]
prefix = \"/same\"
credential = \"both\"

[keys.tool]
secret = \"{KEY}\"
routes = []

[keys.other]
hash = \"{planted}\"
routes = [\"nowhere\"]
"
    );
    let folder = folder_with(&configuration);
    let expected = [
        "listen.address",
        "listen.max_bdy",
        "listen.header_timeout",
        "listen.max_headers",
        "upstream.url",
        "upstream.redact",
        "credentials.sales.api_key",
        "credentials.partner.bearer.env",
        "credentials.both",
        "routes.sales.credential",
        "routes.two.prefix",
        "keys.tool.secret",
        "keys.tool.routes",
        "keys.other.hash",
        "keys.other.routes[0]",
    ];
    for arguments in [&["check"][..], &["serve"], &["check", "--output", "json"]] {
        let ended = called(folder.path(), arguments);
        assert_eq!(ended.code, CONFIGURATION, "{ended:?}");
        let text = ended.stdout + &ended.stderr;
        let missing: Vec<_> = expected.into_iter().filter(|key| !names(&text, key)).collect();
        assert!(missing.is_empty(), "{missing:?} of {text}");
        assert!(text.contains("max_body"), "the nearest known name: {text}");
        for secret in [planted, KEY, "PLANTED", "plantedkey"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// Whether a fault of the key is told, as text or as JSON.
fn names(text: &str, key: &str) -> bool {
    text.contains(&format!("error: {key}: ")) || text.contains(&format!("\"key\":\"{key}\""))
}

#[test]
fn a_start_that_fails_says_all_that_is_wrong_and_no_secret() {
    let origin = Origin::plain();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let missing = gateway(origin.address)
        .set("credentials.gone", "bearer = { file = \"absent.secret\" }")
        .set("credentials.unset", "bearer = { env = \"NEVER_SET\" }")
        .set("keys.tool", "secret = { file = \"absent.key\" }\nroutes = [\"nowhere\"]");
    let unusable = gateway(origin.address)
        .key("\"sales\"")
        .other_key("\"sales\"")
        .file("other.key", "short")
        .replace("listen", &format!("address = \"{address}\""))
        .set("credentials.empty", "bearer = { file = \"empty.secret\" }")
        .file("empty.secret", "\n")
        .set("credentials.blank", "bearer = { file = \"blank.secret\" }")
        .file("blank.secret", "PLANTED with a blank")
        .set("upstream", "ca = \"sales.secret\"");
    let expected_of_missing = ["absent.secret", "NEVER_SET", "absent.key", "keys.tool.routes"];
    let address = address.to_string();
    let expected_of_unusable = [
        "listen.address",
        &address,
        "credentials.empty.bearer",
        "credentials.blank.bearer",
        "keys.other.secret",
        "upstream.ca",
    ];
    for (setup, expected) in [(missing, &expected_of_missing[..]), (unusable, &expected_of_unusable)] {
        let folder = setup.write();
        let ended = called(folder.path(), &["serve"]);
        assert_eq!(ended.code, CONFIGURATION, "{ended:?}");
        let text = ended.stdout + &ended.stderr;
        for named in expected {
            assert!(text.contains(named), "{named}: {text}");
        }
        assert!(!text.contains("PLANTED") && !text.contains("plantedkey"), "{text}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn check_reads_every_secret_and_shows_none() {
    let origin = Origin::plain();
    let short = ["CLOSE_API_KEY", "CLOSEGATE_KEY"];
    let nothing = TempDir::new().unwrap();
    for command in ["check", "serve"] {
        let ended = run(closegate(nothing.path()).arg(command).envs(short.map(|name| (name, "PLANTED"))));
        assert_eq!(ended.code, CONFIGURATION, "{ended:?}");
        assert!(ended.stderr.contains("error: keys.default.secret: environment variable `CLOSEGATE_KEY`"), "{ended:?}");
        assert!(!ended.stderr.contains("PLANTED"), "{ended:?}");
    }
    let same = "secret = { file = \"main.key\" }\nroutes = [\"sales\"]";
    let setup = gateway(origin.address)
        .key("\"sales\"")
        .set("keys.second", same)
        .set("keys.third", same)
        .other_key("\"sales\"")
        .file("other.key", "PLANTED")
        .set("credentials.empty", "bearer = { file = \"empty.secret\" }")
        .file("empty.secret", "\n");
    let folder = setup.write();
    for (arguments, source) in
        [(&["check"][..], "closegate.toml:"), (&["check", "--output", "json"], "closegate.toml:"), (&["serve"], "")]
    {
        let ended = called(folder.path(), arguments);
        assert_eq!(ended.code, CONFIGURATION, "{ended:?}");
        let text = ended.stdout + &ended.stderr;
        for key in ["credentials.empty.bearer", "keys.other.secret", "keys.main"] {
            assert!(names(&text, key), "{key}: {text}");
        }
        assert!(text.contains("the same key as `keys.second`, `keys.third`") && text.contains(source), "{text}");
        assert!(!text.contains("PLANTED") && !text.contains("plantedkey"), "{text}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn faults_of_the_configuration_hide_no_others() {
    let origin = Origin::plain();
    let taken = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [proxy, metrics] = taken.each_ref().map(|taken| taken.local_addr().unwrap());
    let missing = |name: &str| format!("bearer = {{ file = \"{name}.absent\" }}");
    let same = "secret = { file = \"main.key\" }\nroutes = [\"sales\"]";
    let setup = gateway(origin.address)
        .replace("listen", &format!("address = \"{proxy}\"\nmax_bdy = \"1MiB\""))
        .replace("admin", &format!("address = \"{proxy}\""))
        .set("metrics", &format!("address = \"{metrics}\""))
        .set("credentials.gone", &missing("one"))
        .set("credentials.lost", &missing("two"))
        .set("credentials.made", "bearer = { command = [\"sh\", \"-c\", \"env > seen.txt\"] }")
        .key("\"sales\"")
        .set("keys.second", same)
        .set("keys.third", same)
        .other_key("\"sales\"")
        .file("other.key", "PLANTED");
    let folder = setup.write();
    let of_both = [
        "listen.max_bdy",
        "admin.address",
        "credentials.gone.bearer.file",
        "credentials.lost.bearer.file",
        "keys.main",
        "keys.other.secret",
    ];
    let of_serve = ["listen.address", "metrics.address"];
    for (command, ports) in [("serve", true), ("check", false)] {
        let ended = called(folder.path(), &[command]);
        assert_eq!((ended.code, ended.stdout.as_str()), (CONFIGURATION, ""), "{ended:?}");
        let text = ended.stderr;
        for key in of_both.into_iter().chain(of_serve.into_iter().filter(|_| ports)) {
            assert_eq!(text.matches(&format!("error: {key}: ")).count(), 1, "{key}: {text}");
        }
        let expected = of_both.len() + if ports { of_serve.len() } else { 0 };
        assert_eq!(text.matches("error: ").count(), expected, "each once, and no other: {text}");
        assert_eq!(text.matches("\n  --> closegate.toml:").count(), expected, "{text}");
        assert!(text.contains("the same key as `keys.second`, `keys.third`"), "{text}");
        assert!(!text.contains("PLANTED") && !text.contains("plantedkey"), "{text}");
    }
    assert!(!folder.path().join("seen.txt").exists(), "no command is run for a configuration with faults");
}

#[test]
fn a_listener_whose_address_is_wrong_is_not_tried_elsewhere() {
    // Whether somebody listens where the default is says nothing of the address that was meant.
    let _somebody = TcpListener::bind("127.0.0.1:8080");
    for listen in ["listen = 1", "[listen]\naddress = \"nowhere\""] {
        let folder = folder_with(&format!("{listen}\n[admin]\naddress = \"127.0.0.1:0\"\n"));
        let ended = called(folder.path(), &["serve"]);
        assert_eq!(ended.code, CONFIGURATION, "{ended:?}");
        assert_eq!(ended.stderr.matches("error: ").count(), 1, "{ended:?}");
    }
}

#[test]
fn line_40_clear_text_goes_to_loopback_and_only_when_told() {
    for (upstream, code) in [
        ("url = \"http://127.0.0.1:9\"\ndanger_cleartext_upstream = true", OK),
        ("url = \"http://127.0.0.1:9\"", CONFIGURATION),
        ("url = \"http://192.0.2.1\"\ndanger_cleartext_upstream = true", CONFIGURATION),
        ("url = \"http://api.close.com\"\ndanger_cleartext_upstream = true", CONFIGURATION),
        ("url = \"http://localhost.example.com\"\ndanger_cleartext_upstream = true", CONFIGURATION),
        ("url = \"https://192.0.2.1\"", OK),
    ] {
        let credential = "[credentials.sales]\napi_key = { file = \"sales.secret\" }\n";
        let folder = folder_with(&format!("[upstream]\n{upstream}\n{credential}"));
        std::fs::write(folder.path().join("sales.secret"), SECRET).unwrap();
        let ended = called(folder.path(), &["check"]);
        assert_eq!(ended.code, code, "{upstream}: {ended:?}");
    }
}

#[test]
fn a_start_without_a_credential_or_a_key_warns_once_of_each() {
    let folder = folder_with("[listen]\naddress = \"0.0.0.0:0\"\n\n[admin]\naddress = \"127.0.0.1:0\"\n");
    let mut world = Spawned::start(closegate(folder.path()), folder);
    world.signal(rustix::process::Signal::TERM);
    assert_eq!(world.wait().code(), OK);
    let text = world.stderr.text();
    for variable in ["CLOSE_API_KEY", "CLOSEGATE_KEY"] {
        assert_eq!(text.matches(variable).count(), 1, "{variable}: {text}");
    }
}

#[test]
fn more_connections_than_files_are_warned_of() {
    let origin = Origin::plain();
    for (connections, warned) in [(400, false), (500, true)] {
        let mut world = gateway(origin.address)
            .key("\"sales\"")
            .set("listen", &format!("max_connections = {connections}"))
            .set("upstream", "max_connections = 100")
            .spawn_as(|folder| closegate_with_files(folder, 512));
        world.signal(rustix::process::Signal::TERM);
        assert_eq!(world.wait().code(), OK);
        let text = world.stderr.text();
        assert_eq!(text.contains("together 600 connections, but the process may open 512 files"), warned, "{text}");
        assert_eq!(text.contains("files only; hint: "), warned, "{text}");
    }
}

#[test]
fn health_tells_by_its_exit_code() {
    let origin = Origin::plain();
    let mut world = gateway(origin.address).key("\"sales\"").spawn();
    let admin = format!("[admin]\naddress = \"{}\"\n", world.admin);
    let folder = folder_with(&admin);
    assert_eq!(called(folder.path(), &["health"]).code, OK);
    world.signal(rustix::process::Signal::TERM);
    world.wait();
    let ended = called(folder.path(), &["health"]);
    assert_eq!(ended.code, FAILED);
    assert!(ended.stderr.contains(&world.admin.to_string()), "{ended:?}");
}

#[test]
fn line_39_sigterm_finishes_what_is_in_flight_and_exits_with_0() {
    let finish = Signal::default();
    let go_on = finish.clone();
    let origin = Origin::start(move |conversation| {
        while let Some(seen) = conversation.request() {
            if seen.line().contains("/slow/") {
                conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
                go_on.wait();
                conversation.send("world");
            } else {
                conversation.send(WHOLE);
            }
        }
    });
    let mut world = gateway(origin.address).key("\"sales\"").spawn();
    let mut idle = world.connect();
    assert_eq!(exchange(&mut idle, &get()).status, 200);
    let mut busy = world.connect();
    assert!(busy.send(crate::faults::head("GET", "/sales/api/v1/slow/", "")));
    let answer = busy.head();
    world.signal(rustix::process::Signal::TERM);
    world.stderr.wait_for("draining", 1);
    assert!(idle.ends(), "an idle connection is closed");
    while let Ok(stream) = std::net::TcpStream::connect(world.proxy) {
        // Accepted just before the listener was closed, or waiting in its queue.
        drop(stream);
    }
    assert_eq!(world.ask_admin("/healthz").status, 200, "alive");
    assert_eq!(world.ask_admin("/readyz").status, 503, "not ready");
    assert!(world.is_running(), "a request is in flight");
    finish.give();
    let answer = busy.body(answer, false);
    assert_eq!((answer.whole, answer.text().as_str()), (true, "helloworld"));
    assert!(busy.ends());
    assert_eq!(world.wait().code(), OK);
    let records: Vec<serde_json::Value> =
        world.stdout.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2, "no record is lost: {records:#?}");
}

#[test]
fn line_39_what_takes_longer_than_the_grace_is_dropped() {
    let origin = Origin::start(|conversation| {
        conversation.request();
        conversation.wait_for_end();
    });
    let mut world = gateway(origin.address).key("\"sales\"").set("listen", "shutdown_grace = \"300ms\"").spawn();
    let mut client = world.connect();
    assert!(client.send(get()));
    origin.wait_for(1);
    world.signal(rustix::process::Signal::INT);
    assert_eq!(world.wait().code(), OK);
    assert!(world.stderr.text().contains("listen.shutdown_grace"), "{}", world.stderr.text());
    assert!(client.ends());
    assert_eq!(world.stdout.text().lines().count(), 1, "the record of a request that was dropped");
}

#[test]
fn line_39_a_second_signal_ends_at_once() {
    let origin = Origin::start(|conversation| {
        conversation.request();
        conversation.wait_for_end();
    });
    let mut world = gateway(origin.address).key("\"sales\"").spawn();
    let mut client = world.connect();
    assert!(client.send(get()));
    origin.wait_for(1);
    world.signal(rustix::process::Signal::TERM);
    world.stderr.wait_for("draining", 1);
    world.signal(rustix::process::Signal::TERM);
    assert_eq!(world.wait().code(), FAILED);
    let record: Value =
        serde_json::from_str(world.stdout.text().trim()).expect("one record of the request that was dropped");
    assert_eq!((&record["status"], &record["code"]), (&503.into(), &"draining".into()), "{record}");
    assert!(world.stderr.text().contains("a second signal"), "{}", world.stderr.text());
}

#[test]
fn check_sees_where_nobody_could_listen() {
    for (listener, told, hint) in [
        ("address = \"unix:nowhere/tools.sock\"", "listeners.tools.address", "make the folder first"),
        ("address = \"unix:closegate.toml/tools.sock\"", "listeners.tools.address", "make the folder first"),
        (
            "address = \"unix:tools.sock\"\ngroup = \"no-such-group\"",
            "there is no group `no-such-group`",
            "make the group",
        ),
    ] {
        let folder = gateway("127.0.0.1:1".parse().unwrap()).key("\"sales\"").set("listeners.tools", listener).write();
        let ended = called(folder.path(), &["check"]);
        assert_eq!(ended.code, CONFIGURATION, "{listener}: {ended:?}");
        assert!(ended.stderr.contains(told) && ended.stderr.contains(hint), "{listener}: {ended:?}");
    }
}

#[test]
fn what_is_sent_while_the_gateway_starts_is_heeded_once_it_has() {
    let origin = Origin::plain();
    let setup = gateway(origin.address)
        .key("\"sales\"")
        .file("look", "[ -e seen ] || { echo begun > begun; read go < go; echo > seen; }; echo a-secret-of-a-command")
        .replace("credentials.sales", "bearer = { command = [\"sh\", \"look\"] }");
    let made = Command::new("mkfifo").args(["begun", "go"]).current_dir(setup.path()).status().unwrap();
    assert!(made.success());
    let folder = setup.write();
    let at = |name: &str| folder.path().join(name);
    let mut process = Process::start(closegate(folder.path()));
    assert_eq!(std::fs::read_to_string(at("begun")).unwrap(), "begun\n", "the start waits for a secret");
    process.signal(rustix::process::Signal::HUP);
    process.signal(rustix::process::Signal::TERM);
    std::fs::write(at("go"), "go\n").unwrap();
    assert!(process.wait().success(), "{}", process.stderr.text());
    assert!(process.stderr.text().contains("drained"), "{}", process.stderr.text());
}

#[test]
fn during_the_shutdown_delay_requests_are_served_and_told_to_go() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").set("listen", "shutdown_delay = \"1h\"").spawn();
    let mut client = world.connect();
    let answer = exchange(&mut client, &get());
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    world.signal(rustix::process::Signal::TERM);
    world.stderr.wait_for("draining", 1);
    while world.ask_admin("/readyz").status != 503 {}
    let answer = exchange(&mut client, &get());
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(client.ends());
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200, "new connections too");
}

#[test]
fn line_44_the_process_is_closed_to_others_of_its_user() {
    let origin = Origin::plain();
    let folder = gateway(origin.address).key("\"sales\"").write();
    // A user that is not root: root may read everything. The program may lie where only root can go.
    let (user, binary) = (65534, folder.path().join("closegate"));
    let root = std::fs::metadata(folder.path()).unwrap().uid() == 0;
    // Copied by another process: a file that this one has open for writing would be open in what other tests start at
    // that moment, and could not be run (ETXTBSY).
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_closegate")).arg(&binary).status().unwrap().success());
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::set_permissions(entry.unwrap().path(), PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let as_user = |command: &mut Command| {
        if root {
            command.uid(user);
        }
    };
    let mut command = Command::new(&binary);
    command.env_clear().env("PLANTED_ENV", SECRET).current_dir(folder.path()).stdin(Stdio::null());
    command.env("XDG_STATE_HOME", folder.path().join("state"));
    as_user(&mut command);
    let world = Spawned::start(command, folder);
    let read = |id: u32, file: &str| {
        let mut command = Command::new("cat");
        command.arg(format!("/proc/{id}/{file}"));
        as_user(&mut command);
        command.output().unwrap()
    };
    for file in ["environ", "maps", "auxv", "mem", "fd/0"] {
        let output = read(world.id(), file);
        assert!(!output.status.success() && output.stdout.is_empty(), "{file}: {output:?}");
    }
    // The control: the same user reads what an ordinary process of its has.
    let mut ordinary = Command::new("cat");
    ordinary.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("PLANTED_ENV", SECRET);
    as_user(ordinary.stdin(Stdio::piped()));
    let mut ordinary = ordinary.spawn().unwrap();
    // Until it has become what it is to be, it is still the test itself.
    let control = loop {
        let output = read(ordinary.id(), "environ");
        if output.status.success() && !output.stdout.is_empty() {
            break output;
        }
    };
    assert!(String::from_utf8_lossy(&control.stdout).contains(SECRET));
    drop(ordinary.stdin.take());
    ordinary.wait().unwrap();
    let limits = String::from_utf8(world.proc("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
}

#[test]
fn line_43_no_secret_stands_among_the_arguments() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").spawn();
    assert_eq!(world.get("/sales/api/v1/me/").status, 200);
    let arguments = String::from_utf8(world.proc("cmdline")).unwrap();
    assert_eq!(arguments.trim_end_matches('\0'), env!("CARGO_BIN_EXE_closegate"));
}

#[test]
fn a_unit_of_systemd_gets_its_secrets_from_it_and_line_45_its_commands_do_not_learn_where() {
    let origin = Origin::plain();
    let show = "command = [\"sh\", \"-c\", \"env > seen.txt; echo a-token-of-a-command\"]";
    let setup = gateway(origin.address)
        .file("close-sales", &format!("{SECRET}\n"))
        .file("tool", KEY)
        .replace("credentials.sales", "api_key = { systemd = \"close-sales\" }")
        .set("credentials.made", &format!("bearer = {{ {show} }}"))
        .set("keys.main", "secret = { systemd = \"tool\" }\nroutes = [\"sales\"]");
    let world = setup.spawn_as(|folder| {
        // As systemd leaves it: what is handed over belongs to others, who let this user in by an access list.
        std::fs::set_permissions(folder.join("close-sales"), PermissionsExt::from_mode(0o440)).unwrap();
        let mut command = closegate(folder);
        command.env("CREDENTIALS_DIRECTORY", folder);
        command
    });
    assert_eq!(world.get("/sales/api/v1/me/").status, 200);
    assert_eq!(origin.seen()[0].values("authorization"), [INJECTED]);
    let seen = std::fs::read_to_string(world.folder.path().join("seen.txt")).unwrap();
    assert!(seen.contains("PATH=") && !seen.contains("CREDENTIALS_DIRECTORY"), "{seen}");
    assert!(!world.stderr.text().contains("can be read by others"), "{}", world.stderr.text());
    // Outside of a unit nothing is handed over, and nothing starts.
    let folder = world.folder.path();
    let ended = called(folder, &["serve"]);
    assert_eq!(ended.code, CONFIGURATION, "{ended:?}");
    for key in ["credentials.sales.api_key.systemd", "keys.main.secret.systemd"] {
        assert!(ended.stderr.contains(&format!("error: {key}: systemd hands nothing over")), "{ended:?}");
    }
    assert_eq!(ended.stderr.matches("error: ").count(), 2, "{ended:?}");
}

#[test]
fn line_45_commands_get_nothing_of_the_gateway_s_environment() {
    let origin = Origin::plain();
    let show = "command = [\"sh\", \"-c\", \"env > seen.txt; echo a-token-of-a-command\"]";
    let setup = gateway(origin.address)
        .key("\"sales\"")
        .set("credentials.named", "bearer = { env = \"NAMED_TOKEN\" }")
        .set("credentials.made", &format!("bearer = {{ {show} }}"));
    let world = setup.spawn_as(|folder| {
        let mut command = closegate(folder);
        command.env("NAMED_TOKEN", SECRET).env("CLOSEGATE__LOG__LEVEL", "info").env("CLOSEGATE_KEY", KEY);
        command.env("CLOSE_API_KEY", SECRET).env("ORDINARY", "passes");
        command
    });
    let seen = std::fs::read_to_string(world.folder.path().join("seen.txt")).unwrap();
    assert!(seen.contains("ORDINARY=passes\n"), "{seen}");
    for withheld in ["NAMED_TOKEN", "CLOSEGATE", "CLOSE_API_KEY", "PLANTED", "plantedkey"] {
        assert!(!seen.contains(withheld), "{withheld} in {seen}");
    }
}

/// The variables of a laptop, as contract.md 1 has them, with a place for the listeners and the upstream of a test.
fn two_variables(folder: TempDir, origin: &Origin, variables: &[(&str, &str)]) -> Spawned {
    let mut command = closegate(folder.path());
    command
        .env("CLOSEGATE__LISTEN__ADDRESS", "127.0.0.1:0")
        .env("CLOSEGATE__ADMIN__ADDRESS", "127.0.0.1:0")
        .env("CLOSEGATE__UPSTREAM__URL", format!("http://{}", origin.address))
        .env("CLOSEGATE__UPSTREAM__DANGER_CLEARTEXT_UPSTREAM", "true")
        .envs(variables.iter().copied());
    Spawned::start(command, folder)
}

#[test]
fn two_variables_make_a_gateway() {
    let origin = Origin::plain();
    let files = || {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
        std::fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
        folder
    };
    let request = |authorization: &str| format!("GET /api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n");
    // The key as user name of Basic, as every Close client sends its own.
    let basic = "Authorization: Basic Y2drXzAxMjNhYmNkX3BsYW50ZWRrZXlwbGFudGVka2V5cGxhbnRlZGtleTA6\r\n";
    for variables in [
        [("CLOSE_API_KEY", SECRET), ("CLOSEGATE_KEY", KEY)],
        [("CLOSE_API_KEY_FILE", "secret"), ("CLOSEGATE_KEY_FILE", "key")],
    ] {
        let world = two_variables(files(), &origin, &variables);
        let before = origin.seen().len();
        assert_eq!(world.ask(request(basic)).status, 200, "{variables:?}");
        let refused = world.ask(request(""));
        assert_eq!((refused.status, refused.code()), (401, Some("key_missing")), "{variables:?}");
        let seen = origin.seen();
        assert_eq!(seen.len(), before + 1);
        assert_eq!(seen[before].values("authorization"), [INJECTED]);
        assert_eq!(seen[before].line(), "GET /api/v1/me/ HTTP/1.1");
    }
    // One variable: open on loopback, whatever a client that cannot do without presents.
    let world = two_variables(files(), &origin, &[("CLOSE_API_KEY", SECRET)]);
    for authorization in ["", "Authorization: Basic YW55dGhpbmc6\r\n", "Authorization: Bearer anything\r\n"] {
        assert_eq!(world.ask(request(authorization)).status, 200, "{authorization}");
        assert_eq!(origin.seen().last().unwrap().values("authorization"), [INJECTED]);
    }
    // None: it starts, and says what to do.
    let world = two_variables(files(), &origin, &[]);
    assert_eq!(world.ask(request("")).status, 404);
    assert!(world.stderr.text().contains("CLOSE_API_KEY"));
}

#[test]
fn what_is_wrong_with_an_argument_is_a_matter_of_usage() {
    let folder = TempDir::new().unwrap();
    let create = ["key", "create", "tool", "--route", "sales", "--scope", "read"];
    for wrong in [["--rate", "20"], ["--expires", "soon"], ["--scope", "all"]] {
        let ended = called(folder.path(), &[&create[..], &wrong].concat());
        assert_eq!(ended.code, USAGE, "{wrong:?}: {ended:?}");
    }
    for beyond in ["0.0.0.0:0", "192.0.2.1:8080", "localhost"] {
        let ended = called(folder.path(), &["demo", "--listen", beyond]);
        assert_eq!(ended.code, USAGE, "{beyond}: {ended:?}");
    }
}

#[test]
fn the_demo_prints_lines_that_work_as_they_stand() {
    let folder = TempDir::new().unwrap();
    let mut command = closegate(folder.path());
    command.args(["demo", "--listen", "127.0.0.1:0"]);
    let mut demo = Process::start(command);
    demo.stdout.wait_for("Ctrl-C ends the demo.", 1);
    let text = demo.stdout.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 6 && lines[0].contains("/api/v1/me/"), "{text}");
    let statuses: Vec<String> = lines
        .iter()
        .map(|line| {
            // As it stands, through a shell; the status and nothing else is printed for the test.
            let line = format!("{line} --silent --show-error --output /dev/null --write-out '%{{http_code}}'");
            let ended = run(Command::new("bash").args(["-c", &line]).env_remove("http_proxy"));
            assert_eq!(ended.code, OK, "{line}: {ended:?}");
            ended.stdout
        })
        .collect();
    let refused = lines.iter().position(|line| line.contains("Sitwell")).unwrap();
    for (at, status) in statuses.iter().enumerate() {
        assert_eq!(status, if at == refused { "403" } else { "200" }, "{}", lines[at]);
    }
    demo.signal(rustix::process::Signal::TERM);
    assert_eq!(demo.wait().code(), OK);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is written to disk");
}

#[test]
fn a_client_connection_is_plain_http() {
    // What listens is the proxy and not the admin listener: each refuses the other's paths.
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").spawn();
    let mut client = Raw::connect(world.proxy);
    assert!(client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_eq!(client.answer().status, 401);
    assert_eq!(world.ask_admin("/sales/api/v1/me/").status, 401);
    assert_eq!(origin.connections(), 0);
}
