//! The record of one request while it is under way: whatever happens, it is closed exactly once (invariant 7).

use std::rc::Rc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, HeaderName, header};

use super::error::ProxyError;
use super::upload::Upload;
use crate::edge::{Arrival, Line};
use crate::id::RequestId;
use crate::keys;
use crate::telemetry::{Answerer, Core, Label, Record};

/// An open record; closes itself when dropped, then as that of a client that left.
pub(super) struct Ledger {
    pub(super) record: Record,
    core: Rc<Core>,
    line: Rc<Line>,
    number: Option<u64>,
    upload: Option<Upload>,
    closed: bool,
}

impl Ledger {
    /// Opens the record of a request as it arrived.
    pub(super) fn open(core: &Rc<Core>, arrival: &Arrival, parts: &Parts) -> Box<Self> {
        let message = arrival.verdict.ok();
        // A refused message has a stand-in for its request: nothing of that is the client's.
        let seen = message.map(|_| parts);
        let text = |name: HeaderName| seen.and_then(|parts| parts.headers.get(name).cloned());
        let record = Record {
            started: message.map_or_else(Instant::now, |message| message.at),
            began: None,
            request_id: seen.and_then(|parts| adopted(&parts.headers)).unwrap_or_else(|| core.request_id()),
            client: arrival.peer,
            key: Label::NONE,
            route: Label::NONE,
            credential: Label::NONE,
            method: seen.map(|parts| parts.method.clone()),
            target: seen.and_then(|parts| parts.uri.path_and_query().cloned()),
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
            retries: 0,
            retry_reason: None,
            redactions: 0,
            truncated: false,
        };
        let number = message.map(|message| message.number);
        Box::new(Self { record, core: core.clone(), line: arrival.line.clone(), number, upload: None, closed: false })
    }

    /// Notes the route, and that a request is in flight on it.
    pub(super) fn enter(&mut self, route: Label, credential: Label) {
        self.record.route = route;
        self.record.credential = credential;
        self.record.began = Some(route);
        self.core.begin(route);
    }

    /// Notes the body whose bytes are counted.
    pub(super) fn watch(&mut self, upload: Upload) {
        self.upload = Some(upload);
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
        if matches!(error, ProxyError::ClientLeft) {
            self.record.origin = Answerer::Client;
        } else {
            self.record.origin = Answerer::Gateway;
            self.record.code = Some(telling.code);
        }
        self.close();
    }

    /// Closes the record as it stands.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.record.request_bytes = self.upload.as_ref().map_or(0, Upload::bytes);
        self.core.finish(&self.record);
        if let Some(number) = self.number {
            self.line.conclude(number);
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if !self.closed {
            self.record.status = 499;
            self.record.code = None;
            self.record.origin = Answerer::Client;
            self.close();
        }
    }
}

fn adopted(headers: &HeaderMap) -> Option<RequestId> {
    // A key would end in logs.
    RequestId::adopt(headers.get("x-request-id")?).filter(|id| !keys::mentions_key(id.as_str()))
}
