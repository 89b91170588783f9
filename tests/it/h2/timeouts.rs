//! How long a client of HTTP/2 may take, and how long one is waited for that does not go (security.md 34, 39).

use closegate::app::End as Ended;

use super::client::{Client, End, INITIAL_WINDOW_SIZE, block, fields, frame, get, post};
use crate::faults::assert_error;
use crate::frames::{CANCEL, END_STREAM, HEADERS};
use crate::origin::Origin;
use crate::world::{RUNTIME, World, gateway};

fn world(origin: &Origin, limits: &str) -> World {
    gateway(origin.address).key("\"sales\"").set("listen", limits).start()
}

/// Reads and answers nothing until the gateway ends the connection.
fn is_hung_up_on(client: &mut Client) {
    while client.next().is_some() {}
}

#[test]
fn line_34_the_pieces_of_a_request_take_body_timeout() {
    let origin = Origin::plain();
    let world = world(&origin, "body_timeout = \"300ms\"");
    let mut client = Client::connect(world.proxy).shake(&[]);
    assert!(client.begin(1, &post()));
    assert_error(&client.answer(1), 408, "request_timeout", "a body that never comes");
    assert_eq!(client.exchange(3, &get()).status, 200, "the connection goes on");
    assert_eq!(origin.wait_for(1).len(), 1, "and the other never was a request");
}

#[test]
fn line_34_a_reader_of_an_answer_takes_idle_timeout() {
    let body = "x".repeat(1 << 20);
    let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let world = world(&origin, "idle_timeout = \"300ms\"");
    // The head may be sent, and not a byte of the body.
    let mut client = Client::connect(world.proxy).shake(&[(INITIAL_WINDOW_SIZE, 0)]);
    assert!(client.ask(1, &get()));
    let (answer, end) = client.ended(1);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert!(matches!(end, End::Reset(CANCEL) | End::Gone), "{end:?}");
    is_hung_up_on(&mut client);
    assert_eq!(world.records.wait_for(1)[0]["status"], 499, "the client did not take it");
}

#[test]
fn line_34_a_header_block_takes_idle_timeout() {
    let origin = Origin::plain();
    let world = world(&origin, "idle_timeout = \"300ms\"");
    let mut client = Client::connect(world.proxy).shake(&[]);
    assert!(client.write(&frame(HEADERS, END_STREAM, 1, &block(&fields("GET", "/sales/x")))));
    is_hung_up_on(&mut client);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn line_39_an_idle_client_that_says_nothing_holds_up_no_stop() {
    let origin = Origin::plain();
    for requests in [0, 1] {
        let mut world = world(&origin, "idle_timeout = \"1h\"\nshutdown_grace = \"25s\"");
        let mut client = Client::connect(world.proxy).shake(&[]);
        if requests == 1 {
            assert_eq!(client.exchange(1, &get()).status, 200);
        }
        let ended = world.stop_beside();
        // A PING of the gateway among it is not answered.
        is_hung_up_on(&mut client);
        assert_eq!(RUNTIME.block_on(ended).unwrap(), Ended::Drained, "after {requests} requests");
    }
}
