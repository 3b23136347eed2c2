//! Conversations with calls of tools, in the shapes that some templates insist on.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use crate::chat::{Message, Role};
use crate::tools::{CallFormat, ToolCall};

/// The length of the ids that Mistral's templates insist on.
const SHORT_ID: usize = 9;

/// The conversation with the tool's name on every tool message that answers a known call.
pub(super) fn with_tool_names(messages: &[Message]) -> Cow<'_, [Message]> {
    let is_nameless = |message: &Message| message.role == Role::Tool && message.tool_name.is_none();
    if !messages.iter().any(is_nameless) {
        return Cow::Borrowed(messages);
    }
    let mut unanswered = Unanswered::default();
    let mut named = messages.to_vec();
    for message in &mut named {
        if let (Role::Tool, Some(call)) = (message.role, unanswered.take(message)) {
            message.tool_name.get_or_insert(call.name);
        }
    }
    Cow::Owned(named)
}

/// The conversation with an id of nine letters and digits on every call and on its answer.
pub(super) fn with_short_ids(messages: &[Message]) -> Vec<Message> {
    let mut known: HashMap<String, String> = HashMap::new();
    let mut n_given = 0usize;
    let mut unanswered = Unanswered::default();
    let mut numbered = messages.to_vec();
    for message in &mut numbered {
        for call in &mut message.tool_calls {
            n_given += 1;
            let fresh = format!("{n_given:0SHORT_ID$}");
            let short = match call.id.take() {
                Some(id) if is_short(&id) => id,
                Some(id) => known.entry(id).or_insert(fresh).clone(),
                None => fresh,
            };
            call.id = Some(short);
        }
        if let Some(id) = &mut message.tool_call_id
            && let Some(short) = known.get(id)
        {
            id.clone_from(short);
        }
        let answered = unanswered.take(message).and_then(|call| call.id);
        if message.role == Role::Tool && !message.tool_call_id.as_deref().is_some_and(is_short) {
            n_given += 1;
            message.tool_call_id = answered.or_else(|| Some(format!("{n_given:0SHORT_ID$}")));
        }
    }
    numbered
}

fn is_short(id: &str) -> bool {
    id.len() == SHORT_ID && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The conversation with one call in each message, and its answer right after it.
pub(super) fn with_single_calls(messages: &[Message]) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::with_capacity(messages.len());
    let mut rest = messages.iter().peekable();
    while let Some(message) = rest.next() {
        if message.tool_calls.len() < 2 {
            out.push(message.clone());
            continue;
        }
        let mut unanswered = Unanswered::default();
        let _ = unanswered.take(message);
        let mut answers: Vec<(Option<ToolCall>, &Message)> = Vec::new();
        while let Some(answer) = rest.next_if(|next| next.role == Role::Tool) {
            answers.push((unanswered.take(answer), answer));
        }
        for (number, call) in message.tool_calls.iter().enumerate() {
            let mut one = Message { tool_calls: vec![call.clone()], ..message.clone() };
            if number > 0 {
                (one.content, one.thinking) = (String::new(), None);
            }
            out.push(one);
            let of_call = |(answered, _): &(Option<ToolCall>, &Message)| answered.as_ref() == Some(call);
            if let Some(at) = answers.iter().position(of_call) {
                out.push(answers.remove(at).1.clone());
            }
        }
        out.extend(answers.into_iter().map(|(_, answer)| answer.clone()));
    }
    out
}

/// A message with its calls written into its content, as a model with this format writes them.
pub(super) fn with_calls_in_content(message: &Message, format: CallFormat) -> Message {
    let mut message = message.clone();
    let calls = std::mem::take(&mut message.tool_calls);
    if !calls.is_empty() && !message.content.is_empty() {
        message.content.push('\n');
    }
    if !calls.is_empty() {
        message.content.push_str(&format.write(&calls));
    }
    message
}

/// The calls of the last message with calls that are not answered yet.
#[derive(Default)]
struct Unanswered(VecDeque<ToolCall>);

impl Unanswered {
    /// Takes a message in; gives the call that it answers: by its id, else by the tool's name, else the first one.
    fn take(&mut self, message: &Message) -> Option<ToolCall> {
        if message.role != Role::Tool {
            if message.role == Role::Assistant {
                self.0 = message.tool_calls.iter().cloned().collect();
            }
            return None;
        }
        let by_id = |call: &ToolCall| call.id.is_some() && call.id == message.tool_call_id;
        let by_name = |call: &ToolCall| Some(&call.name) == message.tool_name.as_ref();
        let at = match (&message.tool_call_id, &message.tool_name) {
            (Some(_), _) if self.0.iter().any(|call| call.id.is_some()) => self.0.iter().position(by_id),
            (_, Some(_)) => self.0.iter().position(by_name),
            _ => Some(0),
        };
        at.and_then(|at| self.0.remove(at))
    }
}
