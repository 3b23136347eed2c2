//! What others count for themselves, the queue, the loaded models and the log of decisions, as figures of one moment.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::{Model, signed};
use crate::api::decision_log::DecisionCounts;

/// What others count for themselves, asked for when it is told.
#[derive(Debug, Clone, Default)]
pub struct Now {
    pub queue: QueueNow,
    pub models: ModelsNow,
    /// Each loaded base: the names of its models, and its bytes.
    pub memory: Vec<(String, u64)>,
    /// Lines of the log of decisions, where there is one.
    pub decisions: Option<DecisionCounts>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct QueueNow {
    pub depth: usize,
    pub limit: usize,
    /// Requests being processed.
    pub running: usize,
    pub admitted: u64,
    /// Refused because too many waited.
    pub refused: u64,
    /// Whose time was over while they waited.
    pub timed_out: u64,
    /// Whose clients went away while they waited.
    pub withdrawn: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct ModelsNow {
    pub loaded: usize,
    pub loading: usize,
    /// Requests that wait for a model to be loaded.
    pub waiting: usize,
    pub loads: u64,
    pub load_failures: u64,
    pub load_time: Duration,
    pub evicted: u64,
    pub expired: u64,
    pub crashed: u64,
    pub restarted: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Leaving {
    reason: &'static str,
}

impl Now {
    pub(super) fn registry(&self) -> Registry {
        let mut to = Registry::with_prefix("slm");
        let (queue, models) = (&self.queue, &self.models);
        for (name, help, n) in [
            ("queue_depth", "Requests waiting in the queue", queue.depth),
            ("queue_limit", "Maximum number of requests in the queue", queue.limit),
            ("queue_running", "Requests being processed", queue.running),
            ("models_loaded", "Models that are loaded", models.loaded),
            ("models_loading", "Models that are being loaded", models.loading),
            ("models_awaited", "Requests that wait for a model to be loaded", models.waiting),
        ] {
            to.register(name, help, ConstGauge::new(signed(n)));
        }
        for (name, help, n) in [
            ("queue_admitted", "Requests taken from the queue", queue.admitted),
            ("queue_refused", "Requests refused because the queue was full", queue.refused),
            ("queue_timed_out", "Requests that timed out in the queue", queue.timed_out),
            ("queue_withdrawn", "Requests whose clients disconnected while they were in the queue", queue.withdrawn),
            ("model_loads", "Loads started", models.loads),
            ("model_load_failures", "Loads that failed", models.load_failures),
            ("engine_restarts", "Loads of models whose process had crashed", models.restarted),
        ] {
            to.register(name, help, ConstCounter::new(n));
        }
        if let Some(DecisionCounts { written, dropped }) = self.decisions {
            let help = "Lines written to the log of decisions";
            to.register("decisions_logged", help, ConstCounter::new(written));
            let help = "Decisions that could not be written to their log";
            to.register("decisions_dropped", help, ConstCounter::new(dropped));
        }
        let took = ConstCounter::new(models.load_time.as_secs_f64());
        to.register_with_unit("model_load_duration", "Total time spent loading models", Unit::Seconds, took);
        let unloads = Family::<Leaving, Counter>::default();
        for (reason, n) in [("evicted", models.evicted), ("expired", models.expired), ("crashed", models.crashed)] {
            unloads.get_or_create(&Leaving { reason }).inc_by(n);
        }
        let help = "Models unloaded: to make room for others, after their keep-alive, or because their process crashed";
        to.register("model_unloads", help, unloads);
        let memory = Family::<Model, Gauge>::default();
        for (model, n_bytes) in &self.memory {
            memory.get_or_create(&Model::of(model)).set(i64::try_from(*n_bytes).unwrap_or(i64::MAX));
        }
        let help = "Memory of a loaded model's process, including its contexts";
        to.register_with_unit("model_memory", help, Unit::Bytes, memory);
        to
    }
}
