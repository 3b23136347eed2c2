//! The texts that people wrote in a conversation, and their authors.

use serde_json::{Map, Value as Json};

/// Whose content a character comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Author {
    /// The last user message.
    Row,
    /// A message before it that varies with it.
    Beside,
    /// Another message, a tool, a call, or the contract.
    Other,
}

/// All words of persons in one conversation.
pub(super) struct PersonWords<'a> {
    /// The messages' contents.
    pub contents: Vec<(&'a str, Author)>,
    /// Thoughts, names and ids, and every text and name in tools, calls and the contract.
    pub others: Vec<&'a str>,
}

impl<'a> PersonWords<'a> {
    /// Every text and every name of a JSON value.
    pub(super) fn add(&mut self, json: &'a Json) {
        match json {
            Json::String(text) => self.others.push(text),
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            Json::Object(fields) => self.add_fields(fields),
            _ => {}
        }
    }

    pub(super) fn add_fields(&mut self, fields: &'a Map<String, Json>) {
        for (name, field) in fields {
            self.others.push(name);
            self.add(field);
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&'a str, Author)> {
        self.contents.iter().copied().chain(self.others.iter().map(|text| (*text, Author::Other)))
    }
}
