//! Framing: a message that two readers could read differently is refused, and leaves nothing behind (security.md 1 to 16).

use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;
use socket2::SockRef;

use crate::origin::Origin;
use crate::raw::{Answer, Raw};
use crate::refusal::{Wall, assert_goes_on, assert_own, get, head, post};
use crate::world::{INJECTED, KEY, gateway};

#[test]
fn line_01_a_length_beside_chunks_is_refused() {
    let mut wall = Wall::new(|setup| setup);
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "content-length: 5\r\nX: y\r\nTRANSFER-ENCODING: CHUNKED\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nConnection: keep-alive\r\n",
    ] {
        wall.refuses(post(fields) + "0\r\n\r\n", 400, "request_malformed");
        wall.refuses(get(fields) + "0\r\n\r\n", 400, "request_malformed");
    }
    wall.stands_untouched();
}

#[test]
fn line_02_content_length_is_one_number() {
    let mut wall = Wall::new(|setup| setup);
    for value in [
        "",
        " ",
        "5,5",
        "5, 5",
        "5,",
        ",5",
        "+5",
        "-5",
        "5.0",
        "5e0",
        "0x5",
        "5h",
        "5 5",
        "5\t5",
        "5;",
        "\"5\"",
        "\u{665}",
        "00000000000000000005",
        "99999999999999999999",
        "18446744073709551616",
        "18446744073709551621",
        "340282366920938463463374607431768211461",
    ] {
        wall.refuses(post(&format!("Content-Length: {value}\r\n")) + "hello", 400, "request_malformed");
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\ncontent-length: 0\r\n",
        "Content-Length: 5\r\nX: y\r\nContent-Length:\r\n",
        "Content-Length : 5\r\n",
    ] {
        wall.refuses(post(fields) + "hello", 400, "request_malformed");
    }
    for value in ["5", "05", " 5\t ", "0000000000000000005"] {
        let seen = wall.passes(post(&format!("Content-Length:{value}\r\n")) + "hello");
        assert_eq!((seen.body.as_slice(), seen.values("content-length")), (&b"hello"[..], vec!["5"]), "{value:?}");
        assert!(seen.values("transfer-encoding").is_empty());
    }
    wall.stands();
}

#[test]
fn line_03_transfer_encoding_is_one_line_chunked() {
    let mut wall = Wall::new(|setup| setup);
    for value in [
        "",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,chunked",
        ",chunked",
        "chunked,",
        "chunked;q=1",
        "chunked ;",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "chun ked",
        "\u{b}chunked",
        "chunked\u{a0}",
    ] {
        wall.refuses(post(&format!("Transfer-Encoding: {value}\r\n")) + "0\r\n\r\n", 400, "request_malformed");
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nX: y\r\nTransfer-Encoding:\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ] {
        wall.refuses(post(fields) + "0\r\n\r\n", 400, "request_malformed");
    }
    for value in ["chunked", "Chunked", "CHUNKED", " chunked\t"] {
        let seen = wall.passes(post(&format!("Transfer-Encoding:{value}\r\n")) + "5\r\nhello\r\n0\r\n\r\n");
        assert_eq!((seen.body.as_slice(), seen.values("transfer-encoding")), (&b"hello"[..], vec!["chunked"]));
        assert!(seen.values("content-length").is_empty());
    }
    wall.stands();
}

#[test]
fn line_04_names_are_tokens_and_values_hold_no_control_byte() {
    let mut wall = Wall::new(|setup| setup);
    for byte in 0..=255_u8 {
        let named = with_field(&[b"x", &[byte][..], b"y: 1"].concat());
        match byte {
            b':' => {}
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~' => drop(wall.passes(named)),
            _ if byte.is_ascii_alphanumeric() => drop(wall.passes(named)),
            _ => wall.refuses(named, 400, "request_malformed"),
        }
        let valued = with_field(&[b"x-any: a", &[byte][..], b"b"].concat());
        match byte {
            b'\t' | b' '..=b'~' | 0x80.. => drop(wall.passes(valued)),
            _ => wall.refuses(valued, 400, "request_malformed"),
        }
    }
    wall.stands();
}

#[test]
fn line_04_lines_end_in_crlf_and_are_not_folded() {
    let mut wall = Wall::new(|setup| setup);
    for line in [
        &b"x-any: a\r\n b"[..],
        b"x-any: a\r\n\tb",
        b"x-any: a\r\n \r\nx: b",
        b"x-any: a\rx-more: b",
        b"x-any: a\nx-more: b",
        b"x-any: a\r\r\nx-more: b",
        b"x-any: a\n\r\nx-more: b",
        b"x-any : a",
        b"x-any\t: a",
        b" x-any: a",
        b"x any: a",
        b": a",
        b"x-any",
        b"x-any a",
        b"\0",
    ] {
        wall.refuses(with_field(line), 400, "request_malformed");
    }
    let plain = get("");
    wall.refuses(plain.replace("\r\n", "\n"), 400, "request_malformed");
    wall.refuses(plain.trim_end().replace("\r\n", "\r") + "\r\n\r\n", 400, "request_malformed");
    wall.refuses(plain.replacen("\r\n", "\n", 1), 400, "request_malformed");
    wall.refuses(plain.replacen("\r\nHost", "\nHost", 1), 400, "request_malformed");
    wall.refuses(plain.replace("\r\n\r\n", "\r\n\n"), 400, "request_malformed");
    wall.refuses(plain.replace("\r\n\r\n", "\n\r\n"), 400, "request_malformed");
    wall.refuses(plain.replacen("\r\nHost", "\r\n Host", 1), 400, "request_malformed");
    // RFC 9112 2.2: one empty line before a request is what an old client sends after a body.
    wall.passes(format!("\r\n{plain}"));
    wall.refuses(format!("\r\n\r\n{plain}"), 400, "request_malformed");
    wall.refuses(format!("\n{plain}"), 400, "request_malformed");
    wall.refuses(format!(" {plain}"), 400, "request_malformed");
    wall.stands();
}

#[test]
fn line_05_odd_chunks_end_the_exchange() {
    let mut wall = Wall::new(|setup| setup);
    let long = "x".repeat(1025);
    let half = "x".repeat(600);
    for body in [
        "\r\n".to_owned(),
        "x\r\nhello\r\n0\r\n\r\n".to_owned(),
        "0x5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "+5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "-5\r\nhello\r\n0\r\n\r\n".to_owned(),
        " 5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5 \r\nhello\r\n0\r\n\r\n".to_owned(),
        "5\t\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5,5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5\nhello\r\n0\r\n\r\n".to_owned(),
        "5\rhello\r\n0\r\n\r\n".to_owned(),
        ";x\r\nhello\r\n0\r\n\r\n".to_owned(),
        "4\r\nhello\r\n0\r\n\r\n".to_owned(),
        "6\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5\r\nhello0\r\n\r\n".to_owned(),
        "5\r\nhello\n0\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\n\n".to_owned(),
        "5\r\nhello\r\n0\r\n\n".to_owned(),
        "5\r\nhello\r\n0\r\n\rx".to_owned(),
        "5\r\nhello\r\n\r\n\r\n".to_owned(),
        "10000000000000005\r\nhello\r\n0\r\n\r\n".to_owned(),
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n".to_owned(),
        format!("5;{long}\r\nhello\r\n0\r\n\r\n"),
        format!("5;{half}\r\nhello\r\n5;{half}\r\nhello\r\n0\r\n\r\n"),
        "5;a=\u{1}\r\nhello\r\n0\r\n\r\n".to_owned(),
        "5;a=b\nhello\r\n0\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\r\nX: y\r\n folded\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\r\n: y\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\r\nX\u{e9}: y\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n".to_owned(),
        "5\r\nhello\r\n0\r\nX: y\n\r\n".to_owned(),
        format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n", long.repeat(5)),
        format!("5\r\nhello\r\n0\r\n{}\r\n", "X:y\r\n".repeat(200)),
    ] {
        wall.refuses(post("Transfer-Encoding: chunked\r\n") + &body, 400, "request_malformed");
    }
    wall.stands();
}

#[test]
fn line_05_extensions_and_trailers_are_dropped() {
    let mut wall = Wall::new(|setup| setup);
    let extension = "x".repeat(1024);
    for body in [
        "5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "0005\r\nhello\r\n000\r\n\r\n".to_owned(),
        "5;name=value\r\nhello\r\n0;last\r\n\r\n".to_owned(),
        format!("5;{extension}\r\nhello\r\n0\r\n\r\n"),
        format!("5\r\nhello\r\n0\r\nAuthorization: Bearer stolen\r\nHost: evil\r\nX-Any: {extension}\r\n\r\n"),
        "1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\nContent-Length: 7\r\n\r\n".to_owned(),
    ] {
        let seen = wall.passes(post("Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n") + &body);
        assert_eq!(seen.body, b"hello");
        assert_eq!(seen.values("authorization"), [INJECTED]);
        assert!(seen.values("trailer").is_empty());
    }
    // What comes after the last chunk is the next request, and no other.
    let mut client = wall.world.connect();
    client.send(post("Transfer-Encoding: chunked\r\n") + "5;a\r\nhello\r\n0\r\nX: y\r\n\r\n" + &get(""));
    for _ in 0..2 {
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        wall.note_pass(&answer);
    }
    assert!(wall.origin.seen().iter().all(|seen| !seen.head.contains("stolen") && !seen.head.contains("name=value")));
    wall.stands();
}

#[test]
fn line_06_the_request_line_has_one_form() {
    let mut wall = Wall::new(|setup| setup);
    for line in [
        "GET  /sales/api/v1/me/ HTTP/1.1",
        "GET /sales/api/v1/me/  HTTP/1.1",
        "GET /sales/api/v1/me/ HTTP/1.1 ",
        "GET\t/sales/api/v1/me/ HTTP/1.1",
        "GET /sales/api/v1/me/\tHTTP/1.1",
        "GET /sales/api/v1/me/ x HTTP/1.1",
        "GET /sales/api/v1/me/",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "/sales/api/v1/me/ HTTP/1.1",
        "G(T /sales/api/v1/me/ HTTP/1.1",
        "GET\0 /sales/api/v1/me/ HTTP/1.1",
        "GET, /sales/api/v1/me/ HTTP/1.1",
        "delete /sales/api/v1/me/ HTTP/1.1",
        "Post /sales/api/v1/me/ HTTP/1.1",
        "gEt /sales/api/v1/me/ HTTP/1.1",
        "connect /sales/api/v1/me/ HTTP/1.1",
        "G_T /sales/api/v1/me/ HTTP/1.1",
        "\u{e9} /sales/api/v1/me/ HTTP/1.1",
        "METHODMETHODMETHODMETHODMETHODMETHOD /sales/api/v1/me/ HTTP/1.1",
        "GET /sales/api/v1/me/ HTTP/0.9",
        "GET /sales/api/v1/me/ HTTP/1.2",
        "GET /sales/api/v1/me/ HTTP/2.0",
        "GET /sales/api/v1/me/ HTTP/3",
        "GET /sales/api/v1/me/ HTTP/1",
        "GET /sales/api/v1/me/ HTTP/1.",
        "GET /sales/api/v1/me/ HTTP/1.10",
        "GET /sales/api/v1/me/ HTTP/01.1",
        "GET /sales/api/v1/me/ HTTP/11",
        "GET /sales/api/v1/me/ http/1.1",
        "GET /sales/api/v1/me/ HTTPS/1.1",
        "GET /sales/api/v1/me/ HTTP\\1.1",
        "GET /sales/api/v1/me/ SIP/2.0",
        "GET sales/api/v1/me/ HTTP/1.1",
        "GET localhost HTTP/1.1",
        "GET localhost:80 HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET ftp://localhost/sales/api/v1/me/ HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET http:/sales/api/v1/me/ HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET http:///sales/api/v1/me/ HTTP/1.1",
        "GET http://u:p@localhost/sales/api/v1/me/ HTTP/1.1",
        "GET http://local_host\\@localhost/sales/api/v1/me/ HTTP/1.1",
    ] {
        wall.refuses(head(line, ""), 400, "request_malformed");
    }
    wall.refuses("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 400, "request_malformed");
    wall.refuses("GET /\r\n\r\n", 400, "request_malformed");
    wall.refuses("\r\n\r\n", 400, "request_malformed");
    wall.refuses([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], 400, "request_malformed");
    wall.refuses(head("CONNECT localhost:443 HTTP/1.1", ""), 405, "method_refused");
    wall.refuses(head("CONNECT /sales/api/v1/me/ HTTP/1.1", ""), 405, "method_refused");
    wall.stands_untouched();
}

#[test]
fn line_06_an_unknown_method_passes_as_it_is() {
    let mut wall = Wall::new(|setup| setup);
    for method in ["PURGE", "M-SEARCH"] {
        let line = format!("{method} /sales/api/v1/me/ HTTP/1.1");
        assert_eq!(wall.passes(head(&line, "")).line(), format!("{method} /api/v1/me/ HTTP/1.1"));
    }
    wall.stands();
}

#[test]
fn line_06_absolute_form_is_for_the_gateways_own_authority() {
    let mut wall = Wall::new(|setup| setup);
    for authority in ["localhost", "LOCALHOST", "localhost:80", "127.0.0.1:8080", "[::1]:8080"] {
        let target = format!("GET http://{authority}/sales/api/v1/me/?a=b HTTP/1.1\r\nHost: {authority}\r\n");
        let seen = wall.passes(format!("{target}Closegate-Key: {KEY}\r\n\r\n"));
        assert_eq!(seen.line(), "GET /api/v1/me/?a=b HTTP/1.1");
        assert_eq!(seen.values("host"), [wall.origin.address.to_string()]);
    }
    let foreign = format!("Host: evil.example\r\nClosegate-Key: {KEY}\r\n\r\n");
    let mut client = wall.world.connect();
    client.send(format!("GET http://evil.example/sales/api/v1/me/ HTTP/1.1\r\n{foreign}"));
    wall.note_refusal(&client.answer(), 421, "host_refused", "a foreign authority");
    client.send(format!("GET /sales/api/v1/me/ HTTP/1.1\r\n{foreign}"));
    wall.note_refusal(&client.answer(), 421, "host_refused", "a foreign host");
    client.send(head("GET http://evil.example/sales/api/v1/me/ HTTP/1.1", ""));
    wall.note_refusal(&client.answer(), 400, "request_malformed", "two hosts");
    client.send(head("TRACE /sales/api/v1/me/ HTTP/1.1", ""));
    wall.note_refusal(&client.answer(), 405, "method_refused", "TRACE");
    wall.stands();
}

#[test]
fn line_06_every_byte_of_a_target_passes_or_is_refused_in_json() {
    let mut wall = Wall::new(|setup| setup);
    for byte in (0..=255_u8).filter(|byte| *byte != b' ') {
        for (before, after) in
            [("/sales/api/v1/lead/a", "b"), ("/sales/api/v1/lead/?a", "b"), ("/sales/api/v1/lead/?a=", "b")]
        {
            let target = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            let request =
                [b"GET ", &target[..], get("").trim_start_matches("GET /sales/api/v1/me/").as_bytes()].concat();
            let mut client = wall.world.connect();
            client.send(&request);
            let answer = client.answer();
            let case = target.escape_ascii().to_string();
            let Some(code) = answer.code().map(str::to_owned) else {
                assert_eq!(answer.status, 200, "{case}: {answer:?}");
                assert!(byte.is_ascii_graphic(), "{case} passed");
                let seen = wall.origin.seen().pop().unwrap();
                assert_eq!(seen.line().as_bytes(), [b"GET ", &target[6..], b" HTTP/1.1"].concat(), "{case}");
                wall.note_pass(&answer);
                continue;
            };
            let code = if code == "path_not_canonical" { "path_not_canonical" } else { "request_malformed" };
            wall.note_refusal(&answer, 400, code, &case);
        }
    }
    wall.stands();
}

#[test]
fn line_07_there_is_one_host_and_it_is_an_authority() {
    let mut wall = Wall::new(|setup| setup);
    for hosts in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nhost: evil.example\r\n",
        "Host: user@localhost\r\n",
        "Host: user:password@localhost\r\n",
        "Host: evil.example@localhost\r\n",
        "Host: localhost, evil.example\r\n",
        "Host: localhost evil.example\r\n",
        "Host: local/host\r\n",
        "Host: localhost/sales\r\n",
        "Host: localhost?x\r\n",
        "Host: localhost#x\r\n",
        "Host: localhost\\x\r\n",
        "Host: http://localhost\r\n",
        "Host: localhost:port\r\n",
        "Host: localhost:80:80\r\n",
        "Host: localhost:-1\r\n",
        "Host: localhost:123456\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: [::1]x\r\n",
        "Host: [:::::::::]\r\n",
        "Host: []\r\n",
        "Host: [localhost]\r\n",
        "Host: local\u{e9}\r\n",
        "Host: local%68ost\r\n",
        "Host : localhost\r\n",
        "Host\r\n",
    ] {
        let request = format!("GET /sales/api/v1/me/ HTTP/1.1\r\n{hosts}Closegate-Key: {KEY}\r\n\r\n");
        wall.refuses(request, 400, "request_malformed");
    }
    for host in ["localhost", "LocalHost:1", "127.0.0.1", "[::1]:8080", "a.localhost"] {
        let request = format!("GET /sales/api/v1/me/ HTTP/1.1\r\nHost: {host}\r\nClosegate-Key: {KEY}\r\n\r\n");
        let seen = wall.passes(request);
        assert_eq!(seen.values("host"), [wall.origin.address.to_string()], "the upstream's host is the configured one");
    }
    wall.stands();
}

#[test]
fn line_09_hop_by_hop_fields_stay_here() {
    let mut wall = Wall::new(|setup| setup);
    let seen = wall.passes(get("Connection: keep-alive, X-One\r\n\
         X-One: nominated\r\n\
         X-Two: nominated\r\n\
         x-two: and again\r\n\
         Connection: x-two,,X-THREE ,TE\r\n\
         X-Three: nominated\r\n\
         Keep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\n\
         Proxy-Authorization: Basic eA==\r\n\
         Proxy-Anything: x\r\n\
         TE: trailers\r\n\
         Trailer: X-Four\r\n\
         Upgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\
         X-Kept: kept\r\n"));
    let names: Vec<_> =
        seen.head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let mut sorted: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, ["authorization", "host", "x-kept"], "{}", seen.head);
    let mut client = wall.world.connect();
    for name in ["Authorization", "AUTHORIZATION", "Host", "Content-Length", "Cookie", "Closegate-Key"] {
        for fields in [
            format!("Connection: {name}\r\n"),
            format!("Connection: close, {name}\r\n"),
            format!("Connection: keep-alive\r\nX: y\r\nConnection: x, ,{name} \r\n"),
        ] {
            let mut client = wall.world.connect();
            client.send(get(&fields));
            wall.note_refusal(&client.answer(), 400, "request_malformed", &fields);
        }
    }
    client.send(get(""));
    wall.note_pass(&client.answer());
    wall.stands();
}

#[test]
fn line_09_hop_by_hop_fields_of_an_answer_stay_here() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\n\
         Connection: keep-alive, X-One\r\n\
         X-One: nominated\r\n\
         Connection: X-Two\r\n\
         X-Two: nominated\r\n\
         Keep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\n\
         Proxy-Connection: keep-alive\r\n\
         TE: trailers\r\n\
         Trailer: X-Four\r\n\
         Upgrade: h2c\r\n\
         X-Kept: kept\r\n\
         Content-Length: 2\r\n\r\n{}",
    );
    let world = gateway(origin.address).key("\"sales\"").start();
    let answer = world.get("/sales/api/v1/me/", "");
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["closegate-request-id", "content-length", "date", "x-kept"], "{answer:?}");
}

#[test]
fn line_10_look_alikes_of_reserved_names_stay_here() {
    let mut wall = Wall::new(|setup| setup);
    for name in [
        "Transfer_Encoding",
        "transfer.encoding",
        "X-Transfer-Encoding",
        "Content_Length",
        "Content-Length1",
        "X-Authorization",
        "Authorization_",
        "authorization.",
        "Cookie",
        "Cookie2",
        "X_Cookie",
        "Host_",
        "X-Host",
        "Closegate_Key",
        "X-Closegate-Key",
        "Closegate-Anything",
        "Forwarded",
        "X-Forwarded-For",
        "X_Forwarded_Host",
        "X-Real-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Proxy_Authorization",
        "Connection_",
        "Upgrade_",
        "TE_",
        "Expect_",
    ] {
        let seen = wall.passes(post(&format!("Content-Length: 5\r\n{name}: chunked\r\n")) + "hello");
        assert_eq!(seen.body, b"hello", "{name}");
        assert!(!seen.head.contains("chunked"), "{name} reached the upstream: {}", seen.head);
    }
    let seen = wall.passes(get("X-Custom: kept\r\n"));
    assert_eq!(seen.values("x-custom"), ["kept"]);
    wall.stands();
}

#[test]
fn line_11_no_upgrade_is_forwarded() {
    let mut wall = Wall::new(|setup| setup);
    for fields in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "Upgrade: TLS/1.0\r\n",
    ] {
        let mut client = wall.world.connect();
        client.send(get(fields));
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{fields}");
        wall.note_pass(&answer);
        let seen = wall.origin.seen().pop().unwrap();
        assert!(seen.values("upgrade").is_empty() && seen.values("connection").is_empty(), "{}", seen.head);
        client.send(get(""));
        wall.note_pass(&client.answer());
    }
    wall.stands();
}

#[test]
fn line_11_an_upstream_that_switches_protocols_is_invalid() {
    let origin =
        Origin::answering("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let world = gateway(origin.address).key("\"sales\"").start();
    for fields in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
        let answer = world.get("/sales/api/v1/me/", fields);
        assert_own(&answer, 502, "upstream_invalid", fields);
    }
    assert_eq!(world.records.wait_for(2)[1]["code"], "upstream_invalid");
}

#[test]
fn line_12_a_refused_message_leaves_no_second_request() {
    let mut wall = Wall::new(|setup| setup.set("listen", "max_body = \"1KiB\""));
    let hidden = get("");
    for refused in [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        post("Content-Length: 5\r\nContent-Length: 5\r\n") + "hello",
        head("GET /sales/api/v1/me/ HTTP/1.2", ""),
        "GET /sales/api/v1/me/ HTTP/1.1\r\n\r\n".to_owned(),
        post("Transfer-Encoding: chunked\r\n") + "zz\r\n",
        post("Transfer-Encoding: chunked\r\n") + "5\r\nhelloXX",
    ] {
        wall.refuses(refused + &hidden + &hidden, 400, "request_malformed");
    }
    wall.refuses(post("Content-Length: 2000\r\n") + &hidden.repeat(30), 413, "body_too_large");
    wall.stands();
}

#[test]
fn line_12_the_body_of_a_refused_message_is_no_request() {
    let mut wall = Wall::new(|setup| setup);
    let hidden = get("");
    let refused =
        format!("POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", hidden.len());
    for framed in [
        refused + &hidden,
        format!(
            "POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
            hidden.len()
        ),
    ] {
        let mut client = wall.world.connect();
        client.send(framed);
        wall.note_refusal(&client.answer(), 401, "key_missing", "no key");
        // Either the connection ends here, or what comes next is read as the next request and not the body.
        client.send(head("GET /sales/api/v1/me/?next HTTP/1.1", "Connection: close\r\n"));
        if !client.ends() {
            let answer = client.answer();
            assert_eq!(answer.status, 200);
            wall.note_pass(&answer);
            assert_eq!(wall.origin.seen().pop().unwrap().line(), "GET /api/v1/me/?next HTTP/1.1");
        }
    }
    wall.stands();
}

#[test]
fn line_13_a_cut_upload_never_becomes_a_complete_request() {
    let origin = Origin::start(|conversation| {
        while conversation.request().is_some() {
            conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let cuts = [
        post("Content-Length: 10\r\n") + "hello",
        post("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n",
        post("Transfer-Encoding: chunked\r\n") + "5\r\nhel",
        post("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n",
        post("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\nX: y\r\n",
    ];
    let mut cut = 0;
    for upload in &cuts {
        for leave in [leave_by_half, leave_by_reset] {
            let mut client = world.connect();
            client.send(upload);
            cut += 1;
            // The head has arrived there, so that there is something to be cut off.
            while origin.connections() < cut {
                std::thread::yield_now();
            }
            leave(client);
            let records = world.records.wait_for(cut);
            assert_eq!((&records[cut - 1]["status"], &records[cut - 1]["origin"]), (&499.into(), &"client".into()));
            origin.wait_for_ends(cut);
        }
    }
    assert!(origin.seen().is_empty(), "a cut upload arrived whole");
    // No connection of a cut upload is used again.
    assert_eq!(world.get("/sales/api/v1/me/", "").status, 200);
    assert_eq!(origin.seen()[0].connection, cut + 1);
}

fn leave_by_half(client: Raw) {
    client.socket().shutdown(Shutdown::Write).unwrap();
}

fn leave_by_reset(client: Raw) {
    SockRef::from(client.socket()).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn line_14_pipelined_requests_are_answered_in_order_and_judged_alone() {
    let mut wall = Wall::new(|setup| setup);
    let mut client = wall.world.connect();
    let numbered = |number: usize| head(&format!("GET /sales/api/v1/me/?{number} HTTP/1.1"), "");
    let keyless = "GET /sales/api/v1/me/?keyless HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let chunked =
        head("POST /sales/api/v1/lead/?3 HTTP/1.1", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n";
    let bad = head("GET /sales/api/v1/me/?bad HTTP/1.1", "Content-Length: 1\r\nContent-Length: 1\r\n") + "x";
    let traversal = head("GET /sales/../secret HTTP/1.1", "");
    client.send([&numbered(1), keyless, &numbered(2), &traversal, &chunked, &bad, &numbered(4)].concat());
    for (status, code) in [
        (200, None),
        (401, Some("key_missing")),
        (200, None),
        (400, Some("path_not_canonical")),
        (200, None),
        (400, Some("request_malformed")),
    ] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
        match code {
            None => wall.note_pass(&answer),
            Some("key_missing") => wall.note_refusal(&answer, status, "key_missing", "keyless"),
            Some("path_not_canonical") => wall.note_refusal(&answer, status, "path_not_canonical", "traversal"),
            Some(_) => wall.note_refusal(&answer, status, "request_malformed", "two lengths"),
        }
    }
    assert!(client.ends(), "what follows a bad request is not answered");
    let queries: Vec<_> = wall.origin.seen().iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(queries, ["GET /api/v1/me/?1 HTTP/1.1", "GET /api/v1/me/?2 HTTP/1.1", "POST /api/v1/lead/?3 HTTP/1.1"]);
    wall.stands();
}

#[test]
fn line_14_a_slow_answer_is_not_overtaken() {
    let (release, held) = mpsc::channel();
    let held = Mutex::new(held);
    let origin = Origin::start(move |conversation| {
        while let Some(seen) = conversation.request() {
            if seen.line().contains("slow") {
                held.lock().unwrap().recv().unwrap();
            }
            let line = seen.line().to_owned();
            conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len()));
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    client.send(head("GET /sales/api/v1/me/?slow HTTP/1.1", ""));
    origin.wait_for(1);
    // These arrive while the first is under way; the last of them is refused where it stands.
    client.send(head("GET /sales/api/v1/me/?fast HTTP/1.1", ""));
    client.send("GET /sales/api/v1/me/ HTTP/1.1\r\nHost: a b\r\n\r\n");
    assert_eq!(world.get("/sales/api/v1/me/?beside", "").status, 200);
    release.send(()).unwrap();
    assert_eq!(client.answer().text(), "GET /api/v1/me/?slow HTTP/1.1");
    assert_eq!(client.answer().text(), "GET /api/v1/me/?fast HTTP/1.1");
    assert_own(&client.answer(), 400, "request_malformed", "two words");
    assert!(client.ends());
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn line_14_a_head_may_be_split_anywhere() {
    let mut wall = Wall::new(|setup| setup);
    let first = post("Transfer-Encoding: chunked\r\n") + "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n";
    let both = first.clone() + &post("Content-Length: 5\r\n") + "world";
    for at in 1..both.len() {
        let mut client = wall.world.connect();
        client.send(&both[..at]);
        // The first answer shows that everything before the split has been read; before that a split may be none.
        let early = (at >= first.len()).then(|| client.answer());
        client.send(&both[at..]);
        for answer in [early.unwrap_or_else(|| client.answer()), client.answer()] {
            assert_eq!(answer.status, 200, "split at {at}: {answer:?}");
            wall.note_pass(&answer);
        }
        let seen = wall.origin.seen();
        let bodies: Vec<_> = seen[seen.len() - 2..].iter().map(|seen| seen.body.as_slice()).collect();
        assert_eq!(bodies, [b"hello", b"world"], "split at {at}");
    }
    wall.stands();
}

#[test]
fn line_15_an_expectation_is_answered_after_authentication_and_not_forwarded() {
    let mut wall = Wall::new(|setup| setup.set("listen", "max_body = \"1KiB\""));
    let mut client = wall.world.connect();
    for (framing, body) in [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")] {
        client.send(post(&format!("{framing}\r\nExpect: 100-Continue\r\n")));
        assert_eq!(client.answer().status, 100);
        client.send(body);
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        wall.note_pass(&answer);
        let seen = wall.origin.seen().pop().unwrap();
        assert_eq!((seen.body.as_slice(), seen.values("expect").len()), (&b"hello"[..], 0));
    }
    // Nothing to wait for: no 100.
    client.send(get("Expect: 100-continue\r\n"));
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    wall.note_pass(&answer);
    wall.stands();
}

#[test]
fn line_15_without_a_valid_key_there_is_no_100() {
    let mut wall = Wall::new(|setup| setup.set("listen", "max_body = \"1KiB\""));
    let expecting =
        |line: &str, fields: &str| format!("{line}\r\nHost: localhost\r\n{fields}Expect: 100-continue\r\n\r\n");
    let lead = "POST /sales/api/v1/lead/ HTTP/1.1";
    for (request, status, code) in [
        (expecting(lead, "Content-Length: 5\r\n"), 401, "key_missing"),
        (expecting(lead, "Transfer-Encoding: chunked\r\n"), 401, "key_missing"),
        (expecting(lead, "Content-Length: 5\r\nClosegate-Key: cgk_wrong\r\n"), 401, "key_invalid"),
        (expecting(lead, &format!("Content-Length: 1025\r\nClosegate-Key: {KEY}\r\n")), 413, "body_too_large"),
        (
            expecting("POST /nowhere HTTP/1.1", &format!("Content-Length: 5\r\nClosegate-Key: {KEY}\r\n")),
            404,
            "no_route",
        ),
        (expecting(lead, "Content-Length: 5\r\nContent-Length: 5\r\n"), 400, "request_malformed"),
    ] {
        let mut client = wall.world.connect();
        client.send(&request);
        wall.note_refusal(&client.answer(), status, code, &request);
        // The body was neither asked for nor sent: the connection cannot go on.
        assert!(client.ends(), "{request}");
    }
    wall.stands_untouched();
}

#[test]
fn line_16_an_old_client_gets_no_chunks() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    );
    let world = gateway(origin.address).key("\"sales\"").start();
    for fields in ["", "Connection: keep-alive\r\n"] {
        let mut client = world.connect();
        client.send(head("GET /sales/api/v1/me/ HTTP/1.0", fields));
        let answer = client.answer();
        assert_eq!((answer.status, answer.version.as_str(), answer.text().as_str()), (200, "HTTP/1.0", "hello world"));
        assert_eq!((answer.header("transfer-encoding"), answer.header("content-length")), (None, None), "{fields}");
        assert_ne!(answer.header("connection"), Some("keep-alive"), "its end is the body's end");
    }
    assert_eq!(origin.seen().len(), 2);
    assert!(origin.seen().iter().all(|seen| seen.line().ends_with("HTTP/1.1")));
}

#[test]
fn line_16_an_old_client_keeps_its_connection_only_when_it_asks() {
    let mut wall = Wall::new(|setup| setup);
    let mut client = wall.world.connect();
    for _ in 0..3 {
        client.send(head("GET /sales/api/v1/me/ HTTP/1.0", "Connection: keep-alive\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.version.as_str(), answer.text().as_str()), (200, "HTTP/1.0", "{}"));
        assert_eq!((answer.header("connection"), answer.header("content-length")), (Some("keep-alive"), Some("2")));
        wall.note_pass(&answer);
    }
    client.send(head("GET /sales/api/v1/me/ HTTP/1.0", ""));
    wall.note_pass(&client.answer());
    assert!(client.ends());
    let mut client = wall.world.connect();
    client.send(format!("GET /sales/api/v1/me/ HTTP/1.0\r\nClosegate-Key: {KEY}\r\n\r\n"));
    let answer = client.answer();
    assert_eq!(answer.status, 200, "an old client may leave Host out");
    wall.note_pass(&answer);
    assert!(client.ends());
    // RFC 9110 10.1.1: an expectation of an old client is not heeded.
    let mut client = wall.world.connect();
    client.send(head("POST /sales/api/v1/lead/ HTTP/1.0", "Content-Length: 5\r\nExpect: 100-continue\r\n") + "hello");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    wall.note_pass(&answer);
    wall.stands();
}

#[test]
fn line_16_an_old_message_in_chunks_is_refused() {
    let mut wall = Wall::new(|setup| setup);
    for fields in ["Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"] {
        wall.refuses(head("POST /sales/api/v1/lead/ HTTP/1.0", fields) + "0\r\n\r\n", 400, "request_malformed");
    }
    wall.stands_untouched();
}

#[test]
fn line_16_an_answer_cut_short_is_a_reset_for_an_old_client() {
    let (cut, cutting) = mpsc::channel();
    let cutting = Mutex::new(cutting);
    let origin = Origin::start(move |conversation| {
        if conversation.request().is_some() {
            conversation.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            cutting.lock().unwrap().recv().unwrap();
            conversation.shutdown();
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut old = world.connect();
    old.send(head("GET /sales/api/v1/me/ HTTP/1.0", ""));
    assert_eq!(old.head().status, 200);
    cut.send(()).unwrap();
    assert!(old.is_reset(), "a cut answer ended as if it were whole");
    let record = &world.records.wait_for(1)[0];
    assert_eq!((&record["status"], &record["origin"]), (&200.into(), &"upstream".into()));
    let mut new = world.connect();
    new.send(get(""));
    let head = new.head();
    cut.send(()).unwrap();
    assert!(!new.body(head, false).whole, "a cut answer ended as if it were whole");
    world.records.wait_for(2);
    assert_eq!(world.metric("closegate_truncated_responses_total{route=\"sales\"}"), 2.0);
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let origin = Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            let answer = match seen.line().split(' ').nth(1).unwrap() {
                "/api/v1/204" => "HTTP/1.1 204 No Content\r\nX-Any: 204\r\n\r\n",
                "/api/v1/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 1234\r\n\r\n",
                _ if seen.line().starts_with("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            };
            conversation.send(answer);
        }
    });
    let world = gateway(origin.address).key("\"sales\"").start();
    let mut client = world.connect();
    let mut ask = |line: &str| -> Answer {
        client.send(head(line, ""));
        let answer = client.answer_to_head();
        assert_goes_on(&mut client);
        answer
    };
    let answer = ask("HEAD /sales/api/v1/lead/ HTTP/1.1");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("1234")));
    let answer = ask("GET /sales/api/v1/204 HTTP/1.1");
    assert_eq!((answer.status, answer.header("content-length"), answer.header("x-any")), (204, None, Some("204")));
    assert_eq!(answer.header("transfer-encoding"), None);
    let answer = ask("GET /sales/api/v1/304 HTTP/1.1");
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"a\"")));
    assert_eq!(answer.header("transfer-encoding"), None);
    // An error of the gateway's own keeps its length for HEAD, and sends no body.
    let answer = ask("HEAD /nowhere HTTP/1.1");
    assert_eq!((answer.status, answer.code()), (404, Some("no_route")));
    assert!(answer.header("content-length").is_some_and(|length| length != "0"));
    assert_eq!(origin.connections(), 1, "the upstream's connection was used again");
    let records = world.records.wait_for(8);
    assert!(records.iter().step_by(2).all(|record| record["response_bytes"] == 0), "{records:#?}");
}

/// One request of the corpus in `tests/data`; each character is a byte.
#[derive(Deserialize)]
struct Case {
    name: String,
    tier: String,
    method: String,
    uri: String,
    version: String,
    headers: Vec<(String, String)>,
}

impl Case {
    /// The bytes, with a Host where the case has none and with a key: what is refused is refused for its own fault.
    fn request(&self) -> Vec<u8> {
        let hosted = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = if hosted { "" } else { "Host: localhost\r\n" };
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (method, uri, version) = (&self.method, &self.uri, &self.version);
        let text = format!("{method} {uri} {version}\r\n{host}Closegate-Key: {KEY}\r\n{lines}\r\n");
        let mut bytes: Vec<u8> = text.chars().map(|char| u8::try_from(char).unwrap()).collect();
        bytes.extend(self.body());
        bytes
    }

    /// A body where the framing is lawful, so that a request that passes is whole.
    fn body(&self) -> Vec<u8> {
        let values = |wanted: &str| {
            let fields = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            fields.map(|(_, value)| value.trim().to_owned()).collect::<Vec<_>>()
        };
        let length = values("content-length").first().and_then(|value| value.parse().ok());
        match (values("transfer-encoding").first(), length) {
            (None, Some(length)) => vec![b'x'; length],
            (Some(_), _) => b"0\r\n\r\n".to_vec(),
            (None, None) => Vec::new(),
        }
    }
}

#[test]
fn the_corpus_of_desync_requests_is_refused_or_forwarded_in_one_form() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../data/http_desync_guardian.json")).unwrap();
    let mut wall = Wall::new(|setup| setup.set("routes.sales", "prefix = \"/\"\ncredential = \"sales\""));
    let mut refused = Vec::new();
    for case in &cases {
        let seen = wall.origin.seen().len();
        let mut client = wall.world.connect();
        client.send(case.request());
        let answer = client.head();
        let to_head = case.method == "HEAD";
        let answer = client.body(answer, to_head);
        let name = format!("{} ({}): {answer:?}", case.name, case.tier);
        match answer.code() {
            None => {
                assert_eq!(answer.status, 200, "{name}");
                assert_ne!(case.tier, "Severe", "{name}");
                wall.note_pass(&answer);
                assert_one_form(&wall.origin.seen()[seen..], &name);
            }
            Some("path_not_canonical") => wall.note_refusal(&answer, 400, "path_not_canonical", &name),
            Some(_) => {
                if to_head {
                    wall.note_refusal_of_head(&answer, 400, "request_malformed", &name);
                } else {
                    wall.note_refusal(&answer, 400, "request_malformed", &name);
                }
                assert!(client.ends(), "{name}");
            }
        }
        if answer.code().is_some() {
            refused.push(case.tier.as_str());
        }
    }
    let count = |tier: &str| refused.iter().filter(|own| **own == tier).count();
    let total = |tier: &str| cases.iter().filter(|case| case.tier == tier).count();
    assert_eq!((cases.len(), total("Severe"), count("Severe")), (158, 58, 58));
    // Of what RFC 9112 allows, codings beside chunked are refused (7), and targets that are not canonical (6); of the
    // rest, look-alikes of framing fields are dropped and the request goes on without them.
    assert_eq!((total("Compliant"), count("Compliant")), (28, 13));
    assert_eq!((total("Acceptable"), count("Acceptable")), (15, 13));
    assert_eq!((total("Ambiguous"), count("Ambiguous")), (57, 47));
    wall.stands();
}

/// One whole request went up, with one framing and no field that resembles one.
fn assert_one_form(seen: &[crate::origin::Seen], case: &str) {
    assert_eq!(seen.len(), 1, "{case}");
    let names: Vec<_> =
        seen[0].head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let letters = |name: &str| name.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
    let framing = names.iter().filter(|name| ["contentlength", "transferencoding"].contains(&letters(name).as_str()));
    assert!(framing.count() <= 1, "{case}: {}", seen[0].head);
    let lengths = seen[0].values("content-length");
    assert!(lengths.iter().all(|length| length.parse() == Ok(seen[0].body.len())), "{case}: {}", seen[0].head);
}

fn with_field(line: &[u8]) -> Vec<u8> {
    let plain = get("");
    [&plain.as_bytes()[..plain.len() - 2], line, b"\r\n\r\n"].concat()
}
