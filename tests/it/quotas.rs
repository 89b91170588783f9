//! How much a key may ask: rate, requests in flight, requests a day; what a refusal says, and what a key is told of it.

use std::sync::{Mutex, mpsc};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::errors::{told, told_limit};
use crate::origin::Origin;
use crate::raw::Raw;
use crate::world::{KEY, OTHER_KEY, Setup, World, gateway};

fn world(origin: &Origin, lines: &str) -> World {
    gateway(origin.address).set("keys.main", lines).key("\"sales\"").start()
}

const TARGET: &str = "/sales/api/v1/me/";

/// A request on a connection that stays.
fn send(world: &World) -> Raw {
    let mut client = world.connect();
    client.send(format!("GET {TARGET} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
    client
}

/// What a key is told of itself.
fn told_of(world: &World, key: &str) -> Value {
    let head = "GET /.well-known/closegate HTTP/1.1\r\nHost: localhost\r\nClosegate-Key:";
    let answer = world.ask(format!("{head} {key}\r\n\r\n"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

#[test]
fn a_rate_lets_a_burst_through_and_then_says_how_long_to_wait() {
    let origin = Origin::plain();
    let world = world(&origin, "rate = \"60/h\"\nburst = 2");
    for _ in 0..2 {
        assert_eq!(world.get(TARGET, "").status, 200);
    }
    let refused = world.get(TARGET, "");
    let body = told_limit(&refused, "key_rate_limited");
    let error = &body["error"];
    assert_eq!(
        (&error["rate_limit"], &error["rate_window"], &error["rate_limit_type"]),
        (&json!(60), &json!(3600), &json!("key"))
    );
    // One a minute.
    assert!((1..=60).contains(&body["rate_reset"].as_u64().unwrap()), "{body}");
    assert_eq!(origin.seen().len(), 2);
    let record = &world.records.wait_for(3)[2];
    assert_eq!(
        (&record["status"], &record["code"], &record["key"]),
        (&json!(429), &json!("key_rate_limited"), &json!("main"))
    );
    assert_eq!(world.metric("closegate_refused_requests_total{route=\"sales\",code=\"key_rate_limited\"}"), 1.0);
}

#[test]
fn what_is_refused_for_another_reason_uses_nothing_up() {
    let origin = Origin::plain();
    let world = world(&origin, "scopes = [\"read\"]\nrate = \"1/h\"\ndaily_quota = 1");
    told(&world.get("/sales/%2e", ""), 400, "path_not_canonical");
    told(&world.get("/sales/oauth2/token", ""), 403, "secrets_endpoint");
    told(&world.get("/sales/api/v1/export/", ""), 403, "scope_missing");
    told(&world.get("/nowhere", ""), 404, "no_route");
    assert_eq!(world.get(TARGET, "").status, 200);
    assert_eq!(world.get(TARGET, "").status, 429);
}

/// Until it is sent a request is none of its day, whatever is found out about it after it was admitted.
#[test]
fn what_never_reached_the_upstream_is_none_of_its_day() {
    while !asked_within_a_day(refused_after_it_was_admitted) {}
}

fn refused_after_it_was_admitted() -> Box<dyn FnOnce()> {
    let origin = Origin::plain();
    let lines = "scopes = [\"write\"]\ndaily_quota = 2";
    let world =
        gateway(origin.address).set("listen", "max_body = \"1KiB\"").set("keys.main", lines).key("\"sales\"").start();
    let post = |path: &str, rest: &str| {
        let head = format!("POST /sales/api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n");
        world.ask(head + "Content-Type: application/json\r\n" + rest)
    };
    let mail = "activity/email/";
    let outbox = "Content-Length: 19\r\n\r\n{\"status\":\"outbox\"}";
    let unsent = [
        (post("lead/", "Content-Length: 2000\r\n\r\n"), 413, "body_too_large"),
        (post(mail, "Content-Length: 2000\r\n\r\n"), 413, "body_too_large"),
        (post(mail, "Transfer-Encoding: chunked\r\n\r\nnothing\r\n"), 400, "request_malformed"),
        (post(mail, outbox), 403, "scope_missing"),
    ];
    let left = || told_of(&world, KEY)["limits"]["daily_quota"]["left"].clone();
    let (at_first, seen) = (left(), origin.connections());
    // What the upstream saw the beginning of is one of the day.
    let chunk = format!("{:x}\r\n{}\r\n", 900, "x".repeat(900));
    let cut = post("lead/", &format!("Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}"));
    let then = left();
    let whole = post("lead/", "Content-Length: 2\r\n\r\n{}");
    let more = post("lead/", "Content-Length: 2\r\n\r\n{}");
    Box::new(move || {
        for (answer, status, code) in &unsent {
            told(answer, *status, code);
        }
        assert_eq!((at_first, seen), (json!(2), 0));
        told(&cut, 413, "body_too_large");
        assert_eq!((then, whole.status), (json!(1), 200));
        told_limit(&more, "key_quota_exhausted");
    })
}

#[test]
fn an_upstream_that_cannot_be_reached_costs_nothing_of_the_day() {
    while !asked_within_a_day(unreachable) {}
}

fn unreachable() -> Box<dyn FnOnce()> {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let world = gateway(address).set("keys.main", "daily_quota = 1").key("\"sales\"").start();
    let answers = [(); 3].map(|()| world.get(TARGET, "").status);
    let left = told_of(&world, KEY)["limits"]["daily_quota"]["left"].clone();
    Box::new(move || assert_eq!((answers, left), ([503; 3], json!(1))))
}

#[test]
fn a_request_in_flight_keeps_its_place_until_its_answer_ends() {
    let (next, steps) = mpsc::channel::<()>();
    let steps = Mutex::new(steps);
    let origin = Origin::start(move |conversation| {
        conversation.request();
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab");
        steps.lock().unwrap().recv().unwrap();
        conversation.send("cd");
    });
    let world = world(&origin, "concurrency = 1");
    let mut first = send(&world);
    assert_eq!((first.head().status, first.take(2)), (200, b"ab".to_vec()));
    let body = told_limit(&world.get(TARGET, ""), "key_concurrency_limited");
    assert_eq!((&body["rate_reset"], &body["error"]["rate_limit"]), (&json!(1), &json!(1)));
    assert_eq!(told_of(&world, KEY)["limits"]["concurrency"], json!({ "limit": 1, "left": 0 }));
    next.send(()).unwrap();
    assert_eq!(first.take(2), b"cd");
    world.records.wait_until(|records| {
        records.iter().any(|record| record["status"] == 200 && record["path"] == "/sales/api/v1/me/")
    });
    assert_eq!(told_of(&world, KEY)["limits"]["concurrency"], json!({ "limit": 1, "left": 1 }));
    next.send(()).unwrap();
    assert_eq!(world.get(TARGET, "").status, 200);
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let origin = Origin::start(|conversation| {
        conversation.request();
        conversation.wait_for_end();
    });
    let world = world(&origin, "concurrency = 1");
    for number in 0..3 {
        let client = send(&world);
        origin.wait_for(number + 1);
        assert_eq!(told_of(&world, KEY)["limits"]["concurrency"]["left"], 0);
        drop(client);
        world.records.wait_until(|records| records.iter().filter(|record| record["status"] == 499).count() > number);
    }
    assert_eq!(told_of(&world, KEY)["limits"]["concurrency"]["left"], 1);
}

#[test]
fn a_day_has_so_many_requests_and_workers_share_them() {
    // A day that ends meanwhile begins the count anew: then it is asked once more.
    while !asked_within_a_day(a_day_is_shared) {}
}

/// Whether it was the same day before and after.
fn asked_within_a_day(ask: fn() -> Box<dyn FnOnce()>) -> bool {
    let day = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let before = day();
    let judge = ask();
    let same = day() == before;
    if same {
        judge();
    }
    same
}

fn a_day_is_shared() -> Box<dyn FnOnce()> {
    let origin = Origin::plain();
    let setup = gateway(origin.address).replace("listen", "address = \"127.0.0.1:0\"\nworkers = 4");
    let world = setup.set("keys.main", "daily_quota = 30").key("\"sales\"").start();
    // Each on a connection of its own: they go round the workers.
    let statuses: Vec<u16> = (0..40).map(|_| world.get(TARGET, "").status).collect();
    let last = world.get(TARGET, "");
    let seen = origin.seen().len();
    Box::new(move || {
        let passed = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!((passed, seen), (30, 30), "{statuses:?}");
        let body = told_limit(&last, "key_quota_exhausted");
        assert_eq!((&body["error"]["rate_limit"], &body["error"]["rate_window"]), (&json!(30), &json!(86_400)));
        assert!((1..=86_400).contains(&body["rate_reset"].as_u64().unwrap()), "{body}");
    })
}

#[test]
fn a_reload_forgets_nothing_of_what_was_used() {
    forgets_nothing(|setup| setup);
}

#[test]
fn a_reload_forgets_nothing_where_no_store_counts_the_day() {
    forgets_nothing(|setup| setup.set("store", "url = \"memory:\""));
}

fn forgets_nothing(stored: fn(Setup) -> Setup) {
    let origin = Origin::plain();
    let lines = "description = \"first\"\nrate = \"1/h\"\nburst = 3\ndaily_quota = 10";
    let world = stored(gateway(origin.address)).set("keys.main", lines).key("\"sales\"").start_reloading();
    assert_eq!(world.get(TARGET, "").status, 200);
    world.edit("description = \"first\"", "description = \"second\"");
    world.reload().unwrap();
    let limits = &told_of(&world, KEY)["limits"];
    assert_eq!((&limits["rate"]["left"], &limits["daily_quota"]["left"]), (&json!(2), &json!(9)));
    world.edit("burst = 3", "burst = 5");
    world.edit("daily_quota = 10", "daily_quota = 2");
    world.reload().unwrap();
    let limits = &told_of(&world, KEY)["limits"];
    assert_eq!(
        (&limits["rate"]["left"], &limits["daily_quota"]["left"]),
        (&json!(5), &json!(1)),
        "another rate begins anew"
    );
    assert_eq!(world.get(TARGET, "").status, 200);
    told_limit(&world.get(TARGET, ""), "key_quota_exhausted");
}

#[test]
fn a_key_is_told_what_it_may_do() {
    let origin = Origin::plain();
    let lines = "scopes = [\"write\", \"read\"]\nallow = [\"* /api/v1/lead/**\"]\ndeny = [\"PUT /api/v1/lead/x\"]\nrate = \"20/m\"\nburst = 40\nconcurrency = 8\ndaily_quota = 500\nexpires = 2999-06-30T00:00:00Z";
    let world = gateway(origin.address)
        .set("routes.sales", "deny = [\"* /api/v1/export/**\"]")
        .set("routes.hidden", "prefix = \"/hidden\"\ncredential = \"sales\"")
        .set("keys.main", lines)
        .key("\"sales\"")
        .other_key("\"hidden\", \"sales\"")
        .start();
    assert_eq!(world.get("/sales/api/v1/lead/", "").status, 200);
    let mut told = told_of(&world, KEY);
    let resets_in = told["limits"]["daily_quota"]["resets_in"].take().as_u64().unwrap();
    assert!((1..=86_400).contains(&resets_in));
    assert_eq!(
        told,
        json!({
            "key": "main",
            "routes": [{ "name": "sales", "prefix": "/sales", "allow": [], "deny": ["* /api/v1/export/**"] }],
            "scopes": ["read", "write"],
            "allow": ["* /api/v1/lead/**"],
            "deny": ["PUT /api/v1/lead/x"],
            "mode": "enforce",
            "limits": {
                "rate": { "rate": "20/m", "burst": 40, "left": 39 },
                "concurrency": { "limit": 8, "left": 8 },
                "daily_quota": { "limit": 500, "left": 499, "resets_in": null },
            },
            "expires": "2999-06-30T00:00:00Z",
        })
    );
    let other = told_of(&world, OTHER_KEY);
    assert_eq!(
        (&other["scopes"], &other["expires"]),
        (&json!(["read", "write", "delete", "send", "export", "admin"]), &Value::Null)
    );
    assert_eq!(other["limits"], json!({ "rate": null, "concurrency": null, "daily_quota": null }));
    let names: Vec<_> = other["routes"].as_array().unwrap().iter().map(|route| &route["name"]).collect();
    assert_eq!(names, ["hidden", "sales"]);
    assert_eq!(told_of(&world, KEY)["limits"]["rate"]["left"], 39, "to ask uses nothing up");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn only_a_key_is_told_and_the_answer_is_recorded() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    for (lines, code) in [("", "key_missing"), ("Closegate-Key: something-else-altogether\r\n", "key_invalid")] {
        let head = "GET /.well-known/closegate HTTP/1.1\r\nHost: localhost\r\n";
        told(&world.ask(format!("{head}{lines}\r\n")), 401, code);
    }
    let answer = world.get("/.well-known/closegate/", "");
    assert_eq!((answer.status, answer.code(), answer.header("cache-control")), (200, None, Some("no-store")));
    let mut client = world.connect();
    client.send(format!("HEAD /.well-known/closegate HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
    let head = client.answer_to_head();
    assert_eq!((head.status, head.header("content-length")), (200, answer.header("content-length")));
    told(
        &world.ask(format!("POST /.well-known/closegate HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n")),
        404,
        "no_route",
    );
    let records = world.records.wait_for(5);
    let record = &records[2];
    assert_eq!(
        (&record["key"], &record["status"], &record["origin"]),
        (&json!("main"), &json!(200), &json!("gateway"))
    );
    assert_eq!(
        (&record["route"], &record["code"], &record["response_bytes"]),
        (&Value::Null, &Value::Null, &json!(answer.body.len()))
    );
    assert_eq!(records[3]["response_bytes"], 0);
    let series =
        "closegate_requests_total{route=\"none\",credential=\"none\",key=\"main\",method=\"GET\",status=\"200\"}";
    assert_eq!(world.metric(series), 1.0);
    assert_eq!(origin.connections(), 0);
    // Nor is it a way out where a route takes every path.
    let open = gateway(origin.address).set("routes.root", "prefix = \"/\"\ncredential = \"sales\"").start();
    let answer = open.ask("GET /.well-known/closegate HTTP/1.1\r\nHost: localhost\r\n\r\n");
    told(&answer, 401, "key_missing");
}
