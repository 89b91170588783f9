//! The request as the upstream sees it: made from a sanitised request, a permit and an authorization, and nothing less.

use http::header::HOST;
use http::{HeaderMap, Method, Request, Uri};

use super::error::ProxyError;
use super::inbound::Inbound;
use super::permit::Permit;
use crate::vault::{Authorization, Redactor};

/// A request's head on its way out; the body joins it for each attempt.
pub(super) struct Outbound {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Outbound {
    /// Joins the path once and writes `Host`; what was sanitised away cannot come back.
    pub(super) fn new(inbound: Inbound, permit: &Permit) -> Result<Self, ProxyError> {
        let Inbound { method, mut headers, .. } = inbound;
        let route = permit.route();
        let target = permit.target()?;
        headers.insert(HOST, route.host.clone());
        Ok(Self { method, uri: Uri::from(target), headers })
    }

    /// The request of one attempt, authorized; with what finds its secret in the answer.
    pub(super) fn authorized<B>(self, authorization: Authorization, body: B) -> (Request<B>, Redactor) {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        let redactor = authorization.inject(request.headers_mut());
        (request, redactor)
    }
}
