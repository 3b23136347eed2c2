//! What quantizing did to a model: its answers beside the original's on the same rows. It knows two subjects' records and no
//! weights but their sizes.

use serde::Serialize;
use slm_stats::Confidence;
use slm_stats::paired::{Alternative, holm};

use super::compare::{LEVEL, pairs};
use super::figures::rate::Rate;
use super::figures::speed::{Speed, speed};
use super::judge::is_right;
use super::record::{Record, Records, RowAnswer};

/// A probability below this counts as this one: an answer that the second model rules out would be infinitely far away.
const LEAST_PROBABILITY: f64 = 1e-9;

/// The size of a subject's weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WeightSize {
    pub n_bytes: u64,
    pub bits_per_weight: f64,
}

/// The original and what became of it in each type, the largest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftReport {
    pub data: String,
    pub rows: usize,
    pub original: Quantized,
    pub quantized: Vec<Quantized>,
    /// The first type that is worse than the original beyond chance; none where no type is.
    pub cliff: Option<String>,
    /// The smallest of the types before it; none where the first is worse already.
    pub smallest_not_worse: Option<String>,
}

/// A model in one type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantized {
    pub name: String,
    #[serde(flatten)]
    pub size: WeightSize,
    /// Rows with every field right.
    pub accuracy: Rate,
    /// In this run; null where all answers were kept from before.
    pub rows_per_second: Option<f64>,
    pub peak_memory_bytes: Option<u64>,
    /// `None` of the original.
    pub drift: Option<Drift>,
}

/// How far one model's answers are from the original's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Rows in which the answer to any field is another one.
    pub flips: Rate,
    /// The Kullback-Leibler divergence of the original's probabilities from this model's, in nats, summed over a row's fields: its
    /// mean and its largest value, with the row that has it. None without probabilities.
    pub mean_divergence: Option<f64>,
    pub worst_divergence: Option<f64>,
    pub worst_row: Option<String>,
    /// Rows that only the original, and only this model has right.
    pub only_original: u64,
    pub only_quantized: u64,
    /// Of the accuracies, with Tango's 95 % interval.
    pub difference: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// McNemar's exact test, two-sided, and corrected by Holm for all types.
    pub p: f64,
    pub p_corrected: f64,
    /// Whether it is worse beyond chance.
    pub is_worse: bool,
}

impl DriftReport {
    /// The first subject is the original, the others are what became of it; `sizes` has one for each.
    #[must_use]
    pub fn of(records: &Records, sizes: &[WeightSize]) -> DriftReport {
        let subjects: Vec<usize> = (0..records.subjects.len()).filter(|&at| records.subjects[at].is_listed()).collect();
        let mut all: Vec<Quantized> = subjects
            .iter()
            .zip(sizes)
            .map(|(&at, &size)| quantized(records, at, size, (at != subjects[0]).then_some(subjects[0])))
            .collect();
        let original = all.remove(0);
        all.sort_by_key(|one| std::cmp::Reverse(one.size.n_bytes));
        let corrected = holm(&all.iter().filter_map(|one| Some(one.drift.as_ref()?.p)).collect::<Vec<_>>());
        for (drift, p) in all.iter_mut().filter_map(|one| one.drift.as_mut()).zip(corrected) {
            drift.p_corrected = p;
            drift.is_worse = p < LEVEL && drift.only_original > drift.only_quantized;
        }
        let at = all.iter().position(|one| one.drift.as_ref().is_some_and(|drift| drift.is_worse));
        let before = &all[..at.unwrap_or(all.len())];
        DriftReport {
            data: records.data.clone(),
            rows: records.rows.len(),
            cliff: at.map(|at| all[at].name.clone()),
            smallest_not_worse: before.last().map(|one| one.name.clone()),
            original,
            quantized: all,
        }
    }
}

fn quantized(records: &Records, at: usize, size: WeightSize, original: Option<usize>) -> Quantized {
    let right = |row: &Record| is_right(row, row.answers[at].as_ref(), &records.fields);
    let speed: Option<Speed> = speed(records, at);
    Quantized {
        name: records.subjects[at].name.clone(),
        size,
        accuracy: Rate::of(records.rows.iter().map(right)),
        rows_per_second: speed.and_then(|speed| speed.rows_per_second),
        peak_memory_bytes: speed.and_then(|speed| speed.peak_memory_bytes),
        drift: original.map(|original| drift(records, original, at)),
    }
}

fn drift(records: &Records, original: usize, at: usize) -> Drift {
    let flip = |row: &Record| is_flip(row.answers[original].as_ref(), row.answers[at].as_ref());
    let of_row = |row: &Record| {
        let divergence = divergence(row.answers[original].as_ref()?, row.answers[at].as_ref()?)?;
        Some((divergence, row.at.clone()))
    };
    let divergences: Vec<(f64, String)> = records.rows.iter().filter_map(of_row).collect();
    let sum: f64 = divergences.iter().map(|(divergence, _)| divergence).sum();
    let worst = divergences.iter().max_by(|one, other| one.0.total_cmp(&other.0));
    let pairs = pairs(records, original, at);
    let interval = pairs.difference_interval(Confidence::USUAL);
    let p = pairs.mcnemar(Alternative::Differs);
    Drift {
        flips: Rate::of(records.rows.iter().map(flip)),
        mean_divergence: (!divergences.is_empty()).then(|| sum / divergences.len() as f64),
        worst_divergence: worst.map(|(divergence, _)| *divergence),
        worst_row: worst.map(|(_, row)| row.clone()),
        only_original: pairs.only_first,
        only_quantized: pairs.only_second,
        difference: pairs.difference(),
        low: interval.map(|interval| interval.low),
        high: interval.map(|interval| interval.high),
        p,
        p_corrected: p,
        is_worse: false,
    }
}

/// Whether two answers to a row are not the same; one that failed is another than one that did not.
fn is_flip(first: Option<&RowAnswer>, second: Option<&RowAnswer>) -> bool {
    let fields = |answer: Option<&RowAnswer>| answer.and_then(|answer| answer.fields.clone().ok());
    match (fields(first), fields(second)) {
        (Some(first), Some(second)) => first.iter().zip(&second).any(|(first, second)| first.value != second.value),
        (first, second) => first.is_some() != second.is_some(),
    }
}

/// Over the fields that have probabilities; `None` where none has.
fn divergence(first: &RowAnswer, second: &RowAnswer) -> Option<f64> {
    let (first, second) = (first.fields.as_ref().ok()?, second.fields.as_ref().ok()?);
    let fields = first.iter().zip(second).map(|(first, second)| (&first.probabilities, &second.probabilities));
    let known: Vec<f64> = fields
        .filter(|(first, second)| !first.is_empty() && first.len() == second.len())
        .map(|(first, second)| kullback_leibler(first, second))
        .collect();
    (!known.is_empty()).then(|| known.iter().sum())
}

/// The divergence of `p` from `q` in nats.
fn kullback_leibler(p: &[f64], q: &[f64]) -> f64 {
    let term = |(&p, &q): (&f64, &f64)| {
        let (p, q) = (p.max(LEAST_PROBABILITY), q.max(LEAST_PROBABILITY));
        p * (p / q).ln()
    };
    // Rounding can bring equal distributions below zero.
    p.iter().zip(q).map(term).sum::<f64>().max(0.0)
}

#[cfg(test)]
mod tests;
