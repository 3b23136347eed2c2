//! A call that a model made: a tool's name and its arguments.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::error::ToolError;
use super::limits::{MAX_BYTES, MAX_CALLS, MAX_DEPTH};
use super::located::Located;

/// One call. Its serde form is the wire's: `{"id": .., "type": "function", "function": {"name", "arguments": {..}}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Json", into = "Json")]
pub struct ToolCall {
    /// What the tool's answer is matched by; OpenAI's clients need one, Ollama's do not.
    pub id: Option<String>,
    pub name: String,
    pub arguments: Map<String, Json>,
}

impl ToolCall {
    /// A call without an id.
    #[must_use]
    pub fn new(name: impl Into<String>, arguments: Map<String, Json>) -> Self {
        ToolCall { id: None, name: name.into(), arguments }
    }

    /// A call of its parts; `arguments` are an object's JSON as a text.
    ///
    /// # Errors
    /// [`ToolError`], with the place within `at`.
    pub fn of_text(id: Option<String>, name: &str, arguments: &str, at: &str) -> Result<ToolCall, ToolError> {
        let (name, arguments) = (Json::from(name), Json::from(arguments));
        let name = Located::new(&name, &format!("{at}.name")).tool_name()?.to_owned();
        let arguments = read_arguments(&Located::new(&arguments, &format!("{at}.arguments")))?;
        Ok(ToolCall { id, name, arguments })
    }

    /// The calls of a message's list; `at` is the list's place, such as `messages[2].tool_calls`.
    ///
    /// # Errors
    /// [`ToolError`], with the place.
    pub fn list(json: &Json, at: &str) -> Result<Vec<ToolCall>, ToolError> {
        let list = Located::new(json, at);
        list.bounded(MAX_BYTES, MAX_DEPTH)?;
        list.items(MAX_CALLS)?.iter().map(ToolCall::read).collect()
    }

    /// One call. `arguments` are an object, as in Ollama's API, or an object's JSON as a text, as in OpenAI's.
    ///
    /// # Errors
    /// [`ToolError`], with the place within `at`.
    pub fn parse(json: &Json, at: &str) -> Result<ToolCall, ToolError> {
        let call = Located::new(json, at);
        call.bounded(MAX_BYTES, MAX_DEPTH)?;
        ToolCall::read(&call)
    }

    fn read(call: &Located) -> Result<ToolCall, ToolError> {
        // `index` is a place in a stream, and `parsed_arguments` the arguments once more, which clients send back.
        call.known(&["id", "type", "function", "index"])?;
        call.function_type()?;
        let function = call.field("function")?;
        function.known(&["name", "arguments", "index", "description", "parsed_arguments"])?;
        let name = function.field("name")?.tool_name()?.to_owned();
        let arguments = match function.optional("arguments") {
            None => Map::new(),
            Some(arguments) => read_arguments(&arguments)?,
        };
        let id = call.optional("id").map(|id| id.text().map(str::to_owned)).transpose()?;
        // Ollama's clients send back an empty one where there was none.
        let id = id.filter(|id| !id.is_empty());
        Ok(ToolCall { id, name, arguments })
    }

    /// The wire form: Ollama's and, except that arguments are an object and not a text, OpenAI's.
    #[must_use]
    pub fn json(&self) -> Json {
        let mut call = Map::new();
        call.extend(self.id.as_ref().map(|id| ("id".to_owned(), Json::from(id.as_str()))));
        call.insert("type".to_owned(), "function".into());
        call.insert("function".to_owned(), json!({"name": self.name, "arguments": self.arguments}));
        call.into()
    }
}

fn read_arguments(arguments: &Located) -> Result<Map<String, Json>, ToolError> {
    match arguments.json {
        Json::Object(fields) => Ok(fields.clone()),
        // Some models call without arguments, and clients send that back as it came.
        Json::String(text) if text.trim().is_empty() => Ok(Map::new()),
        Json::String(text) => {
            let not_json = |reason: String| ToolError::NotJson { at: arguments.at.clone(), reason };
            let json: Json = serde_json::from_str(text).map_err(|error| not_json(error.to_string()))?;
            let within = Located::new(&json, &arguments.at);
            within.bounded(MAX_BYTES, MAX_DEPTH)?;
            within.object().cloned()
        }
        _ => Err(arguments.not("an object, or its JSON as a text")),
    }
}

impl TryFrom<Json> for ToolCall {
    type Error = ToolError;

    fn try_from(json: Json) -> Result<Self, ToolError> {
        ToolCall::parse(&json, "tool_call")
    }
}

impl From<ToolCall> for Json {
    fn from(call: ToolCall) -> Json {
        call.json()
    }
}
