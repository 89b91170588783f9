//! When a request is sent again, and what its connection is good for afterwards (security.md 26, 31, 32, 41).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{empty_post, speaking_h2};
use crate::faults::{assert_error, exchange, get, head, record};
use crate::frames::{
    CANCEL, DATA, END_STREAM, Frames, GOAWAY, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, NO_ERROR,
    Peer, REFUSED_STREAM, RST_STREAM, WINDOW_UPDATE,
};
use crate::signal::Signal;
use crate::world::SECRET;

#[test]
fn requests_share_a_connection_that_serves_on_and_on() {
    let origin = Frames::answering(|peer, stream| assert!(peer.answer(stream, "{}")));
    let world = speaking_h2(origin.address).start();
    let mut client = world.connect();
    for number in 0..50 {
        let answer = exchange(&mut client, &get());
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{number}");
        assert_eq!(answer.header("content-length"), Some("2"));
    }
    assert_eq!((origin.connections(), origin.seen().len()), (1, 50));
    let idle = "closegate_upstream_connections{upstream=\"";
    let idle = format!("{idle}{}\",state=\"idle\"}}", origin.address);
    assert_eq!(world.metric(&idle), 1.0, "{}", world.metrics());
}

#[test]
fn line_31_what_a_goaway_leaves_out_is_sent_again_whatever_the_method() {
    for (request, method) in [(get(), "GET"), (empty_post(), "POST")] {
        let origin = Frames::start(|peer| {
            if peer.number() == 1 {
                let first = peer.request().unwrap();
                peer.answer(first, "{}");
                peer.request().unwrap();
                peer.go_away(first, NO_ERROR);
                return peer.wait_for_end();
            }
            while let Some(stream) = peer.request() {
                peer.answer(stream, "{}");
            }
        });
        let world = speaking_h2(origin.address).start();
        let mut client = world.connect();
        assert_eq!(exchange(&mut client, &get()).status, 200);
        assert_eq!(exchange(&mut client, &request).status, 200, "{method}");
        let record = record(&world, 2);
        assert_eq!(record["attempts"], 2, "{method}: {record}");
        assert_eq!(origin.seen(), [(1, 1), (1, 3), (2, 1)]);
        assert_eq!(world.metric("closegate_upstream_retries_total{route=\"sales\",reason=\"refused\"}"), 1.0);
        // The connection that was told to go has gone.
        origin.wait_for_ends(1);
    }
}

#[test]
fn line_31_a_refused_stream_is_sent_again_even_from_a_new_connection() {
    for (request, method) in [(get(), "GET"), (empty_post(), "POST")] {
        let origin = Frames::start(|peer| {
            while let Some(stream) = peer.request() {
                if peer.number() == 1 {
                    peer.reset(stream, REFUSED_STREAM);
                } else {
                    peer.answer(stream, "{}");
                }
            }
        });
        let world = speaking_h2(origin.address).start();
        assert_eq!(exchange(&mut world.connect(), &request).status, 200, "{method}");
        assert_eq!((origin.connections(), origin.seen().len()), (2, 2), "{method}");
    }
}

#[test]
fn line_31_a_stream_refused_twice_is_told_to_the_client() {
    let origin = Frames::answering(|peer, stream| assert!(peer.reset(stream, REFUSED_STREAM)));
    let world = speaking_h2(origin.address).start();
    let answer = exchange(&mut world.connect(), &empty_post());
    assert_error(&answer, 502, "upstream_closed", "refused");
    assert!(answer.json()["closegate"]["hint"].as_str().unwrap().contains("did not act on it"));
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn line_31_a_request_that_may_have_been_acted_on_is_sent_again_only_if_that_does_no_harm() {
    let lost = "the connection is lost";
    let named = "a goaway names it, and the connection is lost";
    let reset = "the stream is reset";
    let put = head("PUT", "/sales/api/v1/lead/lead_1/", "Content-Length: 2\r\n") + "{}";
    for (request, how, times) in [
        (get(), lost, 2),
        (get(), named, 2),
        (get(), reset, 2),
        (empty_post(), lost, 1),
        (empty_post(), named, 1),
        (empty_post(), reset, 1),
        (put.clone(), lost, 2),
        (put.clone(), named, 2),
        (put, reset, 2),
        (head("PATCH", "/sales/api/v1/lead/lead_1/", "Content-Length: 2\r\n") + "{}", lost, 1),
    ] {
        let origin = Frames::start(move |peer| {
            let first = peer.request().unwrap();
            peer.answer(first, "{}");
            if peer.number() == 1 {
                let second = peer.request().unwrap();
                if how == named {
                    peer.go_away(second, INTERNAL_ERROR);
                }
                if how == reset {
                    peer.reset(second, INTERNAL_ERROR);
                } else {
                    return peer.shutdown();
                }
            }
            peer.wait_for_end();
        });
        let world = speaking_h2(origin.address).start();
        let mut client = world.connect();
        assert_eq!(exchange(&mut client, &get()).status, 200);
        let answer = exchange(&mut client, &request);
        if times == 2 {
            assert_eq!(answer.status, 200, "{request} {how}");
        } else {
            assert_error(&answer, 502, "upstream_closed", how);
        }
        assert_eq!(origin.seen().len(), 1 + times, "{request} {how}");
    }
}

/// security.md 13: the answer's head is no reason to leave out what has yet to be sent again.
#[test]
fn line_31_a_body_that_is_sent_again_is_whole_though_its_answer_begins_before_its_end() {
    const LENGTH: usize = 60_000;
    let begun = Signal::default();
    let opened = begun.clone();
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let received = arrived.clone();
    let origin = Frames::with(&[(INITIAL_WINDOW_SIZE, 20_000)], move |peer| {
        let open = |peer: &mut Peer, stream| {
            for window in [0, stream] {
                peer.send(WINDOW_UPDATE, 0, window, u32::try_from(LENGTH).unwrap().to_be_bytes());
            }
        };
        if peer.number() == 1 {
            let first = peer.request().unwrap();
            peer.answer(first, "{}");
            let again = peer.head().unwrap().stream;
            open(peer, again);
            let mut taken = 0;
            while taken < LENGTH {
                taken += peer.next_of(DATA).unwrap().payload.len();
            }
            return peer.shutdown();
        }
        let stream = peer.head().unwrap().stream;
        peer.send_head(stream, 0, &[]);
        opened.wait();
        open(peer, stream);
        loop {
            let frame = peer.next_of(DATA).unwrap();
            received.lock().unwrap().extend(frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        peer.send(DATA, END_STREAM, stream, "{}");
        peer.wait_for_end();
    });
    let world = speaking_h2(origin.address).start();
    let mut client = world.connect();
    assert_eq!(exchange(&mut client, &get()).status, 200);
    let body: Vec<u8> = (b'a'..=b'z').cycle().take(LENGTH).collect();
    client.send(head("PUT", "/sales/api/v1/lead/lead_1/", "Transfer-Encoding: chunked\r\n"));
    client.send([format!("{LENGTH:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat());
    let answer = client.head();
    assert_eq!(answer.status, 200);
    begun.give();
    assert_eq!(client.body(answer, false).text(), "{}");
    assert!(*arrived.lock().unwrap() == body, "{} bytes of {LENGTH}", arrived.lock().unwrap().len());
    assert_eq!(record(&world, 2)["attempts"], 2);
}

#[test]
fn line_31_an_upstream_that_closes_after_each_answer_is_never_noticed() {
    for says_so in [false, true] {
        let origin = Frames::start(move |peer| {
            let stream = peer.request().unwrap();
            peer.answer(stream, "{}");
            if says_so {
                peer.go_away(stream, NO_ERROR);
            }
            peer.shutdown();
        });
        let world = speaking_h2(origin.address).start();
        let mut client = world.connect();
        for number in 0..60 {
            assert_eq!(exchange(&mut client, &get()).status, 200, "GET {number}, {says_so}");
        }
        for number in 0..60 {
            let answer = exchange(&mut client, &empty_post());
            if answer.status != 200 {
                assert_error(&answer, 502, "upstream_closed", "POST");
            }
            // Whatever became of it: no connection saw a second request, and no request a second connection.
            assert!(origin.seen().len() <= 60 + number + 1, "a POST was sent twice");
        }
    }
}

#[test]
fn line_31_nothing_is_sent_on_a_connection_that_has_ended() {
    let closed = Signal::default();
    let close = closed.clone();
    let origin = Frames::start(move |peer| {
        let stream = peer.request().unwrap();
        peer.answer(stream, "{}");
        if peer.number() == 1 {
            close.wait();
            peer.shutdown();
        }
        peer.wait_for_end();
    });
    let world = speaking_h2(origin.address).start();
    let mut client = world.connect();
    assert_eq!(exchange(&mut client, &get()).status, 200);
    closed.give();
    origin.wait_for_ends(1);
    assert_eq!(exchange(&mut client, &empty_post()).status, 200);
    assert_eq!(origin.seen(), [(1, 1), (2, 1)]);
}

#[test]
fn line_37_a_client_that_left_resets_its_stream_and_nothing_else() {
    let (asked, go_on) = (Signal::default(), Signal::default());
    let (ask, wait) = (asked.clone(), go_on.clone());
    let origin = Frames::start(move |peer| {
        let left = peer.request().unwrap();
        ask.give();
        let reset = peer.next_of(RST_STREAM).unwrap();
        assert_eq!((reset.stream, reset.code()), (left, CANCEL));
        wait.give();
        while let Some(stream) = peer.request() {
            // What is still said on the stream that was left harms nobody.
            peer.answer(left, "late");
            peer.answer(stream, "{}");
        }
    });
    let world = speaking_h2(origin.address).start();
    let mut leaving = world.connect();
    leaving.send(get());
    asked.wait();
    drop(leaving);
    go_on.wait();
    assert_eq!(record(&world, 1)["status"], 499);
    for _ in 0..10 {
        assert_eq!(exchange(&mut world.connect(), &get()).text(), "{}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_connection_takes_no_more_streams_than_its_upstream_says() {
    let all = Signal::default();
    let go_on = all.clone();
    let origin = Frames::with(&[(MAX_CONCURRENT_STREAMS, 2)], move |peer| {
        let mut streams = Vec::new();
        while let Some(stream) = peer.request() {
            streams.push(stream);
            if streams.len() == 2 || peer.number() == 3 {
                go_on.wait();
                streams.drain(..).for_each(|stream| assert!(peer.answer(stream, "{}")));
            }
        }
    });
    let world = speaking_h2(origin.address).start();
    let mut clients: Vec<_> = (0..5).map(|_| world.connect()).collect();
    clients.iter_mut().for_each(|client| assert!(client.send(get())));
    origin.wait_for(5);
    assert_eq!(origin.connections(), 3);
    (0..3).for_each(|_| all.give());
    assert!(clients.iter_mut().all(|client| client.answer().status == 200));
}

#[test]
fn an_upstream_that_takes_no_streams_is_of_no_use() {
    let origin = Frames::with(&[(MAX_CONCURRENT_STREAMS, 0)], |peer| peer.wait_for_end());
    let world = speaking_h2(origin.address).start();
    assert_error(&exchange(&mut world.connect(), &get()), 502, "upstream_closed", "no streams");
    assert!(origin.connections() <= 2);
    origin.wait_for_ends(origin.connections());
}

#[test]
fn line_43_what_an_upstream_says_in_parting_is_not_repeated() {
    let origin = Frames::start(|peer| {
        while let Some(stream) = peer.request() {
            match stream {
                1 => peer.send_head(stream, END_STREAM, &[("x-echo", SECRET), ("te", SECRET)]),
                3 => peer.send_head(stream, 0, &[("x-echo", SECRET)]) && peer.send(DATA, END_STREAM, stream, SECRET),
                _ => {
                    let parting = [stream.to_be_bytes(), INTERNAL_ERROR.to_be_bytes()].concat();
                    return assert!(peer.send(GOAWAY, 0, 0, [&parting, SECRET.as_bytes()].concat()));
                }
            };
        }
    });
    let mut world = speaking_h2(origin.address).set("log", "level = \"trace\"").spawn();
    let statuses: Vec<u16> = (0..3).map(|_| exchange(&mut world.connect(), &empty_post()).status).collect();
    assert_eq!(statuses, [502, 200, 502]);
    world.signal(rustix::process::Signal::TERM);
    world.wait();
    let said = world.stderr.text() + &world.stdout.text();
    assert!(said.contains("no answer of the upstream"), "{said}");
    assert!(!said.contains("PLANTED"), "{said}");
}

#[test]
fn line_34_an_idle_connection_ends_in_order() {
    let (said, ended) = (Signal::default(), Signal::default());
    let (say, end) = (said.clone(), ended.clone());
    let origin = Frames::start(move |peer| {
        let stream = peer.request().unwrap();
        peer.answer(stream, "{}");
        assert_eq!(peer.next_of(GOAWAY).unwrap().code(), NO_ERROR);
        say.give();
        peer.wait_for_end();
        end.give();
    });
    let world = speaking_h2(origin.address).set("upstream", "idle_timeout = \"300ms\"").start();
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    said.wait();
    ended.wait();
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    assert_eq!(origin.connections(), 2);
}

#[test]
fn line_34_an_upstream_that_answers_nobody_is_not_asked_again_on_the_same_connection() {
    let origin = Frames::start(|peer| {
        while let Some(stream) = peer.request() {
            // The first connection falls silent.
            if (peer.number(), stream) != (1, 3) {
                peer.answer(stream, "{}");
            }
        }
    });
    let world = speaking_h2(origin.address).set("upstream", "response_timeout = \"300ms\"").start();
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    let answer = exchange(&mut world.connect(), &get());
    assert_error(&answer, 504, "upstream_timeout", "silent");
    assert!(record(&world, 2)["duration_ms"].as_f64().unwrap() >= 300.0);
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    assert_eq!(origin.seen(), [(1, 1), (1, 3), (2, 1)]);
}

#[test]
fn line_34_a_stream_without_an_answer_ends_alone() {
    let origin = Frames::start(|peer| {
        let silent = peer.request().unwrap();
        // While others are answered.
        loop {
            let frame = peer.next().unwrap();
            match frame.kind {
                RST_STREAM => {
                    assert_eq!((frame.stream, frame.code()), (silent, CANCEL));
                    break;
                }
                DATA => {}
                _ if frame.flags & END_STREAM != 0 => assert!(peer.answer(frame.stream, "{}")),
                _ => {}
            }
        }
        while let Some(stream) = peer.request() {
            peer.answer(stream, "{}");
        }
    });
    let world = speaking_h2(origin.address).set("upstream", "response_timeout = \"1s\"").start();
    let mut silent = world.connect();
    silent.send(get());
    origin.wait_for(1);
    let mut other = world.connect();
    while !silent.stirs_within(Duration::from_millis(50)) {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    assert_error(&silent.answer(), 504, "upstream_timeout", "silent");
    assert_eq!(exchange(&mut other, &get()).status, 200);
    assert_eq!(origin.connections(), 1);
}
