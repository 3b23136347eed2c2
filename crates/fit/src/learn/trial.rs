//! How good a method's probabilities are on rows that it had not seen, and whether it is better than doing nothing.

use slm_stats::intervals::Bootstrap;
use slm_stats::paired::{Alternative, Pairs, bootstrap_difference};
use slm_stats::probabilistic::{Bins, GUO_BINS, Graded};
use slm_stats::{Confidence, Proportion};

use crate::card::Figures;
use crate::evidence::best;

/// Resamples of intervals and of the paired test.
const RESAMPLES: usize = 1000;

/// Probabilities of rows with their labels, by option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub probabilities: &'a [Vec<f64>],
    pub truths: &'a [usize],
}

impl Judged<'_> {
    pub fn graded(&self) -> Vec<Graded> {
        let row = |(p, &truth): (&Vec<f64>, &usize)| {
            let answer = best(p);
            Graded { confidence: p[answer], is_right: answer == truth }
        };
        self.probabilities.iter().zip(self.truths).map(row).collect()
    }

    /// By row, in nats.
    pub fn losses(&self) -> Vec<f64> {
        let loss = |(p, &truth): (&Vec<f64>, &usize)| -libm::log(p[truth].max(f64::EPSILON));
        self.probabilities.iter().zip(self.truths).map(loss).collect()
    }

    pub fn figures(&self) -> Figures {
        let graded = self.graded();
        let losses = self.losses();
        let n = losses.len().max(1);
        Figures {
            rows: graded.len() as u64,
            accuracy: Proportion::of(graded.iter().map(|row| row.is_right)).value().unwrap_or_default(),
            nll: losses.iter().sum::<f64>() / super::float(n),
            ece: calibration_error(&graded),
        }
    }

    /// 95 % intervals of accuracy, likelihood and calibration error.
    pub fn intervals(&self) -> [[f64; 2]; 3] {
        let graded = self.graded();
        let losses = self.losses();
        let accuracy = Proportion::of(graded.iter().map(|row| row.is_right)).wilson(Confidence::USUAL);
        let bootstrap = Bootstrap { n_resamples: RESAMPLES / 4, ..Bootstrap::default() };
        let nll = bootstrap.percentile(losses.len(), |rows| mean(&losses, rows));
        let ece = bootstrap.percentile(graded.len(), |rows| {
            Some(calibration_error(&rows.iter().map(|&row| graded[row]).collect::<Vec<_>>()))
        });
        [accuracy, nll, ece].map(|interval| interval.map_or([0.0, 0.0], |interval| [interval.low, interval.high]))
    }
}

fn mean(values: &[f64], rows: &[usize]) -> Option<f64> {
    (!rows.is_empty()).then(|| rows.iter().map(|&row| values[row]).sum::<f64>() / super::float(rows.len()))
}

/// In 15 bins of equal width, as evaluations tell it.
pub(crate) fn calibration_error(graded: &[Graded]) -> f64 {
    Bins::equal_width(graded, GUO_BINS).expected_error().unwrap_or_default()
}

/// One-sided, by the paired bootstrap: how likely the second's likelihood would be as much better if it were not.
pub(super) fn p_of_better(first: &[f64], second: &[f64]) -> f64 {
    let bootstrap = Bootstrap { n_resamples: RESAMPLES, ..Bootstrap::default() };
    let compared = bootstrap_difference(&bootstrap, first.len(), |rows| mean(first, rows), |rows| mean(second, rows));
    match compared {
        Some(found) if found.difference < 0.0 => found.p_value / 2.0,
        Some(found) => 1.0 - found.p_value / 2.0,
        None => 1.0,
    }
}

/// One-sided, by McNemar's exact test: how likely the second would have so many fewer rows right if it were as good.
pub(super) fn p_of_less_right(first: &[Graded], second: &[Graded]) -> f64 {
    let pairs = Pairs::count(first.iter().zip(second).map(|(one, other)| (one.is_right, other.is_right)));
    pairs.mcnemar(Alternative::SecondIsWorse)
}
