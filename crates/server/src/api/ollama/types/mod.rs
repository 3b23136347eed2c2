//! The wire types of Ollama's API.

pub mod embed;
pub mod models;
pub mod options;
pub mod reply;
pub mod request;
pub mod transfer;

use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

use crate::api::dialect::ollama::ErrorResponse;

/// How long the model stays loaded after this request: seconds, or a duration; below 0: forever, 0: not at all.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = ollama::KeepAlive)]
#[serde(untagged)]
#[allow(dead_code)] // Only described.
pub enum KeepAliveText {
    Seconds(f64),
    Duration(DurationText),
}

/// A number with its unit, such as `10m`.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = ollama::Duration, pattern = "^-?[0-9]+(\\.[0-9]+)?(ms|s|m|h)$")]
#[allow(dead_code)] // Only described.
pub struct DurationText(String);

/// The form of an answer.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = ollama::Format)]
#[serde(untagged)]
#[allow(dead_code)] // Only described.
pub enum Format {
    Word(FormatWord),
    /// A JSON schema.
    #[schema(value_type = Object)]
    Schema(Value),
}

#[derive(Debug, Clone, ToSchema)]
#[schema(as = ollama::FormatWord)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)] // Only described.
pub enum FormatWord {
    /// JSON: what the model's Modelfile says, and without that any object.
    Json,
}

/// The statuses of requests that get no answer.
#[derive(IntoResponses)]
#[allow(dead_code)] // Only described.
pub enum Errors {
    /// The request is invalid or asks for something unsupported.
    #[response(status = 400)]
    Invalid(ErrorResponse),
    /// It is not allowed here.
    #[response(status = 403)]
    Forbidden(ErrorResponse),
    /// There is no such model.
    #[response(status = 404)]
    NotFound(ErrorResponse),
    /// The server failed.
    #[response(status = 500)]
    Failed(ErrorResponse),
    /// The queue is full.
    #[response(status = 503)]
    Busy(ErrorResponse),
}
