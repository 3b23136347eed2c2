//! Regressions on kinds of evidence: learned from rows, and asked about rows that they have not seen.

use slm_stats::linear::{Linear, Matrix, Penalty, Settings};
use slm_stats::words::HashedTerms;

use super::parallel;
use super::rows::Rows;
use crate::evidence::{Evidence, log_softmax};
use crate::expert::{Block, Expert, TERMS, entries};

/// Bits of a hashed term. With 16 many words of a language share a column, so that a column names none, and the few thousand terms of a
/// few thousand rows still seldom do: with 18 bits nothing is gained on CLINC's domains (1,000 rows). Leaving out what one row alone
/// has costs three points of accuracy there with 200 rows.
const BITS: u32 = 16;
/// The search for weights ends where scikit-learn's does by default.
const TOLERANCE: f64 = 1e-4;
/// How far the covariance within classes is shrunk: with .6 Banking77 and CLINC's domains gain 5 points of accuracy over the plain
/// penalty at 10 rows a class, and with .1 to .9 as much within a point.
const SHRINKAGE: f64 = 0.6;
/// Rows up to which it is used: its time goes with their cube, and the more there are, the less is gained.
const MOST_WITHIN: usize = 2_000;
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
    /// The pulls to 0 that are tried, the likeliest first: one is enough where learning takes long.
    pub pulls: &'static [Pull],
}

/// How weights are pulled to 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pull {
    /// How much rows weigh against it.
    pub strength: f64,
    pub penalty: Penalty,
}

const fn squares(strength: f64) -> Pull {
    Pull { strength, penalty: Penalty::Squares }
}

const fn within(strength: f64) -> Pull {
    Pull { strength, penalty: Penalty::WithinClasses { shrinkage: SHRINKAGE } }
}

pub(super) const LOGPROBS: Spec =
    Spec { kinds: &[Kind::Logprobs], pulls: &[squares(3.0), squares(30.0), squares(0.3)] };
pub(super) const WORDS: Spec = Spec { kinds: &[Kind::Words], pulls: &[squares(30.0), squares(5.0)] };
pub(super) const STATE: Spec =
    Spec { kinds: &[Kind::State], pulls: &[within(100.0), squares(10.0), squares(1.0), squares(100.0), within(10.0)] };
pub(super) const JOINT: Spec =
    Spec { kinds: &[Kind::Logprobs, Kind::Words, Kind::State], pulls: &[squares(30.0), squares(5.0)] };
pub(super) const JOINT_WITHOUT_SCORES: Spec =
    Spec { kinds: &[Kind::Words, Kind::State], pulls: &[squares(30.0), squares(5.0)] };
pub(super) const JOINT_WITHOUT_STATE: Spec =
    Spec { kinds: &[Kind::Logprobs, Kind::Words], pulls: &[squares(30.0), squares(5.0)] };

/// A regression with the pull that did best, and what it says of rows that it had not seen.
pub(super) struct Trained {
    pub spec: Spec,
    pub pull: Pull,
    /// By row: log-probabilities of the seen labels.
    pub out_of_fold: Vec<Vec<f64>>,
}

/// Tries a kind of regression in all folds with each pull.
pub(super) fn train(rows: &Rows<'_>, spec: Spec, n_threads: usize) -> Trained {
    let is_fast = |pull: &Pull| pull.penalty == Penalty::Squares || rows.n() <= MOST_WITHIN;
    let n_pulls = if rows.n() * rows.n_seen() <= SMALL { spec.pulls.len() } else { 1 };
    let pulls: Vec<Pull> = spec.pulls.iter().copied().filter(is_fast).take(n_pulls).collect();
    let n_folds = rows.n_folds;
    // A fold's features are the same for all pulls.
    let by_fold = parallel::map(n_folds, n_threads, |fold| {
        let (outside, inside) = (rows.outside(fold), rows.inside(fold));
        let taught = Taught::of(rows, outside, spec.kinds);
        let of = |pull| fold_scores(rows, &taught, &inside, pull);
        pulls.iter().map(|&pull| of(pull)).collect::<Vec<_>>()
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
    let tried: Vec<(Pull, Vec<Vec<f64>>)> = pulls.iter().enumerate().map(|(nth, &pull)| (pull, in_rows(nth))).collect();
    let loss = |scores: &[Vec<f64>]| tempered_loss(scores, &rows.labels);
    let best = tried.into_iter().map(|(pull, scores)| (loss(&scores), pull, scores));
    let (_, pull, out_of_fold) = best.min_by(|one, other| one.0.total_cmp(&other.0)).expect("a pull at least is tried");
    Trained { spec, pull, out_of_fold }
}

/// What the rows inside a fold get from those outside.
fn fold_scores(rows: &Rows<'_>, taught: &Taught, inside: &[usize], pull: Pull) -> Vec<Vec<f64>> {
    let n_seen = rows.n_seen();
    let Some((expert, present)) = taught.regression(n_seen, pull) else {
        return vec![vec![-libm::log(super::float(n_seen)); n_seen]; inside.len()];
    };
    let of = |&row: &usize| {
        let own = expert.log_probabilities(&rows.rows[row].evidence, &rows.raw[row]);
        // A label whose only rows are here is as likely as one row in all of them.
        let absent = -libm::log(super::float(2 * taught.labels.len()));
        let mut all = vec![absent; n_seen];
        present.iter().zip(own).for_each(|(&label, value)| all[label] = value);
        log_softmax(&mut all);
        all
    };
    inside.iter().map(of).collect()
}

/// Learns from all rows.
pub(super) fn learn(rows: &Rows<'_>, spec: Spec, pull: Pull) -> Option<Expert> {
    let taught = Taught::of(rows, (0..rows.n()).collect(), spec.kinds);
    taught.regression(rows.n_seen(), pull).map(|(expert, _)| expert)
}

/// What a regression is taught.
struct Taught {
    blocks: Vec<Block>,
    features: Matrix,
    labels: Vec<usize>,
}

impl Taught {
    /// Some of the rows. Words are taught the names of labels too, as one more row for each: with 10 rows a class that gains one to
    /// two points of accuracy on Banking77, and with hundreds it weighs nothing.
    fn of(rows: &Rows<'_>, of: Vec<usize>, kinds: &[Kind]) -> Taught {
        let names: &[String] = if kinds == [Kind::Words] { &rows.names } else { &[] };
        let blocks = blocks(rows, &of, kinds, names);
        let mut features = Matrix::new(blocks.iter().map(Block::n_columns).sum());
        of.iter().for_each(|&row| features.push_sparse(&entries(&blocks, &rows.rows[row].evidence, &rows.raw[row])));
        for name in names {
            features.push_sparse(&entries(&blocks, &Evidence { text: name, logprobs: &[], state: None }, &[]));
        }
        let labels = of.iter().map(|&row| rows.labels[row]).chain(0..names.len()).collect();
        Taught { blocks, features, labels }
    }

    /// A regression, and the labels that it knows; `None` where there is one label only.
    fn regression(&self, n_seen: usize, Pull { strength, penalty }: Pull) -> Option<(Expert, Vec<usize>)> {
        let settings =
            Settings { c: strength, penalty, tolerance: TOLERANCE, max_iterations: 300, ..Settings::default() };
        let linear = Linear::fit(&self.features, &self.labels, n_seen, &settings).ok()?;
        let (weights, intercepts) = linear.weights();
        #[allow(clippy::cast_possible_truncation)] // kept in single precision
        let weights = weights.iter().map(|&weight| weight as f32).collect();
        let expert = Expert { blocks: self.blocks.clone(), weights, intercepts: intercepts.to_vec() };
        Some((expert, linear.present().to_vec()))
    }
}

fn blocks(rows: &Rows<'_>, of: &[usize], kinds: &[Kind], names: &[String]) -> Vec<Block> {
    let block = |kind: &Kind| match kind {
        Kind::Logprobs => {
            let values: Vec<Vec<f64>> = of.iter().map(|&row| rows.raw[row].clone()).collect();
            let (mean, scale) = standardised(&values);
            Block::Logprobs { mean, scale }
        }
        Kind::Words => {
            let texts = of.iter().map(|&row| rows.rows[row].evidence.text);
            let texts: Vec<&str> = texts.chain(names.iter().map(String::as_str)).collect();
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
