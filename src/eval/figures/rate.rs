//! Shares and other figures with the interval in which they lie.

use serde::{Deserialize, Serialize};
use slm_stats::intervals::{Bootstrap, percentile_interval};
use slm_stats::{Confidence, Interval, Proportion};

/// Resamples of each bootstrap.
pub const N_RESAMPLES: usize = 1000;
/// The seed of each bootstrap, so that equal rows have equal intervals.
pub const SEED: u64 = 20_261_130;

/// A part of rows, with its 95 % interval by Wilson's formula.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub hits: u64,
    pub rows: u64,
    /// Null for no rows.
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// Any other figure, with its 95 % interval by the percentile bootstrap over rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

impl From<Proportion> for Rate {
    fn from(proportion: Proportion) -> Rate {
        let interval = proportion.wilson(Confidence::USUAL);
        Rate {
            hits: proportion.hits,
            rows: proportion.n,
            value: proportion.value(),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
        }
    }
}

impl Rate {
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = bool>) -> Rate {
        Proportion::of(rows).into()
    }

    #[must_use]
    pub fn figure(self) -> Figure {
        Figure { value: self.value, low: self.low, high: self.high }
    }
}

impl Figure {
    #[must_use]
    pub fn bare(value: Option<f64>) -> Figure {
        Figure { value, low: None, high: None }
    }

    fn with(value: Option<f64>, interval: Option<Interval>) -> Figure {
        let interval = interval.filter(|_| value.is_some());
        Figure { value, low: interval.map(|i| i.low), high: interval.map(|i| i.high) }
    }
}

/// The bootstrap of every report.
#[must_use]
pub fn bootstrap() -> Bootstrap {
    Bootstrap { seed: SEED, n_resamples: N_RESAMPLES, confidence: Confidence::USUAL }
}

/// Several figures of the same rows, their intervals from the same resamples. `compute` gets the indices of rows.
pub fn figures<const N: usize>(n_rows: usize, compute: impl Fn(&[usize]) -> [Option<f64>; N]) -> [Figure; N] {
    let all: Vec<usize> = (0..n_rows).collect();
    let values = compute(&all);
    let mut resampled: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(N_RESAMPLES));
    let _ = bootstrap().resamples(n_rows, |rows| {
        for (all, value) in resampled.iter_mut().zip(compute(rows)) {
            all.extend(value);
        }
        None
    });
    let mut resampled = resampled.into_iter();
    std::array::from_fn(|nth| {
        let resampled = resampled.next().unwrap_or_default();
        Figure::with(values[nth], percentile_interval(resampled, Confidence::USUAL))
    })
}

/// The mean of each row's value, with its interval.
#[must_use]
pub fn mean(values: &[f64]) -> Figure {
    let of = |rows: &[usize]| {
        let sum: f64 = rows.iter().map(|&row| values[row]).sum();
        [(!rows.is_empty()).then(|| sum / rows.len() as f64)]
    };
    let [mean] = figures(values.len(), of);
    mean
}
