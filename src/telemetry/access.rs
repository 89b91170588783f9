//! Writes one access record as a line: JSON for machines, a shorter form for people (contract.md 6).
//!
//! The list of fields is closed. What a client chose is masked and escaped; of the target only the path is written.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::HeaderValue;

use super::foreign;
use super::names::{KnownNames, Label};
use super::record::{Client, MethodLabel, Record};
use super::wall::Stamp;

/// What a line says beside the record itself.
pub(super) struct Setting<'a> {
    pub(super) time: &'a Stamp,
    pub(super) duration: Duration,
    pub(super) names: &'a KnownNames,
}

/// Appends the record as one line of JSON.
///
/// A formatted event costs several times what the whole line does here: what is fixed is copied in pieces whose
/// length is known when this is compiled.
pub(super) fn write_json(lines: &mut Vec<u8>, record: &Record, setting: &Setting<'_>) {
    lines.reserve(USUAL_LENGTH);
    let mut line = Line(lines);
    line.fixed(b"{\"time\":\"");
    line.fixed(setting.time);
    line.fixed(b"\",\"request_id\":");
    line.foreign(Some(record.request_id.as_str().as_bytes()));
    line.fixed(b",\"client_addr\":\"");
    line.client(record.client);
    line.fixed(b"\",\"key\":");
    line.name(setting.names, record.key);
    line.fixed(b",\"route\":");
    line.name(setting.names, record.route);
    line.fixed(b",\"credential\":");
    line.name(setting.names, record.credential);
    line.fixed(b",\"method\":");
    line.word(record.method.as_ref().map(|method| MethodLabel::of(Some(method)).as_str()));
    line.fixed(b",\"path\":");
    line.foreign(record.target.as_ref().map(|target| target.path().as_bytes()));
    line.fixed(b",\"endpoint\":");
    line.word(record.endpoint);
    line.fixed(b",\"scope\":");
    line.word(record.scope);
    line.fixed(b",\"status\":");
    line.number(u64::from(record.status));
    line.fixed(b",\"code\":");
    line.word(record.code);
    line.fixed(b",\"origin\":");
    line.word(Some(record.origin.as_str()));
    line.fixed(b",\"attempts\":");
    line.number(u64::from(record.attempts));
    line.fixed(b",\"paced_ms\":");
    line.milliseconds(Some(record.paced));
    line.fixed(b",\"upstream_ms\":");
    line.milliseconds(record.upstream_first_byte);
    line.fixed(b",\"duration_ms\":");
    line.milliseconds(Some(setting.duration));
    line.fixed(b",\"request_bytes\":");
    line.number(record.request_bytes);
    line.fixed(b",\"response_bytes\":");
    line.number(record.response_bytes);
    line.fixed(b",\"user_agent\":");
    line.foreign(record.user_agent.as_ref().map(HeaderValue::as_bytes));
    line.fixed(b",\"trace_id\":");
    line.word(record.traceparent.as_ref().and_then(trace_id));
    line.fixed(b",\"upstream_trace_id\":");
    line.foreign(record.upstream_trace_id.as_ref().map(HeaderValue::as_bytes));
    line.fixed(b"}\n");
}

/// Appends the record as one line for people: `TIME STATUS METHOD PATH 12.3ms key=… route=…`.
pub(super) fn write_text(lines: &mut Vec<u8>, record: &Record, setting: &Setting<'_>) {
    let name = |label| setting.names.text(label).unwrap_or(b"-");
    let method = MethodLabel::of(record.method.as_ref()).as_str();
    lines.extend_from_slice(setting.time);
    let _ = write!(lines, " {} {method} ", record.status);
    foreign::write(lines, record.target.as_ref().map_or("-", |target| target.path()).as_bytes());
    lines.push(b' ');
    Line(lines).milliseconds(Some(setting.duration));
    lines.extend_from_slice(b"ms");
    for (field, label) in [(" key=", record.key), (" route=", record.route), (" credential=", record.credential)] {
        lines.extend_from_slice(field.as_bytes());
        lines.extend_from_slice(name(label));
    }
    let _ = write!(lines, " origin={}", record.origin.as_str());
    if let Some(code) = record.code {
        let _ = write!(lines, " code={code}");
    }
    let _ = write!(lines, " bytes={}/{} client=", record.request_bytes, record.response_bytes);
    Line(lines).client(record.client);
    lines.extend_from_slice(b" id=");
    foreign::write(lines, record.request_id.as_str().as_bytes());
    lines.push(b'\n');
}

/// A line that is being written; each value is complete in itself, `null` where it is absent.
struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    #[inline(always)]
    fn fixed<const LENGTH: usize>(&mut self, text: &[u8; LENGTH]) {
        self.0.extend_from_slice(text);
    }

    /// A text that somebody else chose.
    fn foreign(&mut self, value: Option<&[u8]>) {
        let Some(value) = value else { return self.fixed(b"null") };
        self.0.push(b'"');
        foreign::write(self.0, value);
        self.0.push(b'"');
    }

    /// A configured name.
    #[inline(always)]
    fn name(&mut self, names: &KnownNames, label: Label) {
        self.quoted(names.text(label));
    }

    /// A word of the program's own.
    #[inline(always)]
    fn word(&mut self, value: Option<&str>) {
        self.quoted(value.map(str::as_bytes));
    }

    /// A text that needs no escape.
    fn quoted(&mut self, value: Option<&[u8]>) {
        let Some(value) = value else { return self.fixed(b"null") };
        self.0.push(b'"');
        self.0.extend_from_slice(value);
        self.0.push(b'"');
    }

    #[inline(always)]
    fn number(&mut self, value: u64) {
        match value {
            0..10 => self.0.push(b'0' + value as u8),
            10.. => self.decimal(value),
        }
    }

    fn decimal(&mut self, value: u64) {
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Milliseconds, to the microsecond where there are any.
    fn milliseconds(&mut self, value: Option<Duration>) {
        let Some(value) = value else { return self.fixed(b"null") };
        let microseconds = value.subsec_micros();
        self.number(value.as_secs().saturating_mul(1000).saturating_add(u64::from(microseconds / 1000)));
        let rest = microseconds % 1000;
        if rest > 0 {
            self.fixed(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
        }
    }

    fn client(&mut self, client: Client) {
        match client {
            Client::Address(ip) => self.address(ip),
            Client::Unix(None) => self.fixed(b"unix"),
            Client::Unix(Some(uid)) => {
                self.fixed(b"unix:");
                self.number(u64::from(uid));
            }
        }
    }

    fn address(&mut self, ip: IpAddr) {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                self.octet(a);
                for octet in [b, c, d] {
                    self.0.push(b'.');
                    self.octet(octet);
                }
            }
            IpAddr::V6(ip) => drop(write!(self.0, "{ip}")),
        }
    }

    #[inline(always)]
    fn octet(&mut self, octet: u8) {
        let octet = u32::from(octet);
        match octet {
            0..10 => self.fixed(&[digit(octet)]),
            10..100 => self.fixed(&[digit(octet / 10), digit(octet)]),
            100.. => self.fixed(&[digit(octet / 100), digit(octet / 10), digit(octet)]),
        }
    }
}

/// The last decimal digit.
fn digit(value: u32) -> u8 {
    b'0' + (value % 10) as u8
}

/// The trace id of a `traceparent` (W3C Trace Context 3.2.2): 32 lower-case hexadecimal digits, not all zero.
fn trace_id(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let mut fields = text.splitn(4, '-');
    let (version, id, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let hexadecimal = |field: &str| field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let sized = version.len() == 2 && id.len() == 32 && parent.len() == 16 && flags.len() >= 2;
    let valid = sized && version != "ff" && hexadecimal(version) && hexadecimal(id) && id.bytes().any(|b| b != b'0');
    valid.then_some(id)
}

/// Room made for a line at once.
const USUAL_LENGTH: usize = 768;

#[cfg(test)]
mod tests;
