//! Problems in OpenAI's words.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::problem::Kind;

/// The body of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ErrorBody)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ErrorDetail)]
pub struct ErrorDetail {
    /// What is wrong, with the value, and what to do next.
    pub message: String,
    pub r#type: &'static str,
    /// The field of the request that is wrong.
    #[schema(required)]
    pub param: Option<String>,
    pub code: &'static str,
}

impl ErrorBody {
    /// Type and code are those of OpenAI's own answers; where theirs is not known, the code says the kind.
    #[must_use]
    pub fn new(kind: Kind, message: String, field: Option<String>) -> ErrorBody {
        const INVALID: &str = "invalid_request_error";
        let (r#type, code) = match kind {
            Kind::Invalid => (INVALID, "invalid_value"),
            Kind::Unsupported => (INVALID, "unsupported_parameter"),
            Kind::Unknown => (INVALID, "unknown_parameter"),
            Kind::TooLong => (INVALID, "context_length_exceeded"),
            Kind::Unauthorized => (INVALID, "invalid_api_key"),
            Kind::Forbidden => (INVALID, "forbidden"),
            Kind::NotFound if field.as_deref() == Some("model") => (INVALID, "model_not_found"),
            Kind::NotFound => (INVALID, "not_found"),
            Kind::NoSuchPath => (INVALID, "unknown_url"),
            Kind::WrongMethod => (INVALID, "method_not_supported"),
            Kind::TooLarge => (INVALID, "request_too_large"),
            Kind::Late => (INVALID, "request_timeout"),
            Kind::Encoding => (INVALID, "unsupported_content_type"),
            Kind::Protocol(_) => (INVALID, "invalid_request"),
            Kind::Busy { .. } => ("service_unavailable_error", "server_is_overloaded"),
            Kind::TimedOut => ("server_error", "timeout"),
            Kind::Failed | Kind::Upstream => ("server_error", "server_error"),
        };
        ErrorBody { error: ErrorDetail { message, r#type, param: field, code } }
    }
}
