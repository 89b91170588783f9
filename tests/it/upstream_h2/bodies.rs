//! Answers and uploads as streams: their ends, their limits, and who waits for whom (security.md 11, 13, 33 to 36).

use super::origin::{LARGE, TlsOrigin};
use super::speaking_h2;
use crate::faults::{assert_error, exchange, get, head, record};
use crate::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, INTERNAL_ERROR,
    MAX_CONCURRENT_STREAMS, NO_ERROR, Peer, RST_STREAM, WINDOW_UPDATE, block,
};
use crate::signal::Signal;

/// Has the upstream answer once so, and says what the client got: the status, the text, and whether it was whole.
fn answered(answer: impl Fn(&mut Peer, u32) + Send + Sync + 'static) -> (u16, String, bool, String) {
    let origin = Frames::answering(answer);
    let world = speaking_h2(origin.address).start();
    let mut client = world.connect();
    client.send(get());
    let answer = client.answer();
    let record = record(&world, 1);
    let counted = world.metric("closegate_truncated_responses_total{route=\"sales\"}");
    assert_eq!(counted, if answer.whole { 0.0 } else { 1.0 });
    let code = record["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, answer.text(), answer.whole, code)
}

#[test]
fn line_33_a_reset_stream_is_no_end() {
    for code in [INTERNAL_ERROR, CANCEL, NO_ERROR] {
        for fields in [&[("content-length", "10")][..], &[]] {
            let (status, text, whole, said) = answered(move |peer, stream| {
                peer.send_head(stream, 0, fields);
                peer.send(DATA, 0, stream, "part");
                peer.reset(stream, code);
            });
            assert_eq!((status, text.as_str(), whole), (200, "part", false), "{code}");
            assert_eq!(said, "upstream_closed");
        }
    }
}

#[test]
fn line_33_a_lost_connection_is_no_end() {
    for fields in [&[("content-length", "10")][..], &[]] {
        let (status, text, whole, _) = answered(move |peer, stream| {
            peer.send_head(stream, 0, fields);
            peer.send(DATA, 0, stream, "part");
            peer.shutdown();
        });
        assert_eq!((status, text.as_str(), whole), (200, "part", false));
    }
}

#[test]
fn line_33_a_length_that_is_none_is_no_end() {
    let cases: [(&[&str], &str); 4] = [
        (&["short"], "ends early"),
        (&["much too long"], "at once"),
        (&["0123456789", "!"], "later"),
        (&[], "nothing"),
    ];
    for (pieces, what) in cases {
        let (status, text, whole, code) = answered(move |peer, stream| {
            peer.send_head(stream, 0, &[("content-length", "10")]);
            let mut pieces = pieces.iter().peekable();
            if pieces.peek().is_none() {
                peer.send(DATA, END_STREAM, stream, "");
            }
            while let Some(piece) = pieces.next() {
                peer.send(DATA, if pieces.peek().is_none() { END_STREAM } else { 0 }, stream, piece);
            }
        });
        assert_eq!((status, whole), (200, false), "{what}: {text}");
        assert_eq!(code, "upstream_invalid", "{what}");
    }
}

#[test]
fn a_body_ends_with_its_stream_however_that_ends() {
    let whole = |answer: fn(&mut Peer, u32)| {
        let (status, text, whole, _) = answered(answer);
        assert_eq!((status, text.as_str(), whole), (200, "{}", true));
    };
    whole(|peer, stream| assert!(peer.answer(stream, "{}")));
    whole(|peer, stream| {
        peer.send_head(stream, 0, &[]);
        peer.send(DATA, END_STREAM, stream, "{}");
    });
    // An empty frame ends it.
    whole(|peer, stream| {
        peer.send_head(stream, 0, &[("content-length", "2")]);
        peer.send(DATA, 0, stream, "{");
        peer.send(DATA, 0, stream, "");
        peer.send(DATA, 0, stream, "}");
        peer.send(DATA, END_STREAM, stream, "");
    });
    // Trailers end it, and are dropped.
    whole(|peer, stream| {
        peer.send_head(stream, 0, &[]);
        peer.send(DATA, 0, stream, "{}");
        let trailers = block("", &[("x-trailer", "dropped")])[10..].to_vec();
        peer.send(HEADERS, END_HEADERS | END_STREAM, stream, trailers);
    });
    // Whoever has answered may stop listening (RFC 9113 8.1).
    whole(|peer, stream| {
        peer.answer(stream, "{}");
        peer.reset(stream, NO_ERROR);
    });
}

#[test]
fn line_36_interim_answers_are_dropped_and_counted() {
    for (count, status) in [(1, 200), (50, 200), (5000, 502)] {
        let (got, _, _, code) = answered(move |peer, stream| {
            for _ in 0..count {
                if !peer.send_status(stream, 0, "103", &[("link", "</style.css>")]) {
                    return;
                }
            }
            peer.answer(stream, "{}");
        });
        assert_eq!(got, status, "{count}");
        assert_eq!(code, if status == 200 { "" } else { "upstream_invalid" });
    }
}

#[test]
fn line_33_a_malformed_head_is_a_502_and_harms_nobody_else() {
    let large = "x".repeat(120);
    let many: Vec<(String, &str)> = (0..400).map(|number| (format!("x-{number}"), large.as_str())).collect();
    let lines: Vec<(String, &str)> = (0..200).map(|number| (format!("x-{number}"), "")).collect();
    let fields = |fields: &[(String, &str)]| {
        block("200", &fields.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())
    };
    let blocks = vec![
        ("switching protocols", block("101", &[])),
        ("no status", block("", &[("x", "y")])[10..].to_vec()),
        ("two lengths", block("200", &[("content-length", "2"), ("content-length", "2")])),
        ("an empty length", block("200", &[("content-length", "")])),
        ("a length that is none", block("200", &[("content-length", "+2")])),
        ("connection-specific", block("200", &[("transfer-encoding", "chunked")])),
        ("too large", fields(&many)),
        ("too many lines", fields(&lines)),
    ];
    for (what, block) in blocks {
        let asked = Signal::default();
        let ask = asked.clone();
        let origin = Frames::start(move |peer| {
            let other = peer.request().unwrap();
            ask.give();
            let bad = peer.request().unwrap();
            // Frames of 16 KiB, as long as it takes.
            let mut pieces = block.chunks(16_384).enumerate().peekable();
            while let Some((number, piece)) = pieces.next() {
                let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
                peer.send(if number == 0 { HEADERS } else { CONTINUATION }, flags, bad, piece);
            }
            let reset = peer.next_of(RST_STREAM).unwrap_or_else(|| panic!("{what}: nothing came"));
            assert_eq!(reset.stream, bad, "{what}");
            peer.answer(other, "{}");
            peer.wait_for_end();
        });
        let world = speaking_h2(origin.address).start();
        let mut other = world.connect();
        other.send(get());
        asked.wait();
        assert_error(&exchange(&mut world.connect(), &get()), 502, "upstream_invalid", what);
        assert_eq!(other.answer().text(), "{}", "{what}");
        assert_eq!(origin.connections(), 1, "{what}");
    }
}

const CONTINUATION: u8 = 9;

#[test]
fn what_is_no_http2_is_a_502() {
    let (status, _, _, code) = answered(|peer, stream| {
        // Nobody knows what the tables hold after that: the connection ends.
        peer.send_head(stream, END_STREAM, &[("X-Upper", "x")]);
        peer.next_of(GOAWAY).unwrap();
    });
    assert_eq!((status, code.as_str()), (502, "upstream_invalid"));
    let origin = crate::origin::Origin::start(|conversation| {
        conversation.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        conversation.wait_for_end();
    });
    let world = speaking_h2(origin.address).start();
    assert_error(&exchange(&mut world.connect(), &get()), 502, "upstream_invalid", "HTTP/1.1");
}

#[test]
fn answers_without_a_body_leave_the_stream_to_its_end() {
    for (request, status) in [(head("HEAD", "/sales/api/v1/me/", ""), "200"), (get(), "204"), (get(), "304")] {
        let over = Signal::default();
        let ended = over.clone();
        let origin = Frames::start(move |peer| {
            let mut last = None;
            while let Some(frame) = peer.next() {
                assert_ne!(frame.kind, RST_STREAM, "{status}");
                if frame.kind != HEADERS {
                    continue;
                }
                // Each stream ends long after its answer was given.
                if let Some(stream) = last.replace(frame.stream) {
                    peer.send(DATA, END_STREAM, stream, "");
                }
                let fields: &[_] = if status == "200" { &[("content-length", "7")] } else { &[] };
                peer.send_status(frame.stream, 0, status, fields);
            }
            ended.give();
        });
        let world = speaking_h2(origin.address).start();
        let mut client = world.connect();
        for _ in 0..5 {
            client.send(&request);
            assert_eq!(client.answer_to_head().status.to_string(), status);
        }
        assert_eq!(origin.connections(), 1);
        drop(world);
        over.wait();
    }
}

#[test]
fn line_34_a_body_that_stops_takes_body_timeout() {
    let origin = Frames::start(|peer| {
        let stream = peer.request().unwrap();
        peer.send_head(stream, 0, &[]);
        peer.send(DATA, 0, stream, "part");
        let reset = peer.next_of(RST_STREAM).unwrap();
        assert_eq!((reset.stream, reset.code()), (stream, CANCEL));
    });
    let world = speaking_h2(origin.address).set("upstream", "body_timeout = \"300ms\"").start();
    let answer = exchange(&mut world.connect(), &get());
    assert_eq!((answer.status, answer.text().as_str(), answer.whole), (200, "part", false));
    let record = record(&world, 1);
    assert_eq!(record["code"], "upstream_timeout");
    assert!(record["duration_ms"].as_f64().unwrap() >= 300.0);
    origin.wait_for_ends(1);
}

#[test]
fn line_36_an_early_answer_reaches_the_client_and_ends_the_upload() {
    for body in ["", "too much"] {
        let origin = Frames::start(move |peer| {
            let stream = peer.head().unwrap().stream;
            peer.next_of(DATA).unwrap();
            let flags = if body.is_empty() { END_STREAM } else { 0 };
            peer.send_status(stream, flags, "413", &[]);
            if !body.is_empty() {
                peer.send(DATA, END_STREAM, stream, body);
            }
            let reset = peer.next_of(RST_STREAM).unwrap();
            assert_eq!((reset.stream, reset.code()), (stream, NO_ERROR));
            while let Some(stream) = peer.request() {
                peer.answer(stream, "{}");
            }
        });
        let world = speaking_h2(origin.address).start();
        let mut client = world.connect();
        client.send(head("POST", "/sales/api/v1/lead/", "Content-Length: 1000000\r\n") + "the first of it");
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str(), answer.whole), (413, body, true));
        assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn an_upload_goes_on_beside_its_answer() {
    let origin = Frames::start(|peer| {
        let stream = peer.head().unwrap().stream;
        peer.send_head(stream, 0, &[]);
        peer.send(DATA, 0, stream, "begun,");
        let mut bytes = Vec::new();
        loop {
            let data = peer.next_of(DATA).unwrap();
            bytes.extend(data.payload);
            if data.flags & END_STREAM != 0 {
                break;
            }
        }
        peer.send(DATA, END_STREAM, stream, bytes);
        peer.wait_for_end();
    });
    let world = speaking_h2(origin.address).start();
    let mut client = world.connect();
    client.send(head("POST", "/sales/api/v1/lead/", "Content-Length: 10\r\n") + "01234");
    let answer = client.head();
    assert_eq!(client.chunk().unwrap(), b"begun,");
    client.send("56789");
    let answer = client.body(answer, false);
    assert_eq!((answer.text().as_str(), answer.whole), ("0123456789", true));
}

#[test]
fn line_13_a_cut_upload_never_becomes_a_whole_request() {
    for framing in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        let origin = Frames::start(|peer| {
            let stream = peer.head().unwrap().stream;
            loop {
                let frame = peer.next().unwrap();
                assert_eq!(frame.flags & END_STREAM & u8::from(frame.kind == DATA), 0, "{frame:?}");
                if frame.kind == RST_STREAM {
                    assert_eq!((frame.stream, frame.code()), (stream, CANCEL));
                    break;
                }
            }
            while let Some(stream) = peer.request() {
                peer.answer(stream, "{}");
            }
        });
        let world = speaking_h2(origin.address).start();
        let mut client = world.connect();
        client.send(head("POST", "/sales/api/v1/lead/", framing) + "5\r\nhello\r\n");
        origin.wait_for(1);
        drop(client);
        assert_eq!(record(&world, 1)["status"], 499);
        assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn line_13_an_upload_that_breaks_beside_its_answer_never_becomes_a_whole_request() {
    let origin = Frames::start(|peer| {
        let stream = peer.head().unwrap().stream;
        peer.send_head(stream, 0, &[]);
        peer.send(DATA, 0, stream, "begun,");
        loop {
            let frame = peer.next().unwrap();
            assert!(frame.kind != DATA || frame.flags & END_STREAM == 0, "{frame:?}");
            if frame.kind == RST_STREAM {
                return assert_eq!((frame.stream, frame.code()), (stream, CANCEL));
            }
        }
    });
    let world = speaking_h2(origin.address).start();
    let mut client = world.connect();
    client.send(head("POST", "/sales/api/v1/lead/", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n");
    let answer = client.head();
    assert_eq!(client.chunk().unwrap(), b"begun,");
    client.send("no size\r\n");
    origin.wait_for_ends(1);
    assert!(!client.body(answer, false).whole);
}

#[test]
fn uploads_of_every_size_and_framing_arrive_whole() {
    let origin = TlsOrigin::offering(&["h2"]);
    let world = origin.gateway("h2").start();
    let mut client = world.connect();
    for length in [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 300_000, 2_000_000] {
        let body = "x".repeat(length);
        let told = head("POST", "/sales/api/v1/lead/", &format!("Content-Length: {length}\r\n")) + &body;
        assert_eq!(exchange(&mut client, &told).text(), format!("{{\"length\": {length}}}"));
        let last = if length == 0 { String::new() } else { format!("{length:x}\r\n{body}\r\n") };
        let chunked = head("POST", "/sales/api/v1/lead/", "Transfer-Encoding: chunked\r\n") + &last + "0\r\n\r\n";
        assert_eq!(exchange(&mut client, &chunked).text(), format!("{{\"length\": {length}}}"));
    }
}

#[test]
fn line_35_stalled_readers_cost_little_memory_and_starve_nobody() {
    const STALLED: usize = 20;
    let origin = TlsOrigin::offering(&["h2"]);
    let world = origin.gateway("h2").spawn();
    for _ in 0..100 {
        assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    }
    let before = world.peak_at_rest();
    let mut stalled: Vec<_> = (0..STALLED).map(|_| world.connect()).collect();
    let heads: Vec<_> = stalled
        .iter_mut()
        .map(|client| {
            assert!(client.send(head("GET", "/sales/api/v1/big/", "")));
            client.head()
        })
        .collect();
    let mut other = world.connect();
    for _ in 0..200 {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    let sent = origin.sent();
    assert!(sent < STALLED << 21, "{sent} bytes were taken for clients that read nothing");
    let (mut first, head) = (stalled.swap_remove(0), heads.into_iter().next().unwrap());
    let answer = first.body(head, false);
    assert_eq!((answer.whole, answer.body.len()), (true, LARGE));
    let grown = world.grown_beyond(before);
    assert!(grown < 2048 * STALLED as u64, "{grown} KiB");
    assert_eq!(origin.connections().len(), 1);
}

#[test]
fn line_35_an_upload_into_a_wide_window_costs_little_memory() {
    // One stream a connection: others go by another one.
    let wide = 0x7fff_ffff;
    let origin = Frames::with(&[(MAX_CONCURRENT_STREAMS, 1), (INITIAL_WINDOW_SIZE, wide)], move |peer| {
        peer.send(WINDOW_UPDATE, 0, 0, (wide - 65_535).to_be_bytes());
        while let Some(head) = peer.head() {
            if head.flags & END_STREAM == 0 {
                // Nothing is read any more, whatever the windows say.
                return std::thread::park();
            }
            peer.answer(head.stream, "{}");
        }
    });
    let world = speaking_h2(origin.address).set("listen", "max_body = \"100MiB\"").spawn();
    for _ in 0..100 {
        assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    }
    let before = world.peak_at_rest();
    let uploading = std::thread::spawn({
        let mut client = world.connect();
        move || {
            client.send(head("POST", "/sales/api/v1/lead/", &format!("Content-Length: {LARGE}\r\n")));
            while client.send(vec![b'x'; 1 << 20]) {}
        }
    });
    origin.wait_for(101);
    let mut other = world.connect();
    for _ in 0..1000 {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    assert!(!uploading.is_finished());
    let grown = world.grown_beyond(before);
    assert!(grown < 2048, "{grown} KiB");
    drop(world);
    uploading.join().unwrap();
}

#[test]
fn line_35_an_upload_that_nobody_takes_costs_little_memory() {
    let taken = Signal::default();
    let go_on = taken.clone();
    let origin = Frames::start(move |peer| {
        // No window is ever opened, beyond the one that is there from the beginning.
        let first = peer.head().unwrap().stream;
        assert!(peer.answer(first, "{}"));
        let upload = peer.head().unwrap().stream;
        let mut came = 0;
        while let Some(frame) = peer.next() {
            match frame.kind {
                DATA => {
                    came += frame.payload.len();
                    assert!(came <= 65_535, "{came}");
                    if came == 65_535 {
                        go_on.give();
                    }
                }
                HEADERS => assert!(peer.answer(frame.stream, "{}")),
                RST_STREAM => assert_eq!(frame.stream, upload),
                _ => {}
            }
        }
    });
    let world = speaking_h2(origin.address).set("listen", "max_body = \"100MiB\"").spawn();
    // The pages of the program itself come in as they are first run.
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    let before = world.peak_at_rest();
    let uploading = std::thread::spawn({
        let mut client = world.connect();
        move || {
            client.send(head("POST", "/sales/api/v1/lead/", &format!("Content-Length: {LARGE}\r\n")));
            while client.send(vec![b'x'; 1 << 20]) {}
        }
    });
    taken.wait();
    let mut other = world.connect();
    for _ in 0..200 {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    assert!(!uploading.is_finished());
    let grown = world.grown_beyond(before);
    assert!(grown < 4096, "{grown} KiB");
    drop(world);
    uploading.join().unwrap();
}
