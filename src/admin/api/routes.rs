//! `/api/v1/routes`: routes are listed, added, replaced and removed.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Desk;
use super::page::{Page, PageQuery, done, made, one};
use super::request::{IfMatch, Json, Named, Query};
use crate::admin::gate::Caller;
use crate::admin::model::{NewRoute, RouteSettings, RouteView};
use crate::admin::refusal::Refusal;
use crate::id::RouteName;

type Answered = Result<Response, Refusal>;

/// List routes
#[utoipa::path(get, path = "/api/v1/routes", operation_id = "list_routes", tag = "routes",
    params(PageQuery), responses((status = 200, description = "A page of routes", body = Page<RouteView>)))]
pub(super) async fn list(State(desk): State<Arc<Desk>>, Query(query): Query<PageQuery>) -> Answered {
    query.page(desk.management.routes().await?)
}

/// Add a route
#[utoipa::path(post, path = "/api/v1/routes", operation_id = "add_route", tag = "routes",
    request_body = NewRoute, responses((status = 201, description = "It is added", body = RouteView)))]
pub(super) async fn add(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Json(new): Json<NewRoute>,
) -> Answered {
    let added = desk.management.add_route(new, &caller.actor).await?;
    Ok(made(&added, &added))
}

/// Show a route
#[utoipa::path(get, path = "/api/v1/routes/{name}", operation_id = "get_route", tag = "routes",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The route", body = RouteView)))]
pub(super) async fn get(State(desk): State<Arc<Desk>>, Named(name): Named<RouteName>) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.route(&name).await?))
}

/// Replace a route
///
/// What is left out goes back to its default.
#[utoipa::path(put, path = "/api/v1/routes/{name}", operation_id = "replace_route", tag = "routes",
    params(("name" = String, Path, description = "Its name"), ("if-match" = Option<String>, Header, description = "The `ETag` that was seen")),
    request_body = RouteSettings, responses((status = 200, description = "It is replaced", body = RouteView)))]
pub(super) async fn replace(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<RouteName>,
    IfMatch(expected): IfMatch,
    Json(to): Json<RouteSettings>,
) -> Answered {
    Ok(one(StatusCode::OK, &desk.management.replace_route(&name, to, expected, &caller.actor).await?))
}

/// Remove a route
#[utoipa::path(delete, path = "/api/v1/routes/{name}", operation_id = "remove_route", tag = "routes",
    params(("name" = String, Path, description = "Its name"), ("if-match" = Option<String>, Header, description = "The `ETag` that was seen")),
    responses((status = 204, description = "It is removed")))]
pub(super) async fn remove(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Named(name): Named<RouteName>,
    IfMatch(expected): IfMatch,
) -> Answered {
    desk.management.remove_route(&name, expected, &caller.actor).await?;
    Ok(done())
}
