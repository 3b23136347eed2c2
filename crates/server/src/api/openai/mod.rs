//! OpenAI's API: its paths, its server-sent events, its errors.

mod bias;
pub mod chat;
pub mod completions;
pub mod embeddings;
mod error;
pub mod logprobs;
pub mod models;
pub mod responses;
pub mod usage;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::{get, post};
use utoipa::OpenApi;

use super::service::Service;

pub use error::{ErrorBody, ErrorDetail, Refusals};

/// The routes of this dialect.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/chat/completions", post(chat::answer))
        .route("/v1/completions", post(completions::complete))
        .route("/v1/responses", post(responses::respond))
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::get))
}

/// This dialect's part of the API's description.
#[derive(Debug, OpenApi)]
#[openapi(
    paths(chat::answer, completions::complete, responses::respond, embeddings::embed, models::list, models::get),
    components(schemas(ErrorBody))
)]
pub struct Document;

/// A name that no other answer has.
fn new_id(prefix: &str) -> String {
    format!("{prefix}{:032x}", fastrand::u128(..))
}

/// Seconds since 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
