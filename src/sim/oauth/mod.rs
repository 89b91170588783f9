//! OAuth 2.0 as Close has it (close-api.md 2.2): authorization code with PKCE, and refresh tokens that rotate.
//!
//! | path | what it does |
//! |---|---|
//! | `/oauth2/authorize/` | GET shows a page of consent, POST decides and redirects with a code, or with `access_denied` |
//! | `/oauth2/token/` | takes a code or a refresh token, gives new tokens; the refresh token it took is spent |
//! | `/oauth2/revoke/` | ends a grant by one of its tokens (RFC 7009) |
//!
//! What Close does not say is assumed to be as in RFC 6749, and at its strictest: `state` and PKCE are required, and a
//! refresh token that is used twice ends its grant, unless an app says otherwise ([`Reuse`]).

mod app;
mod authority;
mod consent;
mod form;
mod grant;
mod token;

pub use app::{ClientAuthentication, OAuthApp, Reuse};
pub use authority::Grant;

pub(super) use authority::Authority;

use http::header::ALLOW;
use http::{Method, StatusCode};

use super::answer::{self, Answer};
use super::api::Request;
use super::shared::World;

/// Answers a request for one of the paths above; none when it is for another.
pub(super) fn answer(world: &mut World, request: &Request<'_>) -> Option<Answer> {
    let endpoint = request.head.path().strip_prefix("/oauth2/")?.trim_end_matches('/');
    let method = request.head.method.as_str();
    let answer = match (endpoint, method) {
        ("authorize", "GET") => consent::page(world, request),
        ("authorize", "POST") => consent::decide(world, request),
        ("token", "POST") => token::give(world, request),
        ("revoke", "POST") => token::revoke(world, request),
        ("authorize", _) => refused(&[Method::GET, Method::POST]),
        ("token" | "revoke", _) => refused(&[Method::POST]),
        _ => return None,
    };
    Some(answer)
}

fn refused(allowed: &[Method]) -> Answer {
    let allowed: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let answer = answer::error(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed for the requested URL.");
    answer::with(answer, ALLOW, &allowed.join(", "))
}

#[cfg(test)]
mod tests;
