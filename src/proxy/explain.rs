//! What would become of a request, by the very steps that decide in the gateway; nothing is sent.
//!
//! It goes as far as the permit. What only an exchange tells is not known here: a credential that Close rejects, a body
//! that is too large. Nor is what only the secrets tell: that a target holds a key without the shape of one.

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Uri};

use super::door::Door;
use super::error::ProxyError;
use super::inbound::{Inbound, Shown};
use super::permit::{Access, Decision, Found, Openness, Permit, Steps, Witness};
use super::respond;
use crate::catalogue::{Demand, Judgement};
use crate::edge::{HeadLimits, WireFault};
use crate::id::{KeyName, RouteName};
use crate::keys::{Key, KeySet};
use crate::origin::Origin;
use crate::path::DecisionPath;
use crate::routes::{Route, RouteTable};
use crate::rule::{Rule, Ruling};
use crate::scope::Scope;

/// What decides about requests, without the vault and without an upstream.
pub struct Checkpoint {
    /// Who may do what.
    pub keys: KeySet,
    /// Which prefix leads where.
    pub routes: RouteTable,
}

/// What decides about the requests of one listener.
pub struct Post {
    /// Who may speak to it.
    pub door: Door,
    /// The sizes that a head must keep.
    pub limits: HeadLimits,
}

/// A request that carries nothing but a key, from a client that calls the listener by one of its names.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// What is presented as the key.
    pub key: Option<&'a str>,
}

/// What would become of a request.
#[derive(Debug)]
pub struct Explanation {
    /// The valid key that it presents.
    pub key: Option<KeyName>,
    /// Where it leads, if it comes so far.
    pub way: Option<Way>,
    /// Why it would not be sent.
    pub refusal: Option<Refusal>,
    /// Why it would not be sent if its key were not only observed.
    pub observed: Option<Refusal>,
    /// Whether the gateway itself would answer it.
    pub own: bool,
}

/// Where a request leads.
#[derive(Debug)]
pub struct Way {
    /// The route.
    pub route: RouteName,
    /// How the route was found.
    pub entry: Entry,
    /// Whether its callers need a key.
    pub openness: Openness,
    /// What the catalogue calls the operation.
    pub endpoint: Option<&'static str>,
    /// The scope that the operation takes.
    pub demand: Demand,
    /// The URL at the upstream; of a request that is refused without its query.
    pub upstream: String,
    /// What the rules of the route say.
    pub by_route: Ruling<Rule>,
    /// What the rules of the key say.
    pub by_key: Option<Ruling<Rule>>,
}

/// How a route was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// By its prefix.
    Prefix,
    /// As the first of the key's, for a path below `/api/`.
    FirstOfKey,
}

/// What the gateway would answer.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The stable code (contract.md 4).
    pub code: &'static str,
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub hint: String,
}

impl Checkpoint {
    /// Takes a request at a listener through the steps of the gateway, up to its permit.
    pub fn explain(&self, post: &Post, question: Question<'_>) -> Explanation {
        let mut notes = Notes { access: self.access(post), key: None, way: None, observed: None, own: false };
        let refusal = notes.pass(&post.limits, question).err();
        let Notes { key, way, observed, own, .. } = notes;
        Explanation { key, way, refusal: refusal.as_ref().map(Refusal::of), observed, own }
    }

    /// Whether callers of a route need a key at a listener.
    pub fn openness(&self, post: &Post, route: &Route) -> Openness {
        self.access(post).openness(route)
    }

    /// The steps of a request at a listener, for whoever takes them one by one.
    pub fn steps<'a>(&'a self, post: &'a Post) -> Steps<'a> {
        Steps::of(self.access(post))
    }

    fn access<'a>(&'a self, post: &'a Post) -> Access<'a> {
        Access { keys: &self.keys, routes: &self.routes, door: &post.door, uid: None }
    }
}

/// The request as the codec would hand it over.
fn parts(question: Question<'_>) -> Option<Parts> {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(question.method.as_bytes()).ok()?;
    *request.uri_mut() = Uri::try_from(question.target).ok()?;
    if let Some(key) = question.key {
        request.headers_mut().insert(KEY, HeaderValue::from_str(key).ok()?);
    }
    Some(request.into_parts().0)
}

/// What is seen of a request on its way.
struct Notes<'a> {
    access: Access<'a>,
    key: Option<KeyName>,
    way: Option<Way>,
    observed: Option<Refusal>,
    own: bool,
}

impl Notes<'_> {
    fn pass(&mut self, limits: &HeadLimits, question: Question<'_>) -> Result<(), ProxyError> {
        limits.judge(question.method, question.target)?;
        let access = self.access;
        let parts = parts(question).ok_or(WireFault::Malformed("this is not an HTTP request"))?;
        let shown = Shown::of(&parts, access.keys);
        let inbound = access.admit(parts, shown, self)?;
        match access.decide(&inbound, self)? {
            Decision::Permitted(permit) => self.permitted(&permit),
            // It has no body, which says as much as one that cannot be read.
            Decision::Sealed(sealed) => {
                let permit = sealed.open(Scope::Send, self)?;
                self.permitted(&permit)
            }
            Decision::Introspection(_) => {
                self.own = true;
                Ok(())
            }
        }
    }

    fn permitted(&mut self, permit: &Permit) -> Result<(), ProxyError> {
        let target = permit.target()?;
        if let Some(way) = &mut self.way {
            way.upstream = site(&permit.route().origin) + target.as_str();
        }
        Ok(())
    }
}

impl Witness for Notes<'_> {
    fn identified(&mut self, key: &Key) {
        self.key = Some(key.name.clone());
    }

    fn resolved(&mut self, found: &Found, inbound: &Inbound, judgement: Judgement) {
        let path = found.upstream_path();
        let rulings = found.rulings(inbound.asks.effective(), &DecisionPath::of(&path));
        let route = found.route();
        self.way = Some(Way {
            route: route.name.clone(),
            entry: if found.is_prefixed() { Entry::Prefix } else { Entry::FirstOfKey },
            openness: self.access.openness(route),
            endpoint: judgement.operation.map(|operation| operation.endpoint),
            demand: judgement.demand,
            upstream: site(&route.origin) + &path,
            by_route: rulings.route.cloned(),
            by_key: rulings.key.map(Ruling::cloned),
        });
    }

    fn objected(&mut self, objection: &ProxyError) {
        self.observed.get_or_insert_with(|| Refusal::of(objection));
    }
}

impl Refusal {
    fn of(error: &ProxyError) -> Self {
        let telling = error.telling();
        let hint = respond::hint(error).into_owned();
        Self { status: telling.status, code: telling.code, error: error.to_string(), hint }
    }
}

/// An upstream's URL without its base, which its paths begin with.
fn site(origin: &Origin) -> String {
    let mut url = origin.to_string();
    url.truncate(url.len() - origin.base().len());
    url
}

const KEY: HeaderName = HeaderName::from_static("closegate-key");
