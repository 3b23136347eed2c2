//! What an answer may be: a JSON Schema as closed fields that are scored, or as a grammar that open text is written under.
//!
//! It knows neither prompts nor tokens. JSON Schema: draft 2020-12, and the older spellings of the same things.

mod closed;
mod closed_schema;
mod error;
mod formats;
mod grammar;
mod keywords;
mod open;
mod recursion;
mod scalars;
mod strict;
mod validator;

use std::sync::Arc;

use serde_json::Value;

pub use closed::{AllowedAnswer, Contract, Field, FieldKind};
pub use closed_schema::{MAX_FIELDS, MAX_OPTIONS};
pub use error::{ContractError, Pointer};
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
        Self::from_schema(error::parse_json(text)?)
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

#[cfg(test)]
mod closed_tests;
#[cfg(test)]
mod open_tests;
