//! The wire types of Ollama's API.

pub mod answers;
pub mod models;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoResponses, ToSchema};

use crate::api::problem::Problem;

/// Why a request got no answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ErrorResponse {
    /// What was wrong, with the value, and what to do next.
    pub error: String,
}

/// The statuses of requests that get no answer.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only described.
pub enum Errors {
    /// The request cannot be understood or kept.
    #[response(status = 400)]
    Invalid(ErrorResponse),
    /// It is not allowed here.
    #[response(status = 403)]
    Forbidden(ErrorResponse),
    /// There is no such model.
    #[response(status = 404)]
    NotFound(ErrorResponse),
    /// Something in the server failed.
    #[response(status = 500)]
    Failed(ErrorResponse),
    /// Too much waits already.
    #[response(status = 503)]
    Busy(ErrorResponse),
}

/// A problem in this dialect's words.
#[must_use]
pub fn error(problem: &Problem) -> Value {
    json!(ErrorResponse { error: problem.message.clone() })
}
