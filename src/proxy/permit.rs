//! Who asks, where it leads, whether it may: the proof that a request may be sent.

mod clearance;
mod steps;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::Method;
use http::request::Parts;
use http::uri::PathAndQuery;

use self::clearance::Clearance;
pub use self::steps::Steps;
use super::door::Door;
use super::error::ProxyError;
use super::inbound::{self, Inbound, Shown};
use crate::catalogue::Judgement;
use crate::edge::WireFault;
use crate::keys::{Admission, Caller, Key, KeySet, Presented, Slot};
use crate::path::{DecisionPath, PathFault, RequestPath};
use crate::routes::{Doubled, Route, RouteTable};
use crate::rule::{Rule, Ruling};
use crate::scope::Scope;
use crate::telemetry::Label;

/// A caller and the route that its path leads to; only [`Access::decide`] makes a [`Permit`] of it.
pub struct Found {
    key: Option<Arc<Key>>,
    route: Arc<Route>,
    target: PathAndQuery,
    /// Where in the path what follows the prefix begins.
    from: usize,
    prefixed: bool,
    /// Whether anybody could ask this here: then a key is named, and what it may do decides nothing (contract.md 3).
    open: bool,
}

/// The proof that a known or admitted caller may ask this of this route.
pub struct Permit(Found);

/// A request that may be sent if its body says so: its key has one of the scopes that the body may take, not both.
pub(super) struct Sealed(Found);

/// What becomes of a request that is not refused.
pub(super) enum Decision {
    /// It may be sent.
    Permitted(Permit),
    /// Its body decides.
    Sealed(Sealed),
    /// It asks what its key may do, which the gateway itself answers.
    Introspection(Arc<Key>),
}

/// What is left of a permit once its request is made: where the answer comes from, and what the caller called it.
pub(super) struct Leave {
    key: Option<Arc<Key>>,
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
    fn resolved(&mut self, found: &Found, inbound: &Inbound, judgement: Judgement);

    /// Its key may not ask this, and is only observed: it passes where it would be refused with this.
    fn objected(&mut self, objection: &ProxyError);
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
    pub(super) fn admit(
        &self,
        mut parts: Parts,
        shown: Shown,
        witness: &mut impl Witness,
    ) -> Result<Inbound, ProxyError> {
        self.door.admit(&parts)?;
        let presented = shown.judge(&parts.method)?;
        match inbound::sanitise(&mut parts, self.keys.sight(Some(&presented))) {
            Ok(asks) => {
                let Parts { method, uri, headers, .. } = parts;
                let target = uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
                Ok(Inbound { method, target, headers, presented, asks })
            }
            Err(fault) => {
                let caller = self.identify(&presented, SystemTime::now());
                if let Caller::Known(key) = &caller {
                    witness.identified(key);
                }
                Err(self.told(fault, &caller, parts.uri.path()))
            }
        }
    }

    /// The other steps, in their order: who, where, may.
    pub(super) fn decide(&self, inbound: &Inbound, witness: &mut impl Witness) -> Result<Decision, ProxyError> {
        let caller = self.identify(&inbound.presented, SystemTime::now());
        if let Caller::Known(key) = &caller {
            witness.identified(key);
        }
        let path = inbound.target.path();
        let path = RequestPath::parse(path).map_err(|fault| self.told(fault.into(), &caller, path))?;
        if is_introspection(inbound) {
            return self.introspect(caller);
        }
        let found = self.resolve(&inbound.target, path, caller)?;
        let clearance = found.clear(inbound, witness)?;
        Ok(match clearance {
            Clearance::Given => Decision::Permitted(Permit(found)),
            Clearance::ByStatus => Decision::Sealed(Sealed(found)),
        })
    }

    /// Decides once more about a request whose body was waited for, and which is known to take this scope.
    pub(super) fn decide_anew(
        &self,
        inbound: &Inbound,
        scope: Scope,
        witness: &mut impl Witness,
    ) -> Result<Permit, ProxyError> {
        match self.decide(inbound, witness)? {
            Decision::Permitted(permit) => Ok(permit),
            Decision::Sealed(sealed) => sealed.open(scope, witness),
            // Its path has not changed.
            Decision::Introspection(_) => Err(ProxyError::Internal),
        }
    }

    /// Who: a caller without a valid key goes on only where nobody needs one.
    fn identify(&self, presented: &Presented, now: SystemTime) -> Caller {
        self.keys.identify(presented, self.uid, now)
    }

    /// Only who has a valid key may ask what it may do.
    fn introspect(&self, caller: Caller) -> Result<Decision, ProxyError> {
        match caller {
            Caller::Known(key) => Ok(Decision::Introspection(key)),
            Caller::Unknown if self.keys.ever_defined() => Err(ProxyError::KeyInvalid),
            Caller::Unknown | Caller::Absent => Err(ProxyError::KeyMissing),
        }
    }

    /// What is wrong with a request is told those who may ask, and on open routes everybody; where a key is needed, that is
    /// what is wrong (contract.md 3: 401 whatever the path).
    fn told(&self, fault: ProxyError, caller: &Caller, path: &str) -> ProxyError {
        let is_open = || self.routes.guess(path).is_some_and(|route| self.is_open(route));
        match caller {
            Caller::Known(_) => fault,
            _ if self.needs_no_key() || is_open() => fault,
            Caller::Unknown if self.keys.ever_defined() => ProxyError::KeyInvalid,
            Caller::Unknown | Caller::Absent => ProxyError::KeyMissing,
        }
    }

    /// Where: 401 before any 404 (contract.md 3 "Who may call").
    fn resolve(&self, target: &PathAndQuery, path: RequestPath<'_>, caller: Caller) -> Result<Found, ProxyError> {
        let matched = self.routes.find(path);
        let open = matches!(&matched, Ok(Some(found)) if self.is_open(found.route));
        let key = match caller {
            Caller::Known(key) => Some(key),
            Caller::Unknown | Caller::Absent if open || self.needs_no_key() => None,
            Caller::Unknown if self.keys.ever_defined() => return Err(ProxyError::KeyInvalid),
            Caller::Unknown | Caller::Absent => return Err(ProxyError::KeyMissing),
        };
        // A slash repeated in a prefix tells that there is such a route: to those alone who may use it (security.md 27).
        let matched = match matched {
            Ok(matched) => matched,
            Err(Doubled { meant }) => {
                let told = meant.is_some_and(|meant| key.as_ref().is_none_or(|key| key.routes.contains(&meant)));
                let fault = if told { PathFault::RepeatedSlashInPrefix.into() } else { ProxyError::NoRoute };
                return Err(fault);
            }
        };
        match (matched, key) {
            (Some(found), key) if open || key.as_ref().is_none_or(|key| key.routes.contains(&found.route.index)) => {
                let from = target.path().len() - found.rest.len();
                Ok(Found { key, route: found.route.clone(), target: target.clone(), from, prefixed: true, open })
            }
            (None, Some(key)) if path.as_str().starts_with("/api/") => {
                let first = key.routes.first().and_then(|index| self.routes.by_index(*index));
                let route = first.ok_or(ProxyError::NoRoute)?.clone();
                Ok(Found { key: Some(key), route, target: target.clone(), from: 0, prefixed: false, open: false })
            }
            _ => Err(ProxyError::NoRoute),
        }
    }

    /// On loopback, as long as no key was ever defined.
    fn needs_no_key(&self) -> bool {
        self.door.exposure.is_local() && !self.keys.ever_defined()
    }

    fn is_open(&self, route: &Route) -> bool {
        matches!(self.openness(route), Openness::Open | Openness::Unguarded)
    }

    /// Whether callers of a route need a key.
    pub(super) fn openness(&self, route: &Route) -> Openness {
        if route.anonymous && (self.door.exposure.is_local() || route.danger_anonymous) {
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

impl Found {
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
    pub(super) fn upstream_path(&self) -> Cow<'_, str> {
        self.route.upstream_path(self.rest())
    }

    /// The key whose scopes and rules decide; none where nobody needs one.
    fn judge(&self) -> Option<&Key> {
        self.key.as_deref().filter(|_| !self.open)
    }

    /// What follows the prefix.
    fn rest(&self) -> &str {
        &self.target.path()[self.from..]
    }

    /// What the rules say of a method on the path that the upstream will see.
    pub(super) fn rulings(&self, method: &Method, path: &DecisionPath<'_>) -> Rulings<'_> {
        let key = self.judge().map(|key| key.rules.judge(method, path));
        Rulings { route: self.route.rules.judge(method, path), key }
    }

    /// How much: a place among the requests that the key may have in flight, if its limits admit one more, be it after a
    /// wait.
    fn admit(&self) -> Result<Admission, ProxyError> {
        let Some(key) = &self.key else { return Ok(Admission::Given(Slot::default())) };
        key.quota.admit(SystemTime::now()).map_err(ProxyError::KeyLimited)
    }

    /// The same for a request that has waited enough.
    fn admit_at_last(&self) -> Result<Slot, ProxyError> {
        let Some(key) = &self.key else { return Ok(Slot::default()) };
        key.quota.admit_at_last(SystemTime::now()).map_err(ProxyError::KeyLimited)
    }
}

impl Decision {
    /// A place among the requests that the key may have in flight, or what has to be waited for.
    pub(super) fn admit(&self) -> Result<Admission, ProxyError> {
        match self.found() {
            Some(found) => found.admit(),
            None => Ok(Admission::Given(Slot::default())),
        }
    }

    /// The same after a wait that was long enough.
    pub(super) fn admit_at_last(&self) -> Result<Slot, ProxyError> {
        self.found().map_or_else(|| Ok(Slot::default()), Found::admit_at_last)
    }

    fn found(&self) -> Option<&Found> {
        match self {
            Self::Permitted(Permit(found)) | Self::Sealed(Sealed(found)) => Some(found),
            Self::Introspection(_) => None,
        }
    }
}

impl Permit {
    /// The route that may be used.
    pub(super) fn route(&self) -> &Route {
        &self.0.route
    }

    /// The target at the upstream, with the query of the request.
    pub(super) fn target(&self) -> Result<PathAndQuery, ProxyError> {
        let Self(found) = self;
        // Nothing is taken from it, and nothing put before it.
        if found.from == 0 && found.route.origin.base().is_empty() {
            return Ok(found.target.clone());
        }
        let target = found.route.upstream_target(found.rest(), found.target.query());
        target.map_err(|_| ProxyError::Wire(WireFault::UriTooLong))
    }

    /// The permit without the path, which may go.
    pub(super) fn leave(self) -> Leave {
        Leave { key: self.0.key, route: self.0.route, prefixed: self.0.prefixed }
    }
}

/// Whether it asks what its key may do (contract.md 3).
fn is_introspection(inbound: &Inbound) -> bool {
    let path = inbound.target.path();
    path.strip_prefix(INTROSPECTION).is_some_and(|rest| matches!(rest, "" | "/"))
        && matches!(inbound.method, Method::GET | Method::HEAD)
}

/// The one path that no route leads away from the gateway.
const INTROSPECTION: &str = "/.well-known/closegate";

impl Leave {
    /// The route as it is now, if what was found of caller and route still holds: by these keys and routes, for who presents
    /// this.
    pub(super) fn stands_by<'r>(
        &self,
        keys: &KeySet,
        routes: &'r RouteTable,
        caller: &Caller,
    ) -> Result<&'r Route, ProxyError> {
        let same = |route: &&Arc<Route>| route.origin == self.route.origin;
        let route = routes.named(&self.route.name).filter(same).map(|route| &**route).ok_or(ProxyError::NoRoute);
        match (&self.key, caller) {
            (Some(key), Caller::Known(known)) if known.name == key.name => {
                let route = route?;
                if known.routes.contains(&route.index) || self.is_open(route) {
                    Ok(route)
                } else {
                    Err(ProxyError::NoRoute)
                }
            }
            (Some(_), _) => Err(ProxyError::KeyInvalid),
            (None, _) if !keys.ever_defined() => route,
            (None, _) => route.ok().filter(|route| self.is_open(route)).ok_or(ProxyError::KeyMissing),
        }
    }

    /// Whether a route that was declared to need no key still is, as widely.
    fn is_open(&self, route: &Route) -> bool {
        self.route.anonymous && route.anonymous && self.route.danger_anonymous == route.danger_anonymous
    }

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
mod tests;
