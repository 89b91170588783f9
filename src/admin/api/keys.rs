//! `/api/v1/keys`: gateway keys are listed, made, changed and ended.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Desk;
use super::listing::KeyQuery;
use super::page::{Page, done, made, one, tagged};
use super::request::{IfMatch, Json, Named, Query};
use crate::admin::gate::Caller;
use crate::admin::model::{CreatedKey, KeyRotation, KeySettings, KeyView, NewKey, Suggestion};
use crate::admin::refusal::{Code, Refusal};
use crate::admin::respond::{JSON, json};
use crate::id::{CredentialName, KeyName};

type Answered = Result<Response, Refusal>;

/// List gateway keys
///
/// Those of the configuration and those that were made, by name; revoked and expired ones among them.
#[utoipa::path(get, path = "/api/v1/keys", operation_id = "list_keys", tag = "keys",
    params(KeyQuery), responses((status = 200, description = "A page of keys", body = Page<KeyView>)))]
pub(super) async fn list(State(desk): State<Arc<Desk>>, Query(query): Query<KeyQuery>) -> Answered {
    let among = match query.credential()? {
        Some(name) => Some(routes_of(&desk, &name).await?),
        None => None,
    };
    query.page(desk.management.keys().await?, among)
}

/// The routes that send with a credential; one that is not there has none.
async fn routes_of(desk: &Desk, name: &CredentialName) -> Result<Vec<String>, Refusal> {
    match desk.management.credential(name).await {
        Ok(credential) => Ok(credential.routes),
        Err(refusal) if refusal.code == Code::NotFound => Ok(Vec::new()),
        Err(refusal) => Err(refusal),
    }
}

/// Make a gateway key
///
/// Its text is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/keys", operation_id = "create_key", tag = "keys",
    request_body = NewKey, responses((status = 201, description = "It is made", body = CreatedKey)))]
pub(super) async fn create(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Json(new): Json<NewKey>,
) -> Answered {
    let created = desk.management.create_key(new, &caller.actor).await?;
    Ok(made(&created.key, &created))
}

/// Show a gateway key
#[utoipa::path(get, path = "/api/v1/keys/{name}", operation_id = "get_key", tag = "keys",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The key, without its text", body = KeyView)))]
pub(super) async fn get(State(desk): State<Arc<Desk>>, Named(name): Named<KeyName>) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.key(&name).await?))
}

/// Replace a gateway key's settings
///
/// Its text stays. What is left out goes back to its default.
#[utoipa::path(put, path = "/api/v1/keys/{name}", operation_id = "replace_key", tag = "keys",
    params(("name" = String, Path, description = "Its name"), ("if-match" = Option<String>, Header, description = "The `ETag` that was seen")),
    request_body = KeySettings, responses((status = 200, description = "It is replaced", body = KeyView)))]
pub(super) async fn replace(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<KeyName>,
    IfMatch(expected): IfMatch,
    Json(to): Json<KeySettings>,
) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.replace_key(&name, to, expected, &caller.actor).await?))
}

/// Remove a gateway key
///
/// It is refused, and its name is free.
#[utoipa::path(delete, path = "/api/v1/keys/{name}", operation_id = "remove_key", tag = "keys",
    params(("name" = String, Path, description = "Its name"), ("if-match" = Option<String>, Header, description = "The `ETag` that was seen")),
    responses((status = 204, description = "It is removed")))]
pub(super) async fn remove(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<KeyName>,
    IfMatch(expected): IfMatch,
) -> Answered {
    desk.management.remove_key(&name, expected, &caller.actor).await?;
    Ok(done())
}

/// Suggest a policy for a gateway key
///
/// The least scopes and rules that cover what it really used, by what is kept of its usage. Nothing is changed.
#[utoipa::path(get, path = "/api/v1/keys/{name}/suggestion", operation_id = "get_key_suggestion", tag = "keys",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "What it would need at least", body = Suggestion)))]
pub(super) async fn suggestion(State(desk): State<Arc<Desk>>, Named(name): Named<KeyName>) -> Answered {
    Ok(json(StatusCode::OK, JSON, &desk.management.suggestion(&name).await?))
}

/// Revoke a gateway key
///
/// It is refused from now on, and stays listed.
#[utoipa::path(post, path = "/api/v1/keys/{name}/revoke", operation_id = "revoke_key", tag = "keys",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is revoked", body = KeyView)))]
pub(super) async fn revoke(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<KeyName>,
) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.revoke_key(&name, &caller.actor).await?))
}

/// Rotate a gateway key
///
/// It gets another text, which is in this answer and nowhere else; the old one goes on for a while, so that tools can be
/// changed one by one.
#[utoipa::path(post, path = "/api/v1/keys/{name}/rotate", operation_id = "rotate_key", tag = "keys",
    params(("name" = String, Path, description = "Its name"), ("if-match" = Option<String>, Header, description = "The `ETag` that was seen")),
    request_body = Option<KeyRotation>, responses((status = 200, description = "It is rotated", body = CreatedKey)))]
pub(super) async fn rotate(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<KeyName>,
    IfMatch(expected): IfMatch,
    to: Option<Json<KeyRotation>>,
) -> Answered {
    let to = to.map(|Json(to)| to).unwrap_or_default();
    let rotated = desk.management.rotate_key(&name, to, expected, &caller.actor).await?;
    let version = rotated.key.version;
    Ok(tagged(json(StatusCode::OK, JSON, &rotated), version))
}
