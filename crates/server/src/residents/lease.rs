//! A loaded base and the leases on it: an engine is not ended while someone holds an [`EngineLease`].

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;

use super::{BaseKey, Tenant};
use slm_engine::Engine;
use slm_infer::infer::{Defaults, Embedder, InferError, Session};
use slm_values::digest::Digest;

/// Sessions that a base keeps: more than anybody has models of one base, and an end for one that is always loaded.
const MAX_SESSIONS: usize = 64;

/// An engine and what was made of it.
#[derive(Debug)]
pub struct Base {
    pub key: BaseKey,
    engine: Engine,
    sessions: Mutex<HashMap<Digest, Arc<Session>>>,
}

/// A request's hold on a loaded base. The engine stays as long as this lives: keep it until the last event was read.
#[derive(Debug)]
pub struct EngineLease {
    base: Arc<Base>,
    tenant: Tenant,
    waited: Duration,
    _guard: LeaseGuard,
}

/// Calls once, when it is dropped, what says that a lease has ended.
pub struct LeaseGuard {
    leave: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Base {
    #[must_use]
    pub fn new(key: BaseKey, engine: Engine) -> Base {
        Base { key, engine, sessions: Mutex::default() }
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl EngineLease {
    #[must_use]
    pub fn new(base: Arc<Base>, tenant: Tenant, guard: LeaseGuard, waited: Duration) -> EngineLease {
        EngineLease { base, tenant, waited, _guard: guard }
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.base.engine
    }

    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    #[must_use]
    pub fn base(&self) -> &BaseKey {
        &self.base.key
    }

    /// How long it took to be let in: the load, where there was one, and what came before it.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The session of this lease's model, where an earlier request made one and all that it asks still runs.
    #[must_use]
    pub fn kept_session(&self) -> Option<Arc<Session>> {
        let runs = |embedder: &Embedder| embedder.engine().closed().now_or_never().is_none();
        let session = self.sessions().get(&self.tenant.digest).map(Arc::clone)?;
        session.embedder().is_none_or(runs).then_some(session)
    }

    /// Makes the session of this lease's model and keeps it with the base; to be used while the lease is held. `embedder` is
    /// the model beside it that finds its examples.
    ///
    /// # Errors
    /// The model's template cannot be used.
    pub fn session(&self, defaults: Defaults, embedder: Option<Embedder>) -> Result<Arc<Session>, InferError> {
        // Two first requests may both come here: the second one's session takes the place of the first, and both are good.
        let session = Session::over(self.base.engine.clone(), defaults)?;
        let session = Arc::new(match embedder {
            Some(embedder) => session.beside(embedder),
            None => session,
        });
        let mut sessions = self.sessions();
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(self.tenant.digest, Arc::clone(&session));
        Ok(session)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Session>>> {
        self.base.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseGuard {
    #[must_use]
    pub fn new(leave: impl FnOnce() + Send + Sync + 'static) -> LeaseGuard {
        LeaseGuard { leave: Some(Box::new(leave)) }
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

impl fmt::Debug for LeaseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseGuard").finish_non_exhaustive()
    }
}
