//! What is odd about labelled rows: labels with one row or none, the same text twice, with one label or with several.

use std::collections::BTreeMap;

use crate::learn::same_text;

/// What is odd about the rows of one field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// Groups of rows with the same text and different labels, in the order of their first rows: often one of them is wrong.
    pub conflicts: Vec<Vec<usize>>,
    /// Rows that repeat a text with the same label; they count once.
    pub n_repeated: usize,
    /// Options with one row: such a row can be learned from or tried on, not both.
    pub single: Vec<usize>,
    /// Options without any row.
    pub absent: Vec<usize>,
}

impl Faults {
    /// Looks at rows, each a text with the option that is right.
    ///
    /// # Panics
    ///
    /// If an option is not below `n_options`.
    #[must_use]
    pub fn of(rows: &[(&str, usize)], n_options: usize) -> Self {
        let mut by_text: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut counts = vec![0_usize; n_options];
        for (row, (text, truth)) in rows.iter().enumerate() {
            by_text.entry(same_text(text)).or_default().push(row);
            counts[*truth] += 1;
        }
        let mut faults = Faults::default();
        for group in by_text.into_values().filter(|group| group.len() > 1) {
            let mut truths: Vec<usize> = group.iter().map(|&row| rows[row].1).collect();
            truths.sort_unstable();
            truths.dedup();
            faults.n_repeated += group.len() - truths.len();
            if truths.len() > 1 {
                faults.conflicts.push(group);
            }
        }
        faults.conflicts.sort_unstable();
        let with = |n: usize| (0..n_options).filter(|&option| counts[option] == n).collect();
        (faults.single, faults.absent) = (with(1), with(0));
        faults
    }
}

/// Rows in two parts, each with its share of every label and no text in both: the places of the first, then of the second.
#[must_use]
pub fn halves(rows: &[(&str, usize)], seed: u64) -> [Vec<usize>; 2] {
    let labels: Vec<usize> = rows.iter().map(|row| row.1).collect();
    let dealt = slm_stats::words::folds(&labels, 2, seed);
    let mut of_text: BTreeMap<String, usize> = BTreeMap::new();
    let mut parts = [Vec::new(), Vec::new()];
    for (row, (text, _)) in rows.iter().enumerate() {
        let part = *of_text.entry(same_text(text)).or_insert(dealt[row]);
        parts[part].push(row);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::{Faults, halves};

    #[test]
    fn repeated_texts_and_rare_labels_are_told() {
        let rows = [("a b", 0), ("A  b", 1), ("c", 0), ("c", 0), ("d", 2), ("e", 0)];
        let faults = Faults::of(&rows, 4);
        assert_eq!(faults.conflicts, [vec![0, 1]]);
        assert_eq!((faults.n_repeated, faults.single, faults.absent), (1, vec![1, 2], vec![3]));
    }

    #[test]
    fn no_text_is_in_both_parts() {
        let texts: Vec<String> = (0..40).map(|nth| format!("text {}", nth / 2)).collect();
        let rows: Vec<(&str, usize)> = texts.iter().enumerate().map(|(nth, text)| (text.as_str(), nth % 3)).collect();
        let [one, other] = halves(&rows, 1);
        assert_eq!(one.len() + other.len(), 40);
        assert!(one.len().abs_diff(other.len()) <= 12, "{} {}", one.len(), other.len());
        for row in &one {
            assert!(other.iter().all(|other| texts[*other] != texts[*row]));
        }
    }
}
