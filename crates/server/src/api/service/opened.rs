//! A model's name to a loaded model that is held: a place in line, and a base to be a lease of.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::Service;
use super::model_cache::{Answers, CachedModel};
use crate::api::admission::{Entry, Permit};
use crate::api::idle_fields;
use crate::api::local::Wish;
use crate::api::logging::Account;
use crate::api::problem::{Kind, Problem};
use crate::api::request_context::RequestContext;
use crate::api::stage::Stage;
use crate::residents::{BaseKey, EngineLease, Order, Tenant};
use slm_engine::{DEFAULT_CONTEXT, Options};
use slm_infer::infer::{Embedder, InferError, Responder, Session};
use slm_infer::load_spec;
use slm_values::contract::Form;
use slm_values::digest::Digest;
use slm_values::keep_alive::KeepAlive;
use slm_values::model_ref::ModelRef;
use slm_values::sampling::Parameters;

/// Cells of a context that a request is thought to take, where its engine has to be shared before anybody knows.
const CELLS_OF_A_REQUEST: usize = 256;
/// Sequences of an engine.
const MAX_PARALLEL: usize = 32;

/// A loaded model, held as long as this lives.
#[derive(Debug)]
pub struct Opened {
    /// The model's full name.
    pub model: ModelRef,
    /// What answers: nothing of it goes while this lives.
    pub responder: Responder,
    /// What loading took, where this request had to wait for it.
    pub load_duration: Duration,
    cached: Arc<CachedModel>,
    /// `None` where another server answers.
    _lease: Option<EngineLease>,
    /// Given back after the lease has left.
    _permit: Option<Permit<BaseKey>>,
}

impl Opened {
    /// A model that needs no engine to be loaded.
    fn elsewhere(responder: Responder, cached: Arc<CachedModel>) -> Opened {
        let (model, load_duration) = (cached.name.clone(), Duration::ZERO);
        Opened { model, responder, load_duration, cached, _lease: None, _permit: None }
    }

    /// The digest of the model's manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.cached.digest
    }

    /// The digest of its weights, or of the file that says who answers in their place.
    #[must_use]
    pub fn layer(&self) -> Digest {
        self.cached.layer
    }

    /// The form that the Modelfile gives every answer.
    ///
    /// # Errors
    /// The stored FORMAT is not supported.
    pub fn own_form(&self) -> Result<Form, Problem> {
        self.cached.form()
    }
}

impl Service {
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
        let account = Account::current();
        let opened =
            self.open_for_request(name, parameters, keep_alive, (&RequestContext::current(), &account)).await?;
        account.model(opened.model.to_string());
        Ok(opened)
    }

    /// As [`Service::open`], for a request that is not this task's.
    pub(super) async fn open_for_request(
        &self,
        name: &str,
        parameters: &Parameters,
        keep_alive: Option<KeepAlive>,
        (context, account): (&RequestContext, &Account),
    ) -> Result<Opened, Problem> {
        let cached = self.models.find(&self.settings, name)?;
        let mut options = match &cached.answers {
            Answers::Engine(options) => self.options(options),
            Answers::Remote(remote) => {
                account.reached(Stage::Answering);
                return Ok(Opened::elsewhere(Responder::Remote(remote.clone()), cached));
            }
            Answers::Cascade(model, remotes) => {
                account.reached(Stage::Answering);
                let responder = self.cascade(&cached, (model, remotes), (context, account));
                return Ok(Opened::elsewhere(responder, cached));
            }
        };
        options.n_ctx = parameters.num_ctx.or(options.n_ctx);
        // Ollama's clients send one size for all models, so that a model that has less serves them with what it has.
        if parameters.num_ctx.is_some_and(|n_ctx| options.footprint.context_below(n_ctx).is_some()) {
            idle_fields::note("options.num_ctx", "the model has a smaller context, which it uses whole");
        }
        options.compute = load_spec::compute(options.compute, parameters);
        let entry = Entry {
            gate: BaseKey::of(&options),
            n_permits: self.n_permits(options.n_ctx),
            client: context.client.as_str().into(),
            priority: context.priority,
            deadline: context.deadline,
        };
        let in_line = self.admission.line_up(entry);
        account.reached(Stage::InLine(in_line.ticket()));
        let permit = context.within(in_line.admitted()).await??;
        account.waited(permit.waited());
        self.metrics.waited(permit.waited());
        self.hold((cached, options), keep_alive, Some(permit), (context, account)).await
    }

    /// Waits for a base and becomes its lease.
    async fn hold(
        &self,
        (cached, options): (Arc<CachedModel>, Options),
        keep_alive: Option<KeepAlive>,
        permit: Option<Permit<BaseKey>>,
        (context, account): (&RequestContext, &Account),
    ) -> Result<Opened, Problem> {
        let adapters = cached.defaults.adapters.as_slice().iter().map(|adapter| adapter.id.clone()).collect();
        let tenant = Tenant { name: cached.name.clone(), digest: cached.digest, adapters };
        let order = Order { tenant, options, keep_alive };
        account.reached(Stage::Loading);
        let lease = context.within(self.residents.acquire(order)).await??;
        account.reached(Stage::Answering);
        let responder = Responder::Engine(context.within(self.session(&lease, &cached)).await??);
        let (model, load_duration) = (cached.name.clone(), lease.waited());
        Ok(Opened { model, responder, load_duration, cached, _lease: Some(lease), _permit: permit })
    }

    /// The session of a model whose base is held; where an embedding model finds its examples, that is loaded too.
    async fn session(&self, lease: &EngineLease, cached: &CachedModel) -> Result<Arc<Session>, Problem> {
        if let Some(session) = lease.kept_session() {
            return Ok(session);
        }
        let embedder = match &cached.embedder {
            Some(options) => {
                let engine = self.residents.load_beside(options.clone()).await.map_err(InferError::from)?;
                Some(Embedder::over(engine)?)
            }
            None => None,
        };
        Ok(lease.session(cached.defaults.clone(), embedder)?)
    }

    /// Loads the model that another process of this user wishes for, and holds it. It takes no place in line: what it asks
    /// is its own affair, and the engine shares itself between all.
    ///
    /// # Errors
    /// The name means another model by now; see [`Kind`].
    pub async fn lend(&self, wish: &Wish) -> Result<Opened, Problem> {
        let cached = self.models.find(&self.settings, &wish.model)?;
        if cached.digest != wish.digest {
            let message = format!("`{}` was replaced by another model", wish.model);
            return Err(Problem::new(Kind::NotFound, message).of("model"));
        }
        let Answers::Engine(options) = &cached.answers else {
            let message = format!("`{}` has no weights of its own", wish.model);
            return Err(Problem::new(Kind::Unsupported, message).of("model"));
        };
        let mut options = self.options(options);
        options.n_ctx = wish.n_ctx.or(options.n_ctx);
        options.compute = wish.compute.clone().unwrap_or(options.compute);
        let (context, account) = (RequestContext::current(), Account::current());
        self.hold((cached, options), wish.keep_alive, None, (&context, &account)).await
    }

    /// How a model is loaded where a request says nothing of it.
    fn options(&self, own: &Options) -> Options {
        let n_ctx = own.n_ctx.or(self.settings.n_ctx);
        Options { n_ctx, ..own.clone() }
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
        let known = self.settings.store.spelled(&name.parse().map_err(Problem::no_model)?)?;
        match self.residents.unload(&known).await {
            Some(_) => Ok(()),
            None => self.model(name).map(|_| ()),
        }
    }
}
