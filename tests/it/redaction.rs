//! security.md 25: a secret that an upstream repeats does not reach the client, whatever it is wrapped in and however
//! it is cut; its length stays, it is counted, and streams stay live.

mod decode;

use std::sync::{Mutex, mpsc};

use crate::origin::Origin;
use crate::raw::{Answer, Raw, find};
use crate::world::{INJECTED, KEY, SECRET, Setup, World, gateway};

/// A token with everything in it that encoders write differently.
const TOKEN: &str = "tok/PLANTED+\"quo\\te\"<x>&y=bearer'(PLANTED)~";

/// An upstream that answers with the bytes of the request's body.
fn parrot() -> Origin {
    Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            conversation.send(&seen.body);
        }
    })
}

fn with_token(upstream: std::net::SocketAddr) -> Setup {
    gateway(upstream).file("sales.secret", TOKEN).replace("credentials.sales", "bearer = { file = \"sales.secret\" }")
}

/// Has the upstream answer with these bytes.
fn hear(client: &mut Raw, answer: &[u8]) -> Answer {
    let head = format!("POST /sales/echo HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n");
    client.send(format!("{head}Content-Length: {}\r\n\r\n", answer.len()));
    client.send(answer);
    client.answer()
}

fn with_length(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn in_chunks<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let chunks: String = pieces
        .into_iter()
        .filter(|piece| !piece.is_empty())
        .map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()))
        .collect();
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n").into_bytes()
}

fn stars(form: &str) -> String {
    "*".repeat(form.len())
}

/// `text` with every byte but letters and digits and those of `safe` percent-encoded.
fn percent(text: &str, safe: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || safe.as_bytes().contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The forms of [`TOKEN`] that an answer may hold it in.
fn forms_of_token() -> Vec<String> {
    let json = serde_json::to_string(TOKEN).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let escaped = |form: &str| form.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    vec![
        TOKEN.to_owned(),
        percent(TOKEN, "-._~"),
        percent(TOKEN, "-._~")
            .replace("%2F", "%2f")
            .replace("%2B", "%2b")
            .replace("%3C", "%3c")
            .replace("%3E", "%3e")
            .replace("%3D", "%3d")
            .replace("%5C", "%5c"),
        percent(TOKEN, "-._~!'()*"),
        percent(TOKEN, "-._~/"),
        json.replace('/', "\\/"),
        escaped(&json),
        json,
    ]
}

/// Bytes of a Basic credential's Base64 that are looked for: the padding says nothing.
fn base64() -> &'static str {
    INJECTED.strip_prefix("Basic ").unwrap().trim_end_matches('=')
}

fn redactions(world: &World) -> f64 {
    world.metric("closegate_redactions_total{credential=\"sales\"}")
}

#[test]
fn line_25_a_secret_in_a_header_is_overwritten() {
    let origin = parrot();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nX-Echo: a {SECRET} b\r\nX-Echo: {INJECTED}\r\nX-Two: {SECRET}{SECRET}\r\n\
         Location: https://elsewhere.example/?key={SECRET}\r\nContent-Location: /x/{SECRET}/\r\nETag: \"{}\"\r\n\
         Trace-Id: {INJECTED}\r\nX-Harmless: {}\r\nContent-Length: 2\r\n\r\n{{}}",
        base64(),
        &SECRET[..20]
    );
    let answer = hear(&mut client, answer.as_bytes());
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    let echoes: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name == "x-echo").map(|(_, value)| value.clone()).collect();
    let padding = "=".repeat(INJECTED.len() - "Basic ".len() - base64().len());
    assert_eq!(
        echoes,
        [format!("a {} b", stars(SECRET)), format!("Basic {}{padding}", stars(base64()))].map(String::into_bytes)
    );
    assert_eq!(answer.header("x-two"), Some(&*stars(SECRET).repeat(2)));
    assert_eq!(answer.header("location"), Some(&*format!("https://elsewhere.example/?key={}", stars(SECRET))));
    assert_eq!(answer.header("content-location"), Some(&*format!("/sales/x/{}/", stars(SECRET))));
    assert_eq!(answer.header("etag"), Some(&*format!("\"{}\"", stars(base64()))));
    assert_eq!(answer.header("x-harmless"), Some(&SECRET[..20]), "a part of a secret is none");
    world.records.wait_for(1);
    assert_eq!(redactions(&world), 8.0);
    let written = world.records.bytes();
    assert!(find(&written, base64().as_bytes()).is_none() && find(&written, SECRET.as_bytes()).is_none());
}

#[test]
fn line_25_a_secret_that_came_back_is_told_to_the_operator() {
    let origin = parrot();
    let world = gateway(origin.address).key("\"sales\"").spawn();
    let answer = hear(&mut world.connect(), &with_length("nothing of it"));
    assert_eq!(answer.text(), "nothing of it");
    let answer = hear(&mut world.connect(), &with_length(&format!("{SECRET} {SECRET}")));
    let id = answer.header("closegate-request-id").unwrap();
    world.stderr.wait_for("an answer repeated the injected secret; it was overwritten", 1);
    let text = world.stderr.text();
    let line = text.lines().find(|line| line.contains("repeated the injected secret")).unwrap();
    for part in ["WARN", "route=\"sales\"", &format!("request_id=\"{id}\""), "times=2", "held_back=0"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!text.contains(SECRET) && !text.contains(base64()), "{text}");
}

#[test]
fn line_25_a_secret_in_a_body_is_overwritten_in_every_form() {
    let origin = parrot();
    let world = with_token(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    let forms = forms_of_token();
    for form in &forms {
        let body = format!("{{\"echo\": \"{form}\", \"again\": \"{form}\"}}");
        let expected = body.replace(form, &stars(form));
        for answer in [with_length(&body), in_chunks([body.as_str()])] {
            let answer = hear(&mut client, &answer);
            assert_eq!((answer.text(), answer.whole), (expected.clone(), true), "{form}");
        }
        let answer =
            hear(&mut client, format!("HTTP/1.1 200 OK\r\nX-Echo: {form}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        assert_eq!(answer.header("x-echo"), Some(&*stars(form)), "{form}");
    }
    let asked = 3 * forms.len();
    world.records.wait_for(asked);
    assert_eq!(redactions(&world), 5.0 * forms.len() as f64);
}

#[test]
fn line_25_what_basic_sends_is_overwritten_in_a_body() {
    let origin = parrot();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    let urlsafe = base64().replace('+', "-").replace('/', "_");
    for form in [SECRET, base64(), &urlsafe] {
        let answer = hear(&mut client, &with_length(&format!("<{form}>")));
        assert_eq!(answer.text(), format!("<{}>", stars(form)));
    }
    let encoded = percent(INJECTED, "-._~");
    let text = hear(&mut client, &with_length(&encoded)).text();
    assert_eq!((text.len(), find(text.as_bytes(), base64().as_bytes())), (encoded.len(), None));
}

#[test]
fn line_25_a_secret_is_found_wherever_chunks_cut_it() {
    let origin = parrot();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    let mut sent = 0;
    for form in [SECRET, base64()] {
        for at in 1..form.len() {
            let (head, tail) = (format!("x{}", &form[..at]), format!("{}y", &form[at..]));
            let answer = hear(&mut client, &in_chunks([head.as_str(), tail.as_str()]));
            assert_eq!((answer.text(), answer.whole), (format!("x{}y", stars(form)), true), "cut at {at}");
            sent += 1;
        }
    }
    let body = format!("a{}{SECRET}{SECRET}{}z{}", &SECRET[..9], base64(), &SECRET[..9]);
    let expected = format!("a{}{}{}{}z{}", &SECRET[..9], stars(SECRET), stars(SECRET), stars(base64()), &SECRET[..9]);
    for size in 1..=7 {
        let pieces: Vec<_> = body.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap()).collect();
        assert_eq!(hear(&mut client, &in_chunks(pieces)).text(), expected, "chunks of {size}");
    }
    world.records.wait_for(sent + 7);
    assert_eq!(redactions(&world), (sent + 7 * 3) as f64);
}

/// An upstream that answers with a head, then with each piece that the test hands over, and then closes.
fn dictated(head: &'static str) -> (mpsc::Sender<Vec<u8>>, Origin) {
    let (sender, pieces) = mpsc::channel::<Vec<u8>>();
    let pieces = Mutex::new(pieces);
    let origin = Origin::start(move |conversation| {
        conversation.request();
        conversation.send(head);
        for piece in pieces.lock().unwrap().iter() {
            conversation.send(piece);
        }
        conversation.shutdown();
    });
    (sender, origin)
}

#[test]
fn line_25_a_secret_is_found_wherever_segments_cut_it() {
    let (dictate, origin) = dictated("HTTP/1.1 200 OK\r\n\r\n");
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    client.send(format!("GET /sales/a HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
    let head = client.head();
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    let mut heard = Vec::new();
    // What begins the secret waits; with the space after it all of it comes.
    for byte in SECRET.bytes() {
        dictate.send(vec![byte]).unwrap();
    }
    dictate.send(b" ".to_vec()).unwrap();
    while heard.last() != Some(&b' ') {
        heard.extend(client.chunk().unwrap());
    }
    assert_eq!(heard, format!("{} ", stars(SECRET)).into_bytes());
    for half in [&SECRET[..25], &SECRET[25..]] {
        dictate.send(b"-".to_vec()).unwrap();
        let mut seen = Vec::new();
        while !seen.contains(&b'-') {
            seen.extend(client.chunk().unwrap());
        }
        heard.extend(seen);
        dictate.send(half.as_bytes().to_vec()).unwrap();
    }
    drop(dictate);
    let rest = client.body(head, false);
    heard.extend(rest.body);
    // A dash between the halves: what is not the secret passes.
    let expected = format!("{} -{}-{}", stars(SECRET), &SECRET[..25], &SECRET[25..]);
    assert_eq!((String::from_utf8(heard).unwrap(), rest.whole), (expected, true));
}

#[test]
fn streams_stay_live_and_only_a_tail_that_begins_a_secret_waits() {
    let (dictate, origin) = dictated("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    client.send(format!("GET /sales/a HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\n"));
    // The head is there before the first byte of the body.
    let head = client.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    for piece in ["d", "data: hello\n\n", "x"] {
        dictate.send(piece.into()).unwrap();
        assert_eq!(client.chunk().unwrap(), piece.as_bytes());
    }
    // The gateway has read the first piece when the second is answered: with it comes what waited.
    dictate.send(format!("more {}", &SECRET[..30]).into()).unwrap();
    assert_eq!(client.chunk().unwrap(), b"more ");
    dictate.send("!".into()).unwrap();
    assert_eq!(client.chunk().unwrap(), format!("{}!", &SECRET[..30]).into_bytes());
    // What waits at the end goes out as it is.
    dictate.send(format!("end {}", &SECRET[..30]).into()).unwrap();
    assert_eq!(client.chunk().unwrap(), b"end ");
    drop(dictate);
    let rest = client.body(head, false);
    assert_eq!((rest.text().as_str(), rest.whole), (&SECRET[..30], true));
    world.records.wait_for(1);
    assert_eq!(redactions(&world), 0.0);
}

#[test]
fn a_body_that_was_cut_gives_no_part_of_the_secret_away() {
    let origin = Origin::start(|conversation| {
        conversation.request();
        conversation
            .send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin {}", &SECRET[..SECRET.len() - 1]));
        conversation.shutdown();
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = world.get("/sales/a", "");
    assert_eq!((answer.text().as_str(), answer.whole), ("begin ", false));
}

#[test]
fn the_length_of_an_answer_stays() {
    let origin = parrot();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for (before, after) in [("", ""), ("x", ""), ("", "x"), (&"x".repeat(100_000), &"y".repeat(100_000))] {
        let body = format!("{before}{SECRET}{after}");
        let answer = hear(&mut client, &with_length(&body));
        assert_eq!(answer.header("content-length"), Some(&*body.len().to_string()));
        assert_eq!((answer.text(), answer.whole), (format!("{before}{}{after}", stars(SECRET)), true));
    }
}

#[test]
fn errors_of_the_upstream_and_old_clients_are_no_exception() {
    let origin = parrot();
    let world = gateway(origin.address).key("\"sales\"").start();
    for status in [400, 401, 404, 422, 500, 503] {
        let body = format!("invalid key {SECRET}");
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = hear(&mut world.connect(), answer.as_bytes());
        assert_eq!((answer.status, answer.text()), (status, format!("invalid key {}", stars(SECRET))));
    }
    let answer = in_chunks(["a", &SECRET[..9], &SECRET[9..], "b"]);
    let length = answer.len();
    let request = format!("POST /sales/a HTTP/1.0\r\nClosegate-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n");
    let answer = world.ask([request.as_bytes(), &answer].concat());
    assert_eq!((answer.text(), answer.header("transfer-encoding")), (format!("a{}b", stars(SECRET)), None));
}

#[test]
fn only_compressed_bodies_are_not_looked_into() {
    let origin = parrot();
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    for coding in ["identity", "IDENTITY", "identity, identity", "", "utf-8", "x-unheard-of"] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n{SECRET}",
            SECRET.len()
        );
        assert_eq!(hear(&mut client, answer.as_bytes()).text(), stars(SECRET), "{coding}");
    }
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n".to_vec();
    answer.extend(b"\x1f\x8b\x08\0\0a");
    assert_eq!(hear(&mut client, &answer).body, b"\x1f\x8b\x08\0\0a");
}

#[test]
fn with_redact_off_headers_alone_are_looked_into() {
    let origin = parrot();
    let world = gateway(origin.address).set("upstream", "redact = \"off\"").key("\"sales\"").start();
    let answer = format!("HTTP/1.1 200 OK\r\nX-Echo: {SECRET}\r\nContent-Length: {}\r\n\r\n{SECRET}", SECRET.len());
    let answer = hear(&mut world.connect(), answer.as_bytes());
    assert_eq!((answer.header("x-echo"), answer.text().as_str()), (Some(&*stars(SECRET)), SECRET));
    world.records.wait_for(1);
    assert_eq!(redactions(&world), 1.0);
}

#[test]
fn the_secret_that_comes_next_is_one_too() {
    let next = "api_nextNEXTnextNEXTnext.PLANTEDnextPLANTEDnext";
    let origin = parrot();
    let world = gateway(origin.address)
        .file("next.secret", next)
        .replace(
            "credentials.sales",
            "api_key = { current = { file = \"sales.secret\" }, next = { file = \"next.secret\" } }",
        )
        .key("\"sales\"")
        .start();
    let mut client = world.connect();
    for form in [SECRET, next] {
        let answer = format!("HTTP/1.1 200 OK\r\nX-Echo: {form}\r\nContent-Length: {}\r\n\r\n{form}", form.len());
        let answer = hear(&mut client, answer.as_bytes());
        assert_eq!((answer.header("x-echo"), answer.text()), (Some(&*stars(form)), stars(form)));
    }
}

#[test]
fn the_secret_of_another_route_is_that_routes_matter() {
    let origin = parrot();
    let world = gateway(origin.address)
        .file("partner.secret", TOKEN)
        .set("credentials.partner", "bearer = { file = \"partner.secret\" }")
        .key("\"sales\", \"partner\"")
        .start();
    let answer = with_length(TOKEN);
    let head = format!(
        "POST /partner/a HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    let answer = world.ask([head.as_bytes(), &answer].concat());
    assert_eq!(answer.text(), stars(TOKEN));
    world.records.wait_for(1);
    assert_eq!(redactions(&world), 0.0);
    assert_eq!(world.metric("closegate_redactions_total{credential=\"partner\"}"), 1.0);
}

#[test]
fn a_secret_of_fewer_than_twelve_bytes_is_not_looked_for() {
    let origin = parrot();
    let world = with_token(origin.address).file("sales.secret", "short-token").key("\"sales\"").start();
    assert_eq!(hear(&mut world.connect(), &with_length("a short-token b")).text(), "a short-token b");
}
