//! The answers of an operator's listener, and the table of its paths.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::health::{Health, Phase};
use crate::telemetry::Telemetry;

/// What the answers are made of.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) health: Arc<Health>,
}

/// The paths.
pub(super) fn router(sources: Sources) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found"))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"))
        .with_state(sources)
}

/// Rendering merges and writes every series: a thread of its own keeps that from those who wait on this one.
async fn metrics(State(sources): State<Sources>) -> Response {
    match tokio::task::spawn_blocking(move || sources.telemetry.render()).await {
        Ok(text) => body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal").into_response(),
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

/// An error of RFC 9457 with a stable code.
#[derive(Serialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str) -> Self {
        let title = status.canonical_reason().unwrap_or_default();
        Self { kind: "about:blank", title, status: status.as_u16(), code }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(status, "application/problem+json", &self)
    }
}

fn json(status: StatusCode, content_type: &'static str, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => body(status, content_type, text),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Every answer is of this moment only.
fn body(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, text).into_response()
}

const JSON: &str = "application/json";
