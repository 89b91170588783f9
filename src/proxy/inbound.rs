//! A request once nothing is left in it that must not reach the upstream.

use http::header::{IF_RANGE, RANGE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method};

use super::asks::Asks;
use super::error::ProxyError;
use super::fields::{self, Field};
use crate::keys::{KeyAmbiguous, KeySet, Presented, Sight};
use crate::path::check_query;

/// A sanitised request: hop-by-hop, credential and forwarding fields are gone, the key is a digest.
pub struct Inbound {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) presented: Presented,
    pub(super) asks: Asks,
}

impl Inbound {
    /// Asks for the whole of what the target is: a part of what is compressed cannot be decoded, and a secret of which
    /// a client fetches one half and then the other is in neither. A server may always ignore `Range` (RFC 9110 14.2).
    pub(super) fn ask_for_all(&mut self) {
        for field in [RANGE, IF_RANGE, HeaderName::from_static("request-range")] {
            self.headers.remove(field);
        }
    }
}

/// What a request shows of keys, seen once, before anybody judges it.
pub struct Shown {
    /// What it presents.
    pub(super) presented: Result<Presented, KeyAmbiguous>,
    /// Whether a key stands in its path or query.
    pub(super) in_target: bool,
}

impl Shown {
    pub(super) fn of(parts: &Parts, keys: &KeySet) -> Self {
        let presented = Presented::read(&parts.headers, keys);
        let sight = keys.sight(presented.as_ref().ok());
        let in_target = parts.uri.path_and_query().is_some_and(|target| sight.finds_key(target.as_str().as_bytes()));
        Self { presented, in_target }
    }

    /// What is looked for in its other texts.
    pub(super) fn sight<'a>(&'a self, keys: &'a KeySet) -> Sight<'a> {
        keys.sight(self.presented.as_ref().ok())
    }

    /// Refuses what may not come in, whoever asks: a method that shows what was sent, and a key that would end in logs.
    pub(super) fn judge(self, method: &Method) -> Result<Presented, ProxyError> {
        if method == Method::TRACE || method == Method::CONNECT {
            return Err(ProxyError::MethodRefused);
        }
        if self.in_target {
            return Err(ProxyError::KeyInTarget);
        }
        self.presented.map_err(|KeyAmbiguous| ProxyError::KeyAmbiguous)
    }
}

/// Takes what is the gateway's out of the request, and reads what it asks for.
pub(super) fn sanitise(parts: &mut Parts, sight: Sight<'_>) -> Result<Asks, ProxyError> {
    let query = parts.uri.query();
    check_query(query.unwrap_or_default())
        .map_err(|_| ProxyError::Malformed("the query holds a character that must be percent-encoded"))?;
    strip(&mut parts.headers, sight)?;
    Asks::read(&parts.method, &parts.headers, query)
}

fn strip(headers: &mut HeaderMap, sight: Sight<'_>) -> Result<(), ProxyError> {
    let mut leaving: Vec<HeaderName> = Vec::with_capacity(8);
    leaving.extend(fields::nominated(headers));
    if !leaving.iter().all(fields::may_be_nominated) {
        return Err(ProxyError::Malformed("`Connection` names a field that cannot be left out"));
    }
    for (name, value) in headers.iter() {
        match fields::of_request(name) {
            Field::Pass | Field::Custom if sight.finds_key(value.as_bytes()) => leaving.push(name.clone()),
            Field::Custom if sight.finds_key(name.as_str().as_bytes()) => leaving.push(name.clone()),
            Field::Pass | Field::Custom => {}
            Field::Drop => leaving.push(name.clone()),
            Field::OddOverride => {
                return Err(ProxyError::Malformed("the only method override is `X-HTTP-Method-Override`"));
            }
        }
    }
    for name in leaving {
        headers.remove(name);
    }
    Ok(())
}
