//! Secrets are planted, everything is run at the level `trace`, and all that came out is searched (security.md 43).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use closegate::app::{Asking, Secrets, Together};
use closegate::config::{self, Environment, Sources};
use closegate::id::CredentialName;
use closegate::telemetry::log;

use self::search::Search;
use crate::faults::WHOLE;
use crate::origin::{Conversation, Origin, Seen};
use crate::spawned::{Spawned, closegate, run};
use crate::world::{KEY, OTHER_KEY, SECRET, Setup, gateway};

mod search;

const NEXT: &str = "api_2c9LPTNb1PfwL0rKwU7G0t.PLANTEDnextPLANTEDnext0";
const TOKEN: &str = "eyPLANTEDtokenPLANTEDtokenPLANTED.0-1_2";
const PASSWORD: &str = "PLANTED-password-of-basic-0123";
/// A key that no gateway knows.
const STRANGER: &str = "cgk_89jkmnpq_plantedstrangerplantedstranger0";
/// A real API key that a tool sends by mistake.
const FOREIGN: &str = "api_3dAMQUOc2QgxM1sLxV8H1u.PLANTEDforeignPLANTEDf";
const ALL: [&str; 8] = [SECRET, NEXT, TOKEN, PASSWORD, KEY, OTHER_KEY, STRANGER, FOREIGN];

const STUCK: Duration = Duration::from_secs(30);

/// Every kind of credential and key, from every kind of place.
fn planted(upstream: SocketAddr) -> Setup {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    gateway(upstream)
        .key("\"sales\", \"pair\", \"partner\", \"basic\", \"broken\", \"dead\", \"deaf\"")
        .other_key("\"sales\"")
        .set("keys.other", "deny = [\"* /api/v1/secret/**\"]")
        .file("next.secret", NEXT)
        .file("password.secret", PASSWORD)
        .set("credentials.pair", "api_key = { current = { file = \"sales.secret\" }, next = { file = \"next.secret\" } }")
        .set("credentials.partner", "bearer = { env = \"PARTNER_TOKEN\" }")
        .set("credentials.basic", "basic = { username = \"u\", password = { command = [\"cat\", \"password.secret\"] } }")
        .set("credentials.broken", "bearer = { command = [\"sh\", \"-c\", \"cat password.secret password.secret >&2; cat password.secret; exit 3\"] }")
        .set("routes.dead", &format!("credential = \"sales\"\nupstream = \"http://{dead}\"\ndanger_cleartext_upstream = true"))
        .set("routes.deaf", &format!("credential = \"sales\"\nupstream = \"https://{upstream}\""))
        .set("routes.sales", "credential = \"sales\"")
        .set("listen", "max_body = \"1KiB\"\nmax_header_bytes = \"8KiB\"\nbody_timeout = \"300ms\"\nheader_timeout = \"300ms\"")
        .set("upstream", "response_timeout = \"300ms\"\nbody_timeout = \"300ms\"\ntls_timeout = \"300ms\"")
        .set("log", "level = \"trace\"")
}

/// An upstream that gives back what it must not, in every place that there is.
fn indiscreet() -> Origin {
    Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            if !betray(conversation, &seen) {
                return conversation.shutdown();
            }
        }
    })
}

/// Answers; `false` when the connection is to end.
fn betray(conversation: &mut Conversation, seen: &Seen) -> bool {
    let authorization = seen.values("authorization")[0].to_owned();
    let encoded = authorization.split(' ').next_back().unwrap().to_owned();
    let whole =
        |lines: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{lines}content-length: {}\r\n\r\n{body}", body.len());
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (begin, end) = SECRET.split_at(30);
    let (answer, goes_on) = match seen.line().split(['/', ' ']).rev().nth(3).unwrap() {
        "header" => (whole(&format!("x-echo: {SECRET}\r\nx-encoded: {authorization}\r\n"), "{}"), true),
        "location" => (whole(&format!("location: https://h.example/?k={SECRET}\r\n"), "{}"), true),
        "trace" => (whole(&format!("trace-id: {SECRET}\r\n"), "{}"), true),
        "cookie" => (whole(&format!("set-cookie: session={SECRET}\r\n"), "{}"), true),
        "reason" => (WHOLE.replace("OK", SECRET), true),
        "body" => (whole("", &format!("{{\"key\": \"{SECRET}\", \"basic\": \"{encoded}\"}}")), true),
        "split" => (format!("{chunked}{:x}\r\n{begin}\r\n{:x}\r\n{end}\r\n0\r\n\r\n", begin.len(), end.len()), true),
        "trailer" => (format!("{chunked}2\r\n{{}}\r\n0\r\nx-trailer: {SECRET}\r\n\r\n"), true),
        "extension" => (format!("{chunked}2;key={SECRET}\r\n{{}}\r\n0\r\n\r\n"), true),
        "interim" => (format!("HTTP/1.1 103 Early\r\nlink: {SECRET}\r\n\r\n{WHOLE}"), true),
        "error" => (whole("", &format!("error: {SECRET}")).replace("200 OK", "500 Oh"), true),
        "malformed" => (format!("{SECRET}\r\n\r\n"), false),
        "fields" => (format!("HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n"), false),
        "chunk" => (format!("{chunked}{SECRET}\r\n"), false),
        "cut" => (format!("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{begin}"), false),
        "stray" => (format!("{WHOLE}{SECRET}"), false),
        "tunnel" => (format!("HTTP/1.1 101 Go\r\nupgrade: {SECRET}\r\n\r\n{SECRET}"), false),
        "silent" => (String::new(), false),
        "slow" => {
            conversation.wait_for_end();
            return false;
        }
        "rejected" => ("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".to_owned(), true),
        "me" if authorization.starts_with("Bearer") => {
            ("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n".to_owned(), true)
        }
        _ => (WHOLE.to_owned(), true),
    };
    conversation.send(answer);
    goes_on
}

/// Sends and returns every byte that comes back until the connection ends.
fn talk(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(STUCK)).unwrap();
    let mut answer = Vec::new();
    // It may be refused, or reset, before all of it is sent: what matters is what comes back.
    let _ = stream.write_all(bytes.as_ref());
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{}", String::from_utf8_lossy(&answer));
    }
    answer
}

/// Requests of every kind, with secrets in every place: good ones, refused ones, broken ones.
fn requests() -> Vec<String> {
    let request = |method: &str, target: &str, lines: &str| {
        format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n")
    };
    let key = format!("Closegate-Key: {KEY}\r\n");
    let basic = |user: &str, password: &str| {
        format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
    };
    let me = "/sales/api/v1/me/";
    let mut requests = Vec::new();
    // Every way to present a secret, known or not.
    for secret in ALL {
        for lines in [
            basic(secret, ""),
            basic("x", secret),
            format!("Authorization: Bearer {secret}\r\n"),
            format!("Authorization: {secret}\r\n"),
            format!("Closegate-Key: {secret}\r\n"),
            format!("Closegate-Key: {KEY}\r\nClosegate-Key: {secret}\r\n"),
            format!("Cookie: session={secret}\r\n"),
            format!("X-Api-Key: {secret}\r\n"),
            format!("Proxy-Authorization: Bearer {secret}\r\n"),
        ] {
            requests.push(request("GET", me, &lines));
        }
        // The query is never logged.
        requests.push(request("GET", &format!("{me}?api_key={secret}"), &key));
        requests.push(request("GET", &format!("{me}?q={}", STANDARD.encode(secret).replace('=', "%3D")), &key));
    }
    // What looks like a key is hidden wherever a client puts it.
    for secret in [SECRET, NEXT, KEY, STRANGER, FOREIGN] {
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for target in [
            format!("/sales/{secret}/"),
            format!("/sales/api/v1/lead/{secret}"),
            format!("/{secret}"),
            format!("/sales/{percent}/"),
            format!("/sales/x{secret}x/../"),
            format!("http://{secret}@localhost/sales/"),
            format!("http://localhost/{secret}/"),
        ] {
            requests.push(request("GET", &target, &key));
        }
        for lines in [
            format!("User-Agent: tool ({secret})\r\n"),
            format!("X-Request-Id: {secret}\r\n"),
            format!("Traceparent: 00-{secret}-01\r\n"),
            format!("Referer: https://h.example/{secret}\r\n"),
            format!("X-HTTP-Method-Override: {secret}\r\n"),
            format!("X-HTTP-Method: {secret}\r\n"),
            format!("Connection: {secret}\r\n"),
            format!("Expect: {secret}\r\n"),
            format!("Origin: https://{secret}\r\n"),
            format!("Content-Length: {secret}\r\n"),
            format!("Transfer-Encoding: {secret}\r\n"),
            format!("{secret}\r\n"),
            format!("{secret}: x\r\n"),
            format!("X-Bad: \u{1}{secret}\r\n"),
            format!(" {secret}\r\n"),
        ] {
            requests.push(request("GET", me, &format!("{key}{lines}")));
        }
        requests.push(request(secret, me, &key));
        requests.push(format!("GET {me} HTTP/1.1\r\nHost: {secret}\r\nConnection: close\r\n{key}\r\n"));
        requests.push(format!("GET {me} HTTP/1.1\r\nHost: {secret}.example\r\nConnection: close\r\n{key}\r\n"));
        requests.push(format!("GET {me} {secret}\r\n\r\n"));
        requests.push(format!("{secret}\r\n\r\n"));
        requests.push(request("GET", me, &format!("{key}X-Long: {}\r\n", secret.repeat(300))));
        requests.push(request("POST", me, &format!("{key}Transfer-Encoding: chunked\r\n")) + &format!("{secret}\r\n"));
        requests.push(
            request("POST", me, &format!("{key}Transfer-Encoding: chunked\r\n"))
                + &format!("2;{secret}\r\n{{}}\r\n0\r\nx: {secret}\r\n\r\n"),
        );
        requests.push(request("POST", me, &format!("{key}Content-Length: 50\r\n")) + "slow");
        requests.push(request("POST", me, &format!("{key}Content-Length: 4000\r\n")) + &secret.repeat(100)[..4000]);
        requests.push(format!("GET /slow/{secret}"));
    }
    // The routes, and what their upstreams do.
    for route in ["sales", "pair", "partner", "basic", "broken", "dead", "deaf", "none"] {
        requests.push(request("GET", &format!("/{route}/api/v1/me/"), &key));
        requests.push(request("GET", &format!("/{route}/api/v1/rejected/"), &key));
        requests.push(request("GET", &format!("/{route}/api/v1/api_key/"), &key));
    }
    for what in [
        "header",
        "location",
        "trace",
        "cookie",
        "reason",
        "body",
        "split",
        "trailer",
        "extension",
        "interim",
        "error",
        "malformed",
        "fields",
        "chunk",
        "cut",
        "stray",
        "tunnel",
        "silent",
        "slow",
    ] {
        requests.push(request("GET", &format!("/sales/api/v1/{what}/"), &key));
        requests
            .push(request("POST", &format!("/sales/api/v1/{what}/"), &format!("{key}Content-Length: 2\r\n")) + "{}");
    }
    requests.push(request("GET", "/sales/api/v1/secret/x/", &format!("Closegate-Key: {OTHER_KEY}\r\n")));
    requests.push(request("GET", "/partner/api/v1/me/", &format!("Closegate-Key: {OTHER_KEY}\r\n")));
    requests
}

/// What the admin listener is asked, secrets among it.
fn admin_requests() -> Vec<String> {
    let mut requests: Vec<String> = ["/metrics", "/healthz", "/readyz", "/", "/api/v1/config"]
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        .into();
    for secret in ALL {
        requests.push(format!("GET /{secret}?{secret} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"));
        requests.push(format!("{secret}\r\n\r\n"));
    }
    requests
}

/// Ends the gateway and returns everything that it gave away.
fn all_of(mut world: Spawned, mut given: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    for path in ["/metrics", "/healthz", "/readyz"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        given.push((path.to_owned(), talk(world.admin, request)));
    }
    given.push(("its arguments".to_owned(), world.proc("cmdline")));
    world.signal(rustix::process::Signal::TERM);
    assert_eq!(world.wait().code(), Some(0));
    given.push(("stdout".to_owned(), world.stdout.bytes()));
    given.push(("stderr".to_owned(), world.stderr.bytes()));
    let own = ["sales.secret", "next.secret", "password.secret", "main.key", "other.key"];
    for path in files_below(world.folder.path()) {
        if !own.contains(&path.file_name().unwrap().to_str().unwrap()) {
            given.push((format!("{path:?}"), std::fs::read(path).unwrap()));
        }
    }
    given
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn line_43_no_form_of_a_secret_leaves_the_gateway() {
    let origin = indiscreet();
    let world = planted(origin.address).spawn_as(|folder| {
        let mut command = closegate(folder);
        command.env("PARTNER_TOKEN", TOKEN);
        command
    });
    let (proxy, admin) = (world.proxy, world.admin);
    let requests = requests();
    let mut given = std::thread::scope(|scope| {
        let talk_all = |part: &[String]| part.iter().map(|request| (request.clone(), talk(proxy, request))).collect();
        let parts: Vec<_> = requests.chunks(20).map(|part| scope.spawn(move || -> Vec<_> { talk_all(part) })).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect::<Vec<_>>()
    });
    for request in admin_requests() {
        given.push((request.clone(), talk(admin, request)));
    }
    world.signal(rustix::process::Signal::HUP);
    world.stderr.wait_for("the configuration is reloaded", 1);
    let given = all_of(world, given);
    let stdout = &given.iter().find(|(what, _)| what == "stdout").unwrap().1;
    let lines = stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (events, records): (Vec<_>, Vec<_>) = lines.partition(|line| crate::raw::find(line, b",\"event\":").is_some());
    assert!(!events.is_empty(), "somebody was refused at the admin listener");
    let records = records.len();
    assert_eq!(records, requests.len(), "each request has its record");
    let search = Search::of(&ALL);
    for (what, bytes) in &given {
        if let Some(found) = search.find(bytes) {
            panic!("a secret is in {what}:\n{found}");
        }
    }
    // The control: the same search finds the secrets in what went in, and in what the upstream was sent.
    assert!(requests.iter().filter(|request| search.find(request.as_bytes()).is_some()).count() > requests.len() / 2);
    let seen = origin.seen();
    assert!(seen.len() > 30 && seen.iter().all(|seen| search.find(seen.head.as_bytes()).is_some()));
    // And it was the level `trace`, with every status that there is to provoke.
    let stderr = String::from_utf8_lossy(&given.iter().find(|(what, _)| what == "stderr").unwrap().1).into_owned();
    assert!(stderr.contains("DEBUG") || stderr.contains("TRACE"), "{stderr}");
    let stdout = String::from_utf8_lossy(stdout);
    for status in [200, 400, 401, 403, 404, 408, 413, 421, 431, 500, 502, 503, 504] {
        assert!(stdout.contains(&format!("\"status\":{status},")), "{status}: {stdout}");
    }
}

#[test]
fn line_43_faults_of_a_configuration_repeat_no_secret() {
    let search = Search::of(&ALL);
    let origin = Origin::plain();
    for secret in ALL {
        // What stands where a name is expected is told, unless it looks like a key.
        let shaped = secret.starts_with("api_") || secret.starts_with("cgk_");
        let name = if shaped { secret } else { "name" };
        for lines in [
            secret.to_owned(),
            format!("\"{name}\" = 1"),
            format!("[\"{name}\"]\na = 1"),
            format!("[listen]\n\"{name}\" = 1"),
            format!("[listen]\naddress = \"{secret}\""),
            format!("[listen]\nhosts = [\"{secret}\"]"),
            format!("[listen]\nmax_body = \"{secret}\""),
            format!("[listen]\nidle_timeout = \"{secret}"),
            format!("[upstream]\nurl = \"https://x:{secret}@api.close.com\""),
            format!("[upstream]\nurl = \"https://api.close.com/?k={secret}\""),
            format!("[upstream]\naddress = \"{secret}\""),
            format!("[log]\nlevel = \"{secret}=trace=x\""),
            format!("[credentials.x]\napi_key = \"{secret}\""),
            format!("[credentials.x]\nbearer = {{ env = \"{secret}\" }}"),
            format!("[credentials.x]\nbearer = {{ value = \"{secret}\" }}"),
            format!("[credentials.x]\nbearer = {{ command = \"{secret}\" }}"),
            format!("[credentials.x]\nbasic = {{ username = \"u\", password = \"{secret}\" }}"),
            format!("[credentials.\"{name}\"]\napi_key = {{ env = \"A\" }}"),
            format!("[keys.x]\nsecret = \"{secret}\"\nroutes = [\"x\"]"),
            format!("[keys.x]\nhash = \"{secret}\"\nroutes = [\"{secret}\"]"),
            format!("[routes.x]\nprefix = \"{secret}\"\ncredential = \"{secret}\"\nallow = [\"{secret}\"]"),
        ] {
            let folder = tempfile::TempDir::new().unwrap();
            std::fs::write(folder.path().join("closegate.toml"), format!("[listen2]\nx = 1\n{lines}\n")).unwrap();
            for arguments in [&["check"][..], &["check", "--output", "json"]] {
                let ended = run(closegate(folder.path()).args(arguments));
                assert_eq!(ended.code, Some(78), "{lines}");
                let found = search.find((ended.stdout + &ended.stderr).as_bytes());
                assert_eq!(found, None, "{lines}");
            }
        }
    }
    // In the environment, where the gateway's own settings may be mistaken for a place for secrets.
    for name in
        ["LISTEN__ADDRESS", "CREDENTIALS__SALES__API_KEY", "KEYS__MAIN__SECRET", "UPSTREAM__URL", "FROB", "LOG__LEVEL"]
    {
        let folder = gateway(origin.address).key("\"sales\"").write();
        let ended = run(closegate(folder.path()).env(format!("CLOSEGATE__{name}"), format!("{SECRET}=x")).arg("check"));
        assert_eq!(ended.code, Some(78), "{name}: {ended:?}");
        assert_eq!(search.find((ended.stdout + &ended.stderr).as_bytes()), None, "{name}");
    }
}

#[test]
fn line_43_debug_shows_no_secret() {
    let origin = Origin::plain();
    let folder = planted(origin.address).write();
    let path = folder.path().join("closegate.toml");
    // Here nothing is in the environment but what every test has, and relative paths begin somewhere else.
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("PARTNER_TOKEN", "CARGO_MANIFEST_DIR")
        .replace("[\"cat\", ", "[\"/bin/cat\", ");
    let text = text.replace("password.secret\"]", &format!("{}/password.secret\"]", folder.path().display()));
    std::fs::write(&path, text).unwrap();
    let environment: Environment = std::env::vars_os().collect();
    let sources = Sources { file: Some(path), environment, folder: folder.path().to_owned() };
    let loaded = config::load(&sources).unwrap_or_else(|faults| panic!("{faults}"));
    let vault = Secrets::check(&Together::alone(&loaded), Asking::Nobody).unwrap().vault;
    let sales = vault.find(&CredentialName::parse("sales").unwrap()).unwrap();
    let authorization = vault.authorization(sales).unwrap();
    let shown = format!("{loaded:#?} {loaded:?} {vault:#?} {vault:?} {authorization:#?} {:?}", vault.states());
    let mut request = http::HeaderMap::new();
    let redactor = authorization.inject(&mut request);
    let shown = format!("{shown} {redactor:?} {request:?} {request:#?}");
    let search = Search::of(&ALL);
    assert_eq!(search.find(shown.as_bytes()), None);
    assert!(shown.contains("sales") && shown.contains("Sensitive"), "{shown}");
    assert!(search.find(request["authorization"].as_bytes()).is_some(), "the control");
}

/// What this test does in a process of its own, once the variable names it.
const PANICS: &str = "CLOSEGATE_TEST_PANICS";

#[test]
fn line_43_a_panic_does_not_quote_what_it_was_working_on() {
    if let Ok(which) = std::env::var(PANICS) {
        return panics(&which);
    }
    let child = |which: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let this = "secrecy::line_43_a_panic_does_not_quote_what_it_was_working_on";
        command.args(["--exact", "--nocapture", this]).env(PANICS, which);
        run(&mut command)
    };
    let search = Search::of(&ALL);
    for (which, panics) in [("with messages", 3), ("before there are messages", 1)] {
        let ended = child(which);
        let text = ended.stdout + &ended.stderr;
        assert_eq!(search.find(text.as_bytes()), None, "{text}");
        assert_eq!(text.matches("a thread panicked").count(), panics, "{text}");
        assert_eq!(text.matches("secrecy.rs").count(), panics, "{text}");
    }
    // The control: without the hook of the gateway the payload is printed.
    let ended = child("without the hook");
    assert!(search.find((ended.stdout + &ended.stderr).as_bytes()).is_some());
}

fn panics(which: &str) {
    let _log = (which == "with messages").then(|| log::init("trace").unwrap());
    if which != "without the hook" {
        log::install_panic_hook();
    }
    let _ = std::thread::spawn(|| panic!("while sending {SECRET}")).join();
    if which == "with messages" {
        let _ = std::thread::spawn(|| std::panic::panic_any(SECRET.to_owned())).join();
        let _ = std::thread::spawn(|| std::panic::panic_any(KEY)).join();
    }
}
