//! The one way of every dialect: a model's name to a loaded model, a place in line, and a reply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::call::Call;
use super::problem::{Kind, Problem};
use crate::contract::{Contract, Form, Open};
use crate::decide::Question;
use crate::digest::Digest;
use crate::engine::compute::Compute;
use crate::engine::{Detail, Load};
use crate::infer::{Answered, Chat, Piece, Reply, Session, Task};
use crate::model_ref::ModelRef;
use crate::opening::{self, Opening, Wanted};
use crate::sampling::Parameters;
use crate::store::{Model, Store};
use crate::template::Date;

/// What a service is started with; the environment and the clock were read by whoever starts it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub store: Store,
    pub compute: Compute,
    /// Positions of a context where neither request nor model says; `None` leaves it to the engine.
    pub n_ctx: Option<u32>,
    pub today: fn() -> Date,
    /// A time as RFC 3339 in UTC.
    pub timestamp: fn(SystemTime) -> String,
}

/// Answers requests, in no dialect.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    sessions: Mutex<HashMap<Digest, Arc<Session>>>,
}

/// A conversation and what is wanted of its next turn.
#[derive(Debug, Clone)]
pub struct Ask {
    pub model: String,
    pub chat: Chat,
    pub form: AskedForm,
    /// What the request says; the Modelfile and the defaults fill the rest.
    pub parameters: Parameters,
    pub detail: Detail,
}

/// The form of an answer, as a request wants it.
#[derive(Debug, Clone, Default)]
pub enum AskedForm {
    /// The model's own, where its Modelfile gives one.
    #[default]
    Own,
    Form(Form),
}

impl AskedForm {
    /// The form of a JSON schema.
    ///
    /// # Errors
    /// The schema cannot be kept.
    pub fn schema(schema: serde_json::Value) -> Result<AskedForm, Problem> {
        Ok(AskedForm::Form(Form::from_schema(schema)?))
    }

    /// Any JSON object.
    #[must_use]
    pub fn json() -> AskedForm {
        AskedForm::Form(Form::Open(Open::json()))
    }
}

/// A reply on its way, with the model that makes it. Dropping it cancels it.
#[derive(Debug)]
pub struct Answering {
    /// The model's full name.
    pub model: ModelRef,
    pub started: Instant,
    /// What loading took, where this request had to wait for it.
    pub load_duration: Duration,
    reply: Reply,
    deadline: Option<Instant>,
    _session: Arc<Session>,
}

impl Answering {
    /// The next piece; `None` behind the last.
    ///
    /// # Errors
    /// What ended the reply; no piece comes after it.
    pub async fn next(&mut self) -> Result<Option<Piece>, Problem> {
        Ok(within(self.deadline, self.reply.next()).await??)
    }
}

/// Typed questions about one state.
#[derive(Debug, Clone)]
pub struct AskQuestions {
    pub model: String,
    /// Instructions that come before everything else, in place of the Modelfile's.
    pub system: Option<String>,
    pub state: String,
    pub questions: Vec<Arc<Question>>,
}

/// The answers to typed questions, in their order.
#[derive(Debug, Clone)]
pub struct AnsweredQuestions {
    pub model: ModelRef,
    pub answers: Vec<Answered>,
    pub evaluation_id: String,
    pub elapsed: Duration,
}

/// Questions of one request that the engine holds at once: enough that it never waits, few enough that others come between.
const QUESTIONS_AT_ONCE: usize = 4;

impl Service {
    #[must_use]
    pub fn new(settings: Settings) -> Service {
        Service { settings, sessions: Mutex::default() }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The stored model of a name.
    ///
    /// # Errors
    /// The name is none, or no model has it.
    pub fn model(&self, name: &str) -> Result<Model, Problem> {
        Ok(self.settings.store.resolve(&name.parse()?)?)
    }

    /// The model that a request names, or the one to take where it names none: the only one in the store.
    ///
    /// # Errors
    /// There are several, or none.
    pub fn model_or_default(&self, name: Option<&str>) -> Result<String, Problem> {
        if let Some(name) = name {
            return Ok(name.to_owned());
        }
        let names = self.settings.store.names();
        match names.as_slice() {
            [only] => Ok(only.to_string()),
            several => {
                let names: Vec<String> = several.iter().map(|name| format!("`{name}`")).collect();
                let message = format!("`model` is missing: give one of {}", names.join(", "));
                Err(Problem::invalid(message).of("model"))
            }
        }
    }

    /// Sends a conversation to its model, which is loaded where it is not.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn ask(&self, ask: Ask) -> Result<Answering, Problem> {
        let started = Instant::now();
        let model = self.model(&ask.model)?;
        let form = match ask.form {
            AskedForm::Own => opening::own_form(&model)?,
            AskedForm::Form(form) => Some(form),
        };
        let (contract, open): (Option<Arc<Contract>>, _) = match form {
            Some(Form::Closed(contract)) => (Some(Arc::new(contract)), None),
            Some(Form::Open(open)) => (None, Some(open)),
            None => (None, None),
        };
        let session = self.session(&model).await?;
        let load_duration = started.elapsed();
        let today = Some((self.settings.today)());
        let call = Call::current();
        let Ask { parameters, detail, chat, .. } = ask;
        let task = Task { parameters, lane: call.lane, detail, open, today, ..Task::default() };
        let reply = session.reply(&task, contract, &chat)?;
        Ok(Answering { model: model.name, started, load_duration, reply, deadline: call.deadline, _session: session })
    }

    /// Asks every question of the state by itself.
    ///
    /// # Errors
    /// See [`Kind`]; one question that cannot be answered ends the request.
    pub async fn ask_questions(&self, ask: AskQuestions) -> Result<AnsweredQuestions, Problem> {
        let started = Instant::now();
        let model = self.model(&ask.model)?;
        let session = self.session(&model).await?;
        let call = Call::current();
        let task = Task { lane: call.lane, ..Task::default() };
        let evaluation_id = session.evaluation_id(&task);
        let AskQuestions { system, state, questions, .. } = ask;
        let shared = Arc::new((session, task, system, state));
        let sent = questions.into_iter().map(|question| {
            let shared = shared.clone();
            async move {
                let (session, task, system, state) = &*shared;
                session.ask(task, system.as_deref(), state, question)?.finish().await
            }
        });
        let answers = stream::iter(sent).buffered(QUESTIONS_AT_ONCE).try_collect::<Vec<Answered>>();
        let answers = within(call.deadline, answers).await?.map_err(Problem::from)?;
        Ok(AnsweredQuestions { model: model.name, answers, evaluation_id, elapsed: started.elapsed() })
    }

    async fn session(&self, model: &Model) -> Result<Arc<Session>, Problem> {
        let known = || self.sessions.lock().map(|sessions| sessions.get(&model.digest).cloned());
        if let Ok(Some(session)) = known() {
            return Ok(session);
        }
        let n_ctx = model.parameters.num_ctx.or(self.settings.n_ctx);
        let compute = opening::compute(self.settings.compute.clone(), &model.parameters);
        let wanted = Wanted { load: Load::Everything, n_ctx, compute, adapters: opening::own_adapters(model) };
        let Opening { options, defaults, .. } = opening::open(model, wanted)?;
        let loaded = tokio::task::spawn_blocking(move || Session::open(options, defaults)).await;
        let session = Arc::new(loaded.map_err(|error| Problem::new(Kind::Failed, error.to_string()))??);
        if let Ok(mut sessions) = self.sessions.lock() {
            sessions.insert(model.digest, session.clone());
        }
        Ok(session)
    }
}

/// Waits no longer than a request's time.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, Problem> {
    let Some(deadline) = deadline else { return Ok(work.await) };
    tokio::time::timeout_at(deadline.into(), work)
        .await
        .map_err(|_| Problem::new(Kind::TimedOut, "the request's time was over before its answer"))
}
