//! The answers of probes and scrapers, and what all answers of an operator's listener have in common.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::health::{Health, Phase};
use super::refusal::{Code, Refusal};
use crate::task;
use crate::telemetry::Telemetry;

/// What those answers are made of.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) health: Arc<Health>,
}

/// The three paths that need no token and take any `Host`.
pub(super) fn probes(sources: Sources) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(sources)
}

/// Answers what a path does not know of methods.
pub(super) fn strict<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.method_not_allowed_fallback(async |method: Method| match method {
        // RFC 9110 9.3.7: what a path knows, the router adds as `Allow`.
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => Refusal::new(Code::MethodNotAllowed, "this path does not know this method").into_response(),
    })
}

/// Answers also where there is nothing.
pub(super) fn closed(router: Router) -> Router {
    strict(router).fallback(async || Refusal::new(Code::NotFound, "there is nothing at this path"))
}

/// Rendering merges and writes every series: a thread of its own keeps that from those who wait on this one.
async fn metrics(State(sources): State<Sources>) -> Response {
    match task::blocking(move || sources.telemetry.render()).await {
        Some(text) => body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        None => Refusal::internal().into_response(),
    }
}

async fn alive() -> Response {
    body(StatusCode::OK, JSON, r#"{"status":"ok"}"#.to_owned())
}

async fn ready(State(sources): State<Sources>) -> Response {
    let readiness = sources.health.readiness();
    let status = match readiness.phase {
        Phase::Ready => StatusCode::OK,
        Phase::Starting | Phase::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    json(status, JSON, &readiness)
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, content_type: &'static str, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => body(status, content_type, text),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Every answer is of this moment only, for whoever asked, and nothing that a browser might make of it.
pub(super) fn body(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, text).into_response()
}

/// The content type of answers that are no errors.
pub(super) const JSON: &str = "application/json";
