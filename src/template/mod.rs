//! A conversation becomes a prompt by the model's chat template, in Jinja or in Go's language; it knows special tokens as
//! texts, no numbers.
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
mod go;
mod jinja;

pub use date::Date;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::fmt::Debug;
use std::ops::Range;
use thiserror::Error;

use crate::chat::{Message, Role};
use author::{ContractExchange, Exchange, Owner, Twins};
use go::Go;
use jinja::Jinja;

/// Bytes of a template's source that are accepted; real ones stay below 20,000.
const MAX_SOURCE: usize = 1 << 20;

/// The most bytes that one rendering may write.
const MAX_OUTPUT: usize = 64 << 20;

/// A model's chat template, parsed once.
#[derive(Debug)]
pub struct ChatTemplate {
    renderer: Box<dyn Renderer>,
    specials: SpecialTokens,
    /// Specials by first character, the longest first, as llama.cpp looks for them.
    table: author::Specials,
    literals: Vec<String>,
}

/// What a chat template is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The `tokenizer.chat_template` of a GGUF, as the transformers library renders it.
    Jinja,
    /// Go's text/template, as Ollama renders it.
    Go,
}

impl Language {
    /// The language of a Modelfile's TEMPLATE: Go's has no `{%`.
    #[must_use]
    pub fn of(template: &str) -> Language {
        if template.contains("{%") { Language::Jinja } else { Language::Go }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Jinja => "Jinja",
            Language::Go => "Go",
        }
    }
}

/// A template that is not parsed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSource {
    pub language: Language,
    pub text: String,
}

/// One language's template, which renders whatever texts it is given.
trait Renderer: Debug + Send + Sync {
    /// Renders the conversation with its contents as they are given here.
    fn render(&self, conversation: &Conversation) -> Result<String, TemplateError>;

    /// Whether the template reads the variable and does not set it itself.
    fn reads(&self, variable: &str) -> bool;

    /// The conversation after which it can be seen what ends an answer: the second message is the answer.
    fn finished(&self) -> Vec<Message>;
}

/// A conversation as a renderer sees it.
struct Conversation<'a> {
    messages: &'a [(Role, String)],
    inputs: &'a Inputs<'a>,
    contract: Option<&'a Json>,
    specials: &'a SpecialTokens,
}

/// The texts of a vocabulary's special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    pub runs: Vec<Run>,
    /// Where the last user message's content begins: where the part that may change from row to row starts.
    pub row_start: Option<Place>,
    /// The last user message's content, as far as the template wrote it; the last occurrence where there are several.
    pub row: Option<RowSpan>,
}

/// A byte of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Index in [`Prompt::runs`].
    pub run: usize,
    /// Byte in that run's text, at a character's border.
    pub offset: usize,
}

/// A part of one text run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSpan {
    /// Index in [`Prompt::runs`]; always a [`Run::Text`].
    pub run: usize,
    /// Bytes of that run's text.
    pub range: Range<usize>,
}

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    #[error("it is no template in {language}: {reason}")]
    Syntax { language: &'static str, reason: String },
    /// The source is too long to be a template.
    #[error("it has {bytes} bytes, more than the {limit} that are accepted")]
    TooLong { bytes: usize, limit: usize },
    /// The template refused this conversation (`raise_exception`).
    #[error("it refuses this conversation: {message}")]
    Refused { message: String },
    /// The template ran into an error or a limit.
    #[error("it failed: {reason}")]
    Failed { reason: String },
}

impl ChatTemplate {
    /// Parses a template's source.
    ///
    /// # Errors
    /// A source that is too long or that is no template.
    pub fn parse(language: Language, source: &str, specials: SpecialTokens) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE {
            return Err(TemplateError::TooLong { bytes: source.len(), limit: MAX_SOURCE });
        }
        let (renderer, literals): (Box<dyn Renderer>, _) = match language {
            Language::Jinja => (Box::new(Jinja::parse(source)?), jinja::literals(source)),
            Language::Go => {
                let go = Go::parse(source)?;
                let literals = go.literals();
                (Box::new(go), literals)
            }
        };
        let table = author::Specials::new(&specials.control);
        Ok(ChatTemplate { renderer, specials, table, literals })
    }

    /// True if the template reads the variable and does not set it itself.
    #[must_use]
    pub fn reads(&self, variable: &str) -> bool {
        self.renderer.reads(variable)
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
        let plain = self.plain(inputs)?;
        let twins = Twins::new(&self.table, &self.literals, &plain, &contents, contract);
        let traced = |how: Exchange, of_contract: ContractExchange| {
            let exchanged = |(message, &(content, owner)): (&Message, &(&str, Owner))| {
                (message.role, twins.content(content, owner, message.role, how))
            };
            let messages: Vec<(Role, String)> = inputs.messages.iter().zip(&contents).map(exchanged).collect();
            let contract = contract.map(|json| twins.contract(json, of_contract));
            self.rendered(inputs, &messages, contract.as_ref())
        };
        let contract_attempts: &[ContractExchange] = match contract {
            Some(_) => &[ContractExchange::Texts, ContractExchange::Signs],
            None => &[ContractExchange::Texts],
        };
        for how in twins.attempts() {
            for &of_contract in contract_attempts {
                if let Ok(text) = traced(how, of_contract)
                    && twins.back(&text) == plain
                {
                    let fenced = how.fenced().and_then(|how| traced(how, of_contract).ok());
                    return Ok(twins.prompt(&text, (how, of_contract), fenced.as_deref()));
                }
            }
        }
        let (how, of_contract) = (Exchange::Core, contract_attempts[contract_attempts.len() - 1]);
        traced(how, of_contract).map(|text| twins.prompt(&text, (how, of_contract), None))
    }

    /// The rendering as the template gives it, without a trace of who wrote what.
    fn plain(&self, inputs: &Inputs) -> Result<String, TemplateError> {
        let messages: Vec<(Role, String)> =
            inputs.messages.iter().map(|message| (message.role, message.content.clone())).collect();
        self.rendered(inputs, &messages, inputs.contract.filter(|_| self.reads("contract")))
    }

    fn rendered(
        &self,
        inputs: &Inputs,
        messages: &[(Role, String)],
        contract: Option<&Json>,
    ) -> Result<String, TemplateError> {
        self.renderer.render(&Conversation { messages, inputs, contract, specials: &self.specials })
    }

    /// The special token that the template writes right after an assistant's content: what ends an answer.
    #[must_use]
    pub fn turn_end(&self) -> Option<String> {
        let runs = self.probe(&self.renderer.finished()).ok()?.runs;
        let holds = |run: &Run, word: &str| matches!(run, Run::Text { text, .. } if text.contains(word));
        let at = runs.iter().rposition(|run| holds(run, PROBE))?;
        match (&runs[at], runs.get(at + 1)) {
            (Run::Text { text, .. }, Some(end @ Run::Control(token))) if text.trim_end().ends_with(PROBE) => {
                let asked = runs.iter().position(|run| holds(run, PROBE_USER))?;
                // With a question behind the answer: what opened the first one opens this one and ends nothing, unless
                // it also stands right behind the first question.
                let next = runs[at + 1..].iter().position(|run| holds(run, PROBE_USER)).unwrap_or(0);
                let opens = next > 0 && runs[..asked].ends_with(&runs[at + 1..at + 1 + next]);
                let ends_questions = runs[asked + 1..].iter().find(|run| matches!(run, Run::Control(_))) == Some(end);
                (ends_questions || !opens).then(|| token.clone())
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

#[cfg(test)]
mod tests;
