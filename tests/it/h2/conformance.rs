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
        if fate != *expected && !is_coarse(fate, *expected) {
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

/// Whether a connection ends by PROTOCOL_ERROR for what has a code of its own: the codec names few of them.
fn is_coarse(fate: Fate, expected: Fate) -> bool {
    fate == Fate::Connection(PROTOCOL_ERROR) && matches!(expected, Fate::Connection(code) if code != NO_ERROR)
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
