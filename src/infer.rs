//! The one path from a text to a reply: messages, prompt, engine, contract.
//!
//! A [`Session`] is a loaded model with its Modelfile's settings; a [`Task`] is what somebody wants of it. It knows
//! neither files nor terminals.

mod chat;
mod closed;
mod context;
mod limited;
mod question;
mod reading;
mod vectors;

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::chat::{Message, Role};
use crate::contract::{Contract, Open, Violation};
use crate::decide::{self, Answer, WORDING};
use crate::digest::Hasher;
use crate::engine::{
    self, AdapterSet, Counts, Cut, Detail, Drafts, EmbedRequest, EmbeddingKind, Embeddings, Engine, EngineError, Event,
    Finish, GenerateRequest, Generation, Grammar, Lane, Load, ProbeRequest, Request, ScoreRequest, Scores, Timings,
    Token, Tokenized,
};
use crate::extract;
use crate::limits::Limits;
use crate::prompt::{Prompt, Run};
use crate::sampling::{AnswerShape, Parameters, Sampling};
use crate::template::{
    ChatTemplate, Date, Inputs, Language, SystemRole, TemplateError, TemplateSource, ThinkingError, fold_system,
};
use crate::tools::ToolError;

pub use chat::{Chat, End, Given, Piece, Reply};
pub use context::Memory;
pub use limited::{Limited, Retry};
pub use question::{Answered, Asked};
pub use vectors::{TooLong, Vectors};

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
    /// A chat template that takes the place of the model's own.
    pub template: Option<TemplateSource>,
    pub adapters: AdapterSet,
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
    /// Where closed answers are evaluated.
    pub lane: Lane,
    /// What open text must keep.
    pub limits: Limits,
    /// What becomes of open text that does not.
    pub retry: Retry,
    pub drafts: Drafts,
    /// What generated text must meet; closed contracts go to [`Session::decide`].
    pub open: Option<Open>,
    /// What is told of generated text; [`Session::extract`] needs its tokens.
    pub detail: Detail,
    /// Today, for templates that print the date in open generations.
    pub today: Option<Date>,
    /// Takes the place of the Modelfile's adapters.
    pub adapters: Option<AdapterSet>,
    /// Added to the logits of these tokens.
    pub bias: Vec<(Token, f32)>,
    /// How a conversation is kept between this and the next request.
    pub memory: Memory,
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
    /// Under which equal questions have equal probabilities: the model's own, with the adapters of this answer.
    pub evaluation_id: String,
}

/// A finished generation, with what it took.
#[derive(Debug, Clone)]
pub struct Generated {
    pub generation: Generation,
    pub elapsed: Duration,
    pub n_tokens_cut: usize,
    /// The answer as the task's open contract reads it, or how it breaks it; nothing where there is no contract.
    pub answer: Option<Result<Value, Violation>>,
}

impl Generated {
    /// The answer as its contract reads it: JSON parsed, other text as it is.
    #[must_use]
    pub fn value(&self, text: &str) -> Value {
        self.answer.as_ref().and_then(|answer| answer.clone().ok()).unwrap_or_else(|| text.into())
    }

    /// How the answer breaks the task's contract, where it does.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.answer.as_ref()?.as_ref().err()
    }
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
    #[error("the model's chat template cannot be used: {0}; a Modelfile's TEMPLATE gives the model another")]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "this model thinks before it answers and its template cannot turn that off, so its answers can be neither scored nor \
         held to a format"
    )]
    Thinking,
    #[error(transparent)]
    Think(#[from] ThinkingError),
    #[error("`think` and a format cannot be asked for together: an answer in a format begins at once")]
    ThinkingAndForm,
    #[error("this model's vocabulary has no tokens around a gap, so it cannot fill one; leave `suffix` away")]
    NoInfill,
    #[error("`tools` and a format cannot be asked for together: give one of them")]
    ToolsAndForm,
    #[error(transparent)]
    Tools(#[from] ToolError),
}

impl Session {
    /// Starts an engine and parses its chat template.
    ///
    /// # Errors
    /// The engine refuses the model, or the template is none.
    pub fn open(options: engine::Options, defaults: Defaults) -> Result<Self, InferError> {
        let load = options.load;
        let engine = Engine::load(options)?;
        if load == Load::Everything { Session::with(engine, defaults) } else { Session::over(engine, defaults) }
    }

    /// As [`Session::over`], with its adapters loaded, so that a wrong one is found at once.
    ///
    /// # Errors
    /// The template or an adapter is none.
    pub fn with(engine: Engine, defaults: Defaults) -> Result<Self, InferError> {
        engine.prepare(&defaults.adapters)?;
        Session::over(engine, defaults)
    }

    /// Speaks to an engine that others may speak to as well: models of one base differ in their settings only.
    ///
    /// # Errors
    /// The template is none.
    pub fn over(engine: Engine, defaults: Defaults) -> Result<Self, InferError> {
        let info = engine.info();
        let (language, source) = match (&defaults.template, &info.chat_template) {
            (Some(given), _) => (given.language, given.text.as_str()),
            (None, Some(own)) => (Language::Jinja, own.as_str()),
            (None, None) => (Language::Jinja, NO_TEMPLATE),
        };
        let has_template = defaults.template.is_some() || info.chat_template.is_some();
        let template = ChatTemplate::parse(language, source, info.specials.clone())?;
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
        self.start_deciding(task, contract, text)?.finish(&Cancel::default())
    }

    /// Sends the question of [`Session::decide`] and returns at once; dropping what it gives cancels it.
    ///
    /// # Errors
    /// The prompt cannot be made.
    pub fn start_deciding<'c>(
        &self,
        task: &Task,
        contract: &'c Contract,
        text: &str,
    ) -> Result<Deciding<'c>, InferError> {
        let started = Instant::now();
        let Prepared { prompt, n_tokens_cut } = self.prepare(task, Some(contract), text)?;
        let prompt_digest = digest(&prompt);
        let (adapters, evaluation_id) = (self.adapters(task).clone(), self.evaluation_id(task));
        let (groups, turn_end) = (decide::groups(contract), self.turn_end.clone());
        let request = ScoreRequest { prompt, groups, adapters, turn_end, lane: task.lane };
        let events = self.engine.send(Request::Score(request));
        Ok(Deciding { contract, events, started, n_tokens_cut, prompt_digest, evaluation_id })
    }

    /// Generates open text; `on_text` gets it in pieces and ends the generation by answering `Break`.
    ///
    /// # Errors
    /// As [`Session::decide`].
    pub fn generate(
        &self,
        task: &Task,
        text: &str,
        on_text: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Option<Generated>, InferError> {
        self.start_generating(task, text)?.finish(&Cancel::default(), on_text)
    }

    /// Sends the request of [`Session::generate`] and returns at once; dropping what it gives cancels it.
    ///
    /// # Errors
    /// The prompt cannot be made.
    pub fn start_generating(&self, task: &Task, text: &str) -> Result<Generating, InferError> {
        self.start_following(task, text, &[])
    }

    /// As [`Session::start_generating`], with more turns of the chat behind the text, the user's last.
    fn start_following(&self, task: &Task, text: &str, turns: &[Message]) -> Result<Generating, InferError> {
        let started = Instant::now();
        let Prepared { prompt, n_tokens_cut } = self.prepare_following(task, None, text, turns)?;
        let grammar = task.open.as_ref().map(|open| Grammar(open.shared_grammar()));
        let (sampling, adapters) = (self.sampling(task), self.adapters(task).clone());
        let (detail, drafts) = (task.detail, task.drafts);
        let request = GenerateRequest { adapters, grammar, detail, drafts, ..GenerateRequest::new(prompt, sampling) };
        let events = self.engine.send(Request::Generate(request));
        Ok(Generating { events, started, n_tokens_cut, open: task.open.clone(), written: String::new() })
    }

    /// What is known of each field of an answer that met the task's schema; nothing where the task has none, or the answer
    /// was generated without [`Detail::Tokens`]. `input` is the text that it answers.
    ///
    /// # Errors
    /// As [`Session::generate`].
    pub fn extract(
        &self,
        task: &Task,
        input: &str,
        answer: &str,
        generated: &Generated,
    ) -> Result<Option<Vec<extract::Field>>, InferError> {
        let tokens = &generated.generation.tokens;
        let is_met = matches!(&generated.answer, Some(Ok(_))) && !tokens.is_empty();
        let Some(schema) = task.open.as_ref().and_then(Open::schema).filter(|_| is_met) else { return Ok(None) };
        // What was cut away was not read: nothing can stand there.
        let (kept, _) = self.truncated(task, input)?;
        let Some(reading) = extract::read(schema, answer, tokens, kept) else { return Ok(None) };
        if reading.points.is_empty() {
            return Ok(Some(reading.alone()));
        }
        let prompt = self.prepare(task, None, input)?.prompt;
        let points = reading.points.clone();
        let adapters = self.adapters(task).clone();
        match self.engine.probe(ProbeRequest { prompt, adapters, generated: tokens.clone(), points }) {
            Ok(scores) => Ok(Some(reading.with(&scores.groups))),
            // Recurrent models cannot go back into a text.
            Err(EngineError::NoBranches) => Ok(Some(reading.alone())),
            Err(error) => Err(error.into()),
        }
    }

    /// The task's prompt for one text, as [`Session::decide`] and [`Session::generate`] send it.
    ///
    /// # Errors
    /// The template refuses the messages.
    pub fn prepare(&self, task: &Task, contract: Option<&Contract>, text: &str) -> Result<Prepared, InferError> {
        self.prepare_following(task, contract, text, &[])
    }

    fn prepare_following(
        &self,
        task: &Task,
        contract: Option<&Contract>,
        text: &str,
        turns: &[Message],
    ) -> Result<Prepared, InferError> {
        let (text, n_tokens_cut) = self.truncated(task, text)?;
        let mut messages = vec![Message::new(Role::User, text)];
        messages.extend_from_slice(turns);
        Ok(Prepared { prompt: self.render(task, contract, &Chat::of(messages))?, n_tokens_cut })
    }

    /// The prompt of a whole conversation.
    fn render(&self, task: &Task, contract: Option<&Contract>, chat: &Chat) -> Result<Prompt, InferError> {
        let open = task.open.as_ref().filter(|_| contract.is_none());
        let schema = contract.map(Contract::schema).or_else(|| open?.schema());
        let is_formatted = contract.is_some() || open.is_some();
        let (turns, begun) = chat.turns();
        let (messages, folded) = self.messages(task, contract, turns);
        let mut prompt = self.template.render(&Inputs {
            messages: &messages,
            add_generation_prompt: true,
            date: task.today.filter(|_| contract.is_none()).unwrap_or(Date::PINNED),
            variables: &self.variables(is_formatted, chat.think)?,
            tools: chat.callable(),
            contract: schema,
        })?;
        skip_in_row(&mut prompt, &folded);
        if is_formatted && thinks(&prompt) {
            return Err(InferError::Thinking);
        }
        if let Some(begun) = begun {
            go_on(&mut prompt, begun);
        }
        task.memory.lead(&mut prompt);
        Ok(prompt)
    }

    /// The template's variables: answers of a given form begin right behind the header.
    fn variables(&self, is_formatted: bool, think: Option<bool>) -> Result<Map<String, Value>, InferError> {
        if !is_formatted {
            return Ok(self.template.thinking().variables(think)?);
        }
        if think == Some(true) {
            return Err(InferError::ThinkingAndForm);
        }
        Ok(variables(true))
    }

    /// Sends one text to be embedded.
    ///
    /// # Errors
    /// The engine has stopped.
    pub fn start_embedding(&self, task: &Task, text: &str) -> Result<Embedding, InferError> {
        let started = Instant::now();
        let (text, n_tokens_cut) = self.truncated(task, text)?;
        let request = EmbedRequest { texts: vec![text.to_owned()], adapters: self.adapters(task).clone() };
        let events = self.engine.send(Request::Embed(request));
        Ok(Embedding { events, started, n_tokens_cut })
    }

    fn truncated<'t>(&self, task: &Task, text: &'t str) -> Result<(&'t str, usize), InferError> {
        let Some(n_tokens) = task.truncate else { return Ok((text, 0)) };
        let Cut { n_bytes, n_tokens_cut, .. } = self.engine.cut(text, n_tokens)?;
        Ok((&text[..n_bytes], n_tokens_cut))
    }

    /// A prompt's tokens.
    ///
    /// # Errors
    /// As the engine.
    pub fn tokenize(&self, prompt: Prompt) -> Result<Tokenized, InferError> {
        Ok(self.engine.tokenize(prompt)?)
    }

    /// The messages of one request as the template gets them, and what was put before the last of the user's own words, where
    /// instructions had to go there.
    fn messages(&self, task: &Task, contract: Option<&Contract>, conversation: &[Message]) -> (Vec<Message>, String) {
        let (given, turns) = match conversation.split_first() {
            Some((first, rest)) if first.role == Role::System => (Some(&first.content), rest),
            _ => (None, conversation),
        };
        let defaults = Some(&self.defaults).filter(|_| !task.memory.goes_on());
        let own = defaults.and_then(|defaults| defaults.system.as_ref());
        let system = task.system.as_ref().or(given).or(own);
        // A template that reads `contract` describes it itself, or speaks for a model that has learned it.
        let described = match (contract, &task.open) {
            _ if self.template.reads("contract") => None,
            (Some(contract), _) => Some(decide::describe(contract)),
            (None, open) => open.as_ref().and_then(decide::describe_open),
        };
        let system = match (system.filter(|system| !system.is_empty()), described) {
            (Some(system), Some(described)) => Some(format!("{system}\n\n{described}")),
            (Some(system), None) => Some(system.clone()),
            (None, described) => described,
        };
        let mut messages: Vec<Message> = system.map(|system| Message::new(Role::System, system)).into_iter().collect();
        messages.extend(defaults.iter().flat_map(|defaults| defaults.messages.iter().cloned()));
        messages.extend_from_slice(turns);
        if !self.has_template || self.system_role == SystemRole::Native {
            return (messages, String::new());
        }
        let messages = fold_system(&messages);
        let last =
            |messages: &[Message]| messages.iter().rev().find(|m| m.role == Role::User).map(|m| m.content.clone());
        let (whole, own) = (last(&messages).unwrap_or_default(), last(turns).unwrap_or_default());
        let folded = whole.strip_suffix(&own).unwrap_or_default().to_owned();
        (messages, folded)
    }

    /// The adapters that a task's answers have part in.
    #[must_use]
    pub fn adapters<'s>(&'s self, task: &'s Task) -> &'s AdapterSet {
        task.adapters.as_ref().unwrap_or(&self.defaults.adapters)
    }

    /// The id under which equal questions of a task have equal probabilities.
    #[must_use]
    pub fn evaluation_id(&self, task: &Task) -> String {
        self.adapters(task).evaluation_id(&self.engine.info().evaluation_id)
    }

    fn sampling(&self, task: &Task) -> Sampling {
        let shape = if task.open.is_some() { AnswerShape::Formatted } else { AnswerShape::Open };
        task.parameters.clone().over(self.defaults.parameters.clone()).resolve(shape)
    }
}

/// A closed question on its way through the engine.
#[derive(Debug)]
pub struct Deciding<'c> {
    contract: &'c Contract,
    events: UnboundedReceiver<Event>,
    started: Instant,
    n_tokens_cut: usize,
    prompt_digest: String,
    evaluation_id: String,
}

impl Deciding<'_> {
    /// Waits for the scores and makes the answer of them.
    ///
    /// # Errors
    /// See [`InferError`]; [`EngineError::Cancelled`] where `cancel` came first.
    pub fn finish(mut self, cancel: &Cancel) -> Result<Decided, InferError> {
        let Scores { groups, counts, timings } = match cancel.or_next(&mut self.events)? {
            Event::Scored(scores) => scores,
            Event::Failed(error) => return Err(error.into()),
            _ => return Err(EngineError::Stopped.into()),
        };
        let answer = decide::answer(self.contract, &groups);
        let Deciding { started, n_tokens_cut, prompt_digest, evaluation_id, .. } = self;
        Ok(Decided { answer, counts, timings, elapsed: started.elapsed(), n_tokens_cut, prompt_digest, evaluation_id })
    }
}

/// A text's vector, or its scores, with what they took.
#[derive(Debug, Clone)]
pub struct Embedded {
    pub kind: EmbeddingKind,
    pub row: Vec<f32>,
    pub counts: Counts,
    pub timings: Timings,
    pub elapsed: Duration,
    pub n_tokens_cut: usize,
}

/// A text on its way to its vector.
#[derive(Debug)]
pub struct Embedding {
    events: UnboundedReceiver<Event>,
    started: Instant,
    n_tokens_cut: usize,
}

impl Embedding {
    /// Waits for the vector.
    ///
    /// # Errors
    /// See [`InferError`]; [`EngineError::Cancelled`] where `cancel` came first.
    pub fn finish(mut self, cancel: &Cancel) -> Result<Embedded, InferError> {
        let Embeddings { kind, rows, counts, timings } = match cancel.or_next(&mut self.events)? {
            Event::Embedded(embeddings) => embeddings,
            Event::Failed(error) => return Err(error.into()),
            _ => return Err(EngineError::Stopped.into()),
        };
        let row = rows.into_iter().next().ok_or(EngineError::Stopped)?;
        let Embedding { started, n_tokens_cut, .. } = self;
        Ok(Embedded { kind, row, counts, timings, elapsed: started.elapsed(), n_tokens_cut })
    }
}

/// Open text on its way through the engine.
#[derive(Debug)]
pub struct Generating {
    events: UnboundedReceiver<Event>,
    started: Instant,
    n_tokens_cut: usize,
    open: Option<Open>,
    /// The text so far, where it will be checked.
    written: String,
}

impl Generating {
    /// Waits for the text, which `on_text` gets in pieces; `None` where it answered `Break`.
    ///
    /// # Errors
    /// See [`InferError`]; [`EngineError::Cancelled`] where `cancel` came first.
    pub fn finish(
        mut self,
        cancel: &Cancel,
        mut on_text: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Option<Generated>, InferError> {
        loop {
            match cancel.or_next(&mut self.events)? {
                Event::Text(piece) => {
                    if self.open.is_some() {
                        self.written += &piece.text;
                    }
                    if on_text(&piece.text).is_break() {
                        return Ok(None);
                    }
                }
                Event::Generated(generation) => {
                    let elapsed = self.started.elapsed();
                    let answer = self.open.as_ref().map(|open| match generation.finish {
                        Finish::Length => Err(Violation::Length),
                        Finish::Stop => open.check(&self.written),
                    });
                    return Ok(Some(Generated { generation, elapsed, n_tokens_cut: self.n_tokens_cut, answer }));
                }
                Event::Failed(error) => return Err(error.into()),
                _ => return Err(EngineError::Stopped.into()),
            }
        }
    }

    /// Waits for all of the text.
    ///
    /// # Errors
    /// As [`Generating::finish`].
    pub fn whole(self, cancel: &Cancel) -> Result<(String, Generated), InferError> {
        let mut text = String::new();
        let generated = self.finish(cancel, |piece| {
            text += piece;
            ControlFlow::Continue(())
        })?;
        Ok((text, generated.expect("nothing broke the text off")))
    }
}

/// Ends other threads' waits for the engine.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// Ends the waits of these threads, and every wait that begins later.
    pub fn cancel<'t>(&self, waiting: impl IntoIterator<Item = &'t std::thread::Thread>) {
        self.0.store(true, Ordering::SeqCst);
        waiting.into_iter().for_each(std::thread::Thread::unpark);
    }

    /// A request's next event.
    fn or_next(&self, events: &mut UnboundedReceiver<Event>) -> Result<Event, EngineError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if self.0.load(Ordering::SeqCst) {
                return Err(EngineError::Cancelled);
            }
            match events.poll_recv(&mut context) {
                Poll::Ready(event) => return event.ok_or(EngineError::Stopped),
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

/// Wakes a thread that has parked itself.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Whether the prompt ends inside a thought that the template opened.
fn thinks(prompt: &Prompt) -> bool {
    let text = prompt.text();
    let end = text.trim_end();
    end.ends_with("<think>") || end.ends_with("<thinking>")
}

/// Answers of a given form begin right behind the header: a model that thinks first is told not to.
fn variables(is_formatted: bool) -> Map<String, Value> {
    let off = ["enable_thinking", "thinking"].map(|name| (name.to_owned(), Value::Bool(false)));
    if is_formatted { off.into_iter().collect() } else { Map::new() }
}

/// Moves the row's beginning behind what was folded into its message: instructions are stable, the row is not.
fn skip_in_row(prompt: &mut Prompt, folded: &str) {
    let Some(place) = &mut prompt.row_start else { return };
    if let Some(Run::Text { text, .. }) = prompt.runs.get(place.run)
        && text.get(place.offset..).is_some_and(|row| row.starts_with(folded))
    {
        place.offset += folded.len();
    }
}

/// Writes an answer's beginning behind its header, as the words of whoever gave it.
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

/// A digest of everything before the row: template, system, examples, contract and its wording.
fn digest(prompt: &Prompt) -> String {
    let mut hash = Hasher::new();
    hash.update(&WORDING.to_le_bytes());
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
