//! The items of a conversation, as responses give them, and the messages that they make together.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::fields::{self, Refused, TextOr};
use crate::api::idle_fields::Object;
use crate::api::openai::chat::messages::{called, missing};
use crate::api::problem::Problem;
use slm_values::chat::{Message, Role};
use slm_values::tools::ToolCall;

/// A message, a call of a tool, what the tool answers, or what the model thought.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[schema(as = openai::InputItem)]
pub struct InputItem {
    /// Without it, a message.
    #[schema(pattern = "^(message|function_call|function_call_output|reasoning)$")]
    pub r#type: Option<String>,
    /// Of a message.
    pub role: Option<InputRole>,
    /// Of a message: a text, or parts that are joined. Of the type `reasoning`: the thoughts.
    pub content: Option<TextOr<InputPart>>,
    /// Of a call and of its output: the id that they share.
    pub call_id: Option<String>,
    /// Of a call.
    pub name: Option<String>,
    /// Of a call: an object's JSON as a text.
    pub arguments: Option<String>,
    /// Of a call's output: a text, or parts that are joined.
    pub output: Option<TextOr<InputPart>>,
    /// Of the type `reasoning`: counts where there is no `content`.
    pub summary: Option<Vec<InputPart>>,
    /// Has no effect: it is encrypted.
    pub encrypted_content: Option<String>,
    /// Has no effect.
    pub id: Option<String>,
    /// Has no effect.
    pub status: Option<String>,
    /// Has no effect.
    pub phase: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = openai::InputRole)]
pub enum InputRole {
    System,
    /// The newer name of `system`.
    Developer,
    User,
    Assistant,
}

/// A part of an item.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, ToSchema)]
#[schema(as = openai::InputPart)]
pub struct InputPart {
    #[schema(pattern = "^(input_text|output_text|summary_text|reasoning_text|text|refusal)$")]
    pub r#type: String,
    pub text: Option<String>,
    /// Of the type `refusal`.
    pub refusal: Option<String>,
    /// Has no effect: what a text cites is not in it.
    #[schema(value_type = Option<Vec<Object>>)]
    pub annotations: Option<Vec<Value>>,
    /// Has no effect.
    #[schema(value_type = Option<Vec<Object>>)]
    pub logprobs: Option<Vec<Value>>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub rest: Map<String, Value>,
}

/// Of all items.
const REFUSED: [Refused; 3] = [
    ("async", "a call ends the answer"),
    ("caller", "only the model calls tools"),
    ("namespace", "tools have one name"),
];

/// Reads a conversation. Instructions at its beginning become one message, and so does all that an assistant said and called
/// without a break.
///
/// # Errors
/// An item that cannot be read, named by its place.
pub fn read(instructions: Option<String>, input: TextOr<InputItem>) -> Result<Vec<Message>, Problem> {
    let mut read: Vec<Message> = Vec::new();
    read.extend(instructions.map(|text| Message::new(Role::System, text)));
    let items = match input {
        TextOr::Text(text) => {
            read.push(Message::new(Role::User, text));
            return Ok(read);
        }
        TextOr::List(items) => items,
    };
    let empty = || Problem::invalid("`input` is empty: give at least one message").of("input");
    if items.is_empty() {
        return Err(empty());
    }
    for (number, item) in items.into_iter().enumerate() {
        item.add_to(&mut read, &format!("input[{number}]"))?;
    }
    // A thought that was cut short before anything was said.
    read.retain(|message| message.thinking.is_none() || !message.content.is_empty() || !message.tool_calls.is_empty());
    if read.is_empty() { Err(empty()) } else { Ok(read) }
}

impl InputItem {
    fn add_to(self, messages: &mut Vec<Message>, at: &str) -> Result<(), Problem> {
        // Who called is said of calls that programs made; the model's own say `direct`.
        let is_direct = |value: &Value| value["type"] == "direct";
        let rest = self.rest.iter().filter(|(name, value)| !(*name == "caller" && is_direct(value)));
        let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        fields::only_idle_left(&rest, at, Object::ResponseItem, &REFUSED)?;
        match self.r#type.as_deref().unwrap_or("message") {
            "message" => self.message(messages, at),
            "function_call" => self.call(messages, at),
            "function_call_output" => self.result(messages, at),
            "reasoning" => self.thought(messages, at),
            other => {
                let message = format!(
                    "`{at}` is not supported: its type is `{other}`, and models here read `message`, `function_call`, \
                     `function_call_output` and `reasoning`"
                );
                Err(Problem::unsupported_value(message, at))
            }
        }
    }

    fn message(self, messages: &mut Vec<Message>, at: &str) -> Result<(), Problem> {
        let role = self.role.ok_or_else(|| missing(&format!("{at}.role"), "who wrote the message"))?;
        let content = content(self.content, &format!("{at}.content"))?;
        match (role, messages.as_mut_slice()) {
            (InputRole::Assistant, _) => fields::add_line(&mut turn(messages).content, &content),
            (InputRole::System | InputRole::Developer, [first]) if first.role == Role::System => {
                first.content = format!("{}\n\n{content}", first.content);
            }
            (InputRole::System | InputRole::Developer, _) => messages.push(Message::new(Role::System, content)),
            (InputRole::User, _) => messages.push(Message::new(Role::User, content)),
        }
        Ok(())
    }

    fn call(self, messages: &mut Vec<Message>, at: &str) -> Result<(), Problem> {
        let need =
            |field: Option<String>, name: &str, what: &str| field.ok_or_else(|| missing(&format!("{at}.{name}"), what));
        let id = need(self.call_id, "call_id", "the id that the call's answer has too")?;
        let name = need(self.name, "name", "the name of the tool that was called")?;
        let arguments = need(self.arguments, "arguments", "an object's JSON as a text")?;
        turn(messages).tool_calls.push(ToolCall::of_text(Some(id), &name, &arguments, at)?);
        Ok(())
    }

    /// What a tool that an earlier item called answers.
    fn result(self, messages: &mut Vec<Message>, at: &str) -> Result<(), Problem> {
        let place = format!("{at}.call_id");
        let id = self.call_id.ok_or_else(|| missing(&place, "the id of the call that it answers"))?;
        let tool_name = Some(called(messages, &id, &place)?);
        let content = content(self.output, &format!("{at}.output"))?;
        messages.push(Message { tool_name, tool_call_id: Some(id), ..Message::new(Role::Tool, content) });
        Ok(())
    }

    fn thought(self, messages: &mut Vec<Message>, at: &str) -> Result<(), Problem> {
        let summary = TextOr::List(self.summary.unwrap_or_default());
        let thought = match self.content.filter(|content| *content != TextOr::List(Vec::new())) {
            Some(thought) => text(thought, &format!("{at}.content"))?,
            None => text(summary, &format!("{at}.summary"))?,
        };
        if !thought.is_empty() {
            fields::add_line(turn(messages).thinking.get_or_insert_default(), &thought);
        }
        Ok(())
    }
}

/// The assistant's message that the next item belongs to.
fn turn(messages: &mut Vec<Message>) -> &mut Message {
    if messages.last().is_none_or(|last| last.role != Role::Assistant) {
        messages.push(Message::new(Role::Assistant, ""));
    }
    messages.last_mut().expect("a message was put there where there was none")
}

fn content(content: Option<TextOr<InputPart>>, at: &str) -> Result<String, Problem> {
    text(content.ok_or_else(|| missing(at, "a text"))?, at)
}

/// The text of a content; its parts follow each other on lines of their own.
fn text(content: TextOr<InputPart>, at: &str) -> Result<String, Problem> {
    let parts = match content {
        TextOr::Text(text) => return Ok(text),
        TextOr::List(parts) => parts,
    };
    let mut all = String::new();
    for (number, part) in parts.into_iter().enumerate() {
        fields::add_line(&mut all, &part.into_text(&format!("{at}[{number}]"))?);
    }
    Ok(all)
}

impl InputPart {
    fn into_text(self, at: &str) -> Result<String, Problem> {
        let (name, text) = match self.r#type.as_str() {
            "input_text" | "output_text" | "summary_text" | "reasoning_text" | "text" => ("text", self.text),
            "refusal" => ("refusal", self.refusal),
            other => {
                let message = format!("`{at}` is not supported: its type is `{other}`, and models here read text");
                return Err(Problem::unsupported_value(message, at));
            }
        };
        fields::only_idle_left(&self.rest, at, Object::ResponsePart, &[])?;
        text.ok_or_else(|| missing(&format!("{at}.{name}"), "a text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn messages(instructions: Option<&str>, input: Value) -> Result<Vec<Message>, String> {
        let input = serde_json::from_value(input).map_err(|error| error.to_string())?;
        read(instructions.map(str::to_owned), input).map_err(|problem| problem.message)
    }

    fn refused(item: Value) -> String {
        messages(None, json!([item])).unwrap_err()
    }

    #[test]
    fn inputs_are_texts_or_items() {
        let expected = [Message::new(Role::System, "be kind"), Message::new(Role::User, "hi")];
        assert_eq!(messages(Some("be kind"), json!("hi")).unwrap(), expected);
        let read = messages(
            Some("be kind"),
            json!([
                {"role": "developer", "content": "be brief"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]},
                {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "phase": "commentary", "content": [
                    {"type": "output_text", "text": "three", "annotations": [], "logprobs": []}]},
                {"role": "assistant", "content": "four"},
                {"role": "system", "content": "be exact"},
            ]),
        );
        let expected = [
            Message::new(Role::System, "be kind\n\nbe brief"),
            Message::new(Role::User, "one\ntwo"),
            Message::new(Role::Assistant, "three\nfour"),
            Message::new(Role::System, "be exact"),
        ];
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn a_turn_is_its_thoughts_its_words_and_its_calls() {
        let call = |id: &str| json!({"type": "function_call", "id": "fc_1", "call_id": id, "name": "add", "arguments": "{\"a\": 1}"});
        let answer = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": id});
        let read = messages(
            None,
            json!([
                {"role": "user", "content": "1 and 2?"},
                {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}], "encrypted_content": null},
                {"role": "assistant", "content": "I add."},
                call("call_1"),
                call("call_2"),
                answer("call_2"),
                answer("call_1"),
                {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "cut short"}]},
            ]),
        )
        .unwrap();
        let shape: Vec<(Role, &str, Option<&str>, usize)> = read
            .iter()
            .map(|message| {
                let link = message.thinking.as_deref().or(message.tool_call_id.as_deref());
                (message.role, message.content.as_str(), link, message.tool_calls.len())
            })
            .collect();
        let expected = [
            (Role::User, "1 and 2?", None, 0),
            (Role::Assistant, "I add.", Some("hm"), 2),
            (Role::Tool, "call_2", Some("call_2"), 0),
            (Role::Tool, "call_1", Some("call_1"), 0),
        ];
        assert_eq!(shape, expected);
        assert_eq!(read[2].tool_name.as_deref(), Some("add"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let image = json!({"role": "user", "content": [{"type": "input_image", "image_url": "x", "detail": "auto"}]});
        let cases = [
            (image, "`input[0].content[0]` is not supported: its type is `input_image`, and models here read text"),
            (json!({"role": "user"}), "`input[0].content` is missing: give a text"),
            (json!({"content": "x"}), "`input[0].role` is missing: give who wrote the message"),
            (json!({"role": "user", "content": "x", "weight": 1}), "`input[0].weight` is not known here; remove it"),
            (
                json!({"type": "item_reference", "id": "msg_1"}),
                "`input[0]` is not supported: its type is `item_reference`, and models here read `message`, \
                 `function_call`, `function_call_output` and `reasoning`",
            ),
            (
                json!({"type": "function_call_output", "call_id": "x", "output": "3"}),
                "`input[0].call_id` is `x`, and no message before it makes a call of this id",
            ),
            (
                json!({"type": "function_call", "call_id": "x", "name": "f"}),
                "`input[0].arguments` is missing: give an object's JSON as a text",
            ),
            (
                json!({"type": "function_call", "call_id": "x", "name": "f", "arguments": "[]"}),
                "`input[0].arguments` is a list, and must be an object",
            ),
            (
                json!({"type": "function_call", "call_id": "x", "name": "f", "arguments": "", "caller": {"type": "program"}}),
                "`input[0].caller` is not supported: only the model calls tools",
            ),
        ];
        for (item, message) in cases {
            assert_eq!(refused(item), message);
        }
        assert_eq!(messages(None, json!([])).unwrap_err(), "`input` is empty: give at least one message");
    }
}
