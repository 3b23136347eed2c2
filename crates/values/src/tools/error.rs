//! Why a list of tools, a call or a choice is refused.

use super::limits::MAX_NAME;
use crate::contract::ContractError;

/// What is wrong with tools, calls or a choice, and the place of it in the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    #[error("`{at}` is {found}, and must be {expected}")]
    Type { at: String, found: &'static str, expected: &'static str },
    #[error("`{at}` is missing")]
    Missing { at: String },
    #[error("`{at}` is not supported; {known}")]
    Unknown { at: String, known: String },
    #[error("`{at}` is `{found}`, and only {known} can be used")]
    Value { at: String, found: String, known: &'static str },
    #[error(
        "`{at}`: `{name}` cannot name a tool: it takes 1 to {MAX_NAME} letters, digits and the signs `_`, `-`, `.`, `/` and `:`"
    )]
    Name { at: String, name: String },
    #[error("`{at}`: a tool `{name}` is given twice")]
    Twice { at: String, name: String },
    #[error("`{at}`: there is no tool `{name}`; {known}")]
    NoSuchTool { at: String, name: String, known: String },
    #[error("`{at}` asks for a call, and there are no tools")]
    NoTools { at: String },
    #[error("`{at}` has {n} entries, and at most {limit} are taken")]
    TooMany { at: String, n: usize, limit: usize },
    #[error("`{at}` has {n_bytes} bytes, and at most {limit} are taken")]
    TooLarge { at: String, n_bytes: usize, limit: usize },
    #[error("`{at}` is nested more than {limit} deep")]
    TooDeep { at: String, limit: usize },
    #[error("`{at}` is not JSON: {reason}")]
    NotJson { at: String, reason: String },
    #[error("`{at}`: {error}")]
    Parameters { at: String, error: ContractError },
}

impl ToolError {
    /// The faulty place in the request, such as `tools[0].function.name`.
    #[must_use]
    pub fn at(&self) -> &str {
        match self {
            ToolError::Type { at, .. }
            | ToolError::Missing { at }
            | ToolError::Unknown { at, .. }
            | ToolError::Value { at, .. }
            | ToolError::Name { at, .. }
            | ToolError::Twice { at, .. }
            | ToolError::NoSuchTool { at, .. }
            | ToolError::NoTools { at }
            | ToolError::TooMany { at, .. }
            | ToolError::TooLarge { at, .. }
            | ToolError::TooDeep { at, .. }
            | ToolError::NotJson { at, .. }
            | ToolError::Parameters { at, .. } => at,
        }
    }
}
