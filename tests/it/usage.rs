//! What is used is counted, kept through restarts and crashes, added up over replicas, and can be acted on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use closegate::admin::Management;
use closegate::admin::model::{NewKey, Scope, Suggestion, Usage, UsageBy, UsageQuery, UsageRow};
use closegate::sim::{Accepted, Options, Simulator};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::python;
use crate::manage::{by, key_name, new_key, wait};
use crate::origin::Origin;
use crate::postgres::Postgres;
use crate::raw::Raw;
use crate::spawned::{Ended, Spawned, closegate, run};
use crate::world::{KEY, OTHER_KEY, RUNTIME, SECRET, Setup, World, gateway};

const LEADS: &str = "/sales/api/v1/lead/";

/// Two keys for one route.
fn two_keys(origin: &Origin) -> Setup {
    gateway(origin.address).key("\"sales\"").other_key("\"sales\"")
}

fn usage(desk: &dyn Management, query: UsageQuery) -> Usage {
    wait(desk.usage(query)).unwrap()
}

fn by_name(by: UsageBy) -> UsageQuery {
    UsageQuery { by: Some(by), ..UsageQuery::default() }
}

/// Names and requests.
fn told(usage: &Usage) -> Vec<(&str, u64)> {
    usage.rows.iter().map(|row| (row.name.as_str(), row.requests)).collect()
}

fn ask(world: &World, method: &str, path: &str, key: &str) -> u16 {
    let body = if method == "POST" { "Content-Length: 2\r\n\r\n{}" } else { "\r\n" };
    world.ask(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {key}\r\n{body}")).status
}

#[test]
fn usage_is_counted_by_key_route_endpoint_credential_and_status_and_survives_a_restart() {
    let origin = Origin::plain();
    let world = two_keys(&origin).set("keys.other", "scopes = [\"read\"]").start();
    for _ in 0..3 {
        assert_eq!(ask(&world, "GET", LEADS, KEY), 200);
    }
    assert_eq!(ask(&world, "POST", LEADS, KEY), 200);
    assert_eq!(ask(&world, "GET", LEADS, OTHER_KEY), 200);
    assert_eq!(ask(&world, "POST", LEADS, OTHER_KEY), 403);
    assert_eq!(ask(&world, "GET", LEADS, "nobody"), 401);
    world.records.wait_for(7);
    let folder = {
        let desk = world.management();
        expect_all(&*desk);
        world.stop()
    };
    let again = two_keys(&origin).set("keys.other", "scopes = [\"read\"]").in_folder(folder).start();
    expect_all(&*again.management());
    // What is removed stays readable under its name.
    let folder = again.stop();
    let one = gateway(origin.address).key("\"sales\"").in_folder(folder).start();
    expect_all(&*one.management());
    let used = wait(one.management().key(&key_name("main"))).unwrap().last_used_at.unwrap();
    assert!(used.as_second() <= jiff::Timestamp::now().as_second(), "{used}");
    let last = one.metric("closegate_key_last_used_timestamp_seconds{key=\"main\"}");
    assert_eq!(last as i64, used.as_second(), "the metric remembers as well");
}

#[test]
fn a_route_that_a_key_of_the_file_has_closed_stays_closed_when_the_key_is_gone() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    assert_eq!(ask(&world, "GET", LEADS, KEY), 200);
    let folder = world.stop();
    let open = gateway(origin.address).in_folder(folder).start();
    assert_eq!(open.get(LEADS, "").status, 401, "once a key has ever been defined");
    // One that nothing was ever written for has nothing to remember it by.
    let fresh = gateway(origin.address).start();
    assert_eq!(fresh.get(LEADS, "").status, 200);
}

fn expect_all(desk: &dyn Management) {
    let rows = |by| usage(desk, by_name(by));
    let keys = rows(UsageBy::Key);
    assert_eq!(told(&keys), [("main", 4), ("other", 2), ("none", 1)]);
    let UsageRow { errors, refused, rate_limited, request_bytes, response_bytes, .. } = keys.rows[1];
    assert_eq!((errors, refused, rate_limited, request_bytes), (1, 1, 0, 0));
    assert!(response_bytes > 0 && keys.rows[0].request_bytes == 2, "{keys:?}");
    assert!(keys.rows[0].p95_ms >= keys.rows[0].p50_ms && keys.rows[0].p50_ms >= Some(1.0), "{keys:?}");
    assert_eq!(keys.total.requests, 7);
    assert_eq!(told(&rows(UsageBy::Route)), [("sales", 6), ("none", 1)]);
    assert_eq!(told(&rows(UsageBy::Credential)), [("sales", 6), ("none", 1)]);
    let endpoints = [("GET /api/v1/lead/", 4), ("POST /api/v1/lead/", 2), ("none", 1)];
    assert_eq!(told(&rows(UsageBy::Endpoint)), endpoints);
    assert_eq!(told(&rows(UsageBy::Status)), [("2xx", 5), ("4xx", 2)]);
    let longer = UsageQuery { since: Some("30d".to_owned()), ..by_name(UsageBy::Status) };
    assert_eq!(told(&usage(desk, longer)), [("2xx", 5), ("4xx", 2)], "by the day");
    let key = Some("other".to_owned());
    let endpoint = Some("GET /api/v1/lead/".to_owned());
    let narrow = UsageQuery { key, endpoint, points: Some(24), ..by_name(UsageBy::Key) };
    let narrow = usage(desk, narrow);
    assert_eq!(told(&narrow), [("other", 1)]);
    let chart = narrow.chart.unwrap();
    assert_eq!((chart.step_seconds, chart.lines.len(), chart.lines[0].requests.len()), (3600, 1, 24));
    assert_eq!(chart.lines[0].requests.iter().sum::<u64>(), 1);
}

#[test]
fn usage_is_answered_over_http_and_on_the_command_line_with_and_without_a_gateway() {
    let origin = Origin::plain();
    let mut world = two_keys(&origin).spawn();
    assert_eq!(world.get(LEADS).status, 200);
    let admin = world.admin.to_string();
    let call = |world: &Spawned, arguments: &[&str]| -> Ended {
        run(closegate(world.folder.path()).args(arguments).env("CLOSEGATE__ADMIN__ADDRESS", &admin))
    };
    let json = |ended: &Ended| -> Value { serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}")) };
    let token = std::fs::read_to_string(world.folder.path().join("closegate/admin.token")).unwrap();
    let over_http = |path: &str| {
        let mut client = Raw::connect(world.admin);
        let token = token.trim();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"));
        let answer = client.answer();
        (answer.status, answer.json())
    };
    let (status, answer) = over_http("/api/v1/usage?by=endpoint&since=1h&points=10");
    assert_eq!((status, &answer["rows"][0]["name"]), (200, &json!("GET /api/v1/lead/")), "{answer}");
    let steps = answer["chart"]["lines"][0]["requests"].as_array().unwrap();
    assert!(steps.len() <= 10 && steps.last() == Some(&json!(1)), "{answer}");
    for bad in ["points=0", "points=1441", "since=soon", "by=colour", "bye=key", "key=a%00"] {
        let (status, answer) = over_http(&format!("/api/v1/usage?{bad}"));
        assert_eq!((status, &answer["code"]), (400, &json!("malformed")), "{bad}: {answer}");
    }
    for good in ["since=0s", "since=999999d", "key=nobody"] {
        assert_eq!(over_http(&format!("/api/v1/usage?{good}")).0, 200, "{good}");
    }
    let (status, answer) = over_http("/api/v1/keys/main/suggestion");
    assert_eq!((status, &answer["allow"]), (200, &json!(["GET /api/v1/lead/"])), "{answer}");
    assert_eq!(over_http("/api/v1/keys/nobody/suggestion").0, 404);

    let asked = |world: &Spawned| {
        let text = call(world, &["usage", "--by", "key"]);
        let row = text.stdout.lines().find(|line| line.starts_with("main ")).unwrap_or_else(|| panic!("{text:?}"));
        assert_eq!(row.split_whitespace().nth(1), Some("1"), "{row}");
        let usage = json(&call(world, &["--output", "json", "usage", "--by", "status", "--since", "7d"]));
        assert_eq!((&usage["by"], &usage["rows"][0]["name"]), (&json!("status"), &json!("2xx")), "{usage}");
        let advice = call(world, &["key", "suggest", "main"]);
        assert!(advice.stdout.contains("scopes = [\"read\"]\nallow = [\n    \"GET /api/v1/lead/\",\n]"), "{advice:?}");
        let unknown = call(world, &["key", "suggest", "nobody"]);
        assert!(unknown.code == Some(1) && unknown.stderr.contains("`nobody`"), "{unknown:?}");
    };
    asked(&world);
    world.signal(Signal::TERM);
    assert!(world.wait().success());
    asked(&world);
}

#[test]
fn replicas_add_up_also_what_they_counted_while_the_database_was_away() {
    let origin = Origin::plain();
    let mut postgres = Postgres::start();
    let store = format!("url = \"{}\"\nmaster_key = {{ file = \"master\" }}", postgres.url());
    let replica = || {
        let master = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
        two_keys(&origin).file("master", master).set("store", &store).start()
    };
    let (one, two) = (replica(), replica());
    for world in [&one, &two] {
        assert_eq!(ask(world, "GET", LEADS, KEY), 200);
        world.records.wait_for(1);
    }
    postgres.halt();
    for _ in 0..3 {
        assert_eq!(ask(&one, "GET", LEADS, OTHER_KEY), 200);
    }
    one.records.wait_for(4);
    postgres.resume();
    // Each writes what is left when it ends.
    drop(one.stop());
    drop(two.stop());
    let late = replica();
    let query = by_name(UsageBy::Key);
    assert_eq!(told(&usage(&*late.management(), query)), [("other", 3), ("main", 2)]);
}

/// Clients that ask as fast as they can, and note each answer of 200 with its time.
struct Crowd {
    stop: AtomicBool,
    sent: AtomicU64,
    answered: Mutex<Vec<SystemTime>>,
    refused: AtomicBool,
    changed: Condvar,
}

impl Crowd {
    fn of(world: &Spawned, clients: usize) -> (Arc<Self>, Vec<std::thread::JoinHandle<()>>) {
        let crowd = Arc::new(Self {
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            answered: Mutex::default(),
            refused: AtomicBool::new(false),
            changed: Condvar::new(),
        });
        let address = world.proxy;
        let ask = |crowd: Arc<Self>| move || crowd.ask(address);
        let threads = (0..clients).map(|_| std::thread::spawn(ask(Arc::clone(&crowd)))).collect();
        (crowd, threads)
    }

    fn ask(&self, address: std::net::SocketAddr) {
        let mut client = Raw::connect(address);
        while !self.stop.load(Ordering::SeqCst) {
            self.sent.fetch_add(1, Ordering::SeqCst);
            if !client.send(format!("GET {LEADS} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n")) {
                return;
            }
            match client.try_answer() {
                Some(answer) if answer.status == 200 => {
                    self.answered.lock().unwrap().push(SystemTime::now());
                    self.changed.notify_all();
                }
                Some(answer) => {
                    assert_eq!(answer.status, 429);
                    self.refused.store(true, Ordering::SeqCst);
                    self.changed.notify_all();
                    return;
                }
                // The gateway was killed.
                None => return,
            }
        }
    }

    /// Waits until the answers of 200 so far, or that one was refused, are as asked.
    fn wait_until(&self, so: impl Fn(&[SystemTime]) -> bool) {
        let answered = self.answered.lock().unwrap();
        let waits = |answered: &mut Vec<SystemTime>| !so(answered);
        let (answered, timeout) = self.changed.wait_timeout_while(answered, STUCK, waits).unwrap();
        assert!(!timeout.timed_out(), "it is stuck after {} answers", answered.len());
    }

    fn answers(&self) -> u64 {
        self.answered.lock().unwrap().len() as u64
    }
}

const STUCK: Duration = Duration::from_secs(120);

/// What a key has left of its day.
fn left(world: &Spawned) -> u64 {
    let told = world.get("/.well-known/closegate").json();
    told["limits"]["daily_quota"]["left"].as_u64().unwrap_or_else(|| panic!("{told}"))
}

/// Kills the gateway as nothing can defend against, under load, and starts it in the same folder.
fn killed(mut world: Spawned, crowd: &Crowd, threads: Vec<std::thread::JoinHandle<()>>) -> Spawned {
    world.signal(Signal::KILL);
    let folder = std::mem::replace(&mut world.folder, tempfile::TempDir::new().unwrap());
    world.wait();
    crowd.stop.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    Spawned::start(closegate(folder.path()), folder)
}

#[test]
fn of_a_gateway_that_is_killed_under_load_no_quota_comes_back() {
    const QUOTA: u64 = 5000;
    const CLIENTS: usize = 8;
    const KILLS: u64 = 5;
    let origin = Origin::plain();
    let limit = format!("daily_quota = {QUOTA}");
    let mut world = gateway(origin.address).set("keys.main", &limit).key("\"sales\"").spawn();
    let mut answered = 0;
    for _ in 0..KILLS {
        let before = left(&world);
        let (crowd, threads) = Crowd::of(&world, CLIENTS);
        crowd.wait_until(|answered| answered.len() >= 500);
        let seen = left(&world);
        world = killed(world, &crowd, threads);
        answered += crowd.answers();
        let after = left(&world);
        assert!(after <= seen && seen <= before, "{before}, {seen}, {after}");
        assert!(after <= QUOTA - answered, "{after} after {answered}");
    }
    let (crowd, threads) = Crowd::of(&world, CLIENTS);
    crowd.wait_until(|_| crowd.refused.load(Ordering::SeqCst));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(left(&world), 0);
    let sent = origin.seen().len() as u64;
    assert!(sent <= QUOTA, "{sent} were sent");
    // Each kill costs what was given and not used: a hundredth, or one for each that waited.
    let lost = KILLS * (QUOTA / 100 + 2 * CLIENTS as u64);
    assert!(sent + lost >= QUOTA, "{sent} were sent");
}

#[test]
fn a_gateway_that_is_killed_under_load_loses_at_most_ten_seconds_of_usage() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").spawn();
    let (crowd, threads) = Crowd::of(&world, 4);
    let begun = Instant::now();
    crowd.wait_until(|_| begun.elapsed() > Duration::from_secs(13));
    let killed_at = SystemTime::now();
    let world = killed(world, &crowd, threads);
    let answered = crowd.answered.lock().unwrap();
    let old = answered.iter().filter(|at| **at + Duration::from_secs(10) < killed_at).count() as u64;
    let counted = run(closegate(world.folder.path())
        .args(["--output", "json", "usage"])
        .env("CLOSEGATE__ADMIN__ADDRESS", world.admin.to_string()));
    let usage: Value = serde_json::from_str(&counted.stdout).unwrap_or_else(|_| panic!("{counted:?}"));
    let counted = usage["total"]["requests"].as_u64().unwrap();
    assert!(old > 0 && counted >= old, "{counted} of {old} that were old enough, {} in all", answered.len());
    assert!(counted <= crowd.sent.load(Ordering::SeqCst), "none is counted twice");
}

#[test]
fn gateways_that_share_a_store_share_the_days_of_keys() {
    let origin = Origin::plain();
    let postgres = Postgres::start();
    let store = format!("url = \"{}\"\nmaster_key = {{ file = \"master\" }}", postgres.url());
    let replica = || {
        let master = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
        let setup = gateway(origin.address).file("master", master).set("store", &store);
        setup.set("keys.main", "daily_quota = 60").key("\"sales\"").start()
    };
    let worlds = [replica(), replica()];
    let mut admitted = 0;
    for number in 0..100 {
        match worlds[number % 2].get(LEADS, "").status {
            200 => admitted += 1,
            status => assert_eq!(status, 429),
        }
    }
    assert_eq!(admitted, 60);
}

#[test]
fn what_is_suggested_lets_the_same_traffic_pass_and_no_deletion() {
    let options = Options::new().strict().accept(Accepted::api_key("sales", SECRET));
    let simulator = RUNTIME.block_on(Simulator::start(options)).unwrap();
    let world = gateway(simulator.address()).set("store", "url = \"memory:\"").start();
    let desk = world.management();
    let made = |new: NewKey| wait(desk.create_key(new, &by())).unwrap().text.reveal().to_owned();
    let work = |key: &str, forbidden: bool| -> u64 {
        let base = format!("http://{}/sales/api/v1/", world.proxy);
        let sent = python("keeper.py", &json!({ "base": base, "key": key, "forbidden": forbidden }));
        serde_json::from_slice(&sent).unwrap()
    };
    let wide = made(NewKey { scopes: vec![Scope::All], ..new_key("wide", &["sales"]) });
    let sent = work(&wide, false);
    let Suggestion { scopes, allow, used, undocumented, .. } = wait(desk.suggestion(&key_name("wide"))).unwrap();
    assert_eq!((used.iter().map(|one| one.requests).sum::<u64>(), undocumented), (sent, 0), "{used:?}");
    assert!(allow.contains(&"GET,PUT /api/v1/lead/*".to_owned()), "{allow:?}");
    let narrow = made(NewKey { scopes, allow, ..new_key("narrow", &["sales"]) });
    work(&narrow, true);
    // What was refused was not used: of the narrow key the same is suggested once more.
    let again = wait(desk.suggestion(&key_name("narrow"))).unwrap();
    assert_eq!(again.used, used);
    drop(world);
    RUNTIME.block_on(simulator.stop());
}
