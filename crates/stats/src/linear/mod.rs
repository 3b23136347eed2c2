//! Logistic regression: labels from features, with probabilities; the same data give the same bits on every machine.
//!
//! The objective is scikit-learn's `LogisticRegression(C=c)`: `c * sum over rows of weight * -ln p(label) + |W|^2 / 2`, the
//! intercepts unpenalised; with two labels one set of coefficients, for the second label, with more a softmax over all. It is
//! convex with one minimum, found by L-BFGS (Liu and Nocedal, On the limited memory BFGS method for large scale optimization,
//! Mathematical Programming 45, 1989). Exponentials and logarithms are those of the `libm` crate, which are the same everywhere.

mod cholesky;
mod gram;
mod matrix;
mod solver;
mod within;

pub use matrix::Matrix;

use crate::number::Count;
use solver::{Problem, Stop};

/// How a model is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How much the rows weigh against the pull towards 0: the inverse strength of the penalty, above 0.
    pub c: f64,
    pub weights: ClassWeights,
    pub penalty: Penalty,
    /// The largest entry of the gradient of the objective, divided by c times the rows' weight, that ends the search.
    pub tolerance: f64,
    pub max_iterations: usize,
}

impl Default for Settings {
    /// scikit-learn's `C=1` without class weights, solved to six digits or so.
    fn default() -> Self {
        Settings {
            c: 1.0,
            weights: ClassWeights::Equal,
            penalty: Penalty::Squares,
            tolerance: 1e-6,
            max_iterations: 1000,
        }
    }
}

/// What weights cost, in the place of `|W|^2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Penalty {
    /// Their squares.
    Squares,
    /// More along directions in which rows of one class differ, less along the others: `W^T S W`, S being the covariance within
    /// classes shrunk by this much, above 0 and below 1, towards directions that all cost the same. It is what many features and few
    /// rows of many classes gain by; learning takes a time with the cube of the rows.
    WithinClasses { shrinkage: f64 },
}

/// What a row of a class weighs.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassWeights {
    /// Every row 1.
    Equal,
    /// Every class the same in sum: `rows / (classes * rows of the class)`, of the classes that occur (`class_weight="balanced"`).
    Balanced,
    /// By label.
    Given(Vec<f64>),
}

/// Why there is no model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    #[error("there are {labels} labels for {rows} rows; give each row one")]
    Lengths { rows: usize, labels: usize },
    #[error("row {row} has label {label}, but there are {n_classes} classes; labels are counted from 0")]
    LabelOutside { row: usize, label: usize, n_classes: usize },
    #[error("the rows have {found} different labels; at least 2 are needed to tell them apart")]
    TooFewClasses { found: usize },
    #[error("row {row} has the value `{value}`; features must be finite numbers")]
    NotFinite { row: usize, value: f64 },
    #[error("`{0}` is not a strength; give a number above 0")]
    Strength(f64),
    #[error("`{0}` is not a shrinkage; give a number above 0 and below 1")]
    Shrinkage(f64),
    #[error("there are {weights} class weights for {n_classes} classes; give each class a finite weight above 0")]
    Weights { weights: usize, n_classes: usize },
}

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    n_classes: usize,
    n_columns: usize,
    /// The classes that occurred in the rows, ascending; the others have probability 0.
    present: Vec<usize>,
    /// By column, then by output: one output for two present classes (the second's), otherwise one for each.
    weights: Vec<f64>,
    intercepts: Vec<f64>,
    /// How the search ended.
    pub search: Search,
}

/// How the search for the minimum ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    pub n_iterations: usize,
    /// The largest entry of the gradient, as in [`Settings::tolerance`]: below it, or the iterations were used up.
    pub gradient: f64,
}

impl Linear {
    /// Fits rows and their labels, each below `n_classes`. A class without rows is never answered.
    ///
    /// # Errors
    ///
    /// [`FitError`] where the rows, labels or settings do not fit together.
    pub fn fit(rows: &Matrix, labels: &[usize], n_classes: usize, settings: &Settings) -> Result<Self, FitError> {
        let present = checked(rows, labels, n_classes, settings)?;
        let targets: Vec<usize> =
            labels.iter().map(|label| present.binary_search(label).expect("it was found in the labels")).collect();
        let row_weights = row_weights(&targets, &present, settings);
        let n_outputs = if present.len() == 2 { 1 } else { present.len() };
        let stop = Stop { tolerance: settings.tolerance, max_iterations: settings.max_iterations };
        let solve = |rows: &Matrix| {
            Problem { rows, targets: &targets, row_weights: &row_weights, n_outputs, c: settings.c }.solve(stop)
        };
        let reduced = match settings.penalty {
            Penalty::Squares => gram::Reduced::of(rows, n_outputs),
            Penalty::WithinClasses { shrinkage } => Some(gram::Reduced::within_classes(rows, &targets, shrinkage)),
        };
        let solution = match reduced {
            Some(reduced) => {
                let mut solution = solve(&reduced.rows);
                solution.weights = reduced.weights(rows, solution.weights, n_outputs);
                solution
            }
            None => solve(rows),
        };
        Ok(Linear {
            n_classes,
            n_columns: rows.n_columns(),
            present,
            weights: solution.weights,
            intercepts: solution.intercepts,
            search: Search { n_iterations: solution.n_iterations, gradient: solution.gradient },
        })
    }

    #[must_use]
    pub fn n_classes(&self) -> usize {
        self.n_classes
    }

    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// The classes that occurred in the rows, ascending.
    #[must_use]
    pub fn present(&self) -> &[usize] {
        &self.present
    }

    /// The weights by column, then by output, and the intercepts: one output for two present classes, the second's, otherwise
    /// one for each.
    #[must_use]
    pub fn weights(&self) -> (&[f64], &[f64]) {
        (&self.weights, &self.intercepts)
    }

    /// The probabilities of a row by class, from its columns and their values. Columns that the model does not have count for
    /// nothing.
    #[must_use]
    pub fn probabilities(&self, entries: impl IntoIterator<Item = (u32, f64)>) -> Vec<f64> {
        let mut scores = self.intercepts.clone();
        let n_outputs = scores.len();
        for (column, value) in entries {
            let Some(weights) = self.weights.chunks_exact(n_outputs).nth(column as usize) else { continue };
            for (score, weight) in scores.iter_mut().zip(weights) {
                *score += value * weight;
            }
        }
        if n_outputs == 1 {
            scores.insert(0, 0.0);
        }
        solver::softmax(&mut scores);
        let mut by_class = vec![0.0; self.n_classes];
        for (&class, p) in self.present.iter().zip(scores) {
            by_class[class] = p;
        }
        by_class
    }

    /// The score of a class by column, and its intercept, such that probabilities are the softmax of scores. With two classes
    /// the first has none, and the second scikit-learn's single `coef_`. `None` for a class without rows.
    #[must_use]
    pub fn coefficients(&self, class: usize) -> Option<(Vec<f64>, f64)> {
        let nth = self.present.binary_search(&class).ok()?;
        let n_outputs = self.intercepts.len();
        let output = if n_outputs == 1 { nth.checked_sub(1) } else { Some(nth) };
        Some(match output {
            Some(output) => {
                let column = self.weights.iter().skip(output).step_by(n_outputs).copied();
                (column.collect(), self.intercepts[output])
            }
            None => (vec![0.0; self.n_columns], 0.0),
        })
    }
}

/// The classes that occur, ascending.
fn checked(rows: &Matrix, labels: &[usize], n_classes: usize, settings: &Settings) -> Result<Vec<usize>, FitError> {
    if labels.len() != rows.n_rows() {
        return Err(FitError::Lengths { rows: rows.n_rows(), labels: labels.len() });
    }
    if !(settings.c > 0.0 && settings.c.is_finite()) {
        return Err(FitError::Strength(settings.c));
    }
    if let Penalty::WithinClasses { shrinkage } = settings.penalty
        && !(shrinkage > 0.0 && shrinkage < 1.0)
    {
        return Err(FitError::Shrinkage(shrinkage));
    }
    if let ClassWeights::Given(weights) = &settings.weights
        && (weights.len() != n_classes || !weights.iter().all(|weight| *weight > 0.0 && weight.is_finite()))
    {
        return Err(FitError::Weights { weights: weights.len(), n_classes });
    }
    if let Some((row, &label)) = labels.iter().enumerate().find(|(_, label)| **label >= n_classes) {
        return Err(FitError::LabelOutside { row, label, n_classes });
    }
    if let Some((row, value)) = rows.not_finite() {
        return Err(FitError::NotFinite { row, value });
    }
    let mut present = labels.to_vec();
    present.sort_unstable();
    present.dedup();
    if present.len() < 2 { Err(FitError::TooFewClasses { found: present.len() }) } else { Ok(present) }
}

fn row_weights(targets: &[usize], present: &[usize], settings: &Settings) -> Vec<f64> {
    let of_class: Vec<f64> = match &settings.weights {
        ClassWeights::Equal => vec![1.0; present.len()],
        ClassWeights::Given(weights) => present.iter().map(|&class| weights[class]).collect(),
        ClassWeights::Balanced => {
            let mut counts = vec![0_usize; present.len()];
            targets.iter().for_each(|&target| counts[target] += 1);
            let n = targets.len().float();
            counts.into_iter().map(|count| n / (present.len().float() * count.float())).collect()
        }
    };
    targets.iter().map(|&target| of_class[target]).collect()
}

#[cfg(test)]
mod tests {
    use super::{ClassWeights, FitError, Linear, Matrix, Penalty, Settings};
    use crate::random::Random;
    use proptest::prelude::*;

    /// Rows of `n_columns` small whole numbers, half of them 0.
    fn drawn(seed: u64, n_rows: usize, n_columns: usize, n_classes: usize) -> (Matrix, Vec<usize>) {
        let mut random = Random::seeded(seed);
        let mut rows = Matrix::new(n_columns);
        let value = |random: &mut Random| [0.0, 0.0, 0.0, 1.0, 2.0, -1.0][random.below(6)];
        for _ in 0..n_rows {
            rows.push_dense(&(0..n_columns).map(|_| value(&mut random)).collect::<Vec<_>>());
        }
        (rows, (0..n_rows).map(|row| if row < n_classes { row } else { random.below(n_classes) }).collect())
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let (rows, labels) = drawn(1, 6, 3, 2);
        let fit = |labels: &[usize], settings: Settings| Linear::fit(&rows, labels, 2, &settings).expect_err("refused");
        let usual = Settings::default;
        assert_eq!(fit(&labels[1..], usual()), FitError::Lengths { rows: 6, labels: 5 });
        assert_eq!(fit(&[0, 0, 1, 7, 0, 1], usual()), FitError::LabelOutside { row: 3, label: 7, n_classes: 2 });
        assert_eq!(fit(&[1; 6], usual()), FitError::TooFewClasses { found: 1 });
        assert_eq!(fit(&labels, Settings { c: 0.0, ..usual() }), FitError::Strength(0.0));
        let weights = ClassWeights::Given(vec![1.0]);
        assert_eq!(fit(&labels, Settings { weights, ..usual() }), FitError::Weights { weights: 1, n_classes: 2 });
        let penalty = Penalty::WithinClasses { shrinkage: 1.0 };
        assert_eq!(fit(&labels, Settings { penalty, ..usual() }), FitError::Shrinkage(1.0));
        let mut broken = Matrix::new(1);
        broken.push_dense(&[1.0]);
        broken.push_dense(&[f64::INFINITY]);
        let error = Linear::fit(&broken, &[0, 1], 2, &usual()).expect_err("refused");
        assert_eq!(error.to_string(), "row 1 has the value `inf`; features must be finite numbers");
    }

    #[test]
    fn a_class_without_rows_is_never_answered() {
        let (rows, labels) = drawn(2, 30, 4, 3);
        let labels: Vec<usize> = labels.into_iter().map(|label| [0, 2, 4][label]).collect();
        let model = Linear::fit(&rows, &labels, 5, &Settings::default()).expect("it fits");
        let p = model.probabilities(rows.row(0));
        assert!(p[1] == 0.0 && p[3] == 0.0 && (p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{p:?}");
        assert_eq!(model.coefficients(1), None);
    }

    #[test]
    fn what_never_varies_leaves_the_shares_of_the_labels() {
        let mut rows = Matrix::new(2);
        (0..8).for_each(|_| rows.push_sparse(&[]));
        let model = Linear::fit(&rows, &[0, 0, 0, 0, 1, 1, 2, 2], 3, &Settings::default()).expect("it fits");
        let p = model.probabilities([]);
        assert!(p.iter().zip([0.5, 0.25, 0.25]).all(|(p, share)| (p - share).abs() < 1e-5), "{p:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_search_ends_at_the_minimum_whatever_the_shape(
            seed in any::<u64>(), n_rows in 4_usize..40, n_columns in 1_usize..60, n_classes in 2_usize..5, c in 0.01_f64..100.0,
        ) {
            let (rows, labels) = drawn(seed, n_rows.max(n_classes), n_columns, n_classes);
            let settings = Settings { c, tolerance: 1e-9, ..Settings::default() };
            let model = Linear::fit(&rows, &labels, n_classes, &settings).expect("it fits");
            prop_assert!(model.search.gradient <= 1e-9, "{:?}", model.search);
            // At the minimum the mean probability of each class is its share, because intercepts are not penalised.
            for class in 0..n_classes {
                let mean: f64 = (0..rows.n_rows()).map(|row| model.probabilities(rows.row(row))[class]).sum();
                let share = labels.iter().filter(|label| **label == class).count() as f64;
                prop_assert!((mean - share).abs() < 1e-6, "{} {}", mean, share);
            }
            prop_assert_eq!(Linear::fit(&rows, &labels, n_classes, &settings), Ok(model));
        }
    }
}
