//! The judgement of one HTTP/1 head where it lies: nothing that two readers could read differently gets past it.
//!
//! RFC 9112 leaves a server room to be lenient; this one uses none of it, because what stands behind reads for itself
//! (security.md 1 to 8).

use std::net::Ipv6Addr;
use std::sync::LazyLock;

use memchr::{memchr, memmem};

/// The sizes a head must keep.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Bytes of the request's target.
    pub uri: usize,
    /// Header lines.
    pub lines: usize,
}

/// What is wrong with a message, or with how it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// The message is not unambiguous HTTP/1.1; the text says where.
    #[error("{0}")]
    Malformed(&'static str),
    /// CONNECT.
    #[error("this method is not served")]
    Method,
    /// The target is longer than `listen.max_uri_bytes`.
    #[error("the request's target is too long")]
    UriTooLong,
    /// The head is longer than `listen.max_header_bytes`, or has more lines than `listen.max_headers`.
    #[error("the request's head is too large")]
    HeadTooLarge,
    /// The head was not complete within `listen.header_timeout`.
    #[error("the request's head did not arrive in time")]
    HeadTimeout,
}

/// How the body of a message is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What a head ends with, prepared once.
static END: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"\r\n\r\n"));

/// Whether a head is whole.
pub(super) enum Found {
    /// It ends before this offset.
    Whole(usize),
    /// It goes on.
    Partial,
}

/// Looks for the end of the head that `bytes` begin with, and refuses early what can become none.
pub(super) fn find_end(bytes: &[u8], limits: &HeadLimits) -> Result<Found, WireFault> {
    if let Some(at) = END.find(bytes) {
        let end = at + 4;
        return if end > limits.bytes { Err(too_large(bytes, limits)) } else { Ok(Found::Whole(end)) };
    }
    if bytes.len() > limits.bytes {
        return Err(too_large(bytes, limits));
    }
    let begins_like_a_method = bytes.first().is_none_or(|first| is_token(*first));
    if !begins_like_a_method {
        return Err(WireFault::Malformed("the bytes are not an HTTP/1.1 request"));
    }
    for at in memchr::memchr_iter(b'\n', bytes) {
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(WireFault::Malformed("a line ends without a carriage return"));
        }
    }
    Ok(Found::Partial)
}

fn too_large(bytes: &[u8], limits: &HeadLimits) -> WireFault {
    let line = memchr(b'\n', bytes).map_or(bytes, |end| &bytes[..end]);
    if line.len() > limits.uri + REQUEST_LINE_REST { WireFault::UriTooLong } else { WireFault::HeadTooLarge }
}

/// Judges a whole head (with its empty line) and says how its body is delimited.
pub(super) fn judge(head: &[u8], limits: &HeadLimits) -> Result<Framing, WireFault> {
    let (request_line, mut rest) = split_line(head)?;
    let version = judge_request_line(request_line, limits)?;
    let mut seen = Seen::default();
    let mut lines = 0;
    loop {
        let (line, after) = split_line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        lines += 1;
        if lines > limits.lines {
            return Err(WireFault::HeadTooLarge);
        }
        seen.note(line)?;
    }
    seen.conclude(version)
}

impl HeadLimits {
    /// What the guard would say of a request of this method and target that has no more than a `Host` line beside them.
    pub fn judge(&self, method: &str, target: &str) -> Result<(), WireFault> {
        let line = format!("{method} {target} HTTP/1.1");
        judge_request_line(line.as_bytes(), self)?;
        find_end(format!("{line}\r\nHost: localhost\r\n\r\n").as_bytes(), self).map(drop)
    }
}

/// The line before the first CRLF, and what follows; a lone CR or LF is a fault.
fn split_line(bytes: &[u8]) -> Result<(&[u8], &[u8]), WireFault> {
    match memchr::memchr2(b'\r', b'\n', bytes) {
        Some(at) if bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n') => Ok((&bytes[..at], &bytes[at + 2..])),
        Some(at) if bytes[at] == b'\r' => Err(WireFault::Malformed("a carriage return stands alone")),
        _ => Err(WireFault::Malformed("a line ends without a carriage return")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn judge_request_line(line: &[u8], limits: &HeadLimits) -> Result<Version, WireFault> {
    let malformed = WireFault::Malformed("the request line is not `METHOD TARGET HTTP/1.1`");
    let first = memchr(b' ', line).ok_or(malformed)?;
    let last = memchr::memrchr(b' ', line).ok_or(malformed)?;
    let (method, version) = (&line[..first], &line[last + 1..]);
    if method.is_empty() || method.len() > MAX_METHOD {
        return Err(malformed);
    }
    if !is_method(method) {
        return Err(WireFault::Malformed("the method is not of the letters A to Z"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(WireFault::Malformed("the version is neither HTTP/1.1 nor HTTP/1.0")),
    };
    if method == b"CONNECT" {
        return Err(WireFault::Method);
    }
    let target = line.get(first + 1..last).ok_or(malformed)?;
    if target.len() > limits.uri {
        return Err(WireFault::UriTooLong);
    }
    judge_target(target).map(|()| version)
}

/// Methods are told apart by case, but some servers fold it, and would see `DELETE` where a rule saw `delete`.
pub(super) fn is_method(method: &[u8]) -> bool {
    !method.is_empty()
        && method.len() <= MAX_METHOD
        && method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-')
}

/// Origin form, or absolute form for the handler to compare with the accepted hosts.
pub(super) fn judge_target(target: &[u8]) -> Result<(), WireFault> {
    let absolute = target.len() > 7
        && (target[..7].eq_ignore_ascii_case(b"http://")
            || (target.len() > 8 && target[..8].eq_ignore_ascii_case(b"https://")));
    if target.first() != Some(&b'/') && !absolute {
        return Err(WireFault::Malformed("the request's target does not begin with a slash"));
    }
    if absolute && !judge_authority(authority_of(target)) {
        return Err(WireFault::Malformed("the authority of the request's target is none"));
    }
    let (path, query) = target.split_at(memchr(b'?', target).unwrap_or(target.len()));
    let holds = |bytes: &[u8], class| bytes.iter().all(|byte| CLASS[usize::from(*byte)] & class != 0);
    if holds(path, PATH) && holds(query, QUERY) {
        Ok(())
    } else {
        Err(WireFault::Malformed("the request's target holds a character that must be percent-encoded"))
    }
}

fn authority_of(target: &[u8]) -> &[u8] {
    let begin = memmem::find(target, b"//").map_or(0, |at| at + 2);
    let rest = &target[begin..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    &rest[..end]
}

/// A host with an optional port (RFC 3986 3.2), without user information.
pub(super) fn judge_authority(authority: &[u8]) -> bool {
    let (host, port) = match (authority.first(), memchr::memrchr(b':', authority)) {
        (Some(b'['), _) => {
            let Some(close) = memchr(b']', authority) else { return false };
            let (inside, after) = (&authority[1..close], &authority[close + 1..]);
            let literal = std::str::from_utf8(inside).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
            return literal && (after.is_empty() || (after[0] == b':' && is_port(&after[1..])));
        }
        (_, Some(colon)) => (&authority[..colon], &authority[colon + 1..]),
        (_, None) => (authority, &[][..]),
    };
    let name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    !host.is_empty() && host.iter().all(name) && (port.is_empty() || is_port(port))
}

fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit)
}

/// How long a body is.
pub(super) fn judge_length(value: &[u8]) -> Result<u64, WireFault> {
    let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let length = digits.then(|| value.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    length.ok_or(WireFault::Malformed("Content-Length is not a number of 1 to 19 digits"))
}

/// Two lines of a field that may have one only.
pub(super) const TWO_HOSTS: WireFault = WireFault::Malformed("there are two Host lines");
pub(super) const TWO_LENGTHS: WireFault = WireFault::Malformed("there are two Content-Length lines");

/// What the header lines said that decides about framing.
#[derive(Default)]
struct Seen {
    hosts: u32,
    length: Option<u64>,
    chunked: bool,
}

impl Seen {
    fn note(&mut self, line: &[u8]) -> Result<(), WireFault> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(WireFault::Malformed("a header line is folded"));
        }
        let colon = memchr(b':', line).ok_or(WireFault::Malformed("a header line has no colon"))?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(WireFault::Malformed("a header's name holds a character that no name may hold"));
        }
        if !value.iter().all(|byte| CLASS[usize::from(*byte)] & VALUE != 0) {
            return Err(WireFault::Malformed("a header's value holds a control character"));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.note_host(value.trim_ascii()),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value.trim_ascii()),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value.trim_ascii()),
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, value: &[u8]) -> Result<(), WireFault> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(TWO_HOSTS);
        }
        if judge_authority(value) { Ok(()) } else { Err(WireFault::Malformed("Host is not a host with a port")) }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), WireFault> {
        if self.length.is_some() {
            return Err(TWO_LENGTHS);
        }
        self.length = Some(judge_length(value)?);
        Ok(())
    }

    fn note_coding(&mut self, value: &[u8]) -> Result<(), WireFault> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(WireFault::Malformed("Transfer-Encoding is not one line `chunked`"));
        }
        self.chunked = true;
        Ok(())
    }

    fn conclude(self, version: Version) -> Result<Framing, WireFault> {
        if version == Version::Http11 && self.hosts == 0 {
            return Err(WireFault::Malformed("there is no Host line"));
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(WireFault::Malformed("there are both Content-Length and Transfer-Encoding")),
            (None, true) if version == Version::Http10 => {
                Err(WireFault::Malformed("HTTP/1.0 knows no Transfer-Encoding"))
            }
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const PATH: u8 = 4;
const QUERY: u8 = 8;

/// What each byte may stand in: in a path and a query what RFC 3986 allows and what clients send raw, no fragment. The
/// codec would refuse a backtick in a path without a word.
const CLASS: [u8; 256] = {
    let mut table = [0_u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric() || in_set(c, b"!#$%&'*+-.^_`|~") {
            table[byte] |= TOKEN;
        }
        if c == b'\t' || (c >= b' ' && c != 0x7f) {
            table[byte] |= VALUE;
        }
        if c.is_ascii_alphanumeric() || in_set(c, b"-._~:/?[]@!$&'()*+,;=%\\|{}^") {
            table[byte] |= PATH | QUERY;
        }
        if c == b'`' {
            table[byte] |= QUERY;
        }
        byte += 1;
    }
    table
};

const fn in_set(byte: u8, set: &[u8]) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

const MAX_METHOD: usize = 32;
/// What a request line holds beside its target, at the most.
const REQUEST_LINE_REST: usize = MAX_METHOD + " HTTP/1.1 \r".len();

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, uri: 1024, lines: 8 };

    fn judged(head: &str) -> Result<Framing, WireFault> {
        judge(head.as_bytes(), &LIMITS)
    }

    #[test]
    fn a_plain_head_says_how_its_body_ends() {
        assert_eq!(judged("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Length(0)));
        assert_eq!(
            judged("PUT /a?b=[c]&d={e} HTTP/1.1\r\nhOST: [::1]:80\r\nContent-Length: 12\r\n\r\n"),
            Ok(Framing::Length(12))
        );
        assert_eq!(judged("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"), Ok(Framing::Chunked));
        assert_eq!(judged("GET / HTTP/1.0\r\n\r\n"), Ok(Framing::Length(0)));
        assert_eq!(judged("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Length(0)));
        assert_eq!(judged("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Length(0)));
    }

    #[test]
    fn whatever_two_readers_could_read_differently_is_refused() {
        for bad in [
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "gEt / HTTP/1.1\r\nHost: a\r\n\r\n",
            "Post / HTTP/1.1\r\nHost: a\r\n\r\n",
            "M_X / HTTP/1.1\r\nHost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a\"b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a`b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(matches!(judged(bad), Err(WireFault::Malformed(_))), "{bad:?}");
        }
        assert_eq!(judged("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), Err(WireFault::Method));
    }

    #[test]
    fn sizes_hold_before_the_head_is_whole() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1024));
        assert_eq!(judged(&long), Err(WireFault::UriTooLong));
        let endless = "x".repeat(4097);
        assert!(matches!(find_end(format!("GET /{endless}").as_bytes(), &LIMITS), Err(WireFault::UriTooLong)));
        let header = format!("GET / HTTP/1.1\r\nX: {endless}");
        assert!(matches!(find_end(header.as_bytes(), &LIMITS), Err(WireFault::HeadTooLarge)));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(8));
        assert_eq!(judged(&many), Err(WireFault::HeadTooLarge));
    }

    #[test]
    fn a_request_line_alone_is_judged_as_in_its_head() {
        assert_eq!(LIMITS.judge("GET", "/a?b=c"), Ok(()));
        assert_eq!(LIMITS.judge("CONNECT", "/"), Err(WireFault::Method));
        assert_eq!(LIMITS.judge("GET", &format!("/{}", "x".repeat(1024))), Err(WireFault::UriTooLong));
        assert_eq!(HeadLimits { bytes: 30, ..LIMITS }.judge("GET", "/"), Err(WireFault::HeadTooLarge));
        for (method, target) in
            [("get", "/"), ("", "/"), ("GET /", "/"), ("GET", ""), ("GET", "a"), ("GET", "/a b"), ("GET", "/\r\nX: y")]
        {
            assert!(matches!(LIMITS.judge(method, target), Err(WireFault::Malformed(_))), "{method} {target:?}");
        }
    }

    #[test]
    fn what_cannot_become_a_head_is_refused_at_once() {
        assert!(find_end(b"\x16\x03\x01", &LIMITS).is_err());
        assert!(find_end(b"GET / HTTP/1.1\nHost: a\n\n", &LIMITS).is_err());
        assert!(matches!(find_end(b"GET / HT", &LIMITS), Ok(Found::Partial)));
        assert!(matches!(find_end(b"GET / HTTP/1.1\r\n\r\nrest", &LIMITS), Ok(Found::Whole(18))));
    }
}
