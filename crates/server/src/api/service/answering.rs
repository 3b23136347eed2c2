//! A client's request for a model's next turn and the reply to it, within the request's time limit and counted in the ledger.

use std::sync::Arc;
use std::time::Duration;

use super::{Opened, Service};
use crate::api::decision_log::{DecisionLine, Input};
use crate::api::idle_fields;
use crate::api::ledger::Ledger;
use crate::api::logging::Account;
use crate::api::problem::{Kind, Problem};
use crate::api::request_context::RequestContext;
use slm_engine::Finish;
use slm_infer::decide::Wording;
use slm_infer::infer::{Ask, End, FitUse, LabelSpelling, Piece, PromptReading, ReadyTurn, Reply, Scoring, Turn};
use slm_values::contract::{Contract, Form};
use slm_values::keep_alive::KeepAlive;

/// A turn that a client asks for.
#[derive(Debug, Clone)]
pub struct TurnRequest {
    pub model: String,
    /// How long the model stays after this; `None` leaves it as it is.
    pub keep_alive: Option<KeepAlive>,
    /// The form of the answer; it takes the place of the turn's.
    pub form: AskedForm,
    /// How its closed answers are found and its date are the server's to say.
    pub turn: Turn,
}

/// The form of an answer, as a request wants it.
#[derive(Debug, Clone, Default)]
pub enum AskedForm {
    /// The model's own, where its Modelfile gives one. A label comes without quotes: nobody asked for JSON.
    #[default]
    Own,
    /// JSON of any kind: what the model's own form allows, and without one any object.
    AnyJson,
    Form(Form),
}

impl AskedForm {
    /// The form of a JSON schema.
    ///
    /// # Errors
    /// The schema is not supported.
    pub fn schema(schema: serde_json::Value) -> Result<AskedForm, Problem> {
        Ok(AskedForm::Form(Form::from_schema(schema)?))
    }

    /// The form itself, of a model that is held.
    ///
    /// # Errors
    /// The stored FORMAT cannot be kept.
    fn resolve(self, opened: &Opened) -> Result<Form, Problem> {
        match self {
            AskedForm::Own => opened.own_form(),
            AskedForm::AnyJson => {
                opened.own_form().map(|own| if matches!(own, Form::Free) { Form::json() } else { own })
            }
            AskedForm::Form(form) => Ok(form),
        }
    }
}

/// A reply on its way, with the model that makes it. Dropping it cancels it.
#[derive(Debug)]
pub struct Answering {
    /// What loading took, where this request had to wait for it.
    pub load_duration: Duration,
    reply: Reply,
    ledger: Ledger,
    context: RequestContext,
    _opened: Arc<Opened>,
}

impl Answering {
    /// Under which equal questions have equal probabilities; `None` where nothing promises that.
    #[must_use]
    pub fn evaluation_id(&self) -> Option<&str> {
        self.reply.evaluation_id()
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    /// What ended the reply, or how its finished text breaks its form; no piece comes after it.
    pub async fn next(&mut self) -> Result<Option<Piece>, Problem> {
        let piece = self.context.within(self.reply.next()).await?;
        if let Err(error) = &piece {
            self.ledger.failed(error);
        }
        let piece = piece?;
        if let Some(piece) = &piece {
            self.ledger.piece(piece);
        }
        match piece {
            Some(Piece::End(end)) => kept(end).map(|end| Some(Piece::End(end))),
            piece => Ok(piece),
        }
    }
}

/// The end of an answer in its form. One that came to its limit of tokens is unfinished and says so in every dialect; a
/// finished one that breaks its form is an error.
fn kept(end: Box<End>) -> Result<Box<End>, Problem> {
    let Some(violation) = end.violation().filter(|_| end.finish == Finish::Stop) else { return Ok(end) };
    let stop = end.stopped_by.as_ref().map(|stop| format!("; the stop string {} ended it", serde_json::json!(stop)));
    Err(Problem::new(Kind::Failed, format!("{violation}{}", stop.unwrap_or_default())))
}

impl Service {
    /// Loads the model that a request names, and holds it.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn open_for(&self, request: &TurnRequest) -> Result<Arc<Opened>, Problem> {
        self.open(&request.model, &request.turn.parameters, request.keep_alive).await.map(Arc::new)
    }

    /// Asks a model for its next turn; the model is loaded where it is not.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn ask(&self, request: TurnRequest) -> Result<Answering, Problem> {
        let opened = self.open_for(&request).await?;
        let ready = self.ready(&opened, request).await?;
        self.send(opened, ready)
    }

    /// Takes back a wish for thoughts where none can come before the answer, and notes so: clients of some dialects wish for
    /// them whatever the model is. `place` is what the dialect calls the wish.
    ///
    /// # Errors
    /// The stored FORMAT cannot be kept.
    pub fn relax_thinking(&self, opened: &Opened, request: &mut TurnRequest, place: &str) -> Result<(), Problem> {
        let can_think = opened.responder.can_think(&request.form.clone().resolve(opened)?);
        let wish = request.turn.chat_mut().map(|chat| &mut chat.think).filter(|think| **think == Some(true));
        if let Some(think) = wish.filter(|_| !can_think) {
            *think = None;
            idle_fields::note(place, "this answer is given without thinking");
        }
        Ok(())
    }

    /// Makes the prompt of a turn, for a model that is held.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn ready(&self, opened: &Opened, request: TurnRequest) -> Result<ReadyTurn, Problem> {
        let TurnRequest { form, mut turn, .. } = request;
        let (wording, spelling) = match form {
            AskedForm::Own => (Wording::PINNED, LabelSpelling::Bare),
            AskedForm::AnyJson => (Wording::PINNED, LabelSpelling::Json),
            AskedForm::Form(_) => (Wording::CALLERS, LabelSpelling::Json),
        };
        (turn.form, turn.spelling) = (form.resolve(opened)?, spelling);
        let context = RequestContext::current();
        if context.fit == FitUse::None {
            turn.fit = FitUse::None;
        }
        // A fit holds for the words in which its contract was asked for, whoever asks for it now.
        let wording =
            if turn.fit == FitUse::Own && opened.responder.fits(&turn.form) { Wording::PINNED } else { wording };
        turn.scoring = Scoring { wording, ..context.scoring };
        if let Some(chat) = turn.chat_mut() {
            chat.today = Some((self.settings().today)());
        }
        let turn = opened.responder.prepared_turn(turn).await?;
        Ok(opened.responder.ready(turn)?)
    }

    /// Follows the answers of a model that is held: those to a closed question about this text are written down, where there is
    /// a log of them. `contract` is that of answers that may come without probabilities.
    pub(super) fn ledger(&self, opened: &Opened, text: Option<&str>, contract: Option<&Contract>) -> Ledger {
        let ledger = Ledger::new(self.metrics(), &opened.model);
        match (&self.settings().decisions, text) {
            (Some(log), Some(text)) => {
                let id = Account::current().id().to_owned();
                let head = DecisionLine {
                    model: opened.model.to_string(),
                    manifest: opened.digest().to_string(),
                    input: Input::of(text, log),
                    task: contract.and_then(DecisionLine::task_of),
                    ..DecisionLine::head(id, &opened.responder, &opened.layer())
                };
                ledger.writing(log.clone(), head, self.settings().timestamp)
            }
            _ => ledger,
        }
    }

    /// Sends a turn that is ready to the model that it was made ready for.
    ///
    /// # Errors
    /// It is nothing that this model can be asked.
    pub fn send(&self, opened: Arc<Opened>, ready: ReadyTurn) -> Result<Answering, Problem> {
        let ledger = self.ledger(&opened, ready.text(), ready.contract());
        let context = RequestContext::current();
        Ok(Answering { load_duration: opened.load_duration, reply: ready.send()?, ledger, context, _opened: opened })
    }

    /// Has a model that is held read how likely a prompt's own tokens are.
    ///
    /// # Errors
    /// The model has no way to write the prompt.
    pub fn read_prompt(&self, opened: &Arc<Opened>, reading: PromptReading) -> Result<Answering, Problem> {
        let reply = opened.responder.ask(Ask::Prompt(Box::new(reading)))?;
        let (ledger, context) = (self.ledger(opened, None, None), RequestContext::current());
        let load_duration = opened.load_duration;
        Ok(Answering { load_duration, reply, ledger, context, _opened: Arc::clone(opened) })
    }

    /// How many tokens a prompt has; `None` where it is made elsewhere.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn count(&self, ready: &ReadyTurn) -> Result<Option<usize>, Problem> {
        let Some(tokenizing) = ready.tokenize() else { return Ok(None) };
        let tokenized = RequestContext::current().within(tokenizing).await??;
        Ok(Some(tokenized.tokens.len()))
    }
}
