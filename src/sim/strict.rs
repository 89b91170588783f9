//! What no request of a correct gateway carries: the simulator refuses it and remembers that it came.

use super::wire::Head;

/// The first thing in the head that must not have reached the upstream, in words; none when all is well.
pub(super) fn violation(head: &Head) -> Option<String> {
    // The page of consent is for people's browsers.
    if head.path().starts_with("/oauth2/authorize") {
        return None;
    }
    let forbidden = head.headers.iter().map(|(name, _)| name).find(|name| is_forbidden(name));
    if let Some(name) = forbidden {
        return Some(format!("unexpected request header `{name}`"));
    }
    let repeated = SINGLE.into_iter().find(|name| head.all(name).count() > 1);
    if let Some(name) = repeated {
        return Some(format!("more than one `{name}`"));
    }
    if head.minor_version == 1 && head.text("host").is_none() {
        return Some("no `host`".to_owned());
    }
    (!head.target.starts_with('/')).then(|| "a target that is not in origin form".to_owned())
}

/// Whether a name is reserved, or looks like a reserved one when only its letters are compared (security.md 10).
fn is_forbidden(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    if PLAIN.contains(&lower.as_str()) {
        return false;
    }
    let letters: String = lower.chars().filter(char::is_ascii_lowercase).collect();
    FORBIDDEN.contains(&letters.as_str()) || FORBIDDEN_BEGINNINGS.iter().any(|start| letters.starts_with(start))
}

/// Headers that come once.
const SINGLE: [&str; 4] = ["authorization", "host", "content-length", "x-http-method-override"];

/// Names that are forbidden only in another spelling.
const PLAIN: [&str; 5] = ["authorization", "host", "content-length", "transfer-encoding", "x-http-method-override"];

/// Names by their letters.
const FORBIDDEN: [&str; 22] = [
    "authorization",
    "connection",
    "contentlength",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "httpsettings",
    "keepalive",
    "te",
    "trailer",
    "transferencoding",
    "upgrade",
    "via",
    "xauthorization",
    "xhttpmethod",
    "xhttpmethodoverride",
    "xmethodoverride",
    "xoriginalurl",
    "xrealip",
    "xrewriteurl",
    "xoriginalhost",
];

const FORBIDDEN_BEGINNINGS: [&str; 3] = ["closegate", "proxy", "xforwarded"];

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn head(headers: &[(&str, &'static str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from_static(value.as_bytes())));
        Head { method: "GET".to_owned(), target: "/".to_owned(), minor_version: 1, headers: headers.collect() }
    }

    #[test]
    fn the_headers_of_a_close_client_pass() {
        let names = ["host", "authorization", "user-agent", "accept", "accept-encoding", "content-type", "x-tz-offset"];
        let headers: Vec<_> = names.iter().map(|name| (*name, "x")).collect();
        assert_eq!(violation(&head(&headers)), None);
        assert_eq!(violation(&head(&[("Host", "a"), ("X-HTTP-Method-Override", "GET"), ("If-Match", "a")])), None);
    }

    #[test]
    fn what_a_gateway_must_drop_is_named() {
        for name in [
            "Cookie",
            "cookie2",
            "Closegate-Key",
            "X-Forwarded-For",
            "Forwarded",
            "Via",
            "TE",
            "Upgrade",
            "Keep-Alive",
            "HTTP2-Settings",
            "Proxy-Authorization",
            "Connection",
            "transfer_encoding",
            "X-Authorization",
            "X-Real-IP",
            "x-method-override",
            "x_http_method_override",
            "Expect",
        ] {
            let said = violation(&head(&[("host", "a"), (name, "x")])).unwrap();
            assert!(said.contains(name), "{said}");
        }
    }

    #[test]
    fn two_authorizations_and_no_host_are_violations() {
        assert!(violation(&head(&[("host", "a"), ("authorization", "a"), ("Authorization", "b")])).is_some());
        assert_eq!(violation(&head(&[])), Some("no `host`".to_owned()));
    }
}
