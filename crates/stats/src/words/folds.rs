//! Rows in parts for cross-validation, each with its share of every label.

use crate::random::Random;

/// The part of each row, 0..`n_folds`: the rows of each label are put into a seeded order and dealt out in turn, going on where
/// the label before ended, so that parts of any label and of all rows differ by one row at most.
///
/// # Panics
///
/// If there are no parts.
#[must_use]
pub fn folds(labels: &[usize], n_folds: usize, seed: u64) -> Vec<usize> {
    assert!(n_folds > 0, "there is a part at least");
    let mut random = Random::seeded(seed);
    let mut rows: Vec<usize> = (0..labels.len()).collect();
    random.shuffle(&mut rows);
    rows.sort_by_key(|&row| labels[row]);
    let mut fold_of = vec![0; labels.len()];
    for (nth, row) in rows.into_iter().enumerate() {
        fold_of[row] = nth % n_folds;
    }
    fold_of
}

#[cfg(test)]
mod tests {
    use super::folds;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_differ_by_one_row_at_most(
            labels in prop::collection::vec(0..6_usize, 0..120), n_folds in 1..8_usize, seed in any::<u64>(),
        ) {
            let fold_of = folds(&labels, n_folds, seed);
            let differ = |is_counted: &dyn Fn(usize) -> bool| {
                let n = |fold| (0..labels.len()).filter(|&row| fold_of[row] == fold && is_counted(labels[row])).count();
                let counts: Vec<usize> = (0..n_folds).map(n).collect();
                counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0)
            };
            prop_assert!(differ(&|_| true) <= 1);
            for label in 0..6 {
                prop_assert!(differ(&|other| other == label) <= 1);
            }
            prop_assert_eq!(fold_of, folds(&labels, n_folds, seed));
        }
    }
}
