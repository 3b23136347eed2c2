//! The one way of every dialect: a model's name to a loaded model, a place in line, and a reply.

mod known;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use self::known::{Known, Models};
use super::admission::{Admission, Entry, Permit};
use super::call::Call;
use super::ledger::Ledger;
use super::local::Wish;
use super::logging::Account;
use super::metrics::{self, Metrics, ModelsNow, Now, QueueNow};
use super::problem::{Kind, Problem};
use crate::contract::{Contract, Form, Open};
use crate::decide::Question;
use crate::engine::compute::Compute;
use crate::engine::{DEFAULT_CONTEXT, Detail, Options, Token};
use crate::infer::{Answered, Chat, Defaults, Given, Memory, Piece, Reply, Session, Task, TooLong, Vectors};
use crate::keep_alive::KeepAlive;
use crate::model_ref::ModelRef;
use crate::opening;
use crate::residents::{BaseKey, Guest, Order, Residents, Tenant};
use crate::sampling::Parameters;
use crate::store::{Model, Store};
use crate::template::Date;
use crate::transfer::Places;

/// What a service is started with; the environment and the clock were read by whoever starts it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub store: Store,
    /// Where models come from and go to.
    pub places: Places,
    pub compute: Compute,
    /// Positions of a context where neither request nor model says; `None` leaves it to the engine.
    pub n_ctx: Option<u32>,
    /// Requests that wait at most, all together.
    pub max_queue: usize,
    /// Requests that one engine works on at once; `None` is what its context has room for.
    pub n_parallel: Option<NonZeroUsize>,
    /// The longest that a request may take; `None` is as long as it likes.
    pub request_timeout: Option<Duration>,
    pub today: fn() -> Date,
    /// A time as RFC 3339 in UTC.
    pub timestamp: fn(SystemTime) -> String,
}

/// Answers requests, in no dialect.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    residents: Residents,
    admission: Admission<BaseKey>,
    models: Models,
    metrics: Metrics,
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
    /// How long the model stays after this; `None` leaves it as it is.
    pub keep_alive: Option<KeepAlive>,
    /// A chat template in the place of the model's, in Go's language or in Jinja.
    pub template: Option<String>,
    /// A prompt that the client made, in the place of the chat.
    pub given: Option<Given>,
    /// Added to the logits of these tokens.
    pub bias: Vec<(Token, f32)>,
    /// How the conversation is kept between this and the next request.
    pub memory: Memory,
}

impl Ask {
    /// A conversation of which nothing else is said.
    #[must_use]
    pub fn new(model: impl Into<String>, chat: Chat) -> Ask {
        Ask {
            model: model.into(),
            chat,
            form: AskedForm::Own,
            parameters: Parameters::default(),
            detail: Detail::Text,
            keep_alive: None,
            template: None,
            given: None,
            bias: Vec::new(),
            memory: Memory::Messages,
        }
    }
}

/// The form of an answer, as a request wants it.
#[derive(Debug, Clone, Default)]
pub enum AskedForm {
    /// The model's own, where its Modelfile gives one.
    #[default]
    Own,
    /// None, whatever the model's own is.
    Anything,
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

/// A loaded model, held as long as this lives.
#[derive(Debug)]
pub struct Opened {
    /// The model's full name.
    pub model: ModelRef,
    pub session: Arc<Session>,
    /// What loading took, where this request had to wait for it.
    pub load_duration: Duration,
    known: Arc<Known>,
    _guest: Guest,
    /// Given back after the guest has left.
    _permit: Option<Permit<BaseKey>>,
}

impl Opened {
    /// The model as a request wants it.
    fn session(&self, ask: &Ask) -> Result<Arc<Session>, Problem> {
        match &ask.template {
            None => Ok(self.session.clone()),
            Some(template) => self.with_template(template).map(Arc::new),
        }
    }

    /// The model with another chat template.
    fn with_template(&self, template: &str) -> Result<Session, Problem> {
        let unusable = |error: &dyn std::fmt::Display| {
            Problem::invalid(format!("the template cannot be used: {error}")).of("template")
        };
        let source = opening::checked(template).map_err(|error| unusable(&error))?;
        let defaults = Defaults { template: Some(source), ..self.known.defaults.clone() };
        Session::over(self.session.engine().clone(), defaults).map_err(|error| unusable(&error))
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
    ledger: Ledger,
    call: Call,
    _opened: Arc<Opened>,
}

impl Answering {
    /// Under which equal questions have equal probabilities.
    #[must_use]
    pub fn evaluation_id(&self) -> &str {
        self.reply.evaluation_id()
    }

    /// The next piece; `None` behind the last.
    ///
    /// # Errors
    /// What ended the reply; no piece comes after it.
    pub async fn next(&mut self) -> Result<Option<Piece>, Problem> {
        let piece = self.call.within(self.reply.next()).await??;
        if let Some(piece) = &piece {
            self.ledger.piece(piece);
        }
        Ok(piece)
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

/// Cells of a context that a request is thought to take, where its engine has to be shared before anybody knows.
const CELLS_OF_A_REQUEST: usize = 256;
/// Sequences of an engine.
const MAX_PARALLEL: usize = 32;

/// Questions of one request that the engine holds at once: enough that it never waits, few enough that others come between.
const QUESTIONS_AT_ONCE: usize = 4;

impl Service {
    #[must_use]
    pub fn new(settings: Settings, residents: Residents) -> Service {
        let admission = Admission::new(settings.max_queue);
        let metrics = Metrics::new(metrics::Build::THIS);
        Service { settings, residents, admission, models: Models::default(), metrics }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Which models are loaded.
    #[must_use]
    pub fn residents(&self) -> &Residents {
        &self.residents
    }

    /// Who waits for which engine.
    #[must_use]
    pub fn admission(&self) -> &Admission<BaseKey> {
        &self.admission
    }

    /// What has been counted so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether one more request could wait for its turn.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.admission.snapshot().n_queued < self.settings.max_queue
    }

    /// What is the case, for metrics.
    pub async fn now(&self) -> Now {
        let (line, models) = (self.admission.snapshot(), self.residents.snapshot().await);
        let queue = QueueNow {
            depth: line.n_queued,
            limit: self.settings.max_queue,
            running: line.n_running,
            admitted: line.admitted,
            refused: line.busy,
            timed_out: line.timed_out,
            withdrawn: line.withdrawn,
        };
        let counters = models.counters;
        let models = ModelsNow {
            loaded: models.n_loaded,
            loading: models.n_loading,
            waiting: models.n_waiting,
            loads: counters.loads,
            load_failures: counters.load_failures,
            load_time: counters.load_time,
            evicted: counters.evicted,
            expired: counters.expired,
            crashed: counters.crashes,
            restarted: counters.restarts,
        };
        let memory = self.residents.list().await.into_iter().filter_map(|resident| {
            let names: Vec<String> = resident.tenants.iter().map(|state| state.tenant.name.to_string()).collect();
            Some((names.join(","), resident.size?))
        });
        Now { queue, models, memory: memory.collect() }
    }

    /// The stored model of a name.
    ///
    /// # Errors
    /// The name is none, or no model has it.
    pub fn model(&self, name: &str) -> Result<Model, Problem> {
        let name: ModelRef = name.parse().map_err(Problem::no_model)?;
        Ok(self.settings.store.resolve(&name)?)
    }

    /// What was read of a request. Where it cannot be read and its model is not there, the model is what is wrong.
    ///
    /// # Errors
    /// The model is missing, or what the reader found.
    pub fn read<T>(&self, model: &str, read: Result<T, Problem>) -> Result<T, Problem> {
        read.map_err(|problem| self.model(model).err().filter(|error| error.kind == Kind::NotFound).unwrap_or(problem))
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

    /// Loads a model where it is not loaded, and holds it. Of the parameters, those count that say how it is computed.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn open(
        &self,
        name: &str,
        parameters: &Parameters,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Opened, Problem> {
        let known = self.models.find(&self.settings, name)?;
        let account = Account::current();
        account.model(known.name.to_string());
        let mut options = known.options(&self.settings);
        options.n_ctx = parameters.num_ctx.or(options.n_ctx);
        options.compute = opening::compute(options.compute, parameters);
        let call = Call::current();
        let entry = Entry {
            gate: BaseKey::of(&options),
            n_permits: self.n_permits(options.n_ctx),
            client: call.client.as_str().into(),
            deadline: call.deadline,
        };
        let permit = call.within(self.admission.enter(entry)).await??;
        account.waited(permit.waited());
        self.metrics.waited(permit.waited());
        self.hold(known, options, keep_alive, Some(permit)).await
    }

    /// Waits for a base and becomes its guest.
    async fn hold(
        &self,
        known: Arc<Known>,
        options: Options,
        keep_alive: Option<KeepAlive>,
        permit: Option<Permit<BaseKey>>,
    ) -> Result<Opened, Problem> {
        let adapters = known.defaults.adapters.as_slice().iter().map(|adapter| adapter.id.clone()).collect();
        let tenant = Tenant { name: known.name.clone(), digest: known.digest, adapters };
        let order = Order { tenant, options, keep_alive };
        let guest = Call::current().within(self.residents.acquire(order)).await??;
        let session = guest.session(|| known.defaults.clone())?;
        let (model, load_duration) = (known.name.clone(), guest.waited());
        Ok(Opened { model, session, load_duration, known, _guest: guest, _permit: permit })
    }

    /// Loads the model that another process of this user wishes for, and holds it. It takes no place in line: what it asks
    /// is its own affair, and the engine shares itself between all.
    ///
    /// # Errors
    /// The name means another model by now; see [`Kind`].
    pub async fn lend(&self, wish: &Wish) -> Result<Opened, Problem> {
        let known = self.models.find(&self.settings, &wish.model)?;
        if known.digest != wish.digest {
            let message = format!("`{}` is another model by now", wish.model);
            return Err(Problem::new(Kind::NotFound, message).of("model"));
        }
        let mut options = known.options(&self.settings);
        options.n_ctx = wish.n_ctx.or(options.n_ctx);
        options.compute = wish.compute.clone().unwrap_or(options.compute);
        self.hold(known, options, None, None).await
    }

    /// Requests that an engine works on at once: as many as its context has room for, where nobody says.
    fn n_permits(&self, n_ctx: Option<u32>) -> usize {
        let room = n_ctx.unwrap_or(DEFAULT_CONTEXT) as usize / CELLS_OF_A_REQUEST;
        self.settings.n_parallel.map_or(room.clamp(1, MAX_PARALLEL), NonZeroUsize::get)
    }

    /// Lets a model go once its answers are done.
    ///
    /// # Errors
    /// No model has the name.
    pub async fn unload(&self, name: &str) -> Result<(), Problem> {
        // One that was deleted meanwhile may still be in memory.
        match self.residents.unload(&name.parse().map_err(Problem::no_model)?).await {
            Some(_) => Ok(()),
            None => self.model(name).map(|_| ()),
        }
    }

    /// Does what waits for the disk, away from the threads that serve.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn in_store<T: Send + 'static, E: Into<Problem> + Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = self.settings.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|error| Problem::new(Kind::Failed, error.to_string()))?.map_err(Into::into)
    }

    /// Sends a conversation to its model, which is loaded where it is not.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn ask(&self, ask: Ask) -> Result<Answering, Problem> {
        let opened = self.open(&ask.model, &ask.parameters, ask.keep_alive).await?;
        self.ask_opened(Arc::new(opened), ask)
    }

    /// Sends a conversation to a model that is held.
    ///
    /// # Errors
    /// See [`Kind`].
    pub fn ask_opened(&self, opened: Arc<Opened>, ask: Ask) -> Result<Answering, Problem> {
        let started = Instant::now();
        let (task, contract) = self.task(&opened, &ask)?;
        let session = opened.session(&ask)?;
        let reply = match &ask.given {
            None => session.reply(&task, contract, &ask.chat)?,
            Some(given) => session.continue_from(&task, contract, given)?,
        };
        let (model, load_duration) = (opened.model.clone(), opened.load_duration);
        let (ledger, call) = (Ledger::new(&self.metrics, &model), Call::current());
        Ok(Answering { model, started, load_duration, reply, ledger, call, _opened: opened })
    }

    /// How many tokens a conversation has in front of its answer.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn count(&self, ask: &Ask) -> Result<usize, Problem> {
        let opened = self.open(&ask.model, &ask.parameters, ask.keep_alive).await?;
        self.count_opened(&opened, ask).await
    }

    /// As [`Service::count`], by a model that is held.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn count_opened(&self, opened: &Opened, ask: &Ask) -> Result<usize, Problem> {
        let (task, contract) = self.task(opened, ask)?;
        let session = opened.session(ask)?;
        let count = session.count(&task, contract.as_deref(), &ask.chat);
        Ok(Call::current().within(count).await??)
    }

    /// What is wanted of a model, and the contract of a closed answer.
    fn task(&self, opened: &Opened, ask: &Ask) -> Result<(Task, Option<Arc<Contract>>), Problem> {
        let form = match &ask.form {
            AskedForm::Own => opened.known.form()?,
            AskedForm::Anything => None,
            AskedForm::Form(form) => Some(form.clone()),
        };
        let (contract, open) = match form {
            Some(Form::Closed(contract)) => (Some(Arc::new(contract)), None),
            Some(Form::Open(open)) => (None, Some(open)),
            None => (None, None),
        };
        if contract.is_some() && !ask.bias.is_empty() {
            let why = "the answers of a closed format are scored, and a bias has no part in that; leave it away";
            return Err(Problem::unsupported("logit_bias", why));
        }
        let (parameters, bias, memory) = (ask.parameters.clone(), ask.bias.clone(), ask.memory.clone());
        let (lane, today) = (Call::current().lane, Some((self.settings.today)()));
        Ok((Task { parameters, lane, detail: ask.detail, bias, memory, open, today, ..Task::default() }, contract))
    }

    /// Asks every question of the state by itself.
    ///
    /// # Errors
    /// See [`Kind`]; one question that cannot be answered ends the request.
    pub async fn ask_questions(&self, ask: AskQuestions) -> Result<AnsweredQuestions, Problem> {
        let started = Instant::now();
        let opened = self.open(&ask.model, &Parameters::default(), None).await?;
        let call = Call::current();
        let task = Task { lane: call.lane, ..Task::default() };
        let (model, evaluation_id) = (opened.model.clone(), opened.session.evaluation_id(&task));
        let AskQuestions { system, state, questions, .. } = ask;
        let shared = Arc::new((opened, task, system, state));
        let sent = questions.into_iter().map(|question| {
            let shared = shared.clone();
            async move {
                let (opened, task, system, state) = &*shared;
                opened.session.ask(task, system.as_deref(), state, question)?.finish().await
            }
        });
        let answers = stream::iter(sent).buffered(QUESTIONS_AT_ONCE).try_collect::<Vec<Answered>>();
        let answers = call.within(answers).await?.map_err(Problem::from)?;
        Ledger::new(&self.metrics, &model).answered(&answers);
        Ok(AnsweredQuestions { model, answers, evaluation_id, elapsed: started.elapsed() })
    }
}

impl Service {
    /// Embeds texts, in their order.
    ///
    /// # Errors
    /// See [`Kind`].
    pub async fn embed(&self, embed: Embed) -> Result<Embedded, Problem> {
        let started = Instant::now();
        let opened = self.open(&embed.model, &embed.parameters, embed.keep_alive).await?;
        let task = Task { parameters: embed.parameters, ..Task::default() };
        let vectors = opened.session.vectors(&task, embed.texts, embed.too_long);
        let vectors = Call::current().within(vectors).await??;
        Ledger::new(&self.metrics, &opened.model).embedded(vectors.embeddings.counts.prompt);
        let (model, load_duration) = (opened.model.clone(), opened.load_duration);
        Ok(Embedded { model, load_duration, vectors, elapsed: started.elapsed() })
    }
}

/// Texts to embed.
#[derive(Debug, Clone)]
pub struct Embed {
    pub model: String,
    pub texts: Vec<String>,
    pub too_long: TooLong,
    pub parameters: Parameters,
    pub keep_alive: Option<KeepAlive>,
}

/// The vectors of texts, with what they took.
#[derive(Debug, Clone)]
pub struct Embedded {
    pub model: ModelRef,
    pub load_duration: Duration,
    pub vectors: Vectors,
    pub elapsed: Duration,
}
