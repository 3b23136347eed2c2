//! The messages of a conversation, as Anthropic's API gives them.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::fields::{self, Refused, TextOr};
use crate::api::idle_fields::Object;
use crate::api::problem::Problem;
use slm_values::chat::{Message, Role};
use slm_values::tools::ToolCall;

/// One message.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::WireMessage)]
pub struct WireMessage {
    pub role: WireRole,
    /// A text, or blocks.
    pub content: TextOr<Block>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = anthropic::WireRole)]
pub enum WireRole {
    User,
    /// A last message of the assistant's is the beginning of the answer, which continues from there.
    Assistant,
    System,
}

/// A part of a message.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = anthropic::Block)]
pub struct Block {
    #[schema(pattern = "^(text|thinking|redacted_thinking|tool_use|tool_result)$")]
    pub r#type: String,
    /// Of the type `text`.
    pub text: Option<String>,
    /// Of the type `thinking`.
    pub thinking: Option<String>,
    /// Has no effect: thinking is not signed here.
    pub signature: Option<String>,
    /// Of the type `redacted_thinking`: has no effect, because it is encrypted.
    pub data: Option<String>,
    /// Of the type `tool_use`.
    pub id: Option<String>,
    /// Of the type `tool_use`.
    pub name: Option<String>,
    /// Of the type `tool_use`.
    #[schema(value_type = Option<Object>)]
    pub input: Option<Map<String, Value>>,
    /// Of the type `tool_result`.
    pub tool_use_id: Option<String>,
    /// Of the type `tool_result`: a text, or blocks of the type `text`.
    #[schema(no_recursion)]
    pub content: Option<TextOr<Block>>,
    /// Of the type `tool_result`.
    pub is_error: Option<bool>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

const REFUSED: [Refused; 2] =
    [("caller", "only the model calls tools"), ("toolset_name", "only tools of the client's own are supported")];

/// Reads a conversation. Instructions at its beginning become one message, and so do turns of one side that follow each
/// other.
///
/// # Errors
/// A block that cannot be read, named by its place.
pub fn read(system: Option<TextOr<Block>>, messages: Vec<WireMessage>) -> Result<Vec<Message>, Problem> {
    if messages.is_empty() {
        return Err(Problem::invalid("`messages` is empty: give at least one message").of("messages"));
    }
    let mut read = Vec::with_capacity(messages.len() + 1);
    if let Some(system) = system {
        add(&mut read, Message::new(Role::System, texts(system, "system")?));
    }
    for (number, message) in messages.into_iter().enumerate() {
        let at = format!("messages[{number}]");
        fields::none_left(&message.rest, &at, &[])?;
        let place = format!("{at}.content");
        match message.role {
            WireRole::System => add(&mut read, Message::new(Role::System, texts(message.content, &place)?)),
            WireRole::Assistant => add(&mut read, said(message.content, &place)?),
            WireRole::User => heard(&mut read, message.content, &place)?,
        }
    }
    Ok(read)
}

/// Puts a message after the others, or into the last of them where both are of one side.
fn add(messages: &mut Vec<Message>, message: Message) {
    let n_messages = messages.len();
    match messages.last_mut() {
        Some(last) if last.role == Role::System && message.role == Role::System && n_messages == 1 => {
            last.content = format!("{}\n\n{}", last.content, message.content);
        }
        Some(last) if last.role == message.role && matches!(last.role, Role::User | Role::Assistant) => {
            fields::add_line(&mut last.content, &message.content);
            last.tool_calls.extend(message.tool_calls);
            last.thinking = last.thinking.take().or(message.thinking);
        }
        _ => messages.push(message),
    }
}

/// A content that may only hold texts.
fn texts(content: TextOr<Block>, at: &str) -> Result<String, Problem> {
    let mut all = String::new();
    for (at, block) in placed(content, at) {
        match block.r#type.as_str() {
            "text" => fields::add_line(&mut all, &block.text(&at)?),
            other => return Err(unreadable(&at, other, "only `text` is allowed here")),
        }
    }
    Ok(all)
}

/// A turn of the assistant's.
fn said(content: TextOr<Block>, at: &str) -> Result<Message, Problem> {
    let mut message = Message::new(Role::Assistant, "");
    for (at, block) in placed(content, at) {
        match block.r#type.as_str() {
            "text" => fields::add_line(&mut message.content, &block.text(&at)?),
            "thinking" => {
                let thought = block.thinking.ok_or_else(|| missing(&at, "thinking"))?;
                fields::add_line(message.thinking.get_or_insert_default(), &thought);
            }
            "redacted_thinking" => {}
            "tool_use" => message.tool_calls.push(block.call(&at)?),
            other => return Err(unreadable(&at, other, "an assistant's are `text`, `tool_use` and `thinking`")),
        }
    }
    Ok(message)
}

/// A turn of the user's: tools' results and texts, in their order.
fn heard(messages: &mut Vec<Message>, content: TextOr<Block>, at: &str) -> Result<(), Problem> {
    let mut text: Option<String> = None;
    for (at, block) in placed(content, at) {
        match block.r#type.as_str() {
            "text" => fields::add_line(text.get_or_insert_default(), &block.text(&at)?),
            "tool_result" => {
                if let Some(text) = text.take() {
                    add(messages, Message::new(Role::User, text));
                }
                let result = block.result(messages, &at)?;
                messages.push(result);
            }
            other => return Err(unreadable(&at, other, "models here read `text` and `tool_result`")),
        }
    }
    if let Some(text) = text {
        add(messages, Message::new(Role::User, text));
    }
    Ok(())
}

/// A content's blocks with their places; a text is one block.
fn placed(content: TextOr<Block>, at: &str) -> Vec<(String, Block)> {
    match content {
        TextOr::Text(text) => vec![(at.to_owned(), Block::of_text(text))],
        TextOr::List(blocks) => {
            blocks.into_iter().enumerate().map(|(number, block)| (format!("{at}[{number}]"), block)).collect()
        }
    }
}

impl Block {
    fn of_text(text: String) -> Block {
        Block {
            r#type: "text".to_owned(),
            text: Some(text),
            thinking: None,
            signature: None,
            data: None,
            id: None,
            name: None,
            input: None,
            tool_use_id: None,
            content: None,
            is_error: None,
            rest: Map::new(),
        }
    }

    fn text(self, at: &str) -> Result<String, Problem> {
        fields::only_idle_left(&self.rest, at, Object::Block, &REFUSED)?;
        self.text.ok_or_else(|| missing(at, "text"))
    }

    fn call(self, at: &str) -> Result<ToolCall, Problem> {
        // Who called is said of calls that programs made; the model's own say `direct`.
        let is_direct = |value: &Value| value["type"] == "direct";
        let rest = self.rest.into_iter().filter(|(name, value)| !(name == "caller" && is_direct(value))).collect();
        fields::only_idle_left(&rest, at, Object::Block, &REFUSED)?;
        let id = self.id.ok_or_else(|| missing(at, "id"))?;
        let name = self.name.ok_or_else(|| missing(at, "name"))?;
        Ok(ToolCall { id: Some(id), name, arguments: self.input.unwrap_or_default() })
    }

    /// What a tool that an earlier message called answers.
    fn result(self, earlier: &[Message], at: &str) -> Result<Message, Problem> {
        fields::only_idle_left(&self.rest, at, Object::Block, &REFUSED)?;
        let id = self.tool_use_id.ok_or_else(|| missing(at, "tool_use_id"))?;
        let mut calls = earlier.iter().rev().flat_map(|message| &message.tool_calls);
        let Some(call) = calls.find(|call| call.id.as_deref() == Some(&id)) else {
            let at = format!("{at}.tool_use_id");
            let message = format!("`{at}` is `{id}`, and no message before it makes a call of this id");
            return Err(Problem::invalid(message).of(at));
        };
        let content = self.content.map_or(Ok(String::new()), |content| texts(content, &format!("{at}.content")))?;
        let content = if self.is_error == Some(true) { format!("Error: {content}") } else { content };
        let tool_name = Some(call.name.clone());
        Ok(Message { tool_name, tool_call_id: Some(id), ..Message::new(Role::Tool, content) })
    }
}

fn missing(at: &str, name: &str) -> Problem {
    let at = format!("{at}.{name}");
    Problem::invalid(format!("`{at}` is missing")).of(at)
}

fn unreadable(at: &str, kind: &str, what: &str) -> Problem {
    Problem::unsupported_value(format!("`{at}` is not supported: its type is `{kind}`, and {what}"), at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(system: Value, messages: Value) -> Result<Vec<Message>, String> {
        let system = serde_json::from_value(system).unwrap();
        read(system, serde_json::from_value(messages).unwrap()).map_err(|problem| problem.message)
    }

    #[test]
    fn turns_of_one_side_become_one() {
        let read = messages(
            json!([{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]),
            json!([
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "one"},
                {"role": "user", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "The answer is", "citations": null}]},
            ]),
        );
        let expected = [
            Message::new(Role::System, "be brief\n\nbe kind"),
            Message::new(Role::User, "one\ntwo\nthree"),
            Message::new(Role::Assistant, "The answer is"),
        ];
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn calls_and_their_results_are_messages_of_their_own() {
        let call = json!({"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}, "caller": {"type": "direct"}});
        let read = messages(
            Value::Null,
            json!([
                {"role": "user", "content": "1 and 2?"},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, call]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "no"}], "is_error": true},
                    {"type": "text", "text": "well?"},
                ]},
            ]),
        )
        .unwrap();
        let roles: Vec<Role> = read.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool, Role::User]);
        assert_eq!((read[1].thinking.as_deref(), read[1].tool_calls[0].name.as_str()), (Some("hm"), "add"));
        assert_eq!((read[2].content.as_str(), read[2].tool_name.as_deref()), ("Error: no", Some("add")));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let refused =
            |content: Value| messages(Value::Null, json!([{"role": "user", "content": content}])).unwrap_err();
        assert_eq!(
            refused(json!([{"type": "image", "source": {"type": "base64"}}])),
            "`messages[0].content[0]` is not supported: its type is `image`, and models here read `text` and `tool_result`"
        );
        assert_eq!(refused(json!([{"type": "text"}])), "`messages[0].content[0].text` is missing");
        assert_eq!(
            refused(json!([{"type": "tool_result", "tool_use_id": "x"}])),
            "`messages[0].content[0].tool_use_id` is `x`, and no message before it makes a call of this id"
        );
        assert_eq!(
            refused(json!([{"type": "text", "text": "a", "size": 1}])),
            "`messages[0].content[0].size` is not known here; remove it"
        );
        assert_eq!(messages(Value::Null, json!([])).unwrap_err(), "`messages` is empty: give at least one message");
    }
}
