//! What an answer may be: a JSON Schema as closed fields that are scored, or as a grammar that open text is written under.
//!
//! It knows neither prompts nor tokens. JSON Schema: draft 2020-12, and the older spellings of the same things (`modern`).
//!
//! A schema is read once (`reading`): `document` has its nodes, `variants` what one node allows, `domain` what several allow
//! together (`shapes`, by the rules of `numbers`, `texts`, `lists`, `objects`; `overlap` for `oneOf`), `places` the places of an answer. From these
//! `closed_schema` lists the answers, or `strict` writes a schema that llguidance keeps (`grammar`, `open`). `validator` is the
//! independent check of both.

mod closed;
mod closed_schema;
mod document;
mod domain;
mod error;
mod formats;
mod grammar;
mod keywords;
mod lists;
mod modern;
mod numbers;
mod objects;
mod open;
mod overlap;
mod places;
mod reading;
mod rules;
mod shapes;
mod spelling;
mod strict;
mod texts;
mod unique;
mod validator;
mod variants;

use std::sync::Arc;

use serde_json::Value;

pub use closed::{AllowedAnswer, Contract, Field, FieldKind, MAX_FIELDS, MAX_OPTIONS};
pub use error::{ContractError, Pointer, Violation};
pub use open::Open;

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

    /// Checks an answer that a person wrote as an example: JSON, or where answers are listed also a bare label, or a line
    /// `field: label` for each field.
    ///
    /// # Errors
    /// [`Violation`]: how it breaks the form.
    pub fn check_example(&self, answer: &str) -> Result<(), Violation> {
        match self {
            Form::Closed(contract) => contract.check_example(answer),
            Form::Open(open) => open.check(answer.trim()).map(drop),
            Form::Free => Ok(()),
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
        reading::read(&schema, |reading| match closed_schema::contract(&schema, reading) {
            Ok(contract) => Ok(Form::Closed(Arc::new(contract))),
            Err(ContractError::Open { .. }) => open::open(&schema, reading).map(Form::Open),
            Err(error) => Err(error),
        })
    }
}

#[cfg(test)]
mod closed_tests;
#[cfg(test)]
mod differential_tests;
#[cfg(test)]
mod open_tests;
