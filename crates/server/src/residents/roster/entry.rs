//! One engine as the roster knows it: its phase, the models that were asked of it, and until when they stay.

use std::time::{Duration, Instant};

use super::{Demand, EngineId};
use crate::residents::{BaseKey, Tenant};
use slm_values::keep_alive::KeepAlive;

/// An engine from the beginning of its load until its memory is free again.
#[derive(Debug)]
pub struct RosterEntry {
    pub id: EngineId,
    pub base: BaseKey,
    pub n_ctx: u32,
    /// Bytes, estimated.
    pub need: u64,
    pub phase: Phase,
    /// The models that it serves; while it loads, nobody's yet.
    pub uses: Vec<Use>,
    pub last_used: Instant,
    /// It takes no new requests and goes when it is idle.
    pub stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Loading { since: Instant },
    Ready { since: Instant, took: Duration },
    Ending,
}

/// A model that an engine serves, with a keep-alive of its own: models of one base do not shorten each other's stay.
#[derive(Debug, Clone)]
pub struct Use {
    pub tenant: Tenant,
    pub n_leases: usize,
    keep_alive: KeepAlive,
    /// When its last lease ended.
    last_left: Instant,
    /// Someone asked to let it go.
    stopped: bool,
}

impl RosterEntry {
    #[must_use]
    pub fn loading(id: EngineId, demand: &Demand, now: Instant) -> RosterEntry {
        RosterEntry {
            id,
            base: demand.base.clone(),
            n_ctx: demand.n_ctx,
            need: demand.need.likely,
            phase: Phase::Loading { since: now },
            uses: Vec::new(),
            last_used: now,
            stopped: false,
        }
    }

    #[must_use]
    pub fn n_leases(&self) -> usize {
        self.uses.iter().map(|used| used.n_leases).sum()
    }

    #[must_use]
    pub fn is_loading(&self) -> bool {
        matches!(self.phase, Phase::Loading { .. })
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_ready() && self.n_leases() == 0
    }

    /// Whether it is, or will be, what someone wants.
    #[must_use]
    pub fn suits(&self, demand: &Demand) -> bool {
        self.base == demand.base && self.n_ctx >= demand.n_ctx
    }

    /// Whether it could take this request.
    #[must_use]
    pub fn serves(&self, demand: &Demand) -> bool {
        self.is_ready() && !self.stopped && self.suits(demand)
    }

    /// A request gets a lease.
    pub fn enter(&mut self, demand: &Demand, default: KeepAlive, now: Instant) {
        self.last_used = now;
        let at = self.uses.iter().position(|used| used.tenant == demand.tenant).unwrap_or_else(|| {
            self.uses.push(Use {
                tenant: demand.tenant.clone(),
                n_leases: 0,
                keep_alive: default,
                last_left: now,
                stopped: false,
            });
            self.uses.len() - 1
        });
        let used = &mut self.uses[at];
        if used.stopped {
            // It is wanted again: what was said before it was let go holds no longer.
            (used.stopped, used.keep_alive) = (false, default);
        }
        used.n_leases += 1;
        if let Some(keep_alive) = demand.keep_alive {
            used.keep_alive = keep_alive;
        }
    }

    /// A lease ends.
    pub fn leave(&mut self, tenant: &Tenant, now: Instant) {
        if let Some(used) = self.uses.iter_mut().find(|used| used.tenant == *tenant) {
            used.n_leases = used.n_leases.saturating_sub(1);
            used.last_left = now;
            self.last_used = now;
        }
    }

    /// Lets models go when they are idle; the number of requests that they still answer, `None` where it has none such.
    pub fn stop(&mut self, named: &impl Fn(&Tenant) -> bool) -> Option<usize> {
        let mut n_answering = None;
        for used in self.uses.iter_mut().filter(|used| named(&used.tenant)) {
            used.stopped = true;
            n_answering = Some(n_answering.unwrap_or(0) + used.n_leases);
        }
        self.stopped |= !self.uses.is_empty() && self.uses.iter().all(|used| used.stopped);
        n_answering
    }
}

impl Use {
    /// When it need not stay any longer; `None` while it answers, and where it stays forever.
    #[must_use]
    pub fn over_at(&self) -> Option<Instant> {
        if self.n_leases > 0 { None } else { self.end(self.last_left) }
    }

    /// When it goes if nobody asks for it any more; `None` is never. Of one that answers, if it were done now.
    #[must_use]
    pub fn expires_at(&self, now: Instant) -> Option<Instant> {
        if self.n_leases > 0 { self.end(now) } else { self.end(self.last_left) }
    }

    fn end(&self, last_left: Instant) -> Option<Instant> {
        match self.keep_alive {
            _ if self.stopped => Some(last_left),
            KeepAlive::Forever => None,
            // What is later than a clock can tell is never.
            KeepAlive::For(duration) => last_left.checked_add(duration),
        }
    }
}
