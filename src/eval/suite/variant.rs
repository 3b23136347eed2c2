//! A subject as a suite writes it: a model or a remote with its own prompt and format, a model also with parameters and adapters.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_yaml::Spanned;

use super::error::SuiteError;
use super::yaml::{self, invalid, named};

/// Who is asked, and how.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Variant {
    /// How reports call it; no two of a suite have one name.
    pub name: String,
    pub whom: Whom,
    /// A template over the row's columns and `input`, in place of the input alone.
    pub prompt: Option<String>,
    pub system: Option<String>,
    /// In place of the model's own; a remote has none of its own.
    pub format: Option<Format>,
    /// By Ollama's names; whether there is such a parameter is not checked here.
    pub parameters: Map<String, Value>,
    /// As `--adapter` takes them; empty leaves the model its own.
    pub adapters: Vec<String>,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Whom {
    /// A model of the store, by its name.
    Model(String),
    /// A model that somebody else serves.
    Remote(RemoteSource),
}

/// Where it is said how a remote is reached; whether that is right is not checked here.
#[derive(Debug, Clone, PartialEq)]
pub enum RemoteSource {
    /// A file, relative to the suite's folder.
    File(PathBuf),
    /// Keys in the suite itself, those of such a file.
    Keys(Map<String, Value>),
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
    pub model: Option<Spanned<String>>,
    pub remote: Option<Spanned<Value>>,
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
        let (whom, defaults) = match (self.model, self.remote) {
            (Some(model), None) => (Whom::Model(named("model", model)?), defaults.clone()),
            (None, Some(remote)) => {
                let key = if self.parameters.is_some() { Some("parameters") } else { None };
                if let Some(key) = key.or(self.adapters.as_ref().map(|_| "adapters")) {
                    return invalid(
                        key,
                        &remote,
                        "is of models of the store; what a remote is sent stands in its `body`",
                    );
                }
                // Those are of models too.
                let defaults = Variant { parameters: Map::new(), adapters: Vec::new(), ..defaults.clone() };
                (Whom::Remote(source(remote)?), defaults)
            }
            (Some(model), Some(_)) => return invalid("model", &model, "and `remote` are both here; keep one of them"),
            (None, None) => return Err(SuiteError::MissingKey { key: "model" }),
        };
        let mut all = defaults.parameters.clone();
        all.extend(self.parameters.map(parameters).transpose()?.unwrap_or_default());
        Ok(Variant {
            name: self.name.map(|name| named("name", name)).transpose()?.unwrap_or_else(|| whom.name()),
            whom,
            prompt: self.prompt.map(|prompt| named("prompt", prompt)).transpose()?.or_else(|| defaults.prompt.clone()),
            system: self.system.or_else(|| defaults.system.clone()),
            format: self.format.map(format).transpose()?.or_else(|| defaults.format.clone()),
            parameters: all,
            adapters: self.adapters.unwrap_or_else(|| defaults.adapters.clone()),
        })
    }
}

impl Default for Whom {
    fn default() -> Self {
        Whom::Model(String::new())
    }
}

impl Whom {
    /// How reports call it where the suite gives no name: a remote by its file without the extension, or by its model.
    fn name(&self) -> String {
        match self {
            Whom::Model(model) => model.clone(),
            Whom::Remote(RemoteSource::File(file)) => {
                file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
            }
            Whom::Remote(RemoteSource::Keys(keys)) => {
                keys.get("model").and_then(Value::as_str).unwrap_or("remote").to_owned()
            }
        }
    }
}

impl RemoteSource {
    /// The settings of the remote; if they are in a file, its path is relative to `folder`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not YAML.
    pub fn value_in(&self, folder: &Path) -> Result<Value, SuiteError> {
        match self {
            RemoteSource::Keys(keys) => Ok(Value::Object(keys.clone())),
            RemoteSource::File(file) => {
                let path = folder.join(file);
                let text = yaml::read(&path)?;
                yaml::parse(&text).map_err(|source| SuiteError::In { path, source: Box::new(source) })
            }
        }
    }
}

/// The value of `remote`.
fn source(value: Spanned<Value>) -> Result<RemoteSource, SuiteError> {
    match value.value {
        Value::String(ref file) if !file.trim().is_empty() => Ok(RemoteSource::File(file.into())),
        Value::Object(keys) => Ok(RemoteSource::Keys(keys)),
        // Whatever it is, it may be a key, and is not shown.
        _ => invalid("remote", &value, "is neither a file nor a map with `base_url` and `model`"),
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
