//! A subject as a suite writes it: a model with its own prompt, format, parameters and adapters.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Spanned;

use super::error::SuiteError;
use super::yaml::{invalid, named};

/// What is asked: a model, and how.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variant {
    /// How reports call it; no two of a suite have one name.
    pub name: String,
    pub model: String,
    /// A template over the row's columns and `input`, in place of the input alone.
    pub prompt: Option<String>,
    pub system: Option<String>,
    /// In place of the model's own.
    pub format: Option<Format>,
    /// By Ollama's names; whether there is such a parameter is not checked here.
    pub parameters: Map<String, Value>,
    /// As `--adapter` takes them; empty leaves the model its own.
    pub adapters: Vec<String>,
}

/// The contract of the answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// A JSON Schema, its keys in the order of the file.
    Schema(Value),
    /// `@file`: where a schema is, relative to the suite's folder.
    File(PathBuf),
}

/// An entry of `models`: a name alone, or a map.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawVariant {
    pub model: Spanned<String>,
    pub name: Option<Spanned<String>>,
    pub prompt: Option<Spanned<String>>,
    pub system: Option<String>,
    pub format: Option<Spanned<Value>>,
    pub parameters: Option<Spanned<Value>>,
    pub adapters: Option<Vec<String>>,
}

impl RawVariant {
    /// The variant, with what the suite says of all of them where it says nothing itself.
    ///
    /// # Errors
    ///
    /// A value is of the wrong kind.
    pub fn over(self, defaults: &Variant) -> Result<Variant, SuiteError> {
        let model = named("model", self.model)?;
        let mut all = defaults.parameters.clone();
        all.extend(self.parameters.map(parameters).transpose()?.unwrap_or_default());
        Ok(Variant {
            name: self.name.map(|name| named("name", name)).transpose()?.unwrap_or_else(|| model.clone()),
            model,
            prompt: self.prompt.map(|prompt| named("prompt", prompt)).transpose()?.or_else(|| defaults.prompt.clone()),
            system: self.system.or_else(|| defaults.system.clone()),
            format: self.format.map(format).transpose()?.or_else(|| defaults.format.clone()),
            parameters: all,
            adapters: self.adapters.unwrap_or_else(|| defaults.adapters.clone()),
        })
    }
}

/// The value of `format`.
///
/// # Errors
///
/// It is neither a schema nor the name of a file.
pub fn format(value: Spanned<Value>) -> Result<Format, SuiteError> {
    match &value.value {
        Value::Object(_) => Ok(Format::Schema(value.value)),
        Value::String(text) => match text.strip_prefix('@') {
            Some(file) if !file.is_empty() => Ok(Format::File(file.into())),
            _ => invalid("format", &value, format!("is `{text}`; write a JSON schema, or `\"@file\"` that holds one")),
        },
        _ => invalid("format", &value, "is neither a JSON schema nor `\"@file\"`"),
    }
}

/// The value of `parameters`.
///
/// # Errors
///
/// It is no map.
pub fn parameters(value: Spanned<Value>) -> Result<Map<String, Value>, SuiteError> {
    match value.value {
        Value::Object(map) => Ok(map),
        ref other => {
            let problem = format!("is `{other}`; write a map of names to values, such as `num_ctx: 2048`");
            invalid("parameters", &value, problem)
        }
    }
}
