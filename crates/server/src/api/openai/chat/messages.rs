//! The messages of a conversation, as chat completions give them.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::tools::AnsweredCall;
use crate::api::fields::{self, Refused, TextOr};
use crate::api::idle_fields::Object;
use crate::api::problem::Problem;
use slm_values::chat::{Message, Role};
use slm_values::tools::ToolCall;

/// One message.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = openai::ChatMessage)]
pub struct ChatMessage {
    pub role: ChatRole,
    /// A text, or parts that are joined.
    pub content: Option<TextOr<ContentPart>>,
    /// Has no effect: models here distinguish roles, not names.
    pub name: Option<String>,
    /// The calls that an assistant made.
    #[schema(value_type = Option<Vec<AnsweredCall>>)]
    pub tool_calls: Option<Value>,
    /// The call that a tool answers.
    pub tool_call_id: Option<String>,
    /// What an assistant thought before it answered.
    pub reasoning_content: Option<String>,
    /// Another name of `reasoning_content`.
    pub reasoning: Option<String>,
    /// Another name of `reasoning_content`.
    pub thinking: Option<String>,
    /// What an assistant said instead of `content`.
    pub refusal: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = openai::ChatRole)]
pub enum ChatRole {
    System,
    /// The newer name of `system`.
    Developer,
    User,
    Assistant,
    Tool,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[schema(as = openai::ContentPart)]
pub struct ContentPart {
    #[schema(pattern = "^(text|refusal)$")]
    pub r#type: String,
    pub text: Option<String>,
    pub refusal: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

const REFUSED: [Refused; 2] = [("audio", "models here read text"), ("function_call", "give `tool_calls`")];

/// Reads a conversation. Instructions at its beginning become one message.
///
/// # Errors
/// A part that is not text, or an unknown field: named by its place.
pub fn read(messages: Vec<ChatMessage>) -> Result<Vec<Message>, Problem> {
    if messages.is_empty() {
        return Err(Problem::invalid("`messages` is empty: give at least one message").of("messages"));
    }
    let mut read: Vec<Message> = Vec::with_capacity(messages.len());
    for (number, message) in messages.into_iter().enumerate() {
        let message = message.read(&format!("messages[{number}]"), &read)?;
        match read.as_mut_slice() {
            [first] if first.role == Role::System && message.role == Role::System => {
                first.content = format!("{}\n\n{}", first.content, message.content);
            }
            _ => read.push(message),
        }
    }
    Ok(read)
}

impl ChatMessage {
    /// Reads a message that comes after `earlier` ones.
    fn read(self, at: &str, earlier: &[Message]) -> Result<Message, Problem> {
        fields::only_idle_left(&self.rest, at, Object::ChatMessage, &REFUSED)?;
        let thoughts = [self.reasoning_content, self.reasoning, self.thinking].into_iter().flatten();
        let thinking = thoughts.filter(|thought| !thought.is_empty()).find(|_| self.role == ChatRole::Assistant);
        let content = self.content.or(self.refusal.map(TextOr::Text));
        let content = content.map(|content| text(content, &format!("{at}.content"))).transpose()?;
        let tool_calls = match &self.tool_calls {
            Some(calls) => ToolCall::list(calls, &format!("{at}.tool_calls"))?,
            None => Vec::new(),
        };
        let place = |name: &str| format!("{at}.{name}");
        let only = |name: &str, role: &str| {
            let place = place(name);
            Err(Problem::invalid(format!("`{place}` is only for messages of the role `{role}`")).of(place))
        };
        let role = match self.role {
            ChatRole::System | ChatRole::Developer => Role::System,
            ChatRole::User => Role::User,
            ChatRole::Assistant => Role::Assistant,
            ChatRole::Tool => Role::Tool,
        };
        if role != Role::Assistant && !tool_calls.is_empty() {
            return only("tool_calls", "assistant");
        }
        if role != Role::Tool && self.tool_call_id.is_some() {
            return only("tool_call_id", "tool");
        }
        let tool_name = match (role, &self.tool_call_id) {
            (Role::Tool, Some(id)) => Some(called(earlier, id, &place("tool_call_id"))?),
            (Role::Tool, None) => return Err(missing(&place("tool_call_id"), "the id of the call that it answers")),
            _ => None,
        };
        let content = match content {
            Some(content) => content,
            None if !tool_calls.is_empty() || thinking.is_some() => String::new(),
            None => return Err(missing(&place("content"), "a text")),
        };
        Ok(Message { thinking, tool_calls, tool_name, tool_call_id: self.tool_call_id, ..Message::new(role, content) })
    }
}

/// The name of the tool that an earlier message called under this id; the last call counts.
///
/// # Errors
/// There is no such call.
pub fn called(earlier: &[Message], id: &str, at: &str) -> Result<String, Problem> {
    let mut calls = earlier.iter().rev().flat_map(|message| &message.tool_calls);
    let call = calls.find(|call| call.id.as_deref() == Some(id));
    let none =
        || Problem::invalid(format!("`{at}` is `{id}`, and no message before it makes a call of this id")).of(at);
    call.map(|call| call.name.clone()).ok_or_else(none)
}

/// The text of a message's content; its parts follow each other on lines of their own.
fn text(content: TextOr<ContentPart>, at: &str) -> Result<String, Problem> {
    let parts = match content {
        TextOr::Text(text) => return Ok(text),
        TextOr::List(parts) => parts,
    };
    let text = |(number, part): (usize, ContentPart)| part.into_text(&format!("{at}[{number}]"));
    Ok(parts.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?.join("\n"))
}

impl ContentPart {
    fn into_text(self, at: &str) -> Result<String, Problem> {
        let text = match self.r#type.as_str() {
            "text" => self.text.ok_or_else(|| missing(&format!("{at}.text"), "a text"))?,
            "refusal" => self.refusal.ok_or_else(|| missing(&format!("{at}.refusal"), "a text"))?,
            other => {
                let message = format!("`{at}` is not supported: its type is `{other}`, and models here read `text`");
                return Err(Problem::unsupported_value(message, at));
            }
        };
        fields::only_idle_left(&self.rest, at, Object::ChatPart, &[])?;
        Ok(text)
    }
}

/// The problem that something is not there.
pub fn missing(at: &str, what: &str) -> Problem {
    Problem::invalid(format!("`{at}` is missing: give {what}")).of(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(json: Value) -> Result<Vec<Message>, String> {
        let messages = serde_json::from_value(json).map_err(|error| error.to_string())?;
        read(messages).map_err(|problem| problem.message)
    }

    #[test]
    fn contents_are_texts_or_parts() {
        let read = messages(json!([
            {"role": "developer", "content": "be brief"},
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "name": "ada"},
            {"role": "assistant", "content": "three", "refusal": null, "tool_calls": null, "annotations": []},
        ]));
        let expected = [
            Message::new(Role::System, "be brief\n\nbe kind"),
            Message::new(Role::User, "one\ntwo"),
            Message::new(Role::Assistant, "three"),
        ];
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn calls_and_their_answers_belong_together() {
        let call = json!({"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1}"}});
        let read = messages(json!([
            {"role": "user", "content": "1 and 2?"},
            {"role": "assistant", "content": null, "tool_calls": [call], "reasoning_content": "hm"},
            {"role": "tool", "tool_call_id": "call_1", "content": "3"},
        ]))
        .unwrap();
        assert_eq!((read[1].tool_calls[0].name.as_str(), read[1].thinking.as_deref()), ("add", Some("hm")));
        assert_eq!((read[2].tool_name.as_deref(), read[2].tool_call_id.as_deref()), (Some("add"), Some("call_1")));
        let refused = |message: Value| messages(json!([message])).unwrap_err();
        assert_eq!(
            refused(json!({"role": "tool", "tool_call_id": "x", "content": "3"})),
            "`messages[0].tool_call_id` is `x`, and no message before it makes a call of this id"
        );
        assert_eq!(
            refused(json!({"role": "tool", "content": "3"})),
            "`messages[0].tool_call_id` is missing: give the id of the call that it answers"
        );
        assert_eq!(
            refused(json!({"role": "user", "content": "3", "tool_calls": [call]})),
            "`messages[0].tool_calls` is only for messages of the role `assistant`"
        );
    }

    /// As SDKs send an answer's message back.
    #[test]
    fn an_answer_comes_back_as_it_was_told() {
        let echoed = |more: Value| {
            let mut message = json!({"role": "assistant", "content": "Four.", "refusal": null, "annotations": null, "audio": null,
                "function_call": null, "tool_calls": null});
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            messages(json!([message])).map(|mut read| read.remove(0))
        };
        let thought = Message { thinking: Some("hm".to_owned()), ..Message::new(Role::Assistant, "Four.") };
        for name in ["reasoning_content", "reasoning", "thinking"] {
            assert_eq!(echoed(json!({name: "hm"})).as_ref(), Ok(&thought), "{name}");
        }
        assert_eq!(echoed(json!({"reasoning": "hm", "reasoning_content": ""})).as_ref(), Ok(&thought));
        let cut = echoed(json!({"content": null, "reasoning": "hm"})).unwrap();
        assert_eq!(cut, Message { content: String::new(), ..thought });
        let plain = Message::new(Role::Assistant, "Four.");
        for more in [
            json!({"annotations": [{"type": "url_citation"}]}),
            json!({"parsed": {"a": 1}}),
            json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
            json!({"tool_calls": []}),
        ] {
            assert_eq!(echoed(more.clone()), Ok(plain.clone()), "{more}");
        }
        let refused = echoed(json!({"audio": {"id": "a"}})).unwrap_err();
        assert_eq!(refused, "`messages[0].audio` is not supported: models here read text");
    }

    #[test]
    fn what_is_no_text_is_named() {
        let refused = |message: Value| messages(json!([message])).unwrap_err();
        let image = json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]});
        assert_eq!(
            refused(image),
            "`messages[0].content[1]` is not supported: its type is `image_url`, and models here read `text`"
        );
        assert_eq!(refused(json!({"role": "user"})), "`messages[0].content` is missing: give a text");
        assert_eq!(
            refused(json!({"role": "user", "content": "x", "weight": 1})),
            "`messages[0].weight` is not known here; remove it"
        );
        assert_eq!(messages(json!([])).unwrap_err(), "`messages` is empty: give at least one message");
    }
}
