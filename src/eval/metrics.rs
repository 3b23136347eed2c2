//! Counts and what they say: accuracy, Wilson interval, precision, recall, F1, confusion, percentiles; pure numbers.
//!
//! Labels are numbers from 0. Every value agrees with scikit-learn's, NumPy's and SciPy's (`tests/golden/metrics.py`).

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

/// `hits` of `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proportion {
    pub hits: u64,
    pub n: u64,
}

impl Proportion {
    /// The rows answered as expected, of all rows: those that failed or could not be read are in `n`.
    #[must_use]
    pub fn accuracy(observations: &[Observation]) -> Self {
        let right = |o: &&Observation| matches!(o, Observation::Answered { truth, answer } if truth == answer);
        Proportion { hits: observations.iter().filter(right).count() as u64, n: observations.len() as u64 }
    }

    /// `hits / n`; `None` for no rows.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        ratio(self.hits, self.n)
    }

    /// The 95 % score interval for a proportion, `(low, high)`; `None` for no rows. Wilson, Probable inference, the law
    /// of succession, and statistical inference, JASA 22 (1927): with z = 1.96 (the normal quantile of 0.975),
    /// `(p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`. It stays inside 0..1 and holds for few rows.
    #[must_use]
    pub fn wilson(self) -> Option<(f64, f64)> {
        const Z: f64 = 1.959_963_984_540_054;
        let p = self.value()?;
        let n = float(self.n);
        let scale = 1.0 + Z * Z / n;
        let centre = (p + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        // At 0 and n the formula gives exactly 0 and 1, which rounding would miss.
        let low = if self.hits == 0 { 0.0 } else { (centre - half).max(0.0) };
        let high = if self.hits == self.n { 1.0 } else { (centre + half).min(1.0) };
        Some((low, high))
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
    /// The counts of each of `n_labels` labels.
    ///
    /// # Panics
    ///
    /// If an observation's label is not below `n_labels`.
    #[must_use]
    pub fn count(n_labels: usize, observations: &[Observation]) -> Vec<Class> {
        let mut classes = vec![Class::default(); n_labels];
        for observation in observations {
            match *observation {
                Observation::Answered { truth, answer } => {
                    classes[truth].support += 1;
                    classes[answer].answered += 1;
                    classes[truth].true_positives += u64::from(truth == answer);
                }
                Observation::Failed { truth } => classes[truth].support += 1,
                Observation::Unreadable => {}
            }
        }
        classes
    }

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
}

/// The mean F1 of the labels that occur in the truth or in the answers, each with the same weight (scikit-learn's
/// `f1_score(average="macro", zero_division=0)`); failing is not a label. `None` where no label occurs.
#[must_use]
pub fn macro_f1(classes: &[Class]) -> Option<f64> {
    let f1: Vec<f64> = classes.iter().filter(|c| c.is_present()).map(|c| c.f1()).collect();
    mean(f1.into_iter())
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
    /// If an observation's label is not below `n_labels`.
    #[must_use]
    pub fn new(n_labels: usize, observations: &[Observation]) -> Self {
        let mut out = Confusion { counts: vec![vec![0; n_labels]; n_labels], failed: vec![0; n_labels], unreadable: 0 };
        for observation in observations {
            match *observation {
                Observation::Answered { truth, answer } => out.counts[truth][answer] += 1,
                Observation::Failed { truth } => out.failed[truth] += 1,
                Observation::Unreadable => out.unreadable += 1,
            }
        }
        out
    }
}

/// The value below which the part `q` (0..=1) of `values` lies, interpolated linearly between its neighbours (NumPy's
/// default method, type 7 of Hyndman and Fan 1996). `None` for no values.
#[must_use]
pub fn percentile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let rank = q.clamp(0.0, 1.0) * float(last as u64);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 <= rank <= last
    let below = rank.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * rank.fract())
}

/// `None` for no values.
pub(super) fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let n = values.len();
    (n > 0).then(|| values.sum::<f64>() / float(n as u64))
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}

#[allow(clippy::cast_precision_loss)] // numbers of rows, far below 2^53
pub(super) fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::super::golden::{Golden, close};
    use super::{Class, Confusion, Observation, Proportion, macro_f1, percentile};
    use proptest::prelude::*;

    #[test]
    fn every_count_agrees_with_scikit_learn() {
        let golden = Golden::load();
        assert!(golden.metrics.len() >= 18, "the golden file has {} cases", golden.metrics.len());
        for case in &golden.metrics {
            let (observations, n_labels) = (case.observations(), case.n_labels());
            let accuracy = Proportion::accuracy(&observations);
            close(&case.name, "accuracy", accuracy.value(), case.accuracy);
            let (low, high) = accuracy.wilson().expect("every case has rows");
            close(&case.name, "low", Some(low), case.interval[0]);
            close(&case.name, "high", Some(high), case.interval[1]);

            let classes = Class::count(n_labels, &observations);
            let present: Vec<usize> = (0..n_labels).filter(|&i| classes[i].is_present()).collect();
            assert_eq!(present, case.present, "{}", case.name);
            for (nth, class) in present.iter().map(|&i| classes[i]).enumerate() {
                close(&case.name, "precision", Some(class.precision()), case.precision[nth]);
                close(&case.name, "recall", Some(class.recall()), case.recall[nth]);
                close(&case.name, "F1", Some(class.f1()), case.f1[nth]);
                assert_eq!(class.support, case.support[nth], "{}", case.name);
            }
            close(&case.name, "macro-F1", macro_f1(&classes), case.macro_f1);

            let confusion = Confusion::new(n_labels, &observations);
            assert_eq!(confusion.counts, case.confusion, "{}", case.name);
            assert_eq!(confusion.failed, case.confusion_failed, "{}", case.name);
        }
    }

    #[test]
    fn percentiles_agree_with_numpy() {
        for case in Golden::load().percentiles {
            close("percentiles", "p50", percentile(&case.values, 0.5), case.p50);
            close("percentiles", "p95", percentile(&case.values, 0.95), case.p95);
        }
    }

    #[test]
    fn nothing_is_claimed_of_no_rows() {
        let none = Proportion::accuracy(&[]);
        assert_eq!((none.value(), none.wilson(), macro_f1(&[]), percentile(&[], 0.5)), (None, None, None, None));
        assert_eq!(macro_f1(&Class::count(3, &[Observation::Unreadable])), None);
    }

    #[test]
    fn a_row_that_could_not_be_read_is_wrong_and_of_no_label() {
        let rows = [Observation::Answered { truth: 0, answer: 0 }, Observation::Unreadable];
        assert_eq!(Proportion::accuracy(&rows).value(), Some(0.5));
        assert_eq!(macro_f1(&Class::count(1, &rows)), Some(1.0));
        assert_eq!(Confusion::new(1, &rows), Confusion { counts: vec![vec![1]], failed: vec![0], unreadable: 1 });
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
            let (confusion, classes) = (Confusion::new(5, &rows), Class::count(5, &rows));
            let total = confusion.counts.iter().flatten().chain(&confusion.failed).sum::<u64>() + confusion.unreadable;
            prop_assert_eq!(total, rows.len() as u64);
            let diagonal: u64 = (0..5).map(|i| confusion.counts[i][i]).sum();
            prop_assert_eq!(diagonal, Proportion::accuracy(&rows).hits);
            prop_assert_eq!(diagonal, classes.iter().map(|c| c.true_positives).sum::<u64>());

            let accuracy = Proportion::accuracy(&rows);
            let (low, high) = accuracy.wilson().expect("there are rows");
            let p = accuracy.value().expect("there are rows");
            prop_assert!(0.0 <= low && low <= p && p <= high && high <= 1.0, "{} {} {}", low, p, high);
            prop_assert!(macro_f1(&classes).is_none_or(|f1| (0.0..=1.0).contains(&f1)));

            prop_assert_eq!(&confusion, &Confusion::new(5, &shuffled));
            prop_assert_eq!(macro_f1(&classes), macro_f1(&Class::count(5, &shuffled)));
            prop_assert_eq!(accuracy, Proportion::accuracy(&shuffled));
        }

        #[test]
        fn an_interval_narrows_with_more_rows(hits in 0_u64..50, misses in 1_u64..50) {
            let few = Proportion { hits, n: hits + misses }.wilson().expect("there are rows");
            let many = Proportion { hits: hits * 4, n: (hits + misses) * 4 }.wilson().expect("there are rows");
            prop_assert!(many.1 - many.0 < few.1 - few.0);
        }

        #[test]
        fn a_percentile_is_between_the_extremes(values in prop::collection::vec(-1e6_f64..1e6, 1..50), q in 0.0_f64..=1.0) {
            let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
            let at = percentile(&values, q).expect("there are values");
            prop_assert!(low <= at && at <= high);
        }
    }
}
