//! What a template does with tools, found by rendering words that no template writes by itself; it reads no sources.

use serde_json::{Map, Value as Json, json};

use super::date::Date;
use super::error::TemplateError;
use super::renderer::{Conversation, Inputs, Originals, PROBE, PROBE_USER, Renderer};
use crate::chat::{Message, Role};
use crate::prompt::SpecialTokens;
use crate::tools::ToolCall;

const PROBE_TOOL: &str = "qxjvtool";

/// What a template does with tools.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolUse {
    /// It describes the tools that it is given.
    pub tools: bool,
    /// It writes an assistant's calls.
    pub calls: bool,
    /// It writes what a tool answers.
    pub results: bool,
}

/// A template that renders what it is given, without any help.
#[derive(Clone, Copy)]
pub(super) struct BareTemplate<'t> {
    pub renderer: &'t dyn Renderer,
    pub specials: &'t SpecialTokens,
}

impl BareTemplate<'_> {
    pub(super) fn render(
        self,
        messages: &[Message],
        tools: &[Json],
        variables: &Map<String, Json>,
    ) -> Result<String, TemplateError> {
        let (inputs, twins) = (&inputs(messages, variables), &Originals::default());
        let specials = self.specials;
        self.renderer.render(&Conversation { messages, tools, contract: None, inputs, specials, twins })
    }
}

impl ToolUse {
    /// What the template writes of tools, of calls and of their results.
    pub(super) fn of(template: BareTemplate) -> ToolUse {
        let writes = |messages: &[Message], tools: &[Json], word: &str| {
            template.render(messages, tools, &Map::new()).is_ok_and(|text| text.contains(word))
        };
        let tool = [json!({"type": "function", "function": {
            "name": PROBE_TOOL, "description": PROBE_TOOL, "parameters": {"type": "object", "properties": {}},
        }})];
        let [system, user] = [Role::System, Role::User].map(|role| Message::new(role, PROBE_USER));
        let asked = [system, user.clone()];
        let tools = writes(&asked[1..], &tool, PROBE_TOOL) || writes(&asked, &tool, PROBE_TOOL);
        let mut call = Message::new(Role::Assistant, "");
        call.tool_calls = vec![ToolCall { id: Some(PROBE.to_owned()), ..ToolCall::new(PROBE_TOOL, Map::new()) }];
        let mut result = Message::new(Role::Tool, PROBE_USER.to_uppercase());
        (result.tool_name, result.tool_call_id) = (Some(PROBE.to_owned()), Some(PROBE.to_owned()));
        let answered = [user.clone(), call.clone(), result.clone()];
        let calls = writes(&answered, &[], PROBE_TOOL) || writes(&[user.clone(), call, user], &[], PROBE_TOOL);
        ToolUse { tools, calls, results: writes(&answered, &[], &result.content) }
    }
}

/// Inputs of nothing but messages and variables.
pub(super) fn inputs<'a>(messages: &'a [Message], variables: &'a Map<String, Json>) -> Inputs<'a> {
    Inputs {
        messages,
        n_beside: 0,
        add_generation_prompt: true,
        date: Date::PINNED,
        variables,
        tools: &[],
        contract: None,
    }
}
