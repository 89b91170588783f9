//! Many requests and many connections: what a client that is not ours counts, and what an idle connection costs.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::faults::{exchange, get};
use crate::front::{Authority, TLS, sealed};
use crate::origin::Origin;
use crate::raw::Raw;
use crate::spawned::{closegate_with_files, run};
use crate::world::{KEY, gateway};

#[test]
fn h2load_counts_no_error_in_either_version_of_http_in_clear_text_and_over_tls() {
    let origin = Origin::plain();
    let world = sealed(gateway(origin.address).key("\"sales\""), &Authority::new()).spawn();
    let (clear, secure) = (format!("http://{}", world.proxy), format!("https://{}", world.place(TLS)));
    let streams = &["--max-concurrent-streams=10"][..];
    let mut asked = 0;
    for (protocol, arguments, base) in [
        ("h2c", streams, &clear),
        ("http/1.1", &["--h1"], &clear),
        ("h2", streams, &secure),
        ("http/1.1", &["--h1"], &secure),
    ] {
        let mut command = Command::new("h2load");
        command.args(["--requests=4000", "--clients=32", "--threads=1"]).args(arguments);
        let ended = run(command.args(["--header", &format!("Closegate-Key: {KEY}")]).arg(format!("{base}/sales/x")));
        let context = format!("{protocol} at {base}: {ended:?}");
        assert_eq!(ended.code, Some(0), "{context}");
        assert!(ended.stdout.contains(&format!("Application protocol: {protocol}")), "{context}");
        let done = "requests: 4000 total, 4000 started, 4000 done, 4000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(ended.stdout.contains(done), "{context}");
        assert!(ended.stdout.contains("status codes: 4000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{context}");
        asked += 4000;
    }
    assert_eq!(origin.seen().len(), asked);
}

/// How many connections are held.
const IDLE: usize = 10_000;
/// What each may cost, in bytes.
const EACH: u64 = 10_000;

#[test]
fn ten_thousand_idle_connections_cost_less_than_10_kb_each() {
    raise_the_limit_of_files();
    let origin = Origin::plain();
    let setup = gateway(origin.address).key("\"sales\"").set("listen", "idle_timeout = \"1h\"");
    let world = setup.spawn_as(|folder| closegate_with_files(folder, IDLE + 500));
    let mut other = world.connect();
    for _ in 0..200 {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    let before = world.memory();
    let mut idle: Vec<Raw> = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut client = world.connect();
        assert_eq!(exchange(&mut client, &get()).status, 200);
        idle.push(client);
    }
    // The last of them are idle only now: what they need no more is given back soon.
    let each = || world.memory().saturating_sub(before) * 1024 / IDLE as u64;
    let began = Instant::now();
    while each() >= EACH && began.elapsed() < STUCK {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    println!("{} bytes a connection", each());
    assert!(each() < EACH, "{} bytes a connection", each());
    assert_eq!(exchange(&mut other, &get()).status, 200);
    for client in &mut idle {
        assert_eq!(exchange(client, &get()).status, 200, "it was not held");
    }
}

#[test]
fn what_a_burst_has_used_is_given_back_while_nothing_more_happens() {
    raise_the_limit_of_files();
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").spawn_as(|folder| closegate_with_files(folder, BURST + 500));
    let mut other = world.connect();
    for _ in 0..200 {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    let before = world.memory();
    let mut burst: Vec<Raw> = (0..BURST).map(|_| world.connect()).collect();
    for client in &mut burst {
        assert_eq!(exchange(client, &get()).status, 200);
    }
    let used = world.memory().saturating_sub(before);
    drop(burst);
    // The kernel tells nobody when memory comes back to it, and whatever the gateway is asked would have it allocate.
    let began = Instant::now();
    let kept = || world.memory().saturating_sub(before);
    while kept() > used / 2 && began.elapsed() < STUCK {
        std::thread::yield_now();
    }
    assert!(kept() <= used / 2, "of {used} KiB {} are kept", kept());
}

/// How many connections a burst has.
const BURST: usize = 2_000;

/// A test that hangs fails; nothing is measured by it.
const STUCK: Duration = Duration::from_secs(30);

/// The clients are all in this process.
fn raise_the_limit_of_files() {
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|maximum| maximum >= IDLE as u64 + 1000);
    assert!(enough, "{IDLE} connections need a hard limit of open files (`ulimit -Hn`) above that");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}
