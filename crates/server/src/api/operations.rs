//! `/health`, `/ready` and `/metrics`: whether the server is running, accepts requests, and its figures.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::header::{self, HeaderMap};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::server::Drain;
use super::service::Service;

#[derive(OpenApi)]
#[openapi(paths(health, ready, metrics))]
pub struct Document;

/// The routes; `/health` and `/ready` need no key, for those who probe have none.
pub fn routes() -> Router<Arc<Service>> {
    Router::new().route("/health", get(health)).route("/ready", get(ready)).route("/metrics", get(metrics))
}

/// The state of the server.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Status {
    /// `ok`, `draining` (shutting down) or `busy` (the queue is full).
    #[schema(value_type = String)]
    status: &'static str,
}

/// Whether the server is running.
#[utoipa::path(get, path = "/health", tag = "operations", responses((status = 200, body = Status)))]
pub async fn health() -> Json<Status> {
    Json(Status { status: "ok" })
}

/// Whether the server accepts another request now.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "operations",
    responses((status = 200, body = Status), (status = 503, description = "it does not", body = Status))
)]
pub async fn ready(State(service): State<Arc<Service>>, drain: Option<Extension<Drain>>) -> Response {
    if drain.is_some_and(|Extension(drain)| drain.is_draining()) {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(Status { status: "draining" })).into_response();
    }
    if !service.has_room() {
        let soon = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
        return (StatusCode::SERVICE_UNAVAILABLE, soon, Json(Status { status: "busy" })).into_response();
    }
    Json(Status { status: "ok" }).into_response()
}

/// Metrics in Prometheus' text format, or in OpenMetrics' for clients that accept it.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses((status = 200, content((String = "text/plain"), (String = "application/openmetrics-text"))))
)]
pub async fn metrics(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (media_type, text) = service.metrics().render(&service.now().await, accept);
    ([(header::CONTENT_TYPE, media_type), (header::VARY, "accept")], text).into_response()
}
