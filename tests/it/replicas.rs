//! Several gateways on one PostgreSQL, and what becomes of them when it is lost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::manage::{ADDED, Close, add, api_key, by, code, credential, key_name, new_key, wait, with_key};
use crate::postgres::Postgres;
use crate::world::{SECRET, Setup, World, gateway};
use closegate::admin::Code;

/// A replica that shares the store.
fn replica(upstream: SocketAddr, postgres: &Postgres, max_stale: &str) -> Setup {
    let store =
        format!("url = \"{}\"\nmaster_key = {{ file = \"master\" }}\nmax_stale = \"{max_stale}\"", postgres.url());
    gateway(upstream).file("master", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n").set("store", &store)
}

fn status(world: &World, path: &str) -> u16 {
    with_key(world, path, "none")
}

/// Waits until something is so; how long that took.
#[track_caller]
fn until(what: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

fn ready(world: &World) -> serde_json::Value {
    let mut client = crate::raw::Raw::connect(world.admin);
    client.send("GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    answer.json()
}

#[test]
fn a_change_on_one_replica_is_live_on_all_within_a_second() {
    let close = Close::start(&[SECRET, ADDED]);
    let postgres = Postgres::start();
    let [one, two] = [(); 2].map(|()| replica(close.address(), &postgres, "1h").start());
    add(&*one.management(), "partner", ADDED);
    let took = until(|| status(&two, "/partner/api/v1/lead/") == 200);
    assert!(took < Duration::from_secs(1), "{took:?}");
    wait(two.management().disable_credential(&credential("partner"), &by())).unwrap();
    let took = until(|| status(&one, "/partner/api/v1/lead/") == 503);
    assert!(took < Duration::from_secs(1), "{took:?}");
    wait(one.management().enable_credential(&credential("partner"), &by())).unwrap();
    let made = wait(one.management().create_key(new_key("tool", &["partner"]), &by())).unwrap();
    let text = made.text.reveal();
    let took = until(|| with_key(&two, "/partner/api/v1/lead/", text) == 200 && status(&two, "/sales/x") == 401);
    assert!(took < Duration::from_secs(1), "{took:?}");
    wait(one.management().revoke_key(&key_name("tool"), &by())).unwrap();
    let took = until(|| with_key(&two, "/partner/api/v1/lead/", text) == 401);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn with_a_lost_database_what_is_known_goes_on_and_heals() {
    let close = Close::start(&[SECRET, ADDED]);
    let mut postgres = Postgres::start();
    let long = replica(close.address(), &postgres, "1h").start_reloading();
    let short = replica(close.address(), &postgres, "1s").start();
    add(&*long.management(), "partner", ADDED);
    let made = wait(long.management().create_key(new_key("tool", &["partner"]), &by())).unwrap();
    let text = made.text.reveal();
    let works = |world: &World| with_key(world, "/partner/api/v1/lead/", text) == 200;
    until(|| works(&short));
    postgres.halt();
    until(|| long.metric("closegate_store_up") == 0.0);
    assert_eq!(ready(&long)["degraded"], true);
    assert_eq!(code(long.management().add_credential(api_key("late", ADDED), &by())), Code::StoreUnavailable);
    assert!(works(&long), "from memory");
    long.edit("[upstream]", "[upstream]\nidle_timeout = \"59s\"");
    long.reload().unwrap();
    assert!(works(&long), "also after a reload");
    until(|| !works(&short));
    assert!(works(&long), "max_stale is not over here");
    let late = replica(close.address(), &postgres, "1h").start();
    assert_eq!(status(&late, "/sales/api/v1/lead/"), 401, "nobody is let in while keys are not known");
    assert_eq!(ready(&late)["degraded"], true);
    postgres.resume();
    until(|| works(&short) && works(&late) && long.metric("closegate_store_up") == 1.0);
    assert!(ready(&long).get("degraded").is_none());
    add(&*short.management(), "after", ADDED);
    until(|| {
        with_key(&late, "/after/api/v1/lead/", text) == 404
            && wait(late.management().credential(&credential("after"))).is_ok()
    });
}

#[test]
fn a_start_without_the_database_sends_nothing_that_was_known_to_be_disabled() {
    let close = Close::start(&[SECRET]);
    let mut postgres = Postgres::start();
    let replica = |postgres: &Postgres| replica(close.address(), postgres, "1h").key("\"sales\"");
    let world = replica(&postgres).start();
    let sent = |world: &World| world.get("/sales/api/v1/lead/", "").status;
    assert_eq!(sent(&world), 200);
    wait(world.management().disable_credential(&credential("sales"), &by())).unwrap();
    let folder = world.stop();
    postgres.halt();
    let world = replica(&postgres).in_folder(folder).start();
    assert_eq!(ready(&world)["degraded"], true);
    assert_eq!(sent(&world), 503, "it was disabled when the store was read last");
    let fresh = replica(&postgres).start();
    assert_eq!(sent(&fresh), 200, "one that never read the store knows the file alone");
    postgres.resume();
    until(|| sent(&fresh) == 503 && ready(&world).get("degraded").is_none());
    wait(world.management().enable_credential(&credential("sales"), &by())).unwrap();
    assert_eq!(sent(&world), 200);
    let folder = world.stop();
    postgres.halt();
    let world = replica(&postgres).in_folder(folder).start();
    assert_eq!(sent(&world), 200, "nor is it remembered for longer than that");
}
