//! What is odd about data before any model is asked: labels that no answer can be, outer spaces, empty and repeated rows.

use serde_json::Value;

use super::{Data, counted};
use crate::eval::label::{key, show};
use crate::eval::suite::{ExpectedField, Suite};

/// The most labels that are named; more are counted.
const NAMED: usize = 5;
/// A label is near another that is as alike as this (Jaro and Winkler's likeness, 1 for equal ones).
const NEAR: f64 = 0.8;

/// What becomes of a row whose label no answer can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impossible {
    CountsAsWrong,
    IsLeftOut,
}

impl Data {
    /// What a person should know of the rows, a sentence each. `candidates` has for each of the suite's fields the answers that
    /// can be given, and none where they are open.
    #[must_use]
    pub fn findings(&self, suite: &Suite, candidates: &[Vec<Value>], then: Impossible) -> Vec<String> {
        let mut findings = Vec::new();
        for (nth, field) in suite.expect.iter().enumerate() {
            let allowed = candidates.get(nth).map_or(&[][..], Vec::as_slice);
            if !allowed.is_empty() && field.judge.is_label() {
                findings.extend(self.impossible((nth, field), allowed, then));
            }
        }
        let contents = || self.rows.iter().filter_map(|row| row.content.as_ref().ok());
        let n_empty = contents().filter(|content| content.input.trim().is_empty()).count() as u64;
        findings.extend(sentence(n_empty, "row has an empty text", "rows have an empty text"));
        findings.extend(sentence(
            self.n_duplicates,
            "row repeats the text of a row before it",
            "rows repeat the text of a row before them",
        ));
        findings
    }

    /// Labels that no answer can be.
    fn impossible(&self, (nth, field): (usize, &ExpectedField), allowed: &[Value], then: Impossible) -> Vec<String> {
        let keys: Vec<String> = allowed.iter().map(key).collect();
        let labels = self.rows.iter().filter_map(|row| Some(row.content.as_ref().ok()?.expected[nth].resolve(allowed)));
        let impossible = counted(labels.filter(|label| !keys.contains(&key(label))).map(|label| label.to_string()));
        let line = |(label, n): &(String, u64)| {
            let label: Value = serde_json::from_str(label).unwrap_or_default();
            let rows = if *n == 1 { "1 row expects".to_owned() } else { format!("{n} rows expect") };
            let so = match (then, n) {
                (Impossible::CountsAsWrong, 1) => "it counts as wrong",
                (Impossible::CountsAsWrong, _) => "they count as wrong",
                (Impossible::IsLeftOut, 1) => "it is left out",
                (Impossible::IsLeftOut, _) => "they are left out",
            };
            let quoted = quoted(&label);
            let hint = near(&label, allowed).map_or_else(
                || format!("the answers are {}", listed(allowed)),
                |near| format!("did you mean `{}`?", show(near)),
            );
            let field = &field.field;
            format!("`{field}`: {rows} {quoted}, which no answer can be, so {so}; {hint}")
        };
        let mut lines: Vec<String> = impossible.iter().take(NAMED).map(line).collect();
        if impossible.len() > NAMED {
            let more = impossible.len() - NAMED;
            lines.push(format!("`{}`: {more} more labels are no possible answers", field.field));
        }
        lines
    }
}

/// A label in backticks; one with outer spaces in quotes, so that they are seen.
fn quoted(label: &Value) -> String {
    match label.as_str() {
        Some(text) if text.trim() != text => format!("{text:?} (with outer spaces)"),
        _ => format!("`{}`", show(label)),
    }
}

fn listed(allowed: &[Value]) -> String {
    let mut shown: Vec<String> = allowed.iter().take(NAMED).map(|label| format!("`{}`", show(label))).collect();
    if allowed.len() > NAMED {
        shown.push(format!("and {} more", allowed.len() - NAMED));
    }
    shown.join(", ")
}

/// The answer that was likely meant.
fn near<'a>(label: &Value, allowed: &'a [Value]) -> Option<&'a Value> {
    let text = label.as_str()?;
    let folded = |text: &str| text.trim().to_lowercase().replace(['_', '-'], " ");
    let likeness = |other: &Value| strsim::jaro_winkler(&folded(text), &folded(other.as_str().unwrap_or_default()));
    let best = allowed.iter().filter(|other| other.is_string()).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= NEAR).then_some(best)
}

fn sentence(n: u64, one: &str, several: &str) -> Option<String> {
    match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {several}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::eval::data::Selection;

    #[test]
    fn odd_labels_and_rows_are_told_before_anything_is_asked() {
        let suite = Suite::parse(
            "model: m\ninput: text\nexpect: mood\ndata:\n- {text: a, mood: Negative}\n- {text: b, mood: ' positive'}\n\
             - {text: c, mood: negative}\n- {text: c, mood: fine}\n- {text: ' ', mood: Negative}\n",
        )
        .expect("a good suite");
        let data = Data::load(Path::new(""), &suite, &Selection::default(), &crate::eval::data::parquet::read_here)
            .expect("good rows");
        let allowed = vec![json!("positive"), json!("negative")];
        assert_eq!(
            data.findings(&suite, &[allowed], Impossible::CountsAsWrong),
            [
                "`mood`: 2 rows expect `Negative`, which no answer can be, so they count as wrong; did you mean `negative`?",
                "`mood`: 1 row expects \" positive\" (with outer spaces), which no answer can be, so it counts as wrong; did you \
                 mean `positive`?",
                "`mood`: 1 row expects `fine`, which no answer can be, so it counts as wrong; the answers are `positive`, `negative`",
                "1 row has an empty text",
                "1 row repeats the text of a row before it",
            ]
        );
        assert_eq!(
            data.findings(&suite, &[Vec::new()], Impossible::CountsAsWrong).len(),
            2,
            "open answers can be anything"
        );
    }
}
