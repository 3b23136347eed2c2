//! Closed questions in the generation lane: candidates as branches after positions of one text, several questions in one
//! decode. What is read is collected here; what it means is the caller's.

use std::time::{Duration, Instant};

use super::super::caller::Caller;
use super::super::scheduler::{Pack, PackRow, Phase};
use super::super::scoring::{Candidates, MAX_BRANCHES, MAX_ROWS, Wave, logprobs};
use super::super::{AdapterSet, Counts, EngineError, Event, Scores, Timings, Token};
use super::failed;

/// The candidates at one position of the text.
pub struct BranchPoint {
    /// Tokens before the candidates: at least one.
    pub n_tokens: usize,
    pub candidates: Candidates,
}

/// Questions about one text, ready to run.
pub struct BranchPlan {
    pub tokens: Vec<Token>,
    pub points: Vec<BranchPoint>,
    pub adapters: AdapterSet,
    packs: Vec<(usize, Wave)>,
}

impl BranchPlan {
    /// Plans the branches of all points, which come in the order of their places.
    ///
    /// # Errors
    /// A candidate is longer than a decode.
    pub fn new(tokens: Vec<Token>, points: Vec<BranchPoint>, adapters: AdapterSet) -> Result<Self, EngineError> {
        let mut packs = Vec::new();
        for (index, point) in points.iter().enumerate() {
            let of_point = point.candidates.trie.packs(MAX_ROWS - 1, MAX_BRANCHES);
            let of_point = of_point.ok_or_else(|| failed("an answer is too long to be evaluated in one piece"))?;
            packs.extend(of_point.into_iter().map(|wave| (index, wave)));
        }
        Ok(BranchPlan { tokens, points, adapters, packs })
    }

    /// Cells that the widest decode needs after the text.
    pub fn n_branch_cells(&self) -> usize {
        self.packs.iter().map(|(_, wave)| wave.n_rows() + 1).max().unwrap_or(0)
    }

    pub fn packs(&self) -> Vec<Pack> {
        self.packs.iter().map(|(point, wave)| self.pack(*point, wave)).collect()
    }

    fn pack(&self, point: usize, wave: &Wave) -> Pack {
        let at = self.points[point].n_tokens - 1;
        let n_sequences = wave.n_sequences.max(1);
        let root = PackRow { token: self.tokens[at], depth: 0, sequences: (0..n_sequences).collect() };
        let rows = wave.batches.iter().flatten().map(|row| PackRow {
            token: row.token,
            depth: row.depth,
            sequences: row.sequences.iter().filter_map(|s| usize::try_from(s - 1).ok()).collect(),
        });
        Pack { at, n_sequences, rows: std::iter::once(root).chain(rows).collect() }
    }
}

/// Questions in the lane.
pub struct Branching {
    caller: Caller,
    prepared: BranchPlan,
    /// For every point the log-probability of every node of its trie.
    values: Vec<Vec<f64>>,
    counts: Counts,
    queued: Option<Duration>,
    started: Instant,
    /// When the first decode with candidates began, and how many had some: each evaluates one token of the text with them.
    branched: Option<Instant>,
    n_packs: usize,
}

impl Branching {
    pub fn new(prepared: BranchPlan, caller: Caller) -> Self {
        let values = prepared.points.iter().map(|point| vec![0.0; point.candidates.trie.len()]).collect();
        let counts = Counts { prompt: prepared.tokens.len(), ..Counts::default() };
        Branching {
            caller,
            prepared,
            values,
            counts,
            queued: None,
            started: Instant::now(),
            branched: None,
            n_packs: 0,
        }
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Notes that a decode for it begins.
    pub fn start(&mut self, n_reused: usize, phase: Phase) {
        if self.queued.is_none() {
            self.queued = Some(self.caller.waited());
            self.counts.reused = n_reused;
            self.started = Instant::now();
        }
        if matches!(phase, Phase::Branch { .. }) {
            self.branched.get_or_insert_with(Instant::now);
        }
    }

    /// Reads the rows of a pack.
    ///
    /// # Errors
    /// The logits are not numbers.
    pub fn read<'l>(&mut self, pack: usize, rows: impl Iterator<Item = &'l [f32]>) -> Result<(), EngineError> {
        let (point, wave) = &self.prepared.packs[pack];
        let trie = &self.prepared.points[*point].candidates.trie;
        let nodes = std::iter::once(0).chain(wave.batches.iter().flatten().map(|row| row.node));
        for (node, logits) in nodes.zip(rows) {
            let (children, tokens): (Vec<usize>, Vec<Token>) = trie.children(node).unzip();
            for (child, logprob) in children.into_iter().zip(logprobs(logits, tokens.into_iter())) {
                if logprob.is_nan() {
                    return Err(failed("the model's output is not a number; its file may be damaged"));
                }
                self.values[*point][child] = logprob;
            }
        }
        self.counts.branch += wave.n_rows();
        self.n_packs += 1;
        Ok(())
    }

    /// Gives the caller every candidate's log-probability.
    pub fn end(self) {
        let mut groups = Vec::new();
        for (point, values) in self.prepared.points.iter().zip(&self.values) {
            groups.extend(point.candidates.scores(values, |_| true));
        }
        let queued = self.queued.unwrap_or_default();
        let branching = self.branched.map_or_else(Duration::default, |at| at.elapsed());
        let n_branch = self.counts.branch;
        let generation = branching.mul_f64(n_branch as f64 / (n_branch + self.n_packs).max(1) as f64);
        let timings = Timings { queued, prompt: self.started.elapsed().saturating_sub(generation), generation };
        self.caller.send(Event::Scored(Scores { groups, state: None, counts: self.counts, timings }));
    }

    pub fn fail(self, error: EngineError) {
        self.caller.send(Event::Failed(error));
    }
}
