//! Clients that leave, and uploads that are cut (security.md 13, 37).

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;

use super::{WHOLE, exchange, get, head, record};
use crate::origin::Origin;
use crate::raw::Raw;
use crate::signal::Signal;
use crate::world::gateway;

#[test]
fn line_37_a_client_that_left_cancels_its_request() {
    let origin = Origin::start(|conversation| {
        conversation.request();
        conversation.wait_for_end();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    assert!(client.send(get()));
    origin.wait_for(1);
    drop(client);
    origin.wait_for_ends(1);
    let record = record(&world, 1);
    assert_eq!((&record["status"], &record["origin"]), (&499.into(), &"client".into()));
    assert_eq!((&record["code"], &record["attempts"]), (&serde_json::Value::Null, &1.into()));
    assert_eq!((&record["route"], &record["key"]), (&"sales".into(), &"main".into()));
    let labels = "route=\"sales\",credential=\"sales\",key=\"main\",method=\"GET\",status=\"499\"";
    assert_eq!(world.metric(&format!("closegate_requests_total{{{labels}}}")), 1.0);
    assert_eq!(world.metric("closegate_in_flight_requests{route=\"sales\"}"), 0.0);
    assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), 0.0);
    assert!(!world.metrics().contains("closegate_refused_requests_total{route=\"sales\""));
}

#[test]
fn line_37_a_client_that_left_inside_the_answer_cancels_the_rest() {
    let origin = Origin::start(|conversation| {
        conversation.request();
        conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        conversation.wait_for_end();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    assert!(client.send(get()));
    client.head();
    assert_eq!(client.chunk().unwrap(), b"hello");
    drop(client);
    origin.wait_for_ends(1);
    let record = record(&world, 1);
    assert_eq!((&record["status"], &record["origin"]), (&499.into(), &"client".into()));
    assert_eq!(record["response_bytes"], 5);
    assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), 0.0);
}

#[test]
fn line_37_a_client_that_left_while_connecting_leaves_nothing_behind() {
    let stuck = crate::faults::timeouts::never_accepting();
    let world = gateway(stuck.address).key("\"sales\"").start();
    let mut client = world.connect();
    assert!(client.send(get()));
    let in_flight = "closegate_in_flight_requests{route=\"sales\"}";
    while world.metric(in_flight) < 1.0 {}
    drop(client);
    assert_eq!(record(&world, 1)["status"], 499);
    let connections = format!("closegate_upstream_connections{{upstream=\"{}\",state=\"active\"}}", stuck.address);
    while world.metric(&connections) > 0.0 {}
}

#[test]
fn line_37_a_client_that_left_behind_a_second_request_cancels_the_first() {
    for leave in [leave_by_half, leave_by_reset] {
        let origin = Origin::start(|conversation| {
            conversation.request();
            conversation.wait_for_end();
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        assert!(client.send(get() + &get()));
        origin.wait_for(1);
        let kept = leave(client);
        assert_cancelled_soon(&record(&world, 1));
        origin.wait_for_ends(1);
        assert_eq!(origin.seen().len(), 1);
        drop(kept);
    }
}

#[test]
fn line_37_a_client_that_left_an_upload_that_is_not_read_cancels_it() {
    let (begun, recorded) = (Signal::default(), Signal::default());
    let (first_piece, read_on) = (begun.clone(), recorded.clone());
    let origin = Origin::start(move |conversation| {
        conversation.request_head();
        first_piece.give();
        read_on.wait();
        conversation.wait_for_end();
    });
    let world = gateway(origin.address).key("\"sales\"").set("listen", "max_body = \"1024MiB\"").start();
    let mut client = world.connect();
    assert!(client.send(head("POST", "/sales/api/v1/lead/", "Content-Length: 1000000000\r\n") + "a beginning"));
    begun.wait();
    fill(&client);
    leave_by_reset(client);
    assert_cancelled_soon(&record(&world, 1));
    recorded.give();
    origin.wait_for_ends(1);
}

/// Sends until nobody has taken anything for a while.
fn fill(client: &Raw) {
    let mut socket = client.socket();
    socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let piece = [b'x'; 65536];
    let error = loop {
        if let Err(error) = socket.write(&piece) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

fn leave_by_half(client: Raw) -> Option<Raw> {
    client.socket().shutdown(Shutdown::Write).unwrap();
    Some(client)
}

fn leave_by_reset(client: Raw) -> Option<Raw> {
    SockRef::from(client.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    None
}

fn assert_cancelled_soon(record: &serde_json::Value) {
    assert_eq!((&record["status"], &record["origin"]), (&499.into(), &"client".into()), "{record}");
    assert!(record["duration_ms"].as_f64().unwrap() < 2000.0, "{record}");
}

#[test]
fn line_13_a_cut_upload_is_never_completed() {
    for (framing, begun) in [
        ("Content-Length: 100\r\n", "a beginning"),
        ("Transfer-Encoding: chunked\r\n", "b\r\na beginning\r\n"),
        ("Transfer-Encoding: chunked\r\n", "b\r\na beginning\r\n0\r\n"),
    ] {
        let arrived = Signal::default();
        let first_piece = arrived.clone();
        let origin = Origin::start(move |conversation| {
            let head = conversation.request_head().unwrap();
            conversation.wait_until_holds(b"a beginning");
            first_piece.give();
            // Remembered only when it is whole.
            conversation.body_of(head);
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        assert!(client.send(head("POST", "/sales/api/v1/lead/", framing) + begun));
        arrived.wait();
        drop(client);
        origin.wait_for_ends(1);
        assert!(origin.seen().is_empty(), "{framing}: {:?}", origin.seen());
        let record = record(&world, 1);
        assert_eq!((&record["status"], &record["origin"]), (&499.into(), &"client".into()), "{framing}");
        assert_eq!(record["request_bytes"], 11, "{framing}");
    }
}

#[test]
fn line_13_the_connection_of_a_cut_upload_is_not_used_again() {
    let origin = Origin::start(|conversation| {
        while conversation.request().is_some() {
            conversation.send(WHOLE);
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    assert_eq!(world.get("/sales/api/v1/me/", "").status, 200);
    let mut client = world.connect();
    assert!(client.send(head("POST", "/sales/api/v1/lead/", "Content-Length: 100\r\n") + "a beginning"));
    drop(client);
    origin.wait_for_ends(1);
    record(&world, 2);
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    assert_eq!((origin.seen().len(), origin.connections()), (2, 2));
}
