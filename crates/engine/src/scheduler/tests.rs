//! The scheduler under random arrivals, cancels and failures, against a simulated memory and a simulated model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::cache::Effect;

/// What a context's memory is: cells with a position, what was evaluated there, and the sequences they belong to.
#[derive(Default)]
struct Memory {
    cells: Vec<(usize, Token, u32, BTreeSet<usize>)>,
}

impl Memory {
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Truncate { slot, from } => {
                for (position, _, _, sequences) in &mut self.cells {
                    if *position >= from {
                        sequences.remove(&slot);
                    }
                }
                self.cells.retain(|cell| !cell.3.is_empty());
            }
            Effect::Copy { from, to, n } => {
                assert!(!self.cells.iter().any(|cell| cell.3.contains(&to)), "{to} is not empty");
                for cell in self.cells.iter_mut().filter(|cell| cell.0 < n && cell.3.contains(&from)) {
                    cell.3.insert(to);
                }
            }
        }
    }

    /// The tokens that a row of `sequence` sees, which must be a whole beginning evaluated by its own group.
    fn seen(&self, sequence: usize, position: usize, group: u32) -> Vec<Token> {
        let mut seen: BTreeMap<usize, Token> = BTreeMap::new();
        for (at, token, of, sequences) in &self.cells {
            if *at <= position && sequences.contains(&sequence) {
                assert_eq!(*of, group);
                assert!(seen.insert(*at, *token).is_none(), "two cells at {at}");
            }
        }
        assert!(seen.keys().copied().eq(0..=position), "{seen:?} up to {position}");
        seen.into_values().collect()
    }
}

/// What the model would say after these tokens.
fn model(tokens: &[Token], group: u32) -> Token {
    let hash = tokens.iter().fold(u64::from(group) + 7, |hash, &token| {
        (hash ^ token.unsigned_abs() as u64).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
    });
    Token::try_from(hash % 11).unwrap()
}

/// Tokens of one request at most: what the smallest context here holds.
const N_CTX: usize = 40;

const END: Token = 10;

/// The whole answer of a request that runs alone.
fn alone(job: &Job) -> Vec<Vec<Token>> {
    match &job.work {
        Work::Generate { limit } => {
            let mut tokens = job.tokens.clone();
            while tokens.len() < *limit {
                let token = model(&tokens, job.group);
                if token == END {
                    break;
                }
                tokens.push(token);
            }
            vec![tokens]
        }
        Work::Branch { packs } => packs.iter().map(|pack| branches(job, pack)).collect(),
    }
}

fn branches(job: &Job, pack: &Pack) -> Vec<Token> {
    let path = |row: &PackRow| {
        let mut tokens = job.tokens[..pack.at].to_vec();
        tokens.extend(
            (pack.rows.iter())
                .filter(|r| r.depth <= row.depth && r.sequences.contains(&row.sequences[0]))
                .map(|r| r.token),
        );
        model(&tokens, job.group)
    };
    pack.rows.iter().map(path).collect()
}

struct World {
    scheduler: Scheduler,
    memory: Memory,
    jobs: BTreeMap<JobId, Job>,
    answers: BTreeMap<JobId, Vec<Vec<Token>>>,
    /// How often each request ended, and whether it was whole then.
    ended: BTreeMap<JobId, Vec<bool>>,
    unserved: BTreeMap<JobId, usize>,
}

impl World {
    fn new(limits: Limits) -> Self {
        World {
            scheduler: Scheduler::new(limits),
            memory: Memory::default(),
            jobs: BTreeMap::new(),
            answers: BTreeMap::new(),
            ended: BTreeMap::new(),
            unserved: BTreeMap::new(),
        }
    }

    fn submit(&mut self, job: Job) {
        let answer = if matches!(job.work, Work::Generate { .. }) { vec![job.tokens.clone()] } else { vec![] };
        self.answers.insert(job.id, answer);
        self.jobs.insert(job.id, job.clone());
        self.scheduler.submit(job);
    }

    fn cancel(&mut self, id: JobId) {
        if self.jobs.contains_key(&id) && !self.ended.contains_key(&id) {
            self.scheduler.cancel(id);
            self.ended.entry(id).or_default().push(false);
        }
    }

    /// One step; `luck` decides how good the drafts are and whether the decode fails.
    fn step(&mut self, n_batch: usize, luck: u8) {
        let limits = *self.scheduler.limits();
        let step = self.scheduler.plan(n_batch, &|_| true);
        for &effect in &step.effects {
            self.memory.apply(effect);
        }
        let n_wide = step.parts.iter().map(|part| part.rows.len()).max().unwrap_or(0);
        assert!(step.rows.len() <= n_batch.max(n_wide), "{} rows", step.rows.len());
        assert!(step.n_read() <= limits.n_read);
        assert!(step.branches.end <= limits.n_slots + limits.n_branches);
        assert!(!step.rows.is_empty() || self.scheduler.running.is_empty(), "a step without rows");
        for sequence in &self.scheduler.running {
            let is_served = step.parts.iter().any(|part| part.id == sequence.id);
            let waited = self.unserved.entry(sequence.id).or_default();
            *waited = if is_served { 0 } else { *waited + 1 };
        }
        for row in &step.rows {
            let sequences = row.sequences.iter().copied().collect();
            self.memory.cells.push((row.position, row.token, step.group, sequences));
        }
        assert!(self.memory.cells.len() <= limits.n_cells, "{} cells", self.memory.cells.len());
        if luck == 0 {
            // A decode that fails leaves nothing or something: here half of its rows.
            for branch in step.branches.clone() {
                self.memory.apply(Effect::Truncate { slot: branch, from: 0 });
            }
            for id in self.scheduler.fail(&step) {
                self.ended.entry(id).or_default().push(false);
            }
            return;
        }
        let mut outcomes = Vec::new();
        for part in &step.parts {
            if let Some(outcome) = self.outcome(part, &step, luck) {
                outcomes.push((part.id, outcome));
            }
        }
        for branch in step.branches.clone() {
            self.memory.apply(Effect::Truncate { slot: branch, from: 0 });
        }
        for id in self.scheduler.commit(&step, outcomes) {
            self.ended.entry(id).or_default().push(true);
        }
    }

    fn outcome(&mut self, part: &Part, step: &Step, luck: u8) -> Option<Outcome> {
        let job = &self.jobs[&part.id];
        let rows = &step.rows[part.rows.clone()];
        let says = |row: &Row| model(&self.memory.seen(row.sequences[0], row.position, step.group), step.group);
        let answer = self.answers.get_mut(&part.id).unwrap();
        let Work::Generate { limit } = job.work else {
            if matches!(part.phase, Phase::Branch { .. }) {
                answer.push(rows.iter().map(says).collect());
            }
            return None;
        };
        let read: Vec<&Row> = rows.iter().filter(|row| row.is_read).collect();
        let answer = &mut answer[0];
        for (n_accepted, row) in read.iter().enumerate() {
            let token = says(row);
            if token == END {
                return Some(Outcome::Finished { n_accepted });
            }
            answer.push(token);
            if answer.len() >= limit {
                return Some(Outcome::Finished { n_accepted });
            }
            if read.get(n_accepted + 1).is_none_or(|next| next.token != token) {
                // Now and then a second token is known at once, as a grammar's forced ones are.
                let mut next = vec![token];
                let sure = model(answer, job.group);
                if luck.is_multiple_of(3) && sure != END && answer.len() + 1 < limit {
                    answer.push(sure);
                    next.push(sure);
                }
                let guess = model(answer, job.group);
                let draft = if luck.is_multiple_of(2) { vec![guess, 3, 4] } else { vec![9; usize::from(luck % 5)] };
                return Some(Outcome::Continue { n_accepted, next, draft });
            }
        }
        None
    }
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (1usize..6, 0usize..5, 40usize..120, 3usize..12, 0u8..3).prop_map(
        |(n_running, n_cached, n_cells, n_read, reuse)| Limits {
            n_running,
            n_slots: n_running + n_cached,
            n_branches: 6,
            n_cells,
            n_read: n_read.max(3),
            reuse: [Reuse::Prefix, Reuse::WhileWhole, Reuse::Never][usize::from(reuse)],
        },
    )
}

/// Prompts that begin alike more often than not.
fn any_job() -> impl Strategy<Value = (u32, Vec<Token>, usize, bool)> {
    let tail = prop::collection::vec(0..4i32, 1..12);
    (0u32..2, prop::sample::select(vec![0usize, 5, 18]), tail, 1usize..20, any::<bool>()).prop_map(
        |(group, n_shared, tail, more, is_branch)| {
            let tokens: Vec<Token> = (0..n_shared).map(|i| Token::try_from(i % 4).unwrap()).chain(tail).collect();
            (group, tokens, more, is_branch)
        },
    )
}

fn job(id: JobId, (group, tokens, more, is_branch): (u32, Vec<Token>, usize, bool), limits: &Limits) -> Job {
    let n = tokens.len();
    let work = if is_branch && limits.reuse != Reuse::Never {
        let pack = |at: usize| Pack {
            at,
            n_sequences: 2,
            rows: vec![
                PackRow { token: tokens[at], depth: 0, sequences: vec![0, 1] },
                PackRow { token: 7, depth: 1, sequences: vec![0] },
                PackRow { token: 8, depth: 1, sequences: vec![1] },
            ],
        };
        Work::Branch { packs: if n > 3 && more % 2 == 0 { vec![pack(n / 2), pack(n - 1)] } else { vec![pack(n - 1)] } }
    } else {
        Work::Generate { limit: (n + more).min(N_CTX) }
    };
    Job { id, group, tokens, work }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever comes, is cancelled or fails: each request ends once, and a whole answer is the one it gives alone.
    #[test]
    fn every_request_ends_once_with_its_own_answer(
        limits in any_limits(),
        jobs in prop::collection::vec(any_job(), 1..14),
        events in prop::collection::vec((0u8..6, any::<u8>(), 1usize..24), 0..60),
    ) {
        let mut world = World::new(limits);
        let mut jobs = jobs.into_iter().zip(1..).map(|(parts, id)| job(id, parts, &limits));
        for (what, luck, n_batch) in events {
            match what {
                0 | 1 => if let Some(job) = jobs.next() { world.submit(job) },
                2 if luck % 4 == 0 => world.cancel(JobId::from(luck) % 14 + 1),
                _ => world.step(n_batch, if luck % 16 == 0 { 0 } else { luck | 1 }),
            }
        }
        for job in jobs {
            world.submit(job);
        }
        for round in 0u32.. {
            if world.scheduler.n_jobs() == 0 {
                break;
            }
            prop_assert!(round < 5_000, "requests that never end");
            world.step(8, u8::try_from(round % 250 + 1).unwrap());
        }
        for (id, job) in &world.jobs {
            let ended = &world.ended[id];
            prop_assert_eq!(ended.len(), 1, "request {}", id);
            if ended[0] {
                prop_assert_eq!(&world.answers[id], &alone(job), "request {}", id);
            }
        }
        prop_assert!(world.unserved.values().all(|&waited| waited < 60), "{:?}", world.unserved);
        prop_assert!(world.scheduler.slots.n_used() <= limits.n_cells);
    }
}

#[test]
fn a_common_beginning_is_evaluated_once() {
    let limits = Limits { n_running: 4, n_slots: 8, n_branches: 0, n_cells: 1000, n_read: 64, reuse: Reuse::Prefix };
    let mut world = World::new(limits);
    for id in 1..5 {
        let tokens = (0..100).map(|i| i % 5).chain([Token::try_from(id).unwrap() + 20]).collect();
        world.submit(Job { id, group: 0, tokens, work: Work::Generate { limit: 102 } });
    }
    let mut n_rows = 0;
    while world.scheduler.n_jobs() > 0 {
        let before = world.scheduler.running.iter().map(|s| s.n_evaluated).sum::<usize>();
        world.step(64, 1);
        n_rows += world.scheduler.running.iter().map(|s| s.n_evaluated).sum::<usize>().saturating_sub(before);
    }
    assert!(n_rows < 140, "{n_rows} rows");
}
