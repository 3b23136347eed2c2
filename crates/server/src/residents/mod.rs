//! Which models are loaded: on demand, shared, and unloaded when nobody uses them or others need the memory.
//!
//! What is resident is a *base*: one engine for weights and a way to compute them. The models that are made of it, tasks and
//! adapters, are its tenants and share it, each with a keep-alive of its own. [`roster`] decides, purely; an owner task
//! does what it says; [`Residents`] is the handle. It knows no manifests and no requests.

mod command;
mod handle;
mod lease;
mod loader;
mod owner;
pub mod roster;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use roster::{Demand, Need};
use slm_engine::compute::{Compute, KvType};
use slm_engine::memory::{cell_bytes, size};
use slm_engine::{DEFAULT_CONTEXT, EngineError, Options};
use slm_values::digest::Digest;
use slm_values::keep_alive::KeepAlive;
use slm_values::model_ref::ModelRef;

pub use handle::Residents;
pub use lease::EngineLease;
pub use loader::{GivenUp, LoadFn, Loader};

/// What one engine can serve: the same weights, computed in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseKey {
    weights_id: String,
    compute: Compute,
}

/// A model that lives on a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    pub name: ModelRef,
    /// Its manifest's.
    pub digest: Digest,
    /// The digests of its own adapters.
    pub adapters: Vec<String>,
}

/// What a request wants to be loaded.
#[derive(Debug, Clone)]
pub struct Order {
    pub tenant: Tenant,
    /// How its base is loaded; the context may become larger than is said here, never smaller.
    pub options: Options,
    /// `None` leaves it at what was said of this model before, or at the default.
    pub keep_alive: Option<KeepAlive>,
}

/// How many stay, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Where no request says another.
    pub keep_alive: KeepAlive,
    /// Engines at once; `None` is what memory allows.
    pub max_loaded: Option<NonZeroUsize>,
    /// How long a request waits for engines that are never idle, before they take no new requests for its sake.
    pub patience: Duration,
    /// How long a load may take.
    pub load_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            keep_alive: KeepAlive::DEFAULT,
            max_loaded: None,
            patience: Duration::from_secs(5),
            load_timeout: Duration::from_secs(300),
        }
    }
}

/// Why a request gets no engine.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Load(EngineError),
    #[error(transparent)]
    TooLarge(Shortage),
    #[error("the server is shutting down; try again later")]
    Closing,
}

/// A model that does not fit, though everything else made room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Shortage {
    /// Bytes that it takes at least.
    pub need: u64,
    /// Bytes that it could have.
    pub room: u64,
    /// With a context of so many tokens.
    pub n_ctx: u32,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (need, room, n_ctx) = (size(self.need), size(self.room), self.n_ctx);
        write!(
            f,
            "out of memory: the model needs {need} with a context of {n_ctx} tokens, and {room} can be had with no other \
             model loaded"
        )
    }
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Loads that began.
    pub loads: u64,
    pub loaded: u64,
    pub load_failures: u64,
    /// Loads that nobody waited for any more.
    pub loads_cancelled: u64,
    /// Of all loads that came to their end.
    pub load_time: Duration,
    /// Idle engines that made room for others.
    pub evicted: u64,
    /// Engines that went because nobody wanted them any more.
    pub expired: u64,
    /// Engines that ended by themselves.
    pub crashes: u64,
    /// Loads of bases whose engine had ended by itself.
    pub restarts: u64,
}

/// A base in memory, as it is shown.
#[derive(Debug, Clone)]
pub struct Resident {
    pub weights_id: String,
    pub tenants: Vec<TenantState>,
    pub state: State,
    pub n_ctx: u32,
    /// Bytes, measured; `None` where nobody can tell.
    pub size: Option<u64>,
    /// Bytes on devices, reckoned by the layers that are there.
    pub size_vram: u64,
    /// Bytes, as estimated before it was loaded.
    pub estimate: u64,
    /// The process that it has for itself.
    pub pid: Option<u32>,
}

impl Resident {
    /// What one of its models has of these bytes of it, so that all of them together have these.
    #[must_use]
    pub fn share(&self, n_bytes: u64, number: usize) -> u64 {
        part(n_bytes, self.tenants.len(), number)
    }
}

fn part(n_bytes: u64, n_models: usize, number: usize) -> u64 {
    let n_models = n_models.max(1) as u64;
    n_bytes / n_models + u64::from((number as u64) < n_bytes % n_models)
}

#[derive(Debug, Clone)]
pub struct TenantState {
    pub tenant: Tenant,
    pub n_answering: usize,
    /// `None` is never. Of one that answers, when it goes if it were done now.
    pub expires_at: Option<SystemTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Loading {
        since: SystemTime,
    },
    Ready,
    Answering {
        n_requests: usize,
    },
    /// It takes no new requests.
    Stopping {
        n_requests: usize,
    },
}

/// What has happened and what is the case, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub counters: Counters,
    pub n_loaded: usize,
    pub n_loading: usize,
    pub n_answering: usize,
    /// Requests that wait for a load.
    pub n_waiting: usize,
}

impl BaseKey {
    #[must_use]
    pub fn of(options: &Options) -> BaseKey {
        let mut compute = options.compute.clone();
        // Batches that are said and batches that come of nothing said are the same batches.
        let (n_batch, n_ubatch) = compute.batches();
        (compute.n_batch, compute.n_ubatch) = (Some(n_batch), Some(n_ubatch));
        BaseKey { weights_id: options.weights_id.clone(), compute }
    }

    #[must_use]
    pub fn weights_id(&self) -> &str {
        &self.weights_id
    }
}

impl Hash for BaseKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.weights_id.hash(state);
    }
}

impl Order {
    /// What the roster has to know of it.
    #[must_use]
    pub fn demand(&self) -> Demand {
        let n_ctx = n_ctx(&self.options);
        Demand {
            base: BaseKey::of(&self.options),
            n_ctx,
            need: need(&self.options, n_ctx),
            tenant: self.tenant.clone(),
            keep_alive: self.keep_alive,
        }
    }
}

/// Positions of the context that such an engine makes.
fn n_ctx(options: &Options) -> u32 {
    let asked = options.n_ctx.unwrap_or(DEFAULT_CONTEXT);
    match u32::try_from(options.footprint.n_ctx_train) {
        Ok(0) | Err(_) => asked,
        Ok(trained) => asked.min(trained),
    }
}

/// Bytes of the weights and of the contexts of one lane, and of both.
fn need(options: &Options, n_ctx: u32) -> Need {
    let cells = |kv_type| cell_bytes(&options.footprint, kv_type).saturating_mul(u64::from(n_ctx));
    let (generating, scoring) = (cells(options.compute.kv_type), cells(KvType::F16));
    let least = options.footprint.weights.saturating_add(generating);
    Need { least, likely: least.saturating_add(scoring) }
}
