//! Who may speak to a listener at all: by the name it was called, and not a web page of somebody else.
//!
//! Against DNS rebinding and cross-site requests: a page must not reach a secret through localhost (security.md 29).

use std::net::IpAddr;
use std::time::Duration;

use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::request::Parts;

use super::error::ProxyError;
use crate::id::holds_key;

/// The rules of one listener's door.
#[derive(Debug, Clone)]
pub struct Door {
    /// How far the listener reaches.
    pub exposure: Exposure,
    /// The names it is called by (lower case, no port); none: loopback names on loopback, else any; `*`: any.
    pub hosts: Vec<String>,
    /// Most bytes of a request's body.
    pub max_body: u64,
    /// How long a body may take in all where it is read before it is known whether it may be sent.
    pub body_timeout: Duration,
}

/// From where a listener can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// From other machines.
    Network,
    /// From this machine, by whatever speaks to loopback: a browser with somebody's page as well.
    Loopback,
    /// By processes of this machine that may open its socket, which no browser does.
    Socket,
}

impl Exposure {
    /// Whether only this machine's own processes get there.
    pub(super) fn is_local(self) -> bool {
        self != Self::Network
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Door {
    /// Lets a request in by its host name and origin.
    pub(super) fn admit(&self, parts: &Parts) -> Result<(), ProxyError> {
        self.admit_host(parts)?;
        if self.exposure.is_local() { admit_origin(&parts.headers) } else { Ok(()) }
    }

    fn admit_host(&self, parts: &Parts) -> Result<(), ProxyError> {
        let named = parts.headers.get(HOST).map(|value| value.to_str().unwrap_or_default());
        if let Some(authority) = parts.uri.authority() {
            // RFC 9112 3.2.2: the target's authority is the host; a Host line that says otherwise is a trap.
            if named.is_some_and(|named| !named.eq_ignore_ascii_case(authority.as_str())) {
                return Err(ProxyError::Malformed("the target's authority and Host differ"));
            }
            return self.accept(authority.as_str(), true);
        }
        // HTTP/1.0 may do without; no browser does.
        named.map_or(Ok(()), |authority| self.accept(authority, false))
    }

    fn accept(&self, authority: &str, absolute: bool) -> Result<(), ProxyError> {
        let host = host_of(authority);
        let listed = self.hosts.iter().any(|name| name == "*" || name.eq_ignore_ascii_case(host));
        let any = self.hosts.is_empty() && self.exposure != Exposure::Loopback && !absolute;
        if listed || any || (self.exposure.is_local() && is_loopback_name(host)) {
            return Ok(());
        }
        let quotable = !host.is_empty() && host.len() <= 253 && !holds_key(host.as_bytes());
        Err(ProxyError::HostRefused { asked: quotable.then(|| host.to_ascii_lowercase()) })
    }
}

/// A browser says where a request comes from; programs say nothing.
fn admit_origin(headers: &HeaderMap) -> Result<(), ProxyError> {
    let own = headers.get(HOST).map(|value| value.as_bytes());
    for origin in headers.get_all(ORIGIN) {
        let bytes = origin.as_bytes();
        let authority = bytes.strip_prefix(b"http://").or_else(|| bytes.strip_prefix(b"https://"));
        if authority.is_none() || authority != own {
            return Err(ProxyError::OriginRefused);
        }
    }
    let same_site = |value: &[u8]| matches!(value, b"same-origin" | b"none");
    if headers.get_all(SEC_FETCH_SITE).iter().all(|value| same_site(value.as_bytes())) {
        Ok(())
    } else {
        Err(ProxyError::OriginRefused)
    }
}

/// The host of `host[:port]`, an IPv6 address with its brackets.
fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

fn is_loopback_name(host: &str) -> bool {
    // What nearly everybody calls it.
    if matches!(host, "127.0.0.1" | "localhost") {
        return true;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.eq_ignore_ascii_case("localhost")
        || host.len() > 10 && host.as_bytes()[host.len() - 10..].eq_ignore_ascii_case(b".localhost");
    name || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(door: &Door, uri: &str, headers: &[(&str, &str)]) -> Result<(), ProxyError> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        door.admit(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn on_loopback_only_loopback_names_are_served() {
        let door = Door { exposure: Exposure::Loopback, hosts: Vec::new(), max_body: 0, body_timeout: Duration::ZERO };
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.8.8", "[::1]:8080", "a.localhost"] {
            assert!(asked(&door, "/", &[("host", host)]).is_ok(), "{host}");
        }
        for host in ["example.com", "localhost.example.com", "10.0.0.1", "localhost.", "1.127.0.0.1.nip.io"] {
            let refused = asked(&door, "/", &[("host", host)]).unwrap_err();
            assert!(matches!(refused, ProxyError::HostRefused { asked: Some(_) }), "{host}");
        }
        assert!(asked(&door, "http://localhost/", &[("host", "localhost")]).is_ok());
        assert!(asked(&door, "http://evil.example/", &[("host", "evil.example")]).is_err());
        assert!(asked(&door, "http://localhost/", &[("host", "evil.example")]).is_err());
    }

    #[test]
    fn a_listed_name_is_served_beside_loopback_names() {
        let door = Door {
            exposure: Exposure::Loopback,
            hosts: vec!["gate.internal".to_owned()],
            max_body: 0,
            body_timeout: Duration::ZERO,
        };
        assert!(asked(&door, "/", &[("host", "Gate.internal:80")]).is_ok());
        assert!(asked(&door, "/", &[("host", "localhost")]).is_ok());
        let wide = Door {
            exposure: Exposure::Network,
            hosts: vec!["gate.internal".to_owned()],
            max_body: 0,
            body_timeout: Duration::ZERO,
        };
        assert!(asked(&wide, "/", &[("host", "localhost")]).is_err());
        let open = Door { exposure: Exposure::Network, hosts: Vec::new(), max_body: 0, body_timeout: Duration::ZERO };
        assert!(asked(&open, "/", &[("host", "whatever.example")]).is_ok());
        assert!(asked(&open, "http://whatever.example/", &[("host", "whatever.example")]).is_err());
        let socket = Door { exposure: Exposure::Socket, ..open };
        assert!(asked(&socket, "/", &[("host", "whatever.example")]).is_ok());
        let named = Door { exposure: Exposure::Socket, ..wide };
        assert!(asked(&named, "/", &[("host", "gate.internal")]).is_ok());
        assert!(asked(&named, "/", &[("host", "localhost")]).is_ok());
        assert!(asked(&named, "/", &[("host", "whatever.example")]).is_err());
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let door = Door { exposure: Exposure::Loopback, hosts: Vec::new(), max_body: 0, body_timeout: Duration::ZERO };
        let with = |name, value| asked(&door, "/", &[("host", "localhost:8080"), (name, value)]);
        assert!(with("origin", "http://localhost:8080").is_ok());
        assert!(with("sec-fetch-site", "same-origin").is_ok());
        assert!(with("sec-fetch-site", "none").is_ok());
        for (name, value) in [
            ("origin", "http://localhost:3000"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(matches!(with(name, value), Err(ProxyError::OriginRefused)), "{name}: {value}");
        }
    }
}
