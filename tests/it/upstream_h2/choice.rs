//! Which version of HTTP is spoken: as the setting says, as the upstream agrees, and as the load asks (contract.md 3).

use std::collections::BTreeSet;
use std::sync::Barrier;

use super::origin::TlsOrigin;
use crate::faults::{assert_error, exchange, get, head, record};
use crate::frames::{END_STREAM, Frames};
use crate::raw::find;
use crate::tls::{Authority, trusting};
use crate::world::{INJECTED, Setup, World, gateway};

/// So many clients, each of which sends so many requests, all together in each turn.
fn crowd(world: &World, clients: usize, requests: usize) {
    crowd_of(world, &get(), clients, requests);
}

fn crowd_of(world: &World, request: &str, clients: usize, requests: usize) {
    let together = Barrier::new(clients);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = world.connect();
                for _ in 0..requests {
                    together.wait();
                    assert_eq!(exchange(&mut client, request).status, 200);
                }
            });
        }
    });
}

fn post_of(length: usize) -> String {
    head("POST", "/sales/api/v1/lead/", &format!("Content-Length: {length}\r\n")) + &"x".repeat(length)
}

fn two_credentials(setup: Setup) -> Setup {
    setup
        .file("partner.secret", "api_partner.of-the-tests")
        .set("credentials.partner", "api_key = { file = \"partner.secret\" }")
        .replace("keys.main", "secret = { file = \"main.key\" }\nroutes = [\"sales\", \"partner\"]")
}

#[test]
fn auto_finds_out_and_goes_by_load() {
    let origin = TlsOrigin::offering(&["h2", "http/1.1"]);
    let world = origin.gateway("auto").start();
    crowd(&world, 1, 30);
    assert_eq!(origin.count("h2"), 1, "both are offered once");
    assert_eq!(origin.count("http/1.1"), 1, "one client needs one connection");
    assert!(origin.requests("http/1.1") > 20, "{:?}", origin.connections());
    let before = (origin.requests("h2"), origin.requests("http/1.1"));
    crowd(&world, 32, 30);
    assert_eq!(origin.count("h2"), 1, "32 streams need one connection");
    assert!(origin.count("http/1.1") <= 9, "{:?}", origin.connections());
    let (streams, alone) = (origin.requests("h2") - before.0, origin.requests("http/1.1") - before.1);
    assert!(streams > 32 * 30 * 8 / 10, "{streams} by streams, {alone} alone");
}

#[test]
fn auto_gives_large_bodies_connections_of_their_own_in_a_crowd_as_well() {
    let origin = TlsOrigin::offering(&["h2", "http/1.1"]);
    let world = origin.gateway("auto").start();
    let large = post_of(64 * 1024);
    // One connection more at a time: until then streams do.
    crowd_of(&world, &large, 24, 60);
    let before = (origin.requests("h2"), origin.requests("http/1.1"));
    crowd_of(&world, &large, 24, 20);
    let (streams, alone) = (origin.requests("h2") - before.0, origin.requests("http/1.1") - before.1);
    assert!(alone > 24 * 20 * 8 / 10, "{streams} by streams, {alone} alone");
    let before = origin.requests("h2");
    crowd_of(&world, &post_of(100), 24, 20);
    assert!(origin.requests("h2") - before > 24 * 20 * 8 / 10, "small bodies go by streams");
}

#[test]
fn auto_keeps_to_http1_where_http2_is_declined() {
    for protocols in [&["http/1.1"][..], &[]] {
        let origin = TlsOrigin::offering(protocols);
        let world = origin.gateway("auto").start();
        crowd(&world, 32, 5);
        let connections = origin.connections();
        assert!((1..=32).contains(&connections.len()), "{connections:?}");
        assert_eq!(origin.count("h2"), 0);
    }
}

#[test]
fn auto_does_without_http1_where_that_is_refused() {
    let origin = TlsOrigin::offering(&["h2"]);
    let world = origin.gateway("auto").start();
    crowd(&world, 1, 10);
    crowd(&world, 32, 5);
    assert_eq!(origin.count("http/1.1"), 0);
    assert_eq!((origin.count("h2"), origin.requests("h2")), (1, 10 + 32 * 5));
}

#[test]
fn auto_finds_a_new_connection_whatever_it_knows() {
    for protocols in [&["h2"][..], &["h2", "http/1.1"]] {
        let origin = TlsOrigin::offering(protocols);
        let world = origin.gateway("auto").start();
        for number in 0..10 {
            let answer = exchange(&mut world.connect(), &head("GET", "/sales/api/v1/last/", ""));
            assert_eq!(answer.status, 200, "{number}, {protocols:?}");
        }
    }
}

#[test]
fn auto_gives_http1_to_whom_demands_it() {
    let origin = TlsOrigin::offering(&["h2", "http/1.1"]);
    let world = origin.gateway("auto").start();
    let alone = head("GET", "/sales/api/v1/alone/", "");
    assert_error(&exchange(&mut world.connect(), &alone), 502, "upstream_closed", "not known yet");
    assert_eq!(origin.count("http/1.1"), 0);
    for _ in 0..3 {
        assert_eq!(exchange(&mut world.connect(), &alone).status, 200);
    }
    assert_eq!((origin.count("h2"), origin.count("http/1.1")), (1, 1));
}

#[test]
fn auto_is_http1_in_clear_text() {
    let origin = crate::origin::Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").set("upstream", "http = \"auto\"").start();
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    assert!(origin.seen()[0].line().ends_with("HTTP/1.1"));
}

#[test]
fn h1_is_never_anything_else() {
    let origin = TlsOrigin::offering(&["h2", "http/1.1"]);
    let world = origin.gateway("h1").start();
    crowd(&world, 16, 5);
    assert_eq!((origin.count("h2"), origin.requests("http/1.1")), (0, 80));
}

#[test]
fn h2_is_never_anything_else() {
    let origin = TlsOrigin::offering(&["http/1.1", "h2"]);
    let world = origin.gateway("h2").start();
    crowd(&world, 1, 5);
    crowd(&world, 32, 5);
    assert_eq!((origin.count("http/1.1"), origin.count("h2"), origin.requests("h2")), (0, 1, 5 + 32 * 5));
}

#[test]
fn h2_that_the_upstream_does_not_speak_is_a_clear_fault() {
    // One refuses the handshake, one goes on as if nothing had been asked.
    for protocols in [&["http/1.1"][..], &[]] {
        let origin = TlsOrigin::offering(protocols);
        let world = origin.gateway("h2").spawn();
        let answer = exchange(&mut world.connect(), &get());
        assert_error(&answer, 502, "upstream_tls", "no agreement");
        world.stderr.wait_for("the upstream does not agree to HTTP/2", 1);
        assert_eq!(origin.requests("http/1.1") + origin.requests(""), 0);
    }
}

#[test]
fn line_40_http2_is_spoken_to_whom_the_certificate_names_and_nobody_else() {
    let origin = TlsOrigin::offering(&["h2"]);
    for http in ["auto", "h2"] {
        let setting = format!("http = \"{http}\"");
        let world = trusting(&Authority::new(), origin.address).set("upstream", &setting).start();
        assert_error(&exchange(&mut world.connect(), &get()), 502, "upstream_tls", http);
    }
    assert_eq!(origin.requests("h2"), 0);
}

#[test]
fn line_26_a_connection_belongs_to_one_credential() {
    for http in ["h2", "auto"] {
        let origin = TlsOrigin::offering(&["h2", "http/1.1"]);
        let world = two_credentials(origin.gateway(http)).start();
        let together = Barrier::new(24);
        std::thread::scope(|scope| {
            for number in 0..24 {
                let (world, together) = (&world, &together);
                scope.spawn(move || {
                    let route = if number % 2 == 0 { "sales" } else { "partner" };
                    let mut client = world.connect();
                    for _ in 0..10 {
                        together.wait();
                        let request = head("GET", &format!("/{route}/api/v1/me/"), "");
                        assert_eq!(exchange(&mut client, &request).status, 200);
                    }
                });
            }
        });
        let connections = origin.connections();
        let whose = |authorizations: &[String]| authorizations.iter().cloned().collect::<BTreeSet<_>>();
        assert!(connections.iter().all(|connection| whose(&connection.authorizations).len() <= 1), "{http}");
        let all: BTreeSet<_> = connections.iter().flat_map(|connection| connection.authorizations.clone()).collect();
        assert!(all.len() == 2 && all.contains(INJECTED), "{http}: {all:?}");
        assert!(origin.count("h2") >= 2, "{http}");
    }
}

#[test]
fn line_44_the_injected_secret_enters_no_table() {
    // RFC 7541 6.2.3: never indexed, and the name by its place in the static table (23).
    const NEVER_INDEXED: [u8; 2] = [0x1f, 0x08];
    let origin = Frames::start(|peer| {
        while let Some(frame) = peer.head() {
            assert_ne!(frame.flags & END_STREAM, 0);
            assert!(find(&frame.payload, &NEVER_INDEXED).is_some(), "{:x?}", frame.payload);
            peer.answer(frame.stream, "{}");
        }
    });
    let world = super::speaking_h2(origin.address).start();
    let mut client = world.connect();
    for number in 0..3 {
        assert_eq!(exchange(&mut client, &get()).status, 200, "{number}");
    }
    assert_eq!(record(&world, 3)["status"], 200);
    assert_eq!(origin.connections(), 1);
}
