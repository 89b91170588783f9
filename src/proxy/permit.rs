//! Who asks, where it leads, whether it may: the proof that a request may be sent.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use http::request::Parts;
use http::uri::PathAndQuery;

use super::asks::Asks;
use super::door::Door;
use super::error::ProxyError;
use super::inbound::Inbound;
use crate::catalogue::{Catalogue, Judgement};
use crate::edge::WireFault;
use crate::keys::{Caller, Key, KeySet, Presented};
use crate::path::{DecisionPath, RequestPath};
use crate::routes::{Route, RouteTable, is_secrets_endpoint};
use crate::rule::{Rule, Ruling};
use crate::telemetry::Label;

/// A caller and the route that its path leads to; only [`Found::authorise`] makes a [`Permit`] of it.
pub(super) struct Found<'p> {
    key: Option<Arc<Key>>,
    route: Arc<Route>,
    rest: &'p str,
    prefixed: bool,
}

/// The proof that a known or admitted caller may ask this of this route.
pub(super) struct Permit<'p> {
    rest: &'p str,
    leave: Leave,
}

/// What is left of a permit once its request is made: where the answer comes from, and what the caller called it.
pub(super) struct Leave {
    route: Arc<Route>,
    prefixed: bool,
}

/// What the rules say of a request, those of its route and those of its key.
pub(super) struct Rulings<'f> {
    pub(super) route: Ruling<&'f Rule>,
    pub(super) key: Option<Ruling<&'f Rule>>,
}

/// Who is told how far a request came, whether it gets its permit or not.
pub(super) trait Witness {
    /// It presents a valid key.
    fn identified(&mut self, key: &Key);

    /// Its path leads to a route, where the catalogue says this of it.
    fn resolved(&mut self, found: &Found<'_>, inbound: &Inbound, judgement: Judgement);
}

/// Whether a route needs a key at a listener, from open to closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Openness {
    /// Nobody needs one, because the route says so.
    Open,
    /// Nobody needs one as long as none was ever defined.
    Unguarded,
    /// Everybody needs one.
    Guarded,
    /// Everybody needs one, and there is none.
    Closed,
}

/// Who may call what.
#[derive(Clone, Copy)]
pub(super) struct Access<'a> {
    pub(super) keys: &'a KeySet,
    pub(super) routes: &'a RouteTable,
    pub(super) door: &'a Door,
    /// The user at the other end of a Unix socket.
    pub(super) uid: Option<u32>,
}

impl Access<'_> {
    /// The first step: what may come in at the listener, without what is the gateway's own.
    pub(super) fn admit(&self, parts: Parts) -> Result<Inbound, ProxyError> {
        self.door.admit(&parts)?;
        Inbound::sanitise(parts, self.keys)
    }

    /// The other steps, in their order: who, where, may.
    pub(super) fn decide<'p>(
        &self,
        inbound: &Inbound,
        target: &'p PathAndQuery,
        witness: &mut impl Witness,
    ) -> Result<Permit<'p>, ProxyError> {
        let path = RequestPath::parse(target.path())?;
        let caller = self.identify(&inbound.presented, SystemTime::now());
        if let Caller::Known(key) = &caller {
            witness.identified(key);
        }
        let found = self.resolve(path, caller)?;
        let upstream_path = found.upstream_path();
        let asked = DecisionPath::of(&upstream_path);
        witness.resolved(&found, inbound, Catalogue::close().judge(inbound.asks.effective(), &asked));
        found.authorise(&inbound.asks, &asked)
    }

    /// Who: a caller without a valid key goes on only where nobody needs one.
    fn identify(&self, presented: &Presented, now: SystemTime) -> Caller {
        self.keys.identify(presented, self.uid, now)
    }

    /// Where: 401 before any 404 (contract.md 3 "Who may call").
    fn resolve<'p>(&self, path: RequestPath<'p>, caller: Caller) -> Result<Found<'p>, ProxyError> {
        let matched = self.routes.find(path);
        let open = matches!(&matched, Ok(Some(found)) if self.is_open(found.route));
        let key = match caller {
            Caller::Known(key) => Some(key),
            Caller::Unknown | Caller::Absent if open || self.needs_no_key() => None,
            Caller::Unknown if self.keys.ever_defined() => return Err(ProxyError::KeyInvalid),
            Caller::Unknown | Caller::Absent => return Err(ProxyError::KeyMissing),
        };
        // A slash repeated in a prefix tells that there is such a route: to nobody without a key (security.md 27).
        match (matched?, key) {
            (Some(found), key) if open || key.as_ref().is_none_or(|key| key.routes.contains(&found.route.index)) => {
                Ok(Found { key, route: found.route.clone(), rest: found.rest, prefixed: true })
            }
            (None, Some(key)) if path.as_str().starts_with("/api/") => {
                let first = key.routes.first().and_then(|index| self.routes.by_index(*index));
                let route = first.ok_or(ProxyError::NoRoute)?.clone();
                Ok(Found { key: Some(key), route, rest: path.as_str(), prefixed: false })
            }
            _ => Err(ProxyError::NoRoute),
        }
    }

    /// On loopback, as long as no key was ever defined.
    fn needs_no_key(&self) -> bool {
        self.door.loopback && !self.keys.ever_defined()
    }

    fn is_open(&self, route: &Route) -> bool {
        matches!(self.openness(route), Openness::Open | Openness::Unguarded)
    }

    /// Whether callers of a route need a key.
    pub(super) fn openness(&self, route: &Route) -> Openness {
        if route.anonymous && (self.door.loopback || route.danger_anonymous) {
            Openness::Open
        } else if self.needs_no_key() {
            Openness::Unguarded
        } else if self.keys.ever_defined() {
            Openness::Guarded
        } else {
            Openness::Closed
        }
    }
}

impl<'p> Found<'p> {
    /// The caller's label: its key's, or that of anybody on an open route.
    pub(super) fn key_label(&self) -> Label {
        self.key.as_ref().map_or(Label::ANONYMOUS, |key| key.label)
    }

    /// The route.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// Whether the path begins with the route's prefix; if not, the route is the first of the key.
    pub(super) fn is_prefixed(&self) -> bool {
        self.prefixed
    }

    /// The path that the upstream will see.
    pub(super) fn upstream_path(&self) -> Cow<'p, str> {
        self.route.upstream_path(self.rest)
    }

    /// What the rules say of a method on the path that the upstream will see.
    pub(super) fn rulings(&self, method: &Method, path: &DecisionPath<'_>) -> Rulings<'_> {
        let key = self.key.as_ref().map(|key| key.rules.judge(method, path));
        Rulings { route: self.route.rules.judge(method, path), key }
    }

    /// May: the rules of the route and of the key, and what is never forwarded.
    fn authorise(self, asks: &Asks, path: &DecisionPath<'_>) -> Result<Permit<'p>, ProxyError> {
        let below_base = DecisionPath::of(self.rest);
        if is_secrets_endpoint(path) || is_secrets_endpoint(&below_base) {
            return Err(ProxyError::SecretsEndpoint);
        }
        if asks.all(path, |method| self.rulings(method, path).permit()) {
            Ok(Permit { rest: self.rest, leave: Leave { route: self.route, prefixed: self.prefixed } })
        } else {
            Err(ProxyError::PathDenied)
        }
    }
}

impl Rulings<'_> {
    /// Whether both permit it.
    fn permit(&self) -> bool {
        self.route.permits() && self.key.is_none_or(Ruling::permits)
    }
}

impl Permit<'_> {
    /// The route that may be used.
    pub(super) fn route(&self) -> &Route {
        &self.leave.route
    }

    /// The target at the upstream, with the query of the request.
    pub(super) fn target(&self, query: Option<&str>) -> Result<PathAndQuery, ProxyError> {
        self.route().upstream_target(self.rest, query).map_err(|_| ProxyError::Wire(WireFault::UriTooLong))
    }

    /// The permit without the path, which may go.
    pub(super) fn leave(self) -> Leave {
        self.leave
    }
}

impl Leave {
    /// The route that was used.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// The prefix that the caller wrote, empty for a prefix-less call and for the root.
    pub(super) fn written_prefix(&self) -> &str {
        match self.route.prefix.as_str() {
            "/" => "",
            prefix if self.prefixed => prefix,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::id::{CredentialId, KeyName, RouteName};
    use crate::keys;
    use crate::origin::Origin;
    use crate::path::Prefix;
    use crate::rule::Rules;

    fn routes() -> RouteTable {
        let route = |(index, name): (u32, &str)| Route {
            name: RouteName::parse(name).unwrap(),
            label: Label::NONE,
            prefix: Prefix::parse(&format!("/{name}")).unwrap(),
            credential: CredentialId(0),
            credential_label: Label::NONE,
            origin: Origin::close(),
            host: HeaderValue::from_static("api.close.com"),
            rules: Rules::default(),
            anonymous: false,
            danger_anonymous: false,
            index,
        };
        RouteTable::new((0..).zip(["sales", "partner"]).map(route).collect())
    }

    fn keys() -> KeySet {
        let key = keys::Key {
            name: KeyName::parse("tool").unwrap(),
            label: Label::NONE,
            digest: Some(keys::digest(b"the-key-of-the-tool")),
            uid: None,
            opaque_length: None,
            routes: vec![0],
            rules: Rules::default(),
            expires: None,
        };
        KeySet::new(vec![key]).unwrap()
    }

    fn fault(key: Option<&'static str>, path: &str) -> Option<ProxyError> {
        let (routes, keys, door) = (routes(), keys(), Door { loopback: true, hosts: Vec::new(), max_body: 0 });
        let access = Access { keys: &keys, routes: &routes, door: &door, uid: None };
        let mut headers = HeaderMap::new();
        headers.extend(
            key.map(|key| (http::header::HeaderName::from_static("closegate-key"), HeaderValue::from_static(key))),
        );
        let caller = access.identify(&Presented::read(&headers).unwrap(), SystemTime::UNIX_EPOCH);
        access.resolve(RequestPath::parse(path).unwrap(), caller).err()
    }

    /// security.md 27: a stranger gets one answer, whether a route is there or not.
    #[test]
    fn a_stranger_learns_of_no_route() {
        for path in ["/sales/x", "/partner", "//sales/x", "/nowhere", "//nowhere", "/api/v1/me/", "/"] {
            assert!(matches!(fault(None, path), Some(ProxyError::KeyMissing)), "{path}");
            assert!(matches!(fault(Some("no-such-key-at-all"), path), Some(ProxyError::KeyInvalid)), "{path}");
        }
    }

    #[test]
    fn a_key_leads_to_its_own_routes() {
        let known = |path| fault(Some("the-key-of-the-tool"), path);
        for path in ["/sales", "/sales/api/v1/me/", "/sales//x", "/api/v1/me/"] {
            assert!(known(path).is_none(), "{path}");
        }
        for path in ["/partner/x", "/nowhere", "//api/v1/me/", "/"] {
            assert!(matches!(known(path), Some(ProxyError::NoRoute)), "{path}");
        }
        assert!(matches!(known("//sales/x"), Some(ProxyError::Path(_))));
    }
}
