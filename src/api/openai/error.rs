//! Problems in OpenAI's words.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

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
        self.0.response(&serde_json::json!(ErrorBody::from(&self.0)))
    }
}

/// What an error answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ErrorBody)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = openai::ErrorDetail)]
pub struct ErrorDetail {
    /// What was wrong, with the value, and what to do next.
    pub message: String,
    pub r#type: &'static str,
    /// The field of the request that is at fault.
    #[schema(required)]
    pub param: Option<String>,
    #[schema(required)]
    pub code: Option<&'static str>,
}

impl From<&Problem> for ErrorBody {
    fn from(problem: &Problem) -> ErrorBody {
        let (r#type, code) = match problem.kind {
            Kind::Invalid => ("invalid_request_error", Some("invalid_value")),
            Kind::Unsupported => ("invalid_request_error", Some("unsupported_parameter")),
            Kind::Unknown => ("invalid_request_error", Some("unknown_parameter")),
            Kind::TooLong => ("invalid_request_error", Some("context_length_exceeded")),
            Kind::Unauthorized => ("authentication_error", Some("invalid_api_key")),
            Kind::Forbidden => ("permission_error", None),
            Kind::NotFound if problem.field.as_deref() == Some("model") => {
                ("invalid_request_error", Some("model_not_found"))
            }
            Kind::NotFound => ("invalid_request_error", Some("not_found")),
            Kind::TooLarge => ("invalid_request_error", Some("request_too_large")),
            Kind::Busy { .. } => ("server_error", Some("overloaded")),
            Kind::TimedOut => ("server_error", Some("timeout")),
            Kind::Failed | Kind::Upstream => ("server_error", Some("server_error")),
        };
        ErrorBody {
            error: ErrorDetail { message: problem.message.clone(), r#type, param: problem.field.clone(), code },
        }
    }
}

/// What every path of this dialect may answer instead.
#[derive(Debug, IntoResponses)]
pub enum Refusals {
    /// The request cannot be understood or kept; the message names the field and the value.
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// A key is missing or wrong.
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// It is not allowed here.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// No model has this name.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// The body is larger than is accepted.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The model's process ended, or could not be started.
    #[response(status = 500)]
    Failed(ErrorBody),
    /// Too much waits already; `Retry-After` says when to come again.
    #[response(status = 503)]
    Busy(ErrorBody),
    /// The request's time was over before its answer.
    #[response(status = 504)]
    TimedOut(ErrorBody),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_its_code() {
        let code = |problem: Problem| ErrorBody::from(&problem).error.code;
        assert_eq!(code(Problem::new(Kind::NotFound, "no").of("model")), Some("model_not_found"));
        assert_eq!(code(Problem::new(Kind::TooLong, "no")), Some("context_length_exceeded"));
        assert_eq!(code(Problem::unsupported("audio", "no")), Some("unsupported_parameter"));
        let body = serde_json::to_string(&ErrorBody::from(&Problem::unknown("audio"))).unwrap();
        assert_eq!(
            body,
            r#"{"error":{"message":"`audio` is not known here; leave it away","type":"invalid_request_error","param":"audio","code":"unknown_parameter"}}"#
        );
    }
}
