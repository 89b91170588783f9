//! The way out: which addresses a name may lead to, and the proxy between the gateway and the upstream.

use crate::errors::told;
use crate::origin::Origin;
use crate::spawned::{closegate, run};
use crate::world::{Setup, gateway};

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
