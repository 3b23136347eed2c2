//! What happens to the first request in the queue: a load, an unload to make room, a refusal, or waiting. Pure arithmetic over bytes
//! and engines.

use std::time::Instant;

use super::{Effects, EngineId, Need, Phase, QueuedRequest, Roster, RosterEntry, Ticket};
use crate::residents::Shortage;

/// The next thing to be done for the first in line.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Load for this request.
    Load(Ticket),
    /// This idle engine goes.
    Evict(EngineId),
    /// What this request wants can never be given.
    Refuse(Ticket, Shortage),
    /// Something must end first. These engines are in the way and take no new requests from then on.
    Wait(Vec<(EngineId, Instant)>),
}

impl Step {
    const NOTHING: Step = Step::Wait(Vec::new());

    /// The engines whose doors are closed now, and when the next one's will be.
    pub fn doors(&self, now: Instant) -> (Vec<EngineId>, Option<Instant>) {
        let Step::Wait(in_the_way) = self else { return (Vec::new(), None) };
        let closed = in_the_way.iter().filter(|&&(_, at)| at <= now).map(|&(id, _)| id).collect();
        (closed, in_the_way.iter().map(|&(_, at)| at).filter(|&at| at > now).min())
    }
}

/// What is missing for one more engine.
#[derive(Debug, Clone, Copy)]
struct Missing {
    bytes: i128,
    /// Engines that have to go, whatever memory there is.
    engines: usize,
}

impl Missing {
    fn is_nothing(self) -> bool {
        self.bytes <= 0 && self.engines == 0
    }

    /// What is still missing when an engine with so many bytes has gone.
    fn without(self, bytes: u64) -> Missing {
        Missing { bytes: self.bytes - i128::from(bytes), engines: self.engines.saturating_sub(1) }
    }
}

impl Roster {
    pub(super) fn step(&self, effects: &impl Effects) -> Step {
        let Some(first) = self.line.front() else { return Step::NOTHING };
        // An engine that could serve it was closed for someone else's sake, who is not first any more.
        let served = self.engines.iter().any(|entry| entry.serves(&first.demand));
        if served || self.engines.iter().any(RosterEntry::is_loading) {
            return Step::NOTHING;
        }
        // One load for all who want this base, so that nobody's larger context makes it load twice.
        let of_base = || self.line.iter().filter(|waiting| waiting.demand.base == first.demand.base);
        let leader = of_base().max_by_key(|waiting| waiting.demand.n_ctx).unwrap_or(first);
        let company = of_base().map(|waiting| waiting.company).min().unwrap_or(usize::MAX);
        let (missing, room) = self.missing(leader, company, effects);
        if missing.is_nothing() {
            return Step::Load(leader.ticket);
        }
        if let Some(room) = room
            && room < leader.demand.need.least
            && !self.engines.iter().any(|entry| entry.phase == Phase::Ending)
        {
            let (need, n_ctx) = (leader.demand.need.least, leader.demand.n_ctx);
            return Step::Refuse(leader.ticket, Shortage { need, room, n_ctx });
        }
        self.make_room(first, leader, missing, effects)
    }

    /// What this load lacks now, and the bytes that it could have with every other engine gone.
    fn missing(&self, leader: &QueuedRequest, company: usize, effects: &impl Effects) -> (Missing, Option<u64>) {
        let others = self.settings.max_loaded.map_or(usize::MAX, |most| most.get() - 1).min(company);
        let engines = self.engines.len().saturating_sub(others);
        let Some(free) = effects.free() else { return (Missing { bytes: 0, engines }, None) };
        // Weights that are mapped from a file count as free memory, and so does what an engine has not touched yet: what
        // engines need and have not taken is promised to them.
        let promised = |entry: &RosterEntry| match effects.taken(entry.id) {
            Some(taken) if entry.is_ready() => i128::from(entry.need.saturating_sub(taken)),
            _ => 0,
        };
        let left = i128::from(free) - self.engines.iter().map(promised).sum::<i128>();
        let room = left + self.engines.iter().map(|entry| i128::from(gain(entry, effects))).sum::<i128>();
        let room = u64::try_from(room.max(0)).unwrap_or(u64::MAX);
        // What does not have room for all its lanes may still have it for the one that is asked for.
        let Need { least, likely } = leader.demand.need;
        (Missing { bytes: i128::from(likely.min(room).max(least)) - left, engines }, Some(room))
    }

    /// Which engine goes, or for which ones to wait.
    fn make_room(
        &self,
        first: &QueuedRequest,
        leader: &QueuedRequest,
        missing: Missing,
        effects: &impl Effects,
    ) -> Step {
        let mut missing = missing;
        for ending in self.engines.iter().filter(|entry| entry.phase == Phase::Ending) {
            missing = missing.without(gain(ending, effects));
        }
        if missing.is_nothing() {
            return Step::NOTHING;
        }
        // A smaller engine of the same base is of no use to anybody once the larger one is there; what was stopped goes
        // anyway.
        let key = |entry: &&RosterEntry| (entry.base != leader.demand.base, !entry.stopped, entry.last_used, entry.id);
        let mut idle: Vec<&RosterEntry> = self.engines.iter().filter(|entry| entry.is_idle()).collect();
        idle.sort_by_key(key);
        for entry in &idle {
            missing = missing.without(gain(entry, effects));
        }
        if missing.is_nothing() {
            // One after the other: each is measured before the next one goes.
            let ending = self.engines.iter().any(|entry| entry.phase == Phase::Ending);
            return idle.first().filter(|_| !ending).map_or(Step::NOTHING, |entry| Step::Evict(entry.id));
        }
        let mut busy: Vec<&RosterEntry> =
            self.engines.iter().filter(|entry| entry.is_ready() && !entry.is_idle()).collect();
        busy.sort_by_key(key);
        let mut in_the_way = Vec::new();
        for entry in busy {
            if missing.is_nothing() {
                break;
            }
            missing = missing.without(gain(entry, effects));
            in_the_way.push((entry.id, first.gives_up_at(entry, self.settings.patience)));
        }
        Step::Wait(in_the_way)
    }
}

/// Bytes that an engine's end brings.
fn gain(entry: &RosterEntry, effects: &impl Effects) -> u64 {
    match (effects.taken(entry.id), entry.phase) {
        (Some(taken), Phase::Ending) => taken,
        (Some(taken), _) => taken.max(entry.need),
        (None, _) => entry.need,
    }
}
