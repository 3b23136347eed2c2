//! The only path to an answer: an [`Ask`] in, a [`Reply`] out. Messages, prompt, engine, contract.
//!
//! A [`Session`] is a loaded model with its Modelfile's settings, and [`Session::ask`] the only way to its answers; a
//! [`Responder`] is whatever answers for a model, a session or a model on another server. A whole
//! answer is the reply read to its end, and a thread that has to wait for it waits with [`wait`]. It knows neither files
//! nor terminals.

mod ask;
mod closed;
mod embedder;
mod epilogue;
mod examples;
mod fit;
mod hosted;
mod lesson;
mod limited;
mod memory;
mod pieces;
mod prompt_reading;
mod question;
mod reader;
mod reading;
mod ready;
mod remote;
mod render;
mod reply;
mod responder;
mod vectors;
mod wait;
mod words;

use std::sync::Arc;
use std::time::Instant;

use crate::decide::ModelFit;
use reader::Reader;
use render::digest;
use reply::Origin;
use slm_engine::{AdapterSet, EmbedRequest, Engine, EngineError, Load, Reading, Request, Search};
use slm_remote::Unanswered;
use slm_values::chat::Message;
use slm_values::digest::Hasher;
use slm_values::sampling::Parameters;
use slm_values::template::{ChatTemplate, Language, SystemRole, TemplateError, ThinkingError};
use slm_values::tools::ToolError;

pub use ask::{Ask, Before, Chat, FitUse, Given, LabelSpelling, NextOf, PromptReading, Scoring, Turn};
pub use embedder::Embedder;
pub use examples::{Examples, Vectors};
pub use fit::StaleFit;
pub use hosted::{Hosted, HostedBatch, HostedResult};
pub use lesson::{Lesson, LessonTokens};
pub use limited::{Limited, LimitedReply, Retry};
pub use memory::Memory;
pub use pieces::{End, Finding, Finished, Piece, Pieces};
pub use ready::Ready;
pub use remote::RemoteModel;
pub use reply::Reply;
pub use responder::{
    CascadeDoor, CascadeModel, Held, OpenTier, Opening, Purse, ReadyTurn, Responder, SharedShare, Watcher, replaced,
};
pub use vectors::{TooLong, fitting_vectors};
pub use wait::{Cancel, wait};
pub use words::WordsModel;

/// The template of a model that has none: the texts as they are.
const NO_TEMPLATE: &str =
    "{% for message in messages %}{{ message['content'] }}{% if not loop.last %}\n\n{% endif %}{% endfor %}";

/// The same where the answer has a given form: instructions, examples and the text as one document that the answer continues.
const COMPLETION: &str = "{% for message in messages %}\
    {% if message['role'] == 'user' %}Text: {{ message['content'] }}\nAnswer:\
    {% elif message['role'] == 'assistant' %} {{ message['content'] }}\n\n\
    {% else %}{{ message['content'] }}\n\n{% endif %}{% endfor %}";

/// What a model's Modelfile says about every request.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub system: Option<String>,
    /// Examples that come before the user's message.
    pub messages: Vec<Message>,
    /// Labelled texts, of which the nearest to the user's last words come before the conversation.
    pub examples: Option<Examples>,
    pub parameters: Parameters,
    /// A chat template that takes the place of the model's own.
    pub template: Option<ChatTemplate>,
    pub adapters: AdapterSet,
    /// The id of the weights that they are said of.
    pub weights_id: String,
    /// How the model's answers were fitted to labels.
    pub fit: Option<Arc<ModelFit>>,
}

/// A loaded model, ready to answer.
#[derive(Debug)]
pub struct Session {
    engine: Engine,
    template: ChatTemplate,
    /// Takes the template's place before answers of a given form, where the model brought none: it continues texts.
    completion: Option<ChatTemplate>,
    turn_end: Option<String>,
    system_role: SystemRole,
    defaults: Defaults,
    /// Finds the examples, where vectors do.
    embedder: Option<Embedder>,
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    #[error("the model's chat template cannot be used: {0}; give the model another with TEMPLATE in a Modelfile")]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(
        "this model thinks before it answers and its template cannot turn that off, so its answers can neither be scored nor \
         follow a format"
    )]
    Thinking,
    #[error(transparent)]
    Think(#[from] ThinkingError),
    #[error("thinking and a format cannot be combined: an answer in a format begins at once")]
    ThinkingAndForm,
    #[error("this model's vocabulary has no fill-in-the-middle tokens")]
    NoInfill,
    #[error("tools and a format cannot be combined")]
    ToolsAndForm,
    #[error("answers of a closed format are scored, which a logit bias cannot change")]
    BiasAndClosed,
    #[error(transparent)]
    Tools(#[from] ToolError),
    #[error("the fit of this model does not hold for this request: {0}")]
    StaleFit(#[from] StaleFit),
    #[error("the fit of this model reads hidden states of {wanted} numbers, and the model gives {}", of_numbers(*found))]
    FitState { wanted: usize, found: Option<usize> },
    #[error(
        "the embedding model that finds this model's examples gives no vectors; create the model again with another one"
    )]
    NoVector,
    #[error(transparent)]
    Remote(#[from] Unanswered),
    /// It is written down for a hosted batch, and there is no answer before that has its results.
    #[error("the text waits for the results of a hosted batch")]
    Waits,
    #[error("the hosted batch has no answer: {0}")]
    NotInBatch(String),
    /// What only an engine on this machine can do.
    #[error("this model is a {who}, which {what}")]
    Elsewhere { who: &'static str, what: &'static str },
    /// A cascade that gives nothing else in this case.
    #[error("no tier of the cascade gave an answer that is taken: {why}")]
    Exhausted { why: String },
}

fn of_numbers(n: Option<usize>) -> String {
    n.map_or_else(|| "none".to_owned(), |n| format!("{n}"))
}

impl Session {
    /// Starts an engine and parses its chat template.
    ///
    /// # Errors
    /// The engine refuses the model, or the template cannot be parsed.
    pub fn open(options: slm_engine::Options, defaults: Defaults) -> Result<Self, InferError> {
        let load = options.load;
        let engine = Engine::load(options)?;
        if load == Load::Everything { Session::with(engine, defaults) } else { Session::over(engine, defaults) }
    }

    /// As [`Session::over`], with its adapters loaded, so that a wrong one is found at once.
    ///
    /// # Errors
    /// The template or an adapter is invalid.
    pub fn with(engine: Engine, defaults: Defaults) -> Result<Self, InferError> {
        engine.prepare(&defaults.adapters)?;
        Session::over(engine, defaults)
    }

    /// Speaks to an engine that others may speak to as well: models of one base differ in their settings only.
    ///
    /// # Errors
    /// The template cannot be parsed.
    pub fn over(engine: Engine, defaults: Defaults) -> Result<Self, InferError> {
        let info = engine.info();
        let template = match &defaults.template {
            Some(given) => given.clone().with_specials(info.specials.clone()),
            None => {
                let own = info.chat_template.as_deref().unwrap_or(NO_TEMPLATE);
                ChatTemplate::parse(Language::Jinja, own, info.specials.clone())?
            }
        };
        let is_base = defaults.template.is_none() && info.chat_template.is_none();
        let completion =
            is_base.then(|| ChatTemplate::parse(Language::Jinja, COMPLETION, info.specials.clone())).transpose()?;
        let turn_end = template.turn_end();
        let system_role = template.system_role();
        Ok(Session { engine, template, completion, turn_end, system_role, defaults, embedder: None })
    }

    /// The same model with another chat template.
    fn with_template(&self, template: ChatTemplate) -> Session {
        let (engine, defaults, embedder) = (self.engine.clone(), self.defaults.clone(), self.embedder.clone());
        let template = template.with_specials(engine.info().specials.clone());
        let (turn_end, system_role) = (template.turn_end(), template.system_role());
        Session { engine, template, completion: None, turn_end, system_role, defaults, embedder }
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the Modelfile says about every request.
    #[must_use]
    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// Whether the model brought a chat template; without one, texts reach it as they are.
    #[must_use]
    pub fn has_template(&self) -> bool {
        self.completion.is_none()
    }

    /// The id under which equal questions have equal probabilities where they are answered alone: of what computes and of what
    /// a probability is, not of an answer, which has it only where the promise holds ([`End::evaluation_id`]).
    #[must_use]
    pub fn evaluation_id(&self, scoring: Scoring) -> String {
        let id = self.defaults.adapters.evaluation_id(&self.engine.info().evaluation_id);
        if (scoring.reading, scoring.search) == (Reading::Choices, Search::BestFirst) {
            return id;
        }
        let mut hash = Hasher::new();
        hash.update(id.as_bytes());
        hash.update(format!("{:?} {:?}", scoring.reading, scoring.search).as_bytes());
        hash.finish().id()
    }

    /// Asks the model, and returns at once. Nothing is cut: what does not fit is refused when its turn comes, with both
    /// numbers ([`EngineError::Context`], [`EngineError::TextTooLong`]).
    ///
    /// # Errors
    /// The prompt cannot be made, or the request combines what cannot be combined.
    pub fn ask(&self, ask: impl Into<Ask>) -> Result<Reply, InferError> {
        match ask.into() {
            Ask::Turn(turn) => Ok(self.ready(*turn)?.send()),
            Ask::Question { system, state, question, scoring } => {
                Ok(self.ready_question(system.as_deref(), &state, question, scoring)?.send())
            }
            Ask::Prompt(reading) => self.read_prompt(*reading),
            Ask::Vectors { texts } => {
                let (started, prompt_digest) =
                    (Instant::now(), digest(&slm_values::prompt::Prompt::default(), &[], None));
                let request = EmbedRequest { texts, adapters: self.defaults.adapters.clone() };
                let events = self.engine.send(Request::Embed(request));
                // The texts of one request share batches with each other and with nothing else.
                let origin =
                    Origin { started, prompt_digest, evaluation_id: Some(self.evaluation_id(Scoring::default())) };
                Ok(Reply::new(events, Reader::Vectors, None, origin))
            }
        }
    }
}
