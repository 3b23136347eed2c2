//! Tools for a template that does not support them: how they are described, and how their results are told.

use crate::chat::{Message, Role};
use crate::spaced::spaced;
use crate::tools::{CallFormat, Tool, ToolCall};

/// The tools and how to call them, in words for a system message.
pub(super) fn describe(format: CallFormat, tools: &[Tool]) -> String {
    let described: String = tools.iter().map(|tool| spaced(&tool.json()["function"]) + "\n").collect();
    let arguments = [("the name of an argument".to_owned(), "its value".into())];
    let example = format.write(&[ToolCall::new("the name of the tool", arguments.into_iter().collect())]);
    format!(
        "You can call these tools, each given with a JSON schema of its arguments:\n{described}To call a tool, write \
         only this:\n{example}\nWhat it answers comes back in <tool_response>. Where no tool helps, answer in words."
    )
}

/// The conversation with this description after its first system message, or before everything.
pub(super) fn described(messages: &[Message], description: &str) -> Vec<Message> {
    let mut out = messages.to_vec();
    match out.first_mut() {
        Some(first) if first.role == Role::System => {
            let gap = if first.content.is_empty() { "" } else { "\n\n" };
            first.content = format!("{}{gap}{description}", first.content);
        }
        _ => out.insert(0, Message::new(Role::System, description)),
    }
    out
}

/// The conversation with the answers of tools as the user's words, together with what else the user says there: some
/// templates insist on turns.
pub(super) fn answered_by_user(messages: &[Message]) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::with_capacity(messages.len());
    let mut follows_result = false;
    for message in messages {
        let content = match message.role {
            Role::Tool => format!("<tool_response>\n{}\n</tool_response>", message.content),
            Role::User if follows_result => format!("\n{}", message.content),
            _ => {
                follows_result = false;
                out.push(message.clone());
                continue;
            }
        };
        match out.last_mut().filter(|_| follows_result) {
            Some(last) => last.content = format!("{}\n{content}", last.content),
            None => out.push(Message::new(Role::User, content)),
        }
        follows_result = message.role == Role::Tool;
    }
    out
}
