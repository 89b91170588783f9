//! What a request asks for: its method, and the one that overrides it (contract.md 4, security.md 28).
//!
//! Close heeds `X-HTTP-Method-Override` on POST. A spelling that it may or may not heed is refused, since a rule would
//! judge another method than the one that is carried out.

use http::{HeaderMap, HeaderName, Method};
use percent_encoding::percent_decode;

use super::error::ProxyError;
use crate::catalogue::Catalogue;
use crate::path::DecisionPath;

/// The methods of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asks {
    written: Method,
    overriding: Option<Method>,
}

const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

impl Asks {
    pub(super) fn read(method: &Method, headers: &HeaderMap, query: Option<&str>) -> Result<Self, ProxyError> {
        if query.is_some_and(has_method_parameter) {
            return Err(ProxyError::Malformed("a `_method` parameter is no way to ask for another method"));
        }
        let mut lines = headers.get_all(OVERRIDE).iter();
        let overriding = match (lines.next(), lines.next()) {
            (None, _) => None,
            (Some(_), Some(_)) => return Err(ProxyError::Malformed("there are two `X-HTTP-Method-Override` lines")),
            (Some(value), None) if method == Method::POST => Some(overriding(value.as_bytes())?),
            (Some(_), None) => {
                return Err(ProxyError::Malformed("`X-HTTP-Method-Override` goes with POST alone"));
            }
        };
        Ok(Self { written: method.clone(), overriding })
    }

    /// The method that the upstream carries out.
    pub(super) fn effective(&self) -> &Method {
        self.overriding.as_ref().unwrap_or(&self.written)
    }

    /// The methods under each of which the request must be permitted: the written and the overriding one; for a POST that
    /// stands for a GET of the catalogue the GET alone.
    pub(super) fn decisive(&self, path: &DecisionPath<'_>) -> impl Iterator<Item = &Method> {
        let is_get = |method: &Method| method == Method::GET && Catalogue::close().lookup(method, path).is_some();
        let written = if self.overriding.as_ref().is_some_and(is_get) { None } else { Some(&self.written) };
        written.into_iter().chain(&self.overriding)
    }
}

fn overriding(value: &[u8]) -> Result<Method, ProxyError> {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    let found = known.into_iter().find(|method| method.as_str().as_bytes() == value);
    found.ok_or(ProxyError::Malformed("`X-HTTP-Method-Override` names no method"))
}

/// Whether a parameter is called `_method` once its percent-encoding is undone, with or without blanks before it and what
/// some servers take for a part of the name behind it (`_method[]`, `_method.x`).
fn has_method_parameter(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let blank = |byte: &u8| matches!(byte, b'+' | b' ' | 0..=31);
        let mut letters = percent_decode(name.as_bytes()).skip_while(blank);
        let is_called =
            b"_method".iter().all(|letter| letters.next().is_some_and(|byte| byte.eq_ignore_ascii_case(letter)));
        is_called && letters.next().is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_')
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(method: Method, value: Option<&'static str>, query: Option<&str>) -> Result<Asks, ProxyError> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(OVERRIDE, HeaderValue::from_static(value));
        }
        Asks::read(&method, &headers, query)
    }

    #[test]
    fn an_override_must_be_permitted_under_both_methods() {
        let asks = read(Method::POST, Some("DELETE"), None).unwrap();
        let path = DecisionPath::of("/api/v1/lead/lead_1");
        assert_eq!(asks.effective(), Method::DELETE);
        assert_eq!(asks.decisive(&path).collect::<Vec<_>>(), [Method::POST, Method::DELETE]);
        let plain = read(Method::DELETE, None, None).unwrap();
        assert_eq!(plain.decisive(&path).collect::<Vec<_>>(), [Method::DELETE]);
    }

    #[test]
    fn a_post_that_stands_for_a_documented_get_is_a_get() {
        let asks = read(Method::POST, Some("GET"), None).unwrap();
        let decisive = |path| asks.decisive(&DecisionPath::of(path)).cloned().collect::<Vec<_>>();
        assert_eq!(decisive("/api/v1/lead"), [Method::GET]);
        assert_eq!(decisive("/api/v1/no/such/thing"), [Method::POST, Method::GET]);
    }

    #[test]
    fn odd_overrides_are_refused() {
        for value in ["get", "Get", "FROB", "", "GET, PUT"] {
            assert!(read(Method::POST, Some(value), None).is_err(), "{value}");
        }
        assert!(read(Method::GET, Some("GET"), None).is_err());
        for query in [
            "_method=PUT",
            "a=1&_method=x",
            "%5fmethod=PUT",
            "_m%65thod",
            "a;_method=b",
            "_METHOD=PUT",
            "_method[]=PUT",
            "_method%5B0%5d=x",
        ] {
            assert!(read(Method::POST, None, Some(query)).is_err(), "{query}");
        }
        assert!(read(Method::GET, None, Some("_limit=1&x_method=2&_methods=3&_metho%=4")).is_ok());
    }
}
