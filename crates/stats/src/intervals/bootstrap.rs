//! The bootstrap: what a figure would have been on other rows, from the rows that there are.

use super::{Confidence, Interval, normal_quantile};
use crate::number::{Count, mean, quantile_of_sorted};
use crate::random::Random;
use statrs::distribution::{ContinuousCDF, Normal};

/// Resamples rows with replacement. Efron and Tibshirani, An introduction to the bootstrap (1993), chapters 13 and 14.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// The same seed gives the same resamples.
    pub seed: u64,
    pub n_resamples: usize,
    pub confidence: Confidence,
}

impl Default for Bootstrap {
    /// 2,000 resamples (the ends of a 95 % interval then vary with the seed by about a fortieth of its width), seed 0, 95 %.
    fn default() -> Self {
        Bootstrap { seed: 0, n_resamples: 2000, confidence: Confidence::USUAL }
    }
}

impl Bootstrap {
    /// The figure of each resample, in the order of the draws. `statistic` gets the indices of the rows, each below `n_rows`
    /// and some several times; where it gives `None` (no class left, no row answered) the resample is left out. Two figures of
    /// one seed and number of rows are computed on the same resamples.
    pub fn resamples(&self, n_rows: usize, mut statistic: impl FnMut(&[usize]) -> Option<f64>) -> Vec<f64> {
        let mut random = Random::seeded(self.seed);
        let mut rows = vec![0; n_rows];
        let draw = |_| {
            random.resample(&mut rows);
            statistic(&rows)
        };
        if n_rows == 0 { Vec::new() } else { (0..self.n_resamples).filter_map(draw).collect() }
    }

    /// The percentile interval of a figure of rows; `None` where no resample has a figure.
    pub fn percentile(&self, n_rows: usize, statistic: impl FnMut(&[usize]) -> Option<f64>) -> Option<Interval> {
        percentile_interval(self.resamples(n_rows, statistic), self.confidence)
    }

    /// The interval with corrected bias and acceleration (`BCa`): for a skewed figure its coverage is closer to the stated one
    /// than the percentile interval's, for one more evaluation a row. `None` where no resample has a figure.
    pub fn bca(&self, n_rows: usize, mut statistic: impl FnMut(&[usize]) -> Option<f64>) -> Option<Interval> {
        let all: Vec<usize> = (0..n_rows).collect();
        let value = statistic(&all)?;
        let mut without_one = |left_out: usize| {
            let rows: Vec<usize> = (0..n_rows).filter(|&row| row != left_out).collect();
            statistic(&rows)
        };
        let jackknife: Vec<f64> = (0..n_rows).filter_map(&mut without_one).collect();
        bca_interval(value, self.resamples(n_rows, statistic), &jackknife, self.confidence)
    }
}

/// The quantiles of the resampled figures that leave the same share on both sides (scipy's `bootstrap(method="percentile")`).
#[must_use]
pub fn percentile_interval(mut resampled: Vec<f64>, confidence: Confidence) -> Option<Interval> {
    resampled.sort_by(f64::total_cmp);
    let tail = confidence.error() / 2.0;
    let end = |q| quantile_of_sorted(&resampled, q);
    (!resampled.is_empty()).then(|| Interval { low: end(tail), high: end(1.0 - tail) })
}

/// The `BCa` interval from a figure, its resamples and its values without one row each (scipy's `bootstrap(method="BCa")`).
/// Where all resamples lie on one side of the figure the correction has no value, and the percentile interval is given.
#[must_use]
pub fn bca_interval(
    value: f64,
    mut resampled: Vec<f64>,
    jackknife: &[f64],
    confidence: Confidence,
) -> Option<Interval> {
    resampled.sort_by(f64::total_cmp);
    let n = resampled.len().float();
    let below = resampled.iter().filter(|&&r| r < value).count().float();
    let not_above = resampled.iter().filter(|&&r| r <= value).count().float();
    // The share below, with half of the ties, as scipy's `percentileofscore(kind="mean")`.
    let share = (below + not_above) / (2.0 * n);
    if !(share > 0.0 && share < 1.0) {
        return percentile_interval(resampled, confidence);
    }
    let bias = normal_quantile(share);
    let centre = mean(jackknife.iter().copied())?;
    let (mut squares, mut cubes) = (0.0, 0.0);
    for one in jackknife {
        squares += (centre - one).powi(2);
        cubes += (centre - one).powi(3);
    }
    let acceleration = if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 };
    let end = |z: f64| {
        let moved = bias + (bias + z) / (1.0 - acceleration * (bias + z));
        quantile_of_sorted(&resampled, Normal::standard().cdf(moved))
    };
    let z = confidence.z();
    Some(Interval { low: end(-z), high: end(z) })
}

#[cfg(test)]
mod tests {
    use super::Bootstrap;
    use crate::intervals::{Confidence, Proportion};

    fn rate(rows: &[bool]) -> impl Fn(&[usize]) -> Option<f64> {
        |drawn| Proportion::of(drawn.iter().map(|&row| rows[row])).value()
    }

    #[test]
    fn a_rates_interval_is_near_wilsons_and_the_same_again() {
        let rows: Vec<bool> = (0..400).map(|row| row % 4 != 0).collect();
        let bootstrap = Bootstrap::default();
        let found = bootstrap.percentile(rows.len(), rate(&rows)).expect("there are rows");
        let wilson = Proportion::of(rows.iter().copied()).wilson(Confidence::USUAL).expect("there are rows");
        assert!(
            (found.low - wilson.low).abs() < 0.01 && (found.high - wilson.high).abs() < 0.01,
            "{found:?} {wilson:?}"
        );
        assert_eq!(bootstrap.percentile(rows.len(), rate(&rows)), Some(found));
        let other = Bootstrap { seed: 1, ..bootstrap }.percentile(rows.len(), rate(&rows));
        assert_ne!(other, Some(found), "another seed draws other rows");
    }

    #[test]
    fn a_figure_that_never_varies_has_no_width_and_no_rows_no_interval() {
        let bootstrap = Bootstrap::default();
        for found in [bootstrap.percentile(9, rate(&[true; 9])), bootstrap.bca(9, rate(&[true; 9]))] {
            let found = found.expect("there are rows");
            assert!((found.low, found.high) == (1.0, 1.0), "{found:?}");
        }
        assert_eq!((bootstrap.percentile(0, rate(&[])), bootstrap.bca(0, rate(&[]))), (None, None));
    }

    /// 300 samples of 80 rows with a true rate of 0.7: the interval holds it about 95 times in 100.
    #[test]
    fn an_interval_holds_the_truth_as_often_as_it_says() {
        let mut random = crate::Random::seeded(7);
        let mut held = 0;
        for seed in 0..300 {
            let rows: Vec<bool> = (0..80).map(|_| random.below(10) < 7).collect();
            let bootstrap = Bootstrap { seed, n_resamples: 400, confidence: Confidence::USUAL };
            held += u32::from(bootstrap.percentile(80, rate(&rows)).expect("there are rows").contains(0.7));
        }
        assert!((270..=297).contains(&held), "{held} of 300");
    }
}
