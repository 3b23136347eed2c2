//! A conversation as plain values; it knows neither templates nor tokens.

use serde::{Deserialize, Serialize};

use crate::tools::ToolCall;

/// Who wrote a message. The names are those of the chat templates and of Ollama's and OpenAI's APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

impl Role {
    /// The lower-case name that templates compare against.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
    /// What an assistant thought before it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// The calls that an assistant made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The tool that a [`Role::Tool`] message comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// The id of the call that a [`Role::Tool`] message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A message that is nothing but its text.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let content = content.into();
        Message { role, content, thinking: None, tool_calls: Vec::new(), tool_name: None, tool_call_id: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plain_message_is_stored_as_ever() {
        let stored = json!({"role": "user", "content": "hi"});
        let message = Message::new(Role::User, "hi");
        assert_eq!(serde_json::to_value(&message).unwrap(), stored);
        assert_eq!(serde_json::from_value::<Message>(stored).unwrap(), message);
    }

    #[test]
    fn calls_and_thoughts_are_stored_too() {
        let mut message = Message::new(Role::Assistant, "");
        message.thinking = Some("hm".to_owned());
        message.tool_calls = vec![ToolCall::new("now", serde_json::Map::new())];
        let stored = serde_json::to_value(&message).unwrap();
        assert_eq!(stored["tool_calls"], json!([{"type": "function", "function": {"name": "now", "arguments": {}}}]));
        assert_eq!(serde_json::from_value::<Message>(stored).unwrap(), message);
    }
}
