//! Labelled rows before they teach: repeated texts, contradictions and texts that are too long are taken out, each with its reason.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::near;

/// A labelled row.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// Where it stands, in words.
    pub at: String,
    pub text: String,
    /// For each field of the answer the number of the right option; `None` where the row says nothing of the field.
    pub truths: Vec<Option<usize>>,
}

/// Why a row does not teach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Unreadable,
    NoLabel,
    Empty,
    Repeated,
    Conflict,
    TooLong,
    Leak,
}

impl Why {
    pub const ALL: [Why; 7] =
        [Why::Unreadable, Why::NoLabel, Why::Empty, Why::Repeated, Why::Conflict, Why::TooLong, Why::Leak];

    /// For people, of a number of rows.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Why::Unreadable => "cannot be read",
            Why::NoLabel => "have no label that is an allowed answer",
            Why::Empty => "have an empty text",
            Why::Repeated => "repeat a text with the same label",
            Why::Conflict => "have a text that another row has with another label",
            Why::TooLong => "are too long",
            Why::Leak => "are near to a held-out row",
        }
    }
}

/// A row that was taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub at: String,
    pub why: Why,
    pub text: String,
}

impl LeftOut {
    #[must_use]
    pub fn of(row: &TaskRow, why: Why) -> LeftOut {
        LeftOut { at: row.at.clone(), why, text: row.text.clone() }
    }
}

/// Takes out empty texts, repeated ones (the first stays) and those that stand with several labels (none stays: nobody knows which
/// is right).
#[must_use]
pub fn cleaned(rows: Vec<TaskRow>) -> (Vec<TaskRow>, Vec<LeftOut>) {
    let mut labels: HashMap<String, Vec<Vec<Option<usize>>>> = HashMap::new();
    for row in &rows {
        let known = labels.entry(near::same_text(&row.text)).or_default();
        if !known.contains(&row.truths) {
            known.push(row.truths.clone());
        }
    }
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    let mut seen: HashSet<String> = HashSet::new();
    for row in rows {
        let text = near::same_text(&row.text);
        if text.is_empty() {
            left.push(LeftOut::of(&row, Why::Empty));
        } else if row.truths.iter().all(Option::is_none) {
            left.push(LeftOut::of(&row, Why::NoLabel));
        } else if labels[&text].len() > 1 {
            left.push(LeftOut::of(&row, Why::Conflict));
        } else if seen.insert(text) {
            kept.push(row);
        } else {
            left.push(LeftOut::of(&row, Why::Repeated));
        }
    }
    (kept, left)
}

/// How many rows each option of a field has.
#[must_use]
pub fn counts(rows: &[TaskRow], field: usize, n_options: usize) -> Vec<u64> {
    let mut counts = vec![0; n_options];
    rows.iter().filter_map(|row| row.truths[field]).for_each(|option| counts[option] += 1);
    counts
}

/// How much a row of each option counts: options weigh alike together, and a rare one counts at most `most` times.
#[must_use]
pub fn class_weights(counts: &[u64], most: f64) -> Vec<f64> {
    let present = counts.iter().filter(|&&n| n > 0).count() as f64;
    let total: u64 = counts.iter().sum();
    let weight = |&n: &u64| if n == 0 { 1.0 } else { (total as f64 / present / n as f64).min(most) };
    counts.iter().map(weight).collect()
}

/// How often each reason is there, in the order of [`Why::ALL`].
#[must_use]
pub fn tallied(left: &[LeftOut]) -> Vec<(Why, usize)> {
    let n = |why: Why| left.iter().filter(|one| one.why == why).count();
    Why::ALL.into_iter().map(|why| (why, n(why))).filter(|(_, n)| *n > 0).collect()
}

/// The labels of a field, with how many rows each has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldCounts {
    /// `None` where the whole answer is one value.
    pub field: Option<String>,
    pub labels: Vec<(Value, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str, truth: Option<usize>) -> TaskRow {
        TaskRow { at: format!("`{text}`"), text: text.to_owned(), truths: vec![truth] }
    }

    #[test]
    fn rows_that_would_teach_nothing_or_the_wrong_thing_are_taken_out() {
        let rows = vec![
            row("a b", Some(0)),
            row("A  b", Some(0)),
            row("c", Some(0)),
            row("C", Some(1)),
            row(" ", Some(0)),
            row("d", None),
            row("e", Some(1)),
        ];
        let (kept, left) = cleaned(rows);
        assert_eq!(kept.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(), ["a b", "e"]);
        let whys: Vec<Why> = left.iter().map(|one| one.why).collect();
        assert_eq!(whys, [Why::Repeated, Why::Conflict, Why::Conflict, Why::Empty, Why::NoLabel]);
        let expected = [(Why::NoLabel, 1), (Why::Empty, 1), (Why::Repeated, 1), (Why::Conflict, 2)];
        assert_eq!(tallied(&left), expected);
        assert_eq!(counts(&kept, 0, 2), [1, 1]);
    }

    #[test]
    fn rare_labels_count_more_but_not_without_end() {
        assert_eq!(class_weights(&[30, 10], 5.0), [40.0 / 60.0, 2.0]);
        assert_eq!(class_weights(&[999, 1, 0], 5.0)[1..], [5.0, 1.0]);
    }
}
