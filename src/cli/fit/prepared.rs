//! What a fit learns from or is checked with, before anybody is asked: data, the model as it is asked, and which labels belong to which field.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::args::FitArgs;
use super::field::{FieldRow, FieldRows};
use super::suite::{LabelledSuite, Labels, eval_args, labelled};
use crate::cli::environment::Environment;
use crate::cli::eval::args::EvalArgs;
use crate::cli::eval::course::Asking;
use crate::cli::eval::parquet;
use crate::cli::eval::subject::Subject;
use crate::cli::load;
use crate::contract::{self, Contract, Form};
use crate::eval::answer::Scores;
use crate::eval::data::hygiene::Impossible;
use crate::eval::data::{Data, Selection};
use crate::eval::record::{Field, Records};
use crate::eval::suite::{ExpectedField, Judge, Suite};
use crate::failure::Failure;
use crate::store::{Model, Weights};
use crate::ui::output::say;

/// What is learned from or checked with, before anybody is asked.
pub struct Prepared {
    pub suite: Suite,
    pub data: Data,
    pub subject: Subject,
    pub contract: Arc<Contract>,
    pub eval: EvalArgs,
    labels: Labels,
}

/// What a model says of one row.
pub struct Known<'a> {
    pub scores: &'a [Scores],
    pub state: Option<&'a Vec<f32>>,
}

impl Prepared {
    /// Reads the data and finds the model.
    ///
    /// # Errors
    /// The data or the model cannot be used, or its answers cannot be listed.
    pub fn new(args: &FitArgs, data: &Path, model: &Model, environment: &Environment) -> Result<Prepared, Failure> {
        let LabelledSuite { suite, folder, labels, schema } = labelled(args, data, model)?;
        if schema.is_some() {
            say("the fit holds where just these answers are asked for");
        }
        let eval = eval_args(args, data);
        let selection = Selection { filter: suite.filter.clone(), shard: None, limit: args.limit.or(suite.limit) };
        let data = Data::load(&folder, &suite, &selection, &parquet::read_apart)?;
        crate::ui::output::say_skipped(data.n_blank_lines);
        let subject = Subject::find((0, &args.model), &suite, &eval, &folder, environment)?;
        let Form::Closed(contract) = subject.form.clone() else {
            return Err(Failure::usage(format!(
                "the answers of `{}` are written, not chosen; a fit is for labels, yes or no, and ratings: give the model a FORMAT \
                 with `enum`, `boolean` or bounded integers",
                args.model
            )));
        };
        Ok(Prepared { suite, data, subject, contract, eval, labels })
    }

    #[must_use]
    pub fn asking<'a>(&'a self, environment: &'a Environment) -> Asking<'a> {
        Asking { suite: &self.suite, data: &self.data, args: &self.eval, environment }
    }

    /// Whether the data says what is right.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        self.labels == Labels::Given
    }

    /// The rows as evaluations have them.
    #[must_use]
    pub fn records(&self) -> Records {
        self.records_of(&self.data)
    }

    /// The same of other texts for the same rows.
    #[must_use]
    pub fn records_of(&self, data: &Data) -> Records {
        let field = |expected: &ExpectedField| record_field(expected.field.clone(), &self.contract);
        Records::new(String::new(), data, self.suite.expect.iter().map(field).collect())
    }

    /// Puts what is known of the rows beside their labels, field by field, and says what is odd about the labels. `known` is told by
    /// a row's number; a row of which nothing is known is left out.
    pub fn fields<'k>(&self, records: &Records, known: impl Fn(usize) -> Option<Known<'k>>) -> Vec<FieldRows> {
        let fields = self.contract.fields().iter().enumerate();
        let fields = fields.map(|(nth, field)| self.field(nth, field, records, &known)).collect();
        if self.labels == Labels::Given {
            let candidates: Vec<Vec<Value>> = records.fields.iter().map(|field| field.candidates.clone()).collect();
            self.data.findings(&self.suite, &candidates, Impossible::IsLeftOut).iter().for_each(say);
        }
        fields
    }

    /// The rows of the contract's field with this number.
    fn field<'k>(
        &self,
        nth: usize,
        field: &contract::Field,
        records: &Records,
        known: &impl Fn(usize) -> Option<Known<'k>>,
    ) -> FieldRows {
        let expected = self.expected(field);
        let options = field.values();
        let row = |place: usize| {
            let Known { scores, state } = known(place)?;
            let content = self.data.rows[place].content.as_ref().ok()?;
            let truth = expected.and_then(|at| content.expected[at].among(&options));
            Some(FieldRow {
                nth: place,
                text: content.text().to_owned(),
                logprobs: scores.get(nth)?.probabilities.iter().map(|p| p.ln()).collect(),
                state: state.cloned(),
                truth,
                at: records.rows[place].at.clone(),
            })
        };
        let rows = (0..self.data.rows.len()).filter_map(row).collect();
        FieldRows { name: field.name(), options, is_labelled: expected.is_some(), rows }
    }

    /// The number of the suite's field with the labels of a field of the contract; `None` where the data has none.
    #[must_use]
    pub fn expected(&self, field: &contract::Field) -> Option<usize> {
        let is_its = |one: &ExpectedField| one.judge == Judge::Label && one.is_of(field, &self.contract);
        self.suite.expect.iter().position(is_its).filter(|_| self.labels == Labels::Given)
    }

    /// The rows with their texts alone: of what a model says nothing is known, and all labels are as likely.
    #[must_use]
    pub fn texts(&self) -> Vec<FieldRows> {
        let even = |field: &contract::Field| {
            let n = field.options.len();
            Scores { best: 0, probabilities: vec![1.0 / n as f64; n], label_mass: None, is_withheld: false }
        };
        let scores: Vec<Scores> = self.contract.fields().iter().map(even).collect();
        self.fields(&self.records(), |_| Some(Known { scores: &scores, state: None }))
    }

    /// The first text.
    #[must_use]
    pub fn first_text(&self) -> &str {
        let first = self.data.rows.iter().find_map(|row| row.content.as_ref().ok());
        first.map_or("text", |content| &content.input)
    }
}

/// A model that has weights of its own, as a fit needs it.
///
/// # Errors
/// It is a remote or a cascade.
pub fn with_weights(name: &str, environment: &Environment) -> Result<Model, Failure> {
    let model = load::find_or_pull(name, environment)?;
    if let Weights::Elsewhere(who) = &model.weights {
        let kind = who.kind();
        return Err(Failure::usage(format!(
            "`{name}` is a {kind}, and a fit is of a model with weights of its own; fit one that has, such as a tier of a cascade"
        )));
    }
    Ok(model)
}

fn record_field(name: String, contract: &Contract) -> Field {
    let own = contract.fields().iter().find(|field| contract.is_bare() || field.name().as_deref() == Some(&name));
    let candidates = own.map(contract::Field::values).unwrap_or_default();
    Field { name, judge: Judge::Label, candidates, limits: None }
}
