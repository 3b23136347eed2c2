//! What the residents need from outside: how engines are loaded, and how much memory there is.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use slm_engine::{Engine, EngineError, Options, memory};

/// Says that nobody wants a load any more.
pub type GivenUp = oneshot::Receiver<()>;

/// Loads an engine; given up, it ends when nothing of the load is left.
pub type LoadFn = dyn Fn(Options, GivenUp) -> BoxFuture<'static, Result<Engine, EngineError>> + Send + Sync;

#[derive(Clone)]
pub struct Loader {
    pub load: Arc<LoadFn>,
    /// Bytes that one more engine could take; `None` where nobody says.
    pub free: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    /// The time of day, in which it is told when a model goes.
    pub now: fn() -> SystemTime,
}

impl Loader {
    /// Every engine in a process of its own; `program` is this program's file.
    #[must_use]
    pub fn processes(program: PathBuf, now: fn() -> SystemTime) -> Loader {
        let load = move |options, given_up| -> BoxFuture<'static, Result<Engine, EngineError>> {
            let mut loading = Engine::spawn(program.clone(), options);
            Box::pin(async move {
                tokio::select! {
                    loaded = &mut loading => loaded,
                    _ = given_up => {
                        loading.give_up();
                        loading.await
                    }
                }
            })
        };
        Loader { load: Arc::new(load), free: Arc::new(memory::available), now }
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").finish_non_exhaustive()
    }
}
