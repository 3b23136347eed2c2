//! What a Jinja template gets to see, as the transformers library passes it.

use minijinja::value::Value;
use serde_json::Value as Json;

use super::super::date::Date;
use super::super::renderer::{Conversation, Inputs};
use super::json::spaced;
use crate::chat::{Message, Role};
use crate::tools::ToolCall;

/// Where a template looks for tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolsAt {
    /// In the variable `tools`.
    Variable,
    /// In the system message, under the key `tools`, as a text: Phi's.
    SystemMessage,
}

impl ToolsAt {
    pub(super) fn of(source: &str) -> ToolsAt {
        let asks = ["'tools' in message", "message['tools']", "message.tools"];
        if asks.iter().any(|text| source.contains(text)) { ToolsAt::SystemMessage } else { ToolsAt::Variable }
    }
}

/// All variables of a rendering. `place` is where the template looks for tools.
pub(super) fn context(conversation: &Conversation, place: ToolsAt) -> Value {
    let Conversation { messages, tools, contract, inputs, specials, twins } = *conversation;
    let Inputs { variables, add_generation_prompt, date, .. } = inputs;
    let given = variables.iter().map(|(name, json)| (name.clone(), value(json)));
    let mut shown: Vec<Value> = messages.iter().map(|of| message(of, None)).collect();
    if place == ToolsAt::SystemMessage && !tools.is_empty() {
        let functions = tools.iter().map(|tool| tool["function"].clone()).collect();
        let functions = Value::from(spaced(&functions, twins));
        let nobodys = Message::new(Role::System, "");
        let (system, n_replaced) = match messages.first() {
            Some(first) if first.role == Role::System => (first, 1),
            _ => (&nobodys, 0),
        };
        shown.splice(..n_replaced, [message(system, Some(functions))]);
    }
    let own = [
        ("messages", Value::from(shown)),
        ("add_generation_prompt", Value::from(*add_generation_prompt)),
        ("bos_token", Value::from(specials.bos.as_str())),
        ("eos_token", Value::from(specials.eos.as_str())),
        ("strftime_now", strftime_now(*date)),
    ];
    // The reference passes these two as none unless they are given.
    let none = ["tools", "documents"].map(|name| (name.to_owned(), Value::from(())));
    let tools = (!tools.is_empty()).then(|| ("tools".to_owned(), tools.iter().map(value).collect()));
    let contract = contract.map(|json| ("contract".to_owned(), value(json)));
    let own = own.map(|(name, value)| (name.to_owned(), value));
    Value::from_pairs(none.into_iter().chain(given).chain(own).chain(tools).chain(contract))
}

/// A message with only the keys that have a value: templates ask whether a key exists.
fn message(message: &Message, tools: Option<Value>) -> Value {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let calls = (!message.tool_calls.is_empty()).then(|| message.tool_calls.iter().map(call).collect());
    let optional = [
        // The first is the transformers library's name; the second that of templates that were made for it alone.
        ("reasoning_content", text(&message.thinking)),
        ("thinking", text(&message.thinking)),
        ("tool_calls", calls),
        ("tool_call_id", text(&message.tool_call_id)),
        ("name", text(&message.tool_name)),
        ("tools", tools),
    ];
    let own = [("role", Value::from(message.role.as_str())), ("content", Value::from(message.content.as_str()))];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Value::from_pairs(own.into_iter().chain(optional))
}

/// A call as the transformers library shows it to templates: the arguments as an object.
fn call(call: &ToolCall) -> Value {
    let arguments = Value::from_pairs(call.arguments.iter().map(|(name, json)| (name.as_str(), value(json))));
    let function = Value::from_pairs([("name", Value::from(call.name.as_str())), ("arguments", arguments)]);
    let own = [("type", Value::from("function")), ("function", function)];
    let id = call.id.as_deref().map(|id| ("id", Value::from(id)));
    Value::from_pairs(id.into_iter().chain(own))
}

/// The function `strftime_now`, for which it is always `date`, at midnight.
fn strftime_now(date: Date) -> Value {
    Value::from_function(move |format: String| date.strftime(&format))
}

/// A JSON value as the template sees it.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Value::from(n),
            (None, Some(n)) => Value::from(n),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(fields) => Value::from_pairs(fields.iter().map(|(name, field)| (name.as_str(), value(field)))),
    }
}
