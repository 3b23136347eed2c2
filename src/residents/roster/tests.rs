//! The roster under random requests, failures and crashes, against a simulated machine; and its rules one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::engine::compute::{Compute, KvType};
use crate::engine::memory::{Limit, Need as EngineNeed, Room, Shortage as EngineShortage};

/// A machine of some bytes, and what the roster did on it.
struct Machine {
    now: Instant,
    bytes: u64,
    wishes: BTreeMap<Ticket, Wish>,
    outcomes: BTreeMap<Ticket, Outcome>,
    /// With what an engine was loaded, until its memory is free.
    engines: BTreeMap<EngineId, Engine>,
    guests: Vec<(Ticket, EngineId)>,
    n_loads: usize,
    ending_all: bool,
}

struct Engine {
    wish: Wish,
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
            wishes: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            engines: BTreeMap::new(),
            guests: Vec::new(),
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

    fn n_guests(&self, id: EngineId) -> usize {
        self.guests.iter().filter(|(_, engine)| *engine == id).count()
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
        Some(self.bytes - taken.map(|engine| counted(engine.wish.need.likely)).sum::<u64>())
    }

    fn taken(&self, engine: EngineId) -> Option<u64> {
        let engine = &self.engines[&engine];
        Some(if engine.life == Life::Dead { 0 } else { counted(engine.wish.need.likely) })
    }

    fn is_alive(&self, engine: EngineId) -> bool {
        self.engines[&engine].life == Life::Ready
    }

    fn load(&mut self, engine: EngineId, like: Ticket) {
        assert_eq!(self.having(Life::Loading), [], "two loads at once");
        assert!(!self.outcomes.contains_key(&like));
        let wish = self.wishes[&like].clone();
        assert!(self.engines.insert(engine, Engine { wish, life: Life::Loading }).is_none());
        self.n_loads += 1;
    }

    fn cancel(&mut self, engine: EngineId) {
        let engine = self.engines.get_mut(&engine).unwrap();
        assert_eq!(engine.life, Life::Loading);
        engine.life = Life::Ending;
    }

    fn release(&mut self, engine: EngineId) {
        assert!(self.ending_all || self.n_guests(engine) == 0, "released while it answers");
        let engine = self.engines.get_mut(&engine).unwrap();
        assert!(matches!(engine.life, Life::Ready | Life::Dead));
        engine.life = Life::Ending;
    }

    fn bury(&mut self, engine: EngineId) {
        assert_eq!(self.engines.remove(&engine).unwrap().life, Life::Dead);
    }

    fn admit(&mut self, ticket: Ticket, engine: EngineId) {
        let (wish, to) = (&self.wishes[&ticket], &self.engines[&engine]);
        assert_eq!((to.life, &to.wish.base), (Life::Ready, &wish.base));
        assert!(to.wish.n_ctx >= wish.n_ctx, "too small a context");
        self.guests.push((ticket, engine));
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
fn wish(base: usize, n_ctx: u32) -> Wish {
    let bytes = 10 + u64::from(n_ctx / 100);
    Wish {
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

    fn acquire(&mut self, wish: Wish) -> u64 {
        let ticket = Ticket(self.n_tickets);
        self.n_tickets += 1;
        self.machine.wishes.insert(ticket, wish.clone());
        self.roster.acquire(ticket, wish, &mut self.machine);
        ticket.0
    }

    fn leave(&mut self, ticket: u64) {
        let at = self.machine.guests.iter().position(|(guest, _)| *guest == Ticket(ticket)).unwrap();
        let (ticket, engine) = self.machine.guests.swap_remove(at);
        let tenant = self.machine.wishes[&ticket].tenant.clone();
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

    fn acquire_loaded(&mut self, wish: Wish) -> u64 {
        let ticket = self.acquire(wish);
        self.gone();
        self.loaded();
        assert!(self.machine.admitted(ticket).is_some(), "{:?}", self.machine.outcomes.get(&Ticket(ticket)));
        ticket
    }

    fn check(&self) {
        let Machine { engines, bytes, outcomes, .. } = &self.machine;
        let held = |engine: &Engine| match engine.life {
            Life::Loading | Life::Ready => engine.wish.need.likely,
            // Nobody reads its mapped weights any more.
            Life::Ending => counted(engine.wish.need.likely),
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
            assert_eq!(entry.n_guests(), self.machine.n_guests(entry.id));
        }
    }

    fn waiting(&self) -> Vec<u64> {
        self.roster.line.iter().map(|waiting| waiting.ticket.0).collect()
    }
}

#[derive(Debug, Clone)]
enum Act {
    Acquire { base: usize, n_ctx: u32, keep_alive: Option<KeepAlive> },
    Withdraw(prop::sample::Index),
    Leave(prop::sample::Index),
    Loaded,
    Failed,
    TooLittleMemory,
    Gone,
    Dies { which: prop::sample::Index, noticed: bool },
    Unload { base: usize },
    Pass { seconds: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let keep_alive = prop_oneof![
        4 => Just(None),
        1 => Just(Some(KeepAlive::For(Duration::ZERO))),
        1 => Just(Some(KeepAlive::For(Duration::from_secs(7)))),
        1 => Just(Some(KeepAlive::Forever)),
    ];
    let n_ctx = prop_oneof![4 => Just(500_u32), 3 => Just(1000), 1 => Just(2000), 1 => Just(9000)];
    prop_oneof![
        8 => (0..4_usize, n_ctx, keep_alive).prop_map(|(base, n_ctx, keep_alive)| Act::Acquire { base, n_ctx, keep_alive }),
        2 => any::<prop::sample::Index>().prop_map(Act::Withdraw),
        6 => any::<prop::sample::Index>().prop_map(Act::Leave),
        5 => Just(Act::Loaded),
        1 => Just(Act::Failed),
        1 => Just(Act::TooLittleMemory),
        4 => Just(Act::Gone),
        1 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(which, noticed)| Act::Dies { which, noticed }),
        1 => (0..4_usize).prop_map(|base| Act::Unload { base }),
        3 => (0..12_u64).prop_map(|seconds| Act::Pass { seconds }),
    ]
}

impl House {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Acquire { base, n_ctx, keep_alive } => {
                self.acquire(Wish { keep_alive: *keep_alive, ..wish(*base, *n_ctx) });
            }
            Act::Withdraw(which) => {
                let waiting = self.waiting();
                if !waiting.is_empty() {
                    let ticket = Ticket(*which.get(&waiting));
                    self.roster.withdraw(ticket, &mut self.machine);
                    self.machine.wishes.remove(&ticket);
                }
            }
            Act::Leave(which) => {
                if !self.machine.guests.is_empty() {
                    let (Ticket(ticket), _) = *which.get(&self.machine.guests);
                    self.leave(ticket);
                }
            }
            Act::Loaded => self.loaded(),
            Act::Failed => self.failed(&damaged()),
            Act::TooLittleMemory => self.failed(&too_little_memory()),
            Act::Gone => self.gone(),
            Act::Dies { which, noticed } => {
                let ready = self.machine.having(Life::Ready);
                if !ready.is_empty() {
                    let id = *which.get(&ready);
                    self.machine.engines.get_mut(&id).unwrap().life = Life::Dead;
                    if *noticed {
                        self.roster.died(id, &mut self.machine);
                    }
                }
            }
            Act::Unload { base } => {
                let tenant = tenant(&format!("model{base}"));
                self.roster.unload(|loaded| *loaded == tenant, &mut self.machine);
            }
            Act::Pass { seconds } => self.pass(Duration::from_secs(*seconds)),
        }
    }

    /// Every load succeeds, every guest leaves, and time passes: nobody may be left.
    fn come_to_rest(&mut self) {
        for _ in 0..200 {
            self.gone();
            self.loaded();
            while let Some((Ticket(ticket), _)) = self.machine.guests.first().copied() {
                self.leave(ticket);
            }
            self.pass(Duration::from_secs(1));
            self.check();
            if self.roster.line.is_empty() {
                return;
            }
        }
        panic!("{:?} wait for ever", self.waiting());
    }
}

proptest! {
    #[test]
    fn every_request_is_answered_once_and_memory_is_never_overdrawn(
        bytes in 25..90_u64,
        max_loaded in prop_oneof![Just(None), (1..4_usize).prop_map(Some)],
        acts in prop::collection::vec(act(), 0..120),
    ) {
        let mut house = House::new(bytes, max_loaded);
        for act in &acts {
            house.act(act);
            // Who waits cannot be served by what takes guests, or the roster was asleep.
            house.check();
        }
        house.come_to_rest();
        let unanswered = house.machine.wishes.keys().filter(|ticket| !house.machine.outcomes.contains_key(ticket));
        prop_assert_eq!(unanswered.count(), 0);
        // What nobody wants any more goes by itself; what is wanted for ever stays until it is let go.
        house.pass(KEEP_ALIVE * 2);
        house.gone();
        house.roster.unload(|_| true, &mut house.machine);
        house.gone();
        prop_assert!(house.roster.is_empty(), "{:?}", house.roster);
    }

    #[test]
    fn closing_lets_those_who_wait_finish_and_ending_lets_nobody_be(
        acts in prop::collection::vec(act(), 0..60),
        rest in any::<bool>(),
    ) {
        let mut house = House::new(60, None);
        for act in &acts {
            house.act(act);
        }
        house.roster.close(&mut house.machine);
        let late = house.acquire(wish(0, 500));
        prop_assert_eq!(house.machine.outcomes[&Ticket(late)], Outcome::Closed);
        if rest {
            house.come_to_rest();
        } else {
            house.machine.ending_all = true;
            house.roster.end(&mut house.machine);
        }
        house.gone();
        prop_assert!(house.roster.is_empty(), "{:?}", house.roster);
        prop_assert_eq!(house.machine.outcomes.len(), house.machine.wishes.len());
    }

    /// Four bases of which one is asked for all the time, and one fits: each request takes two seconds, each load one.
    #[test]
    fn nobody_waits_for_ever_however_much_is_asked_of_the_others(
        arrivals in prop::collection::vec(prop::collection::vec(0..4_usize, 0..3), 150),
    ) {
        let mut house = House::new(20, None);
        let (mut left_at, mut longest) = (BTreeMap::new(), Duration::ZERO);
        for arriving in arrivals {
            for base in arriving.into_iter().chain([0]) {
                house.acquire(wish(base, 500));
            }
            house.gone();
            house.loaded();
            for (ticket, _) in house.machine.guests.clone() {
                let done = *left_at.entry(ticket).or_insert(house.machine.now + Duration::from_secs(2));
                if done <= house.machine.now {
                    house.leave(ticket.0);
                }
            }
            house.pass(Duration::from_secs(1));
            house.check();
            let now = house.machine.now;
            longest = house.roster.line.iter().map(|waiting| now - waiting.since).max().unwrap_or_default().max(longest);
        }
        // Three others come first; each has a turn of the patience, its last guests, the end and the load.
        let turn = PATIENCE + Duration::from_secs(2 + 1 + 2);
        prop_assert!(longest <= turn * 4, "{longest:?}");
    }
}

#[test]
fn one_load_serves_all_who_wait_and_a_larger_context_serves_smaller_ones() {
    let mut house = House::new(1000, None);
    let tickets = [house.acquire(wish(0, 500)), house.acquire(wish(0, 500))];
    house.loaded();
    assert!(tickets.iter().all(|&ticket| house.machine.admitted(ticket).is_some()));
    assert_eq!(house.machine.n_loads, 1);
    // The larger one is loaded beside; meanwhile the smaller one goes on.
    let large = house.acquire(wish(0, 2000));
    let small = house.acquire(wish(0, 500));
    assert_eq!(house.machine.admitted(small), house.machine.admitted(tickets[0]));
    house.loaded();
    let small = house.acquire(wish(0, 500));
    assert_eq!(house.machine.admitted(small), house.machine.admitted(large));
    // The smaller one goes with its last guest.
    assert_eq!(house.machine.engines.len(), 2);
    for ticket in [tickets[0], tickets[1], small - 1] {
        house.leave(ticket);
    }
    house.gone();
    assert_eq!((house.machine.engines.len(), house.machine.n_loads), (1, 2));
}

#[test]
fn two_sizes_of_context_that_alternate_load_twice_at_most() {
    // There is room for one engine only.
    let mut house = House::new(35, None);
    for _ in 0..10 {
        for n_ctx in [500, 2000] {
            let ticket = house.acquire_loaded(wish(0, n_ctx));
            house.leave(ticket);
        }
    }
    assert_eq!(house.machine.n_loads, 2);
    // Those who wait together load once, for the largest of them.
    let mut house = House::new(35, None);
    let other = house.acquire_loaded(wish(1, 2000));
    let tickets = [house.acquire(wish(0, 500)), house.acquire(wish(0, 2000))];
    house.leave(other);
    house.gone();
    house.loaded();
    assert!(tickets.iter().all(|&ticket| house.machine.admitted(ticket).is_some()));
    assert_eq!(house.machine.n_loads, 2);
}

#[test]
fn the_least_recently_used_goes_first_and_only_as_many_as_must() {
    // Four engines of 15 bytes.
    let mut house = House::new(60, None);
    for base in 0..4 {
        let ticket = house.acquire_loaded(wish(base, 500));
        house.leave(ticket);
        house.pass(Duration::from_secs(1));
    }
    let again = house.acquire_loaded(wish(0, 500));
    house.leave(again);
    house.acquire_loaded(wish(4, 500));
    let loaded = |house: &House| {
        let mut ids: Vec<_> = house.roster.engines.iter().map(|entry| entry.base.weights_id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(loaded(&house), ["base0", "base2", "base3", "base4"]);
    assert_eq!(house.roster.counters().evicted, 1);
    // Who answers stays, however long ago it was asked.
    house.pass(Duration::from_secs(1));
    for base in [2, 3] {
        let ticket = house.acquire(wish(base, 500));
        house.leave(ticket);
    }
    house.acquire_loaded(wish(5, 500));
    assert_eq!(loaded(&house), ["base2", "base3", "base4", "base5"]);
}

#[test]
fn what_is_in_the_way_gives_way_after_a_while_and_has_its_turn_again() {
    let mut house = House::new(20, None);
    let old = house.acquire_loaded(wish(0, 500));
    house.pass(PATIENCE);
    let other = house.acquire(wish(1, 500));
    house.pass(PATIENCE - Duration::from_millis(1));
    // Until then nobody is stopped for the other's sake.
    let second = house.acquire(wish(0, 500));
    assert!(house.machine.admitted(second).is_some());
    house.pass(Duration::from_millis(1));
    let third = house.acquire(wish(0, 500));
    assert_eq!(house.machine.admitted(third), None);
    house.leave(old);
    house.leave(second);
    house.gone();
    house.pass(Duration::from_secs(20));
    house.loaded();
    assert!(house.machine.admitted(other).is_some());
    // A load of 20 seconds is followed by a turn of 20 seconds.
    house.pass(Duration::from_secs(19));
    let more = house.acquire(wish(1, 500));
    assert!(house.machine.admitted(more).is_some());
    house.pass(Duration::from_secs(1));
    let late = house.acquire(wish(1, 500));
    assert_eq!(house.machine.admitted(late), None);
    house.leave(other);
    house.leave(more);
    house.gone();
    house.loaded();
    assert!(house.machine.admitted(third).is_some());
}

#[test]
fn a_door_opens_again_when_nobody_waits_for_it_any_more() {
    let mut house = House::new(20, None);
    house.acquire_loaded(wish(0, 500));
    let other = house.acquire(wish(1, 500));
    house.pass(PATIENCE * 2);
    let shut_out = house.acquire(wish(0, 500));
    assert_eq!(house.machine.admitted(shut_out), None);
    house.roster.withdraw(Ticket(other), &mut house.machine);
    assert!(house.machine.admitted(shut_out).is_some());
}

#[test]
fn a_load_that_nobody_waits_for_is_cancelled() {
    let mut house = House::new(100, None);
    let tickets = [house.acquire(wish(0, 500)), house.acquire(wish(0, 500))];
    house.roster.withdraw(Ticket(tickets[0]), &mut house.machine);
    assert_eq!(house.machine.having(Life::Loading).len(), 1);
    house.roster.withdraw(Ticket(tickets[1]), &mut house.machine);
    assert_eq!(house.machine.having(Life::Loading).len(), 0);
    house.gone();
    assert!(house.roster.is_empty());
    assert_eq!(house.roster.counters().loads_cancelled, 1);
}

#[test]
fn a_failed_load_is_told_to_all_who_waited_and_tried_again_for_the_next() {
    let mut house = House::new(100, None);
    let tickets = [house.acquire(wish(0, 500)), house.acquire(wish(0, 500))];
    house.failed(&damaged());
    assert!(tickets.iter().all(|&ticket| house.machine.outcomes[&Ticket(ticket)] == Outcome::Failed));
    house.acquire_loaded(wish(0, 500));
}

#[test]
fn where_the_estimate_was_too_low_idle_engines_go_one_by_one() {
    let mut house = House::new(100, None);
    for base in 0..2 {
        let ticket = house.acquire_loaded(wish(base, 500));
        house.leave(ticket);
    }
    let ticket = house.acquire(wish(2, 500));
    for n_left in [1, 0] {
        house.failed(&too_little_memory());
        house.gone();
        assert_eq!(house.machine.having(Life::Ready).len(), n_left);
    }
    // Alone, it has all that there is.
    house.failed(&too_little_memory());
    assert_eq!(house.machine.outcomes[&Ticket(ticket)], Outcome::Failed);
    assert_eq!(house.roster.counters().load_failures, 3);
}

#[test]
fn what_does_not_fit_alone_is_refused_with_both_numbers() {
    let mut house = House::new(50, None);
    house.acquire_loaded(wish(0, 500));
    let ticket = house.acquire(wish(1, 9000));
    assert_eq!(house.machine.outcomes[&Ticket(ticket)], Outcome::TooLarge { need: 100, room: 50 });
    // One that lacks room for its second lane only is loaded, alone.
    let tight = Wish { need: Need { least: 40, likely: 70 }, ..wish(1, 500) };
    let ticket = house.acquire(tight);
    house.leave(0);
    house.gone();
    assert_eq!((house.machine.having(Life::Loading).len(), house.waiting()), (1, vec![ticket]));
}

#[test]
fn models_of_one_base_have_their_own_keep_alive() {
    let mut house = House::new(100, None);
    let of = |name: &str, keep_alive| Wish { tenant: tenant(name), keep_alive, ..wish(0, 500) };
    let seconds = |n| Some(KeepAlive::For(Duration::from_secs(n)));
    let tickets = [("at-once", seconds(0)), ("soon", seconds(10)), ("default", None)]
        .map(|(name, keep_alive)| house.acquire_loaded(of(name, keep_alive)));
    assert_eq!(house.machine.n_loads, 1);
    tickets.into_iter().for_each(|ticket| house.leave(ticket));
    let names = |house: &House| -> Vec<String> {
        house
            .roster
            .engines
            .iter()
            .flat_map(|entry| &entry.uses)
            .map(|used| used.tenant.name.model().to_owned())
            .collect()
    };
    assert_eq!(names(&house), ["soon", "default"]);
    house.pass(Duration::from_secs(10));
    assert_eq!(names(&house), ["default"]);
    // What was said once holds for those who say nothing.
    let ticket = house.acquire(of("default", Some(KeepAlive::Forever)));
    house.leave(ticket);
    let ticket = house.acquire(of("default", None));
    house.leave(ticket);
    house.pass(KEEP_ALIVE * 100);
    assert_eq!(names(&house), ["default"]);
    assert_eq!(house.roster.unload(|tenant| tenant.name.model() == "soon", &mut house.machine), None);
    assert_eq!(house.roster.unload(|tenant| tenant.name.model() == "default", &mut house.machine), Some(0));
    house.gone();
    assert!(house.roster.is_empty());
}

#[test]
fn what_is_stopped_answers_to_its_end_and_is_loaded_anew_for_the_next() {
    let mut house = House::new(100, None);
    let first = house.acquire_loaded(wish(0, 500));
    assert_eq!(house.roster.unload(|_| true, &mut house.machine), Some(1));
    let next = house.acquire_loaded(wish(0, 500));
    assert_ne!(house.machine.admitted(next), house.machine.admitted(first));
    house.leave(first);
    house.gone();
    assert_eq!((house.machine.engines.len(), house.machine.n_loads), (1, 2));
}

#[test]
fn a_dead_engine_is_never_given_to_anybody() {
    for noticed in [true, false] {
        let mut house = House::new(100, None);
        let first = house.acquire_loaded(wish(0, 500));
        let died = house.machine.admitted(first).unwrap();
        house.machine.engines.get_mut(&died).unwrap().life = Life::Dead;
        if noticed {
            house.roster.died(died, &mut house.machine);
        }
        let next = house.acquire_loaded(wish(0, 500));
        assert_ne!(house.machine.admitted(next), Some(died));
        // The first guest finds out by itself, and leaves.
        house.leave(first);
        let counters = house.roster.counters();
        assert_eq!((counters.crashes, counters.restarts, counters.loads), (1, 1, 2));
    }
}
