//! Evaluation: rows with known answers, asked one after another, to figures that say how good a model is for them.
//!
//! It knows a suite, its data and decide's answers; it knows no engine, no clock and no terminal.

pub mod data;
#[cfg(test)]
mod golden;
pub mod label;
pub mod metrics;
pub mod reliability;
pub mod report;
pub mod suite;
mod tally;
mod text;

use std::ops::ControlFlow;
use std::time::Duration;

use crate::decide::{Answer, FieldAnswer};
use data::{BadRow, Data};
use label::Expected;
use suite::{ExpectedField, Suite};

pub use report::{Detail, Report};

/// An answer and how long it took: from the row's text to the answer, as its caller measured it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub answer: Answer,
    pub latency: Duration,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows done, failed ones among them.
    pub done: usize,
    pub failed: usize,
    /// Rows in the data.
    pub total: usize,
}

/// What came of every row that was tried, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    rows: Vec<RowOutcome>,
    /// Rows in the data; more than were tried where the run was interrupted.
    total: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct RowOutcome {
    line: u64,
    /// `None` where the row could not be read.
    expected: Option<Vec<Expected>>,
    /// The answers to the suite's expected fields, in its order; or why there are none.
    answered: Result<RowAnswer, String>,
}

#[derive(Debug, Clone, PartialEq)]
struct RowAnswer {
    fields: Vec<FieldAnswer>,
    latency: Duration,
}

/// Asks `answer` for each row of `data` in order.
///
/// A row that cannot be read, whose `answer` is an error, or whose answer lacks an expected field is a failed row and does
/// not end the run. `progress` is told after each row and ends the run by breaking; a row that failed as the run was ended
/// was not tried, for the interruption is likely why it failed.
pub fn run(
    suite: &Suite,
    data: &Data,
    mut answer: impl FnMut(&str) -> Result<Answered, String>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Outcome {
    let mut outcome = Outcome { rows: Vec::with_capacity(data.rows.len()), total: data.rows.len() };
    let mut failed = 0;
    for row in &data.rows {
        let (row, asked) = match row {
            Ok(row) => {
                let answered = answer(&row.input).and_then(|answered| aligned(answered, &suite.expect));
                (RowOutcome { line: row.line, expected: Some(row.expected.clone()), answered }, true)
            }
            Err(BadRow { line, reason }) => {
                (RowOutcome { line: *line, expected: None, answered: Err(reason.clone()) }, false)
            }
        };
        let row_failed = row.answered.is_err();
        failed += usize::from(row_failed);
        outcome.rows.push(row);
        if progress(Progress { done: outcome.rows.len(), failed, total: outcome.total }).is_break() {
            if asked && row_failed {
                outcome.rows.pop();
            }
            break;
        }
    }
    outcome
}

impl Outcome {
    /// The figures of the run, which took `elapsed` from its first row to its last.
    #[must_use]
    pub fn report(&self, suite: &Suite, elapsed: Duration, detail: Detail) -> Report {
        tally::report(self, suite, elapsed, detail)
    }
}

/// The answers to the expected fields, in their order. One expected field also takes an answer that is one bare value.
fn aligned(answered: Answered, expect: &[ExpectedField]) -> Result<RowAnswer, String> {
    let Answered { answer, latency } = answered;
    if let ([field], [_]) = (answer.fields.as_slice(), expect)
        && field.name.is_none()
    {
        return Ok(RowAnswer { fields: answer.fields, latency });
    }
    let find = |ExpectedField { field, .. }: &ExpectedField| {
        let found = answer.fields.iter().find(|f| f.name.as_deref() == Some(field));
        found.cloned().ok_or_else(|| {
            let names = answer.fields.iter().map(|f| f.name.as_deref().unwrap_or("one bare value"));
            format!("the answer has no field `{field}`; it has {}", suite::list(names))
        })
    };
    Ok(RowAnswer { fields: expect.iter().map(find).collect::<Result<_, _>>()?, latency })
}

#[cfg(test)]
mod tests {
    use super::report::{Accuracy, Counts, Failure, Majority};
    use super::{Answered, Detail, Outcome, Progress, Report, run};
    use crate::decide::{Answer, FieldAnswer};
    use crate::eval::data::{BadRow, Data, Row};
    use crate::eval::label::Expected;
    use crate::eval::suite::Suite;
    use serde_json::{Value, json};
    use std::ops::ControlFlow;
    use std::time::Duration;

    fn suite(expect: &str) -> Suite {
        Suite::parse(&format!("model: triage\ndata: tickets.csv\ninput: text\nexpect: {expect}\n"))
            .expect("a good suite")
    }

    fn field(name: Option<&str>, probabilities: &[(Value, f64)]) -> FieldAnswer {
        let best = probabilities.iter().fold(&probabilities[0], |best, p| if p.1 > best.1 { p } else { best });
        FieldAnswer {
            name: name.map(str::to_owned),
            value: best.0.clone(),
            probabilities: probabilities.to_vec(),
            label_mass: 0.9,
        }
    }

    fn answered(fields: Vec<FieldAnswer>, latency_ms: u64) -> Result<Answered, String> {
        let json = Value::Null; // the figures come from the fields
        Ok(Answered { answer: Answer { fields, json }, latency: Duration::from_millis(latency_ms) })
    }

    fn row(line: u64, input: &str, expected: &[&str]) -> Result<Row, BadRow> {
        let expected = expected.iter().map(|e| Expected::Text((*e).to_owned())).collect();
        Ok(Row { line, input: input.to_owned(), expected })
    }

    fn on(_: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Six tickets in CSV: three answers right in both fields or in one, one that fails, one unreadable, one of a queue that
    /// does not exist.
    fn tickets() -> (Suite, Outcome) {
        let suite = suite("[queue, urgency]");
        let data = Data {
            rows: vec![
                row(2, "b1", &["billing", "1"]),
                row(3, "s2", &["shipping", "2"]),
                row(4, "b2", &["shipping", "2.0"]),
                row(5, "fail", &["billing", "1"]),
                Err(BadRow { line: 6, reason: "cells in the row: 1; in the header: 3".to_owned() }),
                row(7, "b1", &["legal", "1"]),
            ],
            n_blank_lines: 0,
        };
        let outcome = run(
            &suite,
            &data,
            |text| {
                let (queue, urgency) = text.split_at(1);
                let sure = |yes: bool| if yes { 0.75 } else { 0.25 };
                let queue = [(json!("billing"), sure(queue == "b")), (json!("shipping"), sure(queue == "s"))];
                let urgency = [(json!(1), sure(urgency == "1")), (json!(2), sure(urgency == "2"))];
                match text {
                    "fail" => Err("the prompt has 9000 tokens, the context 8192".to_owned()),
                    _ => answered(vec![field(Some("queue"), &queue), field(Some("urgency"), &urgency)], 10),
                }
            },
            on,
        );
        (suite, outcome)
    }

    #[test]
    fn failed_rows_are_wrong_listed_and_without_probabilities() {
        let (suite, outcome) = tickets();
        let report = outcome.report(&suite, Duration::from_secs(2), Detail::Summary);
        assert_eq!(report.counts, Counts { total: 6, rows: 6, answered: 4, failed: 2, unreadable: 1 });
        assert_eq!(
            report.failures,
            [
                Failure { line: 5, reason: "the prompt has 9000 tokens, the context 8192".into() },
                Failure { line: 6, reason: "cells in the row: 1; in the header: 3".into() },
            ]
        );
        let correct = |a: Accuracy| (a.correct, a.rows);
        assert_eq!(correct(report.accuracy), (2, 6));
        let [queue, urgency] = report.fields.as_slice() else { panic!("two fields") };
        assert_eq!((correct(queue.accuracy), correct(urgency.accuracy)), ((2, 6), (4, 6)));

        let labels: Vec<&Value> = queue.classes.iter().map(|c| &c.label).collect();
        assert_eq!(labels, ["billing", "shipping", "legal"], "the contract's order, then what it does not have");
        let confusion = queue.confusion.as_ref().expect("few labels");
        assert_eq!(confusion.counts, [[1, 0, 0], [1, 1, 0], [1, 0, 0]]);
        assert_eq!((confusion.failed.as_slice(), confusion.unreadable), ([1, 0, 0].as_slice(), 1));
        assert!((queue.classes[0].recall - 0.5).abs() < 1e-12, "the failed ticket of billing is a miss");
        assert_eq!(queue.majority, Some(Majority { label: json!("billing"), accuracy: 2.0 / 6.0 }));

        let p = queue.probabilities.as_ref().expect("every answer has probabilities");
        assert_eq!((p.rows, p.not_a_candidate), (4, 1));
        let nll = (2.0 * -0.75_f64.ln() - 0.25_f64.ln() - f64::EPSILON.ln()) / 4.0;
        assert!((p.negative_log_likelihood - nll).abs() < 1e-12);
        // right: 2 * 0.0625; wrong: 2 * 0.5625; no candidate: 0.5625 + 0.0625 + 1
        assert!((p.brier - (0.125 * 2.0 + 1.125 + 1.625) / 4.0).abs() < 1e-12);
        assert!((p.expected_calibration_error - 0.25).abs() < 1e-12);
        assert!((p.mean_confidence - 0.75).abs() < 1e-12 && (p.mean_label_mass - 0.9).abs() < 1e-12);
        assert_eq!(urgency.classes.iter().map(|c| c.label.clone()).collect::<Vec<_>>(), [json!(1), json!(2)]);
        assert_eq!((report.speed.latency_p50_ms, report.speed.rows_per_second), (Some(10.0), Some(3.0)));
    }

    #[test]
    fn json_has_the_rows_only_when_asked_and_reads_back() {
        let (suite, outcome) = tickets();
        let summary = outcome.report(&suite, Duration::from_secs(2), Detail::Summary);
        let json = serde_json::to_value(&summary).expect("plain data");
        assert!(json.get("rows").is_none());
        let full = outcome.report(&suite, Duration::from_secs(2), Detail::Rows);
        let json = serde_json::to_value(&full).expect("plain data");
        assert_eq!(
            json["rows"][2],
            json!({"line": 4, "correct": false, "latency_ms": 10.0, "fields": [
                {"name": "queue", "expected": "shipping", "answer": "billing", "correct": false, "probability": 0.75,
                 "label_mass": 0.9, "probabilities":
                    [{"value": "billing", "probability": 0.75}, {"value": "shipping", "probability": 0.25}]},
                {"name": "urgency", "expected": 2, "answer": 2, "correct": true, "probability": 0.75,
                 "label_mass": 0.9, "probabilities":
                    [{"value": 1, "probability": 0.25}, {"value": 2, "probability": 0.75}]},
            ]})
        );
        assert_eq!(
            json["rows"][4],
            json!({"line": 6, "correct": false, "latency_ms": null, "fields": [],
                   "error": "cells in the row: 1; in the header: 3"})
        );
        assert_eq!(json["rows"].as_array().map(Vec::len), Some(6));
        let read: Report = serde_json::from_str(&json.to_string()).expect("what was written");
        // serde_json reads a number to within its last bit, which the text does not show.
        assert_eq!((read.to_text(), read.rows), (full.to_text(), full.rows));
    }

    #[test]
    fn a_run_ends_when_told_and_the_row_that_this_broke_was_not_tried() {
        let suite = suite("queue");
        let data = Data { rows: (1..=9).map(|line| row(line, "t", &["a"])).collect(), n_blank_lines: 0 };
        for (fails_at, rows) in [(3, 2), (99, 3)] {
            let (mut asked, mut told) = (0, Vec::new());
            let outcome = run(
                &suite,
                &data,
                |_| {
                    asked += 1;
                    if asked == fails_at {
                        return Err("cancelled".to_owned());
                    }
                    answered(vec![field(None, &[(json!("a"), 1.0)])], 5)
                },
                |progress| {
                    told.push(progress);
                    if progress.done == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                },
            );
            let report = outcome.report(&suite, Duration::from_secs(1), Detail::Summary);
            assert_eq!((report.counts.rows, report.counts.total, report.counts.failed), (rows, 9, 0));
            assert_eq!(told.len(), 3);
            assert_eq!(told[1], Progress { done: 2, failed: 0, total: 9 });
            let head = format!(
                "triage on tickets.csv\ninterrupted after {rows} of 9 rows; {rows} rows, {rows} answered, 0 failed\n"
            );
            assert!(report.to_text().starts_with(&head), "{}", report.to_text());
        }
    }

    #[test]
    fn an_answer_that_lacks_a_field_is_a_failed_row() {
        let data = Data { rows: vec![row(1, "t", &["a", "b"])], n_blank_lines: 0 };
        let suite = suite("{queue: a, refund: b}");
        let answer = |_: &str| answered(vec![field(Some("queue"), &[(json!("a"), 1.0)])], 5);
        let report = run(&suite, &data, answer, on).report(&suite, Duration::ZERO, Detail::Summary);
        assert_eq!(report.failures[0].reason, "the answer has no field `refund`; it has `queue`");
        assert_eq!((report.speed.latency_p50_ms, report.speed.rows_per_second), (None, None));
        assert_eq!(report.fields[0].probabilities, None);
    }

    #[test]
    fn answers_without_probabilities_have_no_probability_figures() {
        let data = Data { rows: vec![row(1, "t", &["1182"]), row(2, "t", &["7"])], n_blank_lines: 0 };
        let suite = suite("[order_id]");
        let open = FieldAnswer { probabilities: Vec::new(), ..field(Some("order_id"), &[(json!("1182"), 1.0)]) };
        let report = run(&suite, &data, |_| answered(vec![open.clone()], 5), on);
        let report = report.report(&suite, Duration::from_secs(1), Detail::Summary);
        assert_eq!(report.fields[0].probabilities, None);
        assert_eq!((report.accuracy.correct, report.accuracy.rows), (1, 2));
    }

    #[test]
    fn open_text_of_many_labels_has_no_matrix() {
        let suite = suite("[order_id]");
        let data = Data { rows: (0..300).map(|i| row(i, "t", &[&i.to_string()])).collect(), n_blank_lines: 0 };
        let open = FieldAnswer { probabilities: Vec::new(), ..field(Some("order_id"), &[(json!("7"), 1.0)]) };
        let report = run(&suite, &data, |_| answered(vec![open.clone()], 5), on);
        let report = report.report(&suite, Duration::from_secs(1), Detail::Summary);
        assert_eq!((report.fields[0].classes.len(), &report.fields[0].confusion), (300, &None));
    }

    #[test]
    fn the_order_of_the_rows_changes_no_figure() {
        let (suite, mut outcome) = tickets();
        let figures = |outcome: &Outcome| {
            let text = outcome.report(&suite, Duration::from_secs(2), Detail::Summary).to_text();
            text.split_once("failed rows").map(|(figures, _)| figures.to_owned())
        };
        let before = figures(&outcome);
        outcome.rows.reverse();
        assert!(before.is_some());
        assert_eq!(figures(&outcome), before);
    }

    #[test]
    fn nothing_is_claimed_of_a_run_of_no_rows() {
        let suite = suite("[queue]");
        let outcome = Outcome { rows: Vec::new(), total: 4 };
        let report = outcome.report(&suite, Duration::ZERO, Detail::Rows);
        assert_eq!((report.accuracy.accuracy, report.fields[0].macro_f1), (None, None));
        assert_eq!(report.rows, Some(Vec::new()));
        assert_eq!(
            report.to_text(),
            "triage on tickets.csv\ninterrupted after 0 of 4 rows; 0 rows, 0 answered, 0 failed\n\n\
             queue  accuracy of no rows\n\n0.0 s in all\n"
        );
    }

    #[test]
    fn the_whole_text_of_a_report() {
        let (suite, outcome) = tickets();
        let text = outcome.report(&suite, Duration::from_secs(2), Detail::Summary).to_text();
        assert_eq!(text, TEXT, "{text}");
    }

    const TEXT: &str = r"triage on tickets.csv
6 rows, 4 answered, 2 failed (counted as wrong)

all fields right  accuracy 0.333  (95 % interval 0.097 to 0.700)  2 of 6

queue  accuracy 0.333  (95 % interval 0.097 to 0.700)  2 of 6
  always `billing` would be 0.333
  negative log-likelihood 9.501  Brier score 0.750 (0 to 2)
  expected calibration error 0.250 (15 bins)  mean confidence 0.750
  mean label mass 0.900  over 4 rows with probabilities
  rows whose expected label is no possible answer: 1 (taken as probability 0)

  label                precision  recall     F1    rows
  billing                  0.333   0.500  0.400       2
  shipping                 1.000   0.500  0.667       2
  legal                    0.000   0.000  0.000       1
  macro-F1                                0.356

  expected \ answered  1  2  3  failed
   1 billing           1  .  .       1
   2 shipping          1  1  .       .
   3 legal             1  .  .       .
     (not read)        .  .  .       1

urgency  accuracy 0.667  (95 % interval 0.300 to 0.903)  4 of 6
  always `1` would be 0.500
  negative log-likelihood 0.288  Brier score 0.125 (0 to 2)
  expected calibration error 0.250 (15 bins)  mean confidence 0.750
  mean label mass 0.900  over 4 rows with probabilities

  label                precision  recall     F1    rows
  1                        1.000   0.667  0.800       3
  2                        1.000   1.000  1.000       2
  macro-F1                                0.900

  expected \ answered  1  2  failed
   1 1                 2  .       1
   2 2                 .  2       .
     (not read)        .  .       1

latency p50 10.0 ms, p95 10.0 ms  3.0 rows/s  2.0 s in all

failed rows
  line 5  the prompt has 9000 tokens, the context 8192
  line 6  cells in the row: 1; in the header: 3
";
}
