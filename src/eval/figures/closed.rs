//! The figures of a field of labels: F1 and its like, by label and together, and the matrix of confusions.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use slm_stats::classification::{Class, Classes, Confusion, Observation};
use slm_stats::probabilistic::{Scored, top_k};

use super::labels::Labels;
use super::rate::{Figure, Rate, figures};
use crate::eval::record::{Records, RowAnswer};

/// A contract has at most as many options; more labels are open text, and their matrix would be its square.
const MAX_MATRIX: usize = 255;

/// Over the labels in `classes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedFigures {
    /// The mean recall of the labels that a row expects.
    pub balanced_accuracy: Figure,
    /// The mean F1 of the labels that occur.
    pub macro_f1: Figure,
    /// The F1 of all rows together: the accuracy where no row failed.
    pub micro_f1: Figure,
    /// The mean F1, weighted by the rows that expect each label.
    pub weighted_f1: Figure,
    /// The correlation of truth and answer, 0 for chance.
    pub matthews: Figure,
    /// Rows whose expected label is among the k most probable; empty without probabilities.
    pub top_k: Vec<TopK>,
    /// The labels that occur in the truth or the answers: in the contract's order, then those that it does not have.
    pub classes: Vec<ClassFigures>,
    /// Null where there are more than 255 labels.
    pub confusion: Option<ConfusionFigures>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    pub k: usize,
    pub rate: Rate,
}

/// One label; 0 where a figure is undefined, as in scikit-learn with `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassFigures {
    pub label: Value,
    pub precision: Rate,
    /// A failed row is a miss of the label that it expects.
    pub recall: Rate,
    pub f1: f64,
    /// Rows that expect the label.
    pub support: u64,
    /// Rows that were answered with it.
    pub answered: u64,
}

/// The labels in the order of `classes`; all counts sum to the number of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfusionFigures {
    pub labels: Vec<Value>,
    /// `counts[expected][answered]`.
    pub counts: Vec<Vec<u64>>,
    /// Failed rows by expected label.
    pub failed: Vec<u64>,
    /// Rows that could not be read.
    pub unreadable: u64,
}

impl ClassFigures {
    /// A label's figures.
    #[must_use]
    pub fn of(label: Value, class: Class) -> ClassFigures {
        ClassFigures {
            label,
            precision: class.precision_proportion().into(),
            recall: class.recall_proportion().into(),
            f1: class.f1(),
            support: class.support,
            answered: class.answered,
        }
    }
}

/// The figures of a subject's answers to a field.
#[must_use]
pub fn figures_of(records: &Records, subject: usize, nth: usize, labels: &Labels) -> ClosedFigures {
    let observations = observations(records, subject, labels);
    let n_labels = labels.labels.len();
    let compute = |rows: &[usize]| {
        let classes = Classes::count(n_labels, rows.iter().map(|&row| observations[row]));
        [classes.balanced_accuracy(), classes.macro_f1(), classes.micro_f1(), classes.weighted_f1(), classes.matthews()]
    };
    let [balanced_accuracy, macro_f1, micro_f1, weighted_f1, matthews] = figures(observations.len(), compute);
    let classes = Classes::count(n_labels, observations.iter().copied()).classes;
    let present: Vec<usize> = (0..n_labels).filter(|&label| classes[label].is_present()).collect();
    ClosedFigures {
        balanced_accuracy,
        macro_f1,
        micro_f1,
        weighted_f1,
        matthews,
        top_k: tops(records, subject, nth, labels),
        classes: present.iter().map(|&i| ClassFigures::of(labels.labels[i].clone(), classes[i])).collect(),
        confusion: (present.len() <= MAX_MATRIX).then(|| confusion(&observations, &present, labels)),
    }
}

/// What came of each row.
#[must_use]
pub fn observations(records: &Records, subject: usize, labels: &Labels) -> Vec<Observation> {
    records.rows.iter().map(|row| labels.observation(row, row.answers[subject].as_ref())).collect()
}

fn confusion(observations: &[Observation], present: &[usize], labels: &Labels) -> ConfusionFigures {
    let mut place = vec![0; labels.labels.len()];
    for (at, &label) in present.iter().enumerate() {
        place[label] = at;
    }
    let placed = observations.iter().map(|observation| match *observation {
        Observation::Answered { truth, answer } => Observation::Answered { truth: place[truth], answer: place[answer] },
        Observation::Failed { truth } => Observation::Failed { truth: place[truth] },
        Observation::Unreadable => Observation::Unreadable,
    });
    let Confusion { counts, failed, unreadable } = Confusion::count(present.len(), placed);
    let labels = present.iter().map(|&i| labels.labels[i].clone()).collect();
    ConfusionFigures { labels, counts, failed, unreadable }
}

fn tops(records: &Records, subject: usize, nth: usize, labels: &Labels) -> Vec<TopK> {
    let probabilities = |answer: &RowAnswer| match &answer.fields {
        Ok(fields) if !fields[nth].probabilities.is_empty() => Some(fields[nth].probabilities.clone()),
        _ => None,
    };
    let rows: Vec<(Option<Vec<f64>>, Option<usize>)> = records
        .rows
        .iter()
        .map(|row| (row.answers[subject].as_ref().and_then(probabilities), labels.truth(row)))
        .collect();
    if rows.iter().all(|(probabilities, _)| probabilities.is_none()) {
        return Vec::new();
    }
    let of = |k: usize| {
        let scored = rows.iter().map(|(probabilities, truth)| {
            let truth = truth.filter(|&truth| truth < labels.n_candidates);
            probabilities.as_ref().map(|probabilities| Scored { probabilities, truth })
        });
        TopK { k, rate: top_k(scored, k).into() }
    };
    [2, 3, 5].into_iter().filter(|&k| k < labels.n_candidates).map(of).collect()
}
