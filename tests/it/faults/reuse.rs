//! When a request is sent again, and which connections are used again (security.md 31, 32, 41).

use std::collections::HashMap;
use std::sync::Barrier;

use socket2::{Domain, Socket, Type};

use super::{WHOLE, assert_error, exchange, get, head, post, record};
use crate::origin::Origin;
use crate::signal::Signal;
use crate::world::gateway;

#[test]
fn line_31_an_upstream_that_closes_after_each_answer_is_never_noticed() {
    let origin = Origin::start(|conversation| {
        if conversation.request().is_some() {
            conversation.send(WHOLE);
            conversation.shutdown();
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for number in 0..60 {
        let answer = exchange(&mut client, &get());
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "GET {number}");
    }
    assert!(world.records.wait_for(60).iter().all(|record| record["status"] == 200));
}

#[test]
fn line_31_a_reused_connection_that_closes_on_the_request_is_tried_once_more() {
    // Every connection serves one request and ends without a word when it has read the second.
    let origin = Origin::start(|conversation| {
        if conversation.request().is_some() {
            conversation.send(WHOLE);
            conversation.request();
            conversation.shutdown();
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for number in 0..60 {
        let answer = exchange(&mut client, &get());
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "GET {number}");
    }
    let records = world.records.wait_for(60);
    assert!(records[1..].iter().all(|record| record["attempts"] == 2), "{records:#?}");
    assert_eq!(world.metric("closegate_upstream_retries_total{route=\"sales\",reason=\"closed\"}"), 59.0);
}

#[test]
fn line_31_a_post_is_seen_at_most_once() {
    for closes_on_the_request in [false, true] {
        let origin = Origin::start(move |conversation| {
            if conversation.request().is_some() {
                conversation.send(WHOLE);
                if closes_on_the_request {
                    conversation.request();
                }
                conversation.shutdown();
            }
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        let mut answered = 0;
        for number in 0..60 {
            let answer = exchange(&mut client, &post(&format!("{{\"number\": {number}}}")));
            if answer.status == 200 {
                answered += 1;
            } else {
                assert_error(&answer, 502, "upstream_closed", "POST");
            }
        }
        let mut times: HashMap<Vec<u8>, usize> = HashMap::new();
        for seen in origin.seen() {
            *times.entry(seen.body).or_default() += 1;
        }
        assert!(times.values().all(|times| *times == 1), "sent twice: {times:?}");
        assert!(if closes_on_the_request { answered == 30 } else { answered > 0 }, "{answered} answers");
        assert!(world.records.wait_for(60).iter().all(|record| record["attempts"] == 1));
    }
}

#[test]
fn line_31_what_may_not_be_sent_again_is_not() {
    let closing = "closes";
    let begins = "begins an answer and closes";
    let cases = [
        // Sent a second time on a new connection, which answers.
        (head("GET", "/sales/api/v1/lead/", ""), closing, 2),
        (head("HEAD", "/sales/api/v1/lead/", ""), closing, 2),
        (head("DELETE", "/sales/api/v1/lead/lead_1/", ""), closing, 2),
        (head("PUT", "/sales/api/v1/lead/lead_1/", "Content-Length: 0\r\n"), closing, 2),
        (head("PUT", "/sales/api/v1/lead/lead_1/", "Content-Length: 2\r\n") + "{}", closing, 2),
        (
            head("PUT", "/sales/api/v1/lead/lead_1/", "Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n",
            closing,
            2,
        ),
        (head("DELETE", "/sales/api/v1/lead/lead_1/", "Content-Length: 2\r\n") + "{}", closing, 2),
        (put(64 * 1024), closing, 2),
        // Not safe: not idempotent, a body that is too long to be kept, or a byte of the answer.
        (put(64 * 1024 + 1), closing, 1),
        (post("{}"), closing, 1),
        (head("POST", "/sales/api/v1/lead/", "Content-Length: 0\r\n"), closing, 1),
        (head("PATCH", "/sales/api/v1/lead/lead_1/", "Content-Length: 0\r\n"), closing, 1),
        (head("GET", "/sales/api/v1/lead/", ""), begins, 1),
        (head("PUT", "/sales/api/v1/lead/lead_1/", "Content-Length: 2\r\n") + "{}", begins, 1),
    ];
    for (request, how, times) in cases {
        let origin = Origin::start(move |conversation| {
            if conversation.number() > 1 {
                while conversation.request().is_some() {
                    conversation.send(WHOLE);
                }
                return;
            }
            conversation.request();
            conversation.send(WHOLE);
            conversation.request();
            if how == begins {
                conversation.send("HTTP/1.1 20");
            }
            conversation.shutdown();
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        assert_eq!(exchange(&mut client, &get()).status, 200);
        assert!(client.send(&request));
        let answer = if request.starts_with("HEAD") { client.answer_to_head() } else { client.answer() };
        if times == 2 {
            assert_eq!(answer.status, 200, "{request}");
        } else {
            assert_error(&answer, 502, "upstream_closed", &request);
        }
        let seen = origin.seen();
        assert_eq!(seen.len(), 1 + times, "{request}");
        assert!(seen[1..].iter().all(|again| again.body == seen[1].body), "{request}");
        assert_eq!(record(&world, 2)["attempts"], times, "{request}");
    }
}

/// A PUT with a body of so many bytes.
fn put(length: usize) -> String {
    let body: String = ('a'..='z').cycle().take(length).collect();
    head("PUT", "/sales/api/v1/lead/lead_1/", &format!("Content-Length: {length}\r\n")) + &body
}

#[test]
fn line_31_a_request_is_sent_again_once_and_never_after_a_new_connection() {
    let origin = Origin::start(|conversation| {
        if conversation.number() == 1 {
            conversation.request();
            conversation.send(WHOLE);
        }
        conversation.request();
        conversation.shutdown();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    assert_eq!(exchange(&mut client, &get()).status, 200);
    assert_error(&exchange(&mut client, &get()), 502, "upstream_closed", "on a reused connection");
    assert_eq!((origin.seen().len(), origin.connections()), (3, 2));
    assert_error(&exchange(&mut client, &get()), 502, "upstream_closed", "on a new connection");
    assert_eq!((origin.seen().len(), origin.connections()), (4, 3));
    let records = world.records.wait_for(3);
    assert_eq!((&records[1]["attempts"], &records[2]["attempts"]), (&2.into(), &1.into()));
}

#[test]
fn line_32_an_idle_connection_that_was_closed_is_not_used() {
    let origin = Origin::start(|conversation| {
        if conversation.request().is_some() {
            conversation.send(WHOLE);
            conversation.shutdown();
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for number in 1..=20 {
        let answer = exchange(&mut client, &post(&number.to_string()));
        assert_eq!(answer.status, 200, "POST {number}");
        origin.wait_for_ends(number);
    }
    assert_eq!((origin.seen().len(), origin.connections()), (20, 20));
}

#[test]
fn line_32_stray_bytes_condemn_a_connection() {
    const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for (request, together) in [(get(), true), (get(), false), (post("{}"), true), (post("{}"), false)] {
        let (answered, strayed) = (Signal::default(), Signal::default());
        let (client_has_answer, stray) = (answered.clone(), strayed.clone());
        let origin = Origin::start(move |conversation| {
            if conversation.number() > 1 {
                while conversation.request().is_some() {
                    conversation.send(WHOLE);
                }
                return;
            }
            conversation.request();
            if together {
                conversation.send(format!("{WHOLE}{POISON}"));
            } else {
                conversation.send(WHOLE);
                client_has_answer.wait();
                conversation.send(POISON);
            }
            stray.give();
            conversation.wait_for_end();
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        assert_eq!(exchange(&mut client, &request).text(), "{}");
        answered.give();
        strayed.wait();
        assert_eq!(exchange(&mut client, &request).text(), "{}", "together: {together}, {request}");
        assert_eq!((origin.seen().len(), origin.connections()), (2, 2), "together: {together}, {request}");
        origin.wait_for_ends(1);
    }
}

#[test]
fn line_34_a_connection_that_lies_idle_too_long_is_closed() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").set("upstream", "idle_timeout = \"300ms\"").start();
    assert_eq!(world.get("/sales/api/v1/me/", "").status, 200);
    origin.wait_for_ends(1);
}

#[test]
fn line_41_an_upstream_that_is_back_is_served_at_once() {
    // Bound and not listening: nobody else takes the port, and connections are refused.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let world = gateway(address).key("\"sales\"").start();
    let mut client = world.connect();
    for number in 1..=20 {
        let answer = exchange(&mut client, &get());
        assert_error(&answer, 503, "upstream_unreachable", "while it is away");
        assert!(answer.header("proxy-status").unwrap().contains("error=connection_refused"));
        assert_eq!(record(&world, number)["origin"], "gateway");
    }
    socket.listen(16).unwrap();
    let origin = Origin::on(socket.into(), |conversation| {
        while conversation.request().is_some() {
            conversation.send(WHOLE);
        }
    });
    assert_eq!(exchange(&mut client, &get()).status, 200);
    assert_eq!(exchange(&mut client, &post("{}")).status, 200);
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn line_41_pooled_connections_that_broke_in_an_outage_are_never_noticed() {
    let outage = Signal::default();
    let (over, together) = (outage.clone(), Barrier::new(8));
    let origin = Origin::start(move |conversation| {
        if conversation.number() <= 8 {
            conversation.request();
            together.wait();
            conversation.send(WHOLE);
            over.wait();
            return conversation.reset();
        }
        while conversation.request().is_some() {
            conversation.send(WHOLE);
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut clients: Vec<_> = (0..8).map(|_| world.connect()).collect();
    for client in &mut clients {
        assert!(client.send(get()));
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    outage.give();
    for client in &mut clients {
        assert_eq!(exchange(client, &get()).status, 200);
    }
}
