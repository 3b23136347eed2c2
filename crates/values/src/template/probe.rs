//! What a template does, found by rendering words that no template writes by itself; it reads no sources.

use serde_json::{Map, Value as Json, json};

use super::{ChatTemplate, Conversation, Date, Inputs, Originals, TemplateError};
use crate::chat::{Message, Role};
use crate::prompt::{Prompt, Run};
use crate::tools::ToolCall;

/// Words that no template writes by itself. The first is an id that Mistral's templates take, too.
pub(super) const PROBE: &str = "qxjvprobe";
pub(super) const PROBE_USER: &str = "qxjvuser";
const PROBE_TOOL: &str = "qxjvtool";

/// What a template does with a system message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRole {
    /// It is written into the prompt.
    Native,
    /// The template raises an error.
    Refused,
    /// It is dropped without a word.
    Ignored,
}

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

impl ChatTemplate {
    /// The special token that the template writes right after an assistant's content: what ends an answer.
    #[must_use]
    pub fn turn_end(&self) -> Option<String> {
        let runs = self.probe(&self.renderer.finished()).ok()?.runs;
        let holds = |run: &Run, word: &str| matches!(run, Run::Text { text, .. } if text.contains(word));
        let at = runs.iter().rposition(|run| holds(run, PROBE))?;
        match (&runs[at], runs.get(at + 1)) {
            (Run::Text { text, .. }, Some(end @ Run::Control(token))) if text.trim_end().ends_with(PROBE) => {
                let asked = runs.iter().position(|run| holds(run, PROBE_USER))?;
                // With a question behind the answer: what opened the first one opens this one and ends nothing, unless
                // it also stands right behind the first question.
                let next = runs[at + 1..].iter().position(|run| holds(run, PROBE_USER)).unwrap_or(0);
                let opens = next > 0 && runs[..asked].ends_with(&runs[at + 1..at + 1 + next]);
                let ends_questions = runs[asked + 1..].iter().find(|run| matches!(run, Run::Control(_))) == Some(end);
                (ends_questions || !opens).then(|| token.clone())
            }
            _ => None,
        }
    }

    /// What the template does with a system message, found by rendering one.
    #[must_use]
    pub fn system_role(&self) -> SystemRole {
        let messages = [Message::new(Role::System, PROBE), Message::new(Role::User, PROBE_USER)];
        match self.probe(&messages) {
            Ok(prompt) if prompt.text().contains(PROBE) => SystemRole::Native,
            Ok(_) => SystemRole::Ignored,
            Err(_) => SystemRole::Refused,
        }
    }

    /// What the template does with tools, with calls and with what comes of them; found once, by rendering some.
    #[must_use]
    pub fn tool_use(&self) -> ToolUse {
        *self.tool_use.get_or_init(|| {
            let writes = |messages: &[Message], tools: &[Json], word: &str| {
                self.bare(messages, tools, &Map::new()).is_ok_and(|text| text.contains(word))
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
        })
    }

    fn probe(&self, messages: &[Message]) -> Result<Prompt, TemplateError> {
        self.render(&Inputs { add_generation_prompt: false, ..inputs(messages, &Map::new()) })
    }

    /// A rendering in which nothing is helped along.
    pub(super) fn bare(
        &self,
        messages: &[Message],
        tools: &[Json],
        variables: &Map<String, Json>,
    ) -> Result<String, TemplateError> {
        let (inputs, specials) = (&inputs(messages, variables), &self.specials);
        let twins = &Originals::default();
        let conversation = Conversation { messages, tools, contract: None, inputs, specials, twins };
        self.renderer.render(&conversation)
    }
}

fn inputs<'a>(messages: &'a [Message], variables: &'a Map<String, Json>) -> Inputs<'a> {
    Inputs { messages, add_generation_prompt: true, date: Date::PINNED, variables, tools: &[], contract: None }
}
