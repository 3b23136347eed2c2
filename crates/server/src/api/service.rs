//! The path that all dialects share: from a model's name to a loaded model, a place in the queue, and a reply.

mod answering;
mod model_cache;
mod opened;
mod questions;
mod tiers;
mod vectors;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::model_cache::ModelCache;
use super::admission::Admission;
use super::decision_log::DecisionLog;
use super::metrics::{self, Metrics, ModelsNow, Now, QueueNow};
use super::problem::{Kind, Problem};
use super::stage::Stages;
use crate::residents::{BaseKey, Residents};
use slm_engine::compute::Compute;
use slm_store::store::{Model, Store};
use slm_store::transfer::Servers;
use slm_values::model_ref::ModelRef;
use slm_values::template::Date;

pub use answering::{Answering, AskedForm, TurnRequest};
pub use opened::Opened;
pub use questions::{Answered, AnsweredQuestions, AskQuestions};
pub use vectors::{Embed, Embedded};

/// What a service is started with; the environment and the clock were read by whoever starts it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub store: Store,
    /// Where models come from and go to.
    pub servers: Servers,
    pub compute: Compute,
    /// Positions of a context where neither request nor model says; `None` leaves it to the engine.
    pub n_ctx: Option<u32>,
    /// Requests that wait at most, all together.
    pub max_queue: usize,
    /// Requests that one engine works on at once; `None` is what its context has room for.
    pub n_parallel: Option<NonZeroUsize>,
    /// The longest that a request may take; `None` is as long as it likes.
    pub request_timeout: Option<Duration>,
    /// Looks up a variable of the environment, where a remote's key may be.
    pub variable: fn(&str) -> Option<String>,
    /// Where every closed answer is written down.
    pub decisions: Option<DecisionLog>,
    pub today: fn() -> Date,
    /// A time as RFC 3339 in UTC.
    pub timestamp: fn(SystemTime) -> String,
}

/// Answers requests, in no dialect. Cheap to clone; clones are of the same service.
#[derive(Debug, Clone)]
pub struct Service {
    settings: Arc<Settings>,
    residents: Residents,
    admission: Arc<Admission<BaseKey>>,
    models: Arc<ModelCache>,
    metrics: Metrics,
    stages: Stages,
}

impl Service {
    #[must_use]
    pub fn new(settings: Settings, residents: Residents) -> Service {
        let admission = Arc::new(Admission::new(settings.max_queue));
        let metrics = Metrics::new(metrics::Build::this());
        let (settings, models) = (Arc::new(settings), Arc::default());
        Service { settings, residents, admission, models, metrics, stages: Stages::default() }
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

    /// How far each request has come that is in flight.
    #[must_use]
    pub fn stages(&self) -> &Stages {
        &self.stages
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
        let decisions = self.settings.decisions.as_ref().map(DecisionLog::counts);
        Now { queue, models, memory: memory.collect(), decisions }
    }

    /// The stored model of a name.
    ///
    /// # Errors
    /// The name is invalid, or no model has it.
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

    /// The model to take where a request cannot name one: the only one that is loaded, else the only one in the store.
    ///
    /// # Errors
    /// There are several, or none.
    pub async fn model_at_hand(&self) -> Result<String, Problem> {
        match self.residents.names().await.as_slice() {
            [only] => Ok(only.to_string()),
            _ => self.model_or_default(None),
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
}
