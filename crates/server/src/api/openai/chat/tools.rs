//! Tools and their calls, as chat completions give them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::idle_fields::{self, Object};
use crate::api::openai::new_id;
use crate::api::problem::Problem;
use crate::api::server_tools::{self, LeftOut};
use slm_values::tools::{Tool, ToolCall, ToolChoice};

/// A tool that the model may call.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ChatTool)]
pub struct ChatTool {
    /// Tools of other types, which a server would run, are left out.
    #[schema(pattern = "^function$")]
    pub r#type: String,
    pub function: ChatFunction,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ChatFunction)]
pub struct ChatFunction {
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_./:-]+$")]
    pub name: String,
    pub description: Option<String>,
    /// The arguments' JSON Schema.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Has no effect: every schema is enforced strictly.
    pub strict: Option<bool>,
}

/// Whether the model calls a tool.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = openai::ChatToolChoice)]
pub enum ChatToolChoice {
    Word(ChoiceWord),
    Tool(ChosenTool),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = openai::ChoiceWord)]
pub enum ChoiceWord {
    Auto,
    None,
    Required,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ChosenTool)]
pub struct ChosenTool {
    #[schema(pattern = "^function$")]
    pub r#type: String,
    pub function: ChosenFunction,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ChosenFunction)]
pub struct ChosenFunction {
    pub name: String,
}

/// The tools of a request, and which is to be called.
///
/// # Errors
/// A tool is invalid; the problem names its place in the request.
pub fn read(tools: Option<&Value>, choice: Option<&Value>) -> Result<(Vec<Tool>, ToolChoice), Problem> {
    let mut left_out = LeftOut::default();
    let is_left_out = |tool: &Value, at: &str| {
        let name = tool.get("name").and_then(Value::as_str);
        server_tools::kind(tool).is_some_and(|kind| left_out.takes(kind, name, at))
    };
    let tools =
        tools.map(without_idle).map_or(Ok(Vec::new()), |tools| Tool::list_without(&tools, "tools", is_left_out))?;
    let choice = choice.map_or(Ok(ToolChoice::Auto), |choice| ToolChoice::parse(choice, "tool_choice"))?;
    left_out.check(&choice, &tools, "tool_choice")?;
    Ok((tools, choice))
}

/// The tools without their fields that have no effect.
fn without_idle(tools: &Value) -> Value {
    let mut tools = tools.clone();
    for (number, tool) in tools.as_array_mut().into_iter().flatten().enumerate() {
        let Some(fields) = tool.as_object_mut() else { continue };
        fields.retain(|name, value| {
            !idle_fields::is_idle(Object::ChatTool, name, &format!("tools[{number}].{name}"), value)
        });
    }
    tools
}

/// A call that the model made.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::AnsweredCall)]
pub struct AnsweredCall {
    pub id: String,
    #[schema(pattern = "^function$")]
    pub r#type: &'static str,
    pub function: CalledFunction,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::CalledFunction)]
pub struct CalledFunction {
    pub name: String,
    /// An object's JSON as a text.
    pub arguments: String,
}

impl From<ToolCall> for AnsweredCall {
    fn from(call: ToolCall) -> AnsweredCall {
        let arguments = Value::Object(call.arguments).to_string();
        let function = CalledFunction { name: call.name, arguments };
        AnsweredCall { id: call.id.unwrap_or_else(|| new_id("call_")), r#type: "function", function }
    }
}

/// A call in a stream; it is always sent whole.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::CallChunk)]
pub struct CallChunk {
    /// The call's number in its answer.
    pub index: usize,
    #[serde(flatten)]
    pub call: AnsweredCall,
}

impl CallChunk {
    #[must_use]
    pub fn new(index: usize, call: ToolCall) -> CallChunk {
        CallChunk { index, call: call.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_has_its_arguments_as_text() {
        let arguments = json!({"b": 1, "a": "x"}).as_object().unwrap().clone();
        let call = ToolCall { id: Some("call_7".into()), name: "f".into(), arguments };
        let expected = json!({"index": 1, "id": "call_7", "type": "function",
            "function": {"name": "f", "arguments": "{\"b\":1,\"a\":\"x\"}"}});
        assert_eq!(json!(CallChunk::new(1, call.clone())), expected);
        let unnamed = AnsweredCall::from(ToolCall { id: None, ..call });
        assert!(unnamed.id.starts_with("call_") && unnamed.id.len() > 20, "{}", unnamed.id);
    }

    #[test]
    fn a_choice_needs_its_tool() {
        let tools = json!([{"type": "function", "function": {"name": "f"}}]);
        let choice = json!({"type": "function", "function": {"name": "f"}});
        assert_eq!(read(Some(&tools), Some(&choice)).unwrap().1, ToolChoice::Named("f".into()));
        let problem = read(None, Some(&json!("required"))).unwrap_err();
        assert_eq!(problem.message, "`tool_choice` asks for a call, and there are no tools");
        assert_eq!(problem.field.as_deref(), Some("tool_choice"));
        let choice = json!({"type": "function", "function": {"name": "g"}});
        assert_eq!(
            read(Some(&tools), Some(&choice)).unwrap_err().message,
            "`tool_choice`: there is no tool `g`; there are `f`"
        );
    }
}
