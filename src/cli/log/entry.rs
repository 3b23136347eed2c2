//! A decision with its corrections: the fields that it has, the answers that each may have, and what people say is right.

use serde_json::{Map, Value};

use super::args::Filter;
use super::corrections::{Corrected, Corrections};
use super::files::LogFiles;
use crate::api::decision_log::DecisionLine;
use crate::eval::label::{key, show};
use crate::failure::Failure;

/// A decision as it was written, and what is right where people said so.
#[derive(Debug, Clone)]
pub struct Entry {
    pub line: DecisionLine,
    pub corrected: Corrected,
}

/// A field of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// `None` where the whole answer is one value.
    pub name: Option<String>,
    /// The answers that it may have; empty where nobody told probabilities.
    pub options: Vec<Value>,
    /// The answer, the best guess where it was withheld; `None` where there was none.
    pub best: Option<Value>,
    pub probability: Option<f64>,
    pub is_withheld: bool,
}

impl Entry {
    /// Reads every decision that a filter lets through, the oldest first. Gives how many there were, and how many lines are none.
    ///
    /// # Errors
    /// The log or its corrections cannot be read, or what `take` fails with.
    pub fn each(
        files: LogFiles,
        corrections: &Corrections,
        filter: &Filter,
        mut take: impl FnMut(Entry) -> Result<(), Failure>,
    ) -> Result<Read, Failure> {
        let mut read = Read::default();
        files.lines(|line| {
            let Ok(line) = serde_json::from_str::<DecisionLine>(line) else {
                read.n_unreadable += u64::from(!line.is_empty());
                return Ok(());
            };
            read.n += 1;
            let corrected = corrections.of(&line);
            let entry = Entry { line, corrected };
            if entry.passes(filter) { take(entry) } else { Ok(()) }
        })?;
        Ok(read)
    }

    fn passes(&self, filter: &Filter) -> bool {
        filter.model.as_ref().is_none_or(|model| *model == self.line.model)
            && filter.since.as_ref().is_none_or(|since| self.line.time >= *since)
            && (!filter.abstained || self.is_withheld())
            && (!filter.corrected || !self.corrected.is_empty())
    }

    /// Whether a person was to answer, all of it or a field.
    #[must_use]
    pub fn is_withheld(&self) -> bool {
        self.line.review || self.line.fields.iter().any(|field| field.abstained.is_some())
    }

    /// The line as the log has it, with what is right.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut value = serde_json::to_value(&self.line).unwrap_or_default();
        if let (Some(object), false) = (value.as_object_mut(), self.corrected.is_empty()) {
            object.insert("corrected".to_owned(), by_field(&self.corrected));
        }
        value
    }
}

/// What was read of a log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Read {
    pub n: u64,
    pub n_unreadable: u64,
}

/// Labels as an answer: one value, or an object.
fn by_field(labels: &Corrected) -> Value {
    match labels.as_slice() {
        [(None, label)] => label.clone(),
        labels => {
            let named = labels.iter().map(|(name, label)| (name.clone().unwrap_or_default(), label.clone()));
            Value::Object(named.collect::<Map<_, _>>())
        }
    }
}

/// The fields of a decision.
#[must_use]
pub fn slots(line: &DecisionLine) -> Vec<Slot> {
    let of_field = |field: &crate::api::extra::ExtraField| Slot {
        name: field.name.clone(),
        options: field.probabilities.iter().map(|one| one.value.clone()).collect(),
        best: Some(field.guess.clone().unwrap_or_else(|| field.value.clone())),
        probability: Some(field.probability),
        is_withheld: field.abstained.is_some(),
    };
    if !line.fields.is_empty() {
        return line.fields.iter().map(of_field).collect();
    }
    // Without probabilities there is the answer alone; where that was withheld, the last one on the way is the best guess.
    let last = || line.path.iter().rev().find_map(|step| step.answer.as_ref());
    let answer = if line.review { last() } else { Some(&line.answer) };
    let mut slots = Vec::new();
    leaves(None, answer.filter(|answer| !answer.is_null()), line.review, &mut slots);
    slots
}

fn leaves(name: Option<String>, value: Option<&Value>, is_withheld: bool, slots: &mut Vec<Slot>) {
    match value {
        Some(Value::Object(map)) => {
            for (key, value) in map {
                let name = name.as_ref().map_or_else(|| key.clone(), |name| format!("{name}.{key}"));
                leaves(Some(name), Some(value), is_withheld, slots);
            }
        }
        value => {
            slots.push(Slot { name, options: Vec::new(), best: value.cloned(), probability: None, is_withheld });
        }
    }
}

/// Whether two labels are the same.
#[must_use]
pub fn is_same(one: &Value, other: &Value) -> bool {
    key(one) == key(other)
}

/// A label beside the field's name, for people.
#[must_use]
pub fn named(name: Option<&str>, label: &str) -> String {
    name.map_or_else(|| label.to_owned(), |name| format!("{name}={label}"))
}

/// Labels by field, for people.
#[must_use]
pub fn shown(labels: &Corrected) -> String {
    labels.iter().map(|(name, label)| named(name.as_deref(), &show(label))).collect::<Vec<_>>().join(" ")
}
