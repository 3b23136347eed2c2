//! Rows in three parts, each with its share of every label: those that teach, those that say when to stop, and those that nothing
//! sees before the evaluation. Texts that are nearly the same are in one part.

use std::collections::HashMap;

use slm_stats::words::folds;

use super::near;
use super::rows::{LeftOut, TaskRow, Why};

/// The rows are dealt into this many parts of equal size.
const N_FOLDS: usize = 20;
/// Of these, for the evaluation and for stopping.
const N_HELD_OUT: usize = 4;
const N_VALID: usize = 3;
/// More rows than these say nothing more, and take time.
const MOST_HELD_OUT: usize = 2_000;
const MOST_VALID: usize = 500;

/// The rows of a job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parts {
    pub train: Vec<TaskRow>,
    pub valid: Vec<TaskRow>,
    pub held_out: Vec<TaskRow>,
}

/// Deals rows into parts. Where somebody has held out rows already, these are the evaluation's, and rows near to one of them are
/// left out.
#[must_use]
pub fn dealt(rows: Vec<TaskRow>, held_out: Option<Vec<TaskRow>>, seed: u64) -> (Parts, Vec<LeftOut>) {
    let n_given = held_out.as_ref().map_or(0, Vec::len);
    let mut all = held_out.clone().unwrap_or_default();
    all.extend(rows);
    let texts: Vec<&str> = all.iter().map(|row| row.text.as_str()).collect();
    let groups = near::groups(&texts);
    let mut left = Vec::new();
    let mut parts = Parts { held_out: held_out.clone().unwrap_or_default(), ..Parts::default() };
    // Groups are numbered by their first row, so that one with a given row has a number below theirs.
    let mut own: Vec<(usize, TaskRow)> = Vec::new();
    for (row, group) in all.into_iter().zip(groups).skip(n_given) {
        if group < n_given {
            left.push(LeftOut::of(&row, Why::Leak));
        } else {
            own.push((group, row));
        }
    }
    let labels: Vec<usize> = own.iter().map(|(_, row)| class(row)).collect();
    let dealt = folds(&labels, N_FOLDS, seed);
    let mut of_group: HashMap<usize, usize> = HashMap::new();
    let n_held_out = if held_out.is_some() { 0 } else { N_HELD_OUT };
    for ((group, row), fold) in own.into_iter().zip(dealt) {
        let fold = *of_group.entry(group).or_insert(fold);
        let part = match fold {
            fold if fold < n_held_out && parts.held_out.len() < MOST_HELD_OUT => &mut parts.held_out,
            fold if (n_held_out..n_held_out + N_VALID).contains(&fold) && parts.valid.len() < MOST_VALID => {
                &mut parts.valid
            }
            _ => &mut parts.train,
        };
        part.push(row);
    }
    (parts, left)
}

/// The label by which rows are dealt: that of the first field that has one.
fn class(row: &TaskRow) -> usize {
    row.truths.iter().flatten().next().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n: usize) -> Vec<TaskRow> {
        let row = |nth: usize| {
            let text = format!("row {nth} says {} and {}", nth * 7919, nth * 104_729);
            TaskRow { at: String::new(), text, truths: vec![Some(nth % 2)] }
        };
        (0..n).map(row).collect()
    }

    #[test]
    fn every_part_has_its_share_of_every_label_and_no_text_is_in_two() {
        let mut all = rows(200);
        all.push(TaskRow { text: format!("{}!", all[3].text), ..all[3].clone() });
        let (parts, left) = dealt(all.clone(), None, 0);
        assert_eq!(left, []);
        let sizes = [&parts.train, &parts.valid, &parts.held_out].map(Vec::len);
        assert!(sizes[0].abs_diff(131) <= 2 && sizes[1].abs_diff(30) <= 2 && sizes[2].abs_diff(40) <= 2, "{sizes:?}");
        for part in [&parts.train, &parts.valid, &parts.held_out] {
            let n_first = part.iter().filter(|row| row.truths[0] == Some(0)).count();
            assert!((2 * n_first).abs_diff(part.len()) <= 4, "{n_first} of {}", part.len());
            let n_twins = part.iter().filter(|row| row.text.starts_with(&all[3].text)).count();
            assert!(n_twins == 0 || n_twins == 2);
        }
        assert_eq!(dealt(all.clone(), None, 0).0, parts);
    }

    #[test]
    fn rows_near_to_given_held_out_ones_do_not_teach() {
        let mut all = rows(60);
        let held_out = all.split_off(40);
        let leaked = TaskRow { text: held_out[2].text.to_uppercase(), ..held_out[2].clone() };
        all.push(leaked.clone());
        let (parts, left) = dealt(all, Some(held_out.clone()), 0);
        assert_eq!(left, [LeftOut::of(&leaked, Why::Leak)]);
        assert_eq!((parts.held_out, parts.train.len() + parts.valid.len()), (held_out, 40));
    }
}
