//! Regressions on kinds of evidence: learned from rows, and asked about rows that they have not seen.

use slm_stats::linear::{Linear, Matrix, Settings};
use slm_stats::words::HashedTerms;

use super::parallel;
use super::rows::Rows;
use crate::evidence::log_softmax;
use crate::expert::{Block, Expert, TERMS, entries};

/// Bits of a hashed term. With 16 many words of a language share a column, so that a column names none, and the few thousand terms of a
/// few thousand rows still seldom do: with 18 bits nothing is gained on CLINC's domains (1,000 rows). Leaving out what one row alone
/// has costs three points of accuracy there with 200 rows.
const BITS: u32 = 16;
/// The search for weights ends where scikit-learn's does by default.
const TOLERANCE: f64 = 1e-4;
/// Products of rows and labels up to which several strengths are tried.
const SMALL: usize = 40_000;

/// A kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Logprobs,
    Words,
    State,
}

/// What a regression is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spec {
    pub kinds: &'static [Kind],
    /// How much rows weigh against the pull to 0, the likeliest first: one is enough where learning takes long.
    pub strengths: &'static [f64],
}

pub(super) const LOGPROBS: Spec = Spec { kinds: &[Kind::Logprobs], strengths: &[3.0, 30.0, 0.3] };
pub(super) const WORDS: Spec = Spec { kinds: &[Kind::Words], strengths: &[30.0, 5.0] };
pub(super) const STATE: Spec = Spec { kinds: &[Kind::State], strengths: &[10.0, 1.0, 100.0] };
pub(super) const JOINT: Spec = Spec { kinds: &[Kind::Logprobs, Kind::Words, Kind::State], strengths: &[30.0, 5.0] };
pub(super) const JOINT_WITHOUT_SCORES: Spec = Spec { kinds: &[Kind::Words, Kind::State], strengths: &[30.0, 5.0] };
pub(super) const JOINT_WITHOUT_STATE: Spec = Spec { kinds: &[Kind::Logprobs, Kind::Words], strengths: &[30.0, 5.0] };

/// A regression with the strength that did best, and what it says of rows that it had not seen.
pub(super) struct Trained {
    pub spec: Spec,
    pub strength: f64,
    /// By row: log-probabilities of the seen labels.
    pub out_of_fold: Vec<Vec<f64>>,
}

/// Tries a kind of regression in all folds with each strength.
pub(super) fn train(rows: &Rows<'_>, spec: Spec, n_threads: usize) -> Trained {
    let n_strengths = if rows.n() * rows.n_seen() <= SMALL { spec.strengths.len() } else { 1 };
    let strengths = &spec.strengths[..n_strengths];
    let n_folds = rows.n_folds;
    // A fold's features are the same for all strengths.
    let by_fold = parallel::map(n_folds, n_threads, |fold| {
        let (outside, inside) = (rows.outside(fold), rows.inside(fold));
        let blocks = blocks(rows, &outside, spec.kinds);
        let features = features(rows, &outside, &blocks);
        let of = |strength| fold_scores(rows, (&outside, &inside), &blocks, &features, strength);
        strengths.iter().map(|&strength| of(strength)).collect::<Vec<_>>()
    });
    let in_rows = |nth: usize| {
        let mut all = vec![Vec::new(); rows.n()];
        for (fold, scores) in by_fold.iter().enumerate() {
            for (row, scores) in rows.inside(fold).into_iter().zip(&scores[nth]) {
                all[row].clone_from(scores);
            }
        }
        all
    };
    let tried: Vec<(f64, Vec<Vec<f64>>)> =
        strengths.iter().enumerate().map(|(nth, &strength)| (strength, in_rows(nth))).collect();
    let loss = |scores: &[Vec<f64>]| tempered_loss(scores, &rows.labels);
    let best = tried.into_iter().map(|(strength, scores)| (loss(&scores), strength, scores));
    let (_, strength, out_of_fold) =
        best.min_by(|one, other| one.0.total_cmp(&other.0)).expect("a strength at least is tried");
    Trained { spec, strength, out_of_fold }
}

/// What the rows inside a fold get from those outside.
fn fold_scores(
    rows: &Rows<'_>,
    (outside, inside): (&[usize], &[usize]),
    blocks: &[Block],
    features: &Matrix,
    strength: f64,
) -> Vec<Vec<f64>> {
    let n_seen = rows.n_seen();
    let Some((expert, present)) = regression(rows, outside, blocks.to_vec(), features, strength) else {
        return vec![vec![-libm::log(super::float(n_seen)); n_seen]; inside.len()];
    };
    let of = |&row: &usize| {
        let own = expert.log_probabilities(&rows.rows[row].evidence, &rows.raw[row]);
        // A label whose only rows are here is as likely as one row in all of them.
        let absent = -libm::log(super::float(2 * outside.len()));
        let mut all = vec![absent; n_seen];
        present.iter().zip(own).for_each(|(&label, value)| all[label] = value);
        log_softmax(&mut all);
        all
    };
    inside.iter().map(of).collect()
}

/// Learns from all rows.
pub(super) fn learn(rows: &Rows<'_>, spec: Spec, strength: f64) -> Option<Expert> {
    let all: Vec<usize> = (0..rows.n()).collect();
    let blocks = blocks(rows, &all, spec.kinds);
    let features = features(rows, &all, &blocks);
    regression(rows, &all, blocks, &features, strength).map(|(expert, _)| expert)
}

/// A regression, and the labels that it knows; `None` where the rows have one label only.
fn regression(
    rows: &Rows<'_>,
    of: &[usize],
    blocks: Vec<Block>,
    features: &Matrix,
    strength: f64,
) -> Option<(Expert, Vec<usize>)> {
    let labels: Vec<usize> = of.iter().map(|&row| rows.labels[row]).collect();
    let settings = Settings { c: strength, tolerance: TOLERANCE, max_iterations: 300, ..Settings::default() };
    let linear = Linear::fit(features, &labels, rows.n_seen(), &settings).ok()?;
    let (weights, intercepts) = linear.weights();
    #[allow(clippy::cast_possible_truncation)] // kept in single precision
    let weights = weights.iter().map(|&weight| weight as f32).collect();
    Some((Expert { blocks, weights, intercepts: intercepts.to_vec() }, linear.present().to_vec()))
}

fn features(rows: &Rows<'_>, of: &[usize], blocks: &[Block]) -> Matrix {
    let mut matrix = Matrix::new(blocks.iter().map(Block::n_columns).sum());
    of.iter().for_each(|&row| matrix.push_sparse(&entries(blocks, &rows.rows[row].evidence, &rows.raw[row])));
    matrix
}

fn blocks(rows: &Rows<'_>, of: &[usize], kinds: &[Kind]) -> Vec<Block> {
    let block = |kind: &Kind| match kind {
        Kind::Logprobs => {
            let values: Vec<Vec<f64>> = of.iter().map(|&row| rows.raw[row].clone()).collect();
            let (mean, scale) = standardised(&values);
            Block::Logprobs { mean, scale }
        }
        Kind::Words => {
            let texts: Vec<&str> = of.iter().map(|&row| rows.rows[row].evidence.text).collect();
            Block::Words { terms: HashedTerms::learn(&TERMS, BITS, &texts), scale: 1.0 }
        }
        Kind::State => {
            let state = |&row: &usize| rows.rows[row].evidence.state.unwrap_or_default();
            let values: Vec<Vec<f64>> =
                of.iter().map(|row| state(row).iter().map(|&value| f64::from(value)).collect()).collect();
            let (mean, scale) = standardised(&values);
            Block::State { mean, scale }
        }
    };
    // Without states there is no such block.
    let kinds = kinds.iter().filter(|kind| **kind != Kind::State || rows.has_states());
    kinds.map(block).collect()
}

/// The mean of each column, and what makes a row's length 1 on average and each column weigh the same.
fn standardised(values: &[Vec<f64>]) -> (Vec<f32>, Vec<f32>) {
    let (n, n_columns) = (super::float(values.len().max(1)), values.first().map_or(0, Vec::len));
    let width = super::float(n_columns.max(1)).sqrt();
    let column = |at: usize| {
        let mean = values.iter().map(|row| row[at]).sum::<f64>() / n;
        let variance = values.iter().map(|row| (row[at] - mean) * (row[at] - mean)).sum::<f64>() / n;
        let scale = if variance > 1e-12 { 1.0 / (variance.sqrt() * width) } else { 0.0 };
        #[allow(clippy::cast_possible_truncation)] // kept in single precision
        (mean as f32, scale as f32)
    };
    (0..n_columns).map(column).unzip()
}

/// The mean negative log-likelihood with the best of a few temperatures, since a pool weighs what a regression says.
fn tempered_loss(scores: &[Vec<f64>], labels: &[usize]) -> f64 {
    let with = |weight: f64| {
        let mut sum = 0.0;
        for (scores, &label) in scores.iter().zip(labels) {
            let mut scores: Vec<f64> = scores.iter().map(|score| weight * score).collect();
            log_softmax(&mut scores);
            sum -= scores[label];
        }
        sum
    };
    [0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8].map(with).into_iter().fold(f64::INFINITY, f64::min)
}
