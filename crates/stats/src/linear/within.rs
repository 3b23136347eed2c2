//! A penalty that knows how rows of one class differ: weights along directions in which they differ much cost more.
//!
//! The penalty `w^T S w` has the covariance within classes, shrunk towards the identity: `S = (1 - s) C / m + s I`, with m the mean
//! of C's diagonal. It is the plain penalty on features whitened by `S^(-1/2)`, as linear discriminant analysis uses them (Ledoit and
//! Wolf, Honey, I shrunk the sample covariance matrix, 2004). Only products of rows are needed: with K those of the rows, P the matrix
//! that subtracts the means of classes, and Woodbury's identity, those of whitened rows are
//! `(K - K P (c I + P K P)^-1 P K) / s` with `c = n m s / (1 - s)`. All are multiplied by one number, so that rows stay as
//! long as they were and a strength means what it means without.

use super::cholesky::{backward, factor, forward};
use super::solver::dot;
use crate::number::Count;

/// What becomes of products of rows and of sums of rows.
pub(super) struct Within {
    class_of: Vec<usize>,
    /// By row, all products with the rows less the means of their classes: K P.
    centred: Vec<Vec<f64>>,
    /// Cholesky's factor of `c I + P K P`, by rows.
    factor: Vec<Vec<f64>>,
    /// What keeps rows as long as they were; the shrinkage that everything is divided by is in it.
    scale: f64,
}

impl Within {
    /// The products of whitened rows, up to each row itself, and how to come back from them; `None` where rows of one class do not
    /// differ. `shrinkage` is above 0 and below 1, `n_columns` that of the rows.
    pub fn of(
        products: &[Vec<f64>],
        class_of: &[usize],
        n_columns: usize,
        shrinkage: f64,
    ) -> Option<(Within, Vec<Vec<f64>>)> {
        let n = products.len();
        let at = |row: usize, column: usize| {
            let (high, low) = if row >= column { (row, column) } else { (column, row) };
            products[high][low]
        };
        let centred: Vec<Vec<f64>> = (0..n)
            .map(|row| {
                let mut all: Vec<f64> = (0..n).map(|column| at(row, column)).collect();
                less_class_means(&mut all, class_of);
                all
            })
            .collect();
        // P K P, by columns of K P.
        let mut twice: Vec<Vec<f64>> = (0..n).map(|column| centred.iter().map(|row| row[column]).collect()).collect();
        twice.iter_mut().for_each(|column| less_class_means(column, class_of));
        let square: f64 = (0..n).map(|row| twice[row][row]).sum();
        let mean = square / (n.float() * n_columns.max(1).float());
        let all: f64 = (0..n).map(|row| at(row, row)).sum();
        if square <= all * 1e-9 {
            return None;
        }
        let ridge = n.float() * mean * shrinkage / (1.0 - shrinkage);
        let mut lower: Vec<Vec<f64>> = (0..n).map(|row| twice[row][..=row].to_vec()).collect();
        (0..n).for_each(|row| lower[row][row] += ridge);
        let factor = factor(lower);
        let explained = solved(&factor, &centred);
        let mut whitened: Vec<Vec<f64>> = (0..n)
            .map(|row| (0..=row).map(|other| at(row, other) - dot(&explained[row], &explained[other])).collect())
            .collect();
        let left: f64 = (0..n).map(|row| whitened[row][row]).sum();
        let scale = all / left;
        whitened.iter_mut().flatten().for_each(|product| *product *= scale);
        Some((Within { class_of: class_of.to_vec(), centred, factor, scale }, whitened))
    }

    /// The sums of rows as they are that sums of whitened rows stand for: `sums` by row and output.
    pub fn back(&self, sums: &mut [f64], n_outputs: usize) {
        let n = self.factor.len();
        for output in 0..n_outputs {
            let given: Vec<f64> = sums.iter().skip(output).step_by(n_outputs).copied().collect();
            // P K times the sums.
            let mut part: Vec<f64> = vec![0.0; n];
            for (row, sum) in self.centred.iter().zip(&given) {
                part.iter_mut().zip(row).for_each(|(part, value)| *part += sum * value);
            }
            forward(&self.factor, &mut part);
            backward(&self.factor, &mut part);
            less_class_means(&mut part, &self.class_of);
            for (row, part) in part.into_iter().enumerate() {
                sums[row * n_outputs + output] = self.scale * (given[row] - part);
            }
        }
    }
}

/// `M^-1` times each row of `columns`, seen as a column; M is lower triangular, by rows.
fn solved(factor: &[Vec<f64>], columns: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let one = |column: &Vec<f64>| {
        let mut column = column.clone();
        forward(factor, &mut column);
        column
    };
    columns.iter().map(one).collect()
}

fn less_class_means(values: &mut [f64], class_of: &[usize]) {
    let n_classes = class_of.iter().max().map_or(0, |most| most + 1);
    let (mut sums, mut counts) = (vec![0.0; n_classes], vec![0_usize; n_classes]);
    for (value, &class) in values.iter().zip(class_of) {
        sums[class] += value;
        counts[class] += 1;
    }
    values.iter_mut().zip(class_of).for_each(|(value, &class)| *value -= sums[class] / counts[class].float());
}
