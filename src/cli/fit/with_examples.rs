//! A model asked about labelled rows, and two ways to ask it compared on the same rows.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};
use slm_stats::Proportion;
use slm_stats::intervals::Bootstrap;
use slm_stats::paired::{Alternative, Pairs, bootstrap_difference};

use crate::cli::interrupt;
use crate::contract::Form;
use crate::eval::answer::Scores;
use crate::eval::label::key;
use crate::examples::LabelledText;
use crate::failure::Failure;
use crate::infer::{Cancel, Finding, FitUse, Scoring, Session, Turn, wait};
use crate::ui::output::say;

/// The level of the tests.
const LEVEL: f64 = 0.05;
/// As the tests of methods have them.
const RESAMPLES: usize = 1000;
/// How long is asked in silence, and between two messages.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    pub form: &'a Form,
    pub rows: &'a [LabelledText],
    pub scoring: Scoring,
}

/// What came of each row.
#[derive(Debug, Default)]
pub struct Outcomes {
    right: Vec<bool>,
    /// Of a chosen answer its negative log-likelihood, of a written one the part of its fields that is wrong.
    losses: Vec<f64>,
    ms: Vec<f64>,
    /// Of written answers.
    filled: Option<Filled>,
}

/// Fields with something in them: those that are right, those that are only in the answer, and only in the label.
#[derive(Debug, Clone, Copy, Default)]
struct Filled {
    both: u64,
    answered: u64,
    expected: u64,
}

/// What is told of outcomes.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    pub rows: usize,
    /// The part of the rows whose whole answer is right.
    pub right: f64,
    pub loss: f64,
    /// Of the fields that have something in them, where answers are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// The median.
    pub row_ms: f64,
}

/// How two ways compare.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    /// How likely so much smaller losses would be by chance, one-sided, by the paired bootstrap.
    pub p_better: f64,
    /// How likely so many fewer right answers would be by chance, by McNemar's exact test.
    pub p_fewer_right: f64,
}

impl Compared {
    #[must_use]
    pub fn helps(self) -> bool {
        self.p_better <= LEVEL && !self.has_fewer_right()
    }

    #[must_use]
    pub fn has_fewer_right(self) -> bool {
        self.p_fewer_right <= LEVEL
    }
}

impl Trial<'_> {
    /// Asks about every row, one after the other.
    ///
    /// # Errors
    /// A row gets no answer, or somebody interrupts.
    pub fn run(&self, session: &Session, name: &str) -> Result<Outcomes, Failure> {
        let _listening = interrupt::listen(|| {});
        let mut outcomes = Outcomes::default();
        let mut told = Instant::now();
        for (nth, row) in self.rows.iter().enumerate() {
            if interrupt::happened() {
                return Err(Failure::failed("interrupted; nothing was stored, and the same command begins again"));
            }
            if told.elapsed() >= PATIENCE {
                say(format_args!("{name}: {nth} of {} rows", self.rows.len()));
                told = Instant::now();
            }
            let turn = Turn {
                form: self.form.clone(),
                scoring: self.scoring,
                fit: FitUse::None,
                ..Turn::to_text(None, &row.text)
            };
            let asked = Instant::now();
            let finished = wait(async { session.ask(turn)?.whole().await }, &Cancel::default())?;
            outcomes.ms.push(asked.elapsed().as_secs_f64() * 1e3);
            match &finished.end.finding {
                Finding::Closed(answer) => outcomes.chosen(&Scores::of(answer), self.form, &row.label),
                Finding::Open(Ok(value)) => outcomes.written(value, &row.label),
                _ => outcomes.written(&Value::Null, &row.label),
            }
        }
        Ok(outcomes)
    }
}

impl Outcomes {
    fn chosen(&mut self, scores: &[Scores], form: &Form, label: &Value) {
        let Form::Closed(contract) = form else { return };
        let (mut loss, mut is_right) = (0.0, true);
        for (field, scores) in contract.fields().iter().zip(scores) {
            let own = field.name().and_then(|name| label.get(name)).unwrap_or(label);
            let options = field.values();
            let truth = options.iter().position(|option| key(option) == key(own));
            let p = truth.map_or(0.0, |truth| scores.probabilities[truth]);
            loss -= p.max(f64::EPSILON).ln();
            let others = scores.probabilities.iter().enumerate().filter(|(at, _)| Some(*at) != truth);
            is_right &= others.map(|(_, other)| *other).fold(0.0, f64::max) < p;
        }
        self.right.push(is_right);
        self.losses.push(loss / contract.fields().len().max(1) as f64);
    }

    fn written(&mut self, answer: &Value, label: &Value) {
        let nothing = Map::new();
        let fields = |value: &Value| value.as_object().unwrap_or(&nothing).clone();
        let (answered, expected) = (fields(answer), fields(label));
        let filled = self.filled.get_or_insert_default();
        let mut n_wrong = 0;
        let names = expected.keys().chain(answered.keys().filter(|name| !expected.contains_key(*name)));
        let mut n_fields = 0;
        for name in names {
            let (one, other) = (said(answered.get(name)), said(expected.get(name)));
            n_fields += 1;
            n_wrong += u32::from(one != other);
            match (one, other) {
                (Some(one), Some(other)) if one == other => filled.both += 1,
                (one, other) => {
                    filled.answered += u64::from(one.is_some());
                    filled.expected += u64::from(other.is_some());
                }
            }
        }
        let is_right = if expected.is_empty() { answer == label } else { n_wrong == 0 };
        self.right.push(is_right);
        let all_wrong = if is_right { 0.0 } else { 1.0 };
        self.losses.push(if n_fields == 0 { all_wrong } else { f64::from(n_wrong) / f64::from(n_fields) });
    }

    #[must_use]
    pub fn figures(&self) -> Figures {
        let n = self.right.len();
        let mut ms = self.ms.clone();
        ms.sort_by(f64::total_cmp);
        let f1 = self.filled.map(|Filled { both, answered, expected }| {
            let all = (2 * both + answered + expected) as f64;
            if all == 0.0 { 1.0 } else { 2.0 * both as f64 / all }
        });
        Figures {
            rows: n,
            right: Proportion::of(self.right.iter().copied()).value().unwrap_or_default(),
            loss: self.losses.iter().sum::<f64>() / n.max(1) as f64,
            f1,
            row_ms: ms.get(n / 2).copied().unwrap_or_default(),
        }
    }

    /// How others of the same rows compare with these.
    #[must_use]
    pub fn compared(&self, other: &Outcomes) -> Compared {
        let mean = |losses: &[f64], rows: &[usize]| {
            (!rows.is_empty()).then(|| rows.iter().map(|&row| losses[row]).sum::<f64>() / rows.len() as f64)
        };
        let bootstrap = Bootstrap { n_resamples: RESAMPLES, ..Bootstrap::default() };
        let found = bootstrap_difference(
            &bootstrap,
            self.losses.len(),
            |rows| mean(&self.losses, rows),
            |rows| mean(&other.losses, rows),
        );
        let p_better = match found {
            Some(found) if found.difference < 0.0 => found.p_value / 2.0,
            Some(found) => 1.0 - found.p_value / 2.0,
            None => 1.0,
        };
        let pairs = Pairs::count(self.right.iter().copied().zip(other.right.iter().copied()));
        Compared { p_better, p_fewer_right: pairs.mcnemar(Alternative::SecondIsWorse) }
    }
}

/// What a field says, spaces around texts left out; `None` where it says nothing.
fn said(value: Option<&Value>) -> Option<Value> {
    match value? {
        Value::Null => None,
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => Some(text.trim().into()),
        Value::Array(items) if items.is_empty() => None,
        other => Some(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(pairs: &[(Value, Value)]) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for (answer, label) in pairs {
            outcomes.written(answer, label);
            outcomes.ms.push(1.0);
        }
        outcomes
    }

    #[test]
    fn written_answers_are_compared_field_by_field() {
        let label = json!({"date": "monday", "time": ""});
        let outcomes = of(&[
            (json!({"date": " monday", "time": null}), label.clone()),
            (json!({"date": "monday", "time": "noon"}), label.clone()),
            (json!({"date": "friday", "time": ""}), label.clone()),
            (Value::Null, label),
        ]);
        assert_eq!(outcomes.right, [true, false, false, false]);
        assert_eq!(outcomes.losses, [0.0, 0.5, 0.5, 0.5]);
        // Two of three expected dates are found, and a time and a date are said that are not there.
        let figures = outcomes.figures();
        assert!((figures.f1.unwrap() - 4.0 / (4.0 + 2.0 + 2.0)).abs() < 1e-12, "{figures:?}");
        assert!((figures.right - 0.25).abs() < 1e-12, "{figures:?}");
    }

    #[test]
    fn better_answers_help_and_worse_or_equal_ones_do_not() {
        let (right, wrong) = (json!({"a": "x"}), json!({"a": "y"}));
        let rows = |n_right: usize| {
            of(&(0..40)
                .map(|n| (if n < n_right { right.clone() } else { wrong.clone() }, right.clone()))
                .collect::<Vec<_>>())
        };
        assert!(rows(10).compared(&rows(30)).helps());
        assert!(!rows(30).compared(&rows(30)).helps());
        let worse = rows(30).compared(&rows(10));
        assert!(!worse.helps() && worse.has_fewer_right());
    }
}
