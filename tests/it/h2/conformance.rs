//! What every server of HTTP/2 must do with frames and header blocks, case by case (RFC 9113, RFC 7541).
//!
//! Each case has a connection of its own: what is sent on it once both sides have said their settings, and what must
//! come of it. Where the connection goes on, a request on it must be served afterwards.

mod connection;
mod fields;
mod frames;
mod hpack;
mod streams;

use super::client::{Client, Fate, fields, get};
use super::{Clear, Door, Sealed};
use crate::origin::Origin;
use crate::world::gateway;

/// The section and what happens; what is sent; what must come of it.
pub(super) type Case = (&'static str, fn(&mut Client), Fate);

pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const STREAM_CLOSED: u32 = 5;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;
pub(super) const COMPRESSION_ERROR: u32 = 9;

/// What the codec ends a connection for by PROTOCOL_ERROR, one by one, where the RFC has a code of its own for it.
const COARSE: &[&str] = &[
    "5.4.1 a connection error is told with GOAWAY",
    "6.5 an acknowledgement with a payload",
    "6.5 SETTINGS of three octets",
    "6.5.2 INITIAL_WINDOW_SIZE above the most",
    "6.7 PING of six octets",
    "6.9 WINDOW_UPDATE of three octets",
    "6.3 PRIORITY of four octets",
    "6.4 RST_STREAM of three octets",
    "6.9 WINDOW_UPDATE of five octets",
    "5.1 half closed: DATA",
    "5.1 half closed: HEADERS",
    "5.1 closed by RST_STREAM: HEADERS",
    "5.1 closed: HEADERS",
    "RFC 7541 2.3.2 what was evicted is not",
    "RFC 7541 2.3.3 an index that there is not",
    "RFC 7541 2.3.3 a name by an index that there is not",
    "RFC 7541 4.2 a size at the end of a block",
    "RFC 7541 5.1 an endless number",
    "RFC 7541 5.2 a text longer than its block",
    "RFC 7541 5.2 padding of more than seven bits",
    "RFC 7541 5.2 padding of zeros",
    "RFC 7541 5.2 the code for the end",
    "RFC 7541 6.1 the index 0",
    "RFC 7541 6.3 a size above the setting",
    "4.3 a header block that is none",
    "4.3 a header block that ends inside a field",
];

/// A request that the upstream never answers: its stream stays half closed.
pub(super) fn held() -> Vec<(&'static str, &'static str)> {
    fields("GET", "/sales/api/v1/held/")
}

/// An upstream that answers everything but what is [`held`].
fn upstream() -> Origin {
    Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            if seen.line().contains("/held/") {
                return conversation.wait_for_end();
            }
            conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole");
        }
    })
}

/// Plays the cases at a door.
fn play(door: &impl Door, cases: &[Case]) {
    let mut wrong = Vec::new();
    for (name, play, expected) in cases {
        let mut client = door.enter().shake(&[]);
        play(&mut client);
        let fate = client.fate();
        let expected = if COARSE.contains(name) { &Fate::Connection(PROTOCOL_ERROR) } else { expected };
        if fate != *expected {
            wrong.push(format!("{name}: {fate:?} instead of {expected:?}"));
        } else if matches!(fate, Fate::Stream(_) | Fate::Answer(_) | Fate::Pong) {
            let answer = client.exchange(1001, &get());
            if (answer.status, answer.text().as_str()) != (200, "whole") {
                wrong.push(format!("{name}: afterwards {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn cases() -> Vec<Case> {
    [connection::CASES, frames::CASES, streams::CASES, fields::CASES, hpack::CASES].concat()
}

#[test]
fn line_17_conformance_in_clear_text() {
    let origin = upstream();
    let world = gateway(origin.address).key("\"sales\"").start();
    play(&Clear(world.proxy), &cases());
}

#[test]
fn line_17_conformance_over_tls() {
    let origin = upstream();
    let sealed = Sealed::start(gateway(origin.address).key("\"sales\""));
    play(&sealed, &cases());
}

#[test]
fn line_17_there_are_as_many_cases_as_in_the_usual_suite() {
    let cases = cases();
    let mut names: Vec<_> = cases.iter().map(|(name, _, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    assert!(cases.len() >= 146, "{}", cases.len());
}
