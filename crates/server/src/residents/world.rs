//! What the roster decides about: engines, the tasks that load and watch them, and the waiting requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::command::Command;
use super::lease::{Base, EngineLease, LeaseGuard};
use super::loader::Loader;
use super::roster::{Effects, EngineId, Ticket};
use super::{BaseKey, Order, Refusal};
use slm_engine::{Engine, EngineError, memory};

/// Engines, tasks and those who wait.
pub struct World {
    loader: Loader,
    load_timeout: Duration,
    /// Not a handle of its own: the owner ends with the last of those.
    owner: mpsc::WeakUnboundedSender<Command>,
    pub waiting: HashMap<Ticket, PendingRequest>,
    pub bases: HashMap<EngineId, Arc<Base>>,
    /// Of all engines that are not over.
    pub pids: HashMap<EngineId, u32>,
    pub loads: HashMap<EngineId, PendingLoad>,
    pub tasks: JoinSet<TaskEnd>,
    pub engine_of_task: HashMap<tokio::task::Id, EngineId>,
}

pub struct PendingRequest {
    pub order: Box<Order>,
    pub reply: oneshot::Sender<Result<EngineLease, Refusal>>,
    pub since: Instant,
}

pub struct PendingLoad {
    pub key: BaseKey,
    /// Dropping it gives the load up as well.
    give_up: oneshot::Sender<()>,
}

/// What a task has to say at its end.
pub enum TaskEnd {
    Loaded(EngineId, Box<Result<Engine, EngineError>>),
    /// An engine has ended, and nothing is left of it.
    Over(EngineId, EngineError),
}

impl World {
    /// Nothing is loaded yet; `owner` is told of leases that end.
    pub fn new(loader: Loader, load_timeout: Duration, owner: mpsc::WeakUnboundedSender<Command>) -> World {
        World {
            loader,
            load_timeout,
            owner,
            waiting: HashMap::new(),
            bases: HashMap::new(),
            pids: HashMap::new(),
            loads: HashMap::new(),
            tasks: JoinSet::new(),
            engine_of_task: HashMap::new(),
        }
    }

    pub fn time_of_day(&self) -> SystemTime {
        (self.loader.now)()
    }

    /// Waits for an engine's end, whoever brings it about.
    pub fn watch(&mut self, id: EngineId, engine: &Engine) {
        if let Some(pid) = engine.pid() {
            self.pids.insert(id, pid);
        }
        let closed = engine.closed();
        self.spawn(id, async move { TaskEnd::Over(id, closed.await) });
    }

    fn spawn(&mut self, id: EngineId, task: impl Future<Output = TaskEnd> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.engine_of_task.insert(handle.id(), id);
    }
}

/// Lets an engine go. Its last handle may wait for its thread, which a runtime's must not do.
pub fn end(engine: impl Send + 'static) {
    drop(tokio::task::spawn_blocking(move || drop(engine)));
}

impl Effects for World {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn free(&self) -> Option<u64> {
        (self.loader.free)()
    }

    fn taken(&self, engine: EngineId) -> Option<u64> {
        // A process that is not there any more has nothing.
        self.pids.get(&engine).map(|&pid| memory::own_of_process(pid).unwrap_or(0))
    }

    fn is_alive(&self, engine: EngineId) -> bool {
        self.bases.get(&engine).is_some_and(|base| base.engine().closed().now_or_never().is_none())
    }

    fn load(&mut self, engine: EngineId, like: Ticket) {
        let Some(waiting) = self.waiting.get(&like) else { return };
        let options = waiting.order.options.clone();
        let key = BaseKey::of(&options);
        tracing::info!(model = %waiting.order.tenant.name, engine = engine.0, "loading");
        let (give_up, given_up) = oneshot::channel();
        let (load, timeout) = ((self.loader.load)(options, given_up), self.load_timeout);
        self.spawn(engine, async move {
            let result = tokio::time::timeout(timeout, load).await.unwrap_or_else(|_| {
                let reason = format!("it was not loaded within {timeout:?}");
                Err(EngineError::Load { reason })
            });
            TaskEnd::Loaded(engine, Box::new(result))
        });
        self.loads.insert(engine, PendingLoad { key, give_up });
    }

    fn cancel(&mut self, engine: EngineId) {
        if let Some(load) = self.loads.remove(&engine) {
            tracing::info!(engine = engine.0, "load cancelled");
            let _ = load.give_up.send(());
        }
    }

    fn release(&mut self, engine: EngineId) {
        if let Some(base) = self.bases.remove(&engine) {
            tracing::info!(engine = engine.0, "unloading");
            end(base);
        }
    }

    fn bury(&mut self, engine: EngineId) {
        if let Some(base) = self.bases.remove(&engine) {
            end(base);
        }
    }

    fn admit(&mut self, ticket: Ticket, engine: EngineId) {
        let (Some(waiting), Some(base)) = (self.waiting.remove(&ticket), self.bases.get(&engine)) else { return };
        let Some(owner) = self.owner.upgrade() else { return };
        let waited = self.now().duration_since(waiting.since);
        let tenant = waiting.order.tenant;
        let leave = Command::Leave(engine, tenant.clone());
        let guard = LeaseGuard::new(move || {
            // Without an owner there is nothing left to keep in order.
            let _ = owner.send(leave);
        });
        // A lease that nobody takes ends at once.
        let _ = waiting.reply.send(Ok(EngineLease::new(Arc::clone(base), tenant, guard, waited)));
    }

    fn refuse(&mut self, ticket: Ticket, why: Refusal) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            let _ = waiting.reply.send(Err(why));
        }
    }
}
