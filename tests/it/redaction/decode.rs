//! `redact = "decode"`: what content codings hide is found too; nothing undecodable passes, nothing broken ends cleanly.

use std::net::SocketAddr;

use super::{dictated, hear, in_chunks, parrot, redactions, stars, with_length};
use crate::coding::{CODINGS, Coding};
use crate::faults::{assert_error, exchange, head, record};
use crate::origin::Origin;
use crate::raw::{Answer, Raw, find};
use crate::world::{INJECTED, KEY, SECRET, Setup, gateway};

fn decoding(upstream: SocketAddr) -> Setup {
    gateway(upstream).key("\"sales\"").set("upstream", "redact = \"decode\"")
}

/// An answer with these lines (each with its CRLF) and a length.
fn coded(coding: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The same in chunks of so many bytes.
fn coded_in_chunks(coding: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(size) {
        answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        answer.extend_from_slice(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

/// Like [`hear`], as an HTTP/1.0 client: what it gets, and whether it can take it for all.
fn hear_of_old(client: &mut Raw, answer: &[u8]) -> Answer {
    client.send(format!("POST /sales/a HTTP/1.0\r\nClosegate-Key: {KEY}\r\nContent-Length: {}\r\n\r\n", answer.len()));
    client.send(answer);
    client.head()
}

/// Names of fields that are true of the coded bytes only.
const OF_THE_CODED: [&str; 7] =
    ["content-encoding", "content-length", "etag", "digest", "content-digest", "repr-digest", "content-md5"];

const LINES_OF_THE_CODED: &str = "ETag: \"abc\"\r\nDigest: sha-256=abc\r\nContent-Digest: sha-256=:YWJj:\r\n\
     Repr-Digest: sha-256=:YWJj:\r\nContent-MD5: YWJj\r\nAccept-Ranges: bytes\r\nVary: Accept-Encoding\r\n\
     Content-Type: application/json\r\n";

#[test]
fn line_25_all_shapes_of_an_echo_are_overwritten() {
    let origin = parrot();
    let world = decoding(origin.address).start();
    let mut client = world.connect();
    let stars = stars(SECRET);
    let lines = format!("X-Echo: a {SECRET} b\r\nLocation: https://elsewhere.example/{SECRET}\r\n");
    let answer = hear(&mut client, &coded("identity", &lines, format!("<{SECRET}>").as_bytes()));
    assert_eq!(answer.header("x-echo"), Some(&*format!("a {stars} b")));
    assert_eq!(answer.header("location"), Some(&*format!("https://elsewhere.example/{stars}")));
    let plain = format!("<{stars}>");
    assert_eq!((answer.text(), answer.header("content-length")), (plain.clone(), Some(&*plain.len().to_string())));
    let split = hear(&mut client, &in_chunks(["<", &SECRET[..20], &SECRET[20..], ">"]));
    assert_eq!((split.text(), split.whole), (plain.clone(), true));
    for coding in [Coding::Gzip, Coding::Brotli] {
        let mut encoder = coding.encoder();
        let halves = [format!("<{}", &SECRET[..20]), format!("{}>", &SECRET[20..])];
        let whole = coding.encode(halves.concat());
        let split = [encoder.write(halves[0].as_bytes()), encoder.write(halves[1].as_bytes()), encoder.finish()];
        for answer in [
            coded(coding.name(), "", &whole),
            coded_in_chunks(coding.name(), &whole, 7),
            coded_in_chunks(coding.name(), &split.concat(), split[0].len()),
        ] {
            let answer = hear(&mut client, &answer);
            assert_eq!((answer.text(), answer.whole), (plain.clone(), true), "{coding:?}");
        }
    }
    let records = world.records.wait_for(8);
    for record in &records {
        assert_eq!((&record["response_bytes"], &record["status"]), (&plain.len().into(), &200.into()), "{record}");
    }
    assert_eq!(redactions(&world), 10.0);
    assert!(find(&world.records.bytes(), SECRET.as_bytes()).is_none());
}

#[test]
fn line_25_a_secret_is_overwritten_inside_every_coding() {
    let origin = parrot();
    let world = decoding(origin.address).start();
    let mut client = world.connect();
    let text = format!("{}{SECRET}{}{INJECTED}{}", "x".repeat(50_000), "y".repeat(50_000), "z".repeat(100));
    let encoded = INJECTED.strip_prefix("Basic ").unwrap().trim_end_matches('=');
    let expected = text.replace(SECRET, &stars(SECRET)).replace(encoded, &stars(encoded));
    for outer in CODINGS {
        let body = outer.encode(&text);
        let mut shapes = vec![(outer.name().to_owned(), body.clone())];
        for inner in CODINGS {
            shapes.push((format!("{}, {}", inner.name(), outer.name()), outer.encode(inner.encode(&text))));
        }
        for (name, body) in shapes {
            for answer in [coded(&name, LINES_OF_THE_CODED, &body), coded_in_chunks(&name, &body, 1000)] {
                let answer = hear(&mut client, &answer);
                assert!(answer.whole && answer.text() == expected, "{name}");
                assert!(OF_THE_CODED.iter().all(|field| answer.header(field).is_none()), "{name}: {answer:?}");
                assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "{name}");
            }
        }
    }
    let count = CODINGS.len() * (1 + CODINGS.len()) * 2;
    let records = world.records.wait_for(count);
    assert!(records.iter().all(|record| record["response_bytes"] == expected.len()), "{records:#?}");
    assert_eq!(redactions(&world), 2.0 * count as f64);
    assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), 0.0);
}

#[test]
fn the_head_says_nothing_of_the_coded_body_and_all_else() {
    let origin = parrot();
    let world = decoding(origin.address).start();
    let mut client = world.connect();
    let answer = hear(&mut client, &coded("gzip", LINES_OF_THE_CODED, &Coding::Gzip.encode("{}")));
    assert_eq!((answer.text().as_str(), answer.header("accept-ranges")), ("{}", None));
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    // What is not coded stays as it was, but that no ranges are asked for.
    for coding in ["identity", ""] {
        let answer = hear(&mut client, &coded(coding, LINES_OF_THE_CODED, b"{}"));
        assert!(OF_THE_CODED.iter().all(|field| answer.header(field).is_some()), "{answer:?}");
        assert_eq!((answer.header("content-length"), answer.header("accept-ranges")), (Some("2"), None));
    }
    // Nothing is nothing in every coding.
    for answer in [coded("br", LINES_OF_THE_CODED, b""), coded_in_chunks("gzip", b"", 1)] {
        let answer = hear(&mut client, &answer);
        assert_eq!((answer.status, answer.whole, answer.body.len()), (200, true, 0));
        assert_eq!((answer.header("content-encoding"), answer.header("etag")), (None, None));
    }
}

#[test]
fn an_answer_without_a_body_tells_what_one_with_it_would() {
    let lines = LINES_OF_THE_CODED;
    let answer = |status: &str, coding: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Encoding: {coding}\r\nContent-Length: 5\r\n{lines}\r\n")
    };
    for (status, coding, of_the_coded) in [
        ("200 OK", "gzip", false),
        ("200 OK", "identity", true),
        // Nothing can hide in it.
        ("200 OK", "unheard-of", true),
        ("206 Partial Content", "gzip", false),
    ] {
        let origin = Origin::answering(answer(status, coding));
        let world = decoding(origin.address).start();
        let mut client = world.connect();
        for _ in 0..2 {
            client.send(head("HEAD", "/sales/a", ""));
            let answer = client.answer_to_head();
            for field in OF_THE_CODED {
                assert_eq!(answer.header(field).is_some(), of_the_coded, "{status} {coding} {field}: {answer:?}");
            }
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        }
    }
    for status in ["204 No Content", "304 Not Modified"] {
        let answer = answer(status, "gzip").replace("Content-Length: 5\r\n", "");
        let origin = Origin::answering(answer);
        let world = decoding(origin.address).start();
        let mut client = world.connect();
        for _ in 0..2 {
            let answer = exchange(&mut client, &head("GET", "/sales/a", ""));
            assert_eq!(answer.status.to_string(), status[..3]);
            assert!(OF_THE_CODED.iter().all(|field| answer.header(field).is_none()), "{answer:?}");
        }
    }
}

#[test]
fn a_coding_that_cannot_be_undone_is_refused() {
    let origin = parrot();
    let world = decoding(origin.address).start();
    for (count, coding) in (1..).zip(["compress", "unheard-of", "gzip, dcb", "gzip, gzip, gzip", "gzip;q=1"]) {
        let answer = hear(&mut world.connect(), &coded(coding, "X-Of-Upstream: 1\r\n", SECRET.as_bytes()));
        assert_error(&answer, 502, "upstream_invalid", coding);
        assert_eq!(answer.header("x-of-upstream"), None);
        assert!(answer.header("proxy-status").unwrap().contains("http_response_content_coding"));
        assert!(answer.text().contains("Accept-Encoding"), "{}", answer.text());
        let record = record(&world, count);
        assert_eq!((&record["status"], &record["origin"]), (&502.into(), &"gateway".into()), "{record}");
    }
    // A part of a coded body begins anywhere; one of a body that is not coded can be read.
    let part = |coding, body: &[u8]| {
        let answer = coded(coding, "Content-Range: bytes 0-9/10\r\n", body);
        [&b"HTTP/1.1 206 Partial Content"[..], &answer[b"HTTP/1.1 200 OK".len()..]].concat()
    };
    let answer = hear(&mut world.connect(), &part("gzip", &Coding::Gzip.encode("text")));
    assert_error(&answer, 502, "upstream_invalid", "206");
    let answer = hear(&mut world.connect(), &part("identity", b"text"));
    assert_eq!((answer.status, answer.text().as_str()), (206, "text"));
}

#[test]
fn no_range_is_asked_for_and_codings_are_the_clients_choice() {
    let lines =
        "Range: bytes=0-9\r\nIf-Range: \"abc\"\r\nRequest-Range: bytes=0-9\r\nAccept-Encoding: gzip, odd;q=0.5\r\n";
    let origin = Origin::plain();
    for (setup, passes) in [(decoding(origin.address), false), (gateway(origin.address).key("\"sales\""), true)] {
        assert_eq!(setup.start().get("/sales/a", lines).status, 200);
        let seen = origin.seen().pop().unwrap();
        for field in ["range", "if-range", "request-range"] {
            assert_eq!(!seen.values(field).is_empty(), passes, "{field}");
        }
        assert_eq!(seen.values("accept-encoding"), ["gzip, odd;q=0.5"]);
    }
}

#[test]
fn streams_stay_live_in_every_coding() {
    for coding in CODINGS {
        let head_of_answer = match coding.name() {
            "gzip" => "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
            "br" => "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n",
            "zstd" => "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n",
        };
        let (dictate, origin) = dictated(head_of_answer);
        let world = decoding(origin.address).start();
        let mut client = world.connect();
        client.send(head("GET", "/sales/a", ""));
        let answer = client.head();
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, Some("chunked")));
        let mut encoder = coding.encoder();
        // Each comes before the next is sent.
        for event in ["data: one\n\n", "data: two\n\n", "data: two\n\n"] {
            dictate.send(encoder.write(event.as_bytes())).unwrap();
            assert_eq!(client.chunk().unwrap(), event.as_bytes(), "{coding:?}");
        }
        dictate.send(encoder.write(format!("held {}", &SECRET[..30]).as_bytes())).unwrap();
        assert_eq!(client.chunk().unwrap(), b"held ", "{coding:?}");
        dictate.send(encoder.write(&SECRET.as_bytes()[30..])).unwrap();
        assert_eq!(client.chunk().unwrap(), stars(SECRET).as_bytes(), "{coding:?}");
        dictate.send(encoder.finish()).unwrap();
        drop(dictate);
        let rest = client.body(answer, false);
        assert_eq!((rest.body.len(), rest.whole), (0, true), "{coding:?}");
    }
}

#[test]
fn line_33_a_coded_answer_that_is_broken_never_ends_cleanly() {
    let origin = parrot();
    let world = decoding(origin.address).start();
    let text = format!("{}{}", "{\"id\": \"lead_1\"},".repeat(10), &SECRET[..30]);
    let mut count = 0;
    for coding in CODINGS {
        let body = coding.encode(&text);
        let mut corrupt = body.clone();
        corrupt[..4].fill(0xff);
        let whole = body.len();
        for (what, body) in [
            ("cut at its end", body[..whole - 1].to_vec()),
            ("cut in the middle", body[..whole / 2].to_vec()),
            ("cut at its beginning", body[..1].to_vec()),
            ("corrupt", corrupt),
            ("followed by something", [&body[..], b"{}"].concat()),
            ("cut below another", Coding::Gzip.encode(&body[..whole - 1])),
        ] {
            let name =
                if what == "cut below another" { format!("{}, gzip", coding.name()) } else { coding.name().to_owned() };
            for answer in [coded(&name, "", &body), coded_in_chunks(&name, &body, 5)] {
                let answer = hear(&mut world.connect(), &answer);
                assert_eq!((answer.status, answer.whole), (200, false), "{coding:?} {what}");
                assert!(find(&answer.body, &SECRET.as_bytes()[..12]).is_none(), "a tail that begins a secret stays");
                count += 1;
                let record = record(&world, count);
                assert_eq!(record["code"], "upstream_invalid", "{coding:?} {what}: {record}");
                assert_eq!(record["response_bytes"], answer.body.len(), "{coding:?} {what}: {record}");
            }
            let mut old = world.connect();
            let length = coded(&name, "", &body);
            assert_eq!(hear_of_old(&mut old, &length).status, 200);
            assert!(old.is_reset(), "{coding:?} {what}");
            count += 1;
        }
    }
    world.records.wait_for(count);
    assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), count as f64);
    assert_eq!(hear(&mut world.connect(), &with_length("fine")).text(), "fine");
}

#[test]
fn a_bomb_ends_early() {
    let origin = parrot();
    let world = decoding(origin.address).start();
    let zeros = vec![b'0'; 24 << 20];
    for (count, coding) in (1..).zip([Coding::Gzip, Coding::Brotli, Coding::Zstd]) {
        let bomb = coding.encode(&zeros);
        let answer = hear(&mut world.connect(), &coded(coding.name(), "", &bomb));
        assert!(!answer.whole && answer.body.len() <= (8 << 20) + 200 * bomb.len(), "{coding:?} {}", answer.body.len());
        let record = record(&world, count);
        assert_eq!((&record["status"], &record["code"]), (&200.into(), &"upstream_invalid".into()), "{record}");
        assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), count as f64);
    }
}

#[test]
fn old_clients_see_where_a_decoded_answer_ends() {
    let origin = parrot();
    let world = decoding(origin.address).start();
    let body = Coding::Gzip.encode(format!("<{SECRET}>"));
    for answer in [coded("gzip", "", &body), coded_in_chunks("gzip", &body, 9)] {
        let mut client = world.connect();
        let head = hear_of_old(&mut client, &answer);
        assert_eq!((head.header("connection"), head.header("transfer-encoding")), (Some("close"), None));
        let answer = client.body(head, false);
        assert_eq!(answer.text(), format!("<{}>", stars(SECRET)));
        assert!(client.ends());
    }
}

/// An upstream that answers with a body that is 64 MiB when it is decoded, or 1 MiB.
fn large(coding: Coding) -> Origin {
    let mut state = 1_u32;
    let mut digit = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"0123456789abcdef"[(state >> 28) as usize]
    };
    let member = coding.encode(std::iter::repeat_with(&mut digit).take(1 << 20).collect::<Vec<u8>>());
    let answer = |mebibytes| coded(coding.name(), "", &member.repeat(mebibytes));
    let (small, large) = (answer(1), answer(64));
    Origin::start(move |conversation| {
        while let Some(seen) = conversation.request() {
            conversation.send(match seen.line() {
                line if line.contains("big") => &large,
                line if line.contains("small") => &small,
                _ => crate::faults::WHOLE.as_bytes(),
            });
        }
    })
}

#[test]
fn line_35_an_unread_decoded_answer_costs_little_memory() {
    for (coding, window) in [(Coding::Gzip, 0), (Coding::Zstd, 8 * 1024)] {
        let origin = large(coding);
        let world = decoding(origin.address).spawn();
        for _ in 0..100 {
            assert_eq!(world.get("/sales/a").status, 200);
        }
        // What there is of the program to decode with is there from then on.
        assert_eq!(world.get("/sales/small").body.len(), 1 << 20);
        let before = world.peak_at_rest();
        let mut stalled = world.connect();
        stalled.send(head("GET", "/sales/big", ""));
        let answer = stalled.head();
        for _ in 0..100 {
            assert_eq!(world.get("/sales/a").status, 200);
        }
        let grown = world.grown_beyond(before);
        assert!(grown < 2 * 1024 + window, "{coding:?}: {grown} KiB");
        let answer = stalled.body(answer, false);
        assert_eq!((answer.whole, answer.body.len()), (true, 64 << 20), "{coding:?}");
        let grown = world.grown_beyond(before);
        // On its way at full speed there is more of it between the upstream and the client.
        assert!(grown < 4 * 1024 + window, "{coding:?}: {grown} KiB, read");
    }
}
