//! What a template gets besides the messages.

use serde_json::Value as Json;

use super::words::{Author, PersonWords};
use crate::chat::Message;

/// The tools and the contract that a template is shown: persons' words, or their twins.
#[derive(Debug, Default)]
pub(super) struct ShownJson {
    pub tools: Vec<Json>,
    pub contract: Option<Json>,
}

impl ShownJson {
    pub(super) fn map(&self, exchange: impl Fn(&Json) -> Json) -> ShownJson {
        ShownJson { tools: self.tools.iter().map(&exchange).collect(), contract: self.contract.as_ref().map(&exchange) }
    }

    /// All words of persons, with those of the messages.
    pub(super) fn words<'w>(&'w self, messages: &'w [Message], author: impl Fn(usize) -> Author) -> PersonWords<'w> {
        let content = |(number, message): (usize, &'w Message)| (&*message.content, author(number));
        let contents = messages.iter().enumerate().map(content).collect();
        let mut words = PersonWords { contents, others: Vec::new() };
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
