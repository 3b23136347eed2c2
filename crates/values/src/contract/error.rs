//! Why a contract is refused or an answer breaks it, and the place.

use jsonschema::ValidationError;
use serde_json::Value;

/// Why a schema, a list of choices, a regular expression or a grammar is not supported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    #[error("the schema is not JSON: {0}")]
    NotJson(String),
    #[error("the schema{at} is not supported: {reason}")]
    Schema { at: Pointer, reason: String },
    #[error(
        "the schema{at} is open ({what}), and here answers are scored from a closed list: use `enum`, `boolean`, an \
         `integer` with `minimum` and `maximum`, or an object of these"
    )]
    Open { at: Pointer, what: String },
    #[error("the choices `{list}`: {reason}")]
    Choices { list: String, reason: String },
    #[error("the regular expression is not supported: {0}")]
    Regex(String),
    #[error("the grammar is not supported: {0}")]
    Grammar(String),
}

/// How a text breaks its contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    #[error("the answer{at} does not meet the schema: {reason}")]
    Schema { at: Pointer, reason: String },
    #[error("the answer does not match the regular expression")]
    Regex,
    #[error("the answer is unfinished: it reached the limit of tokens")]
    Length,
}

impl Violation {
    pub(super) fn of(error: &ValidationError<'_>) -> Self {
        let at = Pointer::of(error.instance_path().to_string());
        Violation::Schema { at, reason: one_line(error) }
    }
}

/// A place in a schema or an answer, as a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer(String);

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " at `{}`", self.0) }
    }
}

impl Pointer {
    /// The place that a JSON pointer, such as `/properties/name`, names.
    pub(super) fn of(pointer: String) -> Pointer {
        Pointer(pointer)
    }

    /// The pointer's text; empty for the whole.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn root() -> Pointer {
        Pointer(String::new())
    }

    pub(super) fn below(&self, name: &str) -> Pointer {
        Pointer(format!("{}/{}", self.0, name.replace('~', "~0").replace('/', "~1")))
    }

    pub(super) fn refused(&self, reason: impl Into<String>) -> ContractError {
        ContractError::Schema { at: self.clone(), reason: reason.into() }
    }

    pub(super) fn open(&self, what: &str) -> ContractError {
        ContractError::Open { at: self.clone(), what: what.to_owned() }
    }
}

/// A schema's text as JSON.
pub(super) fn parse_json(text: &str) -> Result<Value, ContractError> {
    serde_json::from_str(text).map_err(|error| ContractError::NotJson(error.to_string()))
}

/// What the validator says, in one line of bounded length.
pub(super) fn one_line(error: &ValidationError<'_>) -> String {
    error.to_string().chars().take(300).collect()
}
