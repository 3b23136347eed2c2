//! What every path of this dialect may answer in place of what was asked for, for its description.

use utoipa::IntoResponses;

pub use crate::api::dialect::openai::{ErrorBody, ErrorDetail};

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
