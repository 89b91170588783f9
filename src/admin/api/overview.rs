//! What is seen of the whole: usage, events, the catalogue, the configuration; and its reload.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Desk;
use super::page::within;
use super::request::Query;
use crate::admin::gate::Caller;
use crate::admin::model::{
    EndpointView, EventPage, EventQuery, ExplainQuery, Explained, Place, RefusalQuery, RefusalView, Reload,
    SettingView, Usage, UsageQuery,
};
use crate::admin::refusal::{Code, Refusal};
use crate::admin::respond::{JSON, json};
use crate::catalogue::Catalogue;

type Answered = Result<Response, Refusal>;

/// Show usage
///
/// Requests, errors, bytes and latency by key, route, endpoint, credential or status, over time where that is asked for,
/// and what Close's rate limits leave.
#[utoipa::path(get, path = "/api/v1/usage", operation_id = "usage", tag = "overview",
    params(UsageQuery), responses((status = 200, description = "What was used", body = Usage)))]
pub(super) async fn usage(State(desk): State<Arc<Desk>>, Query(query): Query<UsageQuery>) -> Answered {
    Ok(json(StatusCode::OK, JSON, &desk.management.usage(query).await?))
}

/// List events
///
/// Who did what, when and from where, the newest first.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "events", tag = "overview",
    params(EventQuery), responses((status = 200, description = "A page of events", body = EventPage)))]
pub(super) async fn events(State(desk): State<Arc<Desk>>, Query(query): Query<EventQuery>) -> Answered {
    let limit = query.limit.map(|limit| u64::try_from(limit).unwrap_or(u64::MAX));
    for (name, text) in [("actor", &query.actor), ("action", &query.action), ("subject", &query.subject)] {
        if text.as_ref().is_some_and(|text| !(1..=100).contains(&text.chars().count())) {
            return Err(Refusal::new(Code::Malformed, format!("`{name}` is a text of 1 to 100 characters")));
        }
    }
    let query = EventQuery { limit: Some(within(limit, 500, 100)?), ..query };
    Ok(json(StatusCode::OK, JSON, &desk.management.events(query).await?))
}

/// List refusals
///
/// The last requests that the gateway refused, one by one, the newest first: which key, on which route, with which code.
/// They are remembered by the process that refused them, some hundreds of known keys and as many of everybody else.
#[utoipa::path(get, path = "/api/v1/refusals", operation_id = "list_refusals", tag = "overview",
    params(RefusalQuery), responses((status = 200, description = "The refusals", body = [RefusalView])))]
pub(super) async fn refusals(State(desk): State<Arc<Desk>>, Query(query): Query<RefusalQuery>) -> Answered {
    let limit = query.limit.map(|limit| u64::try_from(limit).unwrap_or(u64::MAX));
    let query = RefusalQuery { limit: Some(within(limit, 500, 100)?), ..query };
    Ok(json(StatusCode::OK, JSON, &desk.management.refusals(query).await?))
}

/// Explain a request
///
/// What would become of a request, by the steps of the gateway itself, as with `closegate route explain`; nothing is sent.
#[utoipa::path(get, path = "/api/v1/explain", operation_id = "explain", tag = "overview",
    params(ExplainQuery), responses((status = 200, description = "What would become of it", body = Explained)))]
pub(super) async fn explain(State(desk): State<Arc<Desk>>, Query(query): Query<ExplainQuery>) -> Answered {
    Ok(json(StatusCode::OK, JSON, &desk.management.explain(query).await?))
}

/// List Close's operations
///
/// The catalogue: each operation with the group that shares a rate limit, and the scope that a key needs.
#[utoipa::path(get, path = "/api/v1/endpoints", operation_id = "endpoints", tag = "overview",
    responses((status = 200, description = "The catalogue", body = [EndpointView])))]
pub(super) async fn endpoints() -> Answered {
    let operations = Catalogue::close().operations();
    let view = |operation: &crate::catalogue::Operation| EndpointView {
        method: operation.method.to_string(),
        endpoint: operation.endpoint.to_owned(),
        group: operation.group.to_owned(),
        scope: operation.demand.as_str().to_owned(),
    };
    Ok(json(StatusCode::OK, JSON, &operations.map(view).collect::<Vec<_>>()))
}

/// Show the configuration
///
/// Every setting that is in force, and where it came from.
#[utoipa::path(get, path = "/api/v1/config", operation_id = "config", tag = "overview",
    responses((status = 200, description = "The settings", body = [SettingView])))]
pub(super) async fn config(State(desk): State<Arc<Desk>>) -> Answered {
    Ok(json(StatusCode::OK, JSON, &desk.management.config().await?))
}

/// Show the gateway
///
/// Its version, and where tools reach it.
#[utoipa::path(get, path = "/api/v1/gateway", operation_id = "show_gateway", tag = "overview",
    responses((status = 200, description = "The gateway", body = Place)))]
pub(super) async fn gateway(State(desk): State<Arc<Desk>>) -> Answered {
    Ok(json(StatusCode::OK, JSON, &desk.place))
}

/// Reload the configuration
///
/// Loads the file and its secrets again, whole or not at all.
#[utoipa::path(post, path = "/api/v1/reload", operation_id = "reload", tag = "overview",
    responses((status = 200, description = "It is reloaded", body = Reload)))]
pub(super) async fn reload(State(desk): State<Arc<Desk>>, Extension(caller): Extension<Caller>) -> Answered {
    Ok(json(StatusCode::OK, JSON, &desk.management.reload(&caller.actor).await?))
}
