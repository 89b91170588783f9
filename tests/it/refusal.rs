//! What every refusal has in common, asserted in one place: the answer's shape, its record, and what the upstream saw.

use serde_json::Value;

use crate::origin::Origin;
use crate::raw::{Answer, Raw};
use crate::world::{KEY, Setup, World, gateway};

/// A gateway in front of an upstream that sees only what it may see; closed requests are compared with their records
/// at the end, in order.
pub(crate) struct Wall {
    pub origin: Origin,
    pub world: World,
    /// The code (none for what passed), status and request id of each request so far.
    ended: Vec<(Option<&'static str>, u16, String)>,
}

impl Wall {
    /// One worker, one key, one route; the closure adds to that.
    pub(crate) fn new(set: impl FnOnce(Setup) -> Setup) -> Self {
        let origin = Origin::plain();
        let world = set(gateway(origin.address).key("\"sales\"")).start();
        Self { origin, world, ended: Vec::new() }
    }

    /// The gateway refuses the bytes, and ends the connection.
    pub(crate) fn refuses(&mut self, case: impl AsRef<[u8]>, status: u16, code: &'static str) {
        let shown = shown(case.as_ref());
        let mut client = self.world.connect();
        client.send(case);
        let answer = client.answer();
        self.note_refusal(&answer, status, code, &shown);
        assert_eq!(answer.header("connection"), Some("close"), "{shown}");
        assert!(client.ends(), "the connection goes on after {shown}");
    }

    /// Checks a refusal that was read already.
    pub(crate) fn note_refusal(&mut self, answer: &Answer, status: u16, code: &'static str, case: &str) {
        assert_own(answer, status, code, case);
        self.ended.push((Some(code), status, id(answer)));
    }

    /// The same for an answer to HEAD, which has no body.
    pub(crate) fn note_refusal_of_head(&mut self, answer: &Answer, status: u16, code: &'static str, case: &str) {
        assert_own_head(answer, status, code, case);
        self.ended.push((Some(code), status, id(answer)));
    }

    /// The request reaches the upstream, which answers 200; returned is what it saw.
    pub(crate) fn passes(&mut self, case: impl AsRef<[u8]>) -> crate::origin::Seen {
        let shown = shown(case.as_ref());
        let answer = self.world.ask(case);
        assert_eq!((answer.status, answer.code()), (200, None), "{shown}: {answer:?}");
        self.note_pass(&answer);
        self.origin.seen().pop().unwrap()
    }

    /// Notes a request that was answered by the upstream.
    pub(crate) fn note_pass(&mut self, answer: &Answer) {
        self.ended.push((None, answer.status, id(answer)));
    }

    /// Everything has its record, in order, and the upstream saw nothing but what passed.
    pub(crate) fn stands(self) {
        let passed = self.ended.iter().filter(|(code, ..)| code.is_none()).count();
        let records = self.world.records.wait_for(self.ended.len());
        let ended: Vec<_> = records.iter().map(of_record).collect();
        let expected: Vec<_> = self.ended.iter().map(|(code, status, id)| (*code, *status, id.as_str())).collect();
        assert_eq!(ended, expected);
        assert_eq!(self.origin.seen().len(), passed, "the upstream saw what was refused");
    }

    /// [`Self::stands`], and there was not even a connection to the upstream for what was refused.
    pub(crate) fn stands_untouched(self) {
        let passed = self.ended.iter().any(|(code, ..)| code.is_none());
        assert!(passed || self.origin.connections() == 0, "the upstream was connected to");
        self.stands();
    }
}

/// Asserts that the gateway itself gave the answer, in the one shape of its errors.
pub(crate) fn assert_own(answer: &Answer, status: u16, code: &str, case: &str) {
    assert_own_head(answer, status, code, case);
    assert!(answer.whole, "{case}");
    let body = answer.json();
    let own = &body["closegate"];
    assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{case}: {body}");
    assert_eq!(own["code"], code, "{case}");
    assert!(own["hint"].as_str().is_some_and(|text| !text.is_empty()), "{case}: {body}");
    assert_eq!(own["request_id"], id(answer), "{case}");
}

fn assert_own_head(answer: &Answer, status: u16, code: &str, case: &str) {
    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{case}: {answer:?}");
    assert_eq!(answer.version, "HTTP/1.1", "{case}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
    let proxy_status = answer.header("proxy-status").unwrap_or_default();
    assert!(proxy_status.starts_with("closegate; error="), "{case}: {proxy_status}");
    assert!(proxy_status.ends_with(&format!("; details=\"{code}\"")), "{case}: {proxy_status}");
}

/// A head with the key: a request line, and further lines, each with its CRLF.
pub(crate) fn head(line: &str, fields: &str) -> String {
    format!("{line}\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n{fields}\r\n")
}

/// The head of a POST with the key.
pub(crate) fn post(fields: &str) -> String {
    head("POST /sales/api/v1/lead/ HTTP/1.1", fields)
}

/// The head of a GET with the key.
pub(crate) fn get(fields: &str) -> String {
    head("GET /sales/api/v1/me/ HTTP/1.1", fields)
}

/// Asserts that a connection is good for another request.
pub(crate) fn assert_goes_on(client: &mut Raw) {
    client.send(get(""));
    let answer = client.answer();
    assert_eq!((answer.status, answer.code()), (200, None), "{answer:?}");
}

fn id(answer: &Answer) -> String {
    answer.header("closegate-request-id").expect("a request id").to_owned()
}

fn of_record(record: &Value) -> (Option<&str>, u16, &str) {
    let status = record["status"].as_u64().unwrap().try_into().unwrap();
    let code = record["code"].as_str();
    assert_eq!(record["origin"], if code.is_some() { "gateway" } else { "upstream" }, "{record}");
    (code, status, record["request_id"].as_str().unwrap())
}

/// The beginning of a request, for messages.
fn shown(request: &[u8]) -> String {
    request[..request.len().min(400)].escape_ascii().to_string()
}
