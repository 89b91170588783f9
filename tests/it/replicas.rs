//! Several gateways on one PostgreSQL, and what becomes of them when it is lost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::authorizing::{call, close, declared, new_app, office};
use crate::manage::{ADDED, Close, add, api_key, by, code, credential, key_name, new_key, wait, with_key};
use crate::postgres::Postgres;
use crate::world::{RUNTIME, SECRET, Setup, World, gateway};
use closegate::admin::Code;
use closegate::sim::{Fault, Simulator, Trouble};

/// A replica that shares the store.
fn replica(upstream: SocketAddr, postgres: &Postgres, max_stale: &str) -> Setup {
    shared_store(gateway(upstream), &postgres.url(), max_stale)
}

/// With a store that others share, in place of its own.
pub(crate) fn shared_store(setup: Setup, url: &str, max_stale: &str) -> Setup {
    let store = format!("url = \"{url}\"\nmaster_key = {{ file = \"master\" }}\nmax_stale = \"{max_stale}\"");
    setup.file("master", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n").replace("store", &store)
}

fn status(world: &World, path: &str) -> u16 {
    with_key(world, path, "none")
}

/// Asks until something is so, each time once the answer before is there; how long that took.
#[track_caller]
fn until(what: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not come about");
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

/// Whether Close takes the access token of the one grant no longer.
fn refused_by_close(simulator: &Simulator) -> bool {
    let mut client = crate::raw::Raw::connect(simulator.address());
    let token = simulator.grants()[0].access_token.clone();
    client.send(format!("GET /api/v1/me/ HTTP/1.1\r\nHost: close\r\nAuthorization: Bearer {token}\r\n\r\n"));
    client.answer().status == 401
}

#[test]
fn two_hundred_requests_on_an_ended_token_behind_three_replicas_are_one_refresh() {
    let app = new_app().lifetime(Duration::from_secs(1));
    let simulator = close(&app);
    let postgres = Postgres::start();
    let replica = || declared(shared_store(office(&simulator), &postgres.url(), "1h"), &simulator, &app).start();
    let first = replica();
    let body = serde_json::json!({ "refresh_token": simulator.grant(&app).unwrap().refresh_token });
    let taken = call(first.admin, "POST", "/partner/authorize", Some(&body));
    assert_eq!(taken.status, 200, "{}", taken.text());
    drop(first);
    // The next token lives for long, and is not given before everybody waits for it.
    simulator.register(app.clone().lifetime(Duration::from_secs(3600)));
    let refreshes = || simulator.grants()[0].refreshes;
    let before = refreshes();
    until(|| refused_by_close(&simulator));
    simulator.script(Fault::new(Trouble::NoAnswer).under("/oauth2/token/"));
    let replicas = [(); 3].map(|()| replica());
    RUNTIME.block_on(simulator.until(|simulator| simulator.held() == 1));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |number: usize| status(&replicas[number % 3], "/partner/api/v1/me/");
        let asked: Vec<_> = (0..200).map(|number| scope.spawn(move || ask(number))).collect();
        let waiting = |world: &World| world.metric("closegate_in_flight_requests{route=\"partner\"}");
        until(|| replicas.iter().map(waiting).sum::<f64>() > 199.5);
        simulator.release(1);
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!((refreshes() - before, simulator.grants()[0].over), (1, false));
    assert_eq!(simulator.violations(), Vec::<String>::new());
}
