//! A loaded base and its guests: whoever holds a [`Guest`] keeps the engine from being ended.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{BaseKey, Tenant};
use crate::digest::Digest;
use crate::engine::Engine;
use crate::infer::{Defaults, InferError, Session};

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
pub struct Guest {
    base: Arc<Base>,
    tenant: Tenant,
    waited: Duration,
    _hold: Hold,
}

/// Says once that a guest has gone: when it is dropped.
pub struct Hold {
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

impl Guest {
    #[must_use]
    pub fn new(base: Arc<Base>, tenant: Tenant, hold: Hold, waited: Duration) -> Guest {
        Guest { base, tenant, waited, _hold: hold }
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

    /// The session of this guest's model, made on its first request and kept with the base. Its holder holds the guest.
    ///
    /// # Errors
    /// The model's template is none.
    pub fn session(&self, defaults: impl FnOnce() -> Defaults) -> Result<Arc<Session>, InferError> {
        let sessions = || self.base.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = self.tenant.digest;
        if let Some(session) = sessions().get(&digest) {
            return Ok(Arc::clone(session));
        }
        // Two first requests may both come here: the second one's session takes the place of the first, and both are good.
        let session = Arc::new(Session::over(self.base.engine.clone(), defaults())?);
        let mut sessions = sessions();
        if sessions.len() >= MAX_SESSIONS {
            sessions.clear();
        }
        sessions.insert(digest, Arc::clone(&session));
        Ok(session)
    }
}

impl Hold {
    #[must_use]
    pub fn new(leave: impl FnOnce() + Send + Sync + 'static) -> Hold {
        Hold { leave: Some(Box::new(leave)) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
