//! Problems in Ollama's words.

use serde::Serialize;
use utoipa::ToSchema;

/// Why a request got no answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ollama::ErrorResponse)]
pub struct ErrorResponse {
    /// What is wrong, with the value, and what to do next.
    pub error: String,
}
