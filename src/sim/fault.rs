//! Faults on order: what the simulator does wrong, to which requests, and how often.

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::wire::Head;

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Answers, then closes the connection without having announced it.
    CloseAfterAnswer,
    /// Reads the request, then closes the connection in place of an answer.
    CloseBeforeAnswer,
    /// Does what the request asks for, then closes the connection in place of the answer.
    LoseAnswer,
    /// Reads the head and no body, then ends the connection by a TCP reset.
    CloseUnread,
    /// Reads the request, then ends the connection by a TCP reset.
    ResetConnection,
    /// Ends the connection after so many bytes of the answer's body; a shorter body arrives whole.
    CutBody(u64),
    /// Bytes that are no HTTP in place of an answer, then closes.
    GarbageHead,
    /// Answers as HTTP/0.9 did: a body without a head.
    Http09,
    /// Puts a header of so many bytes on an empty answer.
    HugeHead(usize),
    /// Answers 101 and from then on only reads.
    Status101,
    /// Answers with this status and body, under the headers of an ordinary answer.
    Status(StatusCode, Bytes),
    /// Answers with exactly these headers and this body, and a `content-length`.
    Answer(Response<Bytes>),
    /// Holds the answer until [`Simulator::release`](super::Simulator::release), or until the client has gone.
    NoAnswer,
    /// Does what the request asks for, and holds the answer until [`Simulator::release`](super::Simulator::release), or until
    /// the client has gone.
    HoldAnswer,
    /// Holds an answer like that after so many bytes of its body.
    HoldBody(u64),
    /// Answers, then writes a second answer that nobody asked for; the connection stays open.
    StrayBytesAfterAnswer,
    /// Answers with both `content-length` and `transfer-encoding: chunked`.
    BothLengths,
    /// Sends so many 103 answers before the real one.
    Informational(usize),
    /// Answers with this status before it reads the body; the body is read afterwards.
    EarlyAnswer(StatusCode),
}

/// A trouble and the requests it meets: the next one, unless told otherwise.
#[derive(Debug, Clone)]
pub struct Fault {
    trouble: Trouble,
    left: Option<usize>,
    method: Option<Method>,
    prefix: String,
}

impl Fault {
    /// Meets the next request, whichever it is.
    pub fn new(trouble: Trouble) -> Self {
        Self { trouble, left: Some(1), method: None, prefix: String::new() }
    }

    /// Meets so many requests.
    pub fn times(self, times: usize) -> Self {
        Self { left: Some(times), ..self }
    }

    /// Meets every request, until [`Simulator::clear_faults`](super::Simulator::clear_faults).
    pub fn always(self) -> Self {
        Self { left: None, ..self }
    }

    /// Meets requests of this method only.
    pub fn on(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Meets requests only whose target begins like this.
    pub fn under(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    fn meets(&self, head: &Head) -> bool {
        let method_fits = self.method.as_ref().is_none_or(|method| method.as_str() == head.method);
        self.left != Some(0) && method_fits && head.target.starts_with(&self.prefix)
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self::new(trouble)
    }
}

/// The faults on order; of two that meet a request, the one ordered first does.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn order(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The trouble that this request is due, which counts as given.
    pub(super) fn take(&mut self, head: &Head) -> Option<Trouble> {
        let at = self.0.iter().position(|fault| fault.meets(head))?;
        let fault = &mut self.0[at];
        let trouble = fault.trouble.clone();
        fault.left = fault.left.map(|left| left - 1);
        if fault.left == Some(0) {
            self.0.remove(at);
        }
        Some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str) -> Head {
        Head { method: method.to_owned(), target: target.to_owned(), minor_version: 1, headers: Vec::new() }
    }

    #[test]
    fn a_fault_meets_what_it_was_ordered_for_and_no_more() {
        let mut faults = Faults::default();
        faults.order(Fault::new(Trouble::GarbageHead).times(2).on(Method::GET).under("/api/v1/lead"));
        assert!(faults.take(&head("POST", "/api/v1/lead/")).is_none());
        assert!(faults.take(&head("GET", "/api/v1/me/")).is_none());
        assert!(faults.take(&head("GET", "/api/v1/lead/")).is_some());
        assert!(faults.take(&head("GET", "/api/v1/lead/")).is_some());
        assert!(faults.take(&head("GET", "/api/v1/lead/")).is_none());
    }

    #[test]
    fn a_standing_fault_ends_when_cleared() {
        let mut faults = Faults::default();
        faults.order(Fault::new(Trouble::Http09).always());
        assert!(faults.take(&head("GET", "/")).is_some() && faults.take(&head("GET", "/")).is_some());
        faults.clear();
        assert!(faults.take(&head("GET", "/")).is_none());
    }
}
