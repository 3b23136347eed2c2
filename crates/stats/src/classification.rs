//! What was answered against what was expected: counts, accuracy, precision, recall, F1, Matthews; one label a row.
//!
//! A failed row is wrong and a miss of its label: it stays in every denominator.

use crate::intervals::Proportion;
use crate::number::{Count, mean, ratio};

/// What came of one row, for one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// The expected label and the one that was answered.
    Answered { truth: usize, answer: usize },
    /// No answer came: wrong, and a miss of the expected label.
    Failed { truth: usize },
    /// The row itself could not be read: wrong, and of no label.
    Unreadable,
}

impl Observation {
    /// What came of a row: `truth` is `None` where the row could not be read, `answer` where it failed.
    #[must_use]
    pub fn new(truth: Option<usize>, answer: Option<usize>) -> Self {
        match (truth, answer) {
            (Some(truth), Some(answer)) => Observation::Answered { truth, answer },
            (Some(truth), None) => Observation::Failed { truth },
            (None, _) => Observation::Unreadable,
        }
    }

    /// Whether the answer is the expected label.
    #[must_use]
    pub fn is_right(self) -> bool {
        matches!(self, Observation::Answered { truth, answer } if truth == answer)
    }
}

/// The counts of one label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Class {
    /// Rows that expect it and were answered with it.
    pub true_positives: u64,
    /// Rows that were answered with it.
    pub answered: u64,
    /// Rows that expect it, failed ones among them.
    pub support: u64,
}

impl Class {
    /// Whether a row expects the label or was answered with it.
    #[must_use]
    pub fn is_present(self) -> bool {
        self.support > 0 || self.answered > 0
    }

    /// The part of its answers that is right; 0 where it was never answered (scikit-learn's `zero_division=0`).
    #[must_use]
    pub fn precision(self) -> f64 {
        ratio(self.true_positives, self.answered).unwrap_or(0.0)
    }

    /// The part of its rows that was found, a failed row being a miss; 0 where no row expects it.
    #[must_use]
    pub fn recall(self) -> f64 {
        ratio(self.true_positives, self.support).unwrap_or(0.0)
    }

    /// The harmonic mean of precision and recall, `2 tp / (answered + support)`; 0 where neither is defined.
    #[must_use]
    pub fn f1(self) -> f64 {
        ratio(2 * self.true_positives, self.answered + self.support).unwrap_or(0.0)
    }

    /// The rows that were answered with it, as a proportion of which precision is the value.
    #[must_use]
    pub fn precision_proportion(self) -> Proportion {
        Proportion { hits: self.true_positives, n: self.answered }
    }

    /// The rows that expect it, as a proportion of which recall is the value.
    #[must_use]
    pub fn recall_proportion(self) -> Proportion {
        Proportion { hits: self.true_positives, n: self.support }
    }
}

/// The counts of all labels, from which come all figures but the matrix itself. Cheap enough for every resample of a bootstrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// By label.
    pub classes: Vec<Class>,
    /// Rows that failed.
    pub n_failed: u64,
    /// Rows that could not be read, which belong to no label.
    pub n_unreadable: u64,
}

impl Classes {
    /// Counts rows over `n_labels` labels.
    ///
    /// # Panics
    ///
    /// If a label is not below `n_labels`.
    #[must_use]
    pub fn count(n_labels: usize, rows: impl IntoIterator<Item = Observation>) -> Self {
        let mut out = Classes { classes: vec![Class::default(); n_labels], n_failed: 0, n_unreadable: 0 };
        for row in rows {
            match row {
                Observation::Answered { truth, answer } => {
                    out.classes[truth].support += 1;
                    out.classes[answer].answered += 1;
                    out.classes[truth].true_positives += u64::from(truth == answer);
                }
                Observation::Failed { truth } => {
                    out.classes[truth].support += 1;
                    out.n_failed += 1;
                }
                Observation::Unreadable => out.n_unreadable += 1,
            }
        }
        out
    }

    /// The rows answered as expected, of all rows: those that failed or could not be read are in `n`.
    #[must_use]
    pub fn accuracy(&self) -> Proportion {
        Proportion { hits: self.n_hits(), n: self.n_with_truth() + self.n_unreadable }
    }

    /// The mean recall of the labels that a row expects (scikit-learn's `balanced_accuracy_score`). `None` if no row expects a label.
    #[must_use]
    pub fn balanced_accuracy(&self) -> Option<f64> {
        mean(self.classes.iter().filter(|class| class.support > 0).map(|class| class.recall()))
    }

    /// The mean F1 of the labels that occur in the truth or in the answers, each with the same weight (scikit-learn's
    /// `f1_score(average="macro", zero_division=0)`); failing is not a label. `None` where no label occurs.
    #[must_use]
    pub fn macro_f1(&self) -> Option<f64> {
        mean(self.present().map(Class::f1))
    }

    /// The mean precision of the labels that occur, as in [`Classes::macro_f1`].
    #[must_use]
    pub fn macro_precision(&self) -> Option<f64> {
        mean(self.present().map(Class::precision))
    }

    /// The mean recall of the labels that occur, as in [`Classes::macro_f1`].
    #[must_use]
    pub fn macro_recall(&self) -> Option<f64> {
        mean(self.present().map(Class::recall))
    }

    /// The right answers of all answers (`average="micro"`): with one label a row the accuracy of the rows that did not fail.
    #[must_use]
    pub fn micro_precision(&self) -> Option<f64> {
        ratio(self.n_hits(), self.n_answered())
    }

    /// The right answers of all rows that could be read: failed ones are misses.
    #[must_use]
    pub fn micro_recall(&self) -> Option<f64> {
        ratio(self.n_hits(), self.n_with_truth())
    }

    /// The harmonic mean of the two: `2 tp / (answers + rows)`; the accuracy where no row failed.
    #[must_use]
    pub fn micro_f1(&self) -> Option<f64> {
        ratio(2 * self.n_hits(), self.n_answered() + self.n_with_truth())
    }

    /// The mean F1 of the labels, weighted by the rows that expect each (`average="weighted"`). `None` for no rows.
    #[must_use]
    pub fn weighted_f1(&self) -> Option<f64> {
        let n = self.n_with_truth();
        let sum: f64 = self.classes.iter().map(|class| class.support.float() * class.f1()).sum();
        (n > 0).then(|| sum / n.float())
    }

    /// The correlation of truth and answer, -1..=1, 0 for chance: Gorodkin, Comparing two K-category assignments by a
    /// K-category correlation coefficient (2004), as scikit-learn's `matthews_corrcoef`. A failed row counts as the answer of a
    /// label of its own that no row expects. 0 where truth or answers never vary; `None` for no rows.
    #[must_use]
    pub fn matthews(&self) -> Option<f64> {
        let n = self.n_with_truth();
        let sum = |of: fn(&Class) -> f64| self.classes.iter().map(of).sum::<f64>();
        let (n_rows, hits, failed) = (n.float(), self.n_hits().float(), self.n_failed.float());
        let answers_squared = sum(|class| class.answered.float() * class.answered.float()) + failed * failed;
        let truths_squared = sum(|class| class.support.float() * class.support.float());
        let covariance = hits * n_rows - sum(|class| class.answered.float() * class.support.float());
        let variances = (n_rows * n_rows - answers_squared) * (n_rows * n_rows - truths_squared);
        (n > 0).then(|| if variances > 0.0 { covariance / variances.sqrt() } else { 0.0 })
    }

    fn present(&self) -> impl Iterator<Item = Class> {
        self.classes.iter().copied().filter(|class| class.is_present())
    }

    fn n_hits(&self) -> u64 {
        self.classes.iter().map(|class| class.true_positives).sum()
    }

    fn n_answered(&self) -> u64 {
        self.classes.iter().map(|class| class.answered).sum()
    }

    fn n_with_truth(&self) -> u64 {
        self.classes.iter().map(|class| class.support).sum()
    }
}

/// How often each label was answered where another, or itself, was expected. All its counts sum to the number of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// `counts[truth][answer]`.
    pub counts: Vec<Vec<u64>>,
    /// Failed rows by the label that was expected.
    pub failed: Vec<u64>,
    /// Rows that could not be read.
    pub unreadable: u64,
}

impl Confusion {
    /// The matrix over `n_labels` labels.
    ///
    /// # Panics
    ///
    /// If a label is not below `n_labels`.
    #[must_use]
    pub fn count(n_labels: usize, rows: impl IntoIterator<Item = Observation>) -> Self {
        let mut out = Confusion { counts: vec![vec![0; n_labels]; n_labels], failed: vec![0; n_labels], unreadable: 0 };
        for row in rows {
            match row {
                Observation::Answered { truth, answer } => out.counts[truth][answer] += 1,
                Observation::Failed { truth } => out.failed[truth] += 1,
                Observation::Unreadable => out.unreadable += 1,
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Classes, Confusion, Observation};
    use proptest::prelude::*;

    #[test]
    fn nothing_is_claimed_of_no_rows() {
        let none = Classes::count(3, []);
        assert_eq!(none.accuracy().value(), None);
        assert_eq!((none.macro_f1(), none.weighted_f1(), none.micro_f1()), (None, None, None));
        assert_eq!((none.balanced_accuracy(), none.matthews()), (None, None));
        assert_eq!(Classes::count(3, [Observation::Unreadable]).macro_f1(), None);
    }

    #[test]
    fn a_row_that_could_not_be_read_is_wrong_and_of_no_label() {
        let rows = [Observation::Answered { truth: 0, answer: 0 }, Observation::Unreadable];
        let classes = Classes::count(1, rows);
        assert_eq!((classes.accuracy().value(), classes.macro_f1()), (Some(0.5), Some(1.0)));
        assert_eq!(Confusion::count(1, rows), Confusion { counts: vec![vec![1]], failed: vec![0], unreadable: 1 });
    }

    fn observation(n_labels: usize) -> impl Strategy<Value = Observation> {
        let label = 0..n_labels;
        prop_oneof![
            8 => (label.clone(), label.clone()).prop_map(|(truth, answer)| Observation::Answered { truth, answer }),
            1 => label.prop_map(|truth| Observation::Failed { truth }),
            1 => Just(Observation::Unreadable),
        ]
    }

    proptest! {
        #[test]
        fn counts_hold_together_in_any_order(
            (rows, shuffled) in prop::collection::vec(observation(5), 1..60)
                .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        ) {
            let (confusion, classes) = (Confusion::count(5, rows.clone()), Classes::count(5, rows.clone()));
            let n_read = confusion.counts.iter().flatten().chain(&confusion.failed).sum::<u64>();
            prop_assert_eq!(n_read + confusion.unreadable, rows.len() as u64);
            prop_assert_eq!(classes.accuracy().n, rows.len() as u64);
            prop_assert_eq!((0..5).map(|i| confusion.counts[i][i]).sum::<u64>(), classes.accuracy().hits);
            for rate in [classes.macro_f1(), classes.weighted_f1(), classes.micro_f1(), classes.balanced_accuracy()] {
                prop_assert!(rate.is_none_or(|rate| (0.0..=1.0 + 1e-12).contains(&rate)), "{:?}", rate);
            }
            prop_assert!(classes.matthews().is_none_or(|phi| phi.abs() <= 1.0 + 1e-12));
            prop_assert_eq!(&classes, &Classes::count(5, shuffled.clone()));
            prop_assert_eq!(confusion, Confusion::count(5, shuffled));
        }

        #[test]
        fn without_failures_micro_f1_is_accuracy(rows in prop::collection::vec((0..4_usize, 0..4_usize), 1..60)) {
            let classes = Classes::count(4, rows.into_iter().map(|(t, a)| Observation::new(Some(t), Some(a))));
            prop_assert_eq!(classes.micro_f1(), classes.accuracy().value());
        }
    }
}
