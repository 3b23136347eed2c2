//! Continuous batching as a pure book: which tokens of which requests are evaluated in the next decode.
//!
//! `plan -> execute -> commit`. A plan takes the next token of every running request (with its draft), then fills the batch
//! with chunks of waiting prompts. It knows tokens, cells and limits; it never sees a model, a clock or a caller. What holds
//! is tested below with random arrivals, cancels and failures: each request ends exactly once, cells are conserved, limits
//! are kept, every row sees exactly its own request's tokens, and nobody starves.

use std::collections::VecDeque;
use std::ops::Range;

use super::Token;
use super::cache::{Effect, Grant, Reuse, Slots, Wish, common};

/// Cells that a request without a limit of its own is promised beyond what it has; it asks again when it gets there.
const QUOTA: usize = 256;
/// A prompt waits for a running one to evaluate a common beginning that is longer than this.
const WORTH_WAITING: usize = 32;

/// What a context can hold and a decode can take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests that run at once.
    pub n_running: usize,
    /// Sequence numbers of running and cached requests; those of branches come behind them.
    pub n_slots: usize,
    /// Sequence numbers for branches.
    pub n_branches: usize,
    /// Cells of the whole context.
    pub n_cells: usize,
    /// Tokens of one request.
    pub n_ctx: usize,
    /// Rows of one decode that are read.
    pub n_read: usize,
    pub reuse: Reuse,
}

/// A request's number; the caller's own.
pub type JobId = u64;

/// A request as the scheduler sees it.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: JobId,
    /// Requests of one decode have one set of adapters.
    pub group: u32,
    /// The prompt: at least one token, at most what the context holds.
    pub tokens: Vec<Token>,
    pub work: Work,
}

#[derive(Debug, Clone)]
pub enum Work {
    /// Token after token, until the caller says that it is finished; `limit` tokens in all, prompt included, at most.
    Generate { limit: usize },
    /// Branches behind given places of the prompt, in the order of their places.
    Branch { packs: Vec<Pack> },
}

/// Branches that are evaluated in one decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The prompt's tokens that come before the first row: evaluated once, for all branches.
    pub at: usize,
    pub n_sequences: usize,
    /// The first row is the prompt's token at `at`, in every branch.
    pub rows: Vec<PackRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    pub token: Token,
    /// Positions behind `at`.
    pub depth: usize,
    /// Branches that the row belongs to, from 0.
    pub sequences: Vec<usize>,
}

/// One decode: the changes of memory before it, its rows, and whose they are.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub effects: Vec<Effect>,
    pub group: u32,
    pub rows: Vec<Row>,
    pub parts: Vec<Part>,
    /// Sequence numbers of branches to empty behind the decode.
    pub branches: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub token: Token,
    pub position: usize,
    pub sequences: Vec<usize>,
    pub is_read: bool,
}

/// The rows of one request in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub id: JobId,
    pub phase: Phase,
    pub rows: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A chunk of the prompt; nothing is read but the last token's row, if that is in it.
    Prefill,
    /// What is known and not evaluated, then `n_draft` tokens that may be wrong: the last known one and these are read.
    Decode { n_draft: usize },
    /// All rows of this pack are read.
    Branch { pack: usize },
}

/// What reading a request's rows came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Continue {
        /// Draft tokens that turned out right.
        n_accepted: usize,
        /// What comes behind them: the token that was sampled and what must follow it.
        next: Vec<Token>,
        /// A guess at what comes then.
        draft: Vec<Token>,
    },
    Finished {
        n_accepted: usize,
    },
}

/// How a request that leaves the books stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub id: JobId,
}

#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    slots: Slots,
    waiting: VecDeque<Sequence>,
    /// In the order of admission.
    running: Vec<Sequence>,
    n_steps: u64,
}

/// A request in the books.
#[derive(Debug)]
struct Sequence {
    id: JobId,
    group: u32,
    /// Prompt and answer as far as they are known.
    tokens: Vec<Token>,
    n_prompt: usize,
    work: Work,
    /// Tokens that must be evaluated before the request decodes: the prompt, or all it had when it was put back.
    n_prefill: usize,
    n_evaluated: usize,
    draft: Vec<Token>,
    next_pack: usize,
    slot: usize,
    reserved: usize,
    n_reused: usize,
    /// The step that it was in last.
    last_step: u64,
    /// The step that was its group's last.
    last_turn: u64,
}

impl Scheduler {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let slots = Slots::new(limits.n_slots, limits.n_cells, limits.reuse);
        Scheduler { limits, slots, waiting: VecDeque::new(), running: Vec::new(), n_steps: 0 }
    }

    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Requests that have not ended.
    #[must_use]
    pub fn n_jobs(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// Takes a request. Its prompt and its widest pack must fit into the context: the caller has checked that.
    pub fn submit(&mut self, job: Job) {
        let Job { id, group, tokens, work } = job;
        let n_prompt = tokens.len();
        self.waiting.push_back(Sequence {
            id,
            group,
            n_prompt,
            n_prefill: n_prompt,
            tokens,
            work,
            n_evaluated: 0,
            draft: Vec::new(),
            next_pack: 0,
            slot: 0,
            reserved: 0,
            n_reused: 0,
            last_step: 0,
            last_turn: 0,
        });
    }

    /// Drops a request wherever it is; not one that is in a step between `plan` and `commit`.
    pub fn cancel(&mut self, id: JobId) {
        self.waiting.retain(|sequence| sequence.id != id);
        self.end(id);
    }

    /// The prompt's tokens that a running request took over from another.
    #[must_use]
    pub fn n_reused(&self, id: JobId) -> usize {
        self.running.iter().find(|sequence| sequence.id == id).map_or(0, |sequence| sequence.n_reused)
    }

    /// The next decode of at most about `n_batch` rows; no rows where there is nothing to do.
    ///
    /// `is_whole` says whether a slot still has all its cells (a sliding window gives old ones away).
    pub fn plan(&mut self, n_batch: usize, is_whole: &dyn Fn(usize) -> bool) -> Step {
        self.n_steps += 1;
        self.admit(is_whole);
        let mut step = Step { branches: self.limits.n_slots..self.limits.n_slots, ..Step::default() };
        // The group that waited longest and can go on: the oldest request always can.
        let mut turns: Vec<(u64, u32)> = self.running.iter().map(|s| (s.last_turn, s.group)).collect();
        turns.sort_unstable();
        turns.dedup_by_key(|(_, group)| *group);
        for (_, group) in turns {
            step.group = group;
            self.plan_group(n_batch, &mut step);
            if !step.rows.is_empty() {
                break;
            }
        }
        step.effects = self.slots.take_effects();
        step
    }

    fn plan_group(&mut self, n_batch: usize, step: &mut Step) {
        for id in self.in_turn(step.group) {
            self.plan_decode(id, n_batch, step);
        }
        for id in self.in_turn(step.group) {
            self.plan_branches(id, n_batch, step);
        }
        for index in 0..self.running.len() {
            self.plan_prefill(index, n_batch, step);
        }
        for sequence in self.running.iter_mut().filter(|sequence| sequence.group == step.group) {
            sequence.last_turn = self.n_steps;
            if step.parts.iter().any(|part| part.id == sequence.id) {
                sequence.last_step = self.n_steps;
            }
        }
    }

    /// Books what a step's decode came to: an outcome for every request that had rows to read in a `Prefill` or `Decode`
    /// part. Gives the requests whose packs are all evaluated.
    pub fn commit(&mut self, step: &Step, mut outcomes: Vec<(JobId, Outcome)>) -> Vec<Ended> {
        let mut ended = Vec::new();
        for part in &step.parts {
            let Some(sequence) = self.running.iter_mut().find(|sequence| sequence.id == part.id) else { continue };
            let n_draft = match part.phase {
                Phase::Prefill => 0,
                Phase::Decode { n_draft } => n_draft,
                Phase::Branch { .. } => {
                    sequence.next_pack += 1;
                    if matches!(&sequence.work, Work::Branch { packs } if sequence.next_pack == packs.len()) {
                        ended.push(Ended { id: part.id });
                    }
                    continue;
                }
            };
            let known = sequence.n_evaluated..sequence.n_evaluated + part.rows.len() - n_draft;
            self.slots.grow(sequence.slot, &sequence.tokens[known.clone()]);
            sequence.n_evaluated = known.end;
            let Some(at) = outcomes.iter().position(|(id, _)| *id == part.id) else { continue };
            let (n_accepted, next) = match outcomes.swap_remove(at).1 {
                Outcome::Continue { n_accepted, next, draft } => {
                    sequence.draft = draft;
                    (n_accepted, Some(next))
                }
                Outcome::Finished { n_accepted } => (n_accepted, None),
            };
            if n_draft > 0 {
                let accepted: Vec<Token> = step.rows[part.rows.clone()][part.rows.len() - n_draft..][..n_accepted]
                    .iter()
                    .map(|row| row.token)
                    .collect();
                self.slots.grow(sequence.slot, &accepted);
                sequence.tokens.extend_from_slice(&accepted);
                sequence.n_evaluated += n_accepted;
                if n_accepted < n_draft {
                    self.slots.trim(sequence.slot);
                }
            }
            match next {
                Some(next) => sequence.tokens.extend(next),
                None => ended.push(Ended { id: part.id }),
            }
        }
        for &Ended { id } in &ended {
            self.end(id);
        }
        ended
    }

    /// Books that a step's decode failed: the requests in it end, what they had evaluated before stays.
    pub fn fail(&mut self, step: &Step) -> Vec<Ended> {
        let ended: Vec<Ended> = step.parts.iter().map(|part| Ended { id: part.id }).collect();
        for &Ended { id } in &ended {
            if let Some(sequence) = self.running.iter().find(|sequence| sequence.id == id) {
                self.slots.trim(sequence.slot);
            }
            self.end(id);
        }
        ended
    }

    fn end(&mut self, id: JobId) {
        if let Some(index) = self.running.iter().position(|sequence| sequence.id == id) {
            let sequence = self.running.remove(index);
            self.slots.release(sequence.slot);
        }
    }

    /// Lets waiting requests run, strictly in their order, as long as there is room.
    fn admit(&mut self, is_whole: &dyn Fn(usize) -> bool) {
        while self.running.len() < self.limits.n_running {
            let Some(sequence) = self.waiting.front() else { return };
            let reserve = sequence.wanted();
            let max_reused = sequence.max_reused(self.limits.reuse);
            let wish = Wish { group: sequence.group, tokens: &sequence.tokens, max_reused, reserve };
            if self.is_coming(sequence, max_reused) {
                return;
            }
            let Some(Grant { slot, n_reused }) = self.slots.acquire(wish, is_whole) else { return };
            let mut sequence = self.waiting.pop_front().expect("looked at above");
            sequence.slot = slot;
            sequence.reserved = reserve;
            sequence.n_evaluated = n_reused;
            sequence.n_reused = n_reused.min(sequence.n_prompt);
            sequence.n_prefill = sequence.tokens.len();
            sequence.draft.clear();
            sequence.last_step = self.n_steps;
            self.running.push(sequence);
        }
    }

    /// Whether a running request is about to evaluate a beginning that this one needs too.
    fn is_coming(&self, sequence: &Sequence, max_reused: usize) -> bool {
        if self.limits.reuse == Reuse::Never {
            return false;
        }
        self.running.iter().filter(|running| running.group == sequence.group).any(|running| {
            let shared = common(&running.tokens, &sequence.tokens).min(max_reused);
            shared > running.n_evaluated + WORTH_WAITING && running.n_evaluated < running.prefill_end()
        })
    }

    /// The group's running requests, the longest unserved first; before them the oldest of all, which may put others back
    /// as long as these are not in the step.
    fn in_turn(&self, group: u32) -> Vec<JobId> {
        let of_group = self.running.iter().enumerate().filter(|(_, sequence)| sequence.group == group);
        let mut order: Vec<(bool, u64, JobId)> =
            of_group.map(|(index, sequence)| (index != 0, sequence.last_step, sequence.id)).collect();
        order.sort_unstable();
        order.into_iter().map(|(.., id)| id).collect()
    }

    /// The known tokens of a request that decodes, and its draft as far as there is room.
    fn plan_decode(&mut self, id: JobId, n_batch: usize, step: &mut Step) {
        let Some(sequence) = sequence_of(&self.running, id) else { return };
        let Work::Generate { limit } = sequence.work else { return };
        if sequence.is_prefilling() || step.n_read() >= self.limits.n_read {
            return;
        }
        let n_known = sequence.tokens.len() - sequence.n_evaluated;
        let room = n_batch.max(1).saturating_sub(step.rows.len());
        if n_known > room && !step.rows.is_empty() {
            return;
        }
        let n_known = n_known.min(room.max(1));
        let is_last = sequence.n_evaluated + n_known == sequence.tokens.len();
        let room = (room.saturating_sub(n_known)).min(self.limits.n_read - step.n_read() - 1);
        let room = room.min(limit.saturating_sub(sequence.tokens.len() + 1));
        let mut n_draft = if is_last { sequence.draft.len().min(room) } else { 0 };
        let needed = sequence.tokens.len() + n_draft;
        if needed > sequence.reserved {
            let wanted = sequence.wanted().max(needed);
            if !self.extend(id, wanted) {
                if sequence_of(&self.running, id).is_none_or(|s| s.tokens.len() > s.reserved) {
                    return;
                }
                n_draft = 0;
            }
        }
        let sequence = sequence_of(&self.running, id).expect("only younger ones are put back");
        let from = step.rows.len();
        for offset in 0..n_known + n_draft {
            let position = sequence.n_evaluated + offset;
            let token = sequence.tokens.get(position).copied();
            let token = token.unwrap_or_else(|| sequence.draft[position - sequence.tokens.len()]);
            let is_read = is_last && offset + 1 >= n_known;
            step.rows.push(Row { token, position, sequences: vec![sequence.slot], is_read });
        }
        let phase = if is_last { Phase::Decode { n_draft } } else { Phase::Prefill };
        step.parts.push(Part { id, phase, rows: from..step.rows.len() });
    }

    /// Promises a running request more cells; the oldest one gets them from the youngest, which goes back to wait.
    fn extend(&mut self, id: JobId, reserve: usize) -> bool {
        loop {
            let index = self.running.iter().position(|sequence| sequence.id == id).expect("a running request");
            if self.slots.extend(self.running[index].slot, reserve) {
                self.running[index].reserved = reserve;
                return true;
            }
            let youngest = self.running.len() - 1;
            if index != 0 || youngest == 0 {
                return false;
            }
            let mut sequence = self.running.remove(youngest);
            self.slots.release(sequence.slot);
            sequence.draft.clear();
            sequence.n_evaluated = 0;
            self.waiting.push_front(sequence);
        }
    }

    /// The next pack of a request whose prompt is evaluated as far as that needs.
    fn plan_branches(&mut self, id: JobId, n_batch: usize, step: &mut Step) {
        let Some(sequence) = sequence_of(&self.running, id) else { return };
        let Work::Branch { packs } = &sequence.work else { return };
        let Some(pack) = packs.get(sequence.next_pack).filter(|pack| pack.at <= sequence.n_evaluated) else { return };
        let first = step.branches.end;
        let has_room = step.n_read() + pack.rows.len() <= self.limits.n_read
            && (step.rows.len() + pack.rows.len() <= n_batch || step.rows.is_empty())
            && first + pack.n_sequences <= self.limits.n_slots + self.limits.n_branches;
        if !has_room {
            return;
        }
        step.branches.end += pack.n_sequences;
        let from = step.rows.len();
        for row in &pack.rows {
            let sequences = row.sequences.iter().map(|sequence| first + sequence).collect();
            step.rows.push(Row { token: row.token, position: pack.at + row.depth, sequences, is_read: true });
        }
        for branch in first..step.branches.end {
            self.slots.copy_to_branch(sequence.slot, branch, pack.at);
        }
        let phase = Phase::Branch { pack: sequence.next_pack };
        step.parts.push(Part { id: sequence.id, phase, rows: from..step.rows.len() });
    }

    /// A chunk of a prompt, in the order of admission.
    fn plan_prefill(&mut self, index: usize, n_batch: usize, step: &mut Step) {
        let Some(sequence) = self.running.get(index) else { return };
        let is_planned = step.parts.iter().any(|part| part.id == sequence.id);
        if sequence.group != step.group || is_planned || !sequence.is_prefilling() {
            return;
        }
        let end = sequence.prefill_end();
        let room = n_batch.saturating_sub(step.rows.len());
        let n = room.min(end - sequence.n_evaluated);
        let reads = matches!(sequence.work, Work::Generate { .. }) && sequence.n_evaluated + n == end;
        if n == 0 || (reads && step.n_read() >= self.limits.n_read) {
            return;
        }
        let from = step.rows.len();
        for position in sequence.n_evaluated..sequence.n_evaluated + n {
            let is_read = reads && position + 1 == end;
            let token = sequence.tokens[position];
            step.rows.push(Row { token, position, sequences: vec![sequence.slot], is_read });
        }
        step.parts.push(Part { id: sequence.id, phase: Phase::Prefill, rows: from..step.rows.len() });
    }
}

fn sequence_of(running: &[Sequence], id: JobId) -> Option<&Sequence> {
    running.iter().find(|sequence| sequence.id == id)
}

impl Step {
    fn n_read(&self) -> usize {
        self.rows.iter().filter(|row| row.is_read).count()
    }
}

impl Sequence {
    /// Cells to promise now.
    fn wanted(&self) -> usize {
        match &self.work {
            Work::Generate { limit } => (self.tokens.len() + QUOTA).min(*limit).max(self.tokens.len()),
            Work::Branch { packs } => {
                let widest = packs.iter().map(|pack| pack.rows.len()).max().unwrap_or(0);
                self.tokens.len() + widest
            }
        }
    }

    /// Where the prefill ends for now: a pack is evaluated before the prompt goes on behind it, so that a sliding window
    /// has not left it behind.
    fn prefill_end(&self) -> usize {
        match &self.work {
            Work::Generate { .. } => self.n_prefill,
            Work::Branch { packs } => packs.get(self.next_pack).map_or(self.n_evaluated, |pack| pack.at),
        }
    }

    fn max_reused(&self, reuse: Reuse) -> usize {
        match &self.work {
            Work::Generate { .. } => self.tokens.len() - 1,
            Work::Branch { packs } => {
                let pack = if reuse == Reuse::Prefix { packs.last() } else { packs.get(self.next_pack) };
                pack.map_or(0, |pack| pack.at)
            }
        }
    }

    fn is_prefilling(&self) -> bool {
        self.n_evaluated < self.prefill_end()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

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

    /// What the model would say behind these tokens.
    fn model(tokens: &[Token], group: u32) -> Token {
        let hash = tokens.iter().fold(u64::from(group) + 7, |hash, &token| {
            (hash ^ token.unsigned_abs() as u64).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
        });
        Token::try_from(hash % 11).unwrap()
    }

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
                for Ended { id } in self.scheduler.fail(&step) {
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
            for Ended { id } in self.scheduler.commit(&step, outcomes) {
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
                n_ctx: 40,
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
            Work::Branch {
                packs: if n > 3 && more % 2 == 0 { vec![pack(n / 2), pack(n - 1)] } else { vec![pack(n - 1)] },
            }
        } else {
            Work::Generate { limit: (n + more).min(limits.n_ctx) }
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
        let limits = Limits {
            n_running: 4,
            n_slots: 8,
            n_branches: 0,
            n_cells: 1000,
            n_ctx: 200,
            n_read: 64,
            reuse: Reuse::Prefix,
        };
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
}
