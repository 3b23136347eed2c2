//! Whether subjects differ, judged on the same rows: paired tests, corrected for their number, with what these rows could show.

use serde::{Deserialize, Serialize};
use slm_stats::Confidence;
use slm_stats::classification::{Classes, Observation};
use slm_stats::paired::{
    Alternative, Margin, NonInferior, Pairs, Plan, bootstrap_difference, holm, smallest_difference,
};

use super::figures::closed;
use super::figures::labels::Labels;
use super::figures::rate::bootstrap;
use super::judge::is_right;
use super::record::Records;

/// The level below which a corrected p-value is called a difference.
pub const LEVEL: f64 = 0.05;

/// Two subjects, the second less the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub first: String,
    pub second: String,
    /// Rows that only the first, and only the second has right.
    pub only_first: u64,
    pub only_second: u64,
    /// Of the parts of rows with every field right, with Tango's 95 % interval.
    pub difference: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// McNemar's exact test, two-sided, and corrected by Holm for all comparisons of the report.
    pub p: f64,
    pub p_corrected: f64,
    /// Whether the corrected p-value is below 0.05.
    pub differs: bool,
    /// The smallest difference that these rows would have shown 4 times in 5, at the level 0.05 before correction; null where they
    /// could not have shown any.
    pub smallest: Option<f64>,
    /// Between two models: the macro-F1 of each field of labels.
    pub macro_f1: Vec<F1Difference>,
}

/// The second's macro-F1 of a field less the first's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct F1Difference {
    pub field: String,
    pub difference: f64,
    /// 95 %, by the paired bootstrap: both figures on the same resampled rows.
    pub low: f64,
    pub high: f64,
    /// Two-sided and of this one figure: not corrected for the number of comparisons.
    pub p: f64,
}

/// Whether a subject is at most a margin worse than the best model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NonInferiority {
    pub subject: String,
    pub reference: String,
    pub margin: f64,
    pub answer: Within,
    /// The 90 % interval of the difference, whose lower end alone has 95 %.
    pub low: f64,
    pub high: f64,
    /// Where these rows are too few: rows that would say yes 4 times in 5 if the two are equally good, and if the difference is as
    /// seen; null where no number would do.
    pub rows_if_equal: Option<u64>,
    pub rows_as_seen: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Within {
    Yes,
    No,
    TooFewRows,
}

/// Rows by which of two subjects has them right.
#[must_use]
pub fn pairs(records: &Records, first: usize, second: usize) -> Pairs {
    let right = |row: &super::record::Record, of: usize| is_right(row, row.answers[of].as_ref(), &records.fields);
    Pairs::count(records.rows.iter().map(|row| (right(row, first), right(row, second))))
}

/// Every model against every subject that stands before it.
#[must_use]
pub fn comparisons(records: &Records, labels: &[Option<Labels>]) -> Vec<Comparison> {
    let listed: Vec<usize> = (0..records.subjects.len()).filter(|&at| records.subjects[at].is_listed()).collect();
    let mut comparisons = Vec::new();
    for (nth, &second) in listed.iter().enumerate() {
        for &first in &listed[..nth] {
            let is_wanted = records.subjects[first].is_model() || records.subjects[second].is_model();
            if is_wanted && !records.rows.is_empty() {
                comparisons.push(Comparison::of(records, labels, first, second));
            }
        }
    }
    let corrected = holm(&comparisons.iter().map(|comparison| comparison.p).collect::<Vec<_>>());
    for (comparison, p) in comparisons.iter_mut().zip(corrected) {
        (comparison.p_corrected, comparison.differs) = (p, p < LEVEL);
    }
    comparisons
}

impl Comparison {
    fn of(records: &Records, labels: &[Option<Labels>], first: usize, second: usize) -> Comparison {
        let pairs = pairs(records, first, second);
        let interval = pairs.difference_interval(Confidence::USUAL);
        let p = pairs.mcnemar(Alternative::Differs);
        let smallest = pairs.disagreement().and_then(|share| smallest_difference(Plan::COMPARISON, pairs.n(), share));
        Comparison {
            first: records.subjects[first].name.clone(),
            second: records.subjects[second].name.clone(),
            only_first: pairs.only_first,
            only_second: pairs.only_second,
            difference: pairs.difference(),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            p,
            p_corrected: p,
            differs: p < LEVEL,
            smallest,
            macro_f1: if records.subjects[first].is_model() && records.subjects[second].is_model() {
                labels.iter().flatten().filter_map(|labels| f1_difference(records, labels, first, second)).collect()
            } else {
                Vec::new()
            },
        }
    }
}

fn f1_difference(records: &Records, labels: &Labels, first: usize, second: usize) -> Option<F1Difference> {
    let of = |subject: usize| closed::observations(records, subject, labels);
    let (first, second) = (of(first), of(second));
    let f1 = |observations: &[Observation], rows: &[usize]| {
        Classes::count(labels.labels.len(), rows.iter().map(|&row| observations[row])).macro_f1()
    };
    let found = bootstrap_difference(&bootstrap(), first.len(), |rows| f1(&first, rows), |rows| f1(&second, rows))?;
    Some(F1Difference {
        field: records.fields[labels.field()].name.clone(),
        difference: found.difference,
        low: found.interval.low,
        high: found.interval.high,
        p: found.p_value,
    })
}

/// Every model but the best against the best one; of equals the first is the best.
#[must_use]
pub fn non_inferiority(records: &Records, margin: Margin) -> Vec<NonInferiority> {
    let models: Vec<usize> = (0..records.subjects.len()).filter(|&at| records.subjects[at].is_model()).collect();
    let n_right = |of: usize| {
        let right = |row: &&super::record::Record| is_right(row, row.answers[of].as_ref(), &records.fields);
        records.rows.iter().filter(right).count()
    };
    let Some(&best) = models.iter().rev().max_by_key(|&&of| n_right(of)) else { return Vec::new() };
    let others = models.iter().filter(|&&of| of != best);
    let one = |&of: &usize| {
        let answer = pairs(records, best, of).non_inferior(margin, Confidence::USUAL)?;
        let (within, interval, rows_if_equal, rows_as_seen) = match answer {
            NonInferior::Yes { interval } => (Within::Yes, interval, None, None),
            NonInferior::No { interval } => (Within::No, interval, None, None),
            NonInferior::TooFewRows { interval, rows_if_equal, rows_as_seen } => {
                (Within::TooFewRows, interval, rows_if_equal, rows_as_seen)
            }
        };
        Some(NonInferiority {
            subject: records.subjects[of].name.clone(),
            reference: records.subjects[best].name.clone(),
            margin: margin.difference(),
            answer: within,
            low: interval.low,
            high: interval.high,
            rows_if_equal,
            rows_as_seen,
        })
    };
    others.filter_map(one).collect()
}
