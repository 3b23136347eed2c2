//! What is asked about the rows of labelled data: the model's scores with its hidden state, or its state after some of its layers.

use std::sync::Arc;

use serde_json::Value;

use super::field::{FieldRow, FieldRows};
use crate::batch::N_CLOSED;
use crate::cli::environment::Environment;
use crate::cli::eval::args::EvalArgs;
use crate::cli::eval::course::{Asking, Course, Judging, Way};
use crate::cli::eval::local;
use crate::cli::eval::subject::Subject;
use crate::cli::interrupt;
use crate::contract::{self, Contract};
use crate::engine::StateAt;
use crate::eval::answer::{Failed, Given, Said};
use crate::eval::data::Data;
use crate::eval::data::hygiene::Impossible;
use crate::eval::label::key;
use crate::eval::record::{Field, Records};
use crate::eval::suite::{ExpectedField, Judge, Suite};
use crate::failure::Failure;
use crate::infer::{FitUse, Responder, Session, Turn};
use crate::ui::output::say;

/// Whether data says what is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    Given,
    None,
}

/// Data and the model that is asked about it.
pub struct Source {
    pub subject: Subject,
    pub session: Arc<Session>,
    responder: Responder,
    contract: Arc<Contract>,
    suite: Suite,
    data: Data,
    records: Records,
    labels: Labels,
    eval: EvalArgs,
}

/// What a source is made of.
pub struct SourceOf {
    pub subject: Subject,
    pub contract: Arc<Contract>,
    pub suite: Suite,
    pub data: Data,
    pub labels: Labels,
    pub eval: EvalArgs,
}

impl Source {
    /// Loads the model.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn open(of: SourceOf, environment: &Environment) -> Result<Source, Failure> {
        let SourceOf { subject, contract, suite, data, labels, eval } = of;
        let asking = Asking { suite: &suite, data: &data, args: &eval, environment };
        let responder = local::open(&subject, asking, FitUse::None)?;
        let session = Arc::clone(responder.session()?);
        let fields: Vec<Field> =
            suite.expect.iter().map(|expected| record_field(expected.field.clone(), &contract)).collect();
        let records = Records::new(String::new(), &data, fields);
        Ok(Source { subject, session, responder, contract, suite, data, records, labels, eval })
    }

    /// Rows of the data.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.records.rows.len()
    }

    /// The first text.
    #[must_use]
    pub fn first_text(&self) -> &str {
        let first = self.data.rows.iter().find_map(|row| row.content.as_ref().ok());
        first.map_or("text", |content| &content.input)
    }

    /// What the model says of every row that has an answer, by closed field.
    ///
    /// # Errors
    /// Nobody answers any more, or the run was interrupted.
    pub fn fields(&self, state: Option<StateAt>, environment: &Environment) -> Result<Vec<FieldRows>, Failure> {
        let given = self.given(state, environment)?;
        let field = |(nth, field): (usize, &contract::Field)| self.field_rows(nth, field, &given);
        let fields = self.contract.fields().iter().enumerate().map(field).collect();
        if self.labels == Labels::Given {
            let candidates: Vec<Vec<Value>> =
                self.records.fields.iter().map(|field| field.candidates.clone()).collect();
            self.data.findings(&self.suite, &candidates, Impossible::IsLeftOut).iter().for_each(say);
        }
        Ok(fields)
    }

    /// The same rows, with the state after so many layers in the place of all that the model says.
    ///
    /// # Errors
    /// As [`Source::fields`], and a row has no such state.
    pub fn after_layers(
        &self,
        n_layers: u32,
        fields: &[FieldRows],
        environment: &Environment,
    ) -> Result<Vec<FieldRows>, Failure> {
        let given = self.given(Some(StateAt::Layers(n_layers)), environment)?;
        let row = |row: &FieldRow| {
            let why = match given[row.nth].as_ref() {
                Some(Given { state: Some(state), .. }) => return Ok(row.with_state_alone(state)),
                Some(Given { said: Said::Failed(Failed { reason, .. }), .. }) => reason.as_str(),
                _ => "it was not told",
            };
            Err(Failure::failed(format!("there is no state after {n_layers} layers of {}: {why}", row.at)))
        };
        let field = |field: &FieldRows| {
            let rows = field.rows.iter().map(row).collect::<Result<_, Failure>>()?;
            let FieldRows { name, options, is_labelled, .. } = field;
            Ok(FieldRows { name: name.clone(), options: options.clone(), is_labelled: *is_labelled, rows })
        };
        fields.iter().map(field).collect()
    }

    /// What was given to every row, asked or kept from an earlier time.
    fn given(&self, state: Option<StateAt>, environment: &Environment) -> Result<Vec<Option<Given>>, Failure> {
        let Source { subject, responder, suite, data, eval, .. } = self;
        let asking = Asking { suite, data, args: eval, environment };
        let layers = match state {
            Some(StateAt::Layers(n)) => Some(format!("{} ({n} layers)", subject.name)),
            _ => None,
        };
        let way = Way {
            name: layers.as_deref().unwrap_or(&subject.name),
            nth: 0,
            form: &subject.form,
            judging: if layers.is_some() { Judging::None } else { Judging::Rows },
            asking: local::asking(subject, &subject.form, state),
            by: Some(local::computed_by(subject, &subject.form, responder)),
        };
        let mut course = Course::of(way, &self.records, asking);
        let turn = |text: &str| Turn { fit: FitUse::None, state, ..subject.turn(&subject.form, text) };
        let n_parallel = eval.asking.parallel.unwrap_or(N_CLOSED);
        course.run(n_parallel, |text| local::begin(responder, turn(text)), local::finish)?;
        if interrupt::happened() {
            return Err(Failure::failed(
                "interrupted; the answers that came are kept, so that the same command goes on there",
            ));
        }
        Ok(course.given())
    }

    /// The rows of the contract's field with this number.
    fn field_rows(&self, nth: usize, field: &contract::Field, given: &[Option<Given>]) -> FieldRows {
        let is_its = |one: &ExpectedField| self.contract.is_bare() || Some(&one.field) == field.name().as_ref();
        let is_label = |one: &ExpectedField| self.labels == Labels::Given && one.judge == Judge::Label && is_its(one);
        let expected = self.suite.expect.iter().position(is_label);
        let options = field.values();
        let row = |(place, given): (usize, &Option<Given>)| {
            let given = given.as_ref()?;
            let Said::Closed(scores) = &given.said else { return None };
            let content = self.data.rows[place].content.as_ref().ok()?;
            let truth = expected.and_then(|at| {
                let label = content.expected[at].resolve(&options);
                options.iter().position(|option| key(option) == key(&label))
            });
            Some(FieldRow {
                nth: place,
                // What the model read.
                text: content.prompts.first().and_then(Option::as_deref).unwrap_or(&content.input).to_owned(),
                logprobs: scores.get(nth)?.probabilities.iter().map(|p| p.ln()).collect(),
                state: given.state.clone(),
                truth,
                at: self.records.rows[place].at.clone(),
            })
        };
        let rows = given.iter().enumerate().filter_map(row).collect();
        FieldRows { name: field.name(), options, is_labelled: expected.is_some(), rows }
    }
}

fn record_field(name: String, contract: &Contract) -> Field {
    let own = contract.fields().iter().find(|field| contract.is_bare() || field.name().as_deref() == Some(&name));
    let candidates = own.map(contract::Field::values).unwrap_or_default();
    Field { name, judge: Judge::Label, candidates, limits: None }
}
