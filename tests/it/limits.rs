//! Limits and time-outs of `[listen]`, and how a gateway ends (security.md 8, 12, 34, 39).

use std::iter::repeat_with;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use closegate::app::End;
use socket2::{Domain, Socket, Type};

use crate::origin::Origin;
use crate::raw::{Answer, Raw};
use crate::refusal::{Wall, assert_goes_on, assert_own, get, head, post};
use crate::spawned::{self, closegate_with_files};
use crate::world::{KEY, RUNTIME, World, gateway};

#[test]
fn line_08_a_head_has_a_size() {
    let mut wall = Wall::new(|setup| setup.set("listen", "max_header_bytes = \"1KiB\""));
    wall.passes(sized_get(1024));
    wall.refuses(sized_get(1025), 431, "headers_too_large");
    wall.refuses(sized_get(300_000), 431, "headers_too_large");
    // Nobody waits for the end of a head that is too large already.
    wall.refuses(format!("GET /sales/ HTTP/1.1\r\nX: {}", "y".repeat(1024)), 431, "headers_too_large");
    wall.refuses(format!("GET /sales/ HTTP/1.1\r\n{}", "X: y\r\n".repeat(200)), 431, "headers_too_large");
    let mut client = wall.world.connect();
    client.send(get("") + &sized_get(1025));
    wall.note_pass(&client.answer());
    wall.note_refusal(&client.answer(), 431, "headers_too_large", "the second of two");
    assert!(client.ends());
    wall.stands();
}

#[test]
fn line_08_a_target_has_a_length() {
    let mut wall = Wall::new(|setup| setup.set("listen", "max_uri_bytes = \"64B\""));
    let target = |length: usize| {
        let path = "/sales/api/v1/me/?";
        format!("{path}{}", "x".repeat(length - path.len()))
    };
    let line = |length| format!("GET {} HTTP/1.1", target(length));
    wall.passes(head(&line(64), ""));
    wall.refuses(head(&line(65), ""), 414, "uri_too_long");
    wall.refuses(head(&line(30_000), ""), 414, "uri_too_long");
    wall.refuses(head(&line(300_000), ""), 414, "uri_too_long");
    wall.refuses(format!("GET {}", target(40_000)), 414, "uri_too_long");
    wall.stands();
}

#[test]
fn line_08_a_head_has_so_many_lines() {
    for limit in [3, 100, 300] {
        let mut wall = Wall::new(|setup| setup.set("listen", &format!("max_headers = {limit}")));
        // Host and the key are two.
        wall.passes(get(&"X: y\r\n".repeat(limit - 2)));
        wall.refuses(get(&"X: y\r\n".repeat(limit - 1)), 431, "headers_too_large");
        wall.stands();
    }
}

#[test]
fn line_08_the_greatest_limits_are_served() {
    let mut wall = Wall::new(|setup| {
        setup.set("listen", "max_header_bytes = \"1MiB\"\nmax_uri_bytes = \"65533B\"\nmax_headers = 4096")
    });
    let seen = wall.passes(sized_get(900_000));
    assert_eq!(seen.values("x")[0].len(), 900_000 - get("X: \r\n").len());
    // Below the prefix, which is stripped, so that the upstream's own limit is not met.
    let seen = wall.passes(head(&format!("GET /sales/api/v1/me/?{} HTTP/1.1", "x".repeat(65_000)), ""));
    assert_eq!(seen.line().len(), "GET /api/v1/me/? HTTP/1.1".len() + 65_000);
    wall.passes(get(&"X: y\r\n".repeat(4000)));
    wall.stands();
}

#[test]
fn line_08_a_body_has_a_size() {
    let mut wall = Wall::new(|setup| setup.set("listen", "max_body = \"1KiB\""));
    let (fits, exceeds) = ("x".repeat(1024), "x".repeat(1025));
    let length = |body: &str| post(&format!("Content-Length: {}\r\n", body.len())) + body;
    let chunked = |pieces: &[&str]| {
        let chunks = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
        post("Transfer-Encoding: chunked\r\n") + &chunks.collect::<String>() + "0\r\n\r\n"
    };
    wall.refuses(length(&exceeds), 413, "body_too_large");
    wall.refuses(post("Content-Length: 9999999999999999999\r\n") + "x", 413, "body_too_large");
    assert_eq!(wall.origin.connections(), 0, "a length is refused before anything is sent");
    assert_eq!(wall.passes(length(&fits)).body.len(), 1024);
    assert_eq!(wall.passes(chunked(&[&fits])).body.len(), 1024);
    assert_eq!(wall.passes(chunked(&["x"; 1024])).body.len(), 1024);
    wall.refuses(chunked(&[&exceeds]), 413, "body_too_large");
    wall.refuses(chunked(&["x"; 1025]), 413, "body_too_large");
    wall.refuses(chunked(&[&fits, "x"]), 413, "body_too_large");
    // Framing comes first: a chunk's size says nothing about what will come.
    wall.refuses(post("Transfer-Encoding: chunked\r\n") + "fffffff\r\n" + &exceeds, 413, "body_too_large");
    wall.stands();
}

#[test]
fn line_12_a_client_that_is_refused_during_its_upload_can_read_why() {
    let mut wall = Wall::new(|setup| setup.set("listen", "max_body = \"1MiB\""));
    let upload = vec![b'x'; 5_000_000];
    let keyless = "POST /sales/api/v1/lead/ HTTP/1.1\r\nHost: localhost\r\n";
    let heads = [
        (format!("{keyless}Content-Length: 5000000\r\n\r\n"), 401, "key_missing"),
        (format!("{keyless}Transfer-Encoding: chunked\r\n\r\n4c4b40\r\n"), 401, "key_missing"),
        (post("Content-Length: 5000000\r\n"), 413, "body_too_large"),
        (post("Transfer-Encoding: chunked\r\n") + "4c4b40\r\n", 413, "body_too_large"),
        (post("Transfer-Encoding: chunked\r\n") + "nothing\r\n", 400, "request_malformed"),
        (post("Content-Length: 5000000\r\nContent-Length: 5000000\r\n"), 400, "request_malformed"),
        ("GET / HTTP/1.1\r\nX: ".to_owned(), 431, "headers_too_large"),
    ];
    for (head, status, code) in heads {
        let mut client = wall.world.connect();
        client.send(&head);
        // It sends everything before it looks, as most clients do.
        assert!(client.send(&upload), "the connection was reset under {head}");
        wall.note_refusal(&client.answer(), status, code, &head);
        assert!(client.ends());
    }
    wall.stands();
}

#[test]
fn line_12_a_refused_client_that_stays_gives_its_place_back() {
    let mut wall = Wall::new(|setup| setup.set("listen", "max_connections = 1"));
    let mut stays = wall.world.connect();
    stays.send(post("Content-Length: 5\r\nContent-Length: 5\r\n"));
    wall.note_refusal(&stays.answer(), 400, "request_malformed", "two lengths");
    let mut next = wall.world.connect();
    next.send(get(""));
    wall.note_pass(&next.answer());
    wall.stands();
}

#[test]
fn line_34_a_head_that_does_not_come_is_timed_out() {
    let mut wall = Wall::new(|setup| setup.set("listen", "header_timeout = \"300ms\""));
    for partial in ["G", "GET /sales/api/v1/me/", "GET /sales/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n"] {
        wall.refuses(partial, 408, "request_timeout");
    }
    wall.refuses(get("").trim_end_matches('\n'), 408, "request_timeout");
    wall.stands_untouched();
}

#[test]
fn line_34_a_head_in_drips_is_timed_out() {
    let mut wall = Wall::new(|setup| setup.set("listen", "header_timeout = \"300ms\""));
    let mut client = wall.world.connect();
    let head = sized_get(10_000);
    let drips = head.as_bytes().chunks(1);
    let mut unsent = drips.skip_while(|drip| client.send(drip) && !client.stirs_within(Duration::from_millis(20)));
    assert!(unsent.next().is_some(), "each drip bought more time");
    wall.note_refusal(&client.answer(), 408, "request_timeout", "drips");
    assert!(client.ends());
    wall.stands_untouched();
}

#[test]
fn line_34_a_pipelined_head_that_does_not_come_is_timed_out_in_its_turn() {
    let gate = Gate::new();
    let world = gateway(gate.origin.address).key("\"sales\"").set("listen", "header_timeout = \"300ms\"").start();
    let mut client = world.connect();
    client.send(get("") + "GET /sales/api/v1/me/ HTTP/1.1\r\n");
    gate.origin.wait_for(1);
    // A head that began later has timed out by now, so the first has as well, behind an answer that is not there yet.
    let mut later = world.connect();
    later.send("GET ");
    assert_own(&later.answer(), 408, "request_timeout", "alone");
    gate.open();
    assert_eq!(client.answer().status, 200);
    assert_own(&client.answer(), 408, "request_timeout", "behind a slow answer");
    assert!(client.ends());
    assert_eq!(gate.origin.seen().len(), 1);
    let records = world.records.wait_for(3);
    assert_eq!(records.iter().filter(|record| record["code"] == "request_timeout").count(), 2);
}

#[test]
fn line_34_the_heads_time_does_not_end_an_idle_connection() {
    let mut wall = Wall::new(|setup| setup.set("listen", "header_timeout = \"300ms\""));
    let (mut used, mut fresh) = (wall.world.connect(), wall.world.connect());
    used.send(get(""));
    wall.note_pass(&used.answer());
    wall.refuses("GET ", 408, "request_timeout");
    wall.refuses("GET ", 408, "request_timeout");
    for client in [&mut used, &mut fresh] {
        client.send(get(""));
        wall.note_pass(&client.answer());
    }
    wall.stands();
}

#[test]
fn line_34_a_body_that_does_not_come_is_timed_out() {
    let mut wall = Wall::new(|setup| setup.set("listen", "body_timeout = \"300ms\""));
    for stalled in [
        post("Content-Length: 10\r\n"),
        post("Content-Length: 10\r\n") + "hello",
        post("Transfer-Encoding: chunked\r\n"),
        post("Transfer-Encoding: chunked\r\n") + "5\r\nhe",
        post("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n",
        post("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n",
        post("Content-Length: 10\r\nExpect: 100-continue\r\n"),
    ] {
        if !stalled.contains("Expect") {
            wall.refuses(stalled, 408, "request_timeout");
            continue;
        }
        let mut client = wall.world.connect();
        client.send(stalled);
        assert_eq!(client.answer().status, 100);
        wall.note_refusal(&client.answer(), 408, "request_timeout", "a 100 and then nothing");
        assert!(client.ends());
    }
    wall.origin.wait_for_ends(wall.origin.connections());
    wall.stands();
}

#[test]
fn line_34_a_body_that_goes_on_coming_is_not_timed_out() {
    let mut wall = Wall::new(|setup| setup.set("listen", "body_timeout = \"1s\""));
    let mut client = wall.world.connect();
    client.send(post("Content-Length: 6\r\n"));
    for _ in 0..6 {
        assert!(!client.stirs_within(Duration::from_millis(250)));
        client.send("x");
    }
    wall.note_pass(&client.answer());
    assert_eq!(wall.origin.seen()[0].body, b"xxxxxx");
    wall.stands();
}

#[test]
fn line_34_an_idle_connection_ends_without_a_word() {
    let mut wall = Wall::new(|setup| setup.set("listen", "idle_timeout = \"300ms\""));
    let (mut used, mut fresh) = (wall.world.connect(), wall.world.connect());
    used.send(get(""));
    wall.note_pass(&used.answer());
    assert!(used.ends());
    assert!(fresh.ends());
    wall.stands();
}

#[test]
fn line_34_an_empty_line_after_a_body_is_idle_time() {
    for blank in ["\r", "\r\n"] {
        let mut wall = Wall::new(|setup| setup.set("listen", "header_timeout = \"300ms\"\nidle_timeout = \"900ms\""));
        let (mut used, mut fresh) = (wall.world.connect(), wall.world.connect());
        used.send(post("Content-Length: 5\r\n") + "hello" + blank);
        wall.note_pass(&used.answer());
        fresh.send(blank);
        // A head's time passes.
        wall.refuses("GET ", 408, "request_timeout");
        for client in [&mut used, &mut fresh] {
            client.send(&"\r\n"[blank.len()..]);
            client.send(get(""));
            wall.note_pass(&client.answer());
            client.send(blank);
        }
        for client in [&mut used, &mut fresh] {
            assert!(client.ends(), "an empty line was answered");
        }
        wall.stands();
    }
}

#[test]
fn line_34_no_time_of_the_clients_runs_while_an_answer_is_waited_for() {
    let whole = get("");
    let (front, back) = whole.split_at(30);
    let upload = post("Content-Length: 10\r\n") + "hello";
    for (setting, pieces, late) in [
        ("idle_timeout", ["", &whole], ""),
        ("header_timeout", [front, back], front),
        ("body_timeout", [&upload, "world"], &upload),
    ] {
        let gate = Gate::new();
        let world =
            gateway(gate.origin.address).key("\"sales\"").set("listen", &format!("{setting} = \"300ms\"")).start();
        let mut client = world.connect();
        for piece in pieces {
            client.send(piece);
            // By the time that another is answered, the piece has been read.
            assert_eq!(world.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 401);
        }
        gate.origin.wait_for(1);
        for _ in 0..2 {
            let mut other = world.connect();
            other.send(late);
            while !other.part().is_empty() {}
        }
        // The time has passed for others that came later.
        gate.open();
        assert_eq!(client.answer().status, 200, "{setting}");
        if setting == "idle_timeout" {
            assert!(client.ends(), "the idle time does not begin after the answer");
        }
    }
}

#[test]
fn line_34_a_client_that_takes_nothing_of_its_answer_is_let_go() {
    let origin = Origin::start(|conversation| {
        if conversation.request().is_some() {
            conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
            let piece = vec![b'x'; 1 << 20];
            while conversation.send(&piece) {}
        }
    });
    let world = gateway(origin.address).key("\"sales\"").set("listen", "idle_timeout = \"300ms\"").start();
    let mut client = world.connect();
    client.send(get(""));
    origin.wait_for_ends(1);
    let record = &world.records.wait_for(1)[0];
    assert_eq!((&record["status"], &record["origin"]), (&499.into(), &"client".into()));
    assert!(!client.answer().whole);
}

#[test]
fn line_34_a_client_that_takes_its_answer_slowly_is_served() {
    let origin =
        Origin::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: 6000000\r\n\r\n{}", "x".repeat(6_000_000)));
    let world = gateway(origin.address).key("\"sales\"").set("listen", "idle_timeout = \"1s\"").start();
    let mut client = narrow(world.proxy);
    client.send(get(""));
    let mut answer = client.head();
    let mut pauses = 0;
    while answer.body.len() < 6_000_000 {
        let part = client.part();
        assert!(!part.is_empty(), "cut after {} bytes and {pauses} pauses", answer.body.len());
        answer.body.extend(part);
        // Each pause is well below the idle time, all of them together far above; what is left at the end of them has
        // come from the upstream long ago.
        if answer.body.len() > 5_500_000 + pauses * 50_000 {
            pauses += 1;
            pause(Duration::from_millis(250));
        }
    }
    assert_eq!(answer.body.len(), 6_000_000);
    assert_eq!(world.records.wait_for(1)[0]["status"], 200);
}

#[test]
fn line_34_a_client_that_takes_a_long_answer_slowly_is_served() {
    const LENGTH: usize = 12_000_000;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n{}", "x".repeat(LENGTH));
    let origin = Origin::answering(answer);
    let world = gateway(origin.address).key("\"sales\"").set("listen", "idle_timeout = \"1s\"").start();
    let mut client = narrow(world.proxy);
    client.send(get(""));
    let mut answer = client.head();
    let mut pauses = 0;
    while answer.body.len() < LENGTH {
        let part = client.part();
        assert!(!part.is_empty(), "cut after {} bytes and {pauses} pauses", answer.body.len());
        answer.body.extend(part);
        // In the idle time far less is taken than the system would keep for the client, and far more than nothing.
        if pauses < 12 && answer.body.len() > pauses * 50_000 {
            pauses += 1;
            pause(Duration::from_millis(250));
        }
    }
    assert_eq!(world.records.wait_for(1)[0]["status"], 200);
}

#[test]
fn one_connection_too_many_waits_in_the_kernels_queue() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").set("listen", "max_connections = 2").start();
    let mut inside = [world.connect(), world.connect()];
    inside.iter_mut().for_each(assert_goes_on);
    let waiting: Vec<Raw> = repeat_with(|| {
        let mut client = world.connect();
        client.send(head("GET /sales/api/v1/me/?waited HTTP/1.1", ""));
        client
    })
    .take(8)
    .collect();
    for _ in 0..20 {
        inside.iter_mut().for_each(assert_goes_on);
    }
    assert_eq!(world.metric("closegate_connections{listener=\"default\"}"), 2.0);
    assert!(!origin.seen().iter().any(|seen| seen.line().contains("waited")));
    drop(inside);
    for mut client in waiting {
        // Each is served once one that came before it has left.
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn one_connection_too_many_from_one_address_is_closed() {
    let origin = Origin::plain();
    let world = gateway(origin.address).key("\"sales\"").set("listen", "max_connections_per_peer = 2").start();
    let mut inside = [world.connect(), world.connect()];
    inside.iter_mut().for_each(assert_goes_on);
    for _ in 0..3 {
        assert!(world.connect().ends(), "a third connection was let in");
    }
    // Others are not concerned.
    let mut other = from(Ipv4Addr::new(127, 0, 0, 2), world.proxy);
    assert_goes_on(&mut other);
    inside.iter_mut().for_each(assert_goes_on);
    drop(inside);
    let come_again = repeat_with(|| {
        let mut client = world.connect();
        client.send(get(""));
        !client.ends()
    });
    assert!(come_again.take(10_000).any(|served| served), "the places were not given back");
}

#[test]
fn line_39_draining_ends_what_is_idle_and_finishes_what_is_in_flight() {
    let gate = Gate::new();
    let mut world = gateway(gate.origin.address).key("\"sales\"").start();
    let address = world.proxy;
    let mut fresh = world.connect();
    let mut partial = world.connect();
    partial.send("GET /sales/api/v1/me/ HTTP/1.1\r\n");
    let mut keyless = world.connect();
    keyless.send("GET /sales/api/v1/me/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(keyless.answer().status, 401);
    let (mut busy, mut uploading) = (world.connect(), world.connect());
    busy.send(get(""));
    uploading.send(post("Content-Length: 10\r\n") + "hello");
    gate.origin.wait_for(1);
    while gate.origin.connections() < 2 {
        std::thread::yield_now();
    }
    let stopped = world.stop_beside();
    for client in [&mut keyless, &mut fresh, &mut partial] {
        assert!(client.ends(), "an idle connection goes on");
    }
    let refused = repeat_with(|| TcpStream::connect(address)).take(1_000_000).any(|attempt| attempt.is_err());
    assert!(refused, "new connections are still taken");
    gate.open();
    uploading.send("world");
    for client in [&mut busy, &mut uploading] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.whole, answer.header("connection")), (200, true, Some("close")));
        assert!(client.ends());
    }
    assert_eq!(RUNTIME.block_on(stopped).unwrap(), End::Drained);
    assert_eq!(world.records.wait_for(3).len(), 3, "each has its record");
}

#[test]
fn line_39_what_takes_longer_than_the_grace_time_is_dropped() {
    let gate = Gate::new();
    let mut world = gateway(gate.origin.address).key("\"sales\"").set("listen", "shutdown_grace = \"300ms\"").start();
    let mut client = world.connect();
    client.send(get(""));
    gate.origin.wait_for(1);
    let stopped = world.stop_beside();
    assert!(client.ends());
    assert_eq!(RUNTIME.block_on(stopped).unwrap(), End::Dropped);
    assert_eq!(world.records.wait_for(1).len(), 1, "what is dropped has its record");
}

#[test]
fn line_39_a_refused_client_that_goes_on_sending_is_not_waited_for() {
    let mut wall = Wall::new(|setup| setup.set("listen", "shutdown_grace = \"2s\""));
    let mut client = wall.world.connect();
    client.send(post("Content-Length: 10\r\nContent-Length: 10\r\n") + "hello");
    wall.note_refusal(&client.answer(), 400, "request_malformed", "two lengths");
    assert!(client.ends());
    let stopped = wall.world.stop_beside();
    assert_eq!(RUNTIME.block_on(stopped).unwrap(), End::Drained, "the client was waited for");
    wall.stands();
}

#[test]
fn line_39_during_the_delay_requests_are_served_and_told_to_close() {
    let origin = Origin::plain();
    let mut world = gateway(origin.address).key("\"sales\"").set("listen", "shutdown_delay = \"2s\"").start();
    assert_eq!(ready(&world).status, 200);
    let mut kept = world.connect();
    assert_goes_on(&mut kept);
    let stopped = world.stop_beside();
    assert!(repeat_with(|| ready(&world).status).take(10_000).any(|status| status == 503));
    // Readiness is told first, the workers a moment later.
    let told = repeat_with(|| world.get("/sales/api/v1/me/", "")).take(10_000).find(|answer| {
        assert_eq!(answer.status, 200);
        answer.header("connection") == Some("close")
    });
    assert!(told.is_some(), "no answer said that it is the last");
    kept.send(get(""));
    let answer = kept.answer();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(kept.ends());
    assert!(!stopped.is_finished(), "the delay is still running");
    assert_eq!(RUNTIME.block_on(stopped).unwrap(), End::Drained);
}

#[test]
fn line_38_a_gateway_without_files_for_its_workers_does_not_start() {
    let origin = Origin::plain();
    let folder = gateway(origin.address).replace("listen", "address = \"127.0.0.1:0\"\nworkers = 64").write();
    for files in (40..280).step_by(6) {
        let ended = spawned::run(&mut closegate_with_files(folder.path(), files));
        // The configuration is not at fault, whatever is read in vain: another attempt may find files enough.
        assert_eq!(ended.code, Some(1), "{files}: {}", ended.stderr);
        assert!(ended.stderr.contains("Too many open files"), "{files}: {}", ended.stderr);
        assert!(ended.stderr.contains("hint: let the process open more files"), "{files}: {}", ended.stderr);
        assert!(!ended.stderr.contains("the proxy listens"), "{files}: {}", ended.stderr);
    }
}

/// An upstream whose answers wait until it is opened.
struct Gate {
    origin: Origin,
    release: Sender<()>,
}

impl Gate {
    fn new() -> Self {
        let (release, held) = mpsc::channel();
        let held = Mutex::new(held);
        let origin = Origin::start(move |conversation| {
            while conversation.request().is_some() {
                // An error is the gate being gone: nobody waits for the answer any more.
                let _ = held.lock().unwrap().recv();
                conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
            }
        });
        Self { origin, release }
    }

    /// Lets a few answers go.
    fn open(&self) {
        for _ in 0..8 {
            self.release.send(()).unwrap();
        }
    }
}

/// A GET whose head has so many bytes.
fn sized_get(bytes: usize) -> String {
    let padding = bytes - get("X: \r\n").len();
    get(&format!("X: {}\r\n", "y".repeat(padding)))
}

fn ready(world: &World) -> Answer {
    let mut client = Raw::connect(world.admin);
    client.send("GET /readyz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n");
    client.answer()
}

/// A connection with small buffers: most of a long answer waits in the gateway.
fn narrow(to: SocketAddr) -> Raw {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(&to.into()).unwrap();
    Raw::over(socket.into())
}

/// A connection that comes from the address.
fn from(address: Ipv4Addr, to: SocketAddr) -> Raw {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Raw::over(socket.into())
}

/// A client that does something else for a while: it is the pause that is tested.
fn pause(time: Duration) {
    let (_sender, never) = mpsc::channel::<()>();
    assert!(never.recv_timeout(time).is_err());
}

#[test]
fn a_head_that_begins_before_the_answer_before_it_keeps_its_own_time() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let origin = Origin::start(move |conversation| {
        conversation.request();
        held.lock().unwrap().recv().unwrap();
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        conversation.wait_for_end();
    });
    let world = gateway(origin.address)
        .key("\"sales\"")
        .set("listen", "header_timeout = \"500ms\"\nidle_timeout = \"1h\"")
        .start();
    let mut client = world.connect();
    client.send(format!("GET /sales/a HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n\r\nGET /sales/b HT"));
    origin.wait_for(1);
    release.send(()).unwrap();
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 408, "and not after the idle time");
}
