//! The errors that any path of this dialect may answer with, for the OpenAPI description.

use utoipa::IntoResponses;

pub use crate::api::dialect::anthropic::{ErrorBody, ErrorDetail};

/// What every path of this dialect may answer instead.
#[derive(Debug, IntoResponses)]
pub enum Refusals {
    /// The request is invalid or asks for something unsupported; the message names the field and the value.
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
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// The model's process crashed, or could not be started.
    #[response(status = 500)]
    Failed(ErrorBody),
    /// The queue is full; `Retry-After` says when to try again.
    #[response(status = 529)]
    Busy(ErrorBody),
    /// The request timed out.
    #[response(status = 504)]
    TimedOut(ErrorBody),
}
