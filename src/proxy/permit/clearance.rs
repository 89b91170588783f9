//! May: what a caller may ask, by scopes and rules, as far as a request's head tells, and by its body where that decides.

use super::{Found, Permit, Sealed, Witness};
use crate::catalogue::{Catalogue, Demand};
use crate::config::Mode;
use crate::path::DecisionPath;
use crate::proxy::error::ProxyError;
use crate::proxy::inbound::Inbound;
use crate::routes::is_secrets_endpoint;
use crate::rule::Ruling;
use crate::scope::{Scope, Scopes};

/// Whether a request may be sent, as far as its head tells.
pub(super) enum Clearance {
    /// It may.
    Given,
    /// Its body decides.
    ByStatus,
}

/// Whether scopes are enough for what a request takes.
enum Standing {
    Held,
    Lacking,
    /// One of the two that the body chooses between is there.
    ByStatus,
}

impl Found {
    /// May: what is never forwarded, the scopes of the key, the rules of the route and of the key.
    pub(super) fn clear(&self, inbound: &Inbound, witness: &mut impl Witness) -> Result<Clearance, ProxyError> {
        let upstream_path = self.upstream_path();
        let path = DecisionPath::of(&upstream_path);
        let judgement = Catalogue::close().judge(inbound.asks.effective(), &path);
        witness.resolved(self, inbound, judgement);
        if is_secrets_endpoint(&path) || is_secrets_endpoint(&DecisionPath::of(self.rest())) {
            return Err(ProxyError::SecretsEndpoint);
        }
        let mut clearance = Clearance::Given;
        for method in inbound.asks.decisive(&path) {
            let effective = method == inbound.asks.effective();
            let demand = if effective { judgement.demand } else { Catalogue::close().judge(method, &path).demand };
            match Standing::of(self.scopes(), demand) {
                Standing::Held => {}
                Standing::ByStatus => clearance = Clearance::ByStatus,
                Standing::Lacking => self.object(ProxyError::ScopeMissing { demand }, witness)?,
            }
            let rulings = self.rulings(method, &path);
            if !rulings.route.permits() {
                return Err(ProxyError::PathDenied);
            }
            if !rulings.key.is_none_or(Ruling::permits) {
                self.object(ProxyError::PathDenied, witness)?;
            }
        }
        Ok(clearance)
    }

    /// What the caller may do; who needs no key may do what the route allows.
    fn scopes(&self) -> Scopes {
        self.judge().map_or(Scopes::ALL, |key| key.scopes)
    }

    /// Refuses what the key may not ask, unless the key is only observed.
    fn object(&self, objection: ProxyError, witness: &mut impl Witness) -> Result<(), ProxyError> {
        if self.judge().is_none_or(|key| key.mode == Mode::Enforce) {
            return Err(objection);
        }
        witness.objected(&objection);
        Ok(())
    }
}

impl Standing {
    fn of(scopes: Scopes, demand: Demand) -> Self {
        let holds = |scope| scopes.contains(scope);
        match demand {
            Demand::Fixed(scope) if holds(scope) => Self::Held,
            Demand::Fixed(_) => Self::Lacking,
            Demand::ByStatus => match (holds(Scope::Write), holds(Scope::Send)) {
                (true, true) => Self::Held,
                (false, false) => Self::Lacking,
                _ => Self::ByStatus,
            },
        }
    }
}

impl Sealed {
    /// Decides, now that it is known which scope the body takes.
    pub(in crate::proxy) fn open(self, scope: Scope, witness: &mut impl Witness) -> Result<Permit, ProxyError> {
        let Self(found) = self;
        if !found.scopes().contains(scope) {
            found.object(ProxyError::ScopeMissing { demand: Demand::Fixed(scope) }, witness)?;
        }
        Ok(Permit(found))
    }
}
