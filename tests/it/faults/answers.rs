//! Answers that are cut, malformed, early, or preceded by others (security.md 11, 33, 36).

use serde_json::json;

use super::{WHOLE, assert_error, exchange, get, head, post, record};
use crate::origin::{Conversation, Origin};
use crate::raw::Raw;
use crate::signal::Signal;
use crate::world::gateway;

/// How an upstream's connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Close,
    Reset,
}

/// An upstream that answers the first request on each connection with bytes of any kind, and then leaves.
fn ending(answer: impl Into<Vec<u8>>, end: End) -> Origin {
    let answer = answer.into();
    Origin::start(move |conversation| {
        conversation.request();
        conversation.send(&answer);
        match end {
            End::Close => conversation.shutdown(),
            End::Reset => conversation.reset(),
        }
    })
}

#[test]
fn line_33_a_cut_answer_never_ends_cleanly() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (closed, invalid) = ("upstream_closed", "upstream_invalid");
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this".to_owned(), "only this", closed),
        (format!("{chunked}5\r\nhello\r\n"), "hello", closed),
        (format!("{chunked}5\r\nhello\r\n9\r\nwor"), "hellowor", closed),
        (format!("{chunked}5\r\nhello\r\n0"), "hello", closed),
        (format!("{chunked}5\r\nhello\r\n0\r\n"), "hello", closed),
        (format!("{chunked}5\r\nhello\r\n0\r\nx-trailer: a\r\n"), "hello", closed),
        (format!("{chunked}5\r\nhello\r\nZZ\r\nworld\r\n0\r\n\r\n"), "hello", invalid),
        (format!("{chunked}5\r\nhello\r\n-1\r\nworld\r\n0\r\n\r\n"), "hello", invalid),
        (format!("{chunked}5\r\nhello\r\n0x5\r\nworld\r\n0\r\n\r\n"), "hello", invalid),
        (format!("{chunked}5\r\nhello\r\n\r\n0\r\n\r\n"), "hello", invalid),
        (format!("{chunked}5\r\nhello\n0\n\n"), "hello", invalid),
        (format!("{chunked}5\r\nhelloworld\r\n0\r\n\r\n"), "hello", invalid),
        (format!("{chunked}5\r\nhello\r\n11111111111111111\r\nworld\r\n0\r\n\r\n"), "hello", invalid),
        (format!("{chunked}5\r\nhello\r\n5;{}\r\nworld\r\n0\r\n\r\n", "x".repeat(100_000)), "hello", invalid),
    ];
    for (answer, passes, code) in cases {
        let origin = ending(answer.as_str(), End::Close);
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        let got = exchange(&mut client, &get());
        assert_eq!((got.status, got.code()), (200, None), "{answer}");
        assert!(!got.whole, "ended cleanly after {:?}: {answer}", got.text());
        assert_eq!(got.text(), passes, "{answer}");
        assert!(client.ends(), "{answer}");
        let record = record(&world, 1);
        assert_eq!((&record["status"], &record["origin"]), (&200.into(), &"upstream".into()), "{answer}");
        assert_eq!(record["code"], code, "{answer}");
        assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), 1.0, "{answer}");
    }
}

#[test]
fn line_33_a_reset_inside_an_answer_is_a_cut() {
    // The piece before the reset is taken first: a reset drops what has not been read.
    for framing in ["content-length: 100\r\n", "transfer-encoding: chunked\r\n", "connection: close\r\n"] {
        let taken = Signal::default();
        let client_has_it = taken.clone();
        let chunked = framing.starts_with("transfer");
        let origin = Origin::start(move |conversation| {
            conversation.request();
            let piece = if chunked { "5\r\nhello\r\n" } else { "hello" };
            conversation.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{piece}"));
            client_has_it.wait();
            conversation.reset();
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        assert!(client.send(get()));
        let mut answer = client.head();
        if framing.starts_with("content-length") {
            assert_eq!(client.take(5), b"hello");
        } else {
            assert_eq!(client.chunk().unwrap(), b"hello");
        }
        taken.give();
        answer = client.body(answer, false);
        assert!(!answer.whole, "{framing}");
        record(&world, 1);
        assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), 1.0, "{framing}");
    }
}

#[test]
fn line_33_an_http_1_0_client_is_told_of_a_cut_by_a_reset() {
    for cut in ["transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwor", "content-length: 50\r\n\r\nhello wor"] {
        let origin = ending(format!("HTTP/1.1 200 OK\r\n{cut}"), End::Close);
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        assert!(client.send(get().replace("HTTP/1.1", "HTTP/1.0")));
        assert!(client.is_reset(), "{cut}");
        record(&world, 1);
        assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), 1.0, "{cut}");
    }
}

#[test]
fn line_33_an_answer_that_ends_with_its_connection_passes_whole() {
    let origin = ending("HTTP/1.1 200 OK\r\n\r\nas long as it lasts", End::Close);
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = world.get("/sales/api/v1/me/", "");
    assert_eq!((answer.status, answer.whole, answer.text().as_str()), (200, true, "as long as it lasts"));
    assert_eq!(record(&world, 1)["code"], json!(null));
}

#[test]
fn line_33_a_malformed_head_is_a_502() {
    let many = "x".repeat(300 * 1024);
    let heads: Vec<Vec<u8>> = [
        "garbage\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "\x15\x03\x03\x00\x02\x02\x28",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "220 mail.example ESMTP\r\n",
        "<html><body>HTTP/0.9 would send this</body></html>\r\n",
        "{\"no\": \"head at all\"}",
        "HTTP/0.9 200 OK\r\n\r\nhello",
        "HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "http/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "ICY 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 -20 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nno colon here\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\n: nameless\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx-folded: one\r\n two\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx-nul: \0\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx-bare: a\rb: c\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nx na me: a\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ]
    .into_iter()
    .map(Vec::from)
    .chain([
        format!("HTTP/1.1 200 OK\r\nx-long: {many}\r\ncontent-length: 2\r\n\r\n{{}}").into_bytes(),
        format!("HTTP/1.1 200 {many}\r\ncontent-length: 2\r\n\r\n{{}}").into_bytes(),
        (b"HTTP/1.1 200 OK\r\n".to_vec().into_iter())
            .chain("x: y\r\n".repeat(20_000).into_bytes())
            .chain(*b"content-length: 2\r\n\r\n{}")
            .collect(),
    ])
    .collect();
    for bytes in heads {
        let context = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        // It stays open: what cannot be understood is refused at once, and not when it ends.
        let stays = bytes.windows(4).any(|window| window == b"\r\n\r\n");
        let origin = Origin::start(move |conversation| {
            conversation.request();
            conversation.send(&bytes);
            if stays {
                conversation.wait_for_end();
            }
            conversation.shutdown();
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        assert_error(&exchange(&mut client, &get()), 502, "upstream_invalid", &context);
        let record = record(&world, 1);
        assert_eq!((&record["status"], &record["origin"]), (&502.into(), &"gateway".into()), "{context}");
        // The client's own connection is as good as before, and the upstream's is not used again.
        origin.wait_for_ends(1);
        assert_eq!(exchange(&mut client, &get()).status, 502, "{context}");
        assert_eq!(origin.connections(), 2, "{context}");
    }
}

#[test]
fn line_33_an_upstream_that_says_nothing_has_closed() {
    for end in [End::Close, End::Reset] {
        let origin = ending("", end);
        let world = gateway(origin.address).key("\"sales\"").start();
        assert_error(&world.get("/sales/api/v1/me/", ""), 502, "upstream_closed", &format!("{end:?}"));
        assert_eq!(record(&world, 1)["attempts"], 1);
    }
    let origin = ending("HTTP/1.1 200 OK\r\ncontent-le", End::Close);
    let world = gateway(origin.address).key("\"sales\"").start();
    assert_error(&world.get("/sales/api/v1/me/", ""), 502, "upstream_closed", "inside the head");
}

#[test]
fn line_11_a_101_is_a_502() {
    for upgrade in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
        let origin = Origin::start(|conversation| {
            let seen = conversation.request().unwrap();
            assert_eq!(seen.values("upgrade"), [""; 0]);
            conversation.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            conversation.wait_for_end();
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        assert_error(&world.get("/sales/api/v1/me/", upgrade), 502, "upstream_invalid", upgrade);
        origin.wait_for_ends(1);
    }
}

#[test]
fn line_36_interim_answers_are_dropped() {
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    let origin = Origin::answering(format!("{interim}{WHOLE}"));
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for request in [get(), post("{\"a\": 1}"), get()] {
        let answer = exchange(&mut client, &request);
        assert_eq!((answer.status, answer.text().as_str(), answer.header("link")), (200, "{}", None));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn line_36_thousands_of_interim_answers_end_the_exchange() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(5000);
    let then_an_answer = move |conversation: &mut Conversation| {
        conversation.request();
        conversation.send(format!("{interim}{WHOLE}"));
        conversation.wait_for_end();
    };
    let for_ever = |conversation: &mut Conversation| {
        conversation.request();
        while conversation.send("HTTP/1.1 100 Continue\r\n\r\n") {}
    };
    for origin in [Origin::start(then_an_answer), Origin::start(for_ever)] {
        let world = gateway(origin.address).key("\"sales\"").start();
        assert_error(&world.get("/sales/api/v1/me/", ""), 502, "upstream_invalid", "1xx");
        origin.wait_for_ends(1);
    }
}

#[test]
fn line_36_a_large_answer_on_a_used_connection_is_no_endless_head() {
    // What the codec reads at once grows with the answers before; a head and its body may come in one read.
    let body = "x".repeat(3_000_000);
    let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for _ in 0..10 {
        let answer = exchange(&mut client, &get());
        assert_eq!((answer.status, answer.whole, answer.body.len()), (200, true, body.len()));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn line_36_an_early_answer_reaches_the_client_during_its_upload() {
    let origin = Origin::start(|conversation| {
        conversation.request_head();
        conversation.send("HTTP/1.1 422 Unprocessable\r\ncontent-length: 5\r\n\r\nearly");
        conversation.wait_for_end();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    for framing in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = world.connect();
        assert!(client.send(head("POST", "/sales/api/v1/lead/", framing)));
        assert!(client.send(if framing.starts_with('C') { "a beginning" } else { "b\r\na beginning\r\n" }));
        let answer = client.answer();
        assert_eq!((answer.status, answer.code(), answer.text().as_str()), (422, None, "early"), "{framing}");
    }
}

#[test]
fn line_36_an_early_answer_does_not_end_the_upload() {
    let (sent, over) = (Signal::default(), Signal::default());
    let (rest_is_sent, upload_is_over) = (sent.clone(), over.clone());
    let origin = Origin::start(move |conversation| {
        let head = conversation.request_head().unwrap();
        conversation.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n");
        let body = conversation.body_of(head).unwrap();
        assert_eq!(body.body.len(), 2_000_000);
        rest_is_sent.wait();
        conversation.send("4\r\nlate\r\n0\r\n\r\n");
        upload_is_over.give();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    assert!(client.send(head("POST", "/sales/api/v1/lead/", "Content-Length: 2000000\r\n")));
    let answer = client.head();
    assert_eq!(client.chunk().unwrap(), b"early");
    assert!(client.send(vec![b'x'; 2_000_000]));
    sent.give();
    over.wait();
    let answer = client.body(answer, false);
    assert_eq!((answer.status, answer.whole, answer.text().as_str()), (200, true, "late"));
    assert_eq!(origin.seen()[0].body.len(), 2_000_000);
}

#[test]
fn line_36_a_client_that_sends_everything_first_gets_the_early_answer() {
    let origin = Origin::start(|conversation| {
        conversation.request_head();
        let body = "y".repeat(3_000_000);
        conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        conversation.wait_for_end();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client: Raw = world.connect();
    assert!(client.send(head("POST", "/sales/api/v1/lead/", "Content-Length: 5000000\r\n")));
    assert!(client.send(vec![b'x'; 5_000_000]));
    let answer = client.answer();
    assert_eq!((answer.status, answer.whole, answer.body.len()), (200, true, 3_000_000));
}

#[test]
fn line_36_an_early_answer_of_an_upstream_that_takes_no_more_reaches_the_client() {
    for framing in ["content-length: 5\r\nconnection: close\r\n", "content-length: 5\r\n", ""] {
        let origin = Origin::start(move |conversation| {
            conversation.request_head();
            conversation.send(format!("HTTP/1.1 413 Too Large\r\n{framing}\r\nearly"));
            conversation.shutdown();
        });
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        assert!(client.send(head("POST", "/sales/api/v1/lead/", "Content-Length: 5000000\r\n")));
        let answer = client.answer();
        assert_eq!((answer.status, answer.code(), answer.text().as_str()), (413, None, "early"), "{framing}");
    }
}

#[test]
fn line_33_an_odd_head_without_a_doubt_passes() {
    let chunked = "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    for (bytes, body, again) in [
        ("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}".to_owned(), "{}", true),
        ("HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}".to_owned(), "{}", true),
        ("HTTP/1.1 200 Gr\u{fc}n\r\nCONTENT-LENGTH:2\r\n\r\n{}".to_owned(), "{}", true),
        ("HTTP/1.1 200 OK\r\ncontent-length:\t 002 \r\n\r\n{}".to_owned(), "{}", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(), "", true),
        (format!("HTTP/1.1 200 OK\r\n{}", chunked.replace("chunked", "Chunked")), "{}", true),
        (format!("HTTP/1.1 200 OK\r\n{}", chunked.replace("2\r\n", "0002;a=\"b\"\r\n")), "{}", true),
        (format!("HTTP/1.1 200 OK\r\n{}", chunked.replace("0\r\n\r\n", "000\r\nx-trailer: y\r\n\r\n")), "{}", true),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "", true),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n".to_owned(), "", true),
        ("HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 2\r\n\r\n{}".to_owned(), "{}", false),
        ("HTTP/1.1 200 OK\r\nconnection: x, close\r\ncontent-length: 2\r\n\r\n{}".to_owned(), "{}", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(), "{}", false),
    ] {
        let origin = Origin::answering(bytes.as_str());
        let world = gateway(origin.address).key("\"sales\"").start();
        let mut client = world.connect();
        for _ in 0..2 {
            let answer = exchange(&mut client, &get());
            assert_eq!((answer.code(), answer.whole, answer.text().as_str()), (None, true, body), "{bytes}");
            assert_eq!(answer.status.to_string(), bytes[9..12], "{bytes}");
            assert_eq!(answer.header("x-trailer"), None);
        }
        assert_eq!(origin.connections(), if again { 1 } else { 2 }, "{bytes}");
    }
}
