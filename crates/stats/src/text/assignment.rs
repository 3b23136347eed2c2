//! Which item of one list belongs to which of another: the pairs with the greatest similarity in sum.

/// For each row the column it is paired with, such that no column is taken twice, as many pairs as possible are made, and the sum
/// of `similarity[row][column]` is the greatest. `None` for a row that goes without because there are fewer columns. The Hungarian
/// method (Kuhn 1955) with shortest augmenting paths, in time n^2 m.
///
/// # Panics
///
/// If the rows differ in length, or a similarity is not a finite number.
#[must_use]
pub fn assign(similarity: &[Vec<f64>]) -> Vec<Option<usize>> {
    let (n_rows, n_columns) = (similarity.len(), similarity.first().map_or(0, Vec::len));
    assert!(similarity.iter().all(|row| row.len() == n_columns), "all rows have as many columns");
    assert!(similarity.iter().flatten().all(|value| value.is_finite()), "similarities are finite numbers");
    if n_rows <= n_columns {
        return paired(n_rows, n_columns, |row, column| -similarity[row][column]).into_iter().map(Some).collect();
    }
    let mut rows = vec![None; n_rows];
    let columns = paired(n_columns, n_rows, |column, row| -similarity[row][column]);
    for (column, row) in columns.into_iter().enumerate() {
        rows[row] = Some(column);
    }
    rows
}

/// For each of `n` rows one of `m >= n` columns, with the least cost in sum.
fn paired(n: usize, m: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    // Rows and columns have prices, and no pair costs less than its prices; those of the pairs made cost just these.
    let (mut row_price, mut column_price) = (vec![0.0; n], vec![0.0; m]);
    let mut row_of: Vec<Option<usize>> = vec![None; m];
    for start in 0..n {
        // The cheapest path from the new row to each column, and the column before it on that path.
        let (mut distance, mut before) = (vec![f64::INFINITY; m], vec![None; m]);
        let mut is_reached = vec![false; m];
        let (mut row, mut last) = (start, None);
        let free = loop {
            let mut nearest: Option<usize> = None;
            for column in (0..m).filter(|&column| !is_reached[column]) {
                let more = cost(row, column) - row_price[row] - column_price[column];
                if more < distance[column] {
                    (distance[column], before[column]) = (more, last);
                }
                if nearest.is_none_or(|nearest: usize| distance[column] < distance[nearest]) {
                    nearest = Some(column);
                }
            }
            let column = nearest.expect("there are as many columns as rows, so one is not reached yet");
            let step = distance[column];
            row_price[start] += step;
            for other in 0..m {
                match (is_reached[other], row_of[other]) {
                    (true, Some(its_row)) => {
                        row_price[its_row] += step;
                        column_price[other] -= step;
                    }
                    _ => distance[other] -= step,
                }
            }
            is_reached[column] = true;
            last = Some(column);
            match row_of[column] {
                Some(its_row) => row = its_row,
                None => break column,
            }
        };
        // Along the path each column goes to the row of the column before it.
        let mut column = free;
        while let Some(previous) = before[column] {
            row_of[column] = row_of[previous];
            column = previous;
        }
        row_of[column] = Some(start);
    }
    let mut column_of = vec![0; n];
    for (column, row) in row_of.into_iter().enumerate() {
        if let Some(row) = row {
            column_of[row] = column;
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::assign;
    use proptest::prelude::*;

    fn sum(similarity: &[Vec<f64>], pairs: &[Option<usize>]) -> f64 {
        pairs.iter().enumerate().filter_map(|(row, column)| column.map(|column| similarity[row][column])).sum()
    }

    /// The greatest sum of all ways to give the rows from `row` on a column each, or none where there are too few.
    fn best(similarity: &[Vec<f64>], row: usize, taken: &mut Vec<bool>, may_skip: usize) -> f64 {
        if row == similarity.len() {
            return 0.0;
        }
        let mut greatest = f64::NEG_INFINITY;
        if may_skip > 0 {
            greatest = best(similarity, row + 1, taken, may_skip - 1);
        }
        for column in 0..taken.len() {
            if !taken[column] {
                taken[column] = true;
                greatest = greatest.max(similarity[row][column] + best(similarity, row + 1, taken, may_skip));
                taken[column] = false;
            }
        }
        greatest
    }

    #[test]
    fn lists_of_any_length_are_paired() {
        assert_eq!(assign(&[]), []);
        assert_eq!(assign(&[vec![], vec![]]), [None, None]);
        assert_eq!(assign(&[vec![0.1, 0.9], vec![0.2, 0.8], vec![1.0, 1.0]]), [Some(1), None, Some(0)]);
        assert_eq!(assign(&[vec![0.1, 0.9, 0.2]]), [Some(1)]);
        // Taking the best first would leave 0.
        assert_eq!(assign(&[vec![1.0, 0.9], vec![0.9, 0.0]]), [Some(1), Some(0)]);
    }

    proptest! {
        #[test]
        fn no_other_pairing_has_more(
            similarity in (0_usize..6, 0_usize..6)
                .prop_flat_map(|(n, m)| prop::collection::vec(prop::collection::vec(0_u8..8, m), n)),
        ) {
            let similarity: Vec<Vec<f64>> =
                similarity.into_iter().map(|row| row.into_iter().map(|tenths| f64::from(tenths) / 7.0).collect()).collect();
            let pairs = assign(&similarity);
            let m = similarity.first().map_or(0, Vec::len);
            let mut columns: Vec<usize> = pairs.iter().flatten().copied().collect();
            columns.sort_unstable();
            columns.dedup();
            prop_assert_eq!(columns.len(), similarity.len().min(m));
            let greatest = best(&similarity, 0, &mut vec![false; m], similarity.len().saturating_sub(m));
            prop_assert!((sum(&similarity, &pairs) - greatest).abs() < 1e-9, "{:?} {:?}", pairs, similarity);
        }
    }
}
