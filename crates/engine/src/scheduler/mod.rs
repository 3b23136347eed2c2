//! Continuous batching, without llama.cpp: which tokens of which requests are evaluated in the next decode.
//!
//! `plan -> execute -> commit`. A plan takes the next token of every running request (with its draft), then fills the batch
//! with chunks of waiting prompts. It knows tokens, cells and limits; it never sees a model, a clock or a caller. What holds
//! is tested with random arrivals, cancels and failures: each request ends exactly once, cells are conserved, limits
//! are kept, every row sees exactly its own request's tokens, and no request starves.

mod sequence;
mod step;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;

use super::Token;
use super::cache::{Grant, Reuse, Slots, Wish, common};
use sequence::Sequence;
pub use step::{Job, JobId, Limits, Outcome, Pack, PackRow, Part, Phase, Row, Step, Work};

/// A prompt waits for a running one to evaluate a common beginning that is longer than this.
const WORTH_WAITING: usize = 32;

/// The requests of one context, waiting and running.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    slots: Slots,
    waiting: VecDeque<Sequence>,
    /// In the order of admission.
    running: Vec<Sequence>,
    n_steps: u64,
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
        self.waiting.push_back(Sequence::new(job));
    }

    /// Rows that wait where every request is in the middle of its answer; `None` where one has a prompt to read.
    #[must_use]
    pub fn n_decode_rows(&self) -> Option<usize> {
        let rows = |sequence: &Sequence| match sequence.work {
            Work::Generate { .. } if !sequence.is_prefilling() => {
                Some(sequence.tokens.len() - sequence.n_evaluated + sequence.draft.len())
            }
            _ => None,
        };
        if self.waiting.is_empty() { self.running.iter().map(rows).sum() } else { None }
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
        // The group that waited longest and can continue: the oldest request always can.
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
    pub fn commit(&mut self, step: &Step, mut outcomes: Vec<(JobId, Outcome)>) -> Vec<JobId> {
        let mut ended = Vec::new();
        for part in &step.parts {
            let Some(sequence) = self.running.iter_mut().find(|sequence| sequence.id == part.id) else { continue };
            let n_draft = match part.phase {
                Phase::Prefill => 0,
                Phase::Decode { n_draft } => n_draft,
                Phase::Branch { .. } => {
                    sequence.next_pack += 1;
                    if matches!(&sequence.work, Work::Branch { packs } if sequence.next_pack == packs.len()) {
                        ended.push(part.id);
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
                None => ended.push(part.id),
            }
        }
        for &id in &ended {
            self.end(id);
        }
        ended
    }

    /// Books that a step's decode failed: the requests in it end, what they had evaluated before stays.
    pub fn fail(&mut self, step: &Step) -> Vec<JobId> {
        let mut ended: Vec<JobId> = step.parts.iter().map(|part| part.id).collect();
        // A chunk and the pack after it are two parts of one request.
        ended.dedup();
        for &id in &ended {
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
        let Some(pack) = sequence.next_pack().filter(|pack| pack.at <= sequence.n_evaluated) else { return };
        let Some(branches) = self.room_for(pack, n_batch, step) else { return };
        for branch in branches.clone() {
            self.slots.copy_to_branch(sequence.slot, branch, pack.at);
        }
        step.push_pack(sequence.id, sequence.next_pack, pack, branches);
    }

    /// The sequence numbers of a pack's branches, where all of it fits into the step.
    fn room_for(&self, pack: &Pack, n_batch: usize, step: &Step) -> Option<Range<usize>> {
        let branches = step.branches.end..step.branches.end + pack.n_sequences;
        let has_room = step.n_read() + pack.rows.len() <= self.limits.n_read
            && (step.rows.len() + pack.rows.len() <= n_batch || step.rows.is_empty())
            && branches.end <= self.limits.n_slots + self.limits.n_branches;
        has_room.then_some(branches)
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
        // What follows the chunk's end comes along: the chunk belongs to its branches too.
        let pack = sequence.next_pack().filter(|pack| pack.at == sequence.n_evaluated + n);
        let Some((pack, branches)) = pack.and_then(|pack| Some((pack, self.room_for(pack, n_batch, step)?))) else {
            return;
        };
        for branch in branches.clone() {
            self.slots.copy_to_branch(sequence.slot, branch, sequence.n_evaluated);
        }
        for row in &mut step.rows[from..] {
            row.sequences.extend(branches.clone());
        }
        step.push_pack(sequence.id, sequence.next_pack, pack, branches);
    }
}

fn sequence_of(running: &[Sequence], id: JobId) -> Option<&Sequence> {
    running.iter().find(|sequence| sequence.id == id)
}
