//! Routes: which prefix leads to which credential at which upstream.

mod prefix;

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderValue;
use http::uri::PathAndQuery;

pub use self::prefix::{Doubled, Match, RouteTable};
use crate::id::{CredentialId, RouteName};
use crate::origin::Origin;
use crate::path::{DecisionPath, Prefix};
use crate::rule::Rules;
use crate::telemetry::Label;

/// One route, everything about it fixed at load.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// Its name in metrics and records.
    pub label: Label,
    /// What its paths begin with.
    pub prefix: Prefix,
    /// As whom its requests are sent.
    pub credential: CredentialId,
    /// The credential's name in metrics and records.
    pub credential_label: Label,
    /// Where they are sent.
    pub origin: Origin,
    /// The `Host` they are sent with.
    pub host: HeaderValue,
    /// What may be asked.
    pub rules: Rules,
    /// Whether callers need no key, on loopback.
    pub anonymous: bool,
    /// Whether they need none beyond loopback.
    pub danger_anonymous: bool,
    /// Its place in the table.
    pub index: u32,
}

/// A request's target is longer, with the upstream's base before it, than a target can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the target is too long for the upstream's base path")]
pub struct TargetTooLong;

impl Route {
    /// The path that the upstream sees: the origin's base and what follows the prefix, byte for byte.
    pub fn upstream_path<'p>(&self, rest: &'p str) -> Cow<'p, str> {
        match (self.origin.base(), rest) {
            ("", "") => Cow::Borrowed("/"),
            ("", rest) => Cow::Borrowed(rest),
            (base, rest) => Cow::Owned([base, rest].concat()),
        }
    }

    /// The request's target at the upstream, joined once into a buffer of the right size.
    ///
    /// `rest` is empty or begins with a slash and is canonical, so that the path stays under the base.
    pub fn upstream_target(&self, rest: &str, query: Option<&str>) -> Result<PathAndQuery, TargetTooLong> {
        assert!(rest.is_empty() || rest.starts_with('/'), "what follows a prefix begins at a segment");
        let path = self.upstream_path(rest);
        let mut target = BytesMut::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
        target.put_slice(path.as_bytes());
        if let Some(query) = query {
            target.put_u8(b'?');
            target.put_slice(query.as_bytes());
        }
        let joined: Bytes = target.freeze();
        // Base, path and query were each found valid: together they can only be too long.
        PathAndQuery::from_maybe_shared(joined).map_err(|_| TargetTooLong)
    }
}

/// Whether the path (as the upstream sees it) hands out or changes secrets: `/oauth2/**`, `/api/v1/api_key/**`.
///
/// Compared without regard to case: whether the upstream regards it is not known, and nothing else begins so.
pub fn is_secrets_endpoint(path: &DecisionPath<'_>) -> bool {
    ["/oauth2", "/api/v1/api_key"].iter().any(|place| {
        let (asked, place) = (path.as_str().as_bytes(), place.as_bytes());
        let begins = asked.get(..place.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(place));
        begins && matches!(asked.get(place.len()), None | Some(b'/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn route(index: u32, prefix: &str, url: &str) -> Route {
        let origin = Origin::parse(url).unwrap();
        Route {
            name: RouteName::parse(&format!("r{index}")).unwrap(),
            label: Label::NONE,
            prefix: Prefix::parse(prefix).unwrap(),
            credential: CredentialId(0),
            credential_label: Label::NONE,
            host: HeaderValue::from_str(&origin.authority()).unwrap(),
            origin,
            rules: Rules::default(),
            anonymous: false,
            danger_anonymous: false,
            index,
        }
    }

    #[test]
    fn path_and_query_are_joined_byte_for_byte() {
        for (url, rest, query, target) in [
            ("https://h", "/api/v1//a%20b/", Some("q=%3a+b&c"), "/api/v1//a%20b/?q=%3a+b&c"),
            ("https://h", "", None, "/"),
            ("https://h", "", Some(""), "/?"),
            ("https://h", "//a", None, "//a"),
            ("https://h/base", "/a", Some("b"), "/base/a?b"),
            ("https://h/base", "", None, "/base"),
        ] {
            let joined = route(0, "/sales", url).upstream_target(rest, query).unwrap();
            assert_eq!(joined.as_str(), target);
        }
    }

    #[test]
    fn a_target_that_the_base_makes_too_long_goes_nowhere() {
        let (path, query) = ("/".to_owned() + &"a".repeat(60_000), "b".repeat(5_530));
        assert!(route(0, "/", "https://h").upstream_target(&path, Some(&query)).is_ok());
        assert_eq!(route(0, "/", "https://h/base").upstream_target(&path, Some(&query)), Err(TargetTooLong));
    }

    #[test]
    fn endpoints_of_secrets_are_known_in_every_spelling() {
        for path in [
            "/oauth2",
            "/oauth2/token/",
            "/OAuth2//revoke",
            "/api/v1/api_key",
            "/api/v1/api_key/x/",
            "//API//v1/Api_Key",
        ] {
            assert!(is_secrets_endpoint(&DecisionPath::of(path)), "{path}");
        }
        for path in ["/", "/oauth", "/api/v1/api_keys", "/api/v1/lead/api_key", "/x/oauth2"] {
            assert!(!is_secrets_endpoint(&DecisionPath::of(path)), "{path}");
        }
    }
}
