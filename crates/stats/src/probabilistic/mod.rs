//! Whether the probabilities can be trusted: negative log-likelihood, Brier score, top-k, calibration, and what a threshold buys.
//!
//! A failed row has no probabilities. The scores (log-likelihood, Brier) are those of the answered rows, and who shows them
//! says how many failed; where rows are counted (top-k, coverage), a failed row is a wrong one.

mod calibration;
mod coverage;

pub use calibration::{Bin, Bins, GUO_BINS};
pub use coverage::{Accepted, RiskCoverage};

use crate::intervals::Proportion;
use crate::number::mean;

/// One answered row: the probabilities of the candidates, and which of them was expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<'a> {
    /// One for each candidate, 0..=1, summing to 1.
    pub probabilities: &'a [f64],
    /// The candidate that was expected; `None` where the expected label is not a candidate, whose probability is then 0.
    pub truth: Option<usize>,
}

impl Scored<'_> {
    fn of_truth(&self) -> f64 {
        self.truth.and_then(|truth| self.probabilities.get(truth)).copied().unwrap_or(0.0)
    }

    /// Whether the truth is among the `k` most probable; of equal ones the first candidate counts as the more probable, as it
    /// does for who answers with the first of the best.
    fn is_within(&self, k: usize) -> bool {
        let Some(truth) = self.truth else { return false };
        let own = self.of_truth();
        let is_before = |(i, p): &(usize, &f64)| **p > own || **p == own && *i < truth;
        self.probabilities.iter().enumerate().filter(is_before).count() < k
    }
}

/// An answer that was graded: how sure it was, and whether it is right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Graded {
    /// The probability of the answer, or any score that is higher the surer it is.
    pub confidence: f64,
    pub is_right: bool,
}

impl Graded {
    /// A row that failed: wrong, and accepted last.
    pub const FAILED: Graded = Graded { confidence: 0.0, is_right: false };
}

/// The mean of `-ln p(truth)`, in nats: 0 is perfect, `ln k` is a uniform guess among k. As scikit-learn's `log_loss`,
/// p is clipped to `eps..=1-eps` with the machine epsilon 2.2e-16, so that one certain mistake costs 36 nats instead of
/// infinity. `None` for no rows.
#[must_use]
pub fn log_loss<'a>(rows: impl IntoIterator<Item = Scored<'a>>) -> Option<f64> {
    mean(rows.into_iter().map(|row| -row.of_truth().clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()))
}

/// The mean over rows of `sum over labels (p - y)^2`, where y is 1 for the expected label and 0 for the others: 0 is
/// perfect, 2 the worst. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78
/// (1950), equation 2; the same for two labels, so that fields can be compared: scikit-learn's
/// `brier_score_loss(scale_by_half=False)`. `None` for no rows.
#[must_use]
pub fn brier<'a>(rows: impl IntoIterator<Item = Scored<'a>>) -> Option<f64> {
    mean(rows.into_iter().map(|row| {
        let squares = row.probabilities.iter().enumerate().map(|(i, p)| {
            let y = if row.truth == Some(i) { 1.0 } else { 0.0 };
            (p - y) * (p - y)
        });
        let outside = if row.truth.is_some_and(|truth| truth < row.probabilities.len()) { 0.0 } else { 1.0 };
        squares.sum::<f64>() + outside
    }))
}

/// The rows whose expected label is among the `k` most probable, of all rows: `None` is a row that failed. Of equal
/// probabilities the first candidate's counts as the higher (scikit-learn's `top_k_accuracy_score` takes the last).
#[must_use]
pub fn top_k<'a>(rows: impl IntoIterator<Item = Option<Scored<'a>>>, k: usize) -> Proportion {
    Proportion::of(rows.into_iter().map(|row| row.is_some_and(|row| row.is_within(k))))
}

/// The logarithm of a probability's odds; 0 and 1 are taken for 1e-9 and as much below 1, so that it is finite.
#[must_use]
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    libm::log(p / (1.0 - p))
}

#[cfg(test)]
mod tests {
    use super::{Scored, brier, log_loss, top_k};
    use proptest::prelude::*;

    #[test]
    fn nothing_is_claimed_of_no_rows() {
        assert_eq!((log_loss([]), brier([]), top_k([], 1).value()), (None, None, None));
    }

    #[test]
    fn a_truth_that_is_no_candidate_costs_the_most() {
        let row = Scored { probabilities: &[1.0, 0.0], truth: None };
        assert_eq!(brier([row]), Some(2.0));
        assert!(log_loss([row]).is_some_and(|loss| loss > 36.0));
        assert_eq!(top_k([Some(row)], 2).hits, 0);
    }

    #[test]
    fn of_equals_the_first_is_the_more_probable() {
        let row = |truth| Some(Scored { probabilities: &[0.25, 0.25, 0.25, 0.25], truth: Some(truth) });
        assert_eq!((0..4).map(|truth| top_k([row(truth)], 2).hits).collect::<Vec<_>>(), [1, 1, 0, 0]);
        assert_eq!(top_k([row(0), None], 1).value(), Some(0.5));
    }

    proptest! {
        #[test]
        fn scores_stay_in_their_bounds(rows in prop::collection::vec((prop::collection::vec(0.01_f64..1.0, 4), 0..4_usize), 1..30)) {
            let normalised: Vec<(Vec<f64>, usize)> = rows.into_iter().map(|(weights, truth)| {
                let sum: f64 = weights.iter().sum();
                (weights.iter().map(|w| w / sum).collect(), truth)
            }).collect();
            let scored = || normalised.iter().map(|(probabilities, truth)| Scored { probabilities, truth: Some(*truth) });
            prop_assert!((0.0..=2.0).contains(&brier(scored()).expect("there are rows")));
            prop_assert!(log_loss(scored()).expect("there are rows") >= 0.0);
            let hits: Vec<u64> = (0..=4).map(|k| top_k(scored().map(Some), k).hits).collect();
            prop_assert!(hits.is_sorted() && hits[0] == 0 && hits[4] == normalised.len() as u64, "{:?}", hits);
        }
    }
}
