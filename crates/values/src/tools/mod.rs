//! Tools as values: what a model may call, what it called, and what a request wants of it; no prompts, no tokens.
//!
//! The wire form is the one that Ollama's and OpenAI's APIs share: `{"type": "function", "function": {..}}`.

mod call;
mod certain;
mod form;
mod gemma;
mod link;
mod python;
mod read;
mod reader;
mod scan;
mod tags;
mod wording;
mod written;

use serde_json::{Map, Value as Json};

use crate::contract::ContractError;
use read::Reader;

pub use call::ToolCall;
pub use certain::Certain;
pub use form::Form;
pub use link::{linked, parted, with_short_ids};
pub use reader::{CallReader, Part};
pub use wording::{answered_by_user, describe, described};

/// The most tools of one request, as many as OpenAI takes.
pub const MAX_TOOLS: usize = 128;
/// The most calls of one message.
pub const MAX_CALLS: usize = 128;
/// The most bytes of all tools of a request, or all calls of a message, as JSON.
pub const MAX_BYTES: usize = 1 << 20;
/// Lists and objects within each other.
pub const MAX_DEPTH: usize = 64;
/// The most characters of a name.
pub const MAX_NAME: usize = 128;

/// One function that a model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    name: String,
    description: Option<String>,
    parameters: Option<Json>,
    raw: Json,
}

/// Whether a model calls tools in its next answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// It does not.
    None,
    /// It calls one of them.
    Required,
    /// It calls this one.
    Named(String),
}

/// Why tools, calls or a choice are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    #[error("`{at}` is {found}, and must be {expected}")]
    Type { at: String, found: &'static str, expected: &'static str },
    #[error("`{at}` is missing")]
    Missing { at: String },
    #[error("`{at}` is not supported; {known}")]
    Unknown { at: String, known: String },
    #[error("`{at}` is `{found}`, and only {known} can be used")]
    Value { at: String, found: String, known: &'static str },
    #[error(
        "`{at}`: `{name}` cannot name a tool: it takes 1 to {MAX_NAME} letters, digits and the signs `_`, `-`, `.`, `/` and `:`"
    )]
    Name { at: String, name: String },
    #[error("`{at}`: a tool `{name}` is given twice")]
    Twice { at: String, name: String },
    #[error("`{at}`: there is no tool `{name}`; {known}")]
    NoSuchTool { at: String, name: String, known: String },
    #[error("`{at}` asks for a call, and there are no `tools`")]
    NoTools { at: String },
    #[error("`{at}` has {n} entries, and at most {limit} are taken")]
    TooMany { at: String, n: usize, limit: usize },
    #[error("`{at}` has {n_bytes} bytes, and at most {limit} are taken")]
    TooLarge { at: String, n_bytes: usize, limit: usize },
    #[error("`{at}` is nested more than {limit} deep")]
    TooDeep { at: String, limit: usize },
    #[error("`{at}` is no JSON: {reason}")]
    NotJson { at: String, reason: String },
    #[error("`{at}`: {error}")]
    Parameters { at: String, error: ContractError },
}

impl ToolError {
    /// The place in the request that is at fault.
    #[must_use]
    pub fn at(&self) -> &str {
        match self {
            ToolError::Type { at, .. }
            | ToolError::Missing { at }
            | ToolError::Unknown { at, .. }
            | ToolError::Value { at, .. }
            | ToolError::Name { at, .. }
            | ToolError::Twice { at, .. }
            | ToolError::NoSuchTool { at, .. }
            | ToolError::NoTools { at }
            | ToolError::TooMany { at, .. }
            | ToolError::TooLarge { at, .. }
            | ToolError::TooDeep { at, .. }
            | ToolError::NotJson { at, .. }
            | ToolError::Parameters { at, .. } => at,
        }
    }
}

impl Tool {
    /// A tool of its parts; `parameters` is the JSON Schema of the arguments.
    ///
    /// # Errors
    /// A name that is none, parameters that are no schema of an object, or too much of it; the place is within `at`.
    pub fn new(name: &str, description: Option<&str>, parameters: Option<&Json>, at: &str) -> Result<Tool, ToolError> {
        let mut function = Map::from_iter([("name".to_owned(), Json::from(name))]);
        function.extend(description.map(|text| ("description".to_owned(), text.into())));
        function.extend(parameters.map(|schema| ("parameters".to_owned(), schema.clone())));
        let mut raw = Map::from_iter([("type".to_owned(), Json::from("function"))]);
        raw.insert("function".to_owned(), function.into());
        let raw = raw.into();
        let tool = Reader::new(&raw, at);
        tool.bounded(MAX_BYTES, MAX_DEPTH)?;
        Tool::read(&tool)
    }

    /// The tools of a request's list; `at` is the list's place in the request, such as `tools`.
    ///
    /// # Errors
    /// [`ToolError`], with the place.
    pub fn list(json: &Json, at: &str) -> Result<Vec<Tool>, ToolError> {
        let list = Reader::new(json, at);
        list.bounded(MAX_BYTES, MAX_DEPTH)?;
        let tools: Vec<Tool> = list.items(MAX_TOOLS)?.iter().map(Tool::read).collect::<Result<_, _>>()?;
        for (number, tool) in tools.iter().enumerate() {
            if tools[..number].iter().any(|earlier| earlier.name == tool.name) {
                let at = format!("{at}[{number}].function.name");
                return Err(ToolError::Twice { at, name: tool.name.clone() });
            }
        }
        Ok(tools)
    }

    fn read(tool: &Reader) -> Result<Tool, ToolError> {
        tool.known(&["type", "function"])?;
        tool.function_type()?;
        let function = tool.field("function")?;
        function.known(&["name", "description", "parameters", "strict"])?;
        let name = function.field("name")?;
        let description = function.optional("description").map(|text| text.text()).transpose()?;
        if let Some(strict) = function.optional("strict") {
            strict.boolean()?;
        }
        let parameters = function.optional("parameters");
        if let Some(schema) = &parameters {
            schema.object()?;
            if let Some(kind) = schema.optional("type")
                && kind.json != "object"
            {
                let found = kind.json.to_string();
                return Err(ToolError::Value { at: kind.at, found, known: "an `object` of arguments" });
            }
        }
        Ok(Tool {
            name: name.tool_name()?.to_owned(),
            description: description.map(str::to_owned),
            parameters: parameters.map(|schema| schema.json.clone()),
            raw: tool.json.clone(),
        })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The JSON Schema of the arguments, an object; a tool without one takes none.
    #[must_use]
    pub fn parameters(&self) -> Option<&Json> {
        self.parameters.as_ref()
    }

    /// The tool as it was given, with `type` and `function`: what templates are shown.
    #[must_use]
    pub fn json(&self) -> &Json {
        &self.raw
    }
}

impl ToolChoice {
    /// Reads a request's choice: `auto`, `none`, `required`, or `{"type": "function", "function": {"name": ..}}`.
    ///
    /// # Errors
    /// [`ToolError`], with the place within `at`.
    pub fn parse(json: &Json, at: &str) -> Result<ToolChoice, ToolError> {
        let choice = Reader::new(json, at);
        match json {
            Json::Null => Ok(ToolChoice::Auto),
            Json::String(word) => match word.as_str() {
                "auto" => Ok(ToolChoice::Auto),
                "none" => Ok(ToolChoice::None),
                "required" => Ok(ToolChoice::Required),
                other => {
                    let known = "`auto`, `none`, `required` or a function";
                    Err(ToolError::Value { at: at.to_owned(), found: other.to_owned(), known })
                }
            },
            Json::Object(_) => {
                choice.known(&["type", "function"])?;
                choice.function_type()?;
                let function = choice.field("function")?;
                function.known(&["name"])?;
                Ok(ToolChoice::Named(function.field("name")?.text()?.to_owned()))
            }
            _ => Err(choice.not("a text or an object")),
        }
    }

    /// Holds the choice against the tools that there are.
    ///
    /// # Errors
    /// A call is wanted without tools, or of one that is not among them.
    pub fn check(&self, tools: &[Tool], at: &str) -> Result<(), ToolError> {
        match self {
            ToolChoice::Auto | ToolChoice::None => Ok(()),
            ToolChoice::Required | ToolChoice::Named(_) if tools.is_empty() => {
                Err(ToolError::NoTools { at: at.to_owned() })
            }
            ToolChoice::Named(name) if tools.iter().all(|tool| tool.name != *name) => {
                let names: Vec<String> = tools.iter().map(|tool| format!("`{}`", tool.name)).collect();
                let known = format!("there are {}", names.join(", "));
                Err(ToolError::NoSuchTool { at: at.to_owned(), name: name.clone(), known })
            }
            ToolChoice::Required | ToolChoice::Named(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod tests;
