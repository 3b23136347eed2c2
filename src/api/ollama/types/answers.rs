//! The wire types of requests that a model answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::problem::Problem;
use crate::api::service::AskedForm;
use crate::chat::{Message, Role};
use crate::sampling::Parameters;

/// A request to `/api/generate`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateRequest {
    pub model: String,
    #[serde(default)]
    pub prompt: String,
    pub system: Option<String>,
    pub format: Option<Value>,
    #[schema(value_type = Option<Object>)]
    pub options: Option<Map<String, Value>>,
    pub stream: Option<bool>,
}

/// A request to `/api/chat`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    pub model: String,
    #[serde(default)]
    pub messages: Vec<WireMessage>,
    pub format: Option<Value>,
    #[schema(value_type = Option<Object>)]
    pub options: Option<Map<String, Value>>,
    pub stream: Option<bool>,
}

#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WireMessage {
    #[schema(value_type = String)]
    pub role: Role,
    #[serde(default)]
    pub content: String,
}

impl From<WireMessage> for Message {
    fn from(message: WireMessage) -> Message {
        Message::new(message.role, message.content)
    }
}

/// `format`: `"json"`, a schema, or nothing.
///
/// # Errors
/// Another text, or a schema that cannot be kept.
pub fn form(format: Option<Value>) -> Result<AskedForm, Problem> {
    match format {
        None | Some(Value::Null) => Ok(AskedForm::Own),
        Some(Value::String(text)) if text.is_empty() => Ok(AskedForm::Own),
        Some(Value::String(text)) if text == "json" => Ok(AskedForm::json()),
        Some(schema @ Value::Object(_)) => AskedForm::schema(schema).map_err(|problem| problem.of("format")),
        Some(other) => {
            Err(Problem::invalid(format!("`format` cannot be {other}: give \"json\" or a JSON schema")).of("format"))
        }
    }
}

/// `options`, under the names of a Modelfile's parameters.
///
/// # Errors
/// An unknown name, or a value of the wrong type or range.
pub fn parameters(options: Option<Map<String, Value>>) -> Result<Parameters, Problem> {
    Ok(options.map(|options| Parameters::from_json(&Value::Object(options))).transpose()?.unwrap_or_default())
}
