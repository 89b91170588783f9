//! `/oauth/start/…`: the link that begins an authorization in the browser that opens it, once.
//!
//! The browser gets the cookie by which it is known when it comes back, and is sent to Close. No other site can have it opened,
//! and nothing that only looks at links uses it up: a page that a person is led to is not what that person wanted to authorize.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{AppendHeaders, Html, IntoResponse as _, Response};
use cookie::SameSite;
use http::header::{HeaderMap, LOCATION, SET_COOKIE};
use http::{HeaderName, Method, StatusCode};

use super::Desk;
use super::callback::page;
use crate::admin::model::Started;
use crate::admin::refusal::{Code, Refusal};
use crate::admin::session::CookieScheme;

/// Leave for Close
///
/// For browsers only: the link that `{"link": {}}` gave where the authorization was begun. It is good once, for ten minutes.
#[utoipa::path(get, path = "/oauth/start/{ticket}", operation_id = "oauth_start", tag = "session", security(()),
    params(("ticket" = String, Path, description = "What the link ends in")), responses(
        (status = 302, description = "To the page of consent"),
        (status = 409, description = "The link was opened before, or what it begins is over", body = String, content_type = "text/html"),
        (status = 503, description = "The store cannot be reached", body = String, content_type = "text/html")))]
pub(super) async fn leave(
    State(desk): State<Arc<Desk>>,
    Extension(scheme): Extension<CookieScheme>,
    Path(ticket): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let opened = if is_opened(&method, &headers) {
        desk.management.follow_link(&ticket).await
    } else {
        Err(Refusal::new(Code::AuthorizationRefused, "This link is for a person who opens it."))
    };
    match opened {
        Ok(Started { authorization_url, state, .. }) => {
            let lines = [(SET_COOKIE, scheme.departure(state)), (LOCATION, authorization_url)];
            (StatusCode::FOUND, AppendHeaders(lines)).into_response()
        }
        Err(refusal) => {
            let hint = refusal.hint.as_deref().unwrap_or("Open it in a browser.");
            (refusal.code.status(), Html(page("Not begun", &refusal.detail, hint))).into_response()
        }
    }
}

/// Whether somebody opens it now, and not a browser in advance, or a program that looks where it leads.
fn is_opened(method: &Method, headers: &HeaderMap) -> bool {
    let in_advance = [SEC_PURPOSE, PURPOSE].iter().any(|name| headers.contains_key(name));
    *method == Method::GET && !in_advance
}

impl CookieScheme {
    /// `Set-Cookie` of a browser that leaves for Close with this `state`.
    pub(super) fn departure(self, state: String) -> String {
        let cookie = self.cookie(self.authorization(), state, SameSite::Lax);
        cookie.max_age(cookie::time::Duration::minutes(10)).build().to_string()
    }
}

/// What browsers say of a request that nobody has made yet.
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
