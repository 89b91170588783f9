//! What arrived at the simulator: requests byte for byte, the credentials they carried, and what they did wrong.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::wire::Head;

/// A request as it arrived.
#[derive(Clone)]
pub struct Seen {
    /// The method as written.
    pub method: String,
    /// Path and query as written.
    pub target: String,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// Every header line, in order, names as written.
    pub headers: Vec<(String, Bytes)>,
    /// The serial number of its connection, from 1.
    pub connection: usize,
    /// Whether the body arrived to its end; a body that was cut stays incomplete.
    pub complete: bool,
    /// Bytes of the body that arrived.
    pub body_length: u64,
    /// The body's first 64 KiB.
    pub body: Bytes,
    /// SHA-256 of a complete body.
    pub body_digest: Option<[u8; 32]>,
    /// The trailer lines of a chunked body.
    pub trailers: Vec<Bytes>,
}

impl Seen {
    /// The first value of a header, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(each, _)| each.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// Names and lengths only: the headers hold secrets.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        write!(f, "{} {} {names:?} with {} bytes", self.method, self.target, self.body_length)
    }
}

/// A body while it arrives.
pub(super) struct Arriving {
    digest: digest::Context,
    length: u64,
    begins: Vec<u8>,
}

impl Arriving {
    pub(super) fn new() -> Self {
        Self { digest: digest::Context::new(&digest::SHA256), length: 0, begins: Vec::new() }
    }

    pub(super) fn add(&mut self, piece: &[u8]) {
        self.digest.update(piece);
        self.length += piece.len() as u64;
        let room = KEPT_OF_A_BODY - self.begins.len();
        self.begins.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// The requests that arrived lately, and what is to be remembered of all.
pub(super) struct Ledger {
    requests: VecDeque<Seen>,
    forgotten: usize,
    remember: usize,
    authorizations: BTreeSet<String>,
    violations: Vec<String>,
}

impl Ledger {
    /// An empty ledger that keeps so many requests.
    pub(super) fn new(remember: usize) -> Self {
        Self {
            requests: VecDeque::new(),
            forgotten: 0,
            remember: remember.max(1),
            authorizations: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    /// Enters a request whose head has arrived; its number is for [`Ledger::body`].
    pub(super) fn enter(&mut self, head: &Head, connection: usize) -> usize {
        if self.requests.len() == self.remember {
            self.requests.pop_front();
            self.forgotten += 1;
        }
        let values = head.all("authorization").map(|value| String::from_utf8_lossy(value));
        for value in values {
            if !self.authorizations.contains(value.as_ref()) {
                self.authorizations.insert(value.into_owned());
            }
        }
        self.requests.push_back(Seen {
            method: head.method.clone(),
            target: head.target.clone(),
            minor_version: head.minor_version,
            headers: head.headers.clone(),
            connection,
            complete: false,
            body_length: 0,
            body: Bytes::new(),
            body_digest: None,
            trailers: Vec::new(),
        });
        self.total() - 1
    }

    /// Adds the body of a request: the whole of it, or what came before it was cut.
    pub(super) fn body(&mut self, number: usize, arrived: Arriving, trailers: Option<Vec<Bytes>>) {
        let place = number.checked_sub(self.forgotten);
        let Some(seen) = place.and_then(|at| self.requests.get_mut(at)) else { return };
        seen.body_length = arrived.length;
        seen.body = arrived.begins.into();
        if let Some(trailers) = trailers {
            seen.complete = true;
            seen.body_digest = arrived.digest.finish().as_ref().try_into().ok();
            seen.trailers = trailers;
        }
    }

    pub(super) fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    /// How many requests were entered, also those that are forgotten.
    pub(super) fn total(&self) -> usize {
        self.forgotten + self.requests.len()
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        self.requests.iter().cloned().collect()
    }

    pub(super) fn authorizations(&self) -> Vec<String> {
        self.authorizations.iter().cloned().collect()
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.clone()
    }
}

const KEPT_OF_A_BODY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_requests_are_kept_and_no_secret_is_printed() {
        let mut ledger = Ledger::new(2);
        for target in ["/1", "/2", "/3"] {
            let headers = vec![("authorization".to_owned(), Bytes::from_static(b"Bearer hush"))];
            let head = Head { method: "GET".to_owned(), target: target.to_owned(), minor_version: 1, headers };
            let number = ledger.enter(&head, 1);
            let mut body = Arriving::new();
            body.add(target.as_bytes());
            ledger.body(number, body, Some(Vec::new()));
        }
        let seen = ledger.requests();
        assert_eq!(ledger.total(), 3);
        assert_eq!((seen.len(), seen[1].target.as_str(), seen[1].body.as_ref()), (2, "/3", b"/3".as_slice()));
        assert!(seen[1].complete && seen[1].body_digest.is_some());
        assert_eq!(ledger.authorizations(), ["Bearer hush"]);
        assert!(!format!("{seen:?}").contains("hush"));
    }
}
