//! What the scheduler takes and gives: requests, decodes, and what decodes came to. Plain data.

use std::ops::Range;

use crate::Token;
use crate::cache::{Effect, Reuse};

/// What a context can hold and a decode can take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests that run at once.
    pub n_running: usize,
    /// Sequence numbers of running and cached requests; those of branches follow.
    pub n_slots: usize,
    /// Sequence numbers for branches.
    pub n_branches: usize,
    /// Cells of the whole context.
    pub n_cells: usize,
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
    /// Branches at given positions of the prompt, in ascending order.
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
    /// Positions after `at`.
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
    /// Sequence numbers of branches to empty after the decode.
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
        /// What comes after them: the token that was sampled and what must follow it.
        next: Vec<Token>,
        /// A guess at what comes then.
        draft: Vec<Token>,
    },
    Finished {
        n_accepted: usize,
    },
}

impl Step {
    /// Adds a request's pack, in these branches.
    pub fn push_pack(&mut self, id: JobId, number: usize, pack: &Pack, branches: Range<usize>) {
        let from = self.rows.len();
        for row in &pack.rows {
            let sequences = row.sequences.iter().map(|sequence| branches.start + sequence).collect();
            self.rows.push(Row { token: row.token, position: pack.at + row.depth, sequences, is_read: true });
        }
        self.branches.end = branches.end;
        self.parts.push(Part { id, phase: Phase::Branch { pack: number }, rows: from..self.rows.len() });
    }

    /// Rows whose logits are read.
    #[must_use]
    pub fn n_read(&self) -> usize {
        self.rows.iter().filter(|row| row.is_read).count()
    }
}
