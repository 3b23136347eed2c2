//! Tools and their choice, as responses give them: flat, without the `function` of chat completions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::fields::{self, Refused};
use crate::api::idle_fields::Object;
use crate::api::openai::chat::messages::missing;
use crate::api::openai::chat::tools::{self, ChoiceWord};
use crate::api::problem::Problem;
use crate::api::server_tools;
use slm_values::tools::{Tool, ToolChoice};

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = openai::FunctionTool)]
pub struct FunctionTool {
    /// Tools of other types, which a server would run, are left out.
    #[schema(pattern = "^function$")]
    pub r#type: String,
    #[schema(required, value_type = String, min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_./:-]+$")]
    pub name: Option<String>,
    pub description: Option<String>,
    /// The arguments' JSON Schema.
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Has no effect: every schema is enforced strictly.
    pub strict: Option<bool>,
    #[serde(flatten, skip_serializing)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Whether the model calls a tool.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = openai::FunctionToolChoice)]
pub enum FunctionToolChoice {
    Word(ChoiceWord),
    Tool(ChosenFunctionTool),
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = openai::ChosenFunctionTool)]
pub struct ChosenFunctionTool {
    #[schema(pattern = "^function$")]
    pub r#type: String,
    pub name: String,
}

const REFUSED: [Refused; 2] = [("allowed_callers", "only the model calls tools"), ("async", "a call ends the answer")];

/// The tools of a request, and which is to be called.
///
/// # Errors
/// A tool is invalid; the problem names its place in the request.
pub fn read(tools: &[FunctionTool], choice: Option<&Value>) -> Result<(Vec<Tool>, ToolChoice), Problem> {
    let nested = tools.iter().enumerate().map(|(number, tool)| tool.nested(&format!("tools[{number}]")));
    let nested = nested.collect::<Result<Vec<Value>, Problem>>()?;
    let choice = choice.map(nested_choice).transpose()?;
    tools::read(Some(&nested.into()), choice.as_ref())
}

impl FunctionTool {
    /// Whether the client runs it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.r#type == "function"
    }

    /// The tool as chat completions give it; of another type, no more than that and its name.
    fn nested(&self, at: &str) -> Result<Value, Problem> {
        if server_tools::is_known(&self.r#type) {
            return Ok(json!({ "type": self.r#type, "name": self.name }));
        }
        if !self.is_own() {
            let kind = &self.r#type;
            let message = format!("`{at}` is not supported: its type is `{kind}`, and only `function` tools are");
            return Err(Problem::unsupported_value(message, at));
        }
        fields::only_idle_left(&self.rest, at, Object::ResponseTool, &REFUSED)?;
        let name = self.name.as_deref().ok_or_else(|| missing(&format!("{at}.name"), "the tool's name"))?;
        let mut function = Map::from_iter([("name".to_owned(), Value::from(name))]);
        function.extend(self.description.as_ref().map(|text| ("description".to_owned(), text.as_str().into())));
        function.extend(self.parameters.as_ref().map(|schema| ("parameters".to_owned(), schema.clone())));
        Ok(json!({"type": "function", "function": function}))
    }
}

/// The choice as chat completions give it.
fn nested_choice(choice: &Value) -> Result<Value, Problem> {
    let Some(fields) = choice.as_object() else { return Ok(choice.clone()) };
    if let Some(kind) = fields.get("type").filter(|&kind| kind != "function") {
        let kind = kind.as_str().map_or_else(|| kind.to_string(), str::to_owned);
        let message =
            format!("`tool_choice` is not supported: its type is `{kind}`, and only a `function` can be chosen");
        return Err(Problem::unsupported_value(message, "tool_choice"));
    }
    let is_known = |name: &str| matches!(name, "type" | "name");
    let rest = fields.iter().filter(|(name, _)| !is_known(name)).map(|(name, value)| (name.clone(), value.clone()));
    fields::none_left(&rest.collect(), "tool_choice", &[])?;
    match fields.get("name") {
        Some(Value::String(name)) => Ok(json!({"type": "function", "function": {"name": name}})),
        _ => Err(missing("tool_choice.name", "the name of the tool to call")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(json: Value) -> Result<Vec<Tool>, String> {
        let tools: Vec<FunctionTool> = serde_json::from_value(json).unwrap();
        read(&tools, None).map(|(tools, _)| tools).map_err(|problem| problem.message)
    }

    #[test]
    fn tools_are_the_clients_own() {
        let read = tools(json!([
            {"type": "function", "name": "add", "description": "adds", "parameters": {"type": "object"}, "strict": true},
            {"type": "function", "name": "now", "parameters": null, "defer_loading": false},
        ]))
        .unwrap();
        assert_eq!((read[0].name(), read[0].parameters()), ("add", Some(&json!({"type": "object"}))));
        assert_eq!((read[1].name(), read[1].parameters()), ("now", None));
        let read = tools(json!([
            {"type": "web_search", "search_context_size": "low", "user_location": {"type": "approximate"}},
            {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "function", "name": "add", "defer_loading": true, "output_schema": {"type": "object"}},
            {"type": "local_shell"},
        ]))
        .unwrap();
        assert_eq!(read.iter().map(Tool::name).collect::<Vec<_>>(), ["add"]);
        let twice =
            json!([{"type": "local_shell"}, {"type": "function", "name": "a"}, {"type": "function", "name": "a"}]);
        assert_eq!(tools(twice).unwrap_err(), "`tools[2].function.name`: a tool `a` is given twice");
        let cases = [
            (
                json!([{"type": "guess", "name": "guess"}]),
                "`tools[0]` is not supported: its type is `guess`, and only `function` tools are",
            ),
            (json!([{"type": "function"}]), "`tools[0].name` is missing: give the tool's name"),
            (
                json!([{"type": "function", "name": "a", "allowed_callers": ["program"]}]),
                "`tools[0].allowed_callers` is not supported: only the model calls tools",
            ),
            (
                json!([{"type": "function", "function": {"name": "a"}, "name": "a"}]),
                "`tools[0].function` is not known here; remove it",
            ),
        ];
        for (json, message) in cases {
            assert_eq!(tools(json).unwrap_err(), message);
        }
    }

    #[test]
    fn a_choice_names_its_tool() {
        let tools: Vec<FunctionTool> = serde_json::from_value(json!([{"type": "function", "name": "f"}])).unwrap();
        let choice =
            |json: Value| read(&tools, Some(&json)).map(|(_, choice)| choice).map_err(|problem| problem.message);
        assert_eq!(choice(json!("required")), Ok(ToolChoice::Required));
        assert_eq!(choice(json!({"type": "function", "name": "f"})), Ok(ToolChoice::Named("f".into())));
        let cases = [
            (json!({"type": "function", "name": "g"}), "`tool_choice`: there is no tool `g`; there are `f`"),
            (json!({"type": "function"}), "`tool_choice.name` is missing: give the name of the tool to call"),
            (
                json!({"type": "allowed_tools", "mode": "auto", "tools": []}),
                "`tool_choice` is not supported: its type is `allowed_tools`, and only a `function` can be chosen",
            ),
        ];
        for (json, message) in cases {
            assert_eq!(choice(json).unwrap_err(), message);
        }
    }
}
