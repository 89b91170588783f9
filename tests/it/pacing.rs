//! Rate limits over real sockets: who waits, who is told off, what is sent again and what is not.

use std::time::{Duration, Instant};

use closegate::sim::{Accepted, Options, RateLimit, RateStyle, Simulator};

use crate::errors::told_limit;
use crate::faults::{WHOLE, exchange, get, head};
use crate::origin::Origin;
use crate::signal::Signal;
use crate::world::{KEY, OTHER_KEY, RUNTIME, SECRET, World, gateway};

/// A 429 with these header lines (each with its CRLF) and this body.
fn refusal(lines: &str, body: &str) -> String {
    format!("HTTP/1.1 429 Too Many Requests\r\n{lines}content-length: {}\r\n\r\n{body}", body.len())
}

/// Answers the first request with this, and all others with 200.
fn refusing_first(refusal: String) -> Origin {
    Origin::start(move |conversation| {
        while let Some(seen) = conversation.request() {
            let first = conversation.count() == 1;
            conversation.send(if first && !seen.head.starts_with("HEAD") { &refusal } else { WHOLE });
        }
    })
}

fn world(origin: &Origin, max_wait: &str) -> World {
    gateway(origin.address).key("\"sales\"").set("pace", &format!("max_wait = \"{max_wait}\"")).start()
}

fn post(body: &str) -> String {
    head("POST", "/sales/api/v1/lead/", &format!("Content-Length: {}\r\n", body.len())) + body
}

const RETRIED: &str = "closegate_upstream_retries_total{route=\"sales\",reason=\"rate_limited\"}";

#[test]
fn a_429_whose_wait_fits_is_waited_for_and_sent_again_with_its_body() {
    for (lines, body) in [
        ("retry-after: 1\r\n", "{}"),
        ("ratelimit: limit=100, remaining=0, reset=0.9\r\n", ""),
        ("x-rate-limit-limit: 9\r\nx-rate-limit-remaining: 0\r\nx-rate-limit-reset: 0.9\r\n", "{}"),
        ("", r#"{"error": {"message": "x", "rate_reset": 0.9, "rate_limit": 40, "rate_limit_type": "key"}}"#),
        ("", r#"{"message": "x", "rate_reset": "0.9"}"#),
        ("", ""),
    ] {
        let origin = refusing_first(refusal(lines, body));
        let world = world(&origin, "5s");
        let mut client = world.connect();
        let asked = Instant::now();
        let answer = exchange(&mut client, &post("{\"name\": \"Bluth\"}"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{lines:?} {body:?}");
        assert!(asked.elapsed() >= Duration::from_millis(890), "{lines:?} {body:?}: {:?}", asked.elapsed());
        let seen = origin.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!((&seen[0].head, &seen[0].body), (&seen[1].head, &seen[1].body), "to the byte");
        assert_eq!(seen[1].connection, seen[0].connection, "the answer was read to its end");
        let record = &world.records.wait_for(1)[0];
        assert_eq!((&record["attempts"], &record["status"]), (&2.into(), &200.into()), "{record}");
        assert!(record["paced_ms"].as_f64().unwrap() >= 890.0, "{record}");
        assert!(record["upstream_ms"].as_f64().unwrap() < 890.0, "{record}");
        assert_eq!(record["request_bytes"], 17, "counted once");
        assert_eq!(world.metric(RETRIED), 1.0);
        assert_eq!(world.metric("closegate_pacing_wait_seconds_count{credential=\"sales\"}"), 1.0);
    }
}

#[test]
fn a_429_whose_wait_does_not_fit_passes_as_it_came_and_the_next_is_not_sent() {
    let said = refusal("ratelimit: limit=100; remaining=0; reset=60\r\nretry-after: 60\r\n", "{\"error\": \"slow\"}");
    let origin = refusing_first(said);
    let world = world(&origin, "2s");
    let mut client = world.connect();
    let answer = exchange(&mut client, &get());
    assert_eq!((answer.status, answer.code(), answer.text().as_str()), (429, None, "{\"error\": \"slow\"}"));
    assert_eq!(answer.header("ratelimit"), Some("limit=100; remaining=0; reset=60"));
    let answer = exchange(&mut client, &get());
    let body = told_limit(&answer, "upstream_rate_limited");
    assert_eq!((&body["rate_limit"], &body["rate_limit_type"]), (&100.into(), &"key".into()), "{body}");
    assert!((58..=60).contains(&body["rate_reset"].as_u64().unwrap()), "{body}");
    assert_eq!(origin.seen().len(), 1);
    let record = &world.records.wait_for(2)[1];
    assert_eq!((&record["attempts"], &record["origin"]), (&0.into(), &"gateway".into()), "{record}");
    // Another group of endpoints has limits of its own.
    assert_eq!(exchange(&mut client, &post("{}")).status, 200);
    let series = |name| format!("closegate_rate_limit_{name}{{credential=\"sales\",group=\"{GROUP}\"}}");
    assert_eq!((world.metric(&series("quota")), world.metric(&series("remaining"))), (100.0, 0.0));
}

/// That of [`get`].
const GROUP: &str = "me.read";

#[test]
fn with_no_wait_every_429_passes_and_everything_is_sent() {
    let origin = Origin::answering(refusal("retry-after: 1\r\n", "{}"));
    let world = world(&origin, "0s");
    let mut client = world.connect();
    for _ in 0..3 {
        let answer = exchange(&mut client, &get());
        assert_eq!((answer.status, answer.code()), (429, None));
    }
    assert_eq!(origin.seen().len(), 3);
    assert!(world.records.wait_for(3).iter().all(|record| record["attempts"] == 1));
}

#[test]
fn a_request_is_sent_again_once_and_only_with_its_whole_body() {
    let origin = Origin::answering(refusal("retry-after: 1\r\n", "{}"));
    let world = world(&origin, "5s");
    let mut client = world.connect();
    let answer = exchange(&mut client, &get());
    assert_eq!((answer.status, answer.code()), (429, None));
    assert_eq!(origin.seen().len(), 2);
    for (length, sent) in [(64 * 1024, 2), (64 * 1024 + 1, 1)] {
        let origin = refusing_first(refusal("retry-after: 1\r\n", "{}"));
        let world = self::world(&origin, "5s");
        let body = "x".repeat(length);
        let answer = exchange(&mut world.connect(), &post(&body));
        assert_eq!(answer.status, if sent == 2 { 200 } else { 429 }, "{length} bytes");
        assert_eq!(origin.seen().len(), sent, "{length} bytes");
        assert!(origin.seen().iter().all(|seen| seen.body == body.as_bytes()));
    }
}

#[test]
fn a_body_that_was_not_all_there_when_it_was_turned_away_is_sent_whole() {
    let origin = Origin::start(|conversation| {
        if conversation.number() == 1 {
            let head = conversation.request_head().unwrap();
            assert!(head.contains("content-length: 10"), "{head}");
            conversation.send(refusal("retry-after: 1\r\n", "{}"));
            return conversation.wait_for_end();
        }
        while conversation.request().is_some() {
            conversation.send(WHOLE);
        }
    });
    let world = world(&origin, "5s");
    let mut client = world.connect();
    client.send(head("POST", "/sales/api/v1/lead/", "Content-Length: 10\r\n") + "01234");
    origin.wait_for_ends(1);
    client.send("56789");
    assert_eq!(client.answer().status, 200);
    assert_eq!(origin.seen()[0].body, b"0123456789");
}

#[test]
fn held_requests_end_while_the_gateway_drains() {
    let told_off = Signal::default();
    let told = told_off.clone();
    let origin = Origin::start(move |conversation| {
        while conversation.request().is_some() {
            if conversation.count() == 1 {
                conversation.send(refusal("retry-after: 1\r\n", "{}"));
                told.give();
            } else {
                conversation.send(WHOLE);
            }
        }
    });
    let mut world = world(&origin, "5s");
    let mut client = world.connect();
    client.send(get());
    told_off.wait();
    let end = world.stop_beside();
    assert_eq!(client.answer().status, 200);
    assert_eq!(RUNTIME.block_on(end).unwrap(), closegate::app::End::Drained);
}

#[test]
fn a_client_that_leaves_gives_its_turn_up() {
    let origin = refusing_first(refusal("retry-after: 1\r\n", "{}"));
    let world = world(&origin, "5s");
    let mut client = world.connect();
    client.send(get());
    origin.wait_for(1);
    // The refusal is known once its exchange is over.
    let under_way = format!("closegate_upstream_connections{{upstream=\"{}\",state=\"active\"}}", origin.address);
    assert!((0..10_000).any(|_| world.metric(&under_way) == 0.0), "{}", world.metrics());
    // Those behind it wait too, and one of them leaves.
    let (mut stays, mut leaves) = (world.connect(), world.connect());
    leaves.send(get());
    stays.send(get());
    drop(leaves);
    assert_eq!((client.answer().status, stays.answer().status), (200, 200));
    let records = world.records.wait_for(3);
    let left = records.iter().find(|record| record["status"] == 499).unwrap();
    assert_eq!((&left["attempts"], &left["origin"]), (&0.into(), &"client".into()), "{left}");
    assert_eq!(origin.seen().len(), 3);
}

/// Four clients of two keys ask one after the other, each as fast as it is answered, and more than a window takes; the
/// records of all.
fn crowd(style: RateStyle, window: Duration) -> Vec<serde_json::Value> {
    let limit = RateLimit { style, ..RateLimit::new(12, window) };
    let options = Options::new().accept(Accepted::api_key("acme", SECRET)).rate_limit(limit);
    let simulator = RUNTIME.block_on(Simulator::start(options)).unwrap();
    let lines = "max_wait = \"20s\"";
    let world = gateway(simulator.address()).key("\"sales\"").other_key("\"sales\"").set("pace", lines).start();
    // One teaches the others.
    assert_eq!(world.get("/sales/api/v1/me/", "").status, 200);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (mut client, key) = (world.connect(), [KEY, OTHER_KEY][number % 2]);
            scope.spawn(move || {
                for _ in 0..5 {
                    let request = "GET /sales/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: ";
                    let answer = exchange(&mut client, &format!("{request}{key}\r\n\r\n"));
                    assert_eq!(answer.status, 200, "{style:?}");
                }
            });
        }
    });
    world.records.wait_for(21)
}

#[test]
fn a_crowd_keeps_within_the_limits_that_close_tells() {
    for style in [RateStyle::Semicolons, RateStyle::Commas, RateStyle::Legacy] {
        let records = crowd(style, Duration::from_secs(2));
        // One window is used up and one is not: nobody asks at the end of one, where a request may arrive in the next.
        let turned_away = records.iter().filter(|record| record["attempts"] != 1).count();
        assert_eq!(turned_away, 0, "{style:?} {records:#?}");
        assert!(records.iter().any(|record| record["paced_ms"].as_f64() > Some(100.0)), "{style:?} {records:#?}");
    }
}

#[test]
fn a_crowd_gets_through_where_only_429s_tell() {
    for style in [RateStyle::RetryAfter, RateStyle::Body, RateStyle::Silence] {
        let records = crowd(style, Duration::from_secs(1));
        assert!(records.iter().any(|record| record["attempts"] == 2), "{style:?} {records:#?}");
    }
}

#[test]
fn how_long_a_request_may_wait_is_changed_without_a_restart() {
    let origin = Origin::answering(refusal("retry-after: 1\r\n", "{}"));
    let setup = gateway(origin.address).key("\"sales\"").set("pace", "max_wait = \"0s\"");
    let world = setup.set("credentials.sales", "organization = \"acme\"").start_reloading();
    assert_eq!(exchange(&mut world.connect(), &get()).status, 429);
    assert_eq!(origin.seen().len(), 1);
    world.edit("max_wait = \"0s\"", "max_wait = \"5s\"");
    world.reload().unwrap();
    assert_eq!(exchange(&mut world.connect(), &get()).status, 429);
    assert_eq!(origin.seen().len(), 3, "sent again");
}

/// A world whose second request waits for two seconds, and that request on its way.
fn held(origin: &Origin) -> (World, crate::raw::Raw) {
    let world = gateway(origin.address).key("\"sales\"").set("keys.main", "description = \"x\"");
    let world = world.other_key("\"sales\"").set("pace", "max_wait = \"20s\"").start_reloading();
    let mut client = world.connect();
    client.send(get());
    origin.wait_for(1);
    (world, client)
}

#[test]
fn what_waited_is_sent_for_a_key_that_is_in_force_and_with_the_secret_that_is() {
    let after = "api_9x8LPTNb1PfwL0rKwU7G0t.PLANTEDnextPLANTEDnexts";
    let origin = refusing_first(refusal("retry-after: 2\r\n", "{}"));
    let (world, mut client) = held(&origin);
    world.write("sales.secret", after);
    world.reload().unwrap();
    assert_eq!(client.answer().status, 200);
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].values("authorization"), seen[1].values("authorization"), "the secret of now");
    for (from, to, status, code) in [
        ("[keys.main]", "[keys.main]\nexpires = 2020-01-01T00:00:00Z", 401, "key_invalid"),
        ("[keys.main]", "[keys.another]", 401, "key_invalid"),
        ("[credentials.sales]", "[routes.sales]\ncredential = \"b\"\n[credentials.b]", 404, "no_route"),
    ] {
        let origin = refusing_first(refusal("retry-after: 2\r\n", "{}"));
        let (world, mut client) = held(&origin);
        world.edit(from, to);
        world.reload().unwrap();
        let answer = client.answer();
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{to}");
        assert_eq!(origin.seen().len(), 1, "{to}");
    }
}
