//! Somebody who tries everything at random makes nothing grow: no metric, no usage, no memory.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::origin::Origin;
use crate::spawned::{Spawned, closegate, run};
use crate::world::{KEY, gateway};

/// How many requests there are in all, and how many of them may still meet something for the first time.
const REQUESTS: u64 = 100_000;
const FIRST: u64 = 10_000;
/// How many are on their way at once.
const AT_ONCE: usize = 50;
/// What memory may differ by, in KiB: the allocator keeps some.
const SLACK: u64 = 8 * 1024;

/// Numbers that look like chance and are the same each time (xorshift64, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[usize::try_from(self.next()).unwrap() % all.len()]
    }

    /// A request with a method, a path, a key and headers that nobody has sent before.
    fn request(&mut self) -> String {
        let unknown = format!("SCAN{}", self.next() % 100_000);
        let method = match self.next() % 4 {
            0 => unknown.as_str(),
            _ => self.of(&["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
        };
        let path = match self.next() % 4 {
            0 => format!("/{:x}/{:x}", self.next(), self.next()),
            1 => format!("/sales/api/v1/{:x}/", self.next()),
            2 => format!("/sales/api/v1/lead/lead_{:x}/?{:x}={:x}", self.next(), self.next(), self.next()),
            _ => format!("/sales/{:x}%2e/{:x}", self.next(), self.next()),
        };
        let key = match self.next() % 3 {
            0 => format!("Closegate-Key: {KEY}\r\n"),
            1 => format!("Authorization: Bearer cgk_{:08x}_{:x}\r\n", self.next() as u32, self.next()),
            _ => String::new(),
        };
        let (id, agent) = (self.next(), self.next());
        let length = if matches!(method, "GET" | "HEAD") { "" } else { "Content-Length: 0\r\n" };
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{key}{length}X-Request-Id: {id:x}\r\nUser-Agent: {agent:x}\r\n\r\n"
        )
    }
}

/// Sends so many, some at once, on connections that go on for as long as the gateway lets them.
fn scan(world: &Spawned, chance: &mut Chance, requests: u64) {
    let mut client = world.connect();
    let mut answered = 0;
    while answered < requests {
        let requests: Vec<String> = (0..AT_ONCE).map(|_| chance.request()).collect();
        client.send(requests.concat());
        for request in &requests {
            let answer = if request.starts_with("HEAD ") { client.answer_to_head() } else { client.answer() };
            assert!(answer.status < 500, "{request}: {}", answer.status);
            answered += 1;
            if answer.header("connection") == Some("close") {
                client = world.connect();
                break;
            }
        }
    }
}

/// The series of the metrics, without their values.
fn series(world: &Spawned) -> BTreeSet<String> {
    let text = world.ask_admin("/metrics").text();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

fn usage(world: &Spawned, by: &str) -> Vec<String> {
    let mut command = closegate(world.folder.path());
    command.args(["--output", "json", "usage", "--by", by]);
    let ended = run(command.env("CLOSEGATE__ADMIN__ADDRESS", world.admin.to_string()));
    let usage: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let mut names: Vec<String> =
        usage["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_hundred_thousand_requests_at_random_add_no_series_no_usage_and_no_memory() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let world = gateway(origin.address).set("log", "access = \"off\"").key("\"sales\"").spawn();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    scan(&world, &mut chance, FIRST);
    let (before, peak) = (series(&world), world.peak_at_rest());
    scan(&world, &mut chance, REQUESTS - FIRST);
    let after = series(&world);
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    // Ten methods and six statuses, for two routes and two keys, would be 240.
    let requests = after.iter().filter(|series| series.starts_with("closegate_requests_total")).count();
    assert!((20..240).contains(&requests), "{requests}");
    assert!(!after.iter().any(|series| series.contains("SCAN")), "{after:?}");
    assert_eq!(usage(&world, "key"), ["main", "none"]);
    assert_eq!(usage(&world, "route"), ["none", "sales"]);
    // What Close documents of a lead.
    let of_lead = ["DELETE", "GET", "HEAD", "PUT"].map(|method| format!("{method} /api/v1/lead/{{id}}/"));
    assert_eq!(usage(&world, "endpoint"), [&of_lead[..], &["none".to_owned()]].concat());
    let grown = world.grown_beyond(peak);
    assert!(grown <= SLACK, "{grown} KiB were added to {peak}");
}
