//! Gates and the queues before them: who is let in next, and who is turned away. Pure: no tasks, and no clock but the one
//! that is handed in.
//!
//! A gate lets so many in at once. The others wait in a queue for each client, and the clients take turns: between two
//! admissions of one client, every other client that waits before that gate has one. All queues together have one bound.
//! Where it is reached, the client with the most waiting loses its youngest to a client that has less, so that nobody fills
//! the queues for all others.
//!
//! Requests of batches wait in queues of their own. One is let in only where nobody else waits, and they never have more than
//! half of a gate's places, so that a request of somebody who looks on finds one free.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request's number, counted up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Whether somebody looks on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    #[default]
    Live,
    /// Behind every live request.
    Batch,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Admitted,
    /// Too many wait; at the pace of the last answers, those before it are through after this time.
    Busy {
        n_queued: usize,
        retry_after: Duration,
    },
}

#[derive(Debug)]
pub struct Gates<K> {
    max_queued: usize,
    n_queued: usize,
    /// Requests of batches that wait; they have the same bound for themselves.
    n_batch_queued: usize,
    gates: HashMap<K, Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    limit: usize,
    n_running: usize,
    /// Of those that run, requests of batches.
    n_batch_running: usize,
    live: Turns,
    batch: Turns,
    pace: Pace,
}

/// Clients that wait, the next one first; none has an empty queue.
#[derive(Debug, Default)]
struct Turns(VecDeque<Queue>);

#[derive(Debug)]
struct Queue {
    client: Arc<str>,
    tickets: VecDeque<Ticket>,
}

/// How often someone comes out of a gate that is full.
#[derive(Debug, Default)]
struct Pace {
    /// Since when the next one is awaited: a gate that is not full says nothing.
    awaited_since: Option<Instant>,
    seconds: Option<f64>,
}

/// What the last interval counts in the mean.
const WEIGHT: f64 = 0.2;
/// Of a gate that nobody has come out of yet.
const UNKNOWN_PACE: f64 = 1.0;
const LONGEST_RETRY: Duration = Duration::from_secs(60);

impl<K: Clone + Eq + Hash> Gates<K> {
    #[must_use]
    pub fn new(max_queued: usize) -> Self {
        Gates { max_queued, n_queued: 0, n_batch_queued: 0, gates: HashMap::new() }
    }

    /// A request comes to a gate that lets at least `limit` in at once for as long as it is needed: contexts do not shrink, so
    /// who asks for a smaller one takes nothing from the others. What is told may be of this request and of others; one
    /// that is not told of waits.
    #[must_use]
    pub fn enter(
        &mut self,
        key: &K,
        limit: usize,
        client: &Arc<str>,
        ticket: Ticket,
        now: Instant,
    ) -> Vec<(Ticket, Outcome)> {
        self.widened(key, limit).live.push(client, ticket);
        self.n_queued += 1;
        let mut outcomes = self.admit(key, now);
        if self.n_queued > self.max_queued {
            outcomes.extend(self.turn_away(key, client, ticket));
        }
        outcomes
    }

    /// As [`Gates::enter`], for a request of a batch.
    #[must_use]
    pub fn enter_behind(
        &mut self,
        key: &K,
        limit: usize,
        client: &Arc<str>,
        ticket: Ticket,
        now: Instant,
    ) -> Vec<(Ticket, Outcome)> {
        self.widened(key, limit).batch.push(client, ticket);
        self.n_batch_queued += 1;
        let mut outcomes = self.admit(key, now);
        if self.n_batch_queued > self.max_queued
            && let Some(gate) = self.gates.get_mut(key)
            && gate.batch.remove(ticket)
        {
            self.n_batch_queued -= 1;
            let retry_after = gate.retry_after();
            outcomes.push((ticket, Outcome::Busy { n_queued: self.n_batch_queued, retry_after }));
            self.forget(key);
        }
        outcomes
    }

    /// A gate that lets at least `limit` in at once.
    fn widened(&mut self, key: &K, limit: usize) -> &mut Gate {
        let gate = self.gates.entry(key.clone()).or_default();
        gate.limit = gate.limit.max(limit).max(1);
        gate
    }

    /// One who waits goes away; `false` where it waits no more.
    pub fn withdraw(&mut self, key: &K, ticket: Ticket) -> bool {
        let Some(gate) = self.gates.get_mut(key) else { return false };
        if gate.live.remove(ticket) {
            self.n_queued -= 1;
        } else if gate.batch.remove(ticket) {
            self.n_batch_queued -= 1;
        } else {
            return false;
        }
        self.forget(key);
        true
    }

    /// A request of a batch that was let in comes out.
    #[must_use]
    pub fn leave_behind(&mut self, key: &K, now: Instant) -> Vec<(Ticket, Outcome)> {
        if let Some(gate) = self.gates.get_mut(key) {
            gate.n_batch_running = gate.n_batch_running.saturating_sub(1);
        }
        self.leave(key, now)
    }

    /// One who was let in comes out.
    #[must_use]
    pub fn leave(&mut self, key: &K, now: Instant) -> Vec<(Ticket, Outcome)> {
        let Some(gate) = self.gates.get_mut(key) else { return Vec::new() };
        gate.n_running = gate.n_running.saturating_sub(1);
        gate.pace.came_out(now);
        let outcomes = self.admit(key, now);
        self.forget(key);
        outcomes
    }

    /// How many of those who wait now are let in before one of them; `None` where it does not wait.
    #[must_use]
    pub fn n_before(&self, key: &K, ticket: Ticket) -> Option<usize> {
        self.gates.get(key)?.n_before(ticket)
    }

    /// Requests that wait, but for those of batches.
    #[must_use]
    pub fn n_queued(&self) -> usize {
        self.n_queued
    }

    #[must_use]
    pub fn n_running(&self) -> usize {
        self.gates.values().map(|gate| gate.n_running).sum()
    }

    fn admit(&mut self, key: &K, now: Instant) -> Vec<(Ticket, Outcome)> {
        let Some(gate) = self.gates.get_mut(key) else { return Vec::new() };
        let mut admitted = Vec::new();
        while gate.n_running < gate.limit
            && let Some(ticket) = gate.live.pop()
        {
            gate.n_running += 1;
            self.n_queued -= 1;
            admitted.push((ticket, Outcome::Admitted));
        }
        while gate.n_running < gate.limit
            && gate.n_batch_running < gate.batch_limit()
            && let Some(ticket) = gate.batch.pop()
        {
            gate.n_running += 1;
            gate.n_batch_running += 1;
            self.n_batch_queued -= 1;
            admitted.push((ticket, Outcome::Admitted));
        }
        let is_full = gate.n_running >= gate.limit;
        gate.pace.awaited_since = is_full.then(|| gate.pace.awaited_since.unwrap_or(now));
        admitted
    }

    /// There is one too many: the newcomer, or the youngest of the client that has most.
    fn turn_away(&mut self, key: &K, client: &Arc<str>, newcomer: Ticket) -> Option<(Ticket, Outcome)> {
        let mut n_of: HashMap<&Arc<str>, usize> = HashMap::new();
        for queue in self.gates.values().flat_map(|gate| &gate.live.0) {
            *n_of.entry(&queue.client).or_default() += queue.tickets.len();
        }
        let own = n_of.get(client).copied().unwrap_or(0);
        // Of two that have equally many, whichever: the name decides, so that it is always the same one.
        let most = n_of.into_iter().max_by_key(|(client, n)| (*n, Arc::clone(client)));
        let loser = most.filter(|(_, n)| *n > own).map_or_else(|| Arc::clone(client), |(loser, _)| Arc::clone(loser));
        let (key, ticket) = if loser == *client {
            (key.clone(), newcomer)
        } else {
            let last = |gate: &Gate| gate.live.0.iter().find(|queue| queue.client == loser)?.tickets.back().copied();
            let youngest = self.gates.iter().filter_map(|(key, gate)| Some((last(gate)?, key)));
            let (ticket, key) = youngest.max_by_key(|(ticket, _)| *ticket)?;
            (key.clone(), ticket)
        };
        let gate = self.gates.get_mut(&key)?;
        let retry_after = gate.retry_after();
        gate.live.remove(ticket);
        self.n_queued -= 1;
        let outcome = Outcome::Busy { n_queued: self.n_queued, retry_after };
        self.forget(&key);
        Some((ticket, outcome))
    }

    /// Gates are made by requests: one that nobody needs leaves nothing behind.
    fn forget(&mut self, key: &K) {
        if self.gates.get(key).is_some_and(|gate| gate.n_running == 0 && gate.is_empty()) {
            self.gates.remove(key);
        }
    }
}

impl Gate {
    fn is_empty(&self) -> bool {
        self.live.0.is_empty() && self.batch.0.is_empty()
    }

    /// Places that requests of batches have at most.
    fn batch_limit(&self) -> usize {
        (self.limit / 2).max(1)
    }

    fn n_before(&self, ticket: Ticket) -> Option<usize> {
        self.live.n_before(ticket).or_else(|| Some(self.live.len() + self.batch.n_before(ticket)?))
    }

    fn retry_after(&self) -> Duration {
        let n = self.live.len() + self.batch.len();
        let seconds = self.pace.seconds.unwrap_or(UNKNOWN_PACE) * n as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_RETRY).clamp(Duration::from_secs(1), LONGEST_RETRY)
    }
}

impl Turns {
    fn len(&self) -> usize {
        self.0.iter().map(|queue| queue.tickets.len()).sum()
    }

    fn push(&mut self, client: &Arc<str>, ticket: Ticket) {
        match self.0.iter_mut().find(|queue| queue.client == *client) {
            Some(queue) => queue.tickets.push_back(ticket),
            None => self.0.push_back(Queue { client: Arc::clone(client), tickets: VecDeque::from([ticket]) }),
        }
    }

    /// The first of the client whose turn it is, which then is the last to have another.
    fn pop(&mut self) -> Option<Ticket> {
        let mut queue = self.0.pop_front()?;
        let ticket = queue.tickets.pop_front();
        if !queue.tickets.is_empty() {
            self.0.push_back(queue);
        }
        ticket
    }

    /// Each turn of the client's own takes one ticket of every client; who stands before it in the turns has one turn more.
    fn n_before(&self, ticket: Ticket) -> Option<usize> {
        let place = |queue: &Queue| queue.tickets.iter().position(|&waiting| waiting == ticket);
        let (own, n_rounds) = self.0.iter().enumerate().find_map(|(at, queue)| Some((at, place(queue)?)))?;
        let taken = |(at, queue): (usize, &Queue)| match at.cmp(&own) {
            Ordering::Less => queue.tickets.len().min(n_rounds + 1),
            Ordering::Equal => n_rounds,
            Ordering::Greater => queue.tickets.len().min(n_rounds),
        };
        Some(self.0.iter().enumerate().map(taken).sum())
    }

    /// Whether it waited here.
    fn remove(&mut self, ticket: Ticket) -> bool {
        let Some(queue) = self.0.iter_mut().find(|queue| queue.tickets.contains(&ticket)) else { return false };
        queue.tickets.retain(|waiting| *waiting != ticket);
        self.0.retain(|queue| !queue.tickets.is_empty());
        true
    }
}

impl Pace {
    fn came_out(&mut self, now: Instant) {
        if let Some(since) = self.awaited_since.take() {
            let last = now.saturating_duration_since(since).as_secs_f64();
            self.seconds = Some(self.seconds.map_or(last, |mean| mean + WEIGHT * (last - mean)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn client(n: usize) -> Arc<str> {
        format!("client{n}").into()
    }

    #[derive(Debug, Clone)]
    enum Act {
        Enter { gate: usize, client: usize },
        Withdraw(prop::sample::Index),
        Leave(prop::sample::Index),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            // The first client asks for much more than the others.
            3 => (0..2_usize).prop_map(|gate| Act::Enter { gate, client: 0 }),
            3 => (0..2_usize, 1..5_usize).prop_map(|(gate, client)| Act::Enter { gate, client }),
            1 => any::<prop::sample::Index>().prop_map(Act::Withdraw),
            4 => any::<prop::sample::Index>().prop_map(Act::Leave),
        ]
    }

    /// What the gates did, and what a client that waits has seen of the others.
    #[derive(Default)]
    struct Seen {
        waiting: BTreeMap<Ticket, (usize, usize)>,
        running: Vec<(Ticket, usize)>,
        /// For a client that waits before a gate: admissions of every other since it began to wait.
        overtaken: BTreeMap<(usize, usize), BTreeMap<usize, usize>>,
    }

    impl Seen {
        fn waits(&self, gate: usize, client: usize) -> bool {
            self.waiting.values().any(|&waiting| waiting == (gate, client))
        }

        fn told(&mut self, outcomes: Vec<(Ticket, Outcome)>) {
            for (ticket, outcome) in outcomes {
                let (gate, client) = self.waiting.remove(&ticket).expect("each request is told of once");
                if outcome == Outcome::Admitted {
                    self.running.push((ticket, gate));
                    for ((at, other), seen) in &mut self.overtaken {
                        if (*at, *other) != (gate, client) && *at == gate {
                            *seen.entry(client).or_default() += 1;
                        }
                    }
                    self.overtaken.remove(&(gate, client));
                }
                if self.waits(gate, client) {
                    self.overtaken.entry((gate, client)).or_default();
                } else {
                    self.overtaken.remove(&(gate, client));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn everybody_has_a_turn_and_one_outcome(
            acts in prop::collection::vec(act(), 0..200),
            limits in (1..4_usize, 1..4_usize),
            max_queued in 0..12_usize,
        ) {
            let limits = [limits.0, limits.1];
            let mut gates = Gates::new(max_queued);
            let mut seen = Seen::default();
            let now = Instant::now();
            for (n, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Enter { gate, client: who } => {
                        let ticket = Ticket(n as u64);
                        if !seen.waits(gate, who) {
                            seen.overtaken.insert((gate, who), BTreeMap::new());
                        }
                        seen.waiting.insert(ticket, (gate, who));
                        let outcomes = gates.enter(&gate, limits[gate], &client(who), ticket, now);
                        seen.told(outcomes);
                    }
                    Act::Withdraw(which) if !seen.waiting.is_empty() => {
                        let tickets: Vec<Ticket> = seen.waiting.keys().copied().collect();
                        let ticket = *which.get(&tickets);
                        let (gate, who) = seen.waiting.remove(&ticket).unwrap();
                        prop_assert!(gates.withdraw(&gate, ticket));
                        if !seen.waits(gate, who) {
                            seen.overtaken.remove(&(gate, who));
                        }
                    }
                    Act::Leave(which) if !seen.running.is_empty() => {
                        let at = which.index(seen.running.len());
                        let (_, gate) = seen.running.swap_remove(at);
                        seen.told(gates.leave(&gate, now));
                    }
                    Act::Withdraw(_) | Act::Leave(_) => {}
                }
                prop_assert!(seen.waiting.len() <= max_queued);
                prop_assert_eq!(gates.n_queued(), seen.waiting.len());
                prop_assert_eq!(gates.n_running(), seen.running.len());
                for (gate, limit) in limits.into_iter().enumerate() {
                    let n_running = seen.running.iter().filter(|(_, at)| *at == gate).count();
                    let is_awaited = seen.waiting.values().any(|(at, _)| *at == gate);
                    prop_assert!(n_running <= limit && (!is_awaited || n_running == limit));
                }
                for (waits, overtaken) in &seen.overtaken {
                    prop_assert!(overtaken.values().all(|&n| n <= 1), "{waits:?} was overtaken: {overtaken:?}");
                }
            }
            // Nobody comes any more: each is let in after as many as were told to be before it.
            for gate in 0..2 {
                let before: Vec<(Ticket, Option<usize>)> = seen.waiting.iter().filter(|(_, (at, _))| *at == gate)
                    .map(|(&ticket, _)| (ticket, gates.n_before(&gate, ticket))).collect();
                let mut let_in = Vec::new();
                while let Some(at) = seen.running.iter().position(|(_, at)| *at == gate) {
                    seen.running.swap_remove(at);
                    let outcomes = gates.leave(&gate, now);
                    let_in.extend(outcomes.iter().map(|(ticket, _)| *ticket));
                    seen.told(outcomes);
                }
                for (ticket, n) in before {
                    prop_assert_eq!(let_in.iter().position(|one| *one == ticket), n);
                }
            }
            prop_assert_eq!((seen.waiting.len(), gates.gates.len()), (0, 0));
        }
    }

    /// Three of one client wait before a gate with one place, and the queue is full.
    fn full() -> (Gates<&'static str>, Instant) {
        let (mut gates, now) = (Gates::new(3), Instant::now());
        for n in 0..4 {
            let outcomes = gates.enter(&"base", 1, &client(0), Ticket(n), now);
            assert_eq!(outcomes.len(), usize::from(n == 0));
        }
        (gates, now)
    }

    #[test]
    fn a_full_queue_turns_the_greediest_client_away() {
        let (mut gates, now) = full();
        let busy = |n_queued| Outcome::Busy { n_queued, retry_after: Duration::from_secs(4) };
        // One more of the same client is turned away itself; one of another takes the place of the youngest.
        assert_eq!(gates.enter(&"base", 1, &client(0), Ticket(4), now), [(Ticket(4), busy(3))]);
        assert_eq!(gates.enter(&"base", 1, &client(1), Ticket(5), now), [(Ticket(3), busy(3))]);
        // Two and one: who would have as many as the other is turned away.
        assert_eq!(gates.enter(&"base", 1, &client(1), Ticket(6), now), [(Ticket(6), busy(3))]);
        assert_eq!(gates.leave(&"base", now), [(Ticket(1), Outcome::Admitted)]);
        assert_eq!(gates.leave(&"base", now), [(Ticket(5), Outcome::Admitted)]);
    }

    #[test]
    fn when_to_try_again_follows_the_measured_pace() {
        let (mut gates, mut now) = full();
        let turned_away =
            |gates: &mut Gates<_>, ticket, now| match gates.enter(&"base", 1, &client(0), Ticket(ticket), now)[..] {
                [(_, Outcome::Busy { retry_after, .. })] => retry_after,
                ref other => panic!("{other:?}"),
            };
        for n in 0..2_u64 {
            now += Duration::from_secs(5);
            assert_eq!(gates.leave(&"base", now), [(Ticket(n + 1), Outcome::Admitted)]);
            assert_eq!(gates.enter(&"base", 1, &client(0), Ticket(10 + n), now), []);
        }
        assert_eq!(turned_away(&mut gates, 20, now), Duration::from_secs(20));
        // 5 seconds at first, and now one at once: the mean goes down slowly.
        assert_eq!(gates.leave(&"base", now), [(Ticket(3), Outcome::Admitted)]);
        assert_eq!(gates.enter(&"base", 1, &client(0), Ticket(21), now), []);
        assert_eq!(turned_away(&mut gates, 22, now), Duration::from_secs(16));
        now += Duration::from_secs(10_000);
        assert_eq!(gates.leave(&"base", now).len(), 1);
        assert_eq!(gates.enter(&"base", 1, &client(0), Ticket(23), now), []);
        assert_eq!(turned_away(&mut gates, 24, now), LONGEST_RETRY);
    }

    #[test]
    fn a_gate_grows_with_what_its_callers_say_and_shrinks_when_all_have_gone() {
        let (mut gates, now) = full();
        let outcomes = gates.enter(&"base", 3, &client(1), Ticket(9), now);
        assert_eq!(outcomes, [(Ticket(1), Outcome::Admitted), (Ticket(9), Outcome::Admitted)]);
        assert_eq!(gates.enter(&"base", 1, &client(1), Ticket(10), now), []);
        assert_eq!(gates.leave(&"base", now), [(Ticket(2), Outcome::Admitted)]);
        assert_eq!(gates.n_running(), 3);
        for _ in 0..5 {
            let _ = gates.leave(&"base", now);
        }
        assert_eq!(gates.enter(&"base", 1, &client(1), Ticket(11), now), [(Ticket(11), Outcome::Admitted)]);
        assert_eq!(gates.enter(&"base", 1, &client(1), Ticket(12), now), []);
    }

    #[test]
    fn requests_of_batches_wait_behind_all_others_and_leave_half_of_the_places() {
        let (mut gates, now, admitted) = (Gates::new(3), Instant::now(), |n| (Ticket(n), Outcome::Admitted));
        let behind = |gates: &mut Gates<_>, n| gates.enter_behind(&"base", 4, &client(9), Ticket(n), now);
        assert_eq!(behind(&mut gates, 0), [admitted(0)]);
        assert_eq!(behind(&mut gates, 1), [admitted(1)]);
        for n in 2..5 {
            assert_eq!(behind(&mut gates, n), [], "half of the places are taken");
        }
        assert!(matches!(behind(&mut gates, 5)[..], [(Ticket(5), Outcome::Busy { n_queued: 3, .. })]));
        for n in 10..12 {
            assert_eq!(gates.enter(&"base", 4, &client(0), Ticket(n), now), [admitted(n)]);
        }
        assert_eq!(gates.enter(&"base", 4, &client(0), Ticket(12), now), []);
        assert_eq!((gates.n_queued(), gates.n_before(&"base", Ticket(3))), (1, Some(2)));
        assert_eq!(gates.leave_behind(&"base", now), [admitted(12)]);
        assert!(gates.withdraw(&"base", Ticket(2)) && !gates.withdraw(&"base", Ticket(2)));
        assert_eq!(gates.leave(&"base", now), [admitted(3)]);
        assert_eq!(gates.leave(&"base", now), []);
        assert_eq!(gates.leave_behind(&"base", now), [admitted(4)]);
        for _ in 0..2 {
            let _ = gates.leave_behind(&"base", now);
        }
        let _ = gates.leave(&"base", now);
        assert_eq!((gates.n_running(), gates.gates.len()), (0, 0));
    }
}
