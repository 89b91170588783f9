//! The way out: which addresses a name may lead to, and the proxy between the gateway and the upstream.

use std::net::SocketAddr;

use crate::errors::told;
use crate::faults::{exchange, get, head};
use crate::origin::{Conversation, Origin};
use crate::spawned::{Spawned, closegate, run};
use crate::tls::{Authority, TlsOrigin, trusting};
use crate::world::{INJECTED, Setup, gateway};

/// What a resolver takes for an address and no parser of addresses does: names that lead to loopback without a server.
const ODD: [&str; 4] = ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"];

/// A gateway before `https://HOST:PORT` of an upstream.
fn before(origin: &Origin, host: &str) -> Setup {
    let upstream = format!("url = \"https://{host}:{}\"", origin.address.port());
    gateway(origin.address).key("\"sales\"").replace("upstream", &upstream)
}

/// An upstream that ends each connection at once.
fn closing() -> Origin {
    Origin::start(|_| ())
}

/// Waits until so many connections were made; there are no more.
#[track_caller]
fn connected(origin: &Origin, times: usize, context: &str) {
    origin.wait_for_ends(times);
    assert_eq!(origin.connections(), times, "{context}");
}

const PROHIBITED: Option<&str> = Some("closegate; error=destination_ip_prohibited; details=\"upstream_unreachable\"");

#[test]
fn line_42_a_name_that_leads_to_loopback_is_not_connected_to() {
    let origin = closing();
    for host in ODD {
        let world = before(&origin, host).start();
        for _ in 0..2 {
            let answer = world.get("/sales/api/v1/me/", "");
            told(&answer, 503, "upstream_unreachable");
            assert_eq!(answer.header("proxy-status"), PROHIBITED, "{host}");
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn line_42_a_private_address_takes_a_word_or_its_own_mention() {
    let origin = closing();
    let said = "danger_private_upstream = true";
    let setups = [
        before(&origin, "127.1").set("upstream", said),
        before(&origin, "127.1").set("routes.sales", said),
        before(&origin, "close.invalid").set("upstream", &format!("address = \"127.1:{}\"", origin.address.port())),
        before(&origin, "127.0.0.1"),
        before(&origin, "[::ffff:127.0.0.1]"),
        before(&origin, "localhost"),
    ];
    for (number, setup) in setups.into_iter().enumerate() {
        let text = setup.text();
        let world = setup.start();
        told(&world.get("/sales/api/v1/me/", ""), 502, "upstream_tls");
        connected(&origin, number + 1, &text);
    }
}

#[test]
fn line_42_what_one_route_may_another_may_not() {
    let origin = closing();
    let world = before(&origin, "127.1")
        .set("routes.sales", "danger_private_upstream = true")
        .set("routes.strict", "credential = \"sales\"")
        .replace("keys.main", "")
        .key("\"sales\", \"strict\"")
        .start();
    for number in 1..=3 {
        told(&world.get("/sales/api/v1/me/", ""), 502, "upstream_tls");
        told(&world.get("/strict/api/v1/me/", ""), 503, "upstream_unreachable");
        connected(&origin, number, "one route of two");
    }
}

#[test]
fn line_42_the_vault_asks_no_private_address_and_the_setting_is_named() {
    let origin = closing();
    let folder = before(&origin, "127.1").write();
    let ended = run(closegate(folder.path()).args(["check", "--live"]));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("`danger_private_upstream = true`"), "{ended:?}");
    assert_eq!(origin.connections(), 0);
    let world = before(&origin, "127.1").spawn();
    told(&world.get("/sales/api/v1/me/"), 503, "upstream_unreachable");
    world.stderr.wait_for("leads to 127.0.0.1 (loopback); `danger_private_upstream = true`", 1);
}

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A proxy that opens one tunnel a connection, wherever it is asked to, to this place.
fn tunnelling(to: SocketAddr) -> Origin {
    Origin::start(move |conversation| {
        if asked(conversation) {
            conversation.send(ESTABLISHED);
            conversation.relay(to);
        }
    })
}

/// Reads what a proxy is asked, and remembers it.
fn asked(conversation: &mut Conversation) -> bool {
    let head = conversation.request_head();
    head.is_some_and(|head| conversation.body_of(head).is_some())
}

fn through(setup: Setup, proxy: &Origin) -> Setup {
    setup.set("upstream", &format!("proxy = \"http://{}\"", proxy.address))
}

/// The one thing a proxy was asked.
#[track_caller]
fn only_asked(proxy: &Origin, target: &str) {
    let seen: Vec<_> = proxy.seen().into_iter().map(|seen| seen.head).collect();
    assert_eq!(seen, [format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")]);
}

#[test]
fn a_proxy_gets_one_connect_and_the_upstream_everything_else() {
    let authority = Authority::new();
    let origin = TlsOrigin::plain(authority.sign(&["close.test"], |_| ()));
    let proxy = tunnelling(origin.address);
    let upstream = "url = \"https://close.test\"\nca = \"roots.pem\"";
    let world = through(trusting(&authority, origin.address).replace("upstream", upstream), &proxy).start();
    let mut client = world.connect();
    for _ in 0..5 {
        let answer = exchange(&mut client, &get());
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{answer:?}");
    }
    only_asked(&proxy, "close.test:443");
    let connections = origin.connections.lock().unwrap();
    assert_eq!((connections.len(), connections[0].requests.len()), (1, 5));
    assert_eq!(connections[0].name.as_deref(), Some("close.test"));
    assert!(connections[0].requests[0].contains(&format!("\r\nauthorization: {INJECTED}\r\n")));
}

#[test]
fn an_address_is_where_the_proxy_is_asked_to_connect() {
    let authority = Authority::new();
    let origin = TlsOrigin::plain(authority.sign(&["close.test"], |_| ()));
    let proxy = tunnelling(origin.address);
    let world = through(trusting(&authority, origin.address), &proxy).start();
    assert_eq!(world.get("/sales/api/v1/me/", "").status, 200);
    only_asked(&proxy, &origin.address.to_string());
    assert_eq!(origin.connections.lock().unwrap()[0].name.as_deref(), Some("close.test"));
}

#[test]
fn line_40_behind_a_proxy_the_certificate_is_the_upstreams() {
    let authority = Authority::new();
    let origin = TlsOrigin::plain(authority.sign(&["proxy.test", "127.0.0.1"], |_| ()));
    let proxy = tunnelling(origin.address);
    let world = through(trusting(&authority, origin.address), &proxy).start();
    told(&world.get("/sales/api/v1/me/", ""), 502, "upstream_tls");
    assert!(origin.connections.lock().unwrap().iter().all(|connection| connection.requests.is_empty()));
}

#[test]
fn a_cleartext_upstream_on_loopback_is_tunnelled_as_well() {
    let origin = Origin::plain();
    let proxy = tunnelling(origin.address);
    let world = through(gateway(origin.address).key("\"sales\""), &proxy).start();
    assert_eq!(world.get("/sales/api/v1/me/", "").text(), "{}");
    only_asked(&proxy, &origin.address.to_string());
    assert_eq!(origin.seen()[0].values("authorization"), [INJECTED]);
}

#[test]
fn the_vault_asks_through_the_proxy() {
    let origin = Origin::plain();
    let proxy = tunnelling(origin.address);
    let folder = through(gateway(origin.address), &proxy).write();
    let ended = run(closegate(folder.path()).args(["check", "--live"]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    only_asked(&proxy, &origin.address.to_string());
    assert_eq!(origin.seen()[0].values("authorization"), [INJECTED]);
}

#[test]
fn a_proxy_that_gives_no_tunnel_is_503_and_nothing_was_sent() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(16 * 1024));
    for (answer, error) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", "proxy_configuration_error"),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "destination_unavailable"),
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "destination_unavailable"),
        ("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1/\r\n\r\n", "destination_unavailable"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "destination_unavailable"),
        ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "http_protocol_error"),
        ("\x15\x03\x03\x00\x02\x02\x28\r\n\r\n", "http_protocol_error"),
        ("{}", "http_protocol_error"),
        (&long, "http_protocol_error"),
        ("", "connection_terminated"),
        ("HTTP/1.1 200 OK\r\n", "connection_terminated"),
    ] {
        let sent = answer.to_owned();
        let proxy = Origin::start(move |conversation| {
            if asked(conversation) {
                conversation.send(&sent);
                conversation.shutdown_write();
                // Whatever else comes is no CONNECT, and would be remembered.
                asked(conversation);
            }
        });
        let unused = Origin::plain();
        let world = through(gateway(unused.address).key("\"sales\""), &proxy).start();
        let body = "{\"name\": \"planted\"}";
        let lines = format!("Content-Length: {}\r\n", body.len());
        let answer = world.ask(head("POST", "/sales/api/v1/lead/", &lines) + body);
        told(&answer, 503, "upstream_unreachable");
        let expected = format!("closegate; error={error}; details=\"upstream_unreachable\"");
        assert_eq!(answer.header("proxy-status"), Some(expected.as_str()), "{}", answer.text());
        only_asked(&proxy, &unused.address.to_string());
        assert_eq!(unused.connections(), 0);
    }
}

#[test]
fn a_proxy_that_is_not_there_or_says_nothing_is_503() {
    let silent = Origin::start(|conversation| conversation.wait_for_end());
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (proxy, limit, error) in [
        (silent.address.to_string(), "300ms", "connection_timeout"),
        (gone.to_string(), "30s", "connection_refused"),
        ("proxy.invalid:3128".to_owned(), "30s", "dns_error"),
    ] {
        let lines = format!("url = \"https://close.test\"\nconnect_timeout = \"{limit}\"\nproxy = \"http://{proxy}\"");
        let world = gateway(gone).key("\"sales\"").replace("upstream", &lines).start();
        let answer = world.get("/sales/api/v1/me/", "");
        told(&answer, 503, "upstream_unreachable");
        let expected = format!("closegate; error={error}; details=\"upstream_unreachable\"");
        assert_eq!(answer.header("proxy-status"), Some(expected.as_str()));
    }
}

#[test]
fn line_42_proxies_of_the_environment_are_ignored() {
    let origin = Origin::plain();
    let proxy = tunnelling(origin.address);
    let folder = gateway(origin.address).key("\"sales\"").write();
    let mut command = closegate(folder.path());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        let url = format!("http://{}", proxy.address);
        command.env(name, &url).env(name.to_ascii_lowercase(), &url);
    }
    let world = Spawned::start(command, folder);
    assert_eq!(world.get("/sales/api/v1/me/").status, 200);
    assert_eq!((origin.connections(), proxy.connections()), (1, 0));
}
