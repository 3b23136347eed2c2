//! Ollama's API: its paths, its streams of JSON lines, its errors.

mod answers;
mod types;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::problem::Problem;
use super::service::Service;

/// The routes of this dialect.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/api/version", get(version))
        .route("/api/generate", post(answers::generate))
        .route("/api/chat", post(answers::chat))
}

/// A problem in this dialect's words.
#[derive(Debug)]
pub struct OllamaProblem(pub Problem);

impl<E: Into<Problem>> From<E> for OllamaProblem {
    fn from(error: E) -> Self {
        OllamaProblem(error.into())
    }
}

impl IntoResponse for OllamaProblem {
    fn into_response(self) -> Response {
        self.0.response(&types::error(&self.0))
    }
}

async fn version(State(_service): State<Arc<Service>>) -> impl IntoResponse {
    axum::Json(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }))
}
