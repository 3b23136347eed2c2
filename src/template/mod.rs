//! A conversation becomes a prompt by the model's own chat template; it knows special tokens as texts, no numbers.
//!
//! # Who wrote what
//!
//! A person's text must never become a control token, and yet the rendering must be the one that the reference
//! (Jinja2 as the transformers library uses it) gives. So a conversation is rendered twice: plainly, and with every
//! character of every content exchanged for a *twin*, a private-use character that stands for it and that occurs
//! nowhere else. Translated back, both renderings must be equal; then the second says for each character who wrote it.
//! A special token in the second rendering consists of no twins, so that each of its characters was written by the
//! template, however contents were trimmed, joined, nested or repeated. Private-use characters that a content holds
//! itself get twins as all others do, and come back unchanged.
//!
//! A template can look into contents, and then the renderings differ. More is left as it was then, step by step: the
//! white space at a content's ends (templates trim) and then all of it, the characters that JSON escapes, and texts that the template
//! itself spells out (`/no_think`), unless they hold special tokens or could be joined to one. Only an assistant's
//! content, from which reasoning is cut at `</think>`, may keep such a text whole; a third rendering, with fences
//! around those texts, then tells the template's own from those of the content. Where all of this still gives another
//! rendering, the rendering of the twins is the prompt: safety before likeness.
//!
//! Special tokens of nothing but white space (some vocabularies list runs of line feeds) stay text: they forge nothing.

mod author;
mod date;
mod jinja;

pub use date::Date;

use minijinja::value::Value;
use serde_json::{Map, Value as Json};
use std::ops::Range;
use thiserror::Error;

use crate::chat::{Message, Role};
use author::{ContractExchange, Exchange, Owner, Twins};
use jinja::{Jinja, Raised};

/// Bytes of a template's source that are accepted; real ones stay below 20,000.
const MAX_SOURCE: usize = 1 << 20;

/// A model's chat template (`tokenizer.chat_template` of a GGUF), parsed once.
#[derive(Debug)]
pub struct ChatTemplate {
    jinja: Jinja,
    specials: SpecialTokens,
    /// Specials by first character, the longest first, as llama.cpp looks for them.
    table: author::Specials,
    literals: Vec<String>,
    undeclared: Vec<String>,
}

/// The texts of a vocabulary's special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// The template's `bos_token`; empty where the model has none.
    pub bos: String,
    /// The template's `eos_token`; empty where the model has none.
    pub eos: String,
    /// Every CONTROL, USER_DEFINED and end-of-generation token of the vocabulary.
    pub control: Vec<String>,
}

/// What a template renders.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub messages: &'a [Message],
    /// End with the header of an assistant's turn (the templates' own name for it).
    pub add_generation_prompt: bool,
    /// What `strftime_now` says; pinned where prompts must be the same tomorrow.
    pub date: Date,
    /// Further variables, such as `enable_thinking`. The operator's: they may write control tokens.
    pub variables: &'a Map<String, Json>,
    /// What the answer may be, as the variable `contract`; its texts cannot write control tokens.
    pub contract: Option<&'a Json>,
}

/// A rendered prompt. Its runs, joined, are the rendering.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    pub runs: Vec<Run>,
    /// Where the last user message's content begins: where the part that may change from row to row starts.
    pub row_start: Option<Place>,
    /// The last user message's content, as far as the template wrote it; the last occurrence where there are several.
    pub row: Option<RowSpan>,
}

/// A byte of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index in [`Prompt::runs`].
    pub run: usize,
    /// Byte in that run's text, at a character's border.
    pub offset: usize,
}

/// A part of one text run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSpan {
    /// Index in [`Prompt::runs`]; always a [`Run::Text`].
    pub run: usize,
    /// Bytes of that run's text.
    pub range: Range<usize>,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// One special token that the template wrote.
    Control(String),
    /// All text up to the next special token, to be tokenized in one call without special tokens.
    Text {
        text: String,
        /// Byte ranges that persons wrote, in order. White space at a content's ends may be missing.
        persons: Vec<Range<usize>>,
    },
}

/// What a template does with a system message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemRole {
    /// It is written into the prompt.
    Native,
    /// The template raises an error.
    Refused,
    /// It is dropped without a word.
    Ignored,
}

/// Why a template could not be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The source is not a template.
    #[error("the chat template cannot be read: {reason}; the model's file needs another `tokenizer.chat_template`")]
    Syntax { reason: String },
    /// The source is too long to be a template.
    #[error("the chat template has {bytes} bytes, more than the {limit} that are accepted")]
    TooLong { bytes: usize, limit: usize },
    /// The template refused this conversation (`raise_exception`).
    #[error("the chat template refuses this conversation: {message}")]
    Refused { message: String },
    /// The template ran into an error or a limit.
    #[error("the chat template failed: {reason}")]
    Failed { reason: String },
}

impl ChatTemplate {
    /// Parses a template's source.
    ///
    /// # Errors
    /// A source that is too long or that is no template.
    pub fn parse(source: &str, specials: SpecialTokens) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE {
            return Err(TemplateError::TooLong { bytes: source.len(), limit: MAX_SOURCE });
        }
        let jinja = Jinja::parse(source).map_err(|e| TemplateError::Syntax { reason: describe(&e) })?;
        let undeclared = jinja.undeclared();
        let table = author::Specials::new(&specials.control);
        Ok(ChatTemplate { jinja, specials, table, literals: jinja::literals(source), undeclared })
    }

    /// True if the template reads the variable and does not set it itself.
    #[must_use]
    pub fn reads(&self, variable: &str) -> bool {
        self.undeclared.iter().any(|name| name == variable)
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// What the template raises, and a template that does not end or writes too much.
    pub fn render(&self, inputs: &Inputs) -> Result<Prompt, TemplateError> {
        let row = inputs.messages.iter().rposition(|message| message.role == Role::User);
        let contract = inputs.contract.filter(|_| self.reads("contract"));
        let contents: Vec<(&str, Owner)> = inputs
            .messages
            .iter()
            .enumerate()
            .map(|(i, message)| (&*message.content, if Some(i) == row { Owner::Row } else { Owner::Other }))
            .collect();
        let render = |exchange: Option<(&Twins, Exchange, ContractExchange)>| {
            let messages: Vec<Value> = (inputs.messages.iter().zip(&contents))
                .map(|(message, &(content, owner))| {
                    let content = match exchange {
                        Some((twins, how, _)) => twins.content(content, owner, message.role, how),
                        None => content.to_owned(),
                    };
                    Value::from_pairs([("role", message.role.as_str().to_owned()), ("content", content)])
                })
                .collect();
            let contract = contract.map(|json| match exchange {
                Some((twins, _, how)) => jinja::value(&twins.contract(json, how)),
                None => jinja::value(json),
            });
            self.jinja.render(self.context(inputs, messages, contract)).map_err(|e| failure(&e))
        };
        let plain = render(None)?;
        let twins = Twins::new(&self.table, &self.literals, &plain, &contents, contract);
        let contract_attempts: &[ContractExchange] = match contract {
            Some(_) => &[ContractExchange::Texts, ContractExchange::Signs],
            None => &[ContractExchange::Texts],
        };
        for how in twins.attempts() {
            for &of_contract in contract_attempts {
                if let Ok(traced) = render(Some((&twins, how, of_contract)))
                    && twins.back(&traced) == plain
                {
                    let fenced = how.fenced().and_then(|how| render(Some((&twins, how, of_contract))).ok());
                    return Ok(twins.prompt(&traced, (how, of_contract), fenced.as_deref()));
                }
            }
        }
        let (how, of_contract) = (Exchange::Core, contract_attempts[contract_attempts.len() - 1]);
        render(Some((&twins, how, of_contract))).map(|traced| twins.prompt(&traced, (how, of_contract), None))
    }

    fn context(&self, inputs: &Inputs, messages: Vec<Value>, contract: Option<Value>) -> Value {
        let given = inputs.variables.iter().map(|(name, value)| (name.clone(), jinja::value(value)));
        let own = [
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(inputs.add_generation_prompt)),
            ("bos_token", Value::from(self.specials.bos.as_str())),
            ("eos_token", Value::from(self.specials.eos.as_str())),
            ("strftime_now", jinja::strftime_now(inputs.date)),
        ];
        // The reference passes these two as none unless they are given.
        let none = ["tools", "documents"].map(|name| (name.to_owned(), Value::from(())));
        let contract = contract.map(|value| ("contract".to_owned(), value));
        let own = own.map(|(name, value)| (name.to_owned(), value));
        Value::from_pairs(none.into_iter().chain(given).chain(own).chain(contract))
    }

    /// The special token that the template writes right after an assistant's content: what ends an answer.
    #[must_use]
    pub fn turn_end(&self) -> Option<String> {
        let messages = [Message::new(Role::User, PROBE_USER), Message::new(Role::Assistant, PROBE)];
        let prompt = self.probe(&messages).ok()?;
        let at = prompt.runs.iter().rposition(|run| matches!(run, Run::Text { text, .. } if text.contains(PROBE)))?;
        match (&prompt.runs[at], prompt.runs.get(at + 1)) {
            (Run::Text { text, .. }, Some(Run::Control(token))) if text.trim_end().ends_with(PROBE) => {
                Some(token.clone())
            }
            _ => None,
        }
    }

    /// What the template does with a system message, found by rendering one.
    #[must_use]
    pub fn system_role(&self) -> SystemRole {
        let messages = [Message::new(Role::System, PROBE), Message::new(Role::User, PROBE_USER)];
        match self.probe(&messages) {
            Ok(prompt) if prompt.text().contains(PROBE) => SystemRole::Native,
            Ok(_) => SystemRole::Ignored,
            Err(_) => SystemRole::Refused,
        }
    }

    fn probe(&self, messages: &[Message]) -> Result<Prompt, TemplateError> {
        let inputs = Inputs {
            messages,
            add_generation_prompt: false,
            date: Date::PINNED,
            variables: &Map::new(),
            contract: None,
        };
        self.render(&inputs)
    }
}

/// A word that no template writes by itself.
const PROBE: &str = "qxjvprobe";
const PROBE_USER: &str = "qxjvuser";

impl Prompt {
    /// The rendering: all runs joined.
    #[must_use]
    pub fn text(&self) -> String {
        self.runs.iter().map(Run::text).collect()
    }
}

impl Run {
    /// What the run says.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Run::Control(text) | Run::Text { text, .. } => text,
        }
    }
}

/// For templates without a system role: every system message goes before the user message after it, or the last one,
/// parted by a blank line.
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

fn failure(error: &minijinja::Error) -> TemplateError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return TemplateError::Refused { message: message.clone() };
        }
        cause = current.source();
    }
    TemplateError::Failed { reason: describe(error) }
}

/// The error and its causes in one line.
fn describe(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        text.push_str(": ");
        text.push_str(&current.to_string());
        cause = current.source();
    }
    text
}

#[cfg(test)]
mod tests;
