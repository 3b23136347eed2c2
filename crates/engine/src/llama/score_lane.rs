//! The score lane: a context that evaluates one question at a time, so that the same question always meets the same
//! kernels with the same rows over the same cells (the design's *Canonical evaluation*).
//!
//! It holds the current question's path only: the trunk in sequence 0 with cell = position, branches after it in
//! sequences from 1, gone when the question is answered. What it refuses to do is to batch two questions.

mod prompt_reading;
mod row;
mod state;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::context::session::{LlamaStateSeqFlags, SeqState};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::super::caller::Caller;
use super::super::chunks::{chunks, common_chunks};
use super::super::scoring::{Branch, Logits, MAX_BRANCHES, MAX_ROWS, Row, Search, Step, Trie, Wave, logprobs};
use super::super::{AdapterSet, Counts, EngineError, GroupScores, Reading, Scores, Timings, Token};
use super::adapters::{Adapters, Applied};
use super::hidden::HiddenTap;
use super::question::Question;
use super::{Model, N_BATCH, PrefixReuse, clear, decode, failed};
pub use prompt_reading::PromptPlan;
use state::StateReading;

/// Host memory for snapshots of stable prefixes.
const SNAPSHOT_BYTES: usize = 256 << 20;
/// A prefix shorter than this is evaluated again sooner than it is worth a snapshot.
const SNAPSHOT_MIN_TOKENS: usize = 16;

pub struct ScoreLane<'m> {
    model: &'m Model,
    context: LlamaContext<'m>,
    /// After the context, which is freed before it.
    tap: HiddenTap,
    batch: LlamaBatch<'m>,
    n_sequences: u32,
    /// The chunks in sequence 0, each evaluated in a decode of its own.
    resident: Vec<Vec<Token>>,
    /// How many of them are the stable part of the question that put them there.
    n_stable: usize,
    /// Stable prefixes of earlier questions, least recently used first.
    snapshots: VecDeque<Snapshot>,
    /// The adapters on the context, with which all that it holds was evaluated.
    applied: Applied<'m>,
    /// What the current question's candidates took.
    branching: Duration,
    /// The hidden state that the current question wants.
    state: StateReading,
}

/// The state of sequence 0 after some whole chunks, evaluated with these adapters.
struct Snapshot {
    adapters: AdapterSet,
    chunks: Vec<Vec<Token>>,
    state: SeqState,
}

impl<'m> ScoreLane<'m> {
    /// Makes the lane's context: unified, F16 keys and values, one sequence for the trunk and one for each branch.
    pub fn new(model: &'m Model) -> Result<Self, EngineError> {
        // A recurrent model reserves its state for every sequence, and its branches are evaluated one by one anyway.
        let one = model.prefix_reuse == PrefixReuse::Never;
        let n_sequences = if one { 1 } else { u32::try_from(MAX_BRANCHES + 1).expect("a small constant") };
        let shape = LlamaContextParams::default().with_kv_unified(true).with_n_seq_max(n_sequences).with_swa_full(true);
        let tap = HiddenTap::default();
        let context = model.score_context(tap.on(shape))?;
        let batch = LlamaBatch::new(N_BATCH as usize, i32::try_from(n_sequences).expect("a small constant"));
        Ok(ScoreLane {
            model,
            context,
            tap,
            batch,
            n_sequences,
            resident: Vec::new(),
            n_stable: 0,
            snapshots: VecDeque::new(),
            applied: Applied::default(),
            branching: Duration::ZERO,
            state: StateReading::default(),
        })
    }

    /// The log-probability of every candidate; an error leaves the lane empty but usable.
    pub fn score(
        &mut self,
        question: &Question,
        adapters: &mut Adapters<'m>,
        caller: &Caller,
    ) -> Result<Scores, EngineError> {
        let queued = caller.waited();
        let started = Instant::now();
        self.branching = Duration::ZERO;
        self.state = StateReading::of(question);
        self.apply(&question.adapters, adapters)?;
        let mut counts = Counts { prompt: question.trunk.len(), ..Counts::default() };
        let evaluated = match (self.model.prefix_reuse, question.candidates.reading) {
            _ if question.tells_layers() => self.evaluate_row(question, &mut counts, caller).map(|()| Vec::new()),
            (PrefixReuse::Never, _) => self.evaluate_each(question, &mut counts, caller),
            (_, Reading::Likelihood) => self.evaluate(question, &mut counts, caller),
            (_, Reading::Choices) => self.evaluate_choices(question, &mut counts, caller),
        };
        let groups = evaluated.inspect_err(|_| self.clear())?;
        let generation = self.branching;
        let timings = Timings { queued, prompt: started.elapsed().saturating_sub(generation), generation };
        Ok(Scores { groups, state: std::mem::take(&mut self.state).told(), counts, timings })
    }

    /// Puts these adapters on the context: another model, to all that was evaluated without them.
    fn apply(&mut self, set: &AdapterSet, adapters: &mut Adapters<'m>) -> Result<(), EngineError> {
        if self.applied.set() == set {
            return Ok(());
        }
        self.take_snapshot();
        self.clear();
        adapters.apply(&mut self.context, &mut self.applied, set)
    }

    /// Every token of every candidate.
    fn evaluate(
        &mut self,
        question: &Question,
        counts: &mut Counts,
        caller: &Caller,
    ) -> Result<Vec<GroupScores>, EngineError> {
        let trie = &question.candidates.trie;
        let plan = chunks(question.trunk.len(), question.border, N_BATCH as usize);
        let last = plan.last().cloned().ok_or(EngineError::EmptyPrompt)?;
        // The first branches ride with the trunk's last chunk where they fit; one row of logits is the trunk's own.
        let room = (N_BATCH as usize - last.len()).min(MAX_ROWS - 1);
        let waves = trie.waves(if room == 0 { MAX_ROWS } else { room });
        let widest = waves.iter().map(Wave::n_rows).max().unwrap_or(0);
        let (needed, n_ctx) = (question.trunk.len() + widest, self.model.info().n_ctx as usize);
        if needed > n_ctx {
            return Err(EngineError::Context { needed, n_ctx });
        }
        self.evaluate_trunk(question, &plan, counts, caller)?;

        let mut values = vec![0.0; trie.len()];
        let mut read = |node: usize, logprobs: Vec<f64>| trie.record(&mut values, node, logprobs);
        let mut tail = Some(Tail { tokens: &question.trunk[last.clone()], start: last.start, logits: Logits::Read });
        if room == 0 || waves.is_empty() {
            self.decode_last(tail.take(), last.end, &[], 0, trie, &mut read)?;
        }
        for wave in &waves {
            self.open_branches(wave.n_sequences)?;
            for rows in &wave.batches {
                caller.check()?;
                self.decode_last(tail.take(), last.end, rows, wave.n_sequences, trie, &mut read)?;
                counts.branch += rows.len();
            }
            self.close_branches(wave.n_sequences)?;
        }
        // The last chunk shared its decode with this question's branches: nothing else may reuse it.
        self.remove_from(last.start)?;
        Ok(question.candidates.scores(&values, |_| true))
    }

    /// The choices among the candidates, as far as they matter.
    fn evaluate_choices(
        &mut self,
        question: &Question,
        counts: &mut Counts,
        caller: &Caller,
    ) -> Result<Vec<GroupScores>, EngineError> {
        let trie = &question.candidates.trie;
        let plan = chunks(question.trunk.len(), question.border, N_BATCH as usize);
        let last = plan.last().cloned().ok_or(EngineError::EmptyPrompt)?;
        let (n_trunk, n_ctx) = (question.trunk.len(), self.model.info().n_ctx as usize);
        let no_room = |n_cells| EngineError::Context { needed: n_trunk + n_cells, n_ctx };
        let mut search =
            Search::new(&question.candidates, question.search, n_ctx.checked_sub(n_trunk).ok_or(no_room(0))?);
        self.evaluate_trunk(question, &plan, counts, caller)?;

        let logits = if search.reads_root() { Logits::Read } else { Logits::Unread };
        let mut tail = Some(Tail { tokens: &question.trunk[last.clone()], start: last.start, logits });
        if logits == Logits::Read {
            self.decode_last(tail.take(), last.end, &[], 0, trie, &mut |node, logprobs| search.read(node, logprobs))?;
        }
        let mut n_open = 0;
        while let Some(step) = search.next_step().map_err(no_room)? {
            if step.restarts {
                self.close_branches(n_open)?;
                n_open = 0;
            }
            let Step { branches, rows, .. } = step;
            self.branch_off(&branches, last.end)?;
            n_open += branches.len();
            let mut rest = rows.as_slice();
            while !rest.is_empty() {
                caller.check()?;
                let beside = tail.as_ref().map_or(0, |tail| tail.tokens.len());
                let (rows, behind) = rest.split_at(rest.len().min(MAX_ROWS).min(N_BATCH as usize - beside));
                let mut read = |node: usize, logprobs: Vec<f64>| search.read(node, logprobs);
                self.decode_last(tail.take(), last.end, rows, n_open, trie, &mut read)?;
                counts.branch += rows.len();
                rest = behind;
            }
        }
        self.close_branches(n_open)?;
        self.remove_from(last.start)?;
        Ok(search.scores())
    }

    /// Leaves all chunks of the trunk but the last one in the lane.
    fn evaluate_trunk(
        &mut self,
        question: &Question,
        plan: &[std::ops::Range<usize>],
        counts: &mut Counts,
        caller: &Caller,
    ) -> Result<(), EngineError> {
        let before = &plan[..plan.len() - 1];
        // Chunks whose states are wanted are evaluated again.
        let n_kept = match self.state.row_start() {
            Some(row_start) => before.iter().take_while(|chunk| chunk.end <= row_start).count(),
            None => before.len(),
        };
        self.evaluate_chunks(question, before, n_kept, counts, caller)
    }

    /// Leaves these first chunks of the trunk in the lane, of which at most `n_kept` are taken over.
    fn evaluate_chunks(
        &mut self,
        question: &Question,
        before: &[std::ops::Range<usize>],
        n_kept: usize,
        counts: &mut Counts,
        caller: &Caller,
    ) -> Result<(), EngineError> {
        self.make_room_for(question, &before[..n_kept])?;
        counts.reused = self.resident.iter().map(Vec::len).sum();
        for chunk in &before[self.resident.len()..] {
            caller.check()?;
            self.decode_trunk(&question.trunk[chunk.clone()], chunk.start)?;
        }
        self.n_stable = before.iter().take_while(|chunk| chunk.end <= question.border).count();
        Ok(())
    }

    /// The same for a model whose state cannot be shared or rolled back: every branch after the trunk, from nothing.
    fn evaluate_each(
        &mut self,
        question: &Question,
        counts: &mut Counts,
        caller: &Caller,
    ) -> Result<Vec<GroupScores>, EngineError> {
        let trie = &question.candidates.trie;
        let mut values = vec![0.0; trie.len()];
        let mut read = |node: usize, logprobs: Vec<f64>| trie.record(&mut values, node, logprobs);
        let branches = trie.branches();
        let longest = branches.iter().map(Vec::len).max().unwrap_or(0);
        let (needed, n_ctx) = (question.trunk.len() + longest, self.model.info().n_ctx as usize);
        if needed > n_ctx {
            return Err(EngineError::Context { needed, n_ctx });
        }
        let plan = chunks(question.trunk.len(), question.border, N_BATCH as usize);
        let (last, before) = plan.split_last().ok_or(EngineError::EmptyPrompt)?;
        for branch in &branches {
            self.clear();
            for chunk in before {
                caller.check()?;
                self.decode_trunk(&question.trunk[chunk.clone()], chunk.start)?;
            }
            let tail = Tail { tokens: &question.trunk[last.clone()], start: last.start, logits: Logits::Read };
            self.decode_last(Some(tail), last.end, &[], 0, trie, &mut read)?;
            for row in branch {
                caller.check()?;
                let row = Row { sequences: vec![0], ..row.clone() };
                self.decode_last(None, last.end, &[row], 0, trie, &mut read)?;
                counts.branch += 1;
            }
        }
        self.clear();
        Ok(question.candidates.scores(&values, |_| true))
    }

    /// Leaves in the lane what the question's first chunks have in common with it, or a longer snapshot of them.
    fn make_room_for(&mut self, question: &Question, plan: &[std::ops::Range<usize>]) -> Result<(), EngineError> {
        let whole = self.model.prefix_reuse == PrefixReuse::Exact
            || (self.model.prefix_reuse == PrefixReuse::WhileWhole && self.context.kv_cache_seq_pos_min(0) == 0);
        let kept = if whole { common_chunks(&self.resident, &question.trunk, plan) } else { 0 };
        if kept < self.n_stable {
            self.take_snapshot();
        }
        if let Some(at) = self.longer_snapshot(question, plan, kept) {
            let snapshot = self.snapshots.remove(at).expect("found above");
            self.remove_from(0)?;
            self.context.state_seq_set(&snapshot.state, 0).map_err(|error| failed(&error.to_string()))?;
            self.resident.clone_from(&snapshot.chunks);
            self.n_stable = self.resident.len();
            self.snapshots.push_back(snapshot);
            return Ok(());
        }
        let position = self.resident[..kept].iter().map(Vec::len).sum();
        self.n_stable = self.n_stable.min(kept);
        self.remove_from(position)
    }

    /// Keeps the stable part on the host before another question takes its place.
    fn take_snapshot(&mut self) {
        let chunks = &self.resident[..self.n_stable];
        let n_tokens: usize = chunks.iter().map(Vec::len).sum();
        let adapters = self.applied.set();
        let known = self.snapshots.iter().any(|known| known.chunks == chunks && known.adapters == *adapters);
        if self.model.prefix_reuse != PrefixReuse::Exact || n_tokens < SNAPSHOT_MIN_TOKENS || known {
            return;
        }
        let (chunks, adapters) = (chunks.to_vec(), adapters.clone());
        // The lane may hold more than the stable part: that goes first. A snapshot that fails is only slower.
        if self.remove_from(n_tokens).is_err() {
            return;
        }
        let Ok(state) = self.context.state_seq_get(0, LlamaStateSeqFlags::empty()) else { return };
        if state.byte_len() > SNAPSHOT_BYTES {
            return;
        }
        self.snapshots.push_back(Snapshot { adapters, chunks, state });
        while self.snapshots.iter().map(|snapshot| snapshot.state.byte_len()).sum::<usize>() > SNAPSHOT_BYTES {
            self.snapshots.pop_front();
        }
    }

    fn longer_snapshot(&self, question: &Question, plan: &[std::ops::Range<usize>], kept: usize) -> Option<usize> {
        let serves = |snapshot: &Snapshot| {
            let n = snapshot.chunks.len();
            n > kept
                && snapshot.adapters == *self.applied.set()
                && common_chunks(&snapshot.chunks, &question.trunk, plan) == n
        };
        let found = self.snapshots.iter().enumerate().filter(|(_, snapshot)| serves(snapshot));
        found.max_by_key(|(_, snapshot)| snapshot.chunks.len()).map(|(at, _)| at)
    }

    /// Evaluates one whole chunk of the trunk, without logits.
    fn decode_trunk(&mut self, tokens: &[Token], start: usize) -> Result<(), EngineError> {
        self.decode_chunk(tokens, start)?;
        self.resident.push(tokens.to_vec());
        Ok(())
    }

    /// The same for a chunk that nothing may reuse.
    fn decode_chunk(&mut self, tokens: &[Token], start: usize) -> Result<(), EngineError> {
        self.batch.clear();
        for (position, &token) in (start..).zip(tokens) {
            self.add(token, position, &[0], Logits::Unread)?;
        }
        self.decode_telling(start, tokens.len(), tokens.len(), &[])
    }

    /// One decode that is read: the trunk's last chunk (in every sequence of the wave) if it is still to come, then branch
    /// rows after its end. Gives `read` the log-probability of every child of what was read.
    fn decode_last(
        &mut self,
        trunk: Option<Tail<'_>>,
        trunk_end: usize,
        rows: &[Row],
        n_sequences: usize,
        trie: &Trie,
        read: &mut impl FnMut(usize, Vec<f64>),
    ) -> Result<(), EngineError> {
        let started = Instant::now();
        self.batch.clear();
        let everywhere: Vec<i32> = (0..=i32::try_from(n_sequences).expect("at most MAX_BRANCHES")).collect();
        let Tail { tokens, start, logits } =
            trunk.unwrap_or(Tail { tokens: &[], start: trunk_end, logits: Logits::Unread });
        for (index, (position, &token)) in (start..).zip(tokens).enumerate() {
            let logits = if index + 1 == tokens.len() { logits } else { Logits::Unread };
            self.add(token, position, &everywhere, logits)?;
        }
        for row in rows {
            self.add(row.token, trunk_end + row.depth - 1, &row.sequences, row.logits)?;
        }
        let root = (logits == Logits::Read).then(|| (tokens.len() - 1, 0));
        let branches = (tokens.len()..).zip(rows).filter(|(_, row)| row.logits == Logits::Read);
        let (indices, nodes): (Vec<usize>, Vec<usize>) =
            root.into_iter().chain(branches.map(|(index, row)| (index, row.node))).unzip();
        self.decode_telling(start, tokens.len(), tokens.len() + rows.len(), &nodes)?;
        for (index, node) in indices.into_iter().zip(nodes) {
            let logits = self.context.get_logits_ith(i32::try_from(index).expect("at most N_BATCH"));
            let logprobs = logprobs(logits, trie.children(node).map(|(_, token)| token));
            if logprobs.iter().any(|logprob| logprob.is_nan()) {
                return Err(failed("the model's output is not a number; its file may be damaged"));
            }
            read(node, logprobs);
        }
        if !rows.is_empty() {
            self.branching += started.elapsed().mul_f64(rows.len() as f64 / (tokens.len() + rows.len()) as f64);
        }
        Ok(())
    }

    fn add(&mut self, token: Token, position: usize, sequences: &[i32], logits: Logits) -> Result<(), EngineError> {
        let position = i32::try_from(position).map_err(|_| failed("a position beyond the context"))?;
        self.batch
            .add(LlamaToken(token), position, sequences, logits == Logits::Read)
            .map_err(|error| failed(&error.to_string()))
    }

    fn decode(&mut self) -> Result<(), EngineError> {
        decode(&mut self.context, &mut self.batch)
    }

    /// Decodes the batch of `n_all` tokens, of which the first `n_trunk` are the trunk's from `start` on and whose outputs are those
    /// of these nodes; the hidden states that are wanted of it are kept.
    fn decode_telling(
        &mut self,
        start: usize,
        n_trunk: usize,
        n_all: usize,
        outputs: &[usize],
    ) -> Result<(), EngineError> {
        let Some(wish) = self.state.wish(start, n_trunk, n_all, outputs) else { return self.decode() };
        let found = self.tap.during(wish, || decode(&mut self.context, &mut self.batch))?;
        self.state.add(wish, found, &self.model.architecture)
    }

    /// Lets the trunk so far belong to sequences 1 to `n`.
    fn open_branches(&mut self, n: usize) -> Result<(), EngineError> {
        for sequence in 1..=i32::try_from(n).expect("at most MAX_BRANCHES") {
            self.context.copy_kv_cache_seq(0, sequence, None, None).map_err(|error| failed(&error.to_string()))?;
        }
        Ok(())
    }

    /// Lets new sequences begin as others: with what is in the lane of the trunk, and the branch rows that they share.
    fn branch_off(&mut self, branches: &[Branch], trunk_end: usize) -> Result<(), EngineError> {
        for &Branch { from, to, n_shared } in branches {
            let end = u32::try_from(trunk_end + n_shared).map_err(|_| failed("a position beyond the context"))?;
            self.context.copy_kv_cache_seq(from, to, None, Some(end)).map_err(|error| failed(&error.to_string()))?;
        }
        Ok(())
    }

    fn close_branches(&mut self, n: usize) -> Result<(), EngineError> {
        for sequence in 1..=u32::try_from(n).expect("at most MAX_BRANCHES") {
            self.context.clear_kv_cache_seq(Some(sequence), None, None).map_err(|error| failed(&error.to_string()))?;
        }
        Ok(())
    }

    /// Removes the trunk from `position` on, and forgets the chunks that it belonged to.
    fn remove_from(&mut self, position: usize) -> Result<(), EngineError> {
        let mut end = 0;
        let kept = self.resident.iter().take_while(|chunk| {
            end += chunk.len();
            end <= position
        });
        let kept = kept.count();
        self.resident.truncate(kept);
        self.n_stable = self.n_stable.min(kept);
        let from = u32::try_from(position).map_err(|_| failed("a position beyond the context"))?;
        let removed =
            self.context.clear_kv_cache_seq(Some(0), Some(from), None).map_err(|error| failed(&error.to_string()))?;
        if !removed {
            // A recurrent state cannot lose its end: all of it goes.
            self.clear();
        }
        Ok(())
    }

    /// Empties the lane without touching the memory behind it.
    fn clear(&mut self) {
        self.resident.clear();
        self.n_stable = 0;
        clear(&mut self.context, self.n_sequences);
    }
}

/// The trunk's last chunk: its tokens, the position of the first, and whether what follows the last is read.
struct Tail<'t> {
    tokens: &'t [Token],
    start: usize,
    logits: Logits,
}
