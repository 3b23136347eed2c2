//! A request as the scheduler knows it: its text, and how far that is evaluated.

use super::step::{Job, JobId, Pack, Work};
use crate::Token;
use crate::cache::Reuse;

/// Cells that a request without a limit of its own is promised beyond what it has; it asks again when it gets there.
const QUOTA: usize = 256;

/// A request that is queued or running.
#[derive(Debug)]
pub struct Sequence {
    pub id: JobId,
    pub group: u32,
    /// Prompt and answer as far as they are known.
    pub tokens: Vec<Token>,
    pub n_prompt: usize,
    pub work: Work,
    /// Tokens that must be evaluated before the request decodes: the prompt, or all it had when it was put back.
    pub n_prefill: usize,
    pub n_evaluated: usize,
    pub draft: Vec<Token>,
    pub next_pack: usize,
    pub slot: usize,
    pub reserved: usize,
    pub n_reused: usize,
    /// The step that it was in last.
    pub last_step: u64,
    /// The step that was its group's last.
    pub last_turn: u64,
}

impl Sequence {
    pub fn new(job: Job) -> Self {
        let Job { id, group, tokens, work } = job;
        let n_prompt = tokens.len();
        Sequence {
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
        }
    }

    /// Cells to promise now.
    pub fn wanted(&self) -> usize {
        match &self.work {
            Work::Generate { limit } => (self.tokens.len() + QUOTA).min(*limit).max(self.tokens.len()),
            Work::Branch { packs } => {
                let widest = packs.iter().map(|pack| pack.rows.len()).max().unwrap_or(0);
                self.tokens.len() + widest
            }
        }
    }

    /// Where the prefill ends for now: a pack is evaluated before the prompt continues after it, while a sliding window still
    /// covers its position.
    pub fn prefill_end(&self) -> usize {
        match &self.work {
            Work::Generate { .. } => self.n_prefill,
            Work::Branch { packs } => packs.get(self.next_pack).map_or(self.n_evaluated, |pack| pack.at),
        }
    }

    /// The branches that are evaluated next.
    pub fn next_pack(&self) -> Option<&Pack> {
        match &self.work {
            Work::Generate { .. } => None,
            Work::Branch { packs } => packs.get(self.next_pack),
        }
    }

    pub fn max_reused(&self, reuse: Reuse) -> usize {
        match &self.work {
            Work::Generate { .. } => self.tokens.len() - 1,
            Work::Branch { packs } => {
                let pack = if reuse == Reuse::Prefix { packs.last() } else { packs.get(self.next_pack) };
                pack.map_or(0, |pack| pack.at)
            }
        }
    }

    pub fn is_prefilling(&self) -> bool {
        self.n_evaluated < self.prefill_end()
    }
}
