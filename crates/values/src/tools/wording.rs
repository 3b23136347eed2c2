//! Tools for a template that knows none: how they are described, and how their answers are told.

use super::form::{Form, spaced};
use super::{Tool, ToolCall};
use crate::chat::{Message, Role};

/// The tools and how to call them, in words for a system message.
#[must_use]
pub fn describe(form: Form, tools: &[Tool]) -> String {
    let described: String = tools.iter().map(|tool| spaced(&tool.json()["function"]) + "\n").collect();
    let arguments = [("the name of an argument".to_owned(), "its value".into())];
    let example = form.write(&[ToolCall::new("the name of the tool", arguments.into_iter().collect())]);
    format!(
        "You can call these tools, each given with a JSON schema of its arguments:\n{described}To call a tool, write \
         only this:\n{example}\nWhat it answers comes back in <tool_response>. Where no tool helps, answer in words."
    )
}

/// The conversation with this description behind its first system message, or before everything.
#[must_use]
pub fn described(messages: &[Message], description: &str) -> Vec<Message> {
    let mut out = messages.to_vec();
    match out.first_mut() {
        Some(first) if first.role == Role::System => {
            let parted = if first.content.is_empty() { "" } else { "\n\n" };
            first.content = format!("{}{parted}{description}", first.content);
        }
        _ => out.insert(0, Message::new(Role::System, description)),
    }
    out
}

/// The conversation with the answers of tools as the user's words, together with what else the user says there: some
/// templates insist on turns.
#[must_use]
pub fn answered_by_user(messages: &[Message]) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::with_capacity(messages.len());
    let mut is_behind_answer = false;
    for message in messages {
        let content = match message.role {
            Role::Tool => format!("<tool_response>\n{}\n</tool_response>", message.content),
            Role::User if is_behind_answer => format!("\n{}", message.content),
            _ => {
                is_behind_answer = false;
                out.push(message.clone());
                continue;
            }
        };
        match out.last_mut().filter(|_| is_behind_answer) {
            Some(last) => last.content = format!("{}\n{content}", last.content),
            None => out.push(Message::new(Role::User, content)),
        }
        is_behind_answer = message.role == Role::Tool;
    }
    out
}
