//! The head of an answer: parsed by `httparse`, and accepted only when it leaves no doubt where its body ends.
//!
//! RFC 9112 6.3 lets a client guess in places; a guess here would let the end of one answer become the beginning of
//! somebody else's (security.md 33).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode};

use super::link::Link;
use crate::upstream::MAX_FIELDS;

/// A final answer's head.
pub(in crate::upstream) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Whether the connection may serve another exchange after this one.
    pub(super) keeps_alive: bool,
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// The answer is not HTTP/1.1, or not unambiguous HTTP/1.1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes the head of the final answer off the inbox, interim ones before it dropped; nothing while it is not whole.
pub(super) fn take_head(link: &mut Link, method: &Method) -> Result<Option<Head>, Malformed> {
    loop {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, &link.inbox, &mut fields);
        let length = match status.map_err(|_| Malformed)? {
            httparse::Status::Partial => return Ok(None),
            httparse::Status::Complete(length) => length,
        };
        if !has_plain_lines(&link.inbox[..length]) {
            return Err(Malformed);
        }
        let code = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
        if code.is_informational() {
            // A tunnel is nothing that was asked for (security.md 11).
            if code == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Malformed);
            }
            drop(link.take(length));
            continue;
        }
        let old = parsed.version == Some(0);
        let places: Vec<Place> = parsed.headers.iter().map(|field| Place::of(field, &link.inbox)).collect();
        let head = link.take(length);
        let headers = read(&head, &places)?;
        return judge(method, code, old, headers).map(Some);
    }
}

/// Whether the head begins at once and each of its lines ends in CRLF: the parser takes less.
fn has_plain_lines(head: &[u8]) -> bool {
    head.first() == Some(&b'H') && memchr::memchr_iter(b'\n', head).all(|at| at > 0 && head[at - 1] == b'\r')
}

/// Where a field of a head is, in a head that is still being borrowed from.
#[derive(Clone, Copy)]
struct Place {
    name: (usize, usize),
    value: (usize, usize),
}

impl Place {
    fn of(field: &httparse::Header<'_>, within: &[u8]) -> Self {
        let base = within.as_ptr() as usize;
        let span = |bytes: &[u8]| {
            let begin = bytes.as_ptr() as usize - base;
            (begin, begin + bytes.len())
        };
        Self { name: span(field.name.as_bytes()), value: span(field.value) }
    }
}

/// The fields at the places, their values without a copy.
fn read(head: &Bytes, places: &[Place]) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(places.len());
    for Place { name, value } in places {
        let name = HeaderName::from_bytes(&head[name.0..name.1]).map_err(|_| Malformed)?;
        // An empty slice may point nowhere.
        let value = if value.0 == value.1 { Bytes::new() } else { head.slice(value.0..value.1) };
        headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)?);
    }
    Ok(headers)
}

fn judge(method: &Method, code: StatusCode, old: bool, headers: HeaderMap) -> Result<Head, Malformed> {
    let framing = framing(method, code, old, &headers)?;
    let closes = headers.get_all(CONNECTION).iter().any(|value| names_close(value.as_bytes()));
    let keeps_alive = !old && !closes && framing != Framing::Close;
    let mut response = Response::new(());
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    Ok(Head { response, framing, keeps_alive })
}

/// RFC 9112 6.3, with every case that two readers could read differently refused.
fn framing(method: &Method, code: StatusCode, old: bool, headers: &HeaderMap) -> Result<Framing, Malformed> {
    let length = single(headers, CONTENT_LENGTH)?.map(number).transpose()?;
    let coding = single(headers, TRANSFER_ENCODING)?;
    if coding.is_some() && (old || length.is_some()) {
        return Err(Malformed);
    }
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(Malformed);
    }
    if *method == Method::HEAD || matches!(code, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Length(0));
    }
    Ok(match (coding, length) {
        (Some(_), _) => Framing::Chunked,
        (None, Some(length)) => Framing::Length(length),
        (None, None) => Framing::Close,
    })
}

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&[u8]>, Malformed> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (first, None) => Ok(first.map(|value| value.as_bytes())),
        _ => Err(Malformed),
    }
}

fn number(digits: &[u8]) -> Result<u64, Malformed> {
    let plain = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let sum = |sum: u64, digit: &u8| sum * 10 + u64::from(digit - b'0');
    if plain { Ok(digits.iter().fold(0, sum)) } else { Err(Malformed) }
}

fn names_close(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}
