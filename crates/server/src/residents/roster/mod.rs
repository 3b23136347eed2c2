//! Which engines are loaded, who waits for one, and which is unloaded next: decisions only. It has no clock, no tasks and no
//! engines; what is to happen it says to [`Effects`], and what has happened it is told.
//!
//! The rules. Whom an engine with the right weights and a context that is large enough can serve is admitted at once. The
//! others are in one line, in the order in which they came. The first of them has the next load, for the largest
//! context that anybody in the line wants of that base; loads go one after the other, because the memory that is left is
//! measured between them. Where memory or the allowed number of engines does not suffice, idle engines go, least recently
//! used first, a smaller one of the same base before all others. Where all that would help are answering, the first in
//! line waits, and nobody overtakes it to another load. It does not wait forever: after [`Settings::patience`] those
//! engines take no new requests until it had its load; an engine has its own turn of at least that long, and of as long as
//! its load took, so that two bases that fight for one place do not spend their time on loading alone. A larger context
//! is loaded beside a smaller one where there is memory for both, and then takes over; else in its place, by the same
//! rules. What was loaded once never shrinks, so two sizes cannot drive each other out.

mod entry;
mod step;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{BaseKey, Counters, Refusal, Settings, Tenant};
pub use entry::{Phase, RosterEntry, Use};
use slm_engine::EngineError;
use slm_values::keep_alive::KeepAlive;
use step::Step;

/// An engine's number; none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineId(pub u64);

/// A request's number; none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a request wants of an engine.
#[derive(Debug, Clone)]
pub struct Demand {
    pub base: BaseKey,
    /// Positions that the context must have.
    pub n_ctx: u32,
    pub need: Need,
    pub tenant: Tenant,
    /// `None` leaves it at what was said of this model before, or at the default.
    pub keep_alive: Option<KeepAlive>,
}

/// Bytes that an engine takes, estimated before it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Weights and one context: with less it cannot work at all.
    pub least: u64,
    /// What it takes once all its lanes are used.
    pub likely: u64,
}

/// What the roster has done, and what it must know of the world.
pub trait Effects {
    fn now(&self) -> Instant;
    /// Bytes that a new engine could take; `None` where nobody says.
    fn free(&self) -> Option<u64>;
    /// Bytes that an engine has taken, which [`Effects::free`] lacks; `None` where nobody can tell.
    fn taken(&self, engine: EngineId) -> Option<u64>;
    fn is_alive(&self, engine: EngineId) -> bool;
    /// Load what this request asks for. [`Roster::loaded`] or [`Roster::failed`] follows, or after [`Effects::cancel`]
    /// [`Roster::gone`].
    fn load(&mut self, engine: EngineId, like: Ticket);
    fn cancel(&mut self, engine: EngineId);
    /// End an engine; [`Roster::gone`] follows once its memory is free.
    fn release(&mut self, engine: EngineId);
    /// Forget an engine that has ended by itself.
    fn bury(&mut self, engine: EngineId);
    fn admit(&mut self, ticket: Ticket, engine: EngineId);
    fn refuse(&mut self, ticket: Ticket, why: Refusal);
}

#[derive(Debug)]
pub struct Roster {
    settings: Settings,
    engines: Vec<RosterEntry>,
    line: VecDeque<QueuedRequest>,
    /// Engines that take no requests now, for the sake of the first in line.
    giving_way: Vec<EngineId>,
    /// When more of them have to.
    give_way_at: Option<Instant>,
    mode: Mode,
    n_engines: u64,
    counters: Counters,
    /// Bases whose engine ended by itself and was not loaded again yet.
    crashed: Vec<BaseKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// Nobody new is let in.
    Closing,
}

#[derive(Debug)]
struct QueuedRequest {
    ticket: Ticket,
    demand: Demand,
    since: Instant,
    /// The most engines that may be there beside: fewer than when the last try found too little memory.
    company: usize,
}

impl Roster {
    #[must_use]
    pub fn new(settings: Settings) -> Roster {
        Roster {
            settings,
            engines: Vec::new(),
            line: VecDeque::new(),
            giving_way: Vec::new(),
            give_way_at: None,
            mode: Mode::Open,
            n_engines: 0,
            counters: Counters::default(),
            crashed: Vec::new(),
        }
    }

    /// A request comes. It is admitted or refused once, now or later, unless it is withdrawn.
    pub fn acquire(&mut self, ticket: Ticket, demand: Demand, effects: &mut impl Effects) {
        if self.mode == Mode::Closing {
            effects.refuse(ticket, Refusal::Closing);
            return;
        }
        self.line.push_back(QueuedRequest { ticket, demand, since: effects.now(), company: usize::MAX });
        self.settle(effects);
    }

    /// A request that was not admitted yet goes away; a load that nobody else waits for is cancelled.
    pub fn withdraw(&mut self, ticket: Ticket, effects: &mut impl Effects) {
        self.line.retain(|waiting| waiting.ticket != ticket);
        self.cancel_unwanted(effects);
        self.settle(effects);
    }

    /// A lease ends.
    pub fn leave(&mut self, engine: EngineId, tenant: &Tenant, effects: &mut impl Effects) {
        let now = effects.now();
        // An engine that died is not there any more when its leases end.
        if let Some(entry) = self.entry(engine) {
            entry.leave(tenant, now);
        }
        self.tick(effects);
    }

    /// A load has come to its end.
    pub fn loaded(&mut self, engine: EngineId, effects: &mut impl Effects) {
        let now = effects.now();
        let Some(entry) = self.entry(engine) else { return };
        let Phase::Loading { since } = entry.phase else { return };
        let took = now.duration_since(since);
        entry.phase = Phase::Ready { since: now, took };
        let (base, n_ctx) = (entry.base.clone(), entry.n_ctx);
        self.counters.loaded += 1;
        self.counters.load_time += took;
        for smaller in self.engines.iter_mut().filter(|entry| entry.base == base && entry.n_ctx < n_ctx) {
            smaller.stopped = true;
        }
        self.settle(effects);
        self.tick(effects);
    }

    /// A load has failed, and nothing of it is left.
    pub fn failed(&mut self, engine: EngineId, error: &EngineError, effects: &mut impl Effects) {
        let Some(at) = self.engines.iter().position(|entry| entry.id == engine) else { return };
        let failed = self.engines.remove(at);
        self.counters.load_failures += 1;
        // The estimate was too low: with one engine fewer it may fit, and which one goes the same rules say.
        let n_others = self.engines.iter().filter(|entry| entry.is_ready()).count();
        let again = matches!(error, EngineError::Memory(_)) && n_others > 0;
        for waiting in std::mem::take(&mut self.line) {
            if !failed.suits(&waiting.demand) {
                self.line.push_back(waiting);
            } else if again {
                self.line.push_back(QueuedRequest { company: n_others - 1, ..waiting });
            } else {
                effects.refuse(waiting.ticket, Refusal::Load(error.clone()));
            }
        }
        self.settle(effects);
    }

    /// A released or cancelled engine has ended, and its memory is free.
    pub fn gone(&mut self, engine: EngineId, effects: &mut impl Effects) {
        self.engines.retain(|entry| entry.id != engine || entry.phase != Phase::Ending);
        self.settle(effects);
    }

    /// An engine has ended by itself. Those who hold a lease learn it from their own requests.
    pub fn died(&mut self, engine: EngineId, effects: &mut impl Effects) {
        self.bury(engine, effects);
        self.settle(effects);
    }

    /// Lets models go when they are idle, whatever keep-alive was said; the number of requests that they still answer, or
    /// `None` where none is loaded. An engine goes with its last model.
    pub fn unload(&mut self, named: impl Fn(&Tenant) -> bool, effects: &mut impl Effects) -> Option<usize> {
        let mut n_answering = None;
        for entry in self.engines.iter_mut().filter(|entry| entry.is_ready()) {
            if let Some(n) = entry.stop(&named) {
                n_answering = Some(n_answering.unwrap_or(0) + n);
            }
        }
        self.tick(effects);
        n_answering
    }

    /// Lets go what has been idle for long enough. To be called at [`Roster::wake_at`], and no harm at any other time.
    pub fn tick(&mut self, effects: &mut impl Effects) {
        let (now, closing) = (effects.now(), self.mode == Mode::Closing);
        for entry in self.engines.iter_mut().filter(|entry| entry.is_ready()) {
            entry.uses.retain(|used| used.over_at().is_none_or(|over| over > now));
        }
        let over = |entry: &RosterEntry| entry.is_idle() && (entry.uses.is_empty() || entry.stopped || closing);
        for id in self.ids(over) {
            self.counters.expired += 1;
            self.release(id, effects);
        }
        self.settle(effects);
    }

    /// When [`Roster::tick`] has something to do again.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let uses = self.engines.iter().filter(|entry| entry.is_ready()).flat_map(|entry| &entry.uses);
        uses.filter_map(Use::over_at).chain(self.give_way_at).min()
    }

    /// Lets nobody in any more. Those who wait already are still served; idle engines go.
    pub fn close(&mut self, effects: &mut impl Effects) {
        self.mode = Mode::Closing;
        self.tick(effects);
    }

    /// Ends everything, answering or not.
    pub fn end(&mut self, effects: &mut impl Effects) {
        self.mode = Mode::Closing;
        for waiting in std::mem::take(&mut self.line) {
            effects.refuse(waiting.ticket, Refusal::Closing);
        }
        self.cancel_unwanted(effects);
        for id in self.ids(RosterEntry::is_ready) {
            self.release(id, effects);
        }
    }

    /// Whether nothing is loaded and nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.engines.is_empty() && self.line.is_empty()
    }

    #[must_use]
    pub fn engines(&self) -> &[RosterEntry] {
        &self.engines
    }

    /// What those want who wait, in the order of the line.
    pub fn waiting(&self) -> impl Iterator<Item = &Demand> {
        self.line.iter().map(|waiting| &waiting.demand)
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Admits whom it can and takes steps for the first in line, until there is nothing more to do.
    fn settle(&mut self, effects: &mut impl Effects) {
        loop {
            self.admit(effects);
            let step = self.step(effects);
            let (giving_way, at) = step.doors(effects.now());
            let reopened = self.giving_way.iter().any(|id| !giving_way.contains(id));
            (self.giving_way, self.give_way_at) = (giving_way, at);
            match step {
                Step::Load(like) => self.load(like, effects),
                Step::Evict(engine) => {
                    self.counters.evicted += 1;
                    self.release(engine, effects);
                }
                Step::Refuse(ticket, shortage) => {
                    self.line.retain(|waiting| waiting.ticket != ticket);
                    effects.refuse(ticket, Refusal::TooLarge(shortage));
                }
                // Who stood before a door that is open again may go in.
                Step::Wait(_) if reopened => {}
                Step::Wait(_) => return,
            }
        }
    }

    /// Lets everybody in whom an engine can serve that takes requests.
    fn admit(&mut self, effects: &mut impl Effects) {
        let now = effects.now();
        for waiting in std::mem::take(&mut self.line) {
            match self.open_engine(&waiting.demand, effects) {
                Some(id) => {
                    let default = self.settings.keep_alive;
                    if let Some(entry) = self.entry(id) {
                        entry.enter(&waiting.demand, default, now);
                    }
                    effects.admit(waiting.ticket, id);
                }
                None => self.line.push_back(waiting),
            }
        }
    }

    /// An engine that lives and takes such requests.
    fn open_engine(&mut self, demand: &Demand, effects: &mut impl Effects) -> Option<EngineId> {
        loop {
            let open = |entry: &&RosterEntry| entry.serves(demand) && !self.giving_way.contains(&entry.id);
            let id = self.engines.iter().find(open)?.id;
            if effects.is_alive(id) {
                return Some(id);
            }
            self.bury(id, effects);
        }
    }

    fn load(&mut self, like: Ticket, effects: &mut impl Effects) {
        let Some(leader) = self.line.iter().find(|waiting| waiting.ticket == like) else { return };
        let id = EngineId(self.n_engines);
        self.n_engines += 1;
        self.counters.loads += 1;
        if let Some(at) = self.crashed.iter().position(|base| *base == leader.demand.base) {
            self.crashed.swap_remove(at);
            self.counters.restarts += 1;
        }
        self.engines.push(RosterEntry::loading(id, &leader.demand, effects.now()));
        effects.load(id, like);
    }

    fn release(&mut self, id: EngineId, effects: &mut impl Effects) {
        if let Some(entry) = self.entry(id) {
            entry.phase = Phase::Ending;
            effects.release(id);
        }
    }

    fn bury(&mut self, id: EngineId, effects: &mut impl Effects) {
        let Some(at) = self.engines.iter().position(|entry| entry.id == id && entry.is_ready()) else { return };
        let RosterEntry { base, .. } = self.engines.remove(at);
        self.counters.crashes += 1;
        if !self.crashed.contains(&base) {
            self.crashed.push(base);
        }
        effects.bury(id);
    }

    fn cancel_unwanted(&mut self, effects: &mut impl Effects) {
        let line = &self.line;
        let unwanted =
            |entry: &&mut RosterEntry| entry.is_loading() && !line.iter().any(|waiting| entry.suits(&waiting.demand));
        for entry in self.engines.iter_mut().filter(unwanted) {
            entry.phase = Phase::Ending;
            self.counters.loads_cancelled += 1;
            effects.cancel(entry.id);
        }
    }

    fn entry(&mut self, id: EngineId) -> Option<&mut RosterEntry> {
        self.engines.iter_mut().find(|entry| entry.id == id)
    }

    fn ids(&self, which: impl Fn(&RosterEntry) -> bool) -> Vec<EngineId> {
        self.engines.iter().filter(|entry| which(entry)).map(|entry| entry.id).collect()
    }
}

impl QueuedRequest {
    /// When this request has waited for long enough that an engine has to give way to it.
    fn gives_up_at(&self, engine: &RosterEntry, patience: Duration) -> Instant {
        let of_engine = match engine.phase {
            Phase::Ready { since, took } => since + took.max(patience),
            Phase::Loading { .. } | Phase::Ending => self.since,
        };
        of_engine.max(self.since + patience)
    }
}
