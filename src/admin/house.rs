//! By which names an operator's listener is called, and from which pages: against DNS rebinding and requests forged by
//! other sites (contract.md 7, security.md 29).

use std::net::IpAddr;

use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

use super::refusal::{Code, Refusal};
use super::serve::Came;
use crate::id::holds_key;
use crate::origin::{Origin, Scheme};

/// The names of an operator's listener.
#[derive(Debug, Clone, Default)]
pub struct House {
    /// Where browsers reach it from outside.
    pub public_url: Option<Origin>,
    /// Further names, in lower case, without a port; `*`: any.
    pub hosts: Vec<String>,
    /// The address that it listens on.
    pub address: Option<IpAddr>,
}

/// What a request from another site may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// Nothing: the page and programs ask.
    Own,
    /// A person who follows a link, or is sent here by Close.
    Arrival,
}

impl House {
    /// Lets a request in by the name that it calls, and by the page that it comes from.
    pub(super) fn admit(&self, parts: &Parts, visit: Visit) -> Result<(), Refusal> {
        let host = self.host(parts)?;
        self.admit_origin(&parts.headers, host, visit)
    }

    /// Whether what a browser sees of this request is `https`: then cookies are bound to that.
    pub(super) fn is_https(&self, headers: &HeaderMap, came: Came) -> bool {
        let secure = self.public_url.as_ref().filter(|url| url.scheme() == Scheme::Https);
        came.tls || secure.is_some_and(|url| self::host(headers).is_some_and(|host| calls(url, host)))
    }

    /// Whether a URL leads to this listener: by `public_url`, else by a name of this machine and the port that a request came
    /// to, which is of a program here.
    pub(super) fn is_at(&self, url: &str, headers: &HeaderMap, came: Came) -> bool {
        let public = self.public_url.as_ref().and_then(|public| url.strip_prefix(&public.to_string()));
        if public.is_some_and(|rest| rest.starts_with('/')) {
            return true;
        }
        let Ok(uri) = url.parse::<http::Uri>() else { return false };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
        let usual = if came.tls { 443 } else { 80 };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(usual);
        let called = self::host(headers).and_then(|host| host.parse::<Authority>().ok());
        scheme == if came.tls { "https" } else { "http" }
            && self.is_called(authority.as_str())
            && called.is_some_and(|called| port(&called) == port(authority))
    }

    fn host<'p>(&self, parts: &'p Parts) -> Result<&'p str, Refusal> {
        let mut hosts = parts.headers.get_all(HOST).iter();
        let (host, more) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next().is_some());
        let host = match (host, parts.uri.authority(), more) {
            // RFC 9112 3.2.2: the target's authority is the host; a Host line that says otherwise is a trap.
            (Some(host), Some(authority), false) if host.eq_ignore_ascii_case(authority.as_str()) => host,
            (Some(host), None, false) => host,
            _ => return Err(Refusal::new(Code::HostRefused, "the request names no host, or more than one")),
        };
        if self.is_called(host) { Ok(host) } else { Err(stranger(host)) }
    }

    fn is_called(&self, authority: &str) -> bool {
        let host = host_of(authority);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().ok();
        self.hosts.iter().any(|name| name == "*" || name.eq_ignore_ascii_case(host))
            || self.public_url.as_ref().is_some_and(|url| url.host().eq_ignore_ascii_case(bare))
            || is_loopback_name(host)
            || address.is_some_and(|address| address.is_loopback() || Some(address) == self.address)
    }

    /// A browser says where a request comes from; programs say nothing.
    fn admit_origin(&self, headers: &HeaderMap, host: &str, visit: Visit) -> Result<(), Refusal> {
        let own = |origin: &[u8]| {
            let origin = std::str::from_utf8(origin).unwrap_or_default();
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let public = self.public_url.as_ref().is_some_and(|url| origin.eq_ignore_ascii_case(&url.to_string()));
            public || authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        let same_site = |value: &[u8]| match visit {
            Visit::Own => matches!(value, b"same-origin" | b"none"),
            Visit::Arrival => true,
        };
        let origins = headers.get_all(ORIGIN).iter().all(|origin| own(origin.as_bytes()));
        let sites = headers.get_all(SEC_FETCH_SITE).iter().all(|site| same_site(site.as_bytes()));
        if origins && sites {
            return Ok(());
        }
        let hint = "a page of another site may not ask here; behind a proxy, set `[admin] public_url`";
        Err(Refusal::new(Code::OriginRefused, "a browser sends this from another site").hint(hint))
    }
}

/// The `Host` of a request.
fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST)?.to_str().ok()
}

fn stranger(host: &str) -> Refusal {
    let host = host_of(host).to_ascii_lowercase();
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'[' | b']' | b':');
    let quotable = !host.is_empty() && host.len() <= 253 && host.bytes().all(name) && !holds_key(host.as_bytes());
    if !quotable {
        return Refusal::new(Code::HostRefused, "this listener is not called by that `Host`");
    }
    Refusal::new(Code::HostRefused, format!("this listener is not called `{host}`"))
        .hint(format!("`[admin] hosts = [\"{host}\"]`, or `public_url`, makes it answer to that name"))
}

/// Whether an authority is that of a URL.
fn calls(url: &Origin, authority: &str) -> bool {
    url.authority().eq_ignore_ascii_case(authority) || url.host_and_port().eq_ignore_ascii_case(authority)
}

/// The host of `host[:port]`, an IPv6 address with its brackets.
fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

fn is_loopback_name(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") && host.len() > 10
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn house() -> House {
        House {
            public_url: Some(Origin::parse("https://gate.example.com").unwrap()),
            hosts: vec!["admin.internal".to_owned()],
            address: Some([192, 0, 2, 7].into()),
        }
    }

    fn asked(visit: Visit, headers: &[(&str, &str)]) -> Result<(), Code> {
        let mut request = Request::builder().uri("/api/v1/keys");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        house().admit(&request.body(()).unwrap().into_parts().0, visit).map_err(|refusal| refusal.code)
    }

    #[test]
    fn the_listener_answers_to_its_own_names_alone() {
        for host in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1:8081",
            "[::1]:8081",
            "a.localhost",
            "gate.example.com",
            "Admin.internal:443",
            "192.0.2.7:8081",
        ] {
            assert_eq!(asked(Visit::Own, &[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "gate.example.com.evil.example", "192.0.2.8", "", ".localhost"]
        {
            assert_eq!(asked(Visit::Own, &[("host", host)]), Err(Code::HostRefused), "{host}");
        }
        assert_eq!(asked(Visit::Own, &[]), Err(Code::HostRefused));
        assert_eq!(asked(Visit::Own, &[("host", "localhost"), ("host", "localhost")]), Err(Code::HostRefused));
    }

    #[test]
    fn pages_of_other_sites_may_not_ask() {
        let with = |visit, name, value| asked(visit, &[("host", "gate.example.com"), (name, value)]);
        for (name, value) in [
            ("origin", "https://gate.example.com"),
            ("origin", "http://gate.example.com"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(with(Visit::Own, name, value), Ok(()), "{name}: {value}");
        }
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "https://gate.example.com:8443"),
            ("origin", "null"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
        ] {
            assert_eq!(with(Visit::Own, name, value), Err(Code::OriginRefused), "{name}: {value}");
        }
        assert_eq!(with(Visit::Arrival, "sec-fetch-site", "cross-site"), Ok(()), "Close sends a browser back");
        assert_eq!(with(Visit::Arrival, "origin", "https://evil.example"), Err(Code::OriginRefused));
    }

    #[test]
    fn a_link_is_one_to_this_listener_or_none() {
        let came = |tls| Came { peer: [127, 0, 0, 1].into(), tls };
        let at = |url: &str, tls| {
            let headers = [(HOST, "127.0.0.1:8081".parse().unwrap())].into_iter().collect::<HeaderMap>();
            house().is_at(url, &headers, came(tls))
        };
        for url in ["http://127.0.0.1:8081/x", "http://localhost:8081/x", "http://[::1]:8081/x"] {
            assert!(at(url, false) && !at(url, true), "{url}");
        }
        assert!(at("https://gate.example.com/oauth/start/x", false), "TLS ends before us");
        for url in [
            "https://localhost/oauth/start/x",
            "http://localhost:8080/x",
            "http://evil.example:8081/x",
            "https://gate.example.com.evil.example/x",
            "https://gate.example.com:8443/x",
            "http://gate.example.com/x",
            "/oauth/start/x",
            "",
        ] {
            assert!(!at(url, false), "{url}");
        }
    }

    #[test]
    fn cookies_are_bound_to_https_where_the_browser_sees_it() {
        let came = |tls| Came { peer: [127, 0, 0, 1].into(), tls };
        let headers = |host: &str| [(HOST, host.parse().unwrap())].into_iter().collect::<HeaderMap>();
        assert!(house().is_https(&headers("gate.example.com"), came(false)), "TLS ends before us");
        assert!(!house().is_https(&headers("localhost:8081"), came(false)));
        assert!(house().is_https(&headers("localhost:8081"), came(true)));
    }
}
