//! The main job, over a raw socket: the right credential goes out, nothing else of a secret, and the answer comes back.

use crate::origin::Origin;
use crate::world::{INJECTED, KEY, gateway};

#[test]
fn a_request_goes_out_with_the_credential_of_its_route_and_the_answer_comes_back() {
    let origin = Origin::answering(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Any: thing\r\nContent-Length: 8\r\n\r\n{\"a\": 1}",
    );
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = world.get("/sales/api/v1//lead/?q=%3a+b&_fields=x", "Accept: */*\r\nX-TZ-Offset: -4\r\n");
    assert_eq!((answer.status, answer.text().as_str()), (201, "{\"a\": 1}"));
    assert_eq!(answer.header("x-any"), Some("thing"));
    assert_eq!(answer.header("content-length"), Some("8"));
    assert!(answer.header("closegate-request-id").is_some_and(|id| id.len() == 32));
    assert_eq!(answer.code(), None);
    let seen = &origin.seen()[0];
    assert_eq!(seen.line(), "GET /api/v1//lead/?q=%3a+b&_fields=x HTTP/1.1");
    assert_eq!(seen.values("authorization"), [INJECTED]);
    assert_eq!(seen.values("host"), [origin.address.to_string()]);
    assert_eq!((seen.values("accept"), seen.values("x-tz-offset")), (vec!["*/*"], vec!["-4"]));
    assert!(!seen.head.contains(KEY));
    let record = &world.records.wait_for(1)[0];
    assert_eq!(record["status"], 201);
    assert_eq!(record["route"], "sales");
    assert_eq!(record["key"], "main");
    assert_eq!(record["path"], "/sales/api/v1//lead/");
    assert_eq!(record["endpoint"], "/api/v1/lead/");
}

#[test]
fn connections_are_used_again_on_both_sides() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for _ in 0..20 {
        client.send(format!("GET /sales/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!((origin.seen().len(), origin.connections()), (20, 1));
}

#[test]
fn a_body_goes_up_and_down() {
    let origin = Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", seen.body.len()));
            conversation.send(&seen.body);
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    let body = vec![b'x'; 5_000_000];
    let head = format!("POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n");
    client.send(format!("{head}Content-Length: {}\r\n\r\n", body.len()));
    client.send(&body);
    let answer = client.answer();
    assert_eq!((answer.status, answer.whole, answer.body.len()), (200, true, body.len()));
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: dropped\r\n\r\n"));
    assert_eq!(client.answer().text(), "hello");
    assert_eq!(origin.seen()[1].body, b"hello");
}

#[test]
fn an_upload_ends_with_the_answer_that_came_before_its_end() {
    // The upstream answers early and reads nothing more: nothing but the end of the answer can end the exchange.
    let over = std::sync::Arc::new(std::sync::Barrier::new(2));
    let held = over.clone();
    let origin = Origin::start(move |conversation| {
        conversation.request_head();
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        held.wait();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    let size = 100 << 20;
    client.send(format!(
        "POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nContent-Length: {size}\r\n\r\n"
    ));
    // More than `max_body`: refused without a byte upstream.
    assert_eq!(client.answer().status, 413);
    let mut client = world.connect();
    client.send(format!(
        "POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nContent-Length: {}\r\n\r\n",
        20 << 20
    ));
    client.send(vec![b'x'; 64 * 1024]);
    assert_eq!(client.answer().text(), "{}");
    drop(client);
    let series = format!("closegate_upstream_connections{{upstream=\"{}\",state=\"active\"}}", origin.address);
    let gone = (0..10_000)
        .any(|_| world.metric(&series) == 0.0 && world.metric("closegate_connections{listener=\"default\"}") == 0.0);
    assert!(gone, "{}", world.metrics());
    over.wait();
}

#[test]
fn the_clients_pauses_are_not_the_upstreams() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .key("\"sales\"")
        .set("listen", "body_timeout = \"900ms\"")
        .set("upstream", "response_timeout = \"200ms\"")
        .start();
    let mut client = world.connect();
    client.send(format!(
        "POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nContent-Length: 9\r\n\r\nhalf"
    ));
    let answer = client.answer();
    assert_eq!((answer.status, answer.code()), (408, Some("request_timeout")));
}

#[test]
fn a_request_counts_as_the_method_that_overrides_it() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = world.ask(format!(
        "POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 2\r\n\r\n{{}}"
    ));
    assert_eq!(answer.status, 200);
    world.records.wait_for(1);
    let series = "closegate_endpoint_requests_total{credential=\"sales\",endpoint=\"/api/v1/lead/\",method=\"GET\",status_class=\"2xx\"}";
    assert_eq!(world.metric(series), 1.0, "{}", world.metrics());
    assert!(origin.seen()[0].line().starts_with("POST "), "what goes out is what was written");
}
