//! What a regression on one kind of evidence, or several, says of a row: the features, and the weights over them.
//!
//! Weights are kept in single precision and computed with in double, so that a fit says the same when it is learned and when it
//! is read again.

use slm_stats::words::{HashedTerms, Terms};

use crate::evidence::{Evidence, log_softmax};

/// The terms of texts that count: words and pieces of words.
pub(crate) const TERMS: [Terms; 2] = [Terms::Words { longest: 1 }, Terms::Pieces { shortest: 2, longest: 4 }];

/// One kind of evidence as features.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// Log-probabilities of all options, each less its mean and multiplied by its scale.
    Logprobs { mean: Vec<f32>, scale: Vec<f32> },
    /// Words and pieces of words of the text, all multiplied by one scale.
    Words { terms: HashedTerms, scale: f32 },
    /// The hidden state, each dimension less its mean and multiplied by its scale.
    State { mean: Vec<f32>, scale: Vec<f32> },
}

/// A regression over the features of its blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Expert {
    pub blocks: Vec<Block>,
    /// By column, then by output: one output for two seen labels, the second's, otherwise one for each.
    pub weights: Vec<f32>,
    /// By output.
    pub intercepts: Vec<f64>,
}

impl Block {
    #[must_use]
    pub fn n_columns(&self) -> usize {
        match self {
            Block::Logprobs { mean, .. } | Block::State { mean, .. } => mean.len(),
            Block::Words { terms, .. } => terms.columns().len(),
        }
    }

    /// Whether it is made of the hidden state.
    #[must_use]
    pub fn is_state(&self) -> bool {
        matches!(self, Block::State { .. })
    }

    /// Adds the features of a row, from column `begin` on. `logprobs` are the evidence's, finite.
    pub(crate) fn add_to(&self, entries: &mut Vec<(u32, f64)>, begin: u32, evidence: &Evidence<'_>, logprobs: &[f64]) {
        let mut dense = |values: &mut dyn Iterator<Item = f64>| entries.extend((begin..).zip(values));
        match self {
            Block::Logprobs { mean, scale } => {
                let parts = logprobs.iter().zip(mean).zip(scale);
                dense(&mut parts.map(|((value, mean), scale)| (value - f64::from(*mean)) * f64::from(*scale)));
            }
            Block::State { mean, scale } => {
                let parts = evidence.state.unwrap_or_default().iter().zip(mean).zip(scale);
                dense(
                    &mut parts.map(|((value, mean), scale)| (f64::from(*value) - f64::from(*mean)) * f64::from(*scale)),
                );
            }
            Block::Words { terms, scale } => {
                let row = terms.row(evidence.text);
                entries.extend(row.into_iter().map(|(at, value)| (begin + at, value * f64::from(*scale))));
            }
        }
    }
}

/// The features of a row over several blocks, ascending.
pub(crate) fn entries(blocks: &[Block], evidence: &Evidence<'_>, logprobs: &[f64]) -> Vec<(u32, f64)> {
    let (mut entries, mut begin) = (Vec::new(), 0_u32);
    for block in blocks {
        block.add_to(&mut entries, begin, evidence, logprobs);
        begin += u32::try_from(block.n_columns()).expect("checked where a block is learned or read");
    }
    entries
}

impl Expert {
    /// Log-probabilities of the seen labels, from features.
    pub(crate) fn of_entries(&self, entries: &[(u32, f64)]) -> Vec<f64> {
        let mut scores = self.intercepts.clone();
        let n_outputs = scores.len();
        for &(column, value) in entries {
            let weights = &self.weights[column as usize * n_outputs..][..n_outputs];
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += value * f64::from(*weight));
        }
        if n_outputs == 1 {
            scores.insert(0, 0.0);
        }
        log_softmax(&mut scores);
        scores
    }

    /// Log-probabilities of the seen labels.
    pub(crate) fn log_probabilities(&self, evidence: &Evidence<'_>, logprobs: &[f64]) -> Vec<f64> {
        self.of_entries(&entries(&self.blocks, evidence, logprobs))
    }
}
