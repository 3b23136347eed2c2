//! Ollama's API: its paths, its streams of JSON lines, its errors.

mod answers;
mod blobs;
mod embeddings;
mod lines;
mod loaded;
mod models;
mod transfers;
mod types;
mod work;

use std::sync::Arc;

use axum::routing::{delete, get, head, post};
use axum::{Extension, Router};
use utoipa::OpenApi;

use super::dialect::ollama::ErrorResponse;
use super::page;
use super::service::Service;
use work::Works;

/// The routes of this dialect.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/", get(page::root))
        .route("/api/version", get(models::version))
        .route("/api/generate", post(answers::generate))
        .route("/api/chat", post(answers::chat))
        .route("/api/embed", post(embeddings::embed))
        .route("/api/embeddings", post(embeddings::embeddings))
        .route("/api/tags", get(models::tags))
        .route("/api/ps", get(loaded::ps))
        .route("/api/show", post(models::show))
        .route("/api/copy", post(models::copy))
        .route("/api/delete", delete(models::delete))
        .route("/api/create", post(transfers::create))
        .route("/api/pull", post(transfers::pull))
        .route("/api/push", post(transfers::push))
        .route("/api/blobs/{digest}", head(blobs::has).post(blobs::take))
        .layer(Extension(Works::default()))
}

/// This dialect's part of the API's description.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(
        models::version,
        answers::generate,
        answers::chat,
        embeddings::embed,
        embeddings::embeddings,
        models::tags,
        loaded::ps,
        models::show,
        models::copy,
        models::delete,
        transfers::create,
        transfers::pull,
        transfers::push,
        blobs::has,
        blobs::take
    ),
    components(schemas(ErrorResponse))
)]
pub struct Document;
