//! The task that owns all engines: it executes the roster's decisions and reports back to it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;

use super::command::Command;
use super::lease::Base;
use super::roster::{Effects as _, Phase, Roster, RosterEntry};
use super::world::{PendingRequest, TaskEnd, World, end};
use super::{Resident, Settings, Snapshot, State, Tenant, TenantState};
use slm_engine::{EngineError, ModelInfo};

/// Commands between two looks at everything else.
const AT_ONCE: usize = 64;

/// What no clock overflows with.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 3600);

/// The roster and what it moves.
pub struct Owner {
    roster: Roster,
    world: World,
    /// Who waits for the end, and when it comes at the latest.
    ending: Option<(Instant, Vec<oneshot::Sender<()>>)>,
}

impl Owner {
    #[must_use]
    pub fn new(settings: Settings, world: World) -> Owner {
        Owner { roster: Roster::new(settings), world, ending: None }
    }

    /// Obeys until the last handle and the last lease have gone.
    pub async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
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
                let demand = order.demand();
                world.waiting.insert(ticket, PendingRequest { order, reply, since: world.now() });
                roster.acquire(ticket, demand, world);
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

    fn done(&mut self, done: Result<(tokio::task::Id, TaskEnd), JoinError>) {
        let Owner { roster, world, .. } = self;
        let task = done.as_ref().map_or_else(JoinError::id, |(task, _)| *task);
        let Some(id) = world.engine_of_task.remove(&task) else { return };
        match done {
            Ok((_, TaskEnd::Over(id, why))) => {
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
            Ok((_, TaskEnd::Loaded(id, result))) => match (world.loads.remove(&id), *result) {
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
                let reason = format!("the task that loads it panicked: {error}");
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
            n_answering: engines.iter().map(RosterEntry::n_leases).sum(),
            n_waiting: self.roster.waiting().count(),
        }
    }

    fn list(&self) -> Vec<Resident> {
        let now = self.world.now();
        let wall = self.world.time_of_day();
        let at = |then: Instant| wall + then.saturating_duration_since(now) - now.saturating_duration_since(then);
        let shown = |entry: &RosterEntry| {
            let n_requests = entry.n_leases();
            let state = match entry.phase {
                Phase::Loading { since } => State::Loading { since: at(since) },
                Phase::Ending => return None,
                Phase::Ready { .. } if entry.stopped => State::Stopping { n_requests },
                Phase::Ready { .. } if n_requests > 0 => State::Answering { n_requests },
                Phase::Ready { .. } => State::Ready,
            };
            let tenants = entry.uses.iter().map(|used| TenantState {
                tenant: used.tenant.clone(),
                n_answering: used.n_leases,
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
    fn expected(&self, entry: &RosterEntry, wall: SystemTime) -> Vec<TenantState> {
        let mut tenants: Vec<Tenant> = Vec::new();
        for demand in self.roster.waiting().filter(|demand| entry.is_loading() && entry.suits(demand)) {
            if !tenants.contains(&demand.tenant) {
                tenants.push(demand.tenant.clone());
            }
        }
        let state = |tenant| TenantState { tenant, n_answering: 0, expires_at: Some(wall) };
        tenants.into_iter().map(state).collect()
    }
}

/// Bytes on devices: of weights, keys and values what goes with the layers that are there.
fn size_vram(info: &ModelInfo) -> u64 {
    let all = u128::from(info.size_bytes.saturating_add(info.kv_bytes));
    let share = all * u128::from(info.n_gpu_layers) / u128::from(info.n_layers + 1);
    u64::try_from(share).unwrap_or(u64::MAX)
}
