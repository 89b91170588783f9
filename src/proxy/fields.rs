//! Which header fields pass, in each direction: everything but what is listed, and what only looks different.
//!
//! RFC 9110 7.6.1 for hop-by-hop fields; contract.md 4 and security.md 9, 10, 20 for the rest.

use http::header::{CONNECTION, HeaderMap, HeaderName};

/// What happens to a field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// It goes on as it is.
    Pass,
    /// The same, under a name that a client may have made up.
    Custom,
    /// It stays here: hop by hop, a credential, a forwarding field, or a look-alike of one.
    Drop,
    /// It asks for another method in a spelling that the upstream may or may not heed.
    OddOverride,
}

/// What happens to a request's field.
pub(super) fn of_request(name: &HeaderName) -> Field {
    match name.as_str() {
        "accept"
        | "accept-encoding"
        | "accept-language"
        | "cache-control"
        | "content-encoding"
        | "content-language"
        | "content-type"
        | "date"
        | "if-match"
        | "if-modified-since"
        | "if-none-match"
        | "if-range"
        | "if-unmodified-since"
        | "origin"
        | "pragma"
        | "range"
        | "referer"
        | "user-agent"
        | "traceparent"
        | "tracestate"
        | "x-http-method-override"
        | "x-request-id"
        | "x-tz-offset" => Field::Pass,
        "authorization"
        | "connection"
        | "content-length"
        | "cookie"
        | "expect"
        | "host"
        | "keep-alive"
        | "proxy-authorization"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade" => Field::Drop,
        other => of_letters(other),
    }
}

/// Judges a name by its letters alone: `transfer_encoding` and `X-Cookie2` are read by somebody as what they resemble.
fn of_letters(name: &str) -> Field {
    let mut buffer = [0_u8; LONGEST];
    let mut length = 0;
    for byte in name.bytes().filter(u8::is_ascii_alphabetic) {
        if length == LONGEST {
            break;
        }
        buffer[length] = byte;
        length += 1;
    }
    let letters = &buffer[..length];
    let plain = &letters[letters.iter().take_while(|letter| **letter == b'x').count()..];
    if is_reserved(plain) {
        return Field::Drop;
    }
    let names = |word: &[u8]| memchr::memmem::find(plain, word).is_some();
    match plain {
        b"httpmethod" | b"method" | b"originalmethod" | b"requestmethod" => Field::OddOverride,
        _ if names(b"method") && names(b"override") => Field::OddOverride,
        _ => Field::Custom,
    }
}

fn is_reserved(letters: &[u8]) -> bool {
    let prefixed = [&b"closegate"[..], b"proxy", b"forwarded"].iter().any(|prefix| letters.starts_with(prefix));
    prefixed || RESERVED.contains(&letters)
}

/// Fields that are never forwarded, by their letters, without any leading `x`.
const RESERVED: [&[u8]; 32] = [
    b"accesstoken",
    b"apikey",
    b"authentication",
    b"authorization",
    b"authtoken",
    b"cfconnectingip",
    b"closeapikey",
    b"clusterclientip",
    b"connection",
    b"contentencoding",
    b"contentlength",
    b"contenttype",
    b"cookie",
    b"expect",
    b"host",
    b"httpsettings",
    b"keepalive",
    b"originalhost",
    b"originaluri",
    b"originalurl",
    b"realip",
    b"rewriteurl",
    b"setcookie",
    b"te",
    b"token",
    b"trailer",
    b"trailers",
    b"transferencoding",
    b"upgrade",
    b"originalforwardedfor",
    b"clientip",
    b"trueclientip",
];

/// How many letters of a name are compared; no reserved one comes near.
const LONGEST: usize = 64;

/// What `Connection` nominates, on all lines of it.
pub(super) fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let tokens = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_option = |token: &[u8]| token.eq_ignore_ascii_case(b"close") || token.eq_ignore_ascii_case(b"keep-alive");
    let names = tokens.map(<[u8]>::trim_ascii).filter(move |token| !is_option(token));
    // What is no name names no field.
    names.filter_map(|token| HeaderName::from_bytes(token).ok())
}

/// Whether a request may nominate the field; some it cannot be understood without.
pub(super) fn may_be_nominated(name: &HeaderName) -> bool {
    !["authorization", "host", "content-length", "cookie", "closegate-key"].contains(&name.as_str())
}

/// Whether a response's field stays here.
pub(super) fn stays_of_response(name: &HeaderName) -> bool {
    match name.as_str() {
        "connection"
        | "keep-alive"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authentication-info"
        | "proxy-status"
        | "set-cookie"
        | "set-cookie2"
        | "strict-transport-security"
        | "alt-svc"
        | "clear-site-data" => true,
        other => other.starts_with("access-control-") || other.starts_with("closegate-"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(name: &str) -> Field {
        of_request(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[test]
    fn look_alikes_of_reserved_names_stay_here() {
        for name in [
            "transfer_encoding",
            "content_length",
            "content_type",
            "X-Content-Type",
            "content.encoding",
            "X-Authorization",
            "Cookie2",
            "proxy-connection",
            "HTTP2-Settings",
            "x-forwarded-for",
            "x-forwarded-host",
            "forwarded",
            "x-real-ip",
            "x-original-url",
            "x-rewrite-url",
            "closegate-key",
            "closegate_key",
            "x-closegate-anything",
            "authorization_",
            "x_forwarded_for",
            "upgrade1",
            "x-api-key",
            "Token",
            "X-Access-Token",
            "Authentication",
            "X-X-Authorization",
            "XX-Forwarded-For",
            "X-Original-URI",
            "CF-Connecting-IP",
            "X-Cluster-Client-IP",
            "t.e",
            &format!("closegate-{}", "x".repeat(LONGEST)),
        ] {
            assert_eq!(of(name), Field::Drop, "{name}");
        }
    }

    #[test]
    fn what_clients_of_close_send_passes() {
        for name in [
            "content-type",
            "content-encoding",
            "x-content-type-options",
            "x-tz-offset",
            "x-requested-with",
            "dnt",
            "accept",
            "x-custom-thing",
            "x-http-method-override",
            "via",
        ] {
            assert!(matches!(of(name), Field::Pass | Field::Custom), "{name}");
        }
    }

    #[test]
    fn other_spellings_of_the_method_override_are_told_apart() {
        for name in [
            "x-http-method",
            "x-method-override",
            "x_http_method_override",
            "http-method-override",
            "xhttpmethodoverride",
            "X-HTTP-Methods-Override",
            "X-HTTP-Method-Overrides",
            "X-Original-Method",
            "X-Request-Method",
        ] {
            assert_eq!(of(name), Field::OddOverride, "{name}");
        }
    }

    #[test]
    fn every_line_of_connection_is_read() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("close, X-One"));
        headers.append(CONNECTION, HeaderValue::from_static("x-two,, keep-alive"));
        headers.append(CONNECTION, HeaderValue::from_static("AUTHORIZATION"));
        let names: Vec<_> = nominated(&headers).collect();
        assert_eq!(names, ["x-one", "x-two", "authorization"]);
        assert!(may_be_nominated(&names[0]) && !may_be_nominated(&names[2]));
    }
}
