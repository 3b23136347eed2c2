//! Whether a model has to call a tool, as a request's `tool_choice` says it.

use serde_json::Value as Json;

use super::error::ToolError;
use super::located::Located;
use super::tool::Tool;

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

impl ToolChoice {
    /// Reads a request's choice: `auto`, `none`, `required`, or `{"type": "function", "function": {"name": ..}}`.
    ///
    /// # Errors
    /// [`ToolError`], with the place within `at`.
    pub fn parse(json: &Json, at: &str) -> Result<ToolChoice, ToolError> {
        let choice = Located::new(json, at);
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

    /// Checks the choice against the available tools.
    ///
    /// # Errors
    /// A call is required but there are no tools, or the named tool is not one of them.
    pub fn check(&self, tools: &[Tool], at: &str) -> Result<(), ToolError> {
        match self {
            ToolChoice::Auto | ToolChoice::None => Ok(()),
            ToolChoice::Required | ToolChoice::Named(_) if tools.is_empty() => {
                Err(ToolError::NoTools { at: at.to_owned() })
            }
            ToolChoice::Named(name) if tools.iter().all(|tool| tool.name() != name) => {
                let names: Vec<String> = tools.iter().map(|tool| format!("`{}`", tool.name())).collect();
                let known = format!("there are {}", names.join(", "));
                Err(ToolError::NoSuchTool { at: at.to_owned(), name: name.clone(), known })
            }
            ToolChoice::Required | ToolChoice::Named(_) => Ok(()),
        }
    }
}
