//! The labels of a field as numbers: what is expected and answered in every row, for all subjects alike.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use slm_stats::classification::Observation;

use crate::eval::label::key;
use crate::eval::record::{Record, Records, RowAnswer};

/// A field's labels: its candidates in the contract's order, then the others by their text.
#[derive(Debug)]
pub struct Labels {
    pub labels: Vec<Value>,
    pub n_candidates: usize,
    numbers: HashMap<String, usize>,
    nth: usize,
}

impl Labels {
    /// Those of the field `nth`, over all rows and subjects.
    #[must_use]
    pub fn of(records: &Records, nth: usize) -> Labels {
        let mut labels = Labels { labels: Vec::new(), n_candidates: 0, numbers: HashMap::new(), nth };
        for candidate in &records.fields[nth].candidates {
            labels.add(candidate);
        }
        labels.n_candidates = labels.labels.len();
        let truths = records.rows.iter().filter_map(|row| Some(&row.expected.as_ref().ok()?[nth]));
        let answers = records.rows.iter().flat_map(|row| &row.answers).flatten();
        let answers = answers.filter_map(|answer| Some(&answer.fields.as_ref().ok()?[nth].value));
        // Sorted, so that the order of the rows changes nothing.
        let others: BTreeMap<String, &Value> = truths.chain(answers).map(|value| (key(value), value)).collect();
        for value in others.into_values() {
            labels.add(value);
        }
        labels
    }

    /// Which of the records' fields it is.
    #[must_use]
    pub fn field(&self) -> usize {
        self.nth
    }

    fn add(&mut self, value: &Value) {
        let next = self.labels.len();
        if *self.numbers.entry(key(value)).or_insert(next) == next {
            self.labels.push(value.clone());
        }
    }

    /// A label's number.
    #[must_use]
    pub fn number(&self, value: &Value) -> usize {
        *self.numbers.get(&key(value)).expect("every truth and answer was numbered")
    }

    /// What is expected of a row; `None` where it cannot be read.
    #[must_use]
    pub fn truth(&self, row: &Record) -> Option<usize> {
        Some(self.number(&row.expected.as_ref().ok()?[self.nth]))
    }

    /// What came of a row.
    #[must_use]
    pub fn observation(&self, row: &Record, answer: Option<&RowAnswer>) -> Observation {
        let answer = answer.and_then(|answer| Some(self.number(&answer.fields.as_ref().ok()?[self.nth].value)));
        Observation::new(self.truth(row), answer)
    }
}
