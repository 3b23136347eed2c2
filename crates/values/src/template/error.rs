//! Why a chat template cannot be parsed, or cannot render a conversation.

use thiserror::Error;

/// Why a template could not be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The source is not a template.
    #[error("it is not a template in {language}: {reason}")]
    Syntax { language: &'static str, reason: String },
    /// The source is too long to be a template.
    #[error("it has {bytes} bytes, more than the {limit} that are accepted")]
    TooLong { bytes: usize, limit: usize },
    /// The template refused this conversation (`raise_exception`).
    #[error("it refuses this conversation: {message}")]
    Refused { message: String },
    /// The template ran into an error or a limit.
    #[error("it failed: {reason}")]
    Failed { reason: String },
}
