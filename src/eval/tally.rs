//! From the outcome of a run to its report: labels become numbers, numbers become metrics; it formats nothing.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::Value;

use super::label::{self, Expected};
use super::metrics::{self, Class, Confusion, Observation, Proportion};
use super::reliability::{self, Scored};
use super::report::{
    Accuracy, BinReport, ClassReport, ConfusionReport, Counts, Detail, Failure, FieldReport, LabelProbability,
    Majority, ProbabilityReport, Report, RowField, RowReport, Speed,
};
use super::suite::Suite;
use super::{Outcome, RowOutcome};
use crate::decide::FieldAnswer;

/// A contract has at most as many options; more labels are open text, and their matrix would be its square.
const MAX_MATRIX: usize = 255;

pub(super) fn report(outcome: &Outcome, suite: &Suite, elapsed: Duration, detail: Detail) -> Report {
    let fields: Vec<Field> = (0..suite.expect.len()).map(|i| Field::new(i, &outcome.rows)).collect();
    let all_right = |row: usize| fields.iter().all(|f| f.is_right(row));
    let hits = (0..outcome.rows.len()).filter(|&row| all_right(row)).count() as u64;
    let failure =
        |row: &RowOutcome| row.answered.as_ref().err().map(|reason| Failure { line: row.line, reason: reason.clone() });
    let failures: Vec<Failure> = outcome.rows.iter().filter_map(failure).collect();
    Report {
        model: suite.model.clone(),
        data: suite.data.display().to_string(),
        evaluation_id: None,
        counts: Counts {
            total: outcome.total as u64,
            rows: outcome.rows.len() as u64,
            answered: (outcome.rows.len() - failures.len()) as u64,
            failed: failures.len() as u64,
            unreadable: outcome.rows.iter().filter(|r| r.expected.is_none()).count() as u64,
        },
        accuracy: accuracy(Proportion { hits, n: outcome.rows.len() as u64 }),
        fields: suite.expect.iter().zip(&fields).map(|(e, field)| field.report(&e.field, &outcome.rows)).collect(),
        speed: speed(&outcome.rows, elapsed),
        failures,
        rows: match detail {
            Detail::Summary => None,
            Detail::Rows => Some((0..outcome.rows.len()).map(|i| row_report(i, outcome, suite, &fields)).collect()),
        },
    }
}

/// One field over all rows, its labels as numbers.
struct Field {
    /// Which of the suite's fields it is.
    index: usize,
    /// Every label: the candidates in the contract's order, then the others by their text.
    labels: Vec<Value>,
    n_candidates: usize,
    numbers: HashMap<String, usize>,
    /// One for each row.
    observations: Vec<Observation>,
}

impl Field {
    fn new(index: usize, rows: &[RowOutcome]) -> Self {
        let mut labels: Vec<Value> = Vec::new();
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut number = |value: &Value, labels: &mut Vec<Value>| {
            *numbers.entry(label::key(value)).or_insert_with(|| {
                labels.push(value.clone());
                labels.len() - 1
            })
        };
        for (candidate, _) in answers(index, rows).flat_map(|a| &a.probabilities) {
            number(candidate, &mut labels);
        }
        let n_candidates = labels.len();

        let truths: Vec<Option<Value>> =
            rows.iter().map(|row| expected(index, row).map(|e| e.resolve(&labels))).collect();
        let named = answers(index, rows).map(|a| &a.value).chain(truths.iter().flatten());
        // Sorted, so that the order of the rows changes nothing.
        let others: BTreeMap<String, &Value> = named.map(|value| (label::key(value), value)).collect();
        for value in others.into_values() {
            number(value, &mut labels);
        }
        let observations = rows.iter().zip(&truths).map(|(row, truth)| match (truth, answer(index, row)) {
            (None, _) => Observation::Unreadable,
            (Some(truth), None) => Observation::Failed { truth: number(truth, &mut labels) },
            (Some(truth), Some(a)) => {
                Observation::Answered { truth: number(truth, &mut labels), answer: number(&a.value, &mut labels) }
            }
        });
        let observations = observations.collect();
        Field { index, labels, n_candidates, numbers, observations }
    }

    fn is_right(&self, row: usize) -> bool {
        matches!(self.observations[row], Observation::Answered { truth, answer } if truth == answer)
    }

    fn number(&self, value: &Value) -> usize {
        *self.numbers.get(&label::key(value)).expect("every answer and candidate was numbered")
    }

    fn report(&self, name: &str, rows: &[RowOutcome]) -> FieldReport {
        let classes = Class::count(self.labels.len(), &self.observations);
        let present: Vec<usize> = (0..classes.len()).filter(|&i| classes[i].is_present()).collect();
        let proportion = Proportion::accuracy(&self.observations);
        // The first of equals, so that the contract's order decides.
        let majority = present.iter().copied().rev().max_by_key(|&i| classes[i].support);
        FieldReport {
            name: name.to_owned(),
            accuracy: accuracy(proportion),
            majority: majority.and_then(|i| {
                let accuracy = Proportion { hits: classes[i].support, n: proportion.n }.value()?;
                Some(Majority { label: self.labels[i].clone(), accuracy })
            }),
            macro_f1: metrics::macro_f1(&classes),
            classes: present.iter().map(|&i| class_report(&self.labels[i], classes[i])).collect(),
            confusion: (present.len() <= MAX_MATRIX).then(|| self.confusion(&present)),
            probabilities: self.probabilities(rows),
        }
    }

    fn confusion(&self, present: &[usize]) -> ConfusionReport {
        let place: HashMap<usize, usize> = present.iter().enumerate().map(|(place, &label)| (label, place)).collect();
        let placed = |observation: &Observation| match *observation {
            Observation::Answered { truth, answer } => {
                Observation::Answered { truth: place[&truth], answer: place[&answer] }
            }
            Observation::Failed { truth } => Observation::Failed { truth: place[&truth] },
            Observation::Unreadable => Observation::Unreadable,
        };
        let observations: Vec<Observation> = self.observations.iter().map(placed).collect();
        let Confusion { counts, failed, unreadable } = Confusion::new(present.len(), &observations);
        let labels = present.iter().map(|&i| self.labels[i].clone()).collect();
        ConfusionReport { labels, counts, failed, unreadable }
    }

    fn probabilities(&self, rows: &[RowOutcome]) -> Option<ProbabilityReport> {
        let with_probabilities = || answers(self.index, rows).filter(|a| !a.probabilities.is_empty());
        let scored: Vec<Scored> = rows
            .iter()
            .zip(&self.observations)
            .filter_map(|(row, o)| self.scored(answer(self.index, row)?, *o))
            .collect();
        let masses: Vec<f64> = with_probabilities().map(|a| a.label_mass).collect();
        let confidences: Vec<f64> = scored.iter().map(|s| s.probabilities[s.answer]).collect();
        let bins = reliability::bins(&scored);
        let border = |b: u64| metrics::float(b) / metrics::float(reliability::BINS as u64);
        let bin = |(b, bin): (u64, &reliability::Bin)| BinReport {
            low: border(b),
            high: border(b + 1),
            rows: bin.rows,
            confidence: bin.confidence(),
            accuracy: bin.accuracy(),
        };
        Some(ProbabilityReport {
            rows: scored.len() as u64,
            not_a_candidate: scored.iter().filter(|s| s.truth.is_none()).count() as u64,
            negative_log_likelihood: reliability::log_loss(&scored)?,
            brier: reliability::brier(&scored)?,
            expected_calibration_error: reliability::expected_calibration_error(&bins)?,
            mean_confidence: metrics::mean(confidences.into_iter())?,
            mean_label_mass: metrics::mean(masses.into_iter())?,
            bins: (0..).zip(&bins).map(bin).collect(),
        })
    }

    /// `None` where the answer has no probability of its own.
    fn scored(&self, answer: &FieldAnswer, observation: Observation) -> Option<Scored> {
        let Observation::Answered { truth, answer: chosen } = observation else { return None };
        let place = |label: usize| answer.probabilities.iter().position(|(value, _)| self.number(value) == label);
        Some(Scored {
            probabilities: answer.probabilities.iter().map(|(_, p)| *p).collect(),
            answer: place(chosen)?,
            truth: if truth < self.n_candidates { place(truth) } else { None },
        })
    }
}

fn answer(index: usize, row: &RowOutcome) -> Option<&FieldAnswer> {
    row.answered.as_ref().ok()?.fields.get(index)
}

fn answers(index: usize, rows: &[RowOutcome]) -> impl Iterator<Item = &FieldAnswer> {
    rows.iter().filter_map(move |row| answer(index, row))
}

fn expected(index: usize, row: &RowOutcome) -> Option<&Expected> {
    row.expected.as_ref()?.get(index)
}

fn accuracy(proportion: Proportion) -> Accuracy {
    let (low, high) = proportion.wilson().unzip();
    Accuracy { correct: proportion.hits, rows: proportion.n, accuracy: proportion.value(), low, high }
}

fn class_report(label: &Value, class: Class) -> ClassReport {
    ClassReport {
        label: label.clone(),
        precision: class.precision(),
        recall: class.recall(),
        f1: class.f1(),
        support: class.support,
        answered: class.answered,
    }
}

fn speed(rows: &[RowOutcome], elapsed: Duration) -> Speed {
    let latencies: Vec<f64> = rows.iter().filter_map(|r| Some(ms(r.answered.as_ref().ok()?.latency))).collect();
    let elapsed_s = elapsed.as_secs_f64();
    Speed {
        latency_p50_ms: metrics::percentile(&latencies, 0.50),
        latency_p95_ms: metrics::percentile(&latencies, 0.95),
        rows_per_second: (elapsed_s > 0.0).then(|| metrics::float(rows.len() as u64) / elapsed_s),
        elapsed_s,
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn row_report(nth: usize, outcome: &Outcome, suite: &Suite, fields: &[Field]) -> RowReport {
    let row = &outcome.rows[nth];
    let field = |(field, e): (&Field, &super::ExpectedField)| {
        let answer = answer(field.index, row)?;
        let Observation::Answered { truth, .. } = field.observations[nth] else { return None };
        let probability = |(value, p): &(Value, f64)| LabelProbability { value: value.clone(), probability: *p };
        Some(RowField {
            name: e.field.clone(),
            expected: field.labels[truth].clone(),
            answer: answer.value.clone(),
            correct: field.is_right(nth),
            probability: answer.probability(),
            label_mass: answer.label_mass,
            probabilities: answer.probabilities.iter().map(probability).collect(),
        })
    };
    RowReport {
        line: row.line,
        correct: fields.iter().all(|f| f.is_right(nth)),
        latency_ms: row.answered.as_ref().ok().map(|a| ms(a.latency)),
        fields: fields.iter().zip(&suite.expect).filter_map(field).collect(),
        error: row.answered.as_ref().err().cloned(),
    }
}
