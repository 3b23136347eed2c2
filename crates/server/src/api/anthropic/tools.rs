//! Tools, as messages give them.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::choices::Calls;
use crate::api::fields::{self, Refused};
use crate::api::idle_fields::Object;
use crate::api::problem::Problem;
use crate::api::server_tools::LeftOut;
use slm_values::tools::{Tool, ToolChoice, ToolError};

/// A tool that the model may call.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::WireTool)]
pub struct WireTool {
    /// Tools of other types, which a server would run or a model would have to know, are left out.
    #[schema(pattern = "^custom$")]
    pub r#type: Option<String>,
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_./:-]+$")]
    pub name: String,
    pub description: Option<String>,
    /// The arguments' JSON Schema.
    #[schema(value_type = Option<Object>)]
    pub input_schema: Option<Value>,
    /// Has no effect: every schema is enforced strictly.
    pub strict: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Whether the model calls a tool.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::WireToolChoice)]
pub struct WireToolChoice {
    pub r#type: ChoiceKind,
    /// The tool to call, with the type `tool`.
    pub name: Option<String>,
    /// `true`: at most one call.
    pub disable_parallel_tool_use: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = anthropic::ChoiceKind)]
pub enum ChoiceKind {
    /// As the model likes.
    Auto,
    /// One of the tools.
    Any,
    /// The one that is named.
    Tool,
    None,
}

const REFUSED: [Refused; 2] =
    [("input_examples", "put them into `description`"), ("allowed_callers", "only the model calls tools")];

/// The tools of a request, and those that were left out.
///
/// # Errors
/// A tool is invalid; the problem names its place in the request.
pub fn read(tools: Vec<WireTool>) -> Result<(Vec<Tool>, LeftOut), Problem> {
    let mut read: Vec<Tool> = Vec::with_capacity(tools.len());
    let mut left_out = LeftOut::default();
    for (number, tool) in tools.into_iter().enumerate() {
        let at = format!("tools[{number}]");
        if let Some(kind) = tool.r#type.as_deref().filter(|&kind| kind != "custom") {
            if left_out.takes(kind, Some(&tool.name), &at) {
                continue;
            }
            let message = format!("`{at}` is not supported: its type is `{kind}`, and only `custom` tools are");
            return Err(Problem::unsupported_value(message, &at));
        }
        fields::only_idle_left(&tool.rest, &at, Object::MessagesTool, &REFUSED)?;
        let tool = Tool::new(&tool.name, tool.description.as_deref(), tool.input_schema.as_ref(), &at)?;
        if read.iter().any(|earlier| earlier.name() == tool.name()) {
            return Err(ToolError::Twice { at: format!("{at}.name"), name: tool.name().to_owned() }.into());
        }
        read.push(tool);
    }
    Ok((read, left_out))
}

/// Which of the tools is to be called, and how many calls there may be.
///
/// # Errors
/// None of these tools is the chosen one.
pub fn choice(
    choice: Option<WireToolChoice>,
    tools: &[Tool],
    left_out: &LeftOut,
) -> Result<(ToolChoice, Calls), Problem> {
    let Some(choice) = choice else { return Ok((ToolChoice::Auto, Calls::Any)) };
    fields::none_left(&choice.rest, "tool_choice", &[])?;
    let calls = if choice.disable_parallel_tool_use == Some(true) { Calls::One } else { Calls::Any };
    let choice = match (choice.r#type, choice.name) {
        (ChoiceKind::Tool, Some(name)) => ToolChoice::Named(name),
        (ChoiceKind::Tool, None) => return Err(ToolError::Missing { at: "tool_choice.name".to_owned() }.into()),
        (_, Some(_)) => {
            let message = "`tool_choice.name` is only for the type `tool`";
            return Err(Problem::invalid(message).of("tool_choice.name"));
        }
        (ChoiceKind::Auto, None) => ToolChoice::Auto,
        (ChoiceKind::Any, None) => ToolChoice::Required,
        (ChoiceKind::None, None) => ToolChoice::None,
    };
    left_out.check(&choice, tools, "tool_choice")?;
    Ok((choice, calls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tools(json: Value) -> Result<Vec<Tool>, String> {
        read(serde_json::from_value(json).unwrap()).map(|(tools, _)| tools).map_err(|problem| problem.message)
    }

    #[test]
    fn tools_are_the_clients_own() {
        let read = tools(json!([
            {"name": "add", "description": "adds", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}},
            {"type": "custom", "name": "now", "strict": true, "defer_loading": false},
        ]))
        .unwrap();
        assert_eq!((read[0].name(), read[0].parameters()), ("add", Some(&json!({"type": "object"}))));
        assert_eq!((read[1].name(), read[1].parameters()), ("now", None));
        assert_eq!(
            tools(json!([{"type": "guess", "name": "guess"}])).unwrap_err(),
            "`tools[0]` is not supported: its type is `guess`, and only `custom` tools are"
        );
        assert_eq!(
            tools(json!([{"name": "a"}, {"name": "a"}])).unwrap_err(),
            "`tools[1].name`: a tool `a` is given twice"
        );
        assert_eq!(
            tools(json!([{"name": "a", "input_examples": [{"x": 1}]}])).unwrap_err(),
            "`tools[0].input_examples` is not supported: put them into `description`"
        );
    }

    #[test]
    fn a_choice_names_its_tool() {
        let tools = tools(json!([{"name": "add"}])).unwrap();
        let read = |json: Value| {
            choice(Some(serde_json::from_value(json).unwrap()), &tools, &LeftOut::default()).map_err(|p| p.message)
        };
        assert_eq!(read(json!({"type": "any"})), Ok((ToolChoice::Required, Calls::Any)));
        assert_eq!(
            read(json!({"type": "tool", "name": "add", "disable_parallel_tool_use": true})),
            Ok((ToolChoice::Named("add".into()), Calls::One))
        );
        assert_eq!(read(json!({"type": "tool"})).unwrap_err(), "`tool_choice.name` is missing");
        assert_eq!(
            read(json!({"type": "auto", "name": "add"})).unwrap_err(),
            "`tool_choice.name` is only for the type `tool`"
        );
        assert_eq!(
            read(json!({"type": "tool", "name": "sub"})).unwrap_err(),
            "`tool_choice`: there is no tool `sub`; there are `add`"
        );
    }
}
