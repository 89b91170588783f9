//! The token endpoint (RFC 6749 3.2) and revocation (RFC 7009).

use std::io;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use serde_json::json;

use super::app::OAuthApp;
use super::authority::{Authority, Grant, InvalidGrant};
use super::form::{self, Refusal};
use crate::sim::answer::{self, Answer};
use crate::sim::api::Request;
use crate::sim::params::Params;
use crate::sim::shared::World;

/// Exchanges a code or a refresh token for tokens.
pub(super) fn give(world: &mut World, request: &Request<'_>) -> Answer {
    match attempt(&mut world.oauth, request) {
        Ok(Ok((app, grant))) => tokens(world, &app, &grant),
        Ok(Err(refusal)) => refused(refusal),
        Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Ends a grant.
pub(super) fn revoke(world: &mut World, request: &Request<'_>) -> Answer {
    let authority = &mut world.oauth;
    let known = form::read(request).and_then(|form| Ok((form::client(authority, request, &form)?, form)));
    match known {
        Ok((app, form)) => {
            authority.revoke(app.client_id(), form.first("token").unwrap_or_default());
            answer::json(StatusCode::OK, &json!({}))
        }
        Err(refusal) => refused(refusal),
    }
}

fn attempt(authority: &mut Authority, request: &Request<'_>) -> io::Result<Result<(OAuthApp, Grant), Refusal>> {
    let known = form::read(request).and_then(|form| Ok((form::client(authority, request, &form)?, form)));
    let (app, form) = match known {
        Ok(known) => known,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let given = match form.first("grant_type") {
        Some("authorization_code") => by_code(authority, &app, &form)?,
        Some("refresh_token") => authority.refresh(&app, form.first("refresh_token").unwrap_or_default())?,
        Some(_) => return Ok(Err(Refusal::GrantType)),
        None => return Ok(Err(Refusal::Request)),
    };
    Ok(given.map(|grant| (app, grant)).map_err(|InvalidGrant| Refusal::Grant))
}

/// RFC 6749 4.1.3, and the verifier of RFC 7636 4.6.
fn by_code(authority: &mut Authority, app: &OAuthApp, form: &Params) -> io::Result<Result<Grant, InvalidGrant>> {
    let of = |name| form.first(name).unwrap_or_default();
    let verifier = digest::digest(&digest::SHA256, of("code_verifier").as_bytes());
    let challenge = URL_SAFE_NO_PAD.encode(verifier);
    authority.exchange(of("code"), |code| {
        code.client_id == app.client_id()
            && code.redirect_uri == form.first("redirect_uri").unwrap_or_default()
            && code.challenge == challenge
    })
}

fn tokens(world: &World, app: &OAuthApp, grant: &Grant) -> Answer {
    let (organization_id, user_id) = world.identities(app.organisation());
    let body = json!({
        "token_type": "Bearer",
        "access_token": grant.access_token,
        "expires_in": app.lifetime.as_secs(),
        "refresh_token": grant.refresh_token,
        "scope": "all.full_access offline_access",
        "organization_id": organization_id,
        "user_id": user_id,
    });
    answer::with(answer::json(StatusCode::OK, &body), CACHE_CONTROL, "no-store")
}

fn refused(refusal: Refusal) -> Answer {
    let (status, code) = match refusal {
        Refusal::Request => (StatusCode::BAD_REQUEST, "invalid_request"),
        Refusal::Client => (StatusCode::UNAUTHORIZED, "invalid_client"),
        Refusal::Grant => (StatusCode::BAD_REQUEST, "invalid_grant"),
        Refusal::GrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type"),
    };
    let answer = answer::error(status, code);
    if refusal == Refusal::Client { answer::with(answer, WWW_AUTHENTICATE, "Basic realm=\"close\"") } else { answer }
}
