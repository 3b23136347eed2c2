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
//! All words of tools and of their calls (names, descriptions, allowed values, arguments) are persons' words as contents
//! are, and so are those of a contract.
//!
//! Special tokens of nothing but white space (some vocabularies list runs of line feeds) stay text: they forge nothing.

mod author;
mod date;
mod go;
mod jinja;
mod probe;
mod shown;
mod thinking;

pub use date::Date;

use serde_json::{Map, Value as Json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, OnceLock};
use thiserror::Error;

use crate::chat::{Message, Role};
use crate::prompt::{Prompt, Run, SpecialTokens};
use crate::thinking::Tags;
use crate::tools::{Form, Tool, answered_by_user, describe, described, linked, parted, with_short_ids};
use author::{Exchange, JsonExchange, Owner, Twins};
use go::Go;
use jinja::Jinja;
use shown::Shown;

pub use probe::{SystemRole, ToolUse};
pub use thinking::{Thinking, ThinkingError};

/// Bytes of a template's source that are accepted; real ones stay below 20,000.
const MAX_SOURCE: usize = 1 << 20;

/// The most bytes that one rendering may write.
const MAX_OUTPUT: usize = 64 << 20;

/// A model's chat template, parsed once; a copy shares what was parsed.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    language: Language,
    renderer: Arc<dyn Renderer>,
    specials: SpecialTokens,
    /// Specials by first character, the longest first, as llama.cpp looks for them.
    table: author::Specials,
    literals: Vec<String>,
    /// How the model writes a call.
    form: Form,
    /// The tags of thoughts that its source speaks of.
    says: Vec<Tags>,
    /// What the template does with tools and with thoughts, found when it is first asked for.
    tool_use: OnceLock<ToolUse>,
    thinking: OnceLock<Thinking>,
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

/// One language's template, which renders whatever texts it is given.
trait Renderer: Debug + Send + Sync {
    /// Renders the conversation with its contents as they are given here.
    fn render(&self, conversation: &Conversation) -> Result<String, TemplateError>;

    /// Whether the template reads the variable and does not set it itself.
    fn reads(&self, variable: &str) -> bool;

    /// Whether the template's source names the variable or field at all.
    fn names(&self, variable: &str) -> bool;

    /// The conversation after which it can be seen what ends an answer: the second message is the answer.
    fn finished(&self) -> Vec<Message>;
}

/// A conversation as a renderer sees it: its words are the persons' own, or their twins.
struct Conversation<'a> {
    messages: &'a [Message],
    tools: &'a [Json],
    contract: Option<&'a Json>,
    inputs: &'a Inputs<'a>,
    specials: &'a SpecialTokens,
    /// What each twin stands for: what is escaped by the renderer is escaped for that character's sake.
    twins: &'a Originals,
}

/// Twins and what they stand for.
type Originals = Arc<HashMap<char, char>>;

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
    /// What the model may call; a template that knows no tools is not shown them.
    pub tools: &'a [Tool],
    /// What the answer may be, as the variable `contract`; its texts cannot write control tokens.
    pub contract: Option<&'a Json>,
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
        let (renderer, literals): (Arc<dyn Renderer>, _) = match language {
            Language::Jinja => (Arc::new(Jinja::parse(source)?), jinja::literals(source)),
            Language::Go => {
                let go = Go::parse(source)?;
                let literals = go.literals();
                (Arc::new(go), literals)
            }
        };
        let table = author::Specials::new(&specials.control);
        let form = Form::of(source);
        let says = Tags::ALL.into_iter().filter(|tags| source.contains(tags.close)).collect();
        let (tool_use, thinking) = (OnceLock::new(), OnceLock::new());
        Ok(ChatTemplate { language, renderer, specials, table, literals, form, says, tool_use, thinking })
    }

    /// The same template for a model whose vocabulary has these special tokens.
    #[must_use]
    pub fn with_specials(self, specials: SpecialTokens) -> Self {
        let table = author::Specials::new(&specials.control);
        // What it does with tools and thoughts was found with the other tokens.
        let (tool_use, thinking) = (OnceLock::new(), OnceLock::new());
        ChatTemplate { specials, table, tool_use, thinking, ..self }
    }

    #[must_use]
    pub fn language(&self) -> Language {
        self.language
    }

    /// True if the template reads the variable and does not set it itself.
    #[must_use]
    pub fn reads(&self, variable: &str) -> bool {
        self.renderer.reads(variable)
    }

    /// How the model writes a call of a tool.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The conversation for a template that knows no tools: they are described in the system message, and what they answer
    /// is the user's to say. Comes before [`fold_system`].
    #[must_use]
    pub fn with_tools<'m>(&self, messages: &'m [Message], tools: &[Tool]) -> Cow<'m, [Message]> {
        let mut out = Cow::Borrowed(messages);
        if !tools.is_empty() && !self.tool_use().tools {
            out = Cow::Owned(described(&out, &describe(self.form, tools)));
        }
        if messages.iter().any(|message| message.role == Role::Tool) && !self.tool_use().results {
            out = Cow::Owned(answered_by_user(&out));
        }
        out
    }

    /// Puts the beginning of the answer behind a prompt, with the special tokens in it: not a person's words.
    pub fn lead(&self, prompt: &mut Prompt, lead: &str) {
        let push = |runs: &mut Vec<Run>, text: &str| match runs.last_mut() {
            _ if text.is_empty() => {}
            Some(Run::Text { text: last, .. }) => last.push_str(text),
            _ => runs.push(Run::Text { text: text.to_owned(), persons: Vec::new() }),
        };
        let mut at = 0;
        for special in self.table.find(lead) {
            push(&mut prompt.runs, &lead[at..special.start]);
            prompt.runs.push(Run::Control(lead[special.clone()].to_owned()));
            at = special.end;
        }
        push(&mut prompt.runs, &lead[at..]);
    }

    /// Renders a conversation.
    ///
    /// Calls and answers of tools come as templates want them: where one refuses the conversation, it is tried once
    /// more with ids of nine letters (Mistral's), and with one call in each message (Llama's).
    ///
    /// # Errors
    /// What the template raises, and a template that does not end or writes too much.
    pub fn render(&self, inputs: &Inputs) -> Result<Prompt, TemplateError> {
        let messages = linked(inputs.messages);
        let given = self.render_once(&Inputs { messages: &messages, ..*inputs });
        let has_calls = messages.iter().any(|message| message.role == Role::Tool || !message.tool_calls.is_empty());
        if given.is_ok() || !has_calls {
            return given;
        }
        let short = with_short_ids(&messages);
        let changed = [Cow::Owned(parted(&messages)), Cow::Borrowed(&short[..]), Cow::Owned(parted(&short))];
        let rendered = |messages: &Cow<[Message]>| self.render_once(&Inputs { messages, ..*inputs }).ok();
        changed.iter().find_map(rendered).map_or(given, Ok)
    }

    fn render_once(&self, inputs: &Inputs) -> Result<Prompt, TemplateError> {
        let messages = inputs.messages;
        let row = messages.iter().rposition(|message| message.role == Role::User);
        let owner = |number: usize| if Some(number) == row { Owner::Row } else { Owner::Other };
        let shown = self.shown(inputs);
        let plain = self.rendered(inputs, messages, &shown, &Originals::default())?;
        let words = shown.words(messages, owner);
        let twins = Twins::new(&self.table, &self.literals, &plain, &words);
        let originals = twins.originals();
        let traced = |how: Exchange, of_json: JsonExchange| {
            let exchanged = |(number, message)| twins.message(message, owner(number), how, of_json);
            let messages: Vec<Message> = messages.iter().enumerate().map(exchanged).collect();
            self.rendered(inputs, &messages, &shown.map(|json| twins.schema(json, of_json)), &originals)
        };
        let json_attempts: &[JsonExchange] = match words.others.is_empty() {
            true => &[JsonExchange::Texts],
            false => &[JsonExchange::Texts, JsonExchange::Signs],
        };
        for how in twins.attempts() {
            for &of_json in json_attempts {
                if let Ok(text) = traced(how, of_json)
                    && twins.back(&text) == plain
                {
                    let fenced = how.fenced().and_then(|how| traced(how, of_json).ok());
                    return Ok(twins.prompt(&text, (how, of_json), fenced.as_deref()));
                }
            }
        }
        let (how, of_json) = (Exchange::Core, json_attempts[json_attempts.len() - 1]);
        traced(how, of_json).map(|text| twins.prompt(&text, (how, of_json), None))
    }

    /// The rendering as the template gives it, without a trace of who wrote what.
    #[cfg(test)]
    fn plain(&self, inputs: &Inputs) -> Result<String, TemplateError> {
        self.rendered(inputs, inputs.messages, &self.shown(inputs), &Originals::default())
    }

    fn rendered(
        &self,
        inputs: &Inputs,
        messages: &[Message],
        Shown { tools, contract }: &Shown,
        twins: &Originals,
    ) -> Result<String, TemplateError> {
        let messages = &*self.spelled(messages);
        let (contract, specials) = (contract.as_ref(), &self.specials);
        self.renderer.render(&Conversation { messages, tools, contract, inputs, specials, twins })
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
#[cfg(test)]
mod tool_tests;
