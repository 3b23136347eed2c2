//! A chat template, parsed once: it renders conversations, and keeps track of who wrote which character.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::conversation::{with_calls_in_content, with_short_ids, with_single_calls, with_tool_names};
use super::described_tools::{answered_by_user, describe, described};
use super::error::TemplateError;
use super::go::Go;
use super::jinja::{self, Jinja};
use super::language::Language;
use super::probe::{BareTemplate, ToolUse};
use super::renderer::{Conversation, Inputs, Originals, Renderer};
use super::shown::ShownJson;
use super::special_tokens::SpecialTokenTable;
use super::thinking::ThinkingSupport;
use super::twin_policy::{JsonTwinPolicy, TwinPolicy};
use super::twins::Twins;
use super::words::Author;
use crate::chat::{Message, Role};
use crate::prompt::{Prompt, Run, SpecialTokens};
use crate::thinking::Tags;
use crate::tools::{CallFormat, Tool};

/// Bytes of a template's source that are accepted; real ones stay below 20,000.
pub(super) const MAX_SOURCE: usize = 1 << 20;

/// A model's chat template, parsed once; a copy shares what was parsed.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    language: Language,
    renderer: Arc<dyn Renderer>,
    specials: SpecialTokens,
    /// The same tokens, to be found in texts.
    table: SpecialTokenTable,
    literals: Vec<String>,
    /// How the model writes a call.
    call_format: CallFormat,
    /// The tags of thoughts that its source mentions.
    tags: Vec<Tags>,
    /// What the template does with tools and with thoughts, found when it is first needed.
    tool_use: OnceLock<ToolUse>,
    thinking: OnceLock<ThinkingSupport>,
}

impl ChatTemplate {
    /// Parses a template's source.
    ///
    /// # Errors
    /// The source is too long, or not a template.
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
        let table = SpecialTokenTable::new(&specials.control);
        let call_format = CallFormat::of(source);
        let tags = Tags::ALL.into_iter().filter(|tags| source.contains(tags.close)).collect();
        let (tool_use, thinking) = (OnceLock::new(), OnceLock::new());
        Ok(ChatTemplate { language, renderer, specials, table, literals, call_format, tags, tool_use, thinking })
    }

    /// The same template for a model whose vocabulary has these special tokens.
    #[must_use]
    pub fn with_specials(self, specials: SpecialTokens) -> Self {
        let table = SpecialTokenTable::new(&specials.control);
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

    /// How the model writes calls of tools.
    #[must_use]
    pub fn call_format(&self) -> CallFormat {
        self.call_format
    }

    /// What the template does with tools, with calls and with their results; found once, by rendering some.
    #[must_use]
    pub fn tool_use(&self) -> ToolUse {
        *self.tool_use.get_or_init(|| ToolUse::of(self.bare()))
    }

    /// Whether the model thinks, found once, by rendering with each of the variables that templates use.
    #[must_use]
    pub fn thinking(&self) -> ThinkingSupport {
        *self.thinking.get_or_init(|| ThinkingSupport::of(self.bare(), &self.tags))
    }

    /// What a model can do with this template, in the words of Ollama's API. `can_insert` says whether its vocabulary has
    /// tokens to fill in a middle with.
    #[must_use]
    pub fn capabilities(&self, can_insert: bool) -> Vec<&'static str> {
        let reads_suffix = self.language == Language::Go && self.renderer.names("Suffix");
        let has = [
            ("completion", true),
            ("tools", self.tool_use().tools),
            ("insert", can_insert || reads_suffix),
            ("thinking", self.thinking() != ThinkingSupport::Never),
        ];
        has.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
    }

    /// A conversation that shows what ends an answer; see [`Renderer::finished`].
    pub(super) fn finished(&self) -> Vec<Message> {
        self.renderer.finished()
    }

    fn bare(&self) -> BareTemplate<'_> {
        BareTemplate { renderer: &*self.renderer, specials: &self.specials }
    }

    /// The conversation for a template that does not support tools: the system message describes them, and the user says what
    /// they answer. To be called before [`fold_system`](super::fold_system).
    #[must_use]
    pub fn with_tools<'m>(&self, messages: &'m [Message], tools: &[Tool]) -> Cow<'m, [Message]> {
        let mut out = Cow::Borrowed(messages);
        if !tools.is_empty() && !self.tool_use().tools {
            out = Cow::Owned(described(&out, &describe(self.call_format, tools)));
        }
        if messages.iter().any(|message| message.role == Role::Tool) && !self.tool_use().results {
            out = Cow::Owned(answered_by_user(&out));
        }
        out
    }

    /// Puts the beginning of the answer after a prompt, with its special tokens: these are not a person's words.
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
        let messages = with_tool_names(inputs.messages);
        let given = self.render_once(&Inputs { messages: &messages, ..*inputs });
        let has_calls = messages.iter().any(|message| message.role == Role::Tool || !message.tool_calls.is_empty());
        if given.is_ok() || !has_calls {
            return given;
        }
        let short = with_short_ids(&messages);
        let changed = [
            Cow::Owned(with_single_calls(&messages)),
            Cow::Borrowed(&short[..]),
            Cow::Owned(with_single_calls(&short)),
        ];
        let rendered = |messages: &Cow<[Message]>| self.render_once(&Inputs { messages, ..*inputs }).ok();
        changed.iter().find_map(rendered).map_or(given, Ok)
    }

    fn render_once(&self, inputs: &Inputs) -> Result<Prompt, TemplateError> {
        let messages = inputs.messages;
        let row = messages.iter().rposition(|message| message.role == Role::User);
        let author = |number: usize| match row {
            Some(row) if number == row => Author::Row,
            Some(row) if (row.saturating_sub(inputs.n_beside)..row).contains(&number) => Author::Beside,
            _ => Author::Other,
        };
        let shown = self.shown(inputs);
        let plain = self.rendered(inputs, messages, &shown, &Originals::default())?;
        let words = shown.words(messages, author);
        let twins = Twins::new(&self.table, &self.literals, &plain, &words);
        let originals = twins.originals();
        let traced = |how: TwinPolicy, of_json: JsonTwinPolicy| {
            let exchanged = |(number, message)| twins.message(message, author(number), how, of_json);
            let messages: Vec<Message> = messages.iter().enumerate().map(exchanged).collect();
            self.rendered(inputs, &messages, &shown.map(|json| twins.schema(json, of_json)), &originals)
        };
        let json_attempts: &[JsonTwinPolicy] = match words.others.is_empty() {
            true => &[JsonTwinPolicy::Texts],
            false => &[JsonTwinPolicy::Texts, JsonTwinPolicy::Signs],
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
        let (how, of_json) = (TwinPolicy::Core, json_attempts[json_attempts.len() - 1]);
        traced(how, of_json).map(|text| twins.prompt(&text, (how, of_json), None))
    }

    /// The rendering as the template gives it, without a trace of who wrote what.
    #[cfg(test)]
    pub(super) fn plain(&self, inputs: &Inputs) -> Result<String, TemplateError> {
        self.rendered(inputs, inputs.messages, &self.shown(inputs), &Originals::default())
    }

    fn rendered(
        &self,
        inputs: &Inputs,
        messages: &[Message],
        ShownJson { tools, contract }: &ShownJson,
        twins: &Originals,
    ) -> Result<String, TemplateError> {
        let messages = &*self.with_calls_in_contents(messages);
        let (contract, specials) = (contract.as_ref(), &self.specials);
        self.renderer.render(&Conversation { messages, tools, contract, inputs, specials, twins })
    }

    /// What the template gets to see beside the messages.
    fn shown(&self, inputs: &Inputs) -> ShownJson {
        let sees_tools = !inputs.tools.is_empty() && self.tool_use().tools;
        let tools = inputs.tools.iter().filter(|_| sees_tools).map(|tool| tool.json().clone()).collect();
        ShownJson { tools, contract: inputs.contract.filter(|_| self.reads("contract")).cloned() }
    }

    /// The messages with their calls written into the contents, where the template itself would drop them.
    fn with_calls_in_contents<'m>(&self, messages: &'m [Message]) -> Cow<'m, [Message]> {
        if messages.iter().all(|message| message.tool_calls.is_empty()) || self.tool_use().calls {
            return Cow::Borrowed(messages);
        }
        Cow::Owned(messages.iter().map(|message| with_calls_in_content(message, self.call_format)).collect())
    }
}
