//! What a run knows of each row, from which every report is computed: the row, what it expects, and what each subject answered.

use serde_json::Value;

use super::answer::{Cost, Failed, FieldAnswer, Given, Why};
use super::data::{Data, Place};
use super::label::Expected;
use super::suite::{ExpectedField, Judge, TextLimits};
use crate::contract::Form;
use crate::digest::Digest;
use crate::remote::Price;

/// Everything that reports say, before it is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    /// The suite's file, and its data, in words.
    pub suite: String,
    pub data: String,
    pub fields: Vec<Field>,
    pub subjects: Vec<Subject>,
    pub rows: Vec<Record>,
}

/// A field that is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub judge: Judge,
    /// The answers that can be given, of all subjects, in their contracts' order; none where the field is open.
    pub candidates: Vec<Value>,
    /// What a written answer is to keep, beside what is expected of it.
    pub limits: Option<TextLimits>,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    pub name: String,
    pub kind: Kind,
    /// From the first question to the last answer; rows that were known are in no figure of speed.
    pub elapsed_s: f64,
    /// Rows whose answers were kept from before.
    pub n_cached: u64,
    /// The most memory that the process which computed had at once, while this subject was asked; `None` where it is not known.
    pub peak_memory_bytes: Option<u64>,
}

/// What a subject is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Model {
        model: String,
        /// Under which equal questions have equal probabilities to the last bit; `None` where answers are written, or nobody
        /// was asked.
        evaluation_id: Option<String>,
    },
    /// A model that somebody else serves.
    Remote {
        /// By the name that its server knows.
        model: String,
        host: String,
        price: Option<Price>,
    },
    /// The same model with the labels of its contract in the opposite order: of it only the flip rate is told.
    TurnedRound {
        of: usize,
    },
    Baseline,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub id: String,
    pub place: Place,
    /// The place in words.
    pub at: String,
    pub input: String,
    /// Of the input.
    pub digest: Digest,
    /// The label of each field as the candidates have it; or why the row cannot be read.
    pub expected: Result<Vec<Value>, String>,
    /// By subject; `None` where it was not asked.
    pub answers: Vec<Option<RowAnswer>>,
}

/// What a subject answered to a row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowAnswer {
    /// One for each field.
    pub fields: Result<Vec<FieldAnswer>, Failed>,
    /// `None` for what asks no model.
    pub cost: Option<Cost>,
}

impl Subject {
    /// Whether its figures stand in the table of subjects.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        !matches!(self.kind, Kind::TurnedRound { .. })
    }

    /// Whether it is a model, here or behind somebody's HTTP.
    #[must_use]
    pub fn is_model(&self) -> bool {
        matches!(self.kind, Kind::Model { .. } | Kind::Remote { .. })
    }
}

impl RowAnswer {
    /// What was given, read as the suite's fields under the form in which it was asked for.
    #[must_use]
    pub fn of(given: &Given, form: &Form, expect: &[ExpectedField], candidates: &[Vec<Value>]) -> RowAnswer {
        RowAnswer { fields: given.said.fields(form, expect, candidates), cost: Some(given.cost) }
    }

    /// A row that nobody can answer.
    #[must_use]
    pub fn unreadable(reason: &str) -> RowAnswer {
        RowAnswer { fields: Err(Failed { why: Why::Unreadable, reason: reason.to_owned() }), cost: None }
    }
}

impl Records {
    /// The rows of `data` with nothing answered yet.
    #[must_use]
    pub fn new(suite: String, data: &Data, fields: Vec<Field>) -> Records {
        let rows = data.rows.iter().map(|row| {
            let expected = |content: &super::data::Content| {
                let resolve = |(field, expected): (&Field, &Expected)| field.resolve(expected);
                fields.iter().zip(&content.expected).map(resolve).collect()
            };
            let input = row.content.as_ref().map_or("", |content| &content.input);
            Record {
                id: row.id.clone(),
                place: row.place,
                at: data.place(row.place),
                input: input.to_owned(),
                digest: Digest::of(input.as_bytes()),
                expected: row.content.as_ref().map(expected).map_err(Clone::clone),
                answers: Vec::new(),
            }
        });
        Records { suite, data: data.name(), rows: rows.collect(), fields, subjects: Vec::new() }
    }

    /// Rows of one field that the model `m` answered.
    #[cfg(test)]
    pub fn of_one_model(field: Field, rows: Vec<Record>) -> Records {
        let kind = Kind::Model { model: "m".to_owned(), evaluation_id: None };
        let subject = Subject { name: "m".to_owned(), kind, elapsed_s: 0.0, n_cached: 0, peak_memory_bytes: None };
        let (suite, data) = ("s.yaml".to_owned(), "d.csv".to_owned());
        Records { suite, data, fields: vec![field], subjects: vec![subject], rows }
    }

    /// Adds a subject with its answers, one for each row.
    pub fn add(&mut self, subject: Subject, answers: Vec<Option<RowAnswer>>) {
        debug_assert_eq!(answers.len(), self.rows.len());
        self.subjects.push(subject);
        for (row, answer) in self.rows.iter_mut().zip(answers) {
            row.answers.push(answer);
        }
    }

    /// Leaves the rows that every listed subject was asked, so that all figures are of the same rows; says how many there were.
    pub fn keep_common(&mut self) -> usize {
        let total = self.rows.len();
        let listed: Vec<usize> = (0..self.subjects.len()).filter(|&s| self.subjects[s].is_listed()).collect();
        self.rows.retain(|row| listed.iter().all(|&s| row.answers[s].is_some()));
        total
    }
}

impl Field {
    /// The label that is meant.
    fn resolve(&self, expected: &Expected) -> Value {
        match (&self.judge, expected) {
            // A cell with several tags or several right answers in it.
            (Judge::Tags | Judge::OneOf | Judge::List { .. }, Expected::Text(text)) => parts(text),
            // What a cell does not say is missing.
            (Judge::Text | Judge::Number { .. } | Judge::Date { .. } | Judge::Overlap { .. }, Expected::Text(text))
                if text.trim().is_empty() =>
            {
                Value::Null
            }
            _ => expected.resolve(&self.candidates),
        }
    }
}

/// The parts of a cell: a JSON array, or texts with `|` or `;` between them.
fn parts(text: &str) -> Value {
    if let Ok(Value::Array(parts)) = serde_json::from_str(text) {
        return Value::Array(parts);
    }
    let delimiter = if text.contains('|') { '|' } else { ';' };
    text.split(delimiter).map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect()
}
