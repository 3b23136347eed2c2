//! The ways in which remotes are asked: what is sent, and what is read of an answer. Pure: JSON out, JSON in.

mod chat;
mod typed;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::RemoteError;
use crate::question::Question;
use crate::usage::Usage;

/// How a remote is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI's chat completions, with the schema as `response_format`.
    #[default]
    Chat,
    /// OpenAI's typed questions.
    Decisions,
    /// System One's typed questions.
    SystemOne,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Text(String),
    /// Text that has no form and ended at a limit of tokens.
    Cut(String),
    /// JSON that meets the schema.
    Value {
        json: Value,
        /// Of each closed field that the remote gave probabilities for.
        probabilities: Vec<FieldProbabilities>,
    },
}

/// The allowed answers of a closed field with their probabilities, as the remote gave them.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldProbabilities {
    /// A nested field's with dots; `None` where the whole answer is one value.
    pub field: Option<String>,
    pub of: Vec<(Value, f64)>,
}

impl Dialect {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Chat => "chat",
            Dialect::Decisions => "decisions",
            Dialect::SystemOne => "systemone",
        }
    }

    /// Below the remote's address.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Dialect::Chat => "chat/completions",
            Dialect::Decisions => "decisions",
            Dialect::SystemOne => "systemone",
        }
    }

    /// The body of a request to a model, with these fields over its own; null takes one away.
    ///
    /// # Errors
    /// [`RemoteError::Unaskable`].
    pub(crate) fn body(
        self,
        model: &str,
        fields: &Map<String, Value>,
        question: &Question,
    ) -> Result<Value, RemoteError> {
        let mut body = match self {
            Dialect::Chat => chat::body(question),
            Dialect::Decisions | Dialect::SystemOne => typed::body(self, question)?,
        };
        body.insert("model".to_owned(), model.into());
        for (name, value) in fields {
            if value.is_null() {
                body.remove(name)
            } else {
                body.insert(name.clone(), value.clone())
            };
        }
        Ok(Value::Object(body))
    }

    /// Reads an answer to a question.
    ///
    /// # Errors
    /// It is not of this dialect, or the model's own answer is not one to the question.
    pub(crate) fn read(self, host: &str, question: &Question, answer: &Value) -> Result<Content, RemoteError> {
        match self {
            Dialect::Chat => chat::read(host, question, answer),
            Dialect::Decisions | Dialect::SystemOne => typed::read(self, host, question, answer),
        }
    }

    /// The tokens that an answer took, be it of use or not.
    pub(crate) fn usage(self, answer: &Value) -> Option<Usage> {
        let usage = &answer["usage"];
        let (input, output) = match self {
            Dialect::Chat => ("prompt_tokens", "completion_tokens"),
            Dialect::Decisions | Dialect::SystemOne => ("input_tokens", "output_tokens"),
        };
        Some(Usage { input: usage[input].as_u64()?, output: usage[output].as_u64()? })
    }

    fn missing(self, host: &str, missing: impl Into<String>) -> RemoteError {
        RemoteError::WrongShape { host: host.to_owned(), dialect: self.as_str(), missing: missing.into() }
    }
}

/// Numbers by values, as dialects list them; nothing where one is not a probability.
fn probabilities(listed: impl IntoIterator<Item = (Value, Value)>) -> Option<Vec<(Value, f64)>> {
    let one = |(value, p): (Value, Value)| Some((value, p.as_f64().filter(|p| (0.0..=1.0).contains(p))?));
    listed.into_iter().map(one).collect()
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
