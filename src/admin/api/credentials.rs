//! `/api/v1/credentials`: credentials are listed, added, verified, rotated, authorized and removed.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use http::StatusCode;
use http::header::{HeaderMap, SET_COOKIE};

use super::Desk;
use super::listing::CredentialQuery;
use super::page::{Page, done, made, one};
use super::request::{IfMatch, Json, Named, Query};
use crate::admin::gate::Caller;
use crate::admin::model::{
    Authorization, Awaited, CredentialView, Departure, NewCredential, Progress, Removal, Returned, Rotation, Started,
    UpdatedCredential, Verification,
};
use crate::admin::refusal::Refusal;
use crate::admin::respond::{JSON, json};
use crate::admin::serve::Came;
use crate::admin::session::CookieScheme;
use crate::id::CredentialName;

type Answered = Result<Response, Refusal>;

/// List credentials
///
/// Those of the configuration and those that were added, by name.
#[utoipa::path(get, path = "/api/v1/credentials", operation_id = "list_credentials", tag = "credentials",
    params(CredentialQuery), responses((status = 200, description = "A page of credentials", body = Page<CredentialView>)))]
pub(super) async fn list(State(desk): State<Arc<Desk>>, Query(query): Query<CredentialQuery>) -> Answered {
    query.page(desk.management.credentials().await?)
}

/// Add a credential
///
/// It is verified at Close first: one that Close refuses is not added, and one that could not be verified says so. A
/// route of its name is made with it.
#[utoipa::path(post, path = "/api/v1/credentials", operation_id = "add_credential", tag = "credentials",
    request_body = NewCredential, responses((status = 201, description = "It is added", body = CredentialView)))]
pub(super) async fn add(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Json(new): Json<NewCredential>,
) -> Answered {
    let added = desk.management.add_credential(new, &caller.actor).await?;
    desk.begun();
    Ok(made(&added, &added))
}

/// Show a credential
#[utoipa::path(get, path = "/api/v1/credentials/{name}", operation_id = "get_credential", tag = "credentials",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The credential", body = CredentialView)))]
pub(super) async fn get(State(desk): State<Arc<Desk>>, Named(name): Named<CredentialName>) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.credential(&name).await?))
}

/// Change a credential
///
/// What is no secret of one that was added at run time.
#[utoipa::path(put, path = "/api/v1/credentials/{name}", operation_id = "update_credential", tag = "credentials",
    params(("name" = String, Path, description = "Its name"), ("if-match" = Option<String>, Header, description = "The `ETag` that was seen")),
    request_body = UpdatedCredential, responses((status = 200, description = "It is changed", body = CredentialView)))]
pub(super) async fn update(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<CredentialName>,
    IfMatch(expected): IfMatch,
    Json(to): Json<UpdatedCredential>,
) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.update_credential(&name, to, expected, &caller.actor).await?))
}

/// Remove a credential
///
/// With the route that was made with it; a grant of OAuth 2.0 is revoked at Close. Where Close cannot be told of that, the
/// answer says so, and the credential is removed all the same.
#[utoipa::path(delete, path = "/api/v1/credentials/{name}", operation_id = "remove_credential", tag = "credentials",
    params(("name" = String, Path, description = "Its name"), ("if-match" = Option<String>, Header, description = "The `ETag` that was seen")),
    responses((status = 204, description = "It is removed"),
        (status = 200, description = "It is removed, and its grant is left at Close", body = Removal)))]
pub(super) async fn remove(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<CredentialName>,
    IfMatch(expected): IfMatch,
) -> Answered {
    let removal = desk.management.remove_credential(&name, expected, &caller.actor).await?;
    Ok(if removal.left.is_none() { done() } else { json(StatusCode::OK, JSON, &removal) })
}

/// Verify a credential
///
/// Asks Close whether it accepts it (`GET /api/v1/me/`).
#[utoipa::path(post, path = "/api/v1/credentials/{name}/verify", operation_id = "verify_credential", tag = "credentials",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What Close said", body = Verification)))]
pub(super) async fn verify(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<CredentialName>,
) -> Answered {
    Ok(json(StatusCode::OK, JSON, &desk.management.verify_credential(&name, &caller.actor).await?))
}

/// Rotate a credential
///
/// The new secret is verified at Close first. When this answers, the old one is not sent any more; requests in flight end
/// with it.
#[utoipa::path(post, path = "/api/v1/credentials/{name}/rotate", operation_id = "rotate_credential", tag = "credentials",
    params(("name" = String, Path, description = "Its name"), ("if-match" = Option<String>, Header, description = "The `ETag` that was seen")),
    request_body = Rotation, responses((status = 200, description = "It is rotated", body = CredentialView)))]
pub(super) async fn rotate(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<CredentialName>,
    IfMatch(expected): IfMatch,
    Json(to): Json<Rotation>,
) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.rotate_credential(&name, to, expected, &caller.actor).await?))
}

/// Disable a credential
///
/// It is not sent any more when this answers, be it declared in the configuration or added.
#[utoipa::path(post, path = "/api/v1/credentials/{name}/disable", operation_id = "disable_credential", tag = "credentials",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is disabled", body = CredentialView)))]
pub(super) async fn disable(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<CredentialName>,
) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.disable_credential(&name, &caller.actor).await?))
}

/// Enable a credential
#[utoipa::path(post, path = "/api/v1/credentials/{name}/enable", operation_id = "enable_credential", tag = "credentials",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is enabled", body = CredentialView)))]
pub(super) async fn enable(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<CredentialName>,
) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.enable_credential(&name, &caller.actor).await?))
}

/// Authorize an OAuth credential
///
/// Without a body it begins: a person opens `authorization_url` in this browser, and Close sends the browser to
/// `/oauth/callback`. Where it cannot reach that, the address it was sent to is given here as `redirect_url`. `link` gives a
/// link for another browser; what becomes of that can be waited for.
/// `refresh_token` takes over a grant instead.
#[utoipa::path(post, path = "/api/v1/credentials/{name}/authorize", operation_id = "authorize_credential", tag = "credentials",
    params(("name" = String, Path, description = "Its name")), request_body = Option<Authorization>,
    responses((status = 200, description = "It is authorized", body = CredentialView),
        (status = 202, description = "It is begun", body = Started)))]
pub(super) async fn authorize(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Extension(scheme): Extension<CookieScheme>,
    Extension(came): Extension<Came>,
    Named(name): Named<CredentialName>,
    headers: HeaderMap,
    how: Option<Json<Authorization>>,
) -> Answered {
    let (management, by) = (&desk.management, &caller.actor);
    match how.map_or(Authorization::Start {}, |Json(how)| how) {
        Authorization::Start {} => {
            let started = management.start_authorization(&name, Departure::Here, by).await?;
            let body = json(StatusCode::ACCEPTED, JSON, &started);
            Ok((AppendHeaders([(SET_COOKIE, scheme.departure(started.state))]), body).into_response())
        }
        Authorization::Link {} => {
            let started = management.start_authorization(&name, Departure::ByLink, by).await?;
            // A browser that leaves from here is known only where it comes back to the same place.
            let link = started.link.filter(|link| desk.house.is_at(link, &headers, came));
            Ok(json(StatusCode::ACCEPTED, JSON, &Started { link, ..started }))
        }
        Authorization::RedirectUrl(address) => {
            let returned = Returned::parse(&address).ok_or_else(|| {
                let what = "not the address that Close sends a browser back to";
                Refusal::field("redirect_url", what, "copy all of it, with `code` and `state`")
            })?;
            let authorized = management.complete_authorization(Some(&name), returned, by).await?;
            Ok(one(StatusCode::OK, &authorized))
        }
        Authorization::RefreshToken(token) => {
            Ok(one(StatusCode::OK, &management.take_over_grant(&name, token, by).await?))
        }
    }
}

/// Wait for an authorization
///
/// One that was begun by a link, by its `state`: answered when it is over, and after 20 seconds in any case.
#[utoipa::path(post, path = "/api/v1/credentials/{name}/authorize/outcome", operation_id = "await_authorization",
    tag = "credentials", params(("name" = String, Path, description = "Its name")), request_body = Awaited,
    responses((status = 200, description = "What has become of it", body = Progress)))]
pub(super) async fn outcome(
    State(desk): State<Arc<Desk>>,
    Named(name): Named<CredentialName>,
    Json(Awaited { state }): Json<Awaited>,
) -> Answered {
    Ok(json(StatusCode::OK, JSON, &desk.management.await_authorization(&name, &state).await?))
}
