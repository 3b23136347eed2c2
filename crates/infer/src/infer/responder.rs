//! The one door: whatever answers for a model, an engine here, a model on another server or tiers of both, it is asked here and
//! answers with a [`Reply`].

mod cascade;

use std::sync::Arc;
use std::time::Duration;

use super::ask::{Ask, Chat, Scoring, Turn};
use super::ready::Ready;
use super::remote::RemoteModel;
use super::reply::Reply;
use super::words::WordsModel;
use super::{Defaults, InferError, Session};
use slm_cascade::Exhausted;
use slm_engine::Tokenized;
use slm_values::contract::{Contract, Form};

pub use cascade::{CascadeDoor, CascadeModel, Held, OpenTier, Opening, Purse, SharedShare, Watcher, replaced};

/// What answers for a model. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Responder {
    Engine(Arc<Session>),
    Remote(Arc<RemoteModel>),
    Cascade(CascadeDoor),
    Words(Arc<WordsModel>),
}

/// A turn that can be sent, several times.
#[derive(Debug, Clone)]
pub enum ReadyTurn {
    /// With its prompt.
    Engine(Box<Ready>),
    /// Whoever answers makes the prompt.
    Elsewhere(Responder, Box<Turn>),
}

impl Responder {
    /// What is asked, with what has to be waited for before it can be asked at once: see [`Session::prepared`].
    ///
    /// # Errors
    /// As there.
    pub async fn prepared(&self, ask: Ask) -> Result<Ask, InferError> {
        match self {
            Responder::Engine(session) => session.prepared(ask).await,
            _ => Ok(ask),
        }
    }

    /// As [`Responder::prepared`].
    ///
    /// # Errors
    /// As there.
    pub async fn prepared_turn(&self, turn: Turn) -> Result<Turn, InferError> {
        match self {
            Responder::Engine(session) => session.prepared_turn(turn).await,
            _ => Ok(turn),
        }
    }

    /// Asks, and returns at once.
    ///
    /// # Errors
    /// As [`Session::ask`]; it is nothing that this model can be asked.
    pub fn ask(&self, ask: impl Into<Ask>) -> Result<Reply, InferError> {
        match self {
            Responder::Engine(session) => session.ask(ask),
            Responder::Remote(remote) => remote.ask(ask.into(), Duration::MAX),
            Responder::Cascade(cascade) => cascade.ask(ask.into()),
            Responder::Words(words) => words.ask(ask.into()),
        }
    }

    /// Makes a turn ready to be sent, as far as that is done here.
    ///
    /// # Errors
    /// As [`Session::ready`].
    pub fn ready(&self, turn: Turn) -> Result<ReadyTurn, InferError> {
        match self {
            Responder::Engine(session) => Ok(ReadyTurn::Engine(Box::new(session.ready(turn)?))),
            other => Ok(ReadyTurn::Elsewhere(other.clone(), Box::new(turn))),
        }
    }

    /// The loaded model.
    ///
    /// # Errors
    /// The model is a remote or a cascade, which has no engine here.
    pub fn session(&self) -> Result<&Arc<Session>, InferError> {
        match self {
            Responder::Engine(session) => Ok(session),
            other => Err(InferError::Elsewhere { who: other.kind(), what: "has no engine here, which this needs" }),
        }
    }

    /// What the Modelfile says about every request.
    #[must_use]
    pub fn defaults(&self) -> &Defaults {
        match self {
            Responder::Engine(session) => session.defaults(),
            Responder::Remote(remote) => remote.defaults(),
            Responder::Cascade(cascade) => &cascade.model.defaults,
            Responder::Words(words) => words.defaults(),
        }
    }

    /// Whether a fit makes the probabilities of answers in this form final.
    #[must_use]
    pub fn fits(&self, form: &Form) -> bool {
        match self {
            Responder::Engine(session) => session.fits(form),
            Responder::Words(words) => matches!(form, Form::Closed(contract) if words.fit().knows(contract)),
            Responder::Remote(_) | Responder::Cascade(_) => false,
        }
    }

    /// Whether answers may be withheld because no tier of a cascade gave one that is taken.
    #[must_use]
    pub fn reviews(&self) -> bool {
        matches!(self, Responder::Cascade(cascade) if cascade.model.cascade.on_exhausted == Exhausted::Review)
    }

    /// Whether thoughts can come before an answer of this form.
    #[must_use]
    pub fn can_think(&self, form: &Form) -> bool {
        match self {
            Responder::Engine(session) => session.can_think(form),
            Responder::Remote(_) | Responder::Cascade(_) | Responder::Words(_) => false,
        }
    }

    /// Identifies what computes the answers: [`Session::evaluation_id`], or who is asked elsewhere.
    #[must_use]
    pub fn identity(&self, scoring: Scoring) -> String {
        match self {
            Responder::Engine(session) => session.evaluation_id(scoring),
            Responder::Remote(remote) => remote.identity(),
            Responder::Cascade(cascade) => cascade.model.identity.clone(),
            Responder::Words(words) => words.identity(),
        }
    }

    /// Identifies a turn's prompt without the text.
    ///
    /// # Errors
    /// As [`Session::ready`].
    pub fn prompt_digest(&self, turn: Turn) -> Result<String, InferError> {
        match self {
            Responder::Engine(session) => Ok(session.ready(turn)?.prompt_digest()),
            Responder::Remote(remote) => remote.prompt_digest(turn),
            Responder::Cascade(cascade) => Ok(cascade.model.prompt_digest(&turn)),
            Responder::Words(words) => match &turn.form {
                Form::Closed(contract) => Ok(words.prompt_digest(contract)),
                _ => {
                    Err(InferError::Elsewhere { who: self.kind(), what: "answers in its own format and nothing else" })
                }
            },
        }
    }

    /// Who answers, in a line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Responder::Engine(_) => "computed on this machine".to_owned(),
            Responder::Remote(remote) => {
                let remote = remote.client().remote();
                format!("remote         {} at {} ({})", remote.model, remote.host(), remote.dialect.as_str())
            }
            Responder::Cascade(cascade) => {
                let tiers: Vec<&str> = cascade.model.cascade.tiers.iter().map(|tier| tier.name.as_str()).collect();
                format!("tiers          {}", tiers.join(", "))
            }
            Responder::Words(_) => "words alone, without a model".to_owned(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Responder::Engine(_) => "model",
            Responder::Remote(_) => "remote",
            Responder::Cascade(_) => "cascade",
            Responder::Words(_) => "fit of words",
        }
    }
}

impl ReadyTurn {
    /// The same once more, for another answer: as [`Ready::nth`].
    #[must_use]
    pub fn nth(&self, number: u32) -> ReadyTurn {
        match self {
            ReadyTurn::Engine(ready) => ReadyTurn::Engine(Box::new(ready.nth(number))),
            ReadyTurn::Elsewhere(responder, turn) => {
                let mut turn = turn.clone();
                turn.parameters.seed = turn.parameters.seed.map(|seed| seed.wrapping_add(number.into()));
                ReadyTurn::Elsewhere(responder.clone(), turn)
            }
        }
    }

    /// What the answer is about, where that is a user's text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            ReadyTurn::Engine(ready) => ready.text(),
            ReadyTurn::Elsewhere(_, turn) if matches!(turn.form, Form::Closed(_)) => turn.chat().map(Chat::last_text),
            ReadyTurn::Elsewhere(..) => None,
        }
    }

    /// The closed contract of an answer that is given elsewhere, where it may come without probabilities.
    #[must_use]
    pub fn contract(&self) -> Option<&Contract> {
        match self {
            ReadyTurn::Elsewhere(_, turn) => match &turn.form {
                Form::Closed(contract) => Some(contract),
                Form::Open(_) | Form::Free => None,
            },
            ReadyTurn::Engine(_) => None,
        }
    }

    /// The prompt's tokens; `None` where the prompt is made elsewhere.
    #[must_use]
    pub fn tokenize(&self) -> Option<slm_engine::Reply<Tokenized>> {
        match self {
            ReadyTurn::Engine(ready) => Some(ready.tokenize()),
            ReadyTurn::Elsewhere(..) => None,
        }
    }

    /// Sends it, and returns at once.
    ///
    /// # Errors
    /// It is nothing that this model can be asked.
    pub fn send(self) -> Result<Reply, InferError> {
        match self {
            ReadyTurn::Engine(ready) => Ok(ready.send()),
            ReadyTurn::Elsewhere(responder, turn) => responder.ask(*turn),
        }
    }
}

impl From<Session> for Responder {
    fn from(session: Session) -> Responder {
        Responder::Engine(Arc::new(session))
    }
}
