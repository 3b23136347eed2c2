//! Labelled rows as learning wants them: finite numbers, each text once for each label, and folds that no text is in twice.

use std::collections::HashMap;

use slm_stats::words::folds;

use super::{Labelled, LearnError};
use crate::evidence::normalised;

/// With fewer rows each fold's model has nine tenths of them.
const FEW_ROWS: usize = 150;

/// Rows that teach.
pub(super) struct Rows<'a> {
    /// The given rows that are kept.
    pub rows: Vec<&'a Labelled<'a>>,
    /// Their places among the given ones.
    pub places: Vec<usize>,
    /// Log-probabilities of all options, finite.
    pub raw: Vec<Vec<f64>>,
    /// By option.
    pub seen: Vec<bool>,
    /// The label of each row among the seen ones.
    pub labels: Vec<usize>,
    /// What the seen labels are called, in words.
    pub names: Vec<String>,
    pub fold_of: Vec<usize>,
    pub n_folds: usize,
}

impl<'a> Rows<'a> {
    pub fn new(given: &'a [Labelled<'a>], options: &[String], seed: u64) -> Result<Self, LearnError> {
        let n_options = options.len();
        for (row, labelled) in given.iter().enumerate() {
            if labelled.truth >= n_options || labelled.evidence.logprobs.len() != n_options {
                return Err(LearnError::NotOfTheField { row, n_options });
            }
        }
        let n_state = given.first().and_then(|row| row.evidence.state).map(<[f32]>::len);
        let is_other = |row: &Labelled<'_>| row.evidence.state.map(<[f32]>::len) != n_state;
        if let Some(row) = given.iter().position(is_other) {
            return Err(LearnError::States { row });
        }
        let mut group_of: HashMap<String, usize> = HashMap::new();
        let mut known: HashMap<(usize, usize), ()> = HashMap::new();
        let (mut rows, mut places, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (place, labelled) in given.iter().enumerate() {
            let n = group_of.len();
            let group = *group_of.entry(same_text(labelled.evidence.text)).or_insert(n);
            if known.insert((group, labelled.truth), ()).is_none() {
                rows.push(labelled);
                places.push(place);
                groups.push(group);
            }
        }
        let mut seen = vec![false; n_options];
        rows.iter().for_each(|row| seen[row.truth] = true);
        let n_seen = seen.iter().filter(|seen| **seen).count();
        if n_seen < 2 {
            return Err(LearnError::TooFewClasses { found: n_seen, rows: rows.len() });
        }
        let nth_seen: Vec<usize> =
            seen.iter().scan(0, |next, &seen| Some(std::mem::replace(next, *next + usize::from(seen)))).collect();
        let labels: Vec<usize> = rows.iter().map(|row| nth_seen[row.truth]).collect();
        let names = options.iter().zip(&seen).filter(|(_, seen)| **seen).map(|(option, _)| in_words(option)).collect();
        let raw = rows.iter().map(|row| normalised(row.evidence.logprobs)).collect();
        let n_folds = if rows.len() < FEW_ROWS { 10 } else { 5 }.min(rows.len());
        let fold_of = grouped_folds(&groups, &labels, n_folds, seed);
        Ok(Rows { rows, places, raw, seen, labels, names, fold_of, n_folds })
    }

    pub fn n(&self) -> usize {
        self.rows.len()
    }

    pub fn n_seen(&self) -> usize {
        self.seen.iter().filter(|seen| **seen).count()
    }

    /// The options that are right.
    pub fn truths(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.truth).collect()
    }

    /// How many rows each option has.
    pub fn by_option(&self) -> Vec<u64> {
        let mut counts = vec![0; self.seen.len()];
        self.rows.iter().for_each(|row| counts[row.truth] += 1);
        counts
    }

    /// What each row gets from what the rows of the other folds teach.
    pub fn cross_fitted<F: Fn(usize) -> Vec<f64>>(&self, teach: impl Fn(&[usize]) -> F) -> Vec<Vec<f64>> {
        let mut all = vec![Vec::new(); self.n()];
        for fold in 0..self.n_folds {
            let taught = teach(&self.outside(fold));
            self.inside(fold).into_iter().for_each(|row| all[row] = taught(row));
        }
        all
    }

    pub fn has_states(&self) -> bool {
        self.rows.first().is_some_and(|row| row.evidence.state.is_some())
    }

    /// The rows outside a fold.
    pub fn outside(&self, fold: usize) -> Vec<usize> {
        (0..self.n()).filter(|&row| self.fold_of[row] != fold).collect()
    }

    pub fn inside(&self, fold: usize) -> Vec<usize> {
        (0..self.n()).filter(|&row| self.fold_of[row] == fold).collect()
    }
}

/// A text by which another is the same: in lower case, white space as one blank.
pub(crate) fn same_text(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// A label as a text: what separates words in `card_arrival` and `card-arrival` as blanks.
fn in_words(label: &str) -> String {
    label.replace(['_', '-', '.', '/'], " ")
}

/// Folds with their share of every label, rows of one group in the same: that of its first row.
fn grouped_folds(groups: &[usize], labels: &[usize], n_folds: usize, seed: u64) -> Vec<usize> {
    let dealt = folds(labels, n_folds, seed);
    let mut of_group: HashMap<usize, usize> = HashMap::new();
    groups.iter().zip(dealt).map(|(&group, fold)| *of_group.entry(group).or_insert(fold)).collect()
}
