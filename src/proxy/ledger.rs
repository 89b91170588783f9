//! The record of one request while it is under way: whatever happens, it is closed exactly once (invariant 7).

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::error::ProxyError;
use super::inbound::{Inbound, Shown};
use super::incident;
use super::permit::{Found, Witness};
use super::upload::Upload;
use crate::catalogue::Judgement;
use crate::edge::{self, Arrival, Drain, Line, Peer};
use crate::id::{RequestId, RouteName};
use crate::keys::{Caller, Key, KeySet, Presented, Slot};
use crate::pace::{Place, Share};
use crate::routes::Route;
use crate::telemetry::{Answerer, Client, Core, Label, Record, Retries, masked};

/// An open record; closes itself when dropped, then as that of a client that left.
pub(super) struct Ledger {
    pub(super) record: Record,
    core: Rc<Core>,
    line: Rc<Line>,
    number: Option<u64>,
    upload: Option<Upload>,
    /// The route, once it is known.
    route: Option<RouteName>,
    /// The endpoints that Close counts together with this one, once that is known.
    group: &'static str,
    /// What its answer settles, where the rate limits that it counts against are known.
    pub(super) place: Option<Place>,
    /// Since when it waits for its turn.
    held: Option<Instant>,
    drain: Rc<Drain>,
    /// Its share of what the client behind a trusted proxy may have at once.
    share: Forwarded,
    /// Its place among the requests of its key.
    slot: Slot,
    /// What it presents, and the user at the other end, for when it has waited.
    presented: Presented,
    uid: Option<u32>,
    closed: bool,
}

impl Ledger {
    /// Opens the record of a request as it arrived, without whatever holds one of the keys.
    pub(super) fn open(
        core: &Rc<Core>,
        drain: &Rc<Drain>,
        arrival: &Arrival,
        parts: &Parts,
        shown: &Shown,
        keys: &KeySet,
    ) -> Box<Self> {
        let message = arrival.verdict.ok();
        // A refused message has a stand-in for its request: nothing of that is the client's.
        let seen = message.map(|_| parts);
        let (client, share) = client_of(arrival, seen);
        let sight = shown.sight(keys);
        let clean = |value: &&HeaderValue| !sight.finds_key(value.as_bytes());
        let text = |name: HeaderName| seen.and_then(|parts| parts.headers.get(name).filter(clean).cloned());
        // A path is written with what looks like a key masked; one that holds a key which does not is not written at all.
        let is_clean = |target: &&PathAndQuery| {
            let path = target.path().as_bytes();
            !shown.in_target || !sight.finds_opaque_key(path) && !sight.finds_key(&masked(path))
        };
        let target = seen.and_then(|parts| parts.uri.path_and_query()).filter(is_clean).cloned();
        let adopted = text(HeaderName::from_static("x-request-id")).and_then(|value| RequestId::adopt(&value));
        let record = Record {
            started: message.map_or_else(Instant::now, |message| message.at),
            began: None,
            request_id: adopted.unwrap_or_else(|| core.request_id()),
            client,
            key: Label::NONE,
            route: Label::NONE,
            credential: Label::NONE,
            method: seen.map(|parts| parts.method.clone()),
            target,
            endpoint: None,
            scope: None,
            status: 0,
            code: None,
            origin: Answerer::Gateway,
            attempts: 0,
            paced: std::time::Duration::ZERO,
            upstream_first_byte: None,
            request_bytes: 0,
            response_bytes: 0,
            user_agent: text(header::USER_AGENT),
            traceparent: text(HeaderName::from_static("traceparent")),
            upstream_trace_id: None,
            retries: Retries::default(),
            redactions: 0,
            truncated: false,
        };
        let number = message.map(|message| message.number);
        let (core, drain, line) = (core.clone(), drain.clone(), arrival.line.clone());
        let (upload, route, group, place, held) = (None, None, "none", None, None);
        let (slot, closed) = (Slot::default(), false);
        let (presented, uid) = (Presented::Absent, arrival.peer.uid());
        Box::new(Self {
            record,
            core,
            line,
            number,
            upload,
            route,
            group,
            place,
            held,
            drain,
            share,
            slot,
            presented,
            uid,
            closed,
        })
    }

    /// Notes the route, and that a request is in flight on it.
    fn enter(&mut self, route: &Route) {
        self.record.route = route.label;
        self.record.credential = route.credential_label;
        self.record.began = Some(route.label);
        self.core.begin(route.label);
        self.route = Some(route.name.clone());
    }

    /// Whether the client behind a trusted proxy has as much in flight as one client may have.
    pub(super) fn is_crowded(&self) -> bool {
        matches!(self.share, Forwarded::Refused)
    }

    /// Notes the body whose bytes are counted.
    pub(super) fn watch(&mut self, upload: Upload) {
        self.upload = Some(upload);
    }

    /// Keeps a place among the requests of the key until the record is closed.
    pub(super) fn occupy(&mut self, slot: Slot) {
        self.slot = slot;
    }

    /// Notes what it presents.
    pub(super) fn present(&mut self, presented: Presented) {
        self.presented = presented;
    }

    /// Who presents what it presents, by these keys, now.
    pub(super) fn caller(&self, keys: &KeySet) -> Caller {
        keys.identify(&self.presented, self.uid, SystemTime::now())
    }

    /// Gives back a place that nothing was sent on.
    pub(super) fn give_back(&mut self) {
        if let Some(place) = self.place.take() {
            place.give_back();
        }
    }

    /// The only attempt failed before a byte of it was sent: it is none of its key's day.
    pub(super) fn nothing_sent(&mut self) {
        self.give_back();
        if self.record.attempts == 1 {
            self.slot.return_to_day();
        }
    }

    /// The witness of a second decision: what is noted already stays as it is.
    pub(super) fn again(&mut self) -> Again<'_> {
        Again(self)
    }

    /// Which rate limits it counts against, and as whose it waits for them.
    pub(super) fn share(&self) -> Share {
        Share { group: self.group, key: self.record.key }
    }

    /// It waits for its turn from now on.
    pub(super) fn hold(&mut self) {
        self.held = Some(Instant::now());
    }

    /// It does not wait any longer.
    pub(super) fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.record.paced += held.elapsed();
        }
    }

    /// The first byte of the answer is there; what it waited before it was sent does not count.
    pub(super) fn note_first_byte(&mut self) {
        let since = self.record.started.elapsed();
        self.record.upstream_first_byte = Some(since.saturating_sub(self.record.paced));
    }

    /// Ends the connection with a reset when the answer's end cannot be told otherwise.
    pub(super) fn reset_connection(&self) {
        self.line.reset();
    }

    /// Closes the record of a request that the gateway itself answers.
    pub(super) fn refuse(&mut self, error: &ProxyError, body: usize) {
        let telling = error.telling();
        self.record.status = telling.status;
        self.record.response_bytes = body as u64;
        if let ProxyError::Send(fault) = error {
            incident::upstream_failed(self.route_name(), &self.record.request_id, fault);
        }
        if matches!(error, ProxyError::ClientLeft) {
            self.record.status = LEFT;
            self.record.origin = Answerer::Client;
        } else {
            self.record.origin = Answerer::Gateway;
            self.record.code = Some(telling.code);
        }
        self.close();
    }

    /// Closes the record of a request that the gateway itself answers without refusing it.
    pub(super) fn answer(&mut self, status: StatusCode, body: usize) {
        self.record.status = status.as_u16();
        self.record.response_bytes = body as u64;
        self.close();
    }

    fn route_name(&self) -> &str {
        self.route.as_ref().map_or("none", RouteName::as_str)
    }

    /// Closes the record as it stands.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.release();
        if self.record.redactions > 0 {
            incident::secret_came_back(self.route_name(), &self.record.request_id, self.record.redactions);
        }
        let mut slot = std::mem::take(&mut self.slot);
        if self.record.attempts == 0 {
            slot.return_to_day();
        }
        drop(slot);
        self.record.request_bytes = self.upload.as_ref().map_or(0, Upload::bytes);
        self.core.finish(&self.record);
        if let Some(number) = self.number {
            self.line.conclude(number);
        }
    }
}

/// The witness of a second decision about one request.
pub(super) struct Again<'l>(&'l mut Ledger);

impl Witness for Again<'_> {
    fn identified(&mut self, _: &Key) {}

    fn resolved(&mut self, _: &Found, _: &Inbound, _: Judgement) {}

    fn objected(&mut self, objection: &ProxyError) {
        self.0.objected(objection);
    }
}

impl Witness for Ledger {
    fn identified(&mut self, key: &Key) {
        self.record.key = key.label;
    }

    fn resolved(&mut self, found: &Found, inbound: &Inbound, judgement: Judgement) {
        self.record.key = found.key_label();
        self.enter(found.route());
        // A request counts as what it does (contract.md 4).
        self.record.method = Some(inbound.asks.effective().clone());
        self.record.endpoint = judgement.operation.map(|operation| operation.endpoint);
        self.group = judgement.group(inbound.asks.effective());
        self.record.scope = Some(judgement.demand.strictest().as_str());
    }

    fn objected(&mut self, objection: &ProxyError) {
        self.record.code.get_or_insert(objection.telling().code);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if !self.closed {
            if self.drain.is_gone() {
                self.record.status = ProxyError::Draining.telling().status;
                self.record.code = Some(ProxyError::Draining.telling().code);
                self.record.origin = Answerer::Gateway;
            } else {
                self.record.status = LEFT;
                self.record.code = None;
                self.record.origin = Answerer::Client;
            }
            self.close();
        }
    }
}

/// What is kept for a client that a trusted proxy names.
enum Forwarded {
    /// Nobody spoke for another.
    Nobody,
    /// Given back at the end of the request.
    Taken { _share: edge::Share },
    /// There was none left.
    Refused,
}

/// Who asked: the other end of the connection, or whom a trusted proxy there names.
fn client_of(arrival: &Arrival, seen: Option<&Parts>) -> (Client, Forwarded) {
    if let Some((address, share)) = seen.and_then(|parts| arrival.forwarded(&parts.headers)) {
        let share = share.map_or(Forwarded::Refused, |share| Forwarded::Taken { _share: share });
        return (Client::Address(address), share);
    }
    let client = match arrival.peer {
        Peer::Tcp(address) => Client::Address(address.ip()),
        Peer::Unix(uid) => Client::Unix(uid),
    };
    (client, Forwarded::Nobody)
}

/// The status of a request whose client left (contract.md 6).
const LEFT: u16 = 499;
