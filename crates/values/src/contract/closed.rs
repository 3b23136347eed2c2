//! A closed contract: fields whose every allowed answer is known.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::error::Violation;

/// Options of one field: what a person can distinguish, and a bound on the work of one question.
pub const MAX_OPTIONS: usize = 1024;
/// Fields of one object, nested ones counted.
pub const MAX_FIELDS: usize = 400;

/// A closed contract: one bare value, or the fields of an object.
#[derive(Debug, Clone)]
pub struct Contract {
    pub(super) schema: Value,
    pub(super) fields: Vec<Field>,
    pub(super) validator: Arc<Validator>,
}

impl PartialEq for Contract {
    /// Contracts are equal where their schemas are: everything else is made of these.
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

/// One closed field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The names that lead to it from the answer's root; empty for a bare value.
    pub path: Vec<String>,
    pub description: Option<String>,
    pub kind: FieldKind,
    /// Every allowed answer, in the schema's order.
    pub options: Vec<AllowedAnswer>,
}

/// How a field was written, which decides how it is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Choice,
    Boolean,
    Integer,
}

/// One allowed answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AllowedAnswer {
    pub value: Value,
    /// The answer as bare text: a string without quotes, anything else as JSON.
    pub label: String,
    pub description: Option<String>,
}

impl Contract {
    /// The schema as it was given.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// The fields in the schema's order; at least one. A bare value is one field with an empty path.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether the answer is one value rather than an object.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        matches!(self.fields.as_slice(), [field] if field.path.is_empty())
    }

    /// Holds an answer against the schema, by the independent validator.
    ///
    /// # Errors
    /// [`Violation::Schema`]: how it breaks the schema.
    pub fn check(&self, answer: &Value) -> Result<(), Violation> {
        self.validator.validate(answer).map_err(|error| Violation::of(&error))
    }

    /// See [`Form::check_example`](super::Form::check_example).
    pub(super) fn check_example(&self, answer: &str) -> Result<(), Violation> {
        let answer = answer.trim();
        if self.is_bare() && self.fields[0].options.iter().any(|option| option.label == answer) {
            return Ok(());
        }
        match serde_json::from_str::<Value>(answer) {
            Ok(value) => self.check(&value),
            // A bare answer that is no JSON is a label that is not allowed.
            Err(_) if self.is_bare() => self.check(&Value::from(answer)),
            Err(error) => match self.of_lines(answer) {
                Some(value) => self.check(&value),
                None => Err(Violation::NotJson(error.to_string())),
            },
        }
    }

    /// The answer that is written as a line `field: label` for each field.
    fn of_lines(&self, answer: &str) -> Option<Value> {
        let lines: Vec<(&str, &str)> = answer.lines().map(|line| line.split_once(':')).collect::<Option<_>>()?;
        let value = |field: &Field| {
            let name = field.name()?;
            let (_, label) = lines.iter().find(|(own, _)| own.trim() == name)?;
            field.options.iter().find(|option| option.label == label.trim()).map(|option| option.value.clone())
        };
        let values: Option<Vec<Value>> = self.fields.iter().map(value).collect();
        values.filter(|values| values.len() == lines.len()).map(|values| self.assemble(values))
    }

    /// Puts one value for each field together to the answer's JSON.
    #[must_use]
    pub fn assemble(&self, values: impl IntoIterator<Item = Value>) -> Value {
        let mut answer = Value::Null;
        for (field, value) in self.fields.iter().zip(values) {
            let mut at = &mut answer;
            for name in &field.path {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                let object = at.as_object_mut().expect("made an object above");
                at = object.entry(name.clone()).or_insert(Value::Null);
            }
            *at = value;
        }
        answer
    }
}

impl Field {
    /// The values of all options, in their order.
    #[must_use]
    pub fn values(&self) -> Vec<Value> {
        self.options.iter().map(|option| option.value.clone()).collect()
    }

    /// The field's name for people: its path with dots; `None` for a bare value.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        (!self.path.is_empty()).then(|| self.path.join("."))
    }
}
