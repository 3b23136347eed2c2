//! Fewer rows than columns: the same problem in as many dimensions as there are rows.
//!
//! The minimum's weights are sums of rows, so it is enough to know the rows' products with each other, `X X^T = L L^T`: the rows
//! of L in place of those of X give the same scores and the same penalty (the kernel trick, exact here), and a step of the search
//! costs as many numbers as there are rows instead of columns.

use super::cholesky::factor;
use super::matrix::Matrix;
use super::within::Within;
use crate::number::Count;

/// Steps that a search takes or so, to weigh a longer preparation against shorter steps.
const TYPICAL_STEPS: f64 = 40.0;
/// Times that a step of the search passes over its point: the products with its memory.
const PASSES: f64 = 30.0;

/// The rows of L.
pub(super) struct Reduced {
    pub rows: Matrix,
    factor: Vec<Vec<f64>>,
    within: Option<Within>,
}

impl Reduced {
    /// `None` where the rows as they are cost less.
    pub(super) fn of(rows: &Matrix, n_outputs: usize) -> Option<Self> {
        if !pays(rows, n_outputs) {
            return None;
        }
        Some(Reduced::from_products(products(rows), None))
    }

    /// With the penalty of [`Within`]; the plain one where rows of one class do not differ.
    pub(super) fn within_classes(rows: &Matrix, class_of: &[usize], shrinkage: f64) -> Self {
        let products = products(rows);
        match Within::of(&products, class_of, rows.n_columns(), shrinkage) {
            Some((within, whitened)) => Reduced::from_products(whitened, Some(within)),
            None => Reduced::from_products(products, None),
        }
    }

    fn from_products(products: Vec<Vec<f64>>, within: Option<Within>) -> Self {
        let factor = factor(products);
        let n = factor.len();
        let mut reduced = Matrix::new(n);
        let mut whole = vec![0.0; n];
        for row in &factor {
            whole.fill(0.0);
            whole[..row.len()].copy_from_slice(row);
            reduced.push_dense(&whole);
        }
        Reduced { rows: reduced, factor, within }
    }

    /// The weights by column of the rows as they are, from those of L's columns: `X^T A` with `L^T A = weights`.
    pub(super) fn weights(&self, rows: &Matrix, mut weights: Vec<f64>, n_outputs: usize) -> Vec<f64> {
        for row in (0..self.factor.len()).rev() {
            let (before, own) = weights.split_at_mut(row * n_outputs);
            let own = &mut own[..n_outputs];
            let pivot = self.factor[row][row];
            for value in own.iter_mut() {
                *value = if pivot > 0.0 { *value / pivot } else { 0.0 };
            }
            for (column, before) in before.chunks_exact_mut(n_outputs).enumerate() {
                let scale = self.factor[row][column];
                if scale != 0.0 {
                    before.iter_mut().zip(&*own).for_each(|(value, own)| *value -= scale * own);
                }
            }
        }
        if let Some(within) = &self.within {
            within.back(&mut weights, n_outputs);
        }
        let mut by_column = vec![0.0; rows.n_columns() * n_outputs];
        rows.transposed().add_product(&weights, n_outputs, &mut by_column);
        by_column
    }
}

/// Whether the numbers that are read and written are fewer, with the preparation, than with the rows as they are.
fn pays(rows: &Matrix, n_outputs: usize) -> bool {
    let (n, entries, outputs) = (rows.n_rows().float(), rows.n_entries().float(), n_outputs.float());
    let cost = |n_columns: f64, entries: f64| TYPICAL_STEPS * outputs * (2.0 * entries + PASSES * n_columns);
    let preparation = n * entries / 2.0 + n * n * n / 6.0;
    preparation + cost(n, n * n / 2.0) < cost(rows.n_columns().float(), entries)
}

/// The products of each row with those up to itself.
fn products(rows: &Matrix) -> Vec<Vec<f64>> {
    let mut spread = vec![0.0; rows.n_columns()];
    let mut all = Vec::with_capacity(rows.n_rows());
    for row in 0..rows.n_rows() {
        rows.row(row).for_each(|(column, value)| spread[column as usize] = value);
        let with = |other| rows.row(other).map(|(column, value)| spread[column as usize] * value).sum();
        all.push((0..=row).map(with).collect());
        rows.row(row).for_each(|(column, _)| spread[column as usize] = 0.0);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::products;
    use crate::linear::Matrix;
    use crate::linear::cholesky::factor;

    #[test]
    fn a_factor_gives_the_products_again_even_with_equal_rows() {
        let mut rows = Matrix::new(6);
        let given = [[1.0, 0.0, 2.0, 0.0, 0.0, 1.0], [0.0, 3.0, 1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 2.0, 0.0, 5.0]];
        for row in [0, 1, 0, 2, 1] {
            rows.push_dense(&given[row]);
        }
        let wanted = products(&rows);
        let factor = factor(wanted.clone());
        for (i, row) in wanted.iter().enumerate() {
            for (j, product) in row.iter().enumerate() {
                let found: f64 = factor[i].iter().zip(&factor[j]).map(|(a, b)| a * b).sum();
                assert!((found - product).abs() < 1e-12, "{i} {j}: {found} {product}");
            }
        }
        assert!(factor[2][2] == 0.0 && factor[4][4] == 0.0, "equal rows add nothing");
    }
}
