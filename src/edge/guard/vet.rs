//! Follows what a client sends: heads that are judged, bodies that are followed to their end, and what is refused.

use std::time::Instant;

use super::{Armed, BLANK, Guard, HEAD_STAND_IN, Phase, STAND_IN, Vetted, is_blank};
use crate::chunked::Chunks;
use crate::edge::head::{Found, Framing, WireFault, find_end, judge};
use crate::edge::line::{BodyFault, Message};
use crate::edge::stream::Socket;

impl<IO: Socket> Guard<IO> {
    /// Follows the bytes through heads and bodies.
    pub(super) fn vet(&mut self, bytes: &[u8]) -> Vetted {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let step = match &mut self.phase {
                Phase::Head => self.vet_head(rest),
                Phase::Length(left) => {
                    let here = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        self.phase = Phase::Head;
                    }
                    Some(here)
                }
                Phase::Chunks(_) => self.vet_chunks(rest),
                Phase::Refused | Phase::Expired => None,
            };
            match step {
                Some(0) => return Vetted { good: at, refused: false },
                Some(step) => at += step,
                None => return Vetted { good: at, refused: true },
            }
        }
        Vetted { good: at, refused: false }
    }

    /// Bytes of a whole head, 0 when it goes on, nothing when it is refused.
    fn vet_head(&mut self, bytes: &[u8]) -> Option<usize> {
        // RFC 9112 2.2: an empty line before a request is ignored, as old clients send one after a body.
        if is_blank(bytes) {
            return Some(0);
        }
        let blank = if bytes.starts_with(BLANK) { BLANK.len() } else { 0 };
        let head = &bytes[blank..];
        let found = match find_end(head, &self.limits) {
            Ok(Found::Whole(end)) => judge(&head[..end], &self.limits).map(|framing| (end, framing)),
            Ok(Found::Partial) => return Some(0),
            Err(fault) => Err(fault),
        };
        match found {
            Ok((end, framing)) => {
                self.admit(framing);
                Some(blank + end)
            }
            Err(fault) => {
                self.refuse(fault, head);
                None
            }
        }
    }

    fn admit(&mut self, framing: Framing) {
        self.number += 1;
        self.line.note_head(false);
        self.line.push(Ok(Message { number: self.number, at: Instant::now() }));
        self.arm(Armed::Nothing);
        self.phase = match framing {
            Framing::Length(0) => Phase::Head,
            Framing::Length(length) => Phase::Length(length),
            Framing::Chunked => Phase::Chunks(Chunks::begin()),
        };
    }

    /// Refuses the message that begins with these bytes.
    pub(super) fn refuse(&mut self, fault: WireFault, message: &[u8]) {
        self.number += 1;
        self.line.push(Err(fault));
        self.phase = Phase::Refused;
        self.stand_in = if message.starts_with(b"HEAD ") { HEAD_STAND_IN } else { STAND_IN };
    }

    fn vet_chunks(&mut self, bytes: &[u8]) -> Option<usize> {
        let Phase::Chunks(chunks) = &mut self.phase else { return None };
        match chunks.follow(bytes) {
            Ok((here, over)) => {
                if over {
                    self.phase = Phase::Head;
                }
                Some(here)
            }
            Err((_, fault)) => {
                self.line.break_body(self.number, BodyFault::Malformed(fault.0));
                self.phase = Phase::Refused;
                None
            }
        }
    }
}
