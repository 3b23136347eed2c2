//! What is written for a row: its answer, or why it has none, as a line of text, a flat or a full JSON object, or a row of a table.

use serde_json::{Map, Value};

use super::args::JsonShape;
use super::columns::{Columns, Own};
use super::{Run, answer};
use crate::batch::row::{BadRow, Form, Row, error_object, extended, one_line};
use crate::infer::{Finding, Finished, Limited};

/// How the rows of a run are read and written.
pub struct RowLines {
    pub form: Form,
    pub columns: Columns,
    /// `None` writes bare answers.
    pub json: Option<JsonShape>,
}

impl RowLines {
    /// The line of an answer.
    pub fn answered(&self, run: &Run<'_>, row: &Row, limited: &Limited, n_tokens_cut: usize) -> String {
        let finished = &limited.finished;
        match (&self.form, row.source.as_deref()) {
            (Form::Table(table), source) => table.extended(source.unwrap_or_default(), &self.columns.cells(finished)),
            (Form::Objects { .. }, source) => {
                let added = match self.json {
                    Some(JsonShape::Flat) => self.columns.row(finished, n_tokens_cut),
                    Some(JsonShape::Full) => one("answer", answer::details(run, limited, n_tokens_cut)),
                    None => one("answer", answer::value(finished)),
                };
                extended(source.unwrap_or_default(), &added)
            }
            (Form::Lines, _) => match self.json {
                Some(JsonShape::Flat) => {
                    let mut line = one(&self.columns.own(Own::Line), row.place.line.into());
                    line.extend(self.columns.row(finished, n_tokens_cut));
                    Value::from(line).to_string()
                }
                Some(JsonShape::Full) => {
                    let mut details = answer::details(run, limited, n_tokens_cut);
                    details["line"] = row.place.line.into();
                    details.to_string()
                }
                None => plain(finished, run.args.fit.abstained()),
            },
        }
    }

    /// What is told of an answer that is withheld, beside the reason.
    pub fn withheld(&self, run: &Run<'_>, limited: &Limited, n_tokens_cut: usize) -> Map<String, Value> {
        match self.json {
            Some(JsonShape::Flat) => one(&self.columns.own(Own::Rejected), limited.finished.text.as_str().into()),
            Some(JsonShape::Full) => one("refused", answer::details(run, limited, n_tokens_cut)),
            None => Map::new(),
        }
    }

    /// What stands in a bad row's place: an error where JSON or a table is written, else an empty line.
    pub fn failed(&self, row: &BadRow, more: Map<String, Value>) -> String {
        match (&self.form, self.json) {
            (Form::Table(table), _) => table.failed(row.source.as_deref(), &row.reason),
            (Form::Objects { added, .. }, _) => error_object(row, &added.error, more),
            (Form::Lines, Some(json)) => {
                let [line, error] = [Own::Line, Own::Error].map(|own| match json {
                    JsonShape::Flat => self.columns.own(own),
                    JsonShape::Full => own.as_str().to_owned(),
                });
                let mut object = one(&line, row.place.line.into());
                object.insert(error, row.reason.as_str().into());
                object.extend(more);
                Value::from(object).to_string()
            }
            (Form::Lines, None) => String::new(),
        }
    }
}

/// An object of one field.
fn one(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

/// A bare answer on one line; this where it is withheld.
fn plain(finished: &Finished, abstained: &str) -> String {
    match &finished.end.finding {
        Finding::Free | Finding::Open(_) => one_line(finished.text.trim()),
        Finding::Closed(_) | Finding::Vectors(_) => one_line(&answer::bare(finished, abstained)),
    }
}
