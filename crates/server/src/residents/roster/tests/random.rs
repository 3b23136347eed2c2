//! The roster under random requests, failures and crashes.

use proptest::prelude::*;

use super::*;

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
                self.acquire(Demand { keep_alive: *keep_alive, ..demand(*base, *n_ctx) });
            }
            Act::Withdraw(which) => {
                let waiting = self.waiting();
                if !waiting.is_empty() {
                    let ticket = Ticket(*which.get(&waiting));
                    self.roster.withdraw(ticket, &mut self.machine);
                    self.machine.demands.remove(&ticket);
                }
            }
            Act::Leave(which) => {
                if !self.machine.leases.is_empty() {
                    let (Ticket(ticket), _) = *which.get(&self.machine.leases);
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

    /// Every load succeeds, every lease ends, and time passes: nobody may be left.
    fn come_to_rest(&mut self) {
        for _ in 0..200 {
            self.gone();
            self.loaded();
            while let Some((Ticket(ticket), _)) = self.machine.leases.first().copied() {
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
            // Who waits cannot be served by what takes requests, or the roster was asleep.
            house.check();
        }
        house.come_to_rest();
        let unanswered = house.machine.demands.keys().filter(|ticket| !house.machine.outcomes.contains_key(ticket));
        prop_assert_eq!(unanswered.count(), 0);
        // What nobody wants any more goes by itself; what is wanted forever stays until it is let go.
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
        let late = house.acquire(demand(0, 500));
        prop_assert_eq!(house.machine.outcomes[&Ticket(late)], Outcome::Closed);
        if rest {
            house.come_to_rest();
        } else {
            house.machine.ending_all = true;
            house.roster.end(&mut house.machine);
        }
        house.gone();
        prop_assert!(house.roster.is_empty(), "{:?}", house.roster);
        prop_assert_eq!(house.machine.outcomes.len(), house.machine.demands.len());
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
                house.acquire(demand(base, 500));
            }
            house.gone();
            house.loaded();
            for (ticket, _) in house.machine.leases.clone() {
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
        // Three others come first; each has a turn of the patience, its last leases, the end and the load.
        let turn = PATIENCE + Duration::from_secs(2 + 1 + 2);
        prop_assert!(longest <= turn * 4, "{longest:?}");
    }
}
