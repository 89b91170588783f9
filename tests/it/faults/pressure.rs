//! More than there is room for: large bodies that nobody takes, connections without end (security.md 35, 38).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use jiff::Timestamp;

use super::{WHOLE, assert_error, exchange, get, head, record};
use crate::origin::Origin;
use crate::raw::Raw;
use crate::signal::Signal;
use crate::spawned::{Spawned, closegate_with_files};
use crate::world::gateway;

const LARGE: usize = 64 << 20;
/// Two megabytes, in KiB.
const LITTLE: u64 = 2048;

/// An upstream whose answers at `/big/` have 64 MiB, with a count of the MiB that it got rid of.
fn large() -> (Origin, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let origin = Origin::start(move |conversation| {
        while let Some(seen) = conversation.request() {
            if !seen.line().contains("/big/") {
                conversation.send(WHOLE);
                continue;
            }
            conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"));
            let piece = vec![b'x'; 1 << 20];
            while count.load(Ordering::SeqCst) < LARGE >> 20 && conversation.send(&piece) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (origin, sent)
}

/// Has the gateway do what it does anyway, so that what follows costs nothing that is there once.
fn warm(world: &Spawned) -> u64 {
    for _ in 0..100 {
        assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
    }
    world.peak_at_rest()
}

#[test]
fn line_35_an_unread_answer_costs_little_memory_and_harms_nobody() {
    let (origin, sent) = large();
    let world = gateway(origin.address).key("\"sales\"").spawn();
    let before = warm(&world);
    let mut stalled = world.connect();
    assert!(stalled.send(head("GET", "/sales/api/v1/big/", "")));
    let answer = stalled.head();
    let mut other = world.connect();
    for _ in 0..200 {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    let taken = sent.load(Ordering::SeqCst);
    assert!(taken < LARGE >> 21, "{taken} MiB were taken from the upstream for a client that reads nothing");
    let answer = stalled.body(answer, false);
    assert_eq!((answer.whole, answer.body.len()), (true, LARGE));
    let grown = world.grown_beyond(before);
    assert!(grown < LITTLE, "{grown} KiB");
}

#[test]
fn line_35_an_upload_that_nobody_takes_costs_little_memory_and_harms_nobody() {
    let taken = Signal::default();
    let go_on = taken.clone();
    let origin = Origin::start(move |conversation| {
        while let Some(head) = conversation.request_head() {
            if head.starts_with("POST") {
                go_on.wait();
            }
            if conversation.body_of(head).is_some() {
                conversation.send(WHOLE);
            }
        }
    });
    let world = gateway(origin.address).key("\"sales\"").set("listen", "max_body = \"100MiB\"").spawn();
    let before = warm(&world);
    let address = world.proxy;
    let uploading = std::thread::spawn(move || {
        let mut client = Raw::connect(address);
        client.send(head("POST", "/sales/api/v1/lead/", &format!("Content-Length: {LARGE}\r\n")));
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..LARGE >> 20 {
            assert!(client.send(&piece));
        }
        client.answer().status
    });
    let mut other = world.connect();
    for _ in 0..200 {
        assert_eq!(exchange(&mut other, &get()).status, 200);
    }
    assert!(!uploading.is_finished());
    taken.give();
    assert_eq!(uploading.join().unwrap(), 200);
    assert_eq!(origin.seen().last().unwrap().body.len(), LARGE);
    let grown = world.grown_beyond(before);
    assert!(grown < LITTLE, "{grown} KiB");
}

#[test]
fn line_38_exhausted_files_neither_kill_nor_spin() {
    let origin = Origin::plain();
    let setup = gateway(origin.address).key("\"sales\"");
    let mut world = setup.spawn_as(|folder| closegate_with_files(folder, 128));
    let mut first = world.connect();
    assert_eq!(exchange(&mut first, &get()).status, 200);
    let crowd: Vec<Raw> = (0..200).map(|_| world.connect()).collect();
    let warning = "no connection can be accepted for now";
    world.stderr.wait_for(warning, 4);
    let warned = world.stderr.text().matches(warning).count();
    let (before, began) = (world.processor_time(), Instant::now());
    // The pause doubles: from one warning to the next but two it takes 560 ms in the end, once no file comes free between.
    world.stderr.wait_until(|text| {
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().filter(|line| line.contains(warning));
        let times: Vec<Timestamp> =
            lines.skip(warned).map_while(|line| line.split_whitespace().next()?.parse().ok()).collect();
        times.windows(4).any(|four| four[3].duration_since(four[0]).as_millis() >= 560)
    });
    let (used, took) = (world.processor_time() - before, began.elapsed());
    assert!(
        u128::from(used) * 20 < took.as_millis(),
        "{used} hundredths of a second of {took:?} were spent on waiting"
    );
    assert_eq!(exchange(&mut first, &get()).status, 200, "who is in is served");
    assert!(world.is_running());
    drop(crowd);
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200);
}

#[test]
fn a_stderr_that_nobody_reads_holds_nothing_up() {
    let origin = Origin::plain();
    let folder = gateway(origin.address).key("\"sales\"").write();
    let command = closegate_with_files(folder.path(), 128);
    let (mut world, _unread) = Spawned::start_unread(command, folder);
    let mut first = world.connect();
    assert_eq!(exchange(&mut first, &get()).status, 200);
    // Of these the acceptor has something to say.
    let crowd: Vec<Raw> = (0..200).map(|_| world.connect()).collect();
    for _ in 0..200 {
        assert_eq!(exchange(&mut first, &get()).status, 200);
    }
    drop(crowd);
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200, "the acceptor goes on");
    assert_eq!(world.ask_admin("/readyz").status, 200, "so does the admin listener");
    world.signal(rustix::process::Signal::TERM);
    assert_eq!(world.wait().code(), Some(0));
}

#[test]
fn too_many_upstream_connections_are_overloaded() {
    let finish = Signal::default();
    let go_on = finish.clone();
    let origin = Origin::start(move |conversation| {
        while conversation.request().is_some() {
            go_on.wait();
            conversation.send(WHOLE);
        }
    });
    let world = gateway(origin.address).key("\"sales\"").set("upstream", "max_connections = 1").start();
    let mut first = world.connect();
    assert!(first.send(get()));
    origin.wait_for(1);
    let answer = exchange(&mut world.connect(), &get());
    assert_error(&answer, 503, "overloaded", "the second of one");
    assert_eq!((origin.connections(), origin.seen().len()), (1, 1));
    assert_eq!(record(&world, 1)["code"], "overloaded");
    finish.give();
    assert_eq!(first.answer().status, 200);
    assert_eq!(exchange(&mut world.connect(), &get()).status, 200, "there is room again");
}

#[test]
fn an_idle_connection_of_another_credential_makes_room() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .key("\"sales\", \"other\"")
        .file("other.secret", "another-secret-of-another-credential")
        .set("credentials.other", "bearer = { file = \"other.secret\" }")
        .set("upstream", "max_connections = 1")
        .start();
    for (number, path) in ["/sales/api/v1/me/", "/other/api/v1/me/", "/sales/api/v1/me/"].into_iter().enumerate() {
        assert_eq!(world.get(path, "").status, 200, "{path}");
        assert_eq!(origin.connections(), number + 1, "a connection belongs to one credential");
    }
}
