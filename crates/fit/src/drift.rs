//! Whether answers are still spread as they were when the fit was made, and whether its promise still holds.

use slm_stats::paired::holm;
use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, DiscreteCDF};

use crate::card::{Histogram, Reference};
use crate::evidence::best;
use crate::learn::float;

/// Bins of a histogram: with more, a stability index of a few hundred rows is mostly chance.
const BINS: usize = 10;
/// The level of all tests together.
pub const LEVEL: f64 = 0.05;
/// A population stability index from which on a change counts; below it, it is small however sure.
pub const MODERATE: f64 = 0.1;
/// What an empty bin counts, so that an index is finite.
const HALF: f64 = 0.5;

/// What may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    Labels,
    Confidences,
    Lengths,
}

impl std::fmt::Display for Aspect {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Aspect::Labels => "shares of labels",
            Aspect::Confidences => "confidences",
            Aspect::Lengths => "lengths of texts",
        })
    }
}

/// How one aspect has changed.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Change {
    pub aspect: Aspect,
    /// The population stability index: 0 for the same, 0.1 a moderate change, 0.25 a large one.
    pub stability_index: f64,
    /// Of a chi-squared test for labels, of Kolmogorov's and Smirnov's for the others; corrected for their number.
    pub p_value: f64,
}

impl Change {
    /// Whether it is more than chance, and more than little.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.p_value < LEVEL && self.stability_index >= MODERATE
    }
}

impl Reference {
    /// Of answers' probabilities and their texts' lengths in characters.
    #[must_use]
    pub fn of(probabilities: &[Vec<f64>], lengths: &[usize]) -> Self {
        let n_options = probabilities.first().map_or(0, Vec::len);
        let confidences: Vec<f64> = probabilities.iter().map(|p| p[best(p)]).collect();
        let lengths: Vec<f64> = lengths.iter().map(|&length| float(length)).collect();
        Reference {
            answers: answers(probabilities, n_options),
            confidences: Histogram::of(&confidences),
            lengths: Histogram::of(&lengths),
        }
    }

    /// How other answers differ from these.
    #[must_use]
    pub fn changes(&self, probabilities: &[Vec<f64>], lengths: &[usize]) -> Vec<Change> {
        let labels = answers(probabilities, self.answers.len());
        let confidences = self.confidences.counts_of(probabilities.iter().map(|p| p[best(p)]));
        let lengths = self.lengths.counts_of(lengths.iter().map(|&length| float(length)));
        let compared = [
            (Aspect::Labels, &self.answers, labels),
            (Aspect::Confidences, &self.confidences.counts, confidences),
            (Aspect::Lengths, &self.lengths.counts, lengths),
        ];
        let p_values: Vec<f64> = compared
            .iter()
            .map(|(aspect, before, now)| match aspect {
                Aspect::Labels => chi_squared(before, now),
                Aspect::Confidences | Aspect::Lengths => kolmogorov_smirnov(before, now),
            })
            .collect();
        let change = |((aspect, before, now), p_value): ((Aspect, &Vec<u64>, Vec<u64>), f64)| Change {
            aspect,
            stability_index: stability_index(before, &now),
            p_value,
        };
        compared.into_iter().zip(holm(&p_values)).map(change).collect()
    }
}

impl Histogram {
    /// With edges at quantiles of the values.
    fn of(values: &[f64]) -> Self {
        let mut edges: Vec<f64> =
            (1..BINS).filter_map(|nth| slm_stats::quantile(values, float(nth) / float(BINS))).collect();
        edges.dedup();
        let empty = Histogram { edges, counts: Vec::new() };
        let counts = empty.counts_of(values.iter().copied());
        Histogram { counts, ..empty }
    }

    fn counts_of(&self, values: impl Iterator<Item = f64>) -> Vec<u64> {
        let mut counts = vec![0; self.edges.len() + 1];
        values.for_each(|value| counts[self.edges.partition_point(|edge| *edge <= value)] += 1);
        counts
    }
}

fn answers(probabilities: &[Vec<f64>], n_options: usize) -> Vec<u64> {
    let mut counts = vec![0; n_options];
    for p in probabilities {
        if let Some(count) = counts.get_mut(best(p)) {
            *count += 1;
        }
    }
    counts
}

/// `sum (q - p) ln(q / p)` over bins, empty ones of either counted as half a row.
fn stability_index(before: &[u64], now: &[u64]) -> f64 {
    let share = |counts: &[u64], at: usize| {
        let n: u64 = counts.iter().sum();
        let own = if counts[at] == 0 { HALF } else { of(counts[at]) };
        own / of(n.max(1))
    };
    let bins = (0..before.len()).filter(|&at| before[at] + now[at] > 0);
    bins.map(|at| (share(now, at) - share(before, at)) * libm::log(share(now, at) / share(before, at))).sum()
}

/// Whether two lists of counts have the same shares: Pearson's test of homogeneity, labels with few rows in both put together so that
/// each expects five.
fn chi_squared(before: &[u64], now: &[u64]) -> f64 {
    let (n, m) = (of(before.iter().sum()), of(now.iter().sum()));
    if n == 0.0 || m == 0.0 {
        return 1.0;
    }
    let mut cells: Vec<(f64, f64)> = Vec::new();
    let mut rest = (0.0, 0.0);
    for (&one, &other) in before.iter().zip(now) {
        let pair = (of(one), of(other));
        let least = (pair.0 + pair.1) * n.min(m) / (n + m);
        if least >= 5.0 { cells.push(pair) } else { rest = (rest.0 + pair.0, rest.1 + pair.1) }
    }
    if rest.0 + rest.1 > 0.0 {
        cells.push(rest);
    }
    let statistic: f64 = cells
        .iter()
        .map(|(one, other)| {
            let (expected, other_expected) = ((one + other) * n / (n + m), (one + other) * m / (n + m));
            (one - expected).powi(2) / expected + (other - other_expected).powi(2) / other_expected
        })
        .sum();
    let freedom = float(cells.len()) - 1.0;
    ChiSquared::new(freedom).map_or(1.0, |chi| chi.sf(statistic))
}

/// The test of two samples on binned values, which is never sharper than on the values: the asymptotic distribution (Smirnov, Table for
/// estimating the goodness of fit of empirical distributions, 1948).
fn kolmogorov_smirnov(before: &[u64], now: &[u64]) -> f64 {
    let (n, m) = (of(before.iter().sum()), of(now.iter().sum()));
    if n == 0.0 || m == 0.0 {
        return 1.0;
    }
    let (mut one, mut other, mut largest) = (0.0, 0.0, 0.0_f64);
    for (before, now) in before.iter().zip(now) {
        (one, other) = (one + of(*before) / n, other + of(*now) / m);
        largest = largest.max((one - other).abs());
    }
    let size = (n * m / (n + m)).sqrt();
    // Stephens' correction for finite samples.
    let x = (size + 0.12 + 0.11 / size) * largest;
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * libm::exp(-2.0 * f64::from(k * k) * x * x)
    };
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

/// How likely so many errors or more would be if accepted answers had just the promised risk; below [`LEVEL`] the promise is broken.
#[must_use]
pub fn p_of_kept(risk: f64, accepted: u64, errors: u64) -> f64 {
    if errors == 0 {
        return 1.0;
    }
    Binomial::new(risk.clamp(0.0, 1.0), accepted).map_or(1.0, |binomial| binomial.sf(errors - 1))
}

#[allow(clippy::cast_precision_loss)] // counts of rows, far below 2^53
fn of(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::{chi_squared, kolmogorov_smirnov, p_of_kept};
    use crate::card::Reference;
    use slm_stats::Random;

    fn drawn(random: &mut Random, n: usize, shift: usize) -> (Vec<Vec<f64>>, Vec<usize>) {
        let mut row = || {
            let p = (500 + random.below(500 - shift)) as f64 / 1000.0;
            let answer = random.below(2);
            (if answer == 0 { vec![p, 1.0 - p] } else { vec![1.0 - p, p] }, 20 + random.below(100))
        };
        (0..n).map(|_| row()).unzip()
    }

    #[test]
    fn the_same_kind_of_rows_raises_no_alarm_and_another_does() {
        let mut random = Random::seeded(1);
        let mut alarms = 0;
        for _ in 0..200 {
            let (p, lengths) = drawn(&mut random, 300, 0);
            let reference = Reference::of(&p, &lengths);
            let (other, other_lengths) = drawn(&mut random, 300, 0);
            alarms += u32::from(reference.changes(&other, &other_lengths).iter().any(super::Change::counts));
        }
        // Five in a hundred of 200 are 10.
        assert!(alarms <= 16, "{alarms}");
        let (p, lengths) = drawn(&mut random, 300, 0);
        let (other, other_lengths) = drawn(&mut random, 300, 250);
        let changes = Reference::of(&p, &lengths).changes(&other, &other_lengths);
        assert!(changes[1].counts() && !changes[0].counts() && !changes[2].counts(), "{changes:?}");
    }

    #[test]
    fn tests_have_the_values_of_scipy() {
        // scipy.stats.chi2_contingency([[30, 70], [50, 50]], correction=False)
        assert!((chi_squared(&[30, 70], &[50, 50]) - 0.003_892_417_122_778_637).abs() < 1e-12);
        // Ten bins, of which the two samples have the largest difference 0.2: scipy.special.kolmogorov of the corrected statistic.
        let p = kolmogorov_smirnov(&[20; 5], &[40, 20, 20, 20, 0]);
        assert!((p - 0.031_376_652).abs() < 1e-6, "{p}");
        assert!((kolmogorov_smirnov(&[5; 4], &[5; 4]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_broken_promise_shows_in_its_errors() {
        assert!((p_of_kept(0.02, 100, 0) - 1.0).abs() < 1e-12);
        assert!(p_of_kept(0.02, 100, 3) > 0.3 && p_of_kept(0.02, 100, 8) < 0.001);
    }
}
