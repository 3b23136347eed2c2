//! A conversation to the prompt that its answer follows: instructions, examples, the contract in words, and where the row
//! begins.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::ask::{Before, Chat, Given};
use super::examples::Examples;
use super::{InferError, Session};
use crate::decide::{self, Place, WORDING, Wording};
use slm_engine::Group;
use slm_values::chat::{Message, Role};
use slm_values::contract::Form;
use slm_values::digest::Hasher;
use slm_values::examples::LabelledText;
use slm_values::prompt::{Prompt, Run};
use slm_values::template::{Date, Inputs, SystemRole, ThinkingSupport, fold_system};

impl Session {
    /// Whether thoughts can come before an answer of this form.
    #[must_use]
    pub fn can_think(&self, form: &Form) -> bool {
        matches!(form, Form::Free) && self.template.thinking() != ThinkingSupport::Never
    }

    /// The prompt before an answer of this form.
    pub(super) fn prompt(&self, before: &Before, form: &Form, wording: Wording) -> Result<Prompt, InferError> {
        let run = |run| Prompt { runs: vec![run], ..Prompt::default() };
        match before {
            Before::Chat(chat) => self.render(chat, form, wording),
            Before::Prompt(Given::Raw(text)) => Ok(run(Run::Raw(text.clone()))),
            Before::Prompt(Given::Tokens(tokens)) => Ok(run(Run::Tokens(tokens.clone()))),
            Before::Prompt(Given::Infill { before, behind }) => {
                let infill = self.engine.info().infill.as_ref().ok_or(InferError::NoInfill)?;
                Ok(infill.prompt(before, behind))
            }
        }
    }

    /// How a contract is put to this model.
    pub(super) fn wording(&self, asked: Wording) -> Wording {
        let is_undescribed = self.completion.is_some() || self.template.reads("contract");
        if is_undescribed { Wording::UNDESCRIBED } else { asked }
    }

    /// What comes between the prompt of a conversation and an answer with a format: a base model continues the line `Answer:`
    /// with a space.
    pub(super) fn lead(&self) -> &'static str {
        if self.completion.is_some() { " " } else { "" }
    }

    /// The prompt of a whole conversation.
    fn render(&self, chat: &Chat, form: &Form, wording: Wording) -> Result<Prompt, InferError> {
        let is_formatted = !matches!(form, Form::Free);
        let (turns, begun) = chat.turns();
        let TurnMessages { messages, n_beside, folded } = self.messages(chat, form, turns, wording);
        let template = self.completion.as_ref().filter(|_| is_formatted).unwrap_or(&self.template);
        let mut prompt = template.render(&Inputs {
            messages: &messages,
            n_beside,
            add_generation_prompt: true,
            // Scored prompts must be the same tomorrow.
            date: chat.today.filter(|_| !matches!(form, Form::Closed(_))).unwrap_or(Date::PINNED),
            variables: &self.variables(is_formatted, chat.think)?,
            tools: chat.callable(),
            contract: form.schema(),
        })?;
        skip_in_row(&mut prompt, &folded);
        if is_formatted && thinks(&prompt) {
            return Err(InferError::Thinking);
        }
        if let Some(begun) = begun {
            go_on(&mut prompt, begun);
        }
        chat.memory.lead(&mut prompt);
        Ok(prompt)
    }

    /// The messages of a conversation as the template gets them.
    pub(super) fn messages_of(&self, chat: &Chat, form: &Form, wording: Wording) -> Vec<Message> {
        self.messages(chat, form, chat.turns().0, wording).messages
    }

    /// The messages of one request as the template gets them.
    fn messages(&self, chat: &Chat, form: &Form, conversation: &[Message], wording: Wording) -> TurnMessages {
        let (given, turns) = match conversation.split_first() {
            Some((first, rest)) if first.role == Role::System => (Some(&first.content), rest),
            _ => (None, conversation),
        };
        let defaults = Some(&self.defaults).filter(|_| !chat.memory.goes_on());
        let own = defaults.and_then(|defaults| defaults.system.as_ref());
        let system = given.or(own).filter(|system| !system.is_empty());
        let described = match form {
            // A template that reads `contract` describes it itself, or speaks for a model that has learned it.
            Form::Open(_) if self.template.reads("contract") => None,
            Form::Closed(contract) => wording.describe(contract),
            Form::Open(open) => decide::describe_open(open),
            Form::Free => None,
        };
        let (described, in_text) = match wording.place {
            Place::Before | Place::After if matches!(form, Form::Closed(_)) => (None, described),
            _ => (described, None),
        };
        let system = match (system, described) {
            (Some(system), Some(described)) => Some(format!("{system}\n\n{described}")),
            (Some(system), None) => Some(system.clone()),
            (None, described) => described,
        };
        let mut messages: Vec<Message> = system.map(|system| Message::new(Role::System, system)).into_iter().collect();
        let example = |message: &Message| match (form, message.role) {
            (Form::Closed(contract), Role::Assistant) => {
                Message { content: wording.example(contract, &message.content), ..message.clone() }
            }
            _ => message.clone(),
        };
        messages.extend(defaults.iter().flat_map(|defaults| defaults.messages.iter().map(example)));
        let examples = self.examples(chat, form);
        let n_beside = if examples.is_empty() { 0 } else { examples.len() + before_last_text(turns).len() };
        messages.extend(examples.iter().map(example));
        messages.extend_from_slice(turns);
        if let (Some(described), Some(last)) = (in_text, messages.last_mut()) {
            let text = &last.content;
            last.content = match wording.place {
                Place::After => format!("{text}\n\n{described}"),
                _ => format!("{described}\n\n{text}"),
            };
        }
        if !self.has_template() || self.system_role == SystemRole::Native {
            return TurnMessages { messages, n_beside, folded: String::new() };
        }
        let messages = fold_system(&messages);
        let last =
            |messages: &[Message]| messages.iter().rev().find(|m| m.role == Role::User).map(|m| m.content.clone());
        let (whole, own) = match examples.first() {
            Some(first) => {
                let at = before_last_text(&messages).len().saturating_sub(n_beside);
                (messages.get(at).map(|message| message.content.clone()), Some(first.content.clone()))
            }
            None => (last(&messages), last(turns)),
        };
        let (whole, own) = (whole.unwrap_or_default(), own.unwrap_or_default());
        let folded = whole.strip_suffix(&own).unwrap_or_default().to_owned();
        TurnMessages { messages, n_beside, folded }
    }

    /// Turns with the texts nearest to the user's last words and their answers, the nearest last. None where one of these is no
    /// answer of this form: the model's examples are for its own.
    fn examples(&self, chat: &Chat, form: &Form) -> Vec<Message> {
        let examples = self.defaults.examples.as_ref().filter(|_| !chat.memory.goes_on());
        let rows = examples.map(|examples| examples.of(chat.last_text(), chat.vector.as_deref())).unwrap_or_default();
        if rows.iter().any(|row| form.check_example(&row.answer()).is_err()) {
            return Vec::new();
        }
        let turns = |row: &LabelledText| {
            [Message::new(Role::User, row.text.as_str()), Message::new(Role::Assistant, row.answer())]
        };
        rows.into_iter().flat_map(turns).collect()
    }

    /// Says which examples a conversation's prompts are made of; `None` where there are none.
    pub(super) fn examples_id(&self, chat: &Chat) -> Option<&str> {
        self.defaults.examples.as_ref().filter(|_| !chat.memory.goes_on()).map(Examples::id)
    }

    /// The template's variables: answers of a given form begin right after the header.
    fn variables(&self, is_formatted: bool, think: Option<bool>) -> Result<Map<String, Value>, InferError> {
        if !is_formatted {
            return Ok(self.template.thinking().variables(think)?);
        }
        if think == Some(true) {
            return Err(InferError::ThinkingAndForm);
        }
        Ok(without_thoughts())
    }
}

/// What a template gets of a request.
struct TurnMessages {
    messages: Vec<Message>,
    /// How many of them, right before the last of the user's, vary with it.
    n_beside: usize,
    /// What was put before the first that varies, where instructions had to go there.
    folded: String,
}

/// The messages before the last of the user's.
fn before_last_text(messages: &[Message]) -> &[Message] {
    &messages[..messages.iter().rposition(|message| message.role == Role::User).unwrap_or(messages.len())]
}

/// Variables by which a model that thinks first is told not to.
pub(super) fn without_thoughts() -> Map<String, Value> {
    ["enable_thinking", "thinking"].map(|name| (name.to_owned(), Value::Bool(false))).into_iter().collect()
}

/// Whether the prompt ends inside a thought that the template opened.
pub(super) fn thinks(prompt: &Prompt) -> bool {
    let text = prompt.text();
    let end = text.trim_end();
    end.ends_with("<think>") || end.ends_with("<thinking>")
}

/// Moves the row's beginning after what was folded into its message: instructions are stable, the row is not.
pub(super) fn skip_in_row(prompt: &mut Prompt, folded: &str) {
    let Some(place) = &mut prompt.row_start else { return };
    if let Some(Run::Text { text, .. }) = prompt.runs.get(place.run)
        && text.get(place.offset..).is_some_and(|row| row.starts_with(folded))
    {
        place.offset += folded.len();
    }
}

/// Writes an answer's beginning after its header, as the words of whoever gave it.
fn go_on(prompt: &mut Prompt, begun: &str) {
    if begun.is_empty() {
        return;
    }
    if let Some(Run::Text { text, persons }) = prompt.runs.last_mut() {
        persons.push(text.len()..text.len() + begun.len());
        *text += begun;
        return;
    }
    prompt.runs.push(Run::Text { text: begun.to_owned(), persons: std::iter::once(0..begun.len()).collect() });
}

/// Puts the beginning of an answer after its prompt as the model would have written it, with its special tokens.
pub(super) fn lead(prompt: &mut Prompt, lead: &str, specials: &[String]) {
    let mut rest = lead;
    while !rest.is_empty() {
        let found = specials.iter().filter(|special| !special.trim().is_empty());
        let found = found.filter_map(|special| rest.find(special.as_str()).map(|at| (at, special)));
        let next = found.min_by_key(|(at, special)| (*at, std::cmp::Reverse(special.len())));
        let (text, behind) = match next {
            Some((at, special)) => (&rest[..at], Some(special)),
            None => (rest, None),
        };
        if !text.is_empty() {
            prompt.runs.push(Run::Text { text: text.to_owned(), persons: Vec::new() });
        }
        rest = &rest[text.len() + behind.map_or(0, String::len)..];
        prompt.runs.extend(behind.cloned().map(Run::Control));
    }
}

/// A digest of everything but the row: template, system, messages, contract, its wording, what is scored, and the examples of which
/// each row has its own.
pub(super) fn digest(prompt: &Prompt, groups: &[Group], examples_id: Option<&str>) -> String {
    let mut hash = Hasher::new();
    hash.update(&WORDING.to_le_bytes());
    if let Some(id) = examples_id {
        hash.update(b"examples");
        hash.update(id.as_bytes());
    }
    for group in groups {
        let spellings = group.spellings.iter().flat_map(|spelling| [&spelling.before, &spelling.after]);
        let texts = spellings.chain(&group.candidates);
        for text in texts {
            hash.update(&text.len().to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(format!("{:?}", group.ending).as_bytes());
    }
    let end = prompt.row_start.map_or((prompt.runs.len(), 0), |place| (place.run, place.offset));
    for (number, run) in prompt.runs.iter().enumerate().take(end.0 + 1) {
        let (kind, bytes): (u8, Cow<'_, [u8]>) = match run {
            Run::Control(text) => (0, text.as_bytes().into()),
            Run::Text { text, .. } if number == end.0 => (1, text.get(..end.1).unwrap_or(text).as_bytes().into()),
            Run::Text { text, .. } => (1, text.as_bytes().into()),
            Run::Raw(text) => (2, text.as_bytes().into()),
            Run::Tokens(ids) => (3, ids.iter().flat_map(|id| id.to_le_bytes()).collect()),
        };
        hash.update(&[kind]);
        hash.update(&bytes.len().to_le_bytes());
        hash.update(&bytes);
    }
    hash.finish().id()
}
