//! Cholesky's factor of products, a lower triangular matrix by rows, and systems solved with it.

use super::solver::dot;

/// The part of a row's square that must be new to it, beside the rows before it.
const NEW: f64 = 1e-12;

/// L, by rows: Cholesky's factor, with a column of zeros for a row that is a sum of rows before it.
pub(super) fn factor(mut products: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for row in 0..products.len() {
        let (before, rest) = products.split_at_mut(row);
        let own = &mut rest[0];
        for (column, other) in before.iter().enumerate() {
            let pivot = other[column];
            own[column] = if pivot > 0.0 { (own[column] - dot(&own[..column], &other[..column])) / pivot } else { 0.0 };
        }
        let square = own[row];
        let left = square - dot(&own[..row], &own[..row]);
        own[row] = if left > square * NEW { left.sqrt() } else { 0.0 };
    }
    products
}

/// Solves `M x = column` in place.
pub(super) fn forward(factor: &[Vec<f64>], column: &mut [f64]) {
    for row in 0..column.len() {
        column[row] = (column[row] - dot(&factor[row][..row], &column[..row])) / factor[row][row];
    }
}

/// Solves `M^T x = column` in place.
pub(super) fn backward(factor: &[Vec<f64>], column: &mut [f64]) {
    for row in (0..column.len()).rev() {
        column[row] /= factor[row][row];
        let value = column[row];
        column[..row].iter_mut().zip(&factor[row]).for_each(|(above, entry)| *above -= value * entry);
    }
}
