//! Reloads: whole or not at all, in force at once, and no request in flight is lost (contract.md 3, security.md 39).

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use closegate::app::{Change, Outcome, Reloaded};
use rustix::process;

use crate::errors::told;
use crate::front::{Authority, TLS, sealed};
use crate::origin::Origin;
use crate::raw::{Answer, Raw};
use crate::signal::Signal;
use crate::spawned::{Spawned, closegate};
use crate::ways::every_front;
use crate::world::{INJECTED, KEY, OTHER_KEY, SECRET, Setup, World, gateway};

const NEW_SECRET: &str = "api_2c9LPTNb1PfwL0rKwU7G0t.PLANTEDnewPLANTEDnew0";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

fn injected(secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{secret}:")))
}

fn request(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {key}\r\n\r\n")
}

fn ask(world: &World, path: &str, key: &str) -> Answer {
    world.ask(request(path, key))
}

/// Has everything loaded again; the gateway may have noticed a change before it is asked.
#[track_caller]
fn reload(world: &World) {
    assert_eq!(world.reload().unwrap().waiting, [""; 0]);
}

fn outcome(change: Change) -> Reloaded {
    Ok(Outcome { change, waiting: Vec::new() })
}

/// One key for one credential, from files that are watched.
fn watched(origin: &Origin) -> Setup {
    gateway(origin.address).key("\"sales\"")
}

const OTHER: &str = "[keys.other]\nsecret = { file = \"other.key\" }\nroutes = [\"sales\"]\n";

#[test]
fn a_key_is_added_changed_and_removed() {
    let origin = Origin::plain();
    let world = watched(&origin).file("other.key", OTHER_KEY).start_reloading();
    let mut client = world.connect();
    let mut status = |key| {
        client.send(request("/sales/api/v1/me/", key));
        client.answer().status
    };
    assert_eq!((status(KEY), status(OTHER_KEY)), (200, 401));
    world.edit("[keys.main]", &format!("{OTHER}expires = 2027-06-30T00:00:00Z\n\n[keys.main]"));
    reload(&world);
    assert_eq!((status(KEY), status(OTHER_KEY)), (200, 200));
    let expiry = "closegate_key_expiry_timestamp_seconds{key=\"other\"}";
    assert_eq!(world.metric(expiry), 1_814_313_600.0);

    let fresh = "cgk_89jkmnpq_plantedfreshplantedfreshplanted0";
    world.write("main.key", fresh);
    reload(&world);
    assert_eq!((status(KEY), status(fresh), status(OTHER_KEY)), (401, 200, 200));
    world.edit(OTHER, "");
    world.edit("expires = 2027-06-30T00:00:00Z", "");
    reload(&world);
    assert_eq!((status(fresh), status(OTHER_KEY)), (200, 401));
    assert!(!world.metrics().contains(expiry), "its end is no matter any more");
    let count =
        "closegate_requests_total{route=\"sales\",credential=\"sales\",key=\"other\",method=\"GET\",status=\"200\"}";
    assert_eq!(world.metric(count), 2.0, "what it was counted by stays");
}

#[test]
fn the_last_key_leaves_no_open_door() {
    let origin = Origin::plain();
    let world = watched(&origin).start_reloading();
    world.edit("[keys.main]\nsecret = { file = \"main.key\" }\nroutes = [\"sales\"]", "");
    reload(&world);
    told(&ask(&world, "/sales/api/v1/me/", KEY), 401, "key_invalid");
    told(&world.ask("GET /sales/ HTTP/1.1\r\nHost: localhost\r\n\r\n"), 401, "key_missing");
    assert!(origin.seen().is_empty());
}

#[test]
fn a_route_and_its_credential_are_added_and_removed() {
    let origin = Origin::plain();
    let world = watched(&origin).file("token", "token-PLANTED-token").start_reloading();
    let partner = "[credentials.partner]\nbearer = { file = \"token\" }\n\n";
    world.edit("[keys.main]", &format!("{partner}[keys.main]"));
    world.edit("routes = [\"sales\"]", "routes = [\"partner\", \"sales\"]");
    told(&ask(&world, "/partner/api/v1/me/", KEY), 404, "no_route");
    reload(&world);
    assert_eq!(ask(&world, "/partner/api/v1/me/", KEY).status, 200);
    assert_eq!(ask(&world, "/sales/api/v1/me/", KEY).status, 200);
    let seen = origin.seen();
    assert_eq!(seen[0].values("authorization"), ["Bearer token-PLANTED-token"]);
    assert_eq!(seen[1].values("authorization"), [INJECTED]);
    assert_eq!(world.metric("closegate_credential_up{credential=\"partner\"}"), 1.0);

    world.edit(partner, "");
    world.edit("\"partner\", ", "");
    reload(&world);
    told(&ask(&world, "/partner/api/v1/me/", KEY), 404, "no_route");
    assert!(!world.metrics().contains("closegate_credential_up{credential=\"partner\"}"));
    // Its connection is let go, the other's is not.
    origin.wait_for_ends(1);
    assert_eq!((ask(&world, "/sales/api/v1/me/", KEY).status, origin.connections()), (200, 2));
}

#[test]
fn what_is_unchanged_stays_as_it_is() {
    let origin = Origin::plain();
    let world = watched(&origin).file("other.key", OTHER_KEY).start_reloading();
    assert_eq!(ask(&world, "/sales/api/v1/me/", KEY).status, 200);
    assert_eq!(world.reload(), outcome(Change::None));
    world.edit("[keys.main]", &format!("{OTHER}\n[keys.main]"));
    reload(&world);
    world.write("sales.secret", NEW_SECRET);
    reload(&world);
    assert_eq!(ask(&world, "/sales/api/v1/me/", KEY).status, 200);
    assert_eq!(origin.seen()[1].values("authorization"), [injected(NEW_SECRET)]);
    assert_eq!(origin.connections(), 1, "connections survive a reload that does not touch them");
    world.edit("danger_cleartext_upstream = true", "danger_cleartext_upstream = true\nidle_timeout = \"59s\"");
    reload(&world);
    origin.wait_for_ends(1);
    assert_eq!((ask(&world, "/sales/api/v1/me/", KEY).status, origin.connections()), (200, 2));
    assert!(world.metric("closegate_config_reloads_total{outcome=\"success\"}") >= 4.0);
}

#[test]
fn a_configuration_from_nowhere_has_its_secrets_read_again() {
    let origin = Origin::plain();
    let world = watched(&origin).start();
    assert_eq!(world.reload(), outcome(Change::None));
    world.write("sales.secret", NEW_SECRET);
    world.edit("[keys.main]", "[keys.another]");
    assert_eq!(world.reload(), outcome(Change::Applied));
    assert_eq!(world.reload(), outcome(Change::None));
    assert_eq!(ask(&world, "/sales/", KEY).status, 200);
    assert_eq!(origin.seen()[0].values("authorization"), [injected(NEW_SECRET)]);
    assert_eq!(world.records.wait_for(1)[0]["key"], "main");
}

#[test]
fn what_waits_for_a_restart_is_named_and_the_rest_applied() {
    let origin = Origin::plain();
    let world = watched(&origin).file("other.key", OTHER_KEY).start_reloading();
    world.edit("workers = 1", "workers = 2\nmax_body = \"1KiB\"");
    world.edit("[keys.main]", &format!("[log]\nlevel = \"debug\"\n\n{OTHER}\n[keys.main]"));
    world.edit("[admin]", "[listeners.more]\naddress = \"127.0.0.1:0\"\n\n[admin]");
    let waiting = ["listen.max_body", "listen.workers", "log.level", "listeners.more"].map(str::to_owned).to_vec();
    assert_eq!(world.reload().unwrap().waiting, waiting);
    assert_eq!(ask(&world, "/sales/api/v1/me/", OTHER_KEY).status, 200);
    assert_eq!(world.reload(), Ok(Outcome { change: Change::None, waiting }), "they still wait");
}

#[test]
fn whole_or_not_at_all() {
    let origin = Origin::plain();
    let world = watched(&origin).file("other.key", OTHER_KEY).start_reloading();
    let state = |world: &World| {
        let failures = world.metric("closegate_config_reloads_total{outcome=\"failure\"}");
        (failures > 0.0, world.metric("closegate_config_last_reload_successful"))
    };
    assert_eq!(state(&world), (false, 1.0));
    // A new key, a new secret, and three things that are wrong: one of the file, two of what it refers to.
    world.edit(
        "[keys.main]",
        &format!("{OTHER}\n[keys.bad]\nsecret = {{ file = \"absent.key\" }}\nroutes = [\"sales\"]\n\n[keys.main]"),
    );
    world.edit("[upstream]", "[upstream]\nredakt = \"off\"");
    world.write("sales.secret", "two\nlines");
    let faults = world.reload().unwrap_err();
    let [redact, sales, bad] = faults.as_slice() else { panic!("{faults:#?}") };
    assert!(redact.starts_with("upstream.redakt: ") && redact.contains("hint: ") && redact.contains("redact"));
    assert!(sales.contains("credentials.sales.api_key: ") && sales.contains("closegate.toml:"), "{sales}");
    assert!(bad.contains("absent.key") && bad.contains("keys.bad.secret"), "{bad}");
    assert_eq!(state(&world), (true, 0.0));
    assert_eq!((ask(&world, "/sales/", KEY).status, ask(&world, "/sales/", OTHER_KEY).status), (200, 401));
    assert_eq!(origin.seen()[0].values("authorization"), [INJECTED]);

    // With the file put right, what it refers to is still wrong.
    world.edit("\nredakt = \"off\"", "");
    assert_eq!(world.reload().unwrap_err().len(), 2);
    world.write("sales.secret", NEW_SECRET);
    assert_eq!(world.reload().unwrap_err().len(), 1);
    assert_eq!((ask(&world, "/sales/", KEY).status, ask(&world, "/sales/", OTHER_KEY).status), (200, 401));
    assert_eq!(origin.seen()[1].values("authorization"), [INJECTED], "not by halves");
    // A file that was missing and comes is noticed: nobody has to ask.
    world.write("absent.key", "cgk_89jkmnpq_plantedfreshplantedfreshplanted0");
    while ask(&world, "/sales/", OTHER_KEY).status != 200 {}
    assert_eq!(origin.seen().last().unwrap().values("authorization"), [injected(NEW_SECRET)]);
    assert_eq!(state(&world), (true, 1.0));
}

#[test]
fn a_rejected_credential_that_is_the_same_stays_rejected() {
    let origin = Origin::answering("HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n");
    let world = watched(&origin).file("other.key", OTHER_KEY).start_reloading();
    while ask(&world, "/sales/api/v1/lead/", KEY).status != 503 {}
    let rejections = "closegate_credential_rejections_total{credential=\"sales\"}";
    let sent = || origin.seen().iter().filter(|seen| seen.line().contains("lead")).count();
    let before = sent();
    world.edit("[keys.main]", &format!("{OTHER}\n[keys.main]"));
    reload(&world);
    told(&ask(&world, "/sales/api/v1/lead/", OTHER_KEY), 503, "credential_unavailable");
    assert_eq!((sent(), world.metric(rejections)), (before, 1.0), "it is not sent");
    assert_eq!(world.metric("closegate_credential_up{credential=\"sales\"}"), 0.0);
    world.write("sales.secret", NEW_SECRET);
    reload(&world);
    assert_eq!(ask(&world, "/sales/api/v1/lead/", OTHER_KEY).status, 401);
    assert_eq!(origin.seen().last().unwrap().values("authorization"), [injected(NEW_SECRET)]);
}

#[test]
fn a_command_is_run_again_and_one_that_fails_fails_no_reload() {
    let origin = Origin::plain();
    let setup = watched(&origin).file("token", "command-one-PLANTED");
    let command = "bearer = { command = [\"cat\", \"TOKEN\"] }";
    let world = setup.replace("credentials.sales", command).start_reloading();
    // Where it lies is known only now.
    world.edit("TOKEN", world.folder.path().join("token").to_str().unwrap());
    reload(&world);
    assert_eq!(ask(&world, "/sales/", KEY).status, 200);
    world.write("token", "command-two-PLANTED");
    reload(&world);
    assert_eq!(ask(&world, "/sales/", KEY).status, 200);
    let sent: Vec<_> = origin.seen().iter().map(|seen| seen.values("authorization")[0].to_owned()).collect();
    assert_eq!(sent, ["Bearer command-one-PLANTED", "Bearer command-two-PLANTED"]);
    fs::remove_file(world.folder.path().join("token")).unwrap();
    reload(&world);
    told(&ask(&world, "/sales/", KEY), 503, "credential_unavailable");
}

#[test]
fn line_39_what_is_in_flight_ends_as_it_began() {
    let (arrived, go_on) = (Signal::default(), Signal::default());
    let (arrives, goes_on) = (arrived.clone(), go_on.clone());
    let origin = Origin::start(move |conversation| {
        while let Some(head) = conversation.request_head() {
            let slow = head.contains("/slow");
            if slow {
                arrives.give();
                conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
                goes_on.wait();
            }
            if conversation.body_of(head).is_none() {
                return;
            }
            conversation.send(if slow { "6\r\nsecond\r\n0\r\n\r\n" } else { OK });
        }
    });
    let world = watched(&origin).start_reloading();
    let (mut slow, mut upload) = (world.connect(), world.connect());
    slow.send(request("/sales/slow", KEY));
    arrived.wait();
    upload.send(format!(
        "POST /sales/up HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nContent-Length: 8\r\n\r\nhalf"
    ));
    // The gateway has sent it on as soon as it counts it.
    while world.metric("closegate_in_flight_requests{route=\"sales\"}") < 2.0 {}
    world.write("sales.secret", NEW_SECRET);
    world.edit("[keys.main]", "[keys.another]");
    world.edit("danger_cleartext_upstream = true", "danger_cleartext_upstream = true\nidle_timeout = \"59s\"");
    reload(&world);
    assert_eq!(ask(&world, "/sales/new", KEY).status, 200);
    go_on.give();
    upload.send("half");
    assert_eq!((slow.answer().text().as_str(), upload.answer().status), ("firstsecond", 200));
    let authorized = |path: &str| {
        let seen = origin.seen();
        let seen = seen.iter().find(|seen| seen.line().contains(path)).unwrap();
        seen.values("authorization")[0].to_owned()
    };
    assert_eq!([authorized("/slow"), authorized("/up")], [INJECTED, INJECTED]);
    assert_eq!(authorized("/new"), injected(NEW_SECRET));
    let records = world.records.wait_for(3);
    let key = |path: &str| records.iter().find(|record| record["path"] == path).unwrap()["key"].clone();
    assert_eq!([key("/sales/slow"), key("/sales/up"), key("/sales/new")], ["main", "main", "another"]);
    // Both clients go on, on the connections that they have.
    for client in [&mut slow, &mut upload] {
        client.send(request("/sales/api/v1/me/", KEY));
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn a_request_is_sent_again_with_the_secret_that_is_in_force_then() {
    let (arrived, close) = (Signal::default(), Signal::default());
    let (arrives, closes) = (arrived.clone(), close.clone());
    let origin = Origin::start(move |conversation| {
        while let Some(seen) = conversation.request() {
            if conversation.number() == 1 && seen.line().contains("/again") {
                arrives.give();
                closes.wait();
                return conversation.shutdown();
            }
            conversation.send(OK);
        }
    });
    let world = watched(&origin).start_reloading();
    assert_eq!(ask(&world, "/sales/first", KEY).status, 200);
    let mut client = world.connect();
    client.send(request("/sales/again", KEY));
    arrived.wait();
    world.write("sales.secret", NEW_SECRET);
    reload(&world);
    close.give();
    assert_eq!(client.answer().status, 200);
    let seen = origin.seen();
    let sent: Vec<_> = seen.iter().map(|seen| seen.values("authorization")[0]).collect();
    assert_eq!(sent[..2], [INJECTED; 2]);
    assert_ne!(sent[2], INJECTED, "what is out of force is not sent any more");
    assert_eq!((sent.len(), &world.records.wait_for(2)[1]["attempts"]), (3, &2.into()));
}

/// Clients that keep their connections and ask on them again and again, until they are told to end.
pub(crate) struct Load {
    pub(crate) asked: AtomicUsize,
    over: AtomicBool,
}

impl Load {
    /// Runs so many clients beside what is to happen, at the doors in turn; none of their requests may fail.
    pub(crate) fn beside<T>(doors: &[SocketAddr], clients: usize, happens: impl FnOnce(&Self) -> T) -> T {
        let load = Self { asked: AtomicUsize::new(0), over: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            for number in 0..clients {
                let (mut client, load) = (Raw::connect(doors[number % doors.len()]), &load);
                scope.spawn(move || load.ask(&mut client, number));
            }
            let happened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| happens(&load)));
            load.over.store(true, Ordering::SeqCst);
            happened.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn ask(&self, client: &mut Raw, number: usize) {
        let post = "Content-Length: 4\r\n\r\nbody";
        let (method, rest) = if number.is_multiple_of(5) { ("POST", post) } else { ("GET", "\r\n") };
        let path = "/sales/api/v1/lead/";
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{rest}");
        while !self.over.load(Ordering::SeqCst) {
            assert!(client.send(&request));
            let answer = client.answer();
            assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{answer:?}");
            self.asked.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Waits until so many more requests were answered.
    pub(crate) fn go_on(&self, requests: usize) {
        let enough = self.asked.load(Ordering::SeqCst) + requests;
        while self.asked.load(Ordering::SeqCst) < enough {
            std::thread::yield_now();
        }
    }
}

#[test]
fn line_39_200_reloads_lose_no_request() {
    let origin = Origin::plain();
    let authority = Authority::new();
    let setup = watched(&origin).replace("listen", "address = \"127.0.0.1:0\"\nworkers = 2");
    let world = sealed(setup, &authority).file("other.key", OTHER_KEY).start_reloading();
    let doors = every_front(world.proxy, world.place(TLS), &authority);
    Load::beside(&doors, 32, |load| {
        for round in 0..200 {
            match round % 4 {
                0 => world.write("sales.secret", NEW_SECRET),
                1 => world.edit("[keys.main]", &format!("{OTHER}\n[keys.main]")),
                2 => world.edit("[upstream]", "[upstream]\nidle_timeout = \"59s\""),
                _ => {
                    world.write("sales.secret", SECRET);
                    world.edit(&format!("{OTHER}\n[keys.main]"), "[keys.main]");
                    world.edit("[upstream]\nidle_timeout = \"59s\"", "[upstream]");
                }
            }
            reload(&world);
            load.go_on(8);
        }
        assert!(load.asked.load(Ordering::SeqCst) >= 1600);
    });
    assert!(world.metric("closegate_config_reloads_total{outcome=\"success\"}") >= 200.0);
    assert_eq!(world.metric("closegate_config_reloads_total{outcome=\"failure\"}"), 0.0);
}

/// Writes a folder's worth of a mounted secret and points `..data` at it, as Kubernetes does.
fn mount(folder: &Path, version: &str, secret: &str) {
    fs::create_dir_all(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("token"), secret).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[test]
fn a_mounted_secret_is_in_force_within_2_seconds() {
    let origin = Origin::plain();
    let setup = watched(&origin).replace("credentials.sales", "bearer = { file = \"mounted/token\" }");
    let mounted = setup.path().join("mounted");
    mount(&mounted, "..2026_11_01", "token-one-PLANTED");
    symlink("..data/token", mounted.join("token")).unwrap();
    let world = setup.start_reloading();
    Load::beside(&[world.proxy], 32, |load| {
        load.go_on(50);
        assert!(origin.seen().iter().all(|seen| seen.values("authorization") == ["Bearer token-one-PLANTED"]));
        for (version, token) in [("..2026_11_02", "token-two-PLANTED"), ("..2026_11_03", "token-three-PLANTED")] {
            let begun = Instant::now();
            mount(&mounted, version, token);
            let header = format!("Bearer {token}");
            let mut known = origin.seen().len();
            loop {
                let seen = origin.wait_for(known + 1);
                if seen[known..].iter().any(|seen| seen.values("authorization") == [&*header]) {
                    break;
                }
                known = seen.len();
            }
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            load.go_on(50);
        }
        let last = origin.seen();
        assert_eq!(last[last.len() - 1].values("authorization"), ["Bearer token-three-PLANTED"]);
    });
}

#[test]
fn a_changed_file_is_noticed_and_a_fault_in_it_said() {
    let origin = Origin::plain();
    let process = watched(&origin).file("other.key", OTHER_KEY).spawn();
    let file = process.folder.path().join("closegate.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("[keys.main]", "[keys.main]\nhsh = \"\"")).unwrap();
    process.stderr.wait_for("the configuration is not reloaded: everything stays as it was", 1);
    let said = process.stderr.text();
    assert!(said.contains("a file has changed") && said.contains("closegate.toml"), "{said}");
    assert!(said.contains("keys.main.hsh") && said.contains("hint: did you mean `hash`?"), "{said}");
    assert_eq!(process.get("/sales/api/v1/me/").status, 200);
    let metrics = process.ask_admin("/metrics").text();
    assert!(metrics.contains("\nclosegate_config_reloads_total{outcome=\"failure\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nclosegate_config_last_reload_successful 0\n"), "{metrics}");

    // Without its file the configuration would be nothing but defaults.
    fs::remove_file(&file).unwrap();
    process.stderr.wait_for("the configuration file is not there any more", 1);
    process.stderr.wait_for("the configuration is not reloaded", 2);
    assert_eq!(process.get("/sales/api/v1/me/").status, 200);

    let address = good.lines().find(|line| line.starts_with("address")).unwrap();
    let elsewhere = format!("address = \"{}\"", process.admin);
    fs::write(&file, good.replacen(address, &elsewhere, 1) + "\n" + OTHER).unwrap();
    process.stderr.wait_for("the configuration is reloaded", 1);
    assert!(process.stderr.text().contains("listen.address: was changed; hint: it takes effect at a restart"));
    let other = process.ask(request("/sales/api/v1/me/", OTHER_KEY));
    assert_eq!(other.status, 200);
    let said = process.stderr.text();
    for secret in [SECRET, KEY, OTHER_KEY] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn sighup_reloads() {
    let origin = Origin::plain();
    let setup = watched(&origin).file("token", "command-one-PLANTED");
    // A file that a command reads is nobody's to watch.
    let process = setup.replace("credentials.sales", "bearer = { command = [\"cat\", \"token\"] }").spawn();
    assert_eq!(process.get("/sales/").status, 200);
    fs::write(process.folder.path().join("token"), "command-two-PLANTED").unwrap();
    process.signal(process::Signal::HUP);
    process.stderr.wait_for("the configuration is reloaded", 1);
    assert!(process.stderr.text().contains("reloading signal=\"SIGHUP\""));
    assert_eq!(process.get("/sales/").status, 200);
    let sent: Vec<_> = origin.seen().iter().map(|seen| seen.values("authorization")[0].to_owned()).collect();
    assert_eq!(sent, ["Bearer command-one-PLANTED", "Bearer command-two-PLANTED"]);
}

#[test]
fn the_files_of_the_two_variables_are_watched() {
    let origin = Origin::plain();
    let folder = gateway(origin.address).file("key", KEY).write();
    fs::remove_file(folder.path().join("closegate.toml")).unwrap();
    let mut command = closegate(folder.path());
    command
        .env("CLOSE_API_KEY_FILE", "sales.secret")
        .env("CLOSEGATE_KEY_FILE", "key")
        .env("CLOSEGATE__LISTEN__ADDRESS", "127.0.0.1:0")
        .env("CLOSEGATE__ADMIN__ADDRESS", "127.0.0.1:0")
        .env("CLOSEGATE__UPSTREAM__URL", format!("http://{}", origin.address))
        .env("CLOSEGATE__UPSTREAM__DANGER_CLEARTEXT_UPSTREAM", "true");
    let process = Spawned::start(command, folder);
    assert_eq!(process.get("/api/v1/me/").status, 200);
    fs::write(process.folder.path().join("sales.secret"), NEW_SECRET).unwrap();
    process.stderr.wait_for("the configuration is reloaded", 1);
    assert_eq!(process.get("/api/v1/me/").status, 200);
    fs::write(process.folder.path().join("key"), OTHER_KEY).unwrap();
    process.stderr.wait_for("the configuration is reloaded", 2);
    assert_eq!(process.get("/api/v1/me/").status, 401);
    let sent: Vec<_> = origin.seen().iter().map(|seen| seen.values("authorization")[0].to_owned()).collect();
    assert_eq!(sent, [INJECTED.to_owned(), injected(NEW_SECRET)]);
}

#[test]
fn what_is_doubtful_and_waits_for_a_restart_is_told_at_the_reload() {
    let setup = gateway("127.0.0.1:1".parse().unwrap());
    let wide = setup.text().replacen("address = \"127.0.0.1:0\"", "address = \"0.0.0.0:0\"", 1);
    let world = setup.spawn();
    fs::write(world.folder.path().join("closegate.toml"), wide).unwrap();
    world.stderr.wait_for("listen.address: a plain listener beyond loopback", 1);
}
