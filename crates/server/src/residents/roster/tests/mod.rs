//! A roster on a simulated machine.

mod random;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use super::*;
use slm_engine::compute::{Compute, KvType};
use slm_engine::memory::{Limit, Need as EngineNeed, Room, Shortage as EngineShortage};
use slm_values::digest::Digest;

/// A machine of some bytes, and what the roster did on it.
struct Machine {
    now: Instant,
    bytes: u64,
    demands: BTreeMap<Ticket, Demand>,
    outcomes: BTreeMap<Ticket, Outcome>,
    /// With what an engine was loaded, until its memory is free.
    engines: BTreeMap<EngineId, Engine>,
    leases: Vec<(Ticket, EngineId)>,
    n_loads: usize,
    ending_all: bool,
}

struct Engine {
    demand: Demand,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Loading,
    Ready,
    /// Dead, and nobody has noticed.
    Dead,
    Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Admitted(EngineId),
    Failed,
    TooLarge { need: u64, room: u64 },
    Closed,
}

/// Of an engine's bytes, those that the system counts as taken: the others are mapped and count as free.
fn counted(need: u64) -> u64 {
    need / 2
}

impl Machine {
    fn new(bytes: u64) -> Machine {
        Machine {
            now: Instant::now(),
            bytes,
            demands: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            engines: BTreeMap::new(),
            leases: Vec::new(),
            n_loads: 0,
            ending_all: false,
        }
    }

    fn having(&self, life: Life) -> Vec<EngineId> {
        self.engines.iter().filter(|(_, engine)| engine.life == life).map(|(id, _)| *id).collect()
    }

    fn outcome(&mut self, ticket: Ticket, outcome: Outcome) {
        assert!(self.outcomes.insert(ticket, outcome).is_none(), "{ticket:?} has a second outcome");
    }

    fn n_leases(&self, id: EngineId) -> usize {
        self.leases.iter().filter(|(_, engine)| *engine == id).count()
    }

    fn admitted(&self, ticket: u64) -> Option<EngineId> {
        match self.outcomes.get(&Ticket(ticket)) {
            Some(Outcome::Admitted(id)) => Some(*id),
            _ => None,
        }
    }
}

impl Effects for Machine {
    fn now(&self) -> Instant {
        self.now
    }

    fn free(&self) -> Option<u64> {
        let taken = self.engines.values().filter(|engine| engine.life != Life::Dead);
        Some(self.bytes - taken.map(|engine| counted(engine.demand.need.likely)).sum::<u64>())
    }

    fn taken(&self, engine: EngineId) -> Option<u64> {
        let engine = &self.engines[&engine];
        Some(if engine.life == Life::Dead { 0 } else { counted(engine.demand.need.likely) })
    }

    fn is_alive(&self, engine: EngineId) -> bool {
        self.engines[&engine].life == Life::Ready
    }

    fn load(&mut self, engine: EngineId, like: Ticket) {
        assert_eq!(self.having(Life::Loading), [], "two loads at once");
        assert!(!self.outcomes.contains_key(&like));
        let demand = self.demands[&like].clone();
        assert!(self.engines.insert(engine, Engine { demand, life: Life::Loading }).is_none());
        self.n_loads += 1;
    }

    fn cancel(&mut self, engine: EngineId) {
        let engine = self.engines.get_mut(&engine).unwrap();
        assert_eq!(engine.life, Life::Loading);
        engine.life = Life::Ending;
    }

    fn release(&mut self, engine: EngineId) {
        assert!(self.ending_all || self.n_leases(engine) == 0, "released while it answers");
        let engine = self.engines.get_mut(&engine).unwrap();
        assert!(matches!(engine.life, Life::Ready | Life::Dead));
        engine.life = Life::Ending;
    }

    fn bury(&mut self, engine: EngineId) {
        assert_eq!(self.engines.remove(&engine).unwrap().life, Life::Dead);
    }

    fn admit(&mut self, ticket: Ticket, engine: EngineId) {
        let (demand, to) = (&self.demands[&ticket], &self.engines[&engine]);
        assert_eq!((to.life, &to.demand.base), (Life::Ready, &demand.base));
        assert!(to.demand.n_ctx >= demand.n_ctx, "too small a context");
        self.leases.push((ticket, engine));
        self.outcome(ticket, Outcome::Admitted(engine));
    }

    fn refuse(&mut self, ticket: Ticket, why: Refusal) {
        let outcome = match why {
            Refusal::Load(_) => Outcome::Failed,
            Refusal::TooLarge(shortage) => Outcome::TooLarge { need: shortage.need, room: shortage.room },
            Refusal::Closing => Outcome::Closed,
        };
        self.outcome(ticket, outcome);
    }
}

/// A roster on a machine.
struct House {
    roster: Roster,
    machine: Machine,
    n_tickets: u64,
}

const PATIENCE: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(300);

fn settings(max_loaded: Option<usize>) -> Settings {
    Settings {
        keep_alive: KeepAlive::For(KEEP_ALIVE),
        max_loaded: max_loaded.map(|most| NonZeroUsize::new(most).unwrap()),
        patience: PATIENCE,
        ..Settings::default()
    }
}

fn tenant(name: &str) -> Tenant {
    Tenant { name: name.parse().unwrap(), digest: Digest::of(name.as_bytes()), adapters: Vec::new() }
}

/// A model of a base of that number: 10 bytes of weights, and 1 for every 100 tokens.
fn demand(base: usize, n_ctx: u32) -> Demand {
    let bytes = 10 + u64::from(n_ctx / 100);
    Demand {
        base: BaseKey { weights_id: format!("base{base}"), compute: Compute::default() },
        n_ctx,
        need: Need { least: bytes, likely: bytes },
        tenant: tenant(&format!("model{base}")),
        keep_alive: None,
    }
}

fn too_little_memory() -> EngineError {
    let need = EngineNeed { weights: 1, cells: 1, n_ctx: 1, kv_type: KvType::F16, buffers: 0 };
    let room = Room { bytes: 0, limit: Limit::Machine };
    EngineError::Memory(Box::new(EngineShortage { need, room, reason: None }))
}

fn damaged() -> EngineError {
    EngineError::Load { reason: "damaged".to_owned() }
}

impl House {
    fn new(bytes: u64, max_loaded: Option<usize>) -> House {
        House { roster: Roster::new(settings(max_loaded)), machine: Machine::new(bytes), n_tickets: 0 }
    }

    fn acquire(&mut self, demand: Demand) -> u64 {
        let ticket = Ticket(self.n_tickets);
        self.n_tickets += 1;
        self.machine.demands.insert(ticket, demand.clone());
        self.roster.acquire(ticket, demand, &mut self.machine);
        ticket.0
    }

    fn leave(&mut self, ticket: u64) {
        let at = self.machine.leases.iter().position(|(lease, _)| *lease == Ticket(ticket)).unwrap();
        let (ticket, engine) = self.machine.leases.swap_remove(at);
        let tenant = self.machine.demands[&ticket].tenant.clone();
        self.roster.leave(engine, &tenant, &mut self.machine);
    }

    /// The load that is going on comes to its end.
    fn loaded(&mut self) {
        for id in self.machine.having(Life::Loading) {
            self.machine.engines.get_mut(&id).unwrap().life = Life::Ready;
            self.roster.loaded(id, &mut self.machine);
        }
    }

    fn failed(&mut self, error: &EngineError) {
        for id in self.machine.having(Life::Loading) {
            self.machine.engines.remove(&id);
            self.roster.failed(id, error, &mut self.machine);
        }
    }

    /// What is ending has ended.
    fn gone(&mut self) {
        for id in self.machine.having(Life::Ending) {
            self.machine.engines.remove(&id);
            self.roster.gone(id, &mut self.machine);
        }
    }

    /// Time passes, and the roster is woken when it wants to be.
    fn pass(&mut self, duration: Duration) {
        let end = self.machine.now + duration;
        while let Some(at) = self.roster.wake_at().filter(|&at| at <= end) {
            assert!(at >= self.machine.now, "it wants to be woken in the past");
            self.machine.now = at;
            self.roster.tick(&mut self.machine);
            assert!(self.roster.wake_at().is_none_or(|next| next > at), "it does not do what it was woken for");
        }
        self.machine.now = end;
    }

    fn acquire_loaded(&mut self, demand: Demand) -> u64 {
        let ticket = self.acquire(demand);
        self.gone();
        self.loaded();
        assert!(self.machine.admitted(ticket).is_some(), "{:?}", self.machine.outcomes.get(&Ticket(ticket)));
        ticket
    }

    fn check(&self) {
        let Machine { engines, bytes, outcomes, .. } = &self.machine;
        let held = |engine: &Engine| match engine.life {
            Life::Loading | Life::Ready => engine.demand.need.likely,
            // Nobody reads its mapped weights any more.
            Life::Ending => counted(engine.demand.need.likely),
            Life::Dead => 0,
        };
        assert!(engines.values().map(held).sum::<u64>() <= *bytes, "more than there is memory");
        if let Some(most) = self.roster.settings.max_loaded {
            assert!(self.roster.engines.len() <= most.get());
        }
        for outcome in outcomes.values() {
            if let Outcome::TooLarge { need, room } = outcome {
                assert!(need > bytes && room == bytes, "{need} of {bytes} refused, {room} told");
            }
        }
        let known: BTreeSet<EngineId> = self.roster.engines.iter().map(|entry| entry.id).collect();
        assert_eq!(known, engines.keys().copied().collect());
        for entry in &self.roster.engines {
            assert_eq!(entry.n_leases(), self.machine.n_leases(entry.id));
        }
    }

    fn waiting(&self) -> Vec<u64> {
        self.roster.line.iter().map(|waiting| waiting.ticket.0).collect()
    }
}
