//! The admin listener: beside a data plane that has no place left (invariant 8), and what its API does.

mod api;
mod command_line;
mod document;
mod entry;
mod memory;
mod office;

use std::sync::{Mutex, mpsc};

use crate::origin::Origin;
use crate::raw::Raw;
use crate::world::{KEY, World, gateway};

fn admin(world: &World, path: &str) -> (u16, String) {
    let mut client = Raw::connect(world.admin);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"));
    let answer = client.answer();
    (answer.status, answer.text())
}

#[test]
fn the_admin_listener_answers_while_every_place_is_taken() {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |conversation| {
        while conversation.request().is_some() {
            held.lock().unwrap().recv().unwrap();
            conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let world = gateway(origin.address)
        .set("listen", "max_connections = 2")
        .set("upstream", "max_connections = 2")
        .key("\"sales\"")
        .start();
    let ask = || {
        let mut client = world.connect();
        client.send(format!(
            "GET /sales/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nClosegate-Key: {KEY}\r\n\r\n"
        ));
        client
    };
    let mut clients = vec![ask(), ask()];
    origin.wait_for(2);
    // This one waits in the kernel's queue.
    clients.push(ask());
    for path in ["/readyz", "/healthz", "/metrics"] {
        let (status, text) = admin(&world, path);
        assert_eq!(status, 200, "{path}: {text}");
    }
    assert_eq!(world.metric("closegate_connections{listener=\"default\"}"), 2.0);
    assert_eq!(world.metric("closegate_in_flight_requests{route=\"sales\"}"), 2.0);
    for _ in 0..3 {
        release.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
}
