//! What the parts of an answer are called in a row: the columns of a table, the keys of a flat JSON row. Both have the same names.

use serde_json::{Map, Value};

use super::args::RunArgs;
use super::{answer, embedding};
use crate::batch::row::AddedNames;
use crate::contract::{Field, Form};
use crate::decide::{FieldAnswer, ModelFit};
use crate::engine::Finish;
use crate::gguf::Pooling;
use crate::infer::{Finding, Finished};

/// What stands before all names where a row has one of them already.
const PREFIX: &str = "slm_";

/// Which answers can be withheld.
#[derive(Debug, Clone, Copy)]
pub enum Withholding<'a> {
    None,
    ByFit(&'a ModelFit),
    /// A cascade leaves to a person what no tier could answer.
    All,
}

/// What the parts of an answer are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The values of an answer, in their order.
    answer: Vec<String>,
    parts: Parts,
    /// For each closed field whether its answer can be withheld; then the best guess and the reason have columns too.
    withholds: Vec<bool>,
    /// What a table has in the place of a label that is withheld.
    abstained: String,
    /// Where the values of closed fields are in the answer.
    paths: Vec<Vec<String>>,
    /// What else a row may have to say, where there is something to say.
    own: Vec<Own>,
    prefix: &'static str,
}

/// What the values of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// Those of its closed fields, with their probabilities.
    Fields,
    /// Those under the names of an object.
    Properties,
    Whole,
}

/// What a row says beside the values of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// Where the row is in the input.
    Line,
    /// What keeps the row from its answer.
    Error,
    /// A text that did not meet its contract.
    Rejected,
    /// Why the model wrote no more, where it was stopped.
    DoneReason,
    /// How many tokens of the row's text were cut.
    Truncated,
}

impl Own {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Own::Line => "line",
            Own::Error => "error",
            Own::Rejected => "rejected",
            Own::DoneReason => "done_reason",
            Own::Truncated => "truncated",
        }
    }
}

impl Columns {
    /// Those of answers in this form, or of the vectors of a model that embeds.
    #[must_use]
    pub fn new(args: &RunArgs, form: &Form, embeds: Option<Pooling>, withholding: Withholding<'_>) -> Columns {
        let mut withholds = Vec::new();
        let (parts, answer) = match (form, embeds) {
            (_, Some(pooling)) => (Parts::Whole, vec![embedding::name(pooling).to_owned()]),
            (Form::Closed(contract), None) => {
                let can_withhold = |field| match withholding {
                    Withholding::None => false,
                    Withholding::ByFit(fit) => fit.knows(contract) && fit.can_withhold(field),
                    Withholding::All => true,
                };
                withholds = contract.fields().iter().map(can_withhold).collect();
                (Parts::Fields, of_fields(contract.fields(), &withholds))
            }
            (Form::Open(_) | Form::Free, None) => match properties(form) {
                Some(names) => (Parts::Properties, names),
                None => (Parts::Whole, vec!["answer".to_owned()]),
            },
        };
        let is_written = embeds.is_none() && !matches!(form, Form::Closed(_));
        let occurs = [
            (Own::Error, true),
            (Own::Rejected, is_written),
            (Own::DoneReason, is_written),
            (Own::Truncated, args.truncate.is_some()),
        ];
        let own = occurs.into_iter().filter(|(_, occurs)| *occurs).map(|(own, _)| own).collect();
        let paths = match form {
            Form::Closed(contract) => contract.fields().iter().map(|field| field.path.clone()).collect(),
            Form::Open(_) | Form::Free => Vec::new(),
        };
        let abstained = args.fit.abstained().to_owned();
        Columns { answer, parts, withholds, abstained, paths, own, prefix: "" }
    }

    /// The same beside a row of these names: where it has one of ours, all of ours begin with `slm_`.
    #[must_use]
    pub fn beside(self, row: &Map<String, Value>) -> Columns {
        let own = self.own.iter().map(|own| self.own(*own));
        let is_taken = self.answer.iter().cloned().chain(own).any(|name| row.contains_key(&name));
        Columns { prefix: if is_taken { PREFIX } else { "" }, ..self }
    }

    /// The columns of a table. The last is for what keeps a row from its answer; what else is to be said has none.
    #[must_use]
    pub fn of_table(&self) -> Vec<String> {
        self.answer().chain([self.own(Own::Error)]).collect()
    }

    /// What is added to a JSON object that is written back.
    #[must_use]
    pub fn added(&self) -> AddedNames {
        let own = self.own.iter().filter(|own| **own != Own::Error).map(|own| self.own(*own));
        AddedNames { answer: self.answer().chain(own).collect(), error: self.own(Own::Error) }
    }

    fn answer(&self) -> impl Iterator<Item = String> {
        self.answer.iter().map(|name| format!("{}{name}", self.prefix))
    }

    /// A name of ours, which no value has.
    #[must_use]
    pub fn own(&self, own: Own) -> String {
        format!("{}{}", self.prefix, unlike(own.as_str().to_owned(), &self.answer))
    }

    /// The cells of an answer, in the order of [`Columns::of_table`].
    #[must_use]
    pub fn cells(&self, finished: &Finished) -> Vec<String> {
        self.values(finished, &Value::from(self.abstained.as_str())).iter().map(cell).collect()
    }

    /// The flat row of an answer, some tokens of whose text may have been cut.
    #[must_use]
    pub fn row(&self, finished: &Finished, n_tokens_cut: usize) -> Map<String, Value> {
        let mut row: Map<String, Value> = self.answer().zip(self.values(finished, &Value::Null)).collect();
        if finished.end.finish == Finish::Length {
            row.insert(self.own(Own::DoneReason), answer::done_reason(finished.end.finish).into());
        }
        if n_tokens_cut > 0 {
            row.insert(self.own(Own::Truncated), n_tokens_cut.into());
        }
        row
    }

    /// The values of an answer, in their order; this one in the place of a label that is withheld.
    fn values(&self, finished: &Finished, abstained: &Value) -> Vec<Value> {
        match &finished.end.finding {
            Finding::Closed(found) => {
                let of_field = |(field, withholds): (&FieldAnswer, &bool)| {
                    let mut values = vec![field.given().unwrap_or(abstained).clone(), field.probability().into()];
                    if field.name.is_none() {
                        values.push(field.label_mass.into());
                    }
                    if *withholds {
                        let reason = field.abstention().map(|reason| reason.to_string());
                        let guess = reason.is_some().then(|| field.value.clone());
                        values.extend([guess.unwrap_or_default(), reason.into()]);
                    }
                    values
                };
                found.fields.iter().zip(&self.withholds).flat_map(of_field).collect()
            }
            // Whoever answered a closed form told no probabilities.
            Finding::Open(Ok(json)) if self.parts == Parts::Fields => {
                let of_field = |(path, withholds): (&Vec<String>, &bool)| {
                    let value = path.iter().try_fold(json, |at, name| at.get(name)).cloned();
                    let mut values = vec![value.unwrap_or_default(), Value::Null];
                    if path.is_empty() {
                        values.push(Value::Null);
                    }
                    if *withholds {
                        values.extend([Value::Null, finished.end.review.clone().into()]);
                    }
                    values
                };
                self.paths.iter().zip(&self.withholds).flat_map(of_field).collect()
            }
            Finding::Open(Ok(Value::Object(object))) if self.parts == Parts::Properties => {
                self.answer.iter().map(|name| object.get(name).cloned().unwrap_or_default()).collect()
            }
            Finding::Free => vec![finished.text.trim().into()],
            Finding::Open(_) | Finding::Vectors(_) => vec![answer::value(finished)],
        }
    }
}

/// A label with its probability and mass, or each field with its probability; where the answer can be withheld, the best guess
/// and the reason too.
fn of_fields(fields: &[Field], withholds: &[bool]) -> Vec<String> {
    if matches!(fields, [field] if field.name().is_none()) {
        let more = if withholds == [true] { &["guess", "abstained"][..] } else { &[] };
        return ["label", "probability", "label_mass"].iter().chain(more).map(|name| (*name).to_owned()).collect();
    }
    let names: Vec<String> = fields.iter().filter_map(Field::name).collect();
    let mut taken = names.clone();
    let mut columns = Vec::new();
    for (name, withholds) in names.into_iter().zip(withholds) {
        let more = if *withholds { &["guess", "abstained"][..] } else { &[] };
        let own = ["probability"].iter().chain(more).map(|what| {
            let own = unlike(format!("{name}_{what}"), &taken);
            taken.push(own.clone());
            own
        });
        let own: Vec<String> = own.collect();
        columns.push(name);
        columns.extend(own);
    }
    columns
}

/// A name that is not in use yet: a contract may have a field with the name of one of our columns.
fn unlike(mut name: String, taken: &[String]) -> String {
    while taken.contains(&name) {
        name.insert_str(0, PREFIX);
    }
    name
}

/// The names of an object's fields, where a schema names them at its top.
fn properties(form: &Form) -> Option<Vec<String>> {
    let named = form.schema()?.get("properties")?.as_object()?;
    (!named.is_empty()).then(|| named.keys().cloned().collect())
}

/// A value as a table has it: text as it is, nothing for null, the rest as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => answer::label(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{self, Answer};
    use crate::engine::{Counts, GroupScores, Timings};
    use crate::infer::End;
    use clap::Parser as _;
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::Duration;

    #[derive(Debug, clap::Parser)]
    struct Args {
        #[command(flatten)]
        run: RunArgs,
    }

    fn columns(schema: &Value, more: &[&str]) -> (Columns, Form) {
        let args = Args::parse_from([&["run", "triage", "--lines"], more].concat()).run;
        let form = Form::from_schema(schema.clone()).unwrap();
        (Columns::new(&args, &form, None, Withholding::None), form)
    }

    /// The answer to a closed form in which each option of a field has twice the probability of the one before.
    fn answered(form: &Form) -> Finished {
        let Form::Closed(contract) = form else { panic!("a closed form") };
        let scores = contract.fields().iter().map(|field| {
            GroupScores::likelihood(
                (0..field.options.len()).map(|n| 2f64.powi(i32::try_from(n).unwrap() - 20).ln()).collect(),
            )
        });
        let answer = decide::answer(contract, &scores.collect::<Vec<_>>());
        finished(Finding::Closed(answer), "")
    }

    fn finished(finding: Finding, text: &str) -> Finished {
        let end = End {
            finish: Finish::Stop,
            stopped_by: None,
            counts: Counts::default(),
            timings: Timings::default(),
            elapsed: Duration::ZERO,
            finding,
            prompt_tokens: Vec::new(),
            state: None,
            fields: None,
            prompt_digest: String::new(),
            evaluation_id: None,
            context: Vec::new(),
            cost: None,
            path: Vec::new(),
            review: None,
        };
        let (tokens, thinking, calls) = (Vec::new(), String::new(), Vec::new());
        Finished { text: text.to_owned(), tokens, thinking, calls, end: Box::new(end) }
    }

    fn names(columns: &Columns) -> String {
        columns.of_table().join(" ")
    }

    #[test]
    fn names_are_unlike_whatever_a_contract_calls_its_fields() {
        let flag = || json!({"type": "boolean"});
        let label = json!({"enum": ["a", "b"]});
        assert_eq!(names(&columns(&label, &[]).0), "label probability label_mass error");
        let fields = json!({"x": flag(), "x_probability": flag(), "slm_x_probability": flag(), "error": flag()});
        let (columns, form) = columns(&json!({"type": "object", "properties": fields}), &["--truncate", "9"]);
        assert_eq!(
            names(&columns),
            "x slm_slm_x_probability x_probability x_probability_probability slm_x_probability \
             slm_x_probability_probability error error_probability slm_error"
        );
        let row = columns.row(&answered(&form), 3);
        assert_eq!((row.len(), &row["truncated"]), (9, &json!(3)));
        let beside = columns.beside(json!({"text": "", "truncated": 1}).as_object().unwrap());
        assert!(beside.of_table().iter().all(|name| name.starts_with("slm_")), "{beside:?}");
        assert_eq!(beside.own(Own::Error), "slm_slm_error");
    }

    #[test]
    fn written_answers_have_a_key_for_each_property_or_one() {
        let schema = json!({"type": "object", "properties": {"who": {"type": "string"}, "n": {"type": "integer"}}});
        let (object, _) = columns(&schema, &[]);
        let found = json!({"n": 3});
        let row = object.row(&finished(Finding::Open(Ok(found)), "{\"n\": 3}"), 0);
        assert_eq!(Value::from(row), json!({"who": null, "n": 3}));
        let (one, _) = columns(&json!({"type": "object", "properties": {"answer": {"type": "string"}}}), &[]);
        let found = finished(Finding::Open(Ok(json!({"answer": "a"}))), "{\"answer\": \"a\"}");
        assert_eq!(Value::from(one.row(&found, 0)), json!({"answer": "a"}));
        let (list, _) = columns(&json!({"type": "array", "items": {"type": "string"}}), &[]);
        let mut cut = finished(Finding::Open(Ok(json!(["a"]))), "[\"a\"]");
        assert_eq!(list.cells(&cut), ["[\"a\"]"]);
        cut.end.finish = Finish::Length;
        assert_eq!(Value::from(list.row(&cut, 0)), json!({"answer": ["a"], "done_reason": "length"}));
    }

    fn schema() -> impl Strategy<Value = Value> {
        let labels =
            prop::collection::hash_set("[a-z]{1,4}", 2..5).prop_map(|set| json!({"enum": Vec::from_iter(set)}));
        let mixed = Just(json!({"enum": [1, "one", true, "yes", null]}));
        let scale =
            (-3i64..3, 1i64..5).prop_map(|(low, n)| json!({"type": "integer", "minimum": low, "maximum": low + n}));
        let field = prop_oneof![labels, mixed, scale, Just(json!({"type": "boolean"}))];
        let inner = prop::collection::hash_map("[a-c]|label|probability|error|line", field.clone(), 1..4);
        let object = |fields: std::collections::HashMap<String, Value>| json!({"type": "object", "properties": fields});
        let nested = inner.clone().prop_map(
            move |fields| json!({"type": "object", "properties": {"at": object(fields), "b": {"type": "boolean"}}}),
        );
        prop_oneof![field, inner.prop_map(object), nested]
    }

    proptest! {
        /// Over contracts: names are unlike, a cell and a key say the same, and both what the full record says.
        #[test]
        fn a_flat_row_a_tables_row_and_the_full_record_say_the_same(schema in schema()) {
            let (columns, form) = columns(&schema, &[]);
            let finished = answered(&form);
            let (row, cells) = (columns.row(&finished, 0), columns.cells(&finished));
            let names = columns.of_table();
            prop_assert_eq!(row.keys().collect::<Vec<_>>(), names[..names.len() - 1].iter().collect::<Vec<_>>());
            prop_assert_eq!(row.values().map(cell).collect::<Vec<_>>(), cells);
            let Finding::Closed(Answer { fields, .. }) = &finished.end.finding else { panic!("a closed answer") };
            let full = Value::from(answer::closed(finished.end.answer().unwrap()));
            let mut values = row.values();
            for field in fields {
                let record = match &field.name {
                    Some(name) => full["fields"][name].clone(),
                    None => full.clone(),
                };
                prop_assert_eq!(values.next(), Some(&record["value"]));
                prop_assert_eq!(values.next(), Some(&record["probability"]));
                if field.name.is_none() {
                    prop_assert_eq!(values.next(), Some(&record["label_mass"]));
                }
                let listed = record["probabilities"].as_array().unwrap();
                let of = |value: &Value| listed.iter().find(|one| one["value"] == *value).map(|one| one["probability"].clone());
                prop_assert_eq!(of(&record["value"]), Some(record["probability"].clone()));
                prop_assert_eq!(listed.len(), field.probabilities.len());
            }
            prop_assert_eq!(values.next(), None);
        }
    }
}
