//! Problems in Anthropic's words.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::problem::Kind;

/// The body of an error; also the last event of a stream that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::ErrorBody)]
pub struct ErrorBody {
    #[schema(pattern = "^error$")]
    pub r#type: &'static str,
    pub error: ErrorDetail,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = anthropic::ErrorDetail)]
pub struct ErrorDetail {
    pub r#type: &'static str,
    /// What is wrong, with the value, and what to do next.
    pub message: String,
}

impl ErrorBody {
    /// Types are those of Anthropic's table of errors, where `invalid_request_error` also stands for every other 4xx.
    #[must_use]
    pub fn new(kind: Kind, message: String) -> ErrorBody {
        let r#type = match kind {
            Kind::Invalid
            | Kind::Unsupported
            | Kind::Unknown
            | Kind::TooLong
            | Kind::WrongMethod
            | Kind::Late
            | Kind::Encoding
            | Kind::Protocol(_) => "invalid_request_error",
            Kind::Unauthorized => "authentication_error",
            Kind::Forbidden => "permission_error",
            Kind::NotFound | Kind::NoSuchPath => "not_found_error",
            Kind::TooLarge => "request_too_large",
            Kind::Busy { .. } => "overloaded_error",
            Kind::TimedOut => "timeout_error",
            Kind::Failed | Kind::Upstream => "api_error",
        };
        ErrorBody { r#type: "error", error: ErrorDetail { r#type, message } }
    }
}
