//! Whether the probabilities can be trusted: negative log-likelihood, Brier score, calibration error; pure numbers.
//!
//! Only answered rows count here: a failed row has no probabilities. Every value agrees with scikit-learn's and NumPy's
//! (`tests/golden/metrics.py`).

use super::metrics::{float, mean};

/// The number of bins of the expected calibration error: 15 of equal width, as in Guo et al. 2017.
pub const BINS: usize = 15;

/// One answered row: the probabilities of the candidates, and which of them was answered and which expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// One for each candidate, 0..=1, summing to 1.
    pub probabilities: Vec<f64>,
    /// The candidate that was answered.
    pub answer: usize,
    /// The candidate that was expected; `None` where the expected label is not a candidate, whose probability is then 0.
    pub truth: Option<usize>,
}

impl Scored {
    fn probability(&self, candidate: usize) -> f64 {
        self.probabilities.get(candidate).copied().unwrap_or(0.0)
    }
}

/// The mean of `-ln p(truth)`, in nats: 0 is perfect, `ln k` is a uniform guess among k. As scikit-learn's `log_loss`,
/// p is clipped to `eps..=1-eps` with the machine epsilon 2.2e-16, so that one certain mistake costs 36 nats instead of
/// infinity. `None` for no rows.
#[must_use]
pub fn log_loss(rows: &[Scored]) -> Option<f64> {
    let p_truth = |row: &Scored| row.truth.map_or(0.0, |t| row.probability(t));
    mean(rows.iter().map(|row| -p_truth(row).clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()))
}

/// The mean over rows of `sum over labels (p - y)^2`, where y is 1 for the expected label and 0 for the others: 0 is
/// perfect, 2 the worst. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78
/// (1950), equation 2; the same for two labels, so that fields can be compared: scikit-learn's
/// `brier_score_loss(scale_by_half=False)`. `None` for no rows.
#[must_use]
pub fn brier(rows: &[Scored]) -> Option<f64> {
    mean(rows.iter().map(|row| {
        let squares = row.probabilities.iter().enumerate().map(|(i, p)| {
            let y = if row.truth == Some(i) { 1.0 } else { 0.0 };
            (p - y) * (p - y)
        });
        let outside = if row.truth.is_none() { 1.0 } else { 0.0 };
        squares.sum::<f64>() + outside
    }))
}

/// The rows whose confidence, the probability of the answer, falls into one bin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    pub rows: u64,
    /// The sum of the rows' confidences.
    confidence: f64,
    hits: u64,
}

impl Bin {
    /// The mean probability of the answers; `None` for an empty bin.
    #[must_use]
    pub fn confidence(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.confidence / float(self.rows))
    }

    /// The part of the answers that is right; `None` for an empty bin.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        (self.rows > 0).then(|| float(self.hits) / float(self.rows))
    }
}

/// The rows by confidence in [`BINS`] bins of equal width. Bin b holds `b/15 < confidence <= (b+1)/15`; the first also 0.
#[must_use]
pub fn bins(rows: &[Scored]) -> [Bin; BINS] {
    let mut bins = [Bin { rows: 0, confidence: 0.0, hits: 0 }; BINS];
    for row in rows {
        let confidence = row.probability(row.answer);
        let upper = |b: usize| float(b as u64 + 1) / float(BINS as u64);
        let bin = &mut bins[(0..BINS - 1).find(|&b| confidence <= upper(b)).unwrap_or(BINS - 1)];
        bin.rows += 1;
        bin.confidence += confidence;
        bin.hits += u64::from(row.truth == Some(row.answer));
    }
    bins
}

/// The expected calibration error: the mean over rows of `|accuracy - confidence|` of the row's bin, 0 (a probability of
/// 0.8 is right 8 times in 10) to 1. Guo et al., On calibration of modern neural networks, ICML 2017, equation 3, of the
/// answer's own probability. `None` for no rows.
#[must_use]
pub fn expected_calibration_error(bins: &[Bin; BINS]) -> Option<f64> {
    let n: u64 = bins.iter().map(|b| b.rows).sum();
    (n > 0).then(|| bins.iter().map(|b| (float(b.hits) - b.confidence).abs()).sum::<f64>() / float(n))
}

#[cfg(test)]
mod tests {
    use super::super::golden::{Golden, close};
    use super::{BINS, Scored, bins, brier, expected_calibration_error, log_loss};
    use proptest::prelude::*;

    #[test]
    fn every_score_agrees_with_scikit_learn() {
        let golden = Golden::load();
        assert_eq!(golden.bins, BINS);
        for case in &golden.metrics {
            let rows = case.scored();
            let bins = bins(&rows);
            let Some(nll) = case.log_loss else {
                assert_eq!((log_loss(&rows), brier(&rows), expected_calibration_error(&bins)), (None, None, None));
                continue;
            };
            close(&case.name, "log loss", log_loss(&rows), nll);
            close(&case.name, "Brier score", brier(&rows), case.brier.expect("there with the log loss"));
            close(&case.name, "ECE", expected_calibration_error(&bins), case.ece.expect("there with the log loss"));
            assert_eq!(Some(bins.iter().map(|b| b.rows).collect()), case.bin_counts, "{}", case.name);
        }
    }

    #[test]
    fn a_truth_that_is_no_candidate_is_a_candidate_of_probability_0() {
        for case in &Golden::load().metrics {
            let without = |row: Scored| {
                // The last label, where nothing was ever put on it, taken out of the candidates.
                let last = row.probabilities.len() - 1;
                let mut probabilities = row.probabilities;
                (probabilities.pop() == Some(0.0)).then_some(Scored {
                    probabilities,
                    truth: row.truth.filter(|&t| t != last),
                    ..row
                })
            };
            let rows: Option<Vec<Scored>> = case.scored().into_iter().map(without).collect();
            if let (Some(rows), Some(nll), Some(score)) = (rows, case.log_loss, case.brier) {
                close(&case.name, "log loss", log_loss(&rows), nll);
                close(&case.name, "Brier score", brier(&rows), score);
            }
        }
    }

    fn scored() -> impl Strategy<Value = Scored> {
        (prop::collection::vec(0.0_f64..1.0, 2..8), prop::option::of(0_usize..8)).prop_map(|(weights, truth)| {
            let sum: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            let probabilities: Vec<f64> = weights.iter().map(|w| w / sum).collect();
            let answer = (0..probabilities.len())
                .max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]))
                .expect("at least two weights");
            let truth = truth.filter(|&t| t < probabilities.len());
            Scored { probabilities, answer, truth }
        })
    }

    proptest! {
        #[test]
        fn scores_keep_their_bounds_in_any_order(
            (rows, shuffled) in prop::collection::vec(scored(), 1..40)
                .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        ) {
            let all = |rows: &[Scored]| {
                [log_loss(rows), brier(rows), expected_calibration_error(&bins(rows))].map(|x| x.expect("there are rows"))
            };
            let [nll, score, ece] = all(&rows);
            prop_assert!((0.0..=36.05).contains(&nll), "log loss {}", nll);
            prop_assert!((0.0..=2.0 + 1e-12).contains(&score), "Brier score {}", score);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&ece), "calibration error {}", ece);
            for (a, b) in [nll, score, ece].into_iter().zip(all(&shuffled)) {
                prop_assert!((a - b).abs() < 1e-12);
            }
            prop_assert_eq!(bins(&rows).iter().map(|b| b.rows).sum::<u64>(), rows.len() as u64);
        }
    }
}
