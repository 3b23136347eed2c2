//! One record of a file before anybody knows what it is for: its columns by name, typed or as text.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::encoding::{self, NotText};
use crate::eval::label::Expected;

/// A record with its place, or why it cannot be read.
#[derive(Debug)]
pub struct RawRow {
    /// The line on which it starts, or which row it is where there are no lines; from 1.
    pub line: u64,
    pub cells: Result<Cells, String>,
}

/// The columns of a record.
#[derive(Debug)]
pub enum Cells {
    /// Typed values.
    Object(Map<String, Value>),
    /// Text, whose types are those of the answers that it is compared with.
    Record { names: Arc<[String]>, record: csv::ByteRecord },
}

/// A value of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Json(Value),
    Text(String),
}

impl Cells {
    /// The value in a column; `None` where the record has no such column.
    ///
    /// # Errors
    ///
    /// The cell holds no text.
    pub fn get(&self, column: &str) -> Result<Option<Cell>, String> {
        match self {
            Cells::Object(object) => Ok(object.get(column).cloned().map(Cell::Json)),
            Cells::Record { names, record } => {
                let Some(at) = names.iter().position(|name| name == column) else { return Ok(None) };
                let bytes = record.get(at).unwrap_or_default().to_vec();
                let text = encoding::checked(bytes).map_err(|_| format!("`{column}`: {NotText}"))?;
                Ok(Some(Cell::Text(text)))
            }
        }
    }

    /// All columns, for templates; cells that hold no text are left out.
    #[must_use]
    pub fn all(&self) -> Map<String, Value> {
        match self {
            Cells::Object(object) => object.clone(),
            Cells::Record { names, .. } => {
                let cell = |name: &String| match self.get(name) {
                    Ok(Some(Cell::Text(text))) => Some((name.clone(), Value::String(text))),
                    _ => None,
                };
                names.iter().filter_map(cell).collect()
            }
        }
    }
}

impl Cell {
    /// The value as text, as a filter or an id has it: a text bare, all else as JSON.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Cell::Text(text) | Cell::Json(Value::String(text)) => text.clone(),
            Cell::Json(other) => other.to_string(),
        }
    }

    /// The text that a model reads.
    ///
    /// # Errors
    ///
    /// It is of another type.
    pub fn input(self, column: &str) -> Result<String, String> {
        match self {
            Cell::Text(text) | Cell::Json(Value::String(text)) => Ok(text),
            Cell::Json(other) => Err(format!("`{column}` is {}, not a text", kind(&other))),
        }
    }

    /// What is expected.
    #[must_use]
    pub fn expected(self) -> Expected {
        match self {
            Cell::Json(value) => Expected::Json(value),
            Cell::Text(text) => Expected::Text(text),
        }
    }
}

/// A value's type for people.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
