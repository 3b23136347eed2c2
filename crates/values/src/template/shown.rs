//! What a template gets to see of a conversation: all of it, or what it would drop, written for it.

use serde_json::Value as Json;
use std::borrow::Cow;

use super::author::{Owner, Words};
use super::{ChatTemplate, Inputs};
use crate::chat::Message;

/// What a template gets to see beside the messages: persons' words, or their twins.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub tools: Vec<Json>,
    pub contract: Option<Json>,
}

impl Shown {
    pub(super) fn map(&self, exchange: impl Fn(&Json) -> Json) -> Shown {
        Shown { tools: self.tools.iter().map(&exchange).collect(), contract: self.contract.as_ref().map(&exchange) }
    }

    /// All words of persons, with those of the messages.
    pub(super) fn words<'w>(&'w self, messages: &'w [Message], owner: impl Fn(usize) -> Owner) -> Words<'w> {
        let content = |(number, message): (usize, &'w Message)| (&*message.content, owner(number));
        let contents = messages.iter().enumerate().map(content).collect();
        let mut words = Words { contents, others: Vec::new() };
        for message in messages {
            let texts = [&message.thinking, &message.tool_name, &message.tool_call_id];
            words.others.extend(texts.into_iter().flatten().map(String::as_str));
            for call in &message.tool_calls {
                words.others.extend(call.id.as_deref());
                words.others.push(&call.name);
                words.add_fields(&call.arguments);
            }
        }
        self.tools.iter().chain(&self.contract).for_each(|json| words.add(json));
        words
    }
}

impl ChatTemplate {
    /// What the template gets to see beside the messages.
    pub(super) fn shown(&self, inputs: &Inputs) -> Shown {
        let sees_tools = !inputs.tools.is_empty() && self.tool_use().tools;
        let tools = inputs.tools.iter().filter(|_| sees_tools).map(|tool| tool.json().clone()).collect();
        Shown { tools, contract: inputs.contract.filter(|_| self.reads("contract")).cloned() }
    }

    /// The messages with their calls written into the contents, where the template itself would drop them.
    pub(super) fn spelled<'m>(&self, messages: &'m [Message]) -> Cow<'m, [Message]> {
        if messages.iter().all(|message| message.tool_calls.is_empty()) || self.tool_use().calls {
            return Cow::Borrowed(messages);
        }
        let spell = |message: &Message| {
            let mut message = message.clone();
            let calls = std::mem::take(&mut message.tool_calls);
            if !calls.is_empty() && !message.content.is_empty() {
                message.content.push('\n');
            }
            if !calls.is_empty() {
                message.content.push_str(&self.form.write(&calls));
            }
            message
        };
        Cow::Owned(messages.iter().map(spell).collect())
    }
}
