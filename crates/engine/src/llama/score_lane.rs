//! The score lane: a context that evaluates one question at a time, so that the same question always meets the same
//! kernels with the same rows over the same cells (the design's *Canonical evaluation*).
//!
//! It holds the current question's path only: the trunk in sequence 0 with cell = position, branches after it in
//! sequences from 1, gone when the question is answered. What it refuses to do is to batch two questions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::context::session::{LlamaStateSeqFlags, SeqState};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::super::caller::Caller;
use super::super::chunks::{chunks, common_chunks};
use super::super::scoring::{MAX_BRANCHES, MAX_ROWS, Row, Trie, Wave, logprobs};
use super::super::{AdapterSet, Counts, EngineError, Scores, Timings, Token};
use super::adapters::{Adapters, Applied};
use super::question::Question;
use super::{Model, N_BATCH, PrefixReuse, clear, decode, failed};

/// Host memory for snapshots of stable prefixes.
const SNAPSHOT_BYTES: usize = 256 << 20;
/// A prefix shorter than this is evaluated again sooner than it is worth a snapshot.
const SNAPSHOT_MIN_TOKENS: usize = 16;

pub struct ScoreLane<'m> {
    model: &'m Model,
    context: LlamaContext<'m>,
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
        let context = model.score_context(shape)?;
        let batch = LlamaBatch::new(N_BATCH as usize, i32::try_from(n_sequences).expect("a small constant"));
        Ok(ScoreLane {
            model,
            context,
            batch,
            n_sequences,
            resident: Vec::new(),
            n_stable: 0,
            snapshots: VecDeque::new(),
            applied: Applied::default(),
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
        if *self.applied.set() != question.adapters {
            // Another model, to all that was evaluated.
            self.take_snapshot();
            self.clear();
            adapters.apply(&mut self.context, &mut self.applied, &question.adapters)?;
        }
        let mut counts = Counts { prompt: question.trunk.len(), ..Counts::default() };
        let evaluated = match self.model.prefix_reuse {
            PrefixReuse::Never => self.evaluate_each(question, &mut counts, caller),
            _ => self.evaluate(question, &mut counts, caller),
        };
        let node_logprobs = evaluated.inspect_err(|_| self.clear())?;
        let mut rest = question.trie.path_logprobs(&node_logprobs, &question.skip).into_iter();
        let groups = question.group_sizes.iter().map(|&n| rest.by_ref().take(n).collect()).collect();
        let timings = Timings { queued, prompt: started.elapsed(), generation: Duration::ZERO };
        Ok(Scores { groups, counts, timings })
    }

    fn evaluate(&mut self, question: &Question, counts: &mut Counts, caller: &Caller) -> Result<Vec<f64>, EngineError> {
        let plan = chunks(question.trunk.len(), question.border, N_BATCH as usize);
        let last = plan.last().cloned().ok_or(EngineError::EmptyPrompt)?;
        // The first branches ride with the trunk's last chunk where they fit; one row of logits is the trunk's own.
        let room = (N_BATCH as usize - last.len()).min(MAX_ROWS - 1);
        let waves = question.trie.waves(if room == 0 { MAX_ROWS } else { room });
        let widest = waves.iter().map(Wave::n_rows).max().unwrap_or(0);
        let (needed, n_ctx) = (question.trunk.len() + widest, self.model.info().n_ctx as usize);
        if needed > n_ctx {
            return Err(EngineError::Context { needed, n_ctx });
        }

        self.make_room_for(question, &plan[..plan.len() - 1])?;
        counts.reused = self.resident.iter().map(Vec::len).sum();
        for chunk in &plan[self.resident.len()..plan.len() - 1] {
            caller.check()?;
            self.decode_trunk(&question.trunk[chunk.clone()], chunk.start)?;
        }
        self.n_stable = plan[..plan.len() - 1].iter().take_while(|chunk| chunk.end <= question.border).count();

        let mut values = vec![0.0; question.trie.len()];
        let mut trunk_tail = Some(&question.trunk[last.clone()]);
        if room == 0 || waves.is_empty() {
            self.decode_last(trunk_tail.take(), last.start, &[], 0, &question.trie, &mut values)?;
        }
        for wave in &waves {
            self.open_branches(wave.n_sequences)?;
            for rows in &wave.batches {
                caller.check()?;
                let start = if trunk_tail.is_some() { last.start } else { last.end };
                self.decode_last(trunk_tail.take(), start, rows, wave.n_sequences, &question.trie, &mut values)?;
                counts.branch += rows.len();
            }
            self.close_branches(wave.n_sequences)?;
        }
        // The last chunk shared its decode with this question's branches: nothing else may reuse it.
        self.remove_from(last.start)?;
        Ok(values)
    }

    /// The same for a model whose state cannot be shared or rolled back: every branch after the trunk, from nothing.
    fn evaluate_each(
        &mut self,
        question: &Question,
        counts: &mut Counts,
        caller: &Caller,
    ) -> Result<Vec<f64>, EngineError> {
        let mut values = vec![0.0; question.trie.len()];
        let branches = question.trie.branches();
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
            self.decode_last(Some(&question.trunk[last.clone()]), last.start, &[], 0, &question.trie, &mut values)?;
            for (offset, row) in branch.iter().enumerate() {
                caller.check()?;
                let row = Row { depth: 1, sequences: vec![0], ..row.clone() };
                self.decode_last(None, last.end + offset, &[row], 0, &question.trie, &mut values)?;
                counts.branch += 1;
            }
        }
        self.clear();
        Ok(values)
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
        self.batch.clear();
        for (position, &token) in (start..).zip(tokens) {
            self.add(token, position, &[0], Logits::Unread)?;
        }
        self.decode()?;
        self.resident.push(tokens.to_vec());
        Ok(())
    }

    /// One decode of rows that are read: the trunk's last chunk (in every sequence of the wave) if it is still to come,
    /// then branch rows. Writes the log-probability of every child of what was read.
    fn decode_last(
        &mut self,
        trunk: Option<&[Token]>,
        start: usize,
        rows: &[Row],
        n_sequences: usize,
        trie: &Trie,
        values: &mut [f64],
    ) -> Result<(), EngineError> {
        self.batch.clear();
        let everywhere: Vec<i32> = (0..=i32::try_from(n_sequences).expect("at most MAX_BRANCHES")).collect();
        let tokens = trunk.unwrap_or(&[]);
        for (index, (position, &token)) in (start..).zip(tokens).enumerate() {
            let logits = if index + 1 == tokens.len() { Logits::Read } else { Logits::Unread };
            self.add(token, position, &everywhere, logits)?;
        }
        let trunk_end = start + tokens.len();
        for row in rows {
            self.add(row.token, trunk_end + row.depth - 1, &row.sequences, Logits::Read)?;
        }
        self.decode()?;
        let root = (!tokens.is_empty()).then(|| (tokens.len() - 1, 0));
        let branches = (tokens.len()..).zip(rows).map(|(index, row)| (index, row.node));
        for (index, node) in root.into_iter().chain(branches) {
            let logits = self.context.get_logits_ith(i32::try_from(index).expect("at most N_BATCH"));
            let (children, tokens): (Vec<usize>, Vec<Token>) = trie.children(node).unzip();
            for (child, logprob) in children.into_iter().zip(logprobs(logits, tokens.into_iter())) {
                if logprob.is_nan() {
                    return Err(failed("the model's output is not a number; its file may be damaged"));
                }
                values[child] = logprob;
            }
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

    /// Lets the trunk so far belong to sequences 1 to `n`.
    fn open_branches(&mut self, n: usize) -> Result<(), EngineError> {
        for sequence in 1..=i32::try_from(n).expect("at most MAX_BRANCHES") {
            self.context.copy_kv_cache_seq(0, sequence, None, None).map_err(|error| failed(&error.to_string()))?;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logits {
    Read,
    Unread,
}
