//! Whether an answer is as expected, field by field: right, wrong, missed or invented; it counts nothing.

use std::collections::BTreeSet;

use serde_json::Value;
use slm_stats::overlap::{Words, rouge_l};
use slm_stats::text::{self, parse_date, parse_number};

use super::items::compare;
use super::label::key;
use super::record::{Field, Record, RowAnswer};
use super::suite::{Judge, TextLimits};

/// What became of one field of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// Another value than the expected one.
    Wrong,
    /// A value was expected, and the answer has none.
    Missed,
    /// No value was expected, and the answer has one.
    Invented,
    /// There is no answer, or the row cannot be read.
    Failed,
}

impl Verdict {
    #[must_use]
    pub fn is_right(self) -> bool {
        self == Verdict::Right
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Right => "right",
            Verdict::Wrong => "wrong",
            Verdict::Missed => "missed",
            Verdict::Invented => "invented",
            Verdict::Failed => "failed",
        }
    }
}

/// Whether every field is as expected.
#[must_use]
pub fn is_right(row: &Record, answer: Option<&RowAnswer>, fields: &[Field]) -> bool {
    (0..fields.len()).all(|nth| verdict(row, answer, fields, nth).is_right())
}

/// What became of one field.
#[must_use]
pub fn verdict(row: &Record, answer: Option<&RowAnswer>, fields: &[Field], nth: usize) -> Verdict {
    let (Ok(expected), Some(Ok(given))) = (&row.expected, answer.map(|answer| &answer.fields)) else {
        return Verdict::Failed;
    };
    let (expected, given) = (&expected[nth], &given[nth].value);
    let limits = fields[nth].limits.as_ref();
    match &fields[nth].judge {
        Judge::Limits => kept(limits, given),
        // A row without a reference is judged by the limits alone.
        Judge::Overlap { .. } if limits.is_some() && is_nothing(expected) => kept(limits, given),
        Judge::Label if key(expected) == key(given) => Verdict::Right,
        Judge::Label if given.is_null() => Verdict::Missed,
        Judge::Label if expected.is_null() => Verdict::Invented,
        Judge::Label => Verdict::Wrong,
        judge => match (is_nothing(expected), is_nothing(given)) {
            (true, true) => Verdict::Right,
            (true, false) => Verdict::Invented,
            (false, true) => Verdict::Missed,
            (false, false) if is_same(judge, expected, given) => Verdict::Right,
            (false, false) => Verdict::Wrong,
        },
    }
}

/// What became of an answer of which nothing is expected but that it keeps its limits.
fn kept(limits: Option<&TextLimits>, given: &Value) -> Verdict {
    match limits.map(|limits| limits.broken(given)) {
        Some(Some(broken)) if !broken.is_empty() => Verdict::Wrong,
        _ if is_nothing(given) => Verdict::Missed,
        _ => Verdict::Right,
    }
}

/// Whether a value is empty: null, blank text, an empty list or object.
#[must_use]
pub fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_same(judge: &Judge, expected: &Value, given: &Value) -> bool {
    match judge {
        Judge::Label => key(expected) == key(given),
        Judge::Tags => tags(expected) == tags(given),
        Judge::Text => text::fold(&bare(expected)) == text::fold(&bare(given)),
        Judge::Number { tolerance } => match (number(expected), number(given)) {
            (Some(expected), Some(given)) => tolerance.allows(expected, given),
            _ => false,
        },
        Judge::Date { order } => match (parse_date(&bare(expected), *order), parse_date(&bare(given), *order)) {
            (Some(expected), Some(given)) => expected == given,
            _ => false,
        },
        Judge::OneOf => match expected {
            Value::Array(several) => several.iter().any(|one| text::fold(&bare(one)) == text::fold(&bare(given))),
            one => text::fold(&bare(one)) == text::fold(&bare(given)),
        },
        Judge::Overlap { at_least } => overlap(expected, given) >= *at_least,
        Judge::List { key } => compare(expected, given, key.as_deref()).is_same(),
        // Nothing is expected but that.
        Judge::Limits => true,
    }
}

/// How much two texts have in common: the F1 of ROUGE-L, 0 to 1.
#[must_use]
pub fn overlap(expected: &Value, given: &Value) -> f64 {
    rouge_l(&bare(expected), &bare(given), Words::default()).f1
}

/// The tags of an answer or of a cell.
#[must_use]
pub fn tags(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(values) => values.iter().map(bare).collect(),
        Value::Null => BTreeSet::new(),
        one => BTreeSet::from([bare(one)]),
    }
}

/// A text bare, all else as JSON.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| parse_number(value.as_str()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slm_stats::text::{DayMonth, Tolerance};

    use super::*;
    use crate::digest::Digest;
    use crate::eval::answer::FieldAnswer;
    use crate::eval::data::Place;

    fn judged(judge: Judge, expected: Value, given: Value) -> Verdict {
        let row = Record {
            id: "1".to_owned(),
            place: Place { source: 0, line: 1 },
            at: "line 1".to_owned(),
            input: String::new(),
            digest: Digest::of(b""),
            expected: Ok(vec![expected]),
            answers: Vec::new(),
        };
        let answer = FieldAnswer { value: given, probabilities: Vec::new(), label_mass: None, is_withheld: false };
        let answer = RowAnswer { fields: Ok(vec![answer]), cost: None };
        let field = Field { name: "f".to_owned(), judge, candidates: Vec::new(), limits: None };
        verdict(&row, Some(&answer), &[field], 0)
    }

    #[test]
    fn an_answer_is_right_by_what_it_says_and_not_by_how_it_is_written() {
        let right = |judge: Judge, expected: Value, given: Value| {
            let said = format!("{judge:?} {expected} {given}");
            assert_eq!(judged(judge, expected, given), Verdict::Right, "{said}");
        };
        right(Judge::Label, json!(2), json!(2.0));
        right(Judge::Text, json!("State of the art!"), json!("  state-of-the-ART"));
        right(
            Judge::Number { tolerance: Tolerance { absolute: 0.5, relative: 0.0 } },
            json!(1234.5),
            json!("1,234.90"),
        );
        right(Judge::Number { tolerance: Tolerance { absolute: 0.0, relative: 0.1 } }, json!(100), json!(109));
        right(Judge::Date { order: DayMonth::DayFirst }, json!("2026-11-30"), json!("30 November 2026"));
        right(Judge::OneOf, json!(["ACME", "Acme Inc."]), json!("acme inc"));
        right(Judge::Tags, json!(["b", "a"]), json!(["a", "b"]));
        right(
            Judge::List { key: None },
            json!([{"n": "A", "x": 1}, {"n": "b", "x": 2}]),
            json!([{"x": 2.0, "n": "B"}, {"n": "a", "x": 1}]),
        );
        right(Judge::Overlap { at_least: 0.6 }, json!("the cat sat on the mat"), json!("the cat is on the mat"));
        right(Judge::Text, json!(null), json!(""));
    }

    #[test]
    fn wrong_missed_and_invented_are_told_apart() {
        let number = || Judge::Number { tolerance: Tolerance { absolute: 0.01, relative: 0.0 } };
        for (judge, expected, given, verdict) in [
            (Judge::Text, json!("a"), json!("b"), Verdict::Wrong),
            (Judge::Text, json!("a"), json!(null), Verdict::Missed),
            (Judge::Text, json!(null), json!("b"), Verdict::Invented),
            (Judge::Label, json!(null), json!("b"), Verdict::Invented),
            (Judge::Tags, json!([]), json!(["a"]), Verdict::Invented),
            (Judge::Tags, json!(["a"]), json!([]), Verdict::Missed),
            (number(), json!(1.0), json!(1.02), Verdict::Wrong),
            (number(), json!(1.0), json!("about one"), Verdict::Wrong),
            (Judge::Date { order: DayMonth::DayFirst }, json!("2026-11-30"), json!("tomorrow"), Verdict::Wrong),
            (Judge::List { key: Some("n".to_owned()) }, json!([{"n": 1}]), json!([{"n": 1}, {"n": 2}]), Verdict::Wrong),
        ] {
            let said = format!("{judge:?} {expected} {given}");
            assert_eq!(judged(judge, expected, given), verdict, "{said}");
        }
    }
}
