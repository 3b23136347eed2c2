//! Problems in OpenAI's words: `{"error": {"message", "type", "param", "code"}}`.

use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::problem::{Kind, Problem};

/// A problem in this dialect's words.
#[derive(Debug)]
pub struct OpenAiProblem(pub Problem);

impl<E: Into<Problem>> From<E> for OpenAiProblem {
    fn from(error: E) -> Self {
        OpenAiProblem(error.into())
    }
}

impl IntoResponse for OpenAiProblem {
    fn into_response(self) -> Response {
        self.0.response(&error(&self.0))
    }
}

/// The body of an error, which is also a stream's last event where it fails.
#[must_use]
pub fn error(problem: &Problem) -> Value {
    let (kind, code) = match problem.kind {
        Kind::TooLong => ("invalid_request_error", Some("context_length_exceeded")),
        Kind::NotFound if problem.field.as_deref() == Some("model") => {
            ("invalid_request_error", Some("model_not_found"))
        }
        Kind::Invalid | Kind::NotFound | Kind::Method | Kind::TooLarge => ("invalid_request_error", None),
        Kind::Unauthorized => ("invalid_request_error", Some("invalid_api_key")),
        Kind::Forbidden => ("invalid_request_error", Some("forbidden")),
        Kind::Busy { .. } => ("server_error", Some("busy")),
        Kind::TimedOut => ("server_error", Some("timeout")),
        Kind::Failed => ("server_error", None),
    };
    json!({ "error": { "message": problem.message, "type": kind, "param": problem.field, "code": code } })
}
