//! Writes one access record as a line: JSON for machines, a shorter form for people (contract.md 6).
//!
//! The list of fields is closed. What a client chose is masked and escaped; of the target only the path is written.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use http::HeaderValue;

use super::mask::masked;
use super::names::{KnownNames, Label};
use super::record::{MethodLabel, Record};

/// What a line says beside the record itself.
pub(super) struct Setting<'a> {
    pub(super) time: &'a [u8],
    pub(super) duration: Duration,
    pub(super) names: &'a KnownNames,
}

/// Appends the record as one line of JSON.
pub(super) fn write_json(lines: &mut Vec<u8>, record: &Record, setting: &Setting<'_>) {
    let names = setting.names;
    lines.reserve(USUAL_LENGTH);
    lines.extend_from_slice(b"{\"time\":\"");
    lines.extend_from_slice(setting.time);
    lines.push(b'"');
    let mut line = Line(lines);
    line.foreign("request_id", Some(record.request_id.as_str().as_bytes()));
    line.address("client_addr", record.client.ip());
    line.name("key", names, record.key);
    line.name("route", names, record.route);
    line.name("credential", names, record.credential);
    line.word("method", record.method.as_ref().map(|method| MethodLabel::of(Some(method)).as_str()));
    line.foreign("path", record.target.as_ref().map(|target| target.path().as_bytes()));
    line.word("endpoint", record.endpoint);
    line.word("scope", record.scope);
    line.number("status", u64::from(record.status));
    line.word("code", record.code);
    line.word("origin", Some(record.origin.as_str()));
    line.number("attempts", u64::from(record.attempts));
    line.milliseconds("paced_ms", Some(record.paced));
    line.milliseconds("upstream_ms", record.upstream_first_byte);
    line.milliseconds("duration_ms", Some(setting.duration));
    line.number("request_bytes", record.request_bytes);
    line.number("response_bytes", record.response_bytes);
    line.foreign("user_agent", record.user_agent.as_ref().map(HeaderValue::as_bytes));
    line.word("trace_id", record.traceparent.as_ref().and_then(trace_id));
    line.foreign("upstream_trace_id", record.upstream_trace_id.as_ref().map(HeaderValue::as_bytes));
    lines.extend_from_slice(b"}\n");
}

/// Appends the record as one line for people: `TIME STATUS METHOD PATH 12.3ms key=… route=…`.
pub(super) fn write_text(lines: &mut Vec<u8>, record: &Record, setting: &Setting<'_>) {
    let name = |label| setting.names.text(label).unwrap_or("-");
    let path = record.target.as_ref().map_or("-", |target| target.path());
    lines.extend_from_slice(setting.time);
    let _ = write!(lines, " {} {} ", record.status, MethodLabel::of(record.method.as_ref()).as_str());
    escape(lines, &masked(path.as_bytes()));
    lines.push(b' ');
    milliseconds(lines, setting.duration);
    let _ = write!(lines, "ms key={} route={} ", name(record.key), name(record.route));
    let _ = write!(lines, "credential={} origin={} ", name(record.credential), record.origin.as_str());
    if let Some(code) = record.code {
        let _ = write!(lines, "code={code} ");
    }
    let _ = write!(lines, "bytes={}/{} client=", record.request_bytes, record.response_bytes);
    address(lines, record.client.ip());
    lines.extend_from_slice(b" id=");
    escape(lines, &masked(record.request_id.as_str().as_bytes()));
    lines.push(b'\n');
}

/// A JSON object that has a first member already.
struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    #[inline]
    fn field(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0
    }

    /// A text that somebody else chose.
    fn foreign(&mut self, name: &'static str, value: Option<&[u8]>) {
        match value {
            Some(value) => quoted(self.field(name), &masked(value)),
            None => self.null(name),
        }
    }

    /// A configured name.
    fn name(&mut self, name: &'static str, names: &KnownNames, label: Label) {
        match names.text(label) {
            Some(text) => quoted(self.field(name), text.as_bytes()),
            None => self.null(name),
        }
    }

    /// A text that needs no escape.
    #[inline]
    fn word(&mut self, name: &'static str, value: Option<&str>) {
        let Some(value) = value else { return self.null(name) };
        let line = self.field(name);
        line.push(b'"');
        line.extend_from_slice(value.as_bytes());
        line.push(b'"');
    }

    #[inline]
    fn number(&mut self, name: &'static str, value: u64) {
        decimal(self.field(name), value);
    }

    #[inline]
    fn milliseconds(&mut self, name: &'static str, value: Option<Duration>) {
        match value {
            Some(value) => milliseconds(self.field(name), value),
            None => self.null(name),
        }
    }

    fn address(&mut self, name: &'static str, ip: IpAddr) {
        let line = self.field(name);
        line.push(b'"');
        address(line, ip);
        line.push(b'"');
    }

    #[inline]
    fn null(&mut self, name: &'static str) {
        self.field(name).extend_from_slice(b"null");
    }
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

fn quoted(line: &mut Vec<u8>, text: &[u8]) {
    line.push(b'"');
    escape(line, text);
    line.push(b'"');
}

/// Appends a text so that it may stand in a JSON string and on a terminal: no control, no quote, valid UTF-8.
fn escape(line: &mut Vec<u8>, text: &[u8]) {
    // Without an early return the check runs over many bytes at once.
    let plain = text.iter().fold(true, |plain, b| plain & (*b >= b' ') & (*b < 0x7f) & (*b != b'"') & (*b != b'\\'));
    if plain {
        return line.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|char| escape_char(line, char));
        if !chunk.invalid().is_empty() {
            escape_char(line, char::REPLACEMENT_CHARACTER);
        }
    }
}

fn escape_char(line: &mut Vec<u8>, char: char) {
    if matches!(char, '"' | '\\') {
        line.extend_from_slice(&[b'\\', char as u8]);
    } else if char.is_control() {
        let _ = write!(line, "\\u{:04x}", u32::from(char));
    } else {
        line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn address(line: &mut Vec<u8>, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            decimal(line, a);
            for octet in [b, c, d] {
                line.push(b'.');
                decimal(line, octet);
            }
        }
        IpAddr::V6(ip) => {
            let _ = write!(line, "{ip}");
        }
    }
}

/// Milliseconds, to the microsecond where there are any.
fn milliseconds(line: &mut Vec<u8>, duration: Duration) {
    let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    decimal(line, microseconds / 1000);
    let rest = (microseconds % 1000) as u16;
    if rest > 0 {
        let digit = |value: u16| b'0' + (value % 10) as u8;
        line.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }
}

#[inline]
fn decimal(line: &mut Vec<u8>, value: impl itoa::Integer) {
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Room made for a line at once.
const USUAL_LENGTH: usize = 768;

#[cfg(test)]
mod tests;
