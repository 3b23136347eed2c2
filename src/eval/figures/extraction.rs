//! The figures of fields that are no labels: tags, and values that are read out of a text.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use slm_stats::classification::Class;
use slm_stats::multilabel::{Multilabel, Tagged};

use super::closed::ClassFigures;
use super::rate::{Figure, Rate, figures, mean};
use crate::eval::judge::{Verdict, is_nothing, overlap, tags, verdict};
use crate::eval::record::Records;
use crate::eval::suite::Judge;

/// Rows with several tags or none. The part of rows with just the expected set is the field's accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TagFigures {
    /// Of all tags of all rows together.
    pub micro_f1: Figure,
    /// The mean over tags.
    pub macro_f1: Figure,
    /// The mean over rows; 1 for a row without tags that was answered with none.
    pub sample_f1: Figure,
    /// The part of all tags of all rows that is wrong.
    pub hamming_loss: Option<f64>,
    /// By tag.
    pub tags: Vec<ClassFigures>,
}

/// What became of values. Failed rows count in `missed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtractionFigures {
    /// Of the rows that have a value: another was given.
    pub wrong: Rate,
    /// Of the rows that have a value: none was given.
    pub missed: Rate,
    /// Of the rows that have no value: one was given.
    pub invented: Rate,
    /// The mean over the rows that have a value of the overlap with it, 0 where none was given; null unless answers are held
    /// against the data by overlap.
    pub rouge_l: Option<Figure>,
}

/// The figures of a field of tags.
#[must_use]
pub fn tag_figures(records: &Records, subject: usize, nth: usize) -> TagFigures {
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let truth_of = |row: &crate::eval::record::Record| row.expected.as_ref().ok().map(|expected| tags(&expected[nth]));
    let answer_of = |row: &crate::eval::record::Record| {
        let answer = row.answers[subject].as_ref()?;
        Some(tags(&answer.fields.as_ref().ok()?[nth].value))
    };
    for row in &records.rows {
        for tag in truth_of(row).into_iter().chain(answer_of(row)).flatten() {
            numbers.insert(tag, 0);
        }
    }
    for (at, number) in numbers.values_mut().enumerate() {
        *number = at;
    }
    let numbered = |tags: BTreeSet<String>| tags.iter().map(|tag| numbers[tag]).collect::<BTreeSet<usize>>();
    let rows: Vec<(BTreeSet<usize>, Option<BTreeSet<usize>>)> = records
        .rows
        .iter()
        .map(|row| (truth_of(row).map(numbered).unwrap_or_default(), answer_of(row).map(numbered)))
        .collect();
    let tagged = |at: &usize| Tagged { truth: &rows[*at].0, answer: rows[*at].1.as_ref() };
    let compute = |at: &[usize]| {
        let all = Multilabel::new(numbers.len(), &at.iter().map(tagged).collect::<Vec<_>>());
        [all.micro_f1(), all.macro_f1(), all.sample_f1]
    };
    let [micro_f1, macro_f1, sample_f1] = figures(rows.len(), compute);
    let all =
        Multilabel::new(numbers.len(), &(0..rows.len()).collect::<Vec<_>>().iter().map(tagged).collect::<Vec<_>>());
    let named = |(tag, class): (&String, &Class)| ClassFigures::of(tag.as_str().into(), *class);
    let tags = numbers.keys().zip(&all.tags).map(named).collect();
    TagFigures { micro_f1, macro_f1, sample_f1, hamming_loss: all.hamming_loss, tags }
}

/// The figures of a field that is read out of a text.
#[must_use]
pub fn extraction_figures(records: &Records, subject: usize, nth: usize) -> ExtractionFigures {
    let verdicts = records.rows.iter().map(|row| {
        let has_value = row.expected.as_ref().is_ok_and(|expected| !is_nothing(&expected[nth]));
        (has_value, verdict(row, row.answers[subject].as_ref(), &records.fields, nth))
    });
    let verdicts: Vec<(bool, Verdict)> = verdicts.collect();
    let among = |has_value: bool, kinds: &[Verdict]| {
        let rows = verdicts.iter().filter(|(has, _)| *has == has_value);
        Rate::of(rows.map(|(_, verdict)| kinds.contains(verdict)))
    };
    ExtractionFigures {
        wrong: among(true, &[Verdict::Wrong]),
        missed: among(true, &[Verdict::Missed, Verdict::Failed]),
        invented: among(false, &[Verdict::Invented]),
        rouge_l: matches!(records.fields[nth].judge, Judge::Overlap { .. })
            .then(|| mean(&overlaps(records, subject, nth))),
    }
}

/// For each row that has a value how much the answer has in common with it.
fn overlaps(records: &Records, subject: usize, nth: usize) -> Vec<f64> {
    let of = |row: &crate::eval::record::Record| {
        let expected = row.expected.as_ref().ok().map(|expected| &expected[nth]).filter(|value| !is_nothing(value))?;
        let answer = row.answers[subject].as_ref().and_then(|answer| answer.fields.as_ref().ok());
        Some(answer.map_or(0.0, |fields| overlap(expected, &fields[nth].value)))
    };
    records.rows.iter().filter_map(of).collect()
}
