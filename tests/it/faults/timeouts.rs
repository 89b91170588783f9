//! Every stage has a time-out of its own: each test shortens one and leaves the others as long as they are (security.md 34).

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

use super::{WHOLE, assert_error, exchange, get, head, record};
use crate::origin::Origin;
use crate::world::gateway;

/// A listener that accepts nobody and whose queue is full: further connections never come about.
pub(super) struct NeverAccepting {
    pub(super) address: SocketAddr,
    _listener: Socket,
    _queue: Vec<Socket>,
}

pub(super) fn never_accepting() -> NeverAccepting {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let queue = (0..3).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        // In progress for ever, once the queue is full.
        let _ = socket.connect(&address);
        socket
    });
    let queue = queue.collect();
    NeverAccepting { address: address.as_socket().unwrap(), _listener: listener, _queue: queue }
}

#[test]
fn line_34_connecting_takes_connect_timeout() {
    let stuck = never_accepting();
    let world = gateway(stuck.address).key("\"sales\"").set("upstream", "connect_timeout = \"300ms\"").start();
    let answer = world.get("/sales/api/v1/me/", "");
    assert_error(&answer, 503, "upstream_unreachable", "connect");
    assert!(answer.header("proxy-status").unwrap().contains("error=connection_timeout"));
    let record = record(&world, 1);
    assert!(record["duration_ms"].as_f64().unwrap() >= 300.0, "{record}");
}

#[test]
fn line_34_the_handshake_takes_tls_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let world = gateway(address)
        .key("\"sales\"")
        .replace("upstream", &format!("url = \"https://{address}\"\ntls_timeout = \"300ms\""))
        .start();
    let answer = world.get("/sales/api/v1/me/", "");
    assert_error(&answer, 504, "upstream_timeout", "handshake");
    assert!(record(&world, 1)["duration_ms"].as_f64().unwrap() >= 300.0);
}

#[test]
fn line_34_the_head_of_an_answer_takes_response_timeout() {
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-"] {
        let origin = Origin::start(move |conversation| {
            conversation.request();
            conversation.send(begun);
            conversation.wait_for_end();
        });
        let world = gateway(origin.address).key("\"sales\"").set("upstream", "response_timeout = \"300ms\"").start();
        assert_error(&world.get("/sales/api/v1/me/", ""), 504, "upstream_timeout", begun);
        origin.wait_for_ends(1);
        let record = record(&world, 1);
        assert_eq!((origin.seen().len(), &record["attempts"]), (1, &1.into()), "not sent again");
        assert!(record["duration_ms"].as_f64().unwrap() >= 300.0);
    }
}

#[test]
fn line_34_the_pieces_of_an_answer_take_body_timeout() {
    for (framing, piece) in [("content-length: 100\r\n", "hello"), ("transfer-encoding: chunked\r\n", "5\r\nhello\r\n")]
    {
        let origin = Origin::start(move |conversation| {
            conversation.request();
            conversation.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{piece}"));
            conversation.wait_for_end();
        });
        let world = gateway(origin.address).key("\"sales\"").set("upstream", "body_timeout = \"300ms\"").start();
        let answer = world.get("/sales/api/v1/me/", "");
        assert_eq!((answer.status, answer.whole, answer.text().as_str()), (200, false, "hello"), "{framing}");
        origin.wait_for_ends(1);
        let record = record(&world, 1);
        assert_eq!((&record["status"], &record["code"]), (&200.into(), &"upstream_timeout".into()), "{framing}");
        assert!(record["duration_ms"].as_f64().unwrap() >= 300.0);
        assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), 1.0);
    }
}

#[test]
fn line_34_the_head_of_a_request_takes_header_timeout() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").set("listen", "header_timeout = \"300ms\"").start();
    let mut client = world.connect();
    assert!(client.send("GET /sales/api/v1/me/ HTTP/1.1\r\nHost: local"));
    assert_error(&client.answer(), 408, "request_timeout", "head");
    assert!(client.ends());
    assert_eq!((origin.connections(), &record(&world, 1)["status"]), (0, &408.into()));
}

#[test]
fn line_34_the_pieces_of_a_request_take_body_timeout() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").set("listen", "body_timeout = \"300ms\"").start();
    for (framing, piece) in [("Content-Length: 100\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n")]
    {
        let mut client = world.connect();
        assert!(client.send(head("POST", "/sales/api/v1/lead/", framing) + piece));
        assert_error(&client.answer(), 408, "request_timeout", framing);
        assert!(client.ends());
    }
    origin.wait_for_ends(2);
    assert!(origin.seen().is_empty());
    assert!(world.records.wait_for(2).iter().all(|record| record["status"] == 408));
}

#[test]
fn line_34_a_connection_without_a_request_takes_idle_timeout() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").set("listen", "idle_timeout = \"300ms\"").start();
    let mut fresh = world.connect();
    let mut used = world.connect();
    assert_eq!(exchange(&mut used, &get()).status, 200);
    assert!(fresh.ends() && used.ends());
    assert_eq!(world.records.wait_for(1).len(), 1, "an idle connection is no request");
}

#[test]
fn line_34_a_client_that_takes_nothing_of_its_answer_takes_idle_timeout() {
    let origin = Origin::start(|conversation| {
        while conversation.request().is_some() {
            conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 64 << 20));
            let piece = vec![b'x'; 1 << 20];
            while conversation.send(&piece) {}
        }
    });
    let world = gateway(origin.address).key("\"sales\"").set("listen", "idle_timeout = \"300ms\"").start();
    let mut client = world.connect();
    assert!(client.send(get()));
    origin.wait_for_ends(1);
    assert_eq!(record(&world, 1)["status"], 499);
    assert!(client.is_reset(), "the answer is not whole");
}

#[test]
fn line_34_a_slow_upstream_is_not_taken_for_a_slow_client() {
    // The upstream never answers, and its time-out is the longest: it must be the one that ends the exchange, however
    // the request arrived.
    let origin = Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            if seen.line().contains("/me/") {
                conversation.send(WHOLE);
            }
        }
    });
    let world = gateway(origin.address)
        .key("\"sales\"")
        .set("listen", "header_timeout = \"300ms\"\nbody_timeout = \"300ms\"\nidle_timeout = \"300ms\"")
        .set("upstream", "response_timeout = \"1s\"")
        .start();
    let slow = head("GET", "/sales/api/v1/lead/", "");
    let upload = head("POST", "/sales/api/v1/lead/", "Content-Length: 12\r\n");
    let chunked = head("POST", "/sales/api/v1/lead/", "Transfer-Encoding: chunked\r\n");
    let requests = [
        vec![slow.as_str()],
        vec![&slow[..40], &slow[40..]],
        vec![&upload, "hello ", "world!"],
        vec![&upload, "hello ", "wor", "ld!"],
        vec![&chunked, "6\r\nhello \r\n", "6\r\nworld!\r\n", "0\r\n", "\r\n"],
    ];
    let mut waiting = Vec::new();
    for (pieces, warm) in requests.iter().flat_map(|pieces| [(pieces, false), (pieces, true)]) {
        let mut client = world.connect();
        if warm {
            assert_eq!(exchange(&mut client, &get()).status, 200);
        }
        for piece in pieces {
            assert!(client.send(piece));
            // An exchange beside it: the gateway has read the piece, and waits for the next.
            assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
        }
        waiting.push((client, format!("{pieces:?}, warm: {warm}")));
    }
    for (mut client, context) in waiting {
        assert_error(&client.answer(), 504, "upstream_timeout", &context);
    }
}
