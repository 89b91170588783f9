//! The upstream's answer on its way down: fields that stay here are gone, places point to the gateway, secrets are out.
//!
//! With `redact = "decode"` a body loses its content codings, and its head what is true of the coded body only. That is
//! a transformation, which `no-transform` (RFC 9110 7.7) does not prevent: whoever set `decode` decided that.

use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, ETAG, HeaderMap, HeaderName, HeaderValue,
    LOCATION,
};
use http::response::Parts;

use super::body::Scrub;
use super::decode::Codings;
use super::error::ProxyError;
use super::fields;
use super::permit::Leave;
use crate::config::Redact;
use crate::origin::{Origin, Scheme};
use crate::vault::Redactor;

/// Cleans the head of an answer (contract.md 4 "Returned").
pub(super) fn clean(parts: &mut Parts, leave: &Leave, redactor: &mut Redactor) {
    // The reason phrase is free text, and nobody reads it.
    parts.extensions.clear();
    strip(&mut parts.headers);
    for field in [LOCATION, CONTENT_LOCATION] {
        if let Some(place) = parts.headers.get(&field)
            && let Some(here) = relocate(place, &leave.route().origin, leave.written_prefix())
        {
            parts.headers.insert(field, here);
        }
    }
    redactor.scrub_headers(&mut parts.headers);
}

/// Whether an answer has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// It has one.
    Some,
    /// It has none: of a HEAD, a 204, a 304, or an empty one.
    None,
}

/// Decides what happens to the body of an answer, and takes out of the head what will not be true of it.
pub(super) fn scrub(
    redact: Redact,
    parts: &mut Parts,
    content: Content,
    redactor: Redactor,
) -> Result<Scrub, ProxyError> {
    match redact {
        Redact::Off => Ok(Scrub { decoder: None, redactor: None }),
        Redact::Plain => Ok(Scrub { decoder: None, redactor: is_uncompressed(&parts.headers).then_some(redactor) }),
        Redact::Decode => decode(parts, content, redactor),
    }
}

/// Without a body nothing is refused, and the head tells what it would tell with one.
fn decode(parts: &mut Parts, content: Content, redactor: Redactor) -> Result<Scrub, ProxyError> {
    // No request for a range goes out.
    parts.headers.remove(ACCEPT_RANGES);
    let decoder = match (Codings::read(&parts.headers), content) {
        (Ok(codings), _) if codings.is_empty() => None,
        (Ok(codings), _) => {
            for field in OF_THE_CODED {
                parts.headers.remove(field);
            }
            Some(codings.decoder()).filter(|_| content == Content::Some)
        }
        (Err(_), Content::None) => None,
        (Err(_), Content::Some) => return Err(ProxyError::ContentCoding),
    };
    // It begins anywhere.
    if decoder.is_some() && parts.status == StatusCode::PARTIAL_CONTENT {
        return Err(ProxyError::ContentCoding);
    }
    Ok(Scrub { decoder, redactor: Some(redactor) })
}

/// What is said of the bytes as they came, and of no others (RFC 9110 8.8.3.3, RFC 9530, RFC 3230, RFC 1864).
const OF_THE_CODED: [HeaderName; 7] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    ETAG,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Whether a secret could be seen in the body as it stands; a coding that nobody has heard of is no reason not to look.
fn is_uncompressed(headers: &HeaderMap) -> bool {
    let codings =
        headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let compresses = |coding: &[u8]| COMPRESSING.iter().any(|known| coding.trim_ascii().eq_ignore_ascii_case(known));
    !codings.into_iter().any(compresses)
}

/// Content codings that leave nothing recognisable (RFC 9110 8.4.1, RFC 7932, RFC 8878).
const COMPRESSING: [&[u8]; 7] = [b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"compress", b"x-compress"];

fn strip(headers: &mut HeaderMap) {
    // An answer may nominate what it likes: its own loss.
    let mut leaving: Vec<HeaderName> = fields::nominated(headers).collect();
    leaving.extend(headers.keys().filter(|name| fields::stays_of_response(name)).cloned());
    for name in leaving {
        headers.remove(name);
    }
}

/// The absolute path on the gateway of a place on the upstream; nothing for a place elsewhere or a relative one.
fn relocate(place: &HeaderValue, origin: &Origin, prefix: &str) -> Option<HeaderValue> {
    let place = place.as_bytes();
    let path = if place.starts_with(b"/") && !place.starts_with(b"//") { place } else { path_on(place, origin)? };
    let below = path.strip_prefix(origin.base().as_bytes())?;
    let slash: &[u8] = match below.first() {
        Some(b'/') => b"",
        None | Some(b'?' | b'#') => b"/",
        Some(_) => return None,
    };
    // Where nothing stands before it, `//host` and `/\\host` would lead to another host.
    let run = below.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    let (slash, below) = if prefix.is_empty() { (&b"/"[..], &below[run..]) } else { (slash, below) };
    HeaderValue::from_bytes(&[prefix.as_bytes(), slash, below].concat()).ok()
}

/// Path, query and fragment of a URL that has the origin's host and port, whatever its scheme: behind a terminating
/// proxy a server may take itself for `http`.
fn path_on<'a>(place: &'a [u8], origin: &Origin) -> Option<&'a [u8]> {
    let slashes = memchr::memmem::find(place, b"//")?;
    let (scheme, rest) = (place[..slashes].to_ascii_lowercase(), &place[slashes + 2..]);
    let own = if origin.scheme() == Scheme::Https { 443 } else { 80 };
    let default = match scheme.as_slice() {
        b"https:" => 443,
        b"http:" => 80,
        b"" => own,
        _ => return None,
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = std::str::from_utf8(authority).ok()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, default),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let same_port = port == origin.port() || (port == default && origin.port() == own);
    (bare.eq_ignore_ascii_case(origin.host()) && same_port).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relocated(place: &str, url: &str, prefix: &str) -> Option<String> {
        let origin = Origin::parse(url).unwrap();
        relocate(&HeaderValue::from_str(place).unwrap(), &origin, prefix)
            .map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn places_on_the_upstream_become_paths_on_the_gateway() {
        let close = "https://api.close.com";
        for (place, here) in [
            ("https://api.close.com/api/v1/lead/?a=b#c", "/sales/api/v1/lead/?a=b#c"),
            ("http://api.close.com/api/v1/lead/", "/sales/api/v1/lead/"),
            ("https://API.close.com:443/x", "/sales/x"),
            ("//api.close.com/x", "/sales/x"),
            ("/api/v1/lead/", "/sales/api/v1/lead/"),
            ("https://api.close.com", "/sales/"),
            ("https://api.close.com?x", "/sales/?x"),
        ] {
            assert_eq!(relocated(place, close, "/sales").as_deref(), Some(here), "{place}");
        }
        assert_eq!(relocated("/api/v1/lead/", close, "").as_deref(), Some("/api/v1/lead/"));
        for place in [
            "https://api.close.com//evil.example/x",
            "https://api.close.com/\\evil.example/x",
            "https://api.close.com/\\/evil.example/x",
        ] {
            assert_eq!(relocated(place, close, "").as_deref(), Some("/evil.example/x"), "{place}");
        }
        assert_eq!(relocated("https://api.close.com//x", close, "/sales").as_deref(), Some("/sales//x"));
        assert_eq!(relocated("http://127.0.0.1:9/b/x", "http://127.0.0.1:9/b", "/s").as_deref(), Some("/s/x"));
    }

    #[test]
    fn places_elsewhere_and_relative_ones_stay() {
        for place in [
            "https://s3.example/x",
            "https://api.close.com:444/x",
            "x/y",
            "../x",
            "ftp://api.close.com/",
            "https://api.close.com.evil.example/",
            "https://u@api.close.com/",
        ] {
            assert_eq!(relocated(place, "https://api.close.com", "/sales"), None, "{place}");
        }
        assert_eq!(relocated("/other", "https://h/base", "/s"), None);
        assert_eq!(relocated("/basement", "https://h/base", "/s"), None);
    }
}
