//! Clients that leave, and uploads that are cut (security.md 13, 37).

use super::{WHOLE, exchange, get, head, record};
use crate::origin::Origin;
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
