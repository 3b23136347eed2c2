//! Rows of features, of which only those that are not 0 are kept, and their products with weights.

/// Rows by column, in compressed form.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    n_columns: usize,
    /// Where each row's entries end.
    ends: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Matrix {
    /// No rows yet, of `n_columns` columns.
    #[must_use]
    pub fn new(n_columns: usize) -> Self {
        Matrix { n_columns, ends: Vec::new(), columns: Vec::new(), values: Vec::new() }
    }

    /// Adds a row from its columns, ascending, and their values.
    ///
    /// # Panics
    ///
    /// If a column is not below the number of columns, or they do not ascend.
    pub fn push_sparse(&mut self, entries: &[(u32, f64)]) {
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0), "the columns of a row ascend");
        assert!(entries.last().is_none_or(|last| (last.0 as usize) < self.n_columns), "a column is outside the matrix");
        self.columns.extend(entries.iter().map(|entry| entry.0));
        self.values.extend(entries.iter().map(|entry| entry.1));
        self.ends.push(self.columns.len());
    }

    /// Adds a row of all its columns.
    ///
    /// # Panics
    ///
    /// If there are not as many values as columns.
    pub fn push_dense(&mut self, values: &[f64]) {
        assert_eq!(values.len(), self.n_columns, "a dense row has a value for each column");
        for (column, &value) in (0_u32..).zip(values) {
            if value != 0.0 {
                self.columns.push(column);
                self.values.push(value);
            }
        }
        self.ends.push(self.columns.len());
    }

    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// The entries of a row: columns and values.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (u32, f64)> + '_ {
        let (columns, values) = self.entries(row);
        columns.iter().copied().zip(values.iter().copied())
    }

    /// Numbers that are kept.
    pub(super) fn n_entries(&self) -> usize {
        self.values.len()
    }

    pub(super) fn entries(&self, row: usize) -> (&[u32], &[f64]) {
        let begin = if row == 0 { 0 } else { self.ends[row - 1] };
        (&self.columns[begin..self.ends[row]], &self.values[begin..self.ends[row]])
    }

    /// The first row with a value that is not a finite number.
    pub(super) fn not_finite(&self) -> Option<(usize, f64)> {
        let at = self.values.iter().position(|value| !value.is_finite())?;
        Some((self.ends.partition_point(|&end| end <= at), self.values[at]))
    }

    pub(super) fn transposed(&self) -> Matrix {
        let mut ends = vec![0; self.n_columns];
        self.columns.iter().for_each(|&column| ends[column as usize] += 1);
        let mut sum = 0;
        // First where each begins; each entry written moves it on, to the end at last.
        for end in &mut ends {
            (*end, sum) = (sum, sum + *end);
        }
        let (mut columns, mut values) = (vec![0; self.columns.len()], vec![0.0; self.values.len()]);
        for row in 0..self.n_rows() {
            for (column, value) in self.row(row) {
                let at = &mut ends[column as usize];
                columns[*at] = u32::try_from(row).expect("a column's number is a u32");
                values[*at] = value;
                *at += 1;
            }
        }
        Matrix { n_columns: self.n_rows(), ends, columns, values }
    }

    /// Adds to `out`, by row and output, the product with `weights`, by column and output.
    pub(super) fn add_product(&self, weights: &[f64], n_outputs: usize, out: &mut [f64]) {
        let of = |column: u32| &weights[column as usize * n_outputs..][..n_outputs];
        for (row, out) in out.chunks_exact_mut(n_outputs).enumerate() {
            let (columns, values) = self.entries(row);
            let (columns_by_four, values_by_four) = (columns.chunks_exact(4), values.chunks_exact(4));
            let rest = columns_by_four.remainder().iter().zip(values_by_four.remainder());
            for (c, v) in columns_by_four.zip(values_by_four) {
                add_four(out, [v[0], v[1], v[2], v[3]], [of(c[0]), of(c[1]), of(c[2]), of(c[3])]);
            }
            for (&column, value) in rest {
                out.iter_mut().zip(of(column)).for_each(|(out, weight)| *out += value * weight);
            }
        }
    }
}

/// Adds four scaled rows of weights to `out` at once, which reads and writes it once instead of four times.
fn add_four(out: &mut [f64], values: [f64; 4], weights: [&[f64]; 4]) {
    let n = out.len();
    let [w0, w1, w2, w3] = weights.map(|weights| &weights[..n]);
    let [v0, v1, v2, v3] = values;
    for i in 0..n {
        out[i] += (v0 * w0[i] + v1 * w1[i]) + (v2 * w2[i] + v3 * w3[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::Matrix;

    #[test]
    fn rows_are_columns_after_a_turn() {
        let mut rows = Matrix::new(5);
        rows.push_dense(&[1.0, 0.0, 2.0, 3.0, 4.0]);
        rows.push_sparse(&[]);
        rows.push_sparse(&[(0, 5.0), (4, 6.0)]);
        let turned = rows.transposed();
        assert_eq!(turned.row(0).collect::<Vec<_>>(), [(0, 1.0), (2, 5.0)]);
        assert_eq!(turned.row(1).count(), 0);
        assert_eq!(turned.row(4).collect::<Vec<_>>(), [(0, 4.0), (2, 6.0)]);
        assert_eq!(turned.transposed(), rows);
        let mut out = vec![1.0; 6];
        rows.add_product(&[1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0, 5.0, 50.0], 2, &mut out);
        assert_eq!(out, [40.0, 391.0, 1.0, 1.0, 36.0, 351.0]);
    }
}
