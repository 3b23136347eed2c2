//! What an answer may be: a JSON Schema as closed fields that are scored, or as a grammar that open text is written under.
//!
//! It knows neither prompts nor tokens. JSON Schema: draft 2020-12, and the older spellings of the same things.

mod closed;
mod formats;
mod open;
mod strict;

use std::sync::Arc;

use serde_json::Value;

pub use closed::{Choice, Contract, Field, Kind, MAX_FIELDS, MAX_OPTIONS};
pub use open::{Open, Violation};

/// The form that an answer must have.
#[derive(Debug, Clone, Default)]
pub enum Form {
    /// Every allowed answer is known: answers are scored.
    Closed(Arc<Contract>),
    /// Answers are written under a grammar, and checked.
    Open(Open),
    /// Answers are any text.
    #[default]
    Free,
}

impl Form {
    /// Any JSON object.
    #[must_use]
    pub fn json() -> Self {
        Form::Open(Open::json())
    }

    /// The schema as it was given, where the form is one.
    #[must_use]
    pub fn schema(&self) -> Option<&Value> {
        match self {
            Form::Closed(contract) => Some(contract.schema()),
            Form::Open(open) => open.schema(),
            Form::Free => None,
        }
    }

    /// Parses a schema's text.
    ///
    /// # Errors
    /// [`ContractError`], naming the place in the schema.
    pub fn parse(text: &str) -> Result<Self, ContractError> {
        Self::from_schema(parse(text)?)
    }

    /// Reads a schema: closed where every answer can be listed, else open.
    ///
    /// # Errors
    /// [`ContractError`], naming the place in the schema.
    pub fn from_schema(schema: Value) -> Result<Self, ContractError> {
        match Contract::from_schema(schema.clone()) {
            Ok(contract) => Ok(Form::Closed(Arc::new(contract))),
            Err(ContractError::Open { .. }) => Open::from_schema(schema).map(Form::Open),
            Err(error) => Err(error),
        }
    }
}

/// A schema's text as JSON.
fn parse(text: &str) -> Result<Value, ContractError> {
    serde_json::from_str(text).map_err(|error| ContractError::NotJson(error.to_string()))
}

/// Why a schema is not a contract that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    #[error("the schema is not JSON: {0}")]
    NotJson(String),
    #[error("the schema{at} cannot be kept: {reason}")]
    Schema { at: Place, reason: String },
    #[error(
        "the schema{at} is open ({what}), and here answers are scored from a closed list: use `enum`, `boolean`, an \
         `integer` with `minimum` and `maximum`, or an object of these"
    )]
    Open { at: Place, what: String },
    #[error("{0}")]
    Choices(String),
    #[error("the regular expression cannot be kept: {0}")]
    Regex(String),
    #[error("the grammar cannot be kept: {0}")]
    Grammar(String),
}

/// A place in a schema, as a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " at `{}`", self.0) }
    }
}

impl Place {
    fn root() -> Place {
        Place(String::new())
    }

    fn below(&self, name: &str) -> Place {
        Place(format!("{}/{}", self.0, name.replace('~', "~0").replace('/', "~1")))
    }

    fn refused(&self, reason: impl Into<String>) -> ContractError {
        ContractError::Schema { at: self.clone(), reason: reason.into() }
    }

    fn open(&self, what: &str) -> ContractError {
        ContractError::Open { at: self.clone(), what: what.to_owned() }
    }
}
