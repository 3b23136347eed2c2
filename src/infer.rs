//! The one path from a text to a reply: messages, prompt, engine, contract.
//!
//! A [`Session`] is a loaded model with its Modelfile's settings; a [`Task`] is what somebody wants of it. It knows
//! neither files nor terminals.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::chat::{Message, Role};
use crate::contract::Contract;
use crate::decide::{self, Answer, WORDING};
use crate::digest::Hasher;
use crate::engine::{
    self, Counts, Cut, Engine, EngineError, Event, GenerateRequest, Generation, Request, ScoreRequest, Timings,
    Tokenized,
};
use crate::sampling::{AnswerShape, Parameters, Sampling};
use crate::template::{ChatTemplate, Date, Inputs, Prompt, Run, SystemRole, TemplateError, fold_system};

/// The template of a model that has none: the texts as they are.
const NO_TEMPLATE: &str =
    "{% for message in messages %}{{ message['content'] }}{% if not loop.last %}\n\n{% endif %}{% endfor %}";

/// What a model's Modelfile says about every request.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub system: Option<String>,
    /// Examples that come before the user's message.
    pub messages: Vec<Message>,
    pub parameters: Parameters,
    /// A chat template in Jinja that takes the place of the model's own.
    pub template: Option<String>,
}

/// What is asked of a model, the same for every text.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// Takes the place of the Modelfile's.
    pub system: Option<String>,
    /// What the caller said; the Modelfile and the defaults fill the rest.
    pub parameters: Parameters,
    /// Tokens of the text that are kept; `None` keeps all, and an error says what does not fit.
    pub truncate: Option<usize>,
    /// Today, for templates that print the date in open generations.
    pub today: Option<Date>,
}

/// A loaded model, ready to answer.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    template: ChatTemplate,
    has_template: bool,
    turn_end: Option<String>,
    system_role: SystemRole,
    defaults: Defaults,
}

/// The answer to a closed task, with what it took.
#[derive(Debug, Clone)]
pub struct Decided {
    pub answer: Answer,
    pub counts: Counts,
    pub timings: Timings,
    /// From the text to the answer.
    pub elapsed: Duration,
    pub n_tokens_cut: usize,
    /// Identifies the prompt without the text: template, system, examples, contract and the wording of all of it.
    pub prompt_digest: String,
}

/// A finished generation, with what it took.
#[derive(Debug, Clone)]
pub struct Generated {
    pub generation: Generation,
    pub elapsed: Duration,
    pub n_tokens_cut: usize,
}

/// A rendered prompt and how much of the text was cut for it.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub prompt: Prompt,
    pub n_tokens_cut: usize,
}

/// Why a text got no reply.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    #[error("the model's chat template cannot be used: {0}")]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "this model thinks before it answers and its template cannot turn that off, so its answers cannot be scored"
    )]
    Thinking,
}

impl Session {
    /// Starts an engine and parses its chat template.
    ///
    /// # Errors
    /// The engine refuses the model, or the template is no Jinja.
    pub fn open(options: engine::Options, defaults: Defaults) -> Result<Self, InferError> {
        let engine = Engine::load(options)?;
        let info = engine.info();
        let own = defaults.template.as_ref().or(info.chat_template.as_ref());
        let has_template = own.is_some();
        let template = ChatTemplate::parse(own.map_or(NO_TEMPLATE, String::as_str), info.specials.clone())?;
        let turn_end = template.turn_end();
        let system_role = template.system_role();
        Ok(Session { engine, template, has_template, turn_end, system_role, defaults })
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether the model brought a chat template; without one, texts reach it as they are.
    #[must_use]
    pub fn has_template(&self) -> bool {
        self.has_template
    }

    /// Scores the task's contract for one text.
    ///
    /// # Errors
    /// See [`InferError`]; a text that does not fit is [`EngineError::Context`].
    pub fn decide(&self, task: &Task, contract: &Contract, text: &str) -> Result<Decided, InferError> {
        let started = Instant::now();
        let Prepared { prompt, n_tokens_cut } = self.prepare(task, Some(contract), text)?;
        let prompt_digest = digest(&prompt);
        let request = ScoreRequest { prompt, groups: decide::groups(contract), turn_end: self.turn_end.clone() };
        let scores = self.engine.score(request)?;
        let answer = decide::answer(contract, &scores.groups);
        let (counts, timings) = (scores.counts, scores.timings);
        Ok(Decided { answer, counts, timings, elapsed: started.elapsed(), n_tokens_cut, prompt_digest })
    }

    /// Generates open text; `on_text` gets it in pieces and ends the generation by answering `Break`.
    ///
    /// # Errors
    /// As [`Session::decide`].
    pub fn generate(
        &self,
        task: &Task,
        text: &str,
        mut on_text: impl FnMut(&str) -> std::ops::ControlFlow<()>,
    ) -> Result<Option<Generated>, InferError> {
        let started = Instant::now();
        let Prepared { prompt, n_tokens_cut } = self.prepare(task, None, text)?;
        let request = GenerateRequest { prompt, sampling: self.sampling(task), grammar: None };
        let mut events = self.engine.send(Request::Generate(request));
        loop {
            match events.blocking_recv() {
                Some(Event::Text(text)) if on_text(&text).is_continue() => {}
                Some(Event::Text(_)) => return Ok(None),
                Some(Event::Generated(generation)) => {
                    return Ok(Some(Generated { generation, elapsed: started.elapsed(), n_tokens_cut }));
                }
                Some(Event::Failed(error)) => return Err(error.into()),
                Some(_) | None => return Err(EngineError::Stopped.into()),
            }
        }
    }

    /// The task's prompt for one text, as [`Session::decide`] and [`Session::generate`] send it.
    ///
    /// # Errors
    /// The template refuses the messages.
    pub fn prepare(&self, task: &Task, contract: Option<&Contract>, text: &str) -> Result<Prepared, InferError> {
        let (text, n_tokens_cut) = match task.truncate {
            Some(n_tokens) => {
                let Cut { n_bytes, n_tokens_cut, .. } = self.engine.cut(text, n_tokens)?;
                (&text[..n_bytes], n_tokens_cut)
            }
            None => (text, 0),
        };
        let (messages, row_start) = self.messages(task, contract, text);
        let mut prompt = self.template.render(&Inputs {
            messages: &messages,
            add_generation_prompt: true,
            date: task.today.filter(|_| contract.is_none()).unwrap_or(Date::PINNED),
            variables: &variables(contract),
            contract: contract.map(Contract::schema),
        })?;
        skip_in_row(&mut prompt, &messages, row_start);
        if contract.is_some() && thinks(&prompt) {
            return Err(InferError::Thinking);
        }
        Ok(Prepared { prompt, n_tokens_cut })
    }

    /// A prompt's tokens.
    ///
    /// # Errors
    /// As the engine.
    pub fn tokenize(&self, prompt: Prompt) -> Result<Tokenized, InferError> {
        Ok(self.engine.tokenize(prompt)?)
    }

    /// The messages of one request and the byte of the last one at which the text begins.
    fn messages(&self, task: &Task, contract: Option<&Contract>, text: &str) -> (Vec<Message>, usize) {
        let system = task.system.as_ref().or(self.defaults.system.as_ref()).filter(|system| !system.is_empty());
        // A template that reads `contract` describes it itself, or speaks for a model that has learned it.
        let described = contract.filter(|_| !self.template.reads("contract")).map(decide::describe);
        let system = match (system, described) {
            (Some(system), Some(described)) => Some(format!("{system}\n\n{described}")),
            (Some(system), None) => Some(system.clone()),
            (None, described) => described,
        };
        let mut messages: Vec<Message> = system.map(|system| Message::new(Role::System, system)).into_iter().collect();
        messages.extend(self.defaults.messages.iter().cloned());
        messages.push(Message::new(Role::User, text));
        if self.has_template && self.system_role != SystemRole::Native {
            messages = fold_system(&messages);
        }
        let row_start = messages.last().map_or(0, |last| last.content.len() - text.len());
        (messages, row_start)
    }

    fn sampling(&self, task: &Task) -> Sampling {
        task.parameters.clone().over(self.defaults.parameters.clone()).resolve(AnswerShape::Open)
    }
}

/// Whether the prompt ends inside a thought that the template opened.
fn thinks(prompt: &Prompt) -> bool {
    let text = prompt.text();
    let end = text.trim_end();
    end.ends_with("<think>") || end.ends_with("<thinking>")
}

/// Closed answers are scored right behind the header: a model that thinks first is told not to.
fn variables(contract: Option<&Contract>) -> Map<String, Value> {
    let off = ["enable_thinking", "thinking"].map(|name| (name.to_owned(), Value::Bool(false)));
    if contract.is_some() { off.into_iter().collect() } else { Map::new() }
}

/// Moves the row's beginning behind what was folded into its message: instructions are stable, the row is not.
fn skip_in_row(prompt: &mut Prompt, messages: &[Message], n_bytes: usize) {
    let Some(place) = &mut prompt.row_start else { return };
    let folded = messages.last().and_then(|message| message.content.get(..n_bytes)).unwrap_or("");
    if let Some(Run::Text { text, .. }) = prompt.runs.get(place.run)
        && text.get(place.offset..).is_some_and(|row| row.starts_with(folded))
    {
        place.offset += n_bytes;
    }
}

/// A digest of everything before the row: template, system, examples, contract and its wording.
fn digest(prompt: &Prompt) -> String {
    let mut hash = Hasher::new();
    hash.update(&WORDING.to_le_bytes());
    let end = prompt.row_start.map_or((prompt.runs.len(), 0), |place| (place.run, place.offset));
    for (number, run) in prompt.runs.iter().enumerate().take(end.0 + 1) {
        let (kind, text) = match run {
            Run::Control(text) => (0u8, text.as_str()),
            Run::Text { text, .. } if number == end.0 => (1, text.get(..end.1).unwrap_or(text)),
            Run::Text { text, .. } => (1, text.as_str()),
        };
        hash.update(&[kind]);
        hash.update(&text.len().to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finish().id()
}
