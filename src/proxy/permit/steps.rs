//! The straight line one step at a time, for whoever measures what a step costs; nothing is sent.
//!
//! Each step is the one that a request of the gateway takes, and takes what only the step before can make.

use std::time::SystemTime;

use http::Request;
use http::request::Parts;

use super::clearance::Clearance;
use super::{Access, Found, Permit, Witness};
use crate::catalogue::Judgement;
use crate::keys::{Admission, Caller, Key};
use crate::path::RequestPath;
use crate::proxy::error::ProxyError;
use crate::proxy::inbound::{Inbound, Shown};
use crate::proxy::outbound::Outbound;
use crate::vault::{Authorization, Redactor};

/// The steps of one listener.
#[derive(Clone, Copy)]
pub struct Steps<'a>(Access<'a>);

impl<'a> Steps<'a> {
    pub(in crate::proxy) fn of(access: Access<'a>) -> Self {
        Self(access)
    }

    /// Reads what a request shows of keys; its text goes no further than a digest.
    pub fn read(&self, parts: &Parts) -> Shown {
        Shown::of(parts, self.0.keys)
    }

    /// Lets a request in, without what is the gateway's own.
    ///
    /// # Errors
    ///
    /// What may not come in, whoever asks.
    pub fn sanitise(&self, parts: Parts, shown: Shown) -> Result<Inbound, ProxyError> {
        self.0.admit(parts, shown, &mut Nobody)
    }

    /// Who asks.
    pub fn identify(&self, inbound: &Inbound) -> Caller {
        self.0.identify(&inbound.presented, SystemTime::now())
    }

    /// Where it leads.
    ///
    /// # Errors
    ///
    /// A path that is not canonical, or leads nowhere for who asks.
    pub fn resolve(&self, inbound: &Inbound, caller: Caller) -> Result<Found, ProxyError> {
        let path = RequestPath::parse(inbound.target.path())?;
        self.0.resolve(&inbound.target, path, caller)
    }

    /// Whether it may be asked.
    ///
    /// # Errors
    ///
    /// What scopes and rules refuse, and what only the body decides.
    pub fn authorise(&self, found: Found, inbound: &Inbound) -> Result<Permit, ProxyError> {
        match found.clear(inbound, &mut Nobody)? {
            Clearance::Given => Ok(Permit(found)),
            Clearance::ByStatus => Err(ProxyError::Internal),
        }
    }

    /// How much: a place within the limits of the key, until it is dropped.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn admit(&self, permit: &Permit) -> Result<Admission, ProxyError> {
        permit.0.admit()
    }

    /// As whom: the request as the upstream would see it, and what its answer is scrubbed with.
    ///
    /// # Errors
    ///
    /// A target that is too long for the upstream.
    pub fn inject(
        &self,
        inbound: Inbound,
        permit: &Permit,
        authorization: Authorization,
    ) -> Result<(Request<()>, Redactor), ProxyError> {
        Ok(Outbound::new(inbound, permit)?.authorized(authorization, ()))
    }
}

/// Takes no note.
pub(super) struct Nobody;

impl Witness for Nobody {
    fn identified(&mut self, _: &Key) {}

    fn resolved(&mut self, _: &Found, _: &Inbound, _: Judgement) {}

    fn objected(&mut self, _: &ProxyError) {}
}
