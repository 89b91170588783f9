//! Where an upstream is: a URL taken apart once, when it is loaded, into values that a request cannot change.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Authority;

/// `https`, or `http` for a simulator on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TLS.
    Https,
    /// Clear text: to loopback only, and only when `danger_cleartext_upstream` says so (security.md 40).
    Http,
}

/// Which addresses the name of an upstream may lead to (security.md 42).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Those of the public Internet.
    Public,
    /// Any: `danger_private_upstream` says so.
    Anywhere,
}

/// Why a text is no upstream URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginFault {
    /// Not a URL of the form `https://host[:port][/base]`.
    #[error("not a URL of the form `https://host[:port][/base]`")]
    Malformed,
    /// The scheme is neither `https` nor `http`.
    #[error("the scheme of an upstream is `https`, or `http` to loopback")]
    Scheme,
    /// The URL carries a user name or password.
    #[error("an upstream's URL carries no user name and no password")]
    Userinfo,
    /// The URL carries a query or a fragment.
    #[error("an upstream's URL has no query and no fragment")]
    Query,
}

/// An upstream: scheme, host, port and base path, and how far its name may lead, fixed at load.
///
/// Two origins that differ in their reach alone are two: what one permits, the other does not.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    parts: Arc<Parts>,
    reach: Reach,
}

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    scheme: Scheme,
    host: String,
    port: u16,
    base: String,
    authority: Authority,
}

impl Origin {
    /// Takes `https://host[:port][/base]` apart; the base loses its trailing slashes.
    pub fn parse(url: &str) -> Result<Self, OriginFault> {
        if url.contains(['#', '?']) {
            return Err(OriginFault::Query);
        }
        let uri: http::Uri = url.parse().map_err(|_| OriginFault::Malformed)?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            Some(_) => return Err(OriginFault::Scheme),
            None => return Err(OriginFault::Malformed),
        };
        let authority = uri.authority().ok_or(OriginFault::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(OriginFault::Userinfo);
        }
        let default_port = if scheme == Scheme::Https { 443 } else { 80 };
        let says_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(0) => return Err(OriginFault::Malformed),
            None if says_port => return Err(OriginFault::Malformed),
            port => port.unwrap_or(default_port),
        };
        let base = uri.path().trim_end_matches('/');
        crate::path::RequestPath::parse(if base.is_empty() { "/" } else { base })
            .map_err(|_| OriginFault::Malformed)?;
        let host = authority.host().to_ascii_lowercase();
        let authority = if port == default_port { host.clone() } else { format!("{host}:{port}") };
        let authority = Authority::try_from(authority).map_err(|_| OriginFault::Malformed)?;
        Ok(Self::of(Parts { scheme, host, port, base: base.to_owned(), authority }))
    }

    /// Close itself: `https://api.close.com`.
    pub fn close() -> Self {
        Self::of(Parts {
            scheme: Scheme::Https,
            host: "api.close.com".to_owned(),
            port: 443,
            base: String::new(),
            authority: Authority::from_static("api.close.com"),
        })
    }

    fn of(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), reach: Reach::Public }
    }

    /// The same upstream with another reach; a URL alone reaches public addresses.
    pub fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// The same host without the base path.
    pub fn without_base(self) -> Self {
        let Parts { scheme, ref host, port, ref authority, .. } = *self.parts;
        let parts = Parts { scheme, host: host.clone(), port, base: String::new(), authority: authority.clone() };
        Self { parts: Arc::new(parts), ..self }
    }

    /// Which addresses its name may lead to.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether both have the same URL, whatever their reach.
    pub fn has_url_of(&self, other: &Self) -> bool {
        self.parts == other.parts
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// The host without brackets: a name or an address.
    pub fn host(&self) -> &str {
        self.parts.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, the scheme's own when the URL says none.
    pub fn port(&self) -> u16 {
        self.parts.port
    }

    /// The base path without a trailing slash; empty when the URL has none.
    pub fn base(&self) -> &str {
        &self.parts.base
    }

    /// The value of the upstream's `Host` (RFC 9110 7.2): the port only when it is not the scheme's own.
    pub fn authority(&self) -> String {
        self.parts.authority.to_string()
    }

    /// The same as a part of a URI.
    pub fn uri_authority(&self) -> &Authority {
        &self.parts.authority
    }

    /// Host and port, also where the port is the scheme's own (RFC 9110 9.3.6: the target of CONNECT).
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.parts.host, self.parts.port)
    }

    /// Whether the host is `localhost` or a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.host() == "localhost" || self.host().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.parts.scheme == Scheme::Https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.parts.base)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let close = Origin::parse("https://API.close.com/").unwrap();
        assert_eq!((close.host(), close.port(), close.base()), ("api.close.com", 443, ""));
        assert_eq!(close.authority(), "api.close.com");
        assert_eq!((close.host_and_port().as_str(), &close), ("api.close.com:443", &Origin::close()));
        let local = Origin::parse("http://[::1]:8000/base/").unwrap();
        assert_eq!((local.host(), local.port(), local.base()), ("::1", 8000, "/base"));
        assert_eq!(local.authority(), "[::1]:8000");
        assert!(local.is_loopback());
    }

    #[test]
    fn the_reach_is_part_of_an_origin_and_not_of_its_url() {
        let public = Origin::close();
        let anywhere = public.clone().reaching(Reach::Anywhere);
        assert_eq!((public.reach(), anywhere.reach()), (Reach::Public, Reach::Anywhere));
        assert!(public != anywhere && public.has_url_of(&anywhere));
        assert!(!public.has_url_of(&Origin::parse("https://api.close.com/base").unwrap()));
    }

    #[test]
    fn what_is_no_upstream_is_refused() {
        assert_eq!(Origin::parse("https://u:p@h").unwrap_err(), OriginFault::Userinfo);
        assert_eq!(Origin::parse("ftp://h").unwrap_err(), OriginFault::Scheme);
        assert_eq!(Origin::parse("https://h/?q").unwrap_err(), OriginFault::Query);
        for bad in ["", "h", "/x", "https://", "https://h/a/../b", "https://h:0", "https://h:99999"] {
            assert_eq!(Origin::parse(bad).unwrap_err(), OriginFault::Malformed, "{bad}");
        }
    }
}
