//! The task that owns all engines: it does what the roster decides and tells it what has happened.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};

use super::base::{Base, Guest, Hold};
use super::means::Means;
use super::roster::{Effects, EngineId, Entry, Phase, Roster, Ticket};
use super::{BaseKey, Order, Refusal, Resident, Settings, Snapshot, State, Tenant, TenantState};
use crate::engine::{Engine, EngineError, ModelInfo, memory};
use crate::model_ref::ModelRef;

/// Commands between two looks at everything else.
const AT_ONCE: usize = 64;

/// What no clock overflows with.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 3600);

/// A handle to all loaded models. Cheap to clone; they end with its last handle and the last guest.
#[derive(Debug, Clone)]
pub struct Residents {
    owner: mpsc::UnboundedSender<Command>,
    n_tickets: Arc<AtomicU64>,
}

#[derive(Debug)]
pub enum Command {
    Acquire(Ticket, Box<Order>, oneshot::Sender<Result<Guest, Refusal>>),
    Withdraw(Ticket),
    Leave(EngineId, Tenant),
    /// By the name that it was asked for.
    Unload(ModelRef, oneshot::Sender<Option<usize>>),
    List(oneshot::Sender<Vec<Resident>>),
    Snapshot(oneshot::Sender<Snapshot>),
    Drain(Duration, oneshot::Sender<()>),
}

/// A request that waits for its answer; dropping it takes it out of the line.
struct InLine<'r> {
    residents: &'r Residents,
    /// Taken away when the answer has come.
    ticket: Option<Ticket>,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let _ = self.residents.owner.send(Command::Withdraw(ticket));
        }
    }
}

impl Residents {
    /// Starts the owner on the runtime of this task.
    #[must_use]
    pub fn start(settings: Settings, means: Means) -> Residents {
        let (owner, inbox) = mpsc::unbounded_channel();
        let world = World {
            means,
            load_timeout: settings.load_timeout,
            owner: owner.downgrade(),
            waiting: HashMap::new(),
            bases: HashMap::new(),
            pids: HashMap::new(),
            loads: HashMap::new(),
            tasks: JoinSet::new(),
            engine_of_task: HashMap::new(),
        };
        let owned = Owner { roster: Roster::new(settings), world, ending: None };
        tokio::spawn(owned.run(inbox));
        Residents { owner, n_tickets: Arc::default() }
    }

    /// Waits until the base that is wanted is loaded, and holds it. Dropping the future is withdrawing; a load that nobody
    /// waits for is cancelled.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn acquire(&self, order: Order) -> Result<Guest, Refusal> {
        let ticket = Ticket(self.n_tickets.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let _ = self.owner.send(Command::Acquire(ticket, Box::new(order), reply));
        let mut in_line = InLine { residents: self, ticket: Some(ticket) };
        let answer = answer.await;
        in_line.ticket = None;
        answer.unwrap_or(Err(Refusal::Closing))
    }

    /// Lets a model go when it is idle; the number of requests that it still answers, `None` where it is not loaded. The
    /// engine goes with the last model of its base.
    pub async fn unload(&self, name: &ModelRef) -> Option<usize> {
        self.ask(|reply| Command::Unload(name.clone(), reply)).await.flatten()
    }

    /// What is loaded or about to be, in the order in which it was loaded.
    pub async fn list(&self) -> Vec<Resident> {
        let listed = self.ask(Command::List).await.unwrap_or_default();
        // The system goes through all pages of a process to measure it: nobody else waits for that.
        let measure = |resident: Resident| Resident { size: resident.pid.and_then(memory::of_process), ..resident };
        let measured = tokio::task::spawn_blocking(move || listed.into_iter().map(measure).collect());
        measured.await.unwrap_or_default()
    }

    pub async fn snapshot(&self) -> Snapshot {
        self.ask(Command::Snapshot).await.unwrap_or_default()
    }

    /// Lets nobody in any more; returns when the last guest has gone and everything is ended, or when the time is over and
    /// what was left has been ended.
    pub async fn drain(&self, within: Duration) {
        self.ask(|reply| Command::Drain(within, reply)).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let _ = self.owner.send(command(reply));
        answer.await.ok()
    }
}

/// The roster and what it moves.
struct Owner {
    roster: Roster,
    world: World,
    /// Who waits for the end, and when it comes at the latest.
    ending: Option<(Instant, Vec<oneshot::Sender<()>>)>,
}

/// Engines, tasks and those who wait.
struct World {
    means: Means,
    load_timeout: Duration,
    /// Not a handle of its own: the owner ends with the last of those.
    owner: mpsc::WeakUnboundedSender<Command>,
    waiting: HashMap<Ticket, Waiting>,
    bases: HashMap<EngineId, Arc<Base>>,
    /// Of all engines that are not over.
    pids: HashMap<EngineId, u32>,
    loads: HashMap<EngineId, Load>,
    tasks: JoinSet<Done>,
    engine_of_task: HashMap<tokio::task::Id, EngineId>,
}

struct Waiting {
    order: Box<Order>,
    reply: oneshot::Sender<Result<Guest, Refusal>>,
    since: Instant,
}

struct Load {
    key: BaseKey,
    /// Dropping it gives the load up as well.
    give_up: oneshot::Sender<()>,
}

/// What a task has to say at its end.
enum Done {
    Loaded(EngineId, Box<Result<Engine, EngineError>>),
    /// An engine has ended, and nothing is left of it.
    Over(EngineId, EngineError),
}

impl Owner {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        let mut commands = Vec::with_capacity(AT_ONCE);
        loop {
            let wake_at = [self.roster.wake_at(), self.ending.as_ref().map(|(at, _)| *at)].into_iter().flatten().min();
            let wake = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                n = inbox.recv_many(&mut commands, AT_ONCE) => match n {
                    0 => break,
                    _ => commands.drain(..).for_each(|command| self.obey(command)),
                },
                Some(done) = self.world.tasks.join_next_with_id() => self.done(done),
                () = wake => self.roster.tick(&mut self.world),
            }
            self.end_if_due();
        }
        self.roster.end(&mut self.world);
        while let Some(done) = self.world.tasks.join_next_with_id().await {
            self.done(done);
        }
    }

    fn obey(&mut self, command: Command) {
        let Owner { roster, world, .. } = self;
        // Who asked may be gone already: nobody misses the answer.
        match command {
            Command::Acquire(ticket, order, reply) => {
                let wish = order.wish();
                world.waiting.insert(ticket, Waiting { order, reply, since: world.now() });
                roster.acquire(ticket, wish, world);
            }
            Command::Withdraw(ticket) => {
                if world.waiting.remove(&ticket).is_some() {
                    roster.withdraw(ticket, world);
                }
            }
            Command::Leave(engine, tenant) => roster.leave(engine, &tenant, world),
            Command::Unload(name, reply) => drop(reply.send(roster.unload(|tenant| tenant.name == name, world))),
            Command::List(reply) => drop(reply.send(self.list())),
            Command::Snapshot(reply) => drop(reply.send(self.snapshot())),
            Command::Drain(within, reply) => {
                let at = world.now() + within.min(LONGEST_DRAIN);
                let (latest, waiting) = self.ending.get_or_insert_with(|| (at, Vec::new()));
                *latest = at.min(*latest);
                waiting.push(reply);
                roster.close(world);
            }
        }
    }

    fn done(&mut self, done: Result<(tokio::task::Id, Done), JoinError>) {
        let Owner { roster, world, .. } = self;
        let task = done.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let Some(id) = world.engine_of_task.remove(&task) else { return };
        match done {
            Ok((_, Done::Over(id, why))) => {
                world.pids.remove(&id);
                if !matches!(why, EngineError::Stopped) {
                    tracing::warn!(engine = id.0, "an engine has ended by itself: {why}");
                }
                if world.bases.contains_key(&id) {
                    roster.died(id, world);
                } else {
                    roster.gone(id, world);
                }
            }
            Ok((_, Done::Loaded(id, result))) => match (world.loads.remove(&id), *result) {
                (Some(load), Ok(engine)) => {
                    world.watch(id, &engine);
                    world.bases.insert(id, Arc::new(Base::new(load.key, engine)));
                    roster.loaded(id, world);
                }
                (Some(_), Err(error)) => roster.failed(id, &error, world),
                // It was given up at the very moment when it was done.
                (None, Ok(engine)) => {
                    world.watch(id, &engine);
                    end(engine);
                }
                (None, Err(_)) => roster.gone(id, world),
            },
            Err(error) => {
                let reason = format!("the task that loads it has panicked: {error}");
                match world.loads.remove(&id) {
                    Some(_) => roster.failed(id, &EngineError::Load { reason }, world),
                    None => roster.gone(id, world),
                }
            }
        }
    }

    /// Tells those who drain that everything is ended, or ends it when the time has come.
    fn end_if_due(&mut self) {
        let Some((at, waiting)) = &mut self.ending else { return };
        if !self.roster.is_empty() && self.world.now() >= *at {
            self.roster.end(&mut self.world);
        } else if !self.roster.is_empty() {
            return;
        }
        for reply in std::mem::take(waiting) {
            let _ = reply.send(());
        }
        self.ending = None;
    }

    fn snapshot(&self) -> Snapshot {
        let engines = self.roster.engines();
        Snapshot {
            counters: self.roster.counters(),
            n_loaded: engines.iter().filter(|entry| entry.is_ready()).count(),
            n_loading: engines.iter().filter(|entry| entry.is_loading()).count(),
            n_answering: engines.iter().map(Entry::n_guests).sum(),
            n_waiting: self.roster.waiting().count(),
        }
    }

    fn list(&self) -> Vec<Resident> {
        let now = self.world.now();
        let wall = SystemTime::now();
        let at = |then: Instant| wall + then.saturating_duration_since(now) - now.saturating_duration_since(then);
        let shown = |entry: &Entry| {
            let n_requests = entry.n_guests();
            let state = match entry.phase {
                Phase::Loading { since } => State::Loading { since: at(since) },
                Phase::Ending => return None,
                Phase::Ready { .. } if entry.stopped => State::Stopping { n_requests },
                Phase::Ready { .. } if n_requests > 0 => State::Answering { n_requests },
                Phase::Ready { .. } => State::Ready,
            };
            let tenants = entry.uses.iter().map(|used| TenantState {
                tenant: used.tenant.clone(),
                n_answering: used.n_guests,
                expires_at: used.expires_at(now).map(at),
            });
            let info = self.world.bases.get(&entry.id).map(|base| base.engine().info());
            Some(Resident {
                weights_id: entry.base.weights_id().to_owned(),
                tenants: tenants.chain(self.expected(entry, wall)).collect(),
                state,
                n_ctx: info.map_or(entry.n_ctx, |info| info.n_ctx),
                size: None,
                size_vram: info.map_or(0, size_vram),
                estimate: entry.need,
                pid: self.world.pids.get(&entry.id).copied(),
            })
        };
        self.roster.engines().iter().filter_map(shown).collect()
    }

    /// The models for which an engine is being loaded.
    fn expected(&self, entry: &Entry, wall: SystemTime) -> Vec<TenantState> {
        let mut tenants: Vec<Tenant> = Vec::new();
        for wish in self.roster.waiting().filter(|wish| entry.is_loading() && entry.suits(wish)) {
            if !tenants.contains(&wish.tenant) {
                tenants.push(wish.tenant.clone());
            }
        }
        let state = |tenant| TenantState { tenant, n_answering: 0, expires_at: Some(wall) };
        tenants.into_iter().map(state).collect()
    }
}

impl World {
    /// Waits for an engine's end, whoever brings it about.
    fn watch(&mut self, id: EngineId, engine: &Engine) {
        if let Some(pid) = engine.pid() {
            self.pids.insert(id, pid);
        }
        let closed = engine.closed();
        self.spawn(id, async move { Done::Over(id, closed.await) });
    }

    fn spawn(&mut self, id: EngineId, task: impl Future<Output = Done> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.engine_of_task.insert(handle.id(), id);
    }
}

/// Lets an engine go. Its last handle may wait for its thread, which a runtime's must not do.
fn end(engine: impl Send + 'static) {
    drop(tokio::task::spawn_blocking(move || drop(engine)));
}

/// Bytes on devices: of weights, keys and values what goes with the layers that are there.
fn size_vram(info: &ModelInfo) -> u64 {
    let all = u128::from(info.size_bytes.saturating_add(info.kv_bytes));
    let share = all * u128::from(info.n_gpu_layers) / u128::from(info.n_layers + 1);
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl Effects for World {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn free(&self) -> Option<u64> {
        (self.means.free)()
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
        let (load, timeout) = ((self.means.load)(options, given_up), self.load_timeout);
        self.spawn(engine, async move {
            let result = tokio::time::timeout(timeout, load).await.unwrap_or_else(|_| {
                let reason = format!("it was not loaded within {timeout:?}");
                Err(EngineError::Load { reason })
            });
            Done::Loaded(engine, Box::new(result))
        });
        self.loads.insert(engine, Load { key, give_up });
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
        let hold = Hold { engine, tenant: waiting.order.tenant, owner };
        // A guest that nobody takes leaves at once.
        let _ = waiting.reply.send(Ok(Guest::new(Arc::clone(base), hold, waited)));
    }

    fn refuse(&mut self, ticket: Ticket, why: Refusal) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            let _ = waiting.reply.send(Err(why));
        }
    }
}
