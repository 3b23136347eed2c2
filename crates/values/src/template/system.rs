//! The system message of a conversation whose template has no system role.

use crate::chat::{Message, Role};

/// For templates without a system role: every system message goes before the user message after it, or the last one,
/// separated by a blank line.
///
/// A conversation without a user message keeps its system text as a user message of its own.
#[must_use]
pub fn fold_system(messages: &[Message]) -> Vec<Message> {
    let mut system = String::new();
    let mut folded: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        match message.role {
            Role::System => {
                join(&mut system, &message.content);
            }
            Role::User if !system.is_empty() => {
                let mut content = std::mem::take(&mut system);
                join(&mut content, &message.content);
                folded.push(Message::new(Role::User, content));
            }
            _ => folded.push(message.clone()),
        }
    }
    if !system.is_empty() {
        match folded.iter_mut().rev().find(|message| message.role == Role::User) {
            Some(last) => {
                join(&mut system, &last.content);
                last.content = system;
            }
            None => folded.insert(0, Message::new(Role::User, system)),
        }
    }
    folded
}

fn join(text: &mut String, next: &str) {
    if !text.is_empty() && !next.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str(next);
}
