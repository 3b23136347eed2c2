//! A task before it is trained: labelled rows held against the answers of a model, and each row as the tokens that teach it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::TuneArgs;
use super::written::{self, Written};
use crate::cli::environment::Environment;
use crate::cli::eval::args::EvalArgs;
use crate::cli::eval::parquet;
use crate::cli::eval::subject::Subject;
use crate::cli::fit::FitArgs;
use crate::cli::fit::suite::{self as fit_suite, Labels};
use crate::cli::interrupt;
use crate::cli::load::{self, EnginePlace, LoadOptions};
use crate::contract::{self, Contract, Form, Open};
use crate::engine::Load;
use crate::eval::data::{Content, Data, Selection};
use crate::eval::suite::{ExpectedField, Judge, Suite};
use crate::failure::Failure;
use crate::infer::{FitUse, Lesson, Session, Turn};
use crate::load_spec;
use crate::store::{Model, Weights};
use crate::tune::job::{Teaching, Turn as Said};
use crate::tune::rows::{LeftOut, TaskRow, Why, class_weights, counts};
use crate::tune::settings::{ClassWeights, MOST_WEIGHT};
use crate::ui::progress::Rows;

/// What is to be learned: the model, its contract and the rows.
pub struct Task {
    pub suite: Suite,
    pub model: Model,
    pub subject: Subject,
    pub fields: Vec<TaskField>,
    pub rows: Vec<TaskRow>,
    /// Rows that cannot be read.
    pub left: Vec<LeftOut>,
    /// The answers, where the model itself says nothing of them.
    pub schema: Option<Value>,
    /// Where answers are written; there are no fields then, and a row's one truth is the number of its answer.
    pub written: Option<Written>,
}

/// A closed field that the rows have labels for.
#[derive(Debug, Clone)]
pub struct TaskField {
    /// Its number in the contract, and in what the suite expects.
    pub nth: usize,
    expected: usize,
    pub name: Option<String>,
    pub options: Vec<Value>,
}

impl TaskField {
    /// The one field of an answer that is a single value of these.
    #[must_use]
    pub fn only(options: Vec<Value>) -> TaskField {
        TaskField { nth: 0, expected: 0, name: None, options }
    }
}

/// Rows as they teach.
pub struct TaughtRows {
    pub kept: Vec<TaskRow>,
    pub teachings: Vec<Teaching>,
    pub left: Vec<LeftOut>,
}

impl Task {
    /// Reads the labelled rows and holds them against the model's answers.
    ///
    /// # Errors
    /// The data or the model cannot be used, or the answers are not closed.
    pub fn read(args: &TuneArgs, name: &str, data: &Path, environment: &Environment) -> Result<Task, Failure> {
        let model = load::find_or_pull(name, environment)?;
        if let Weights::Elsewhere(who) = &model.weights {
            let kind = who.kind();
            return Err(Failure::usage(format!(
                "`{name}` is a {kind}, and an adapter is of a model with weights of its own; label with it (`slm label`), and tune a \
                 smaller one"
            )));
        }
        if let Form::Open(open) = load_spec::own_form(&model)? {
            return Task::of_written(args, (name, data), (model, &open), environment);
        }
        let labelled = fit_suite::labelled(&fit_args(args, name), data, &model)?;
        if labelled.labels == Labels::None {
            return Err(Failure::usage(format!(
                "`{}` has no labels; name their column with --label COLUMN, or make some with `slm label`",
                data.display()
            )));
        }
        let fit_suite::LabelledSuite { suite, folder, schema, .. } = labelled;
        let eval = eval_args(args, name, data);
        let subject = Subject::find((0, name), &suite, &eval, &folder, environment)?;
        let Form::Closed(contract) = subject.form.clone() else {
            return Err(Failure::usage(format!(
                "the suite pins a format of written answers; put it into the FORMAT of `{name}`, so that the tuned model keeps it"
            )));
        };
        let fields = fields(&suite, &contract);
        let loaded = loaded(args, &suite, &folder)?;
        let (rows, left) = task_rows(&loaded, &fields);
        Ok(Task { suite, model, subject, fields, rows, left, schema, written: None })
    }

    /// The same where answers are written.
    fn of_written(
        args: &TuneArgs,
        (name, data): (&str, &Path),
        (model, open): (Model, &Open),
        environment: &Environment,
    ) -> Result<Task, Failure> {
        let (mut written, suite, folder) = Written::new(args, (name, data), open)?;
        let eval = eval_args(args, name, data);
        let asked = json!({"model": name, "data": [{"text": ""}], "input": "text", "expect": written.expect()});
        let subject = Subject::find((0, name), &Suite::parse(&asked.to_string())?, &eval, &folder, environment)?;
        let (rows, left) = written_rows(&loaded(args, &suite, &folder)?, &mut written);
        let (fields, written) = (Vec::new(), Some(written));
        Ok(Task { suite, model, subject, fields, rows, left, schema: None, written })
    }

    /// Held-out rows from another file, by the same columns.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn held_out(&mut self, path: &Path) -> Result<(Vec<TaskRow>, Vec<LeftOut>), Failure> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        let suite = Suite { data: vec![crate::eval::suite::Source::File(name)], limit: None, ..self.suite.clone() };
        let selection = Selection { filter: suite.filter.clone(), shard: None, limit: None };
        let loaded = Data::load(&folder, &suite, &selection, &parquet::read_apart)?;
        Ok(match &mut self.written {
            Some(written) => written_rows(&loaded, written),
            None => task_rows(&loaded, &self.fields),
        })
    }

    /// The tokenizer and the prompts of the model, without its weights.
    ///
    /// # Errors
    /// The model cannot be loaded.
    pub fn session(&self, args: &TuneArgs, environment: &Environment) -> Result<std::sync::Arc<Session>, Failure> {
        let wanted = LoadOptions {
            adapters: &self.subject.adapters,
            parameters: &self.subject.parameters,
            compute: &args.compute,
            load: Load::Vocabulary,
            place: EnginePlace::ThisProcess,
            fit: FitUse::None,
            keep_alive: None,
        };
        let model = load::find(&self.model.name.to_string(), environment)?;
        let header = load::header(&model)?;
        let loaded = load::open(model, header.as_ref(), &wanted, environment)?;
        Ok(std::sync::Arc::clone(loaded.responder.session()?))
    }

    /// What a text's row teaches, field by field: what the model reads, and the right answer.
    ///
    /// # Errors
    /// The prompt cannot be made.
    pub fn teachings(&self, session: &Session, row: &TaskRow, weights: &[Vec<f64>]) -> Result<Vec<Teaching>, Failure> {
        let form = &self.subject.form;
        let turn = Turn { fit: FitUse::None, ..self.subject.turn(form, &row.text) };
        let messages: Vec<Said> = session.conversation(&turn).iter().flatten().map(Said::from).collect();
        let ready = session.ready(turn)?;
        let prompt = ready.prompt().text();
        let teaching = |lesson: Lesson, weight: f64| -> Result<Teaching, Failure> {
            let tokens = ready.tokens_of(&lesson)?;
            let answer = Said { role: "assistant".to_owned(), content: lesson.answer.clone() };
            Ok(Teaching {
                messages: messages.iter().cloned().chain([answer]).collect(),
                prompt: prompt.clone(),
                answer: lesson.answer,
                tokens: tokens.tokens,
                n_given: tokens.n_given,
                weight,
            })
        };
        if let Some((written, answer)) = self.written(row) {
            let lesson = session.written(ready.prompt(), written.text(answer));
            return Ok(vec![teaching(lesson, 1.0)?]);
        }
        let Form::Closed(contract) = form else { return Ok(Vec::new()) };
        let mut truths = vec![None; contract.fields().len()];
        for (field, truth) in self.fields.iter().zip(&row.truths) {
            truths[field.nth] = *truth;
        }
        let mut taught = Vec::new();
        for (nth, lesson) in ready.lessons(&truths).into_iter().enumerate() {
            let (Some(lesson), Some(at)) = (lesson, self.fields.iter().position(|field| field.nth == nth)) else {
                continue;
            };
            let weight = truths[nth].map_or(1.0, |option| weights[at][option]) / self.fields.len() as f64;
            taught.push(teaching(lesson, weight)?);
        }
        Ok(taught)
    }

    /// The number of a row's answer, where answers are written.
    fn written(&self, row: &TaskRow) -> Option<(&Written, usize)> {
        Some((self.written.as_ref()?, row.truths[0]?))
    }

    /// As [`Task::teachings`] for many rows; those that are longer than `max_tokens` are left out.
    ///
    /// # Errors
    /// A prompt cannot be made, or Ctrl-C was pressed.
    pub fn taught(
        &self,
        session: &Session,
        rows: Vec<TaskRow>,
        how: (&[Vec<f64>], usize),
    ) -> Result<TaughtRows, Failure> {
        let (weights, max_tokens) = how;
        let bar = Rows::new(Some(rows.len() as u64));
        let _listening = interrupt::listen(|| {});
        let (mut kept, mut all, mut left) = (Vec::new(), Vec::new(), Vec::new());
        for (nth, row) in (1..).zip(rows) {
            let taught = self.teachings(session, &row, weights)?;
            if taught.iter().any(|one| one.tokens.len() > max_tokens) {
                left.push(LeftOut::of(&row, Why::TooLong));
            } else {
                all.extend(taught);
                kept.push(row);
            }
            bar.at(nth, nth, || "  made prompts".to_owned());
            if interrupt::happened() {
                return Err(Failure::failed("interrupted; nothing was written"));
            }
        }
        Ok(TaughtRows { kept, teachings: all, left })
    }

    /// For each field how much a row of each option counts.
    #[must_use]
    pub fn weights(&self, rows: &[TaskRow], how: ClassWeights) -> Vec<Vec<f64>> {
        let of = |(at, field): (usize, &TaskField)| match how {
            ClassWeights::Balanced => class_weights(&counts(rows, at, field.options.len()), MOST_WEIGHT),
            ClassWeights::None => vec![1.0; field.options.len()],
        };
        self.fields.iter().enumerate().map(of).collect()
    }

    /// A row as a suite's data has it, under the names of [`Task::expect`].
    #[must_use]
    pub fn suite_row(&self, row: &TaskRow) -> Value {
        let mut map = serde_json::Map::new();
        map.insert("text".to_owned(), row.text.as_str().into());
        if let Some((written, answer)) = self.written(row) {
            map.extend(written.columns(answer));
        }
        for (field, truth) in self.fields.iter().zip(&row.truths) {
            if let Some(option) = truth {
                map.insert(column(field.name.as_deref()), field.options[*option].clone());
            }
        }
        Value::Object(map)
    }

    /// What a suite over such rows expects.
    #[must_use]
    pub fn expect(&self) -> Value {
        if let Some(written) = &self.written {
            return written.expect();
        }
        match self.fields.as_slice() {
            [TaskField { name: None, .. }] => column(None).into(),
            fields => {
                let pair =
                    |field: &TaskField| (field.name.clone().unwrap_or_default(), column(field.name.as_deref()).into());
                Value::Object(fields.iter().map(pair).collect())
            }
        }
    }
}

/// The column of a field's label.
fn column(field: Option<&str>) -> String {
    field.map_or_else(|| written::LABEL.to_owned(), written::column)
}

/// The rows that a suite reads, so far as they are wanted.
fn loaded(args: &TuneArgs, suite: &Suite, folder: &Path) -> Result<Data, Failure> {
    let selection = Selection { filter: suite.filter.clone(), shard: None, limit: args.limit.or(suite.limit) };
    let loaded = Data::load(folder, suite, &selection, &parquet::read_apart)?;
    crate::ui::output::say_skipped(loaded.n_blank_lines);
    Ok(loaded)
}

/// The contract's fields that the suite expects labels of.
fn fields(suite: &Suite, contract: &Contract) -> Vec<TaskField> {
    let of = |(nth, field): (usize, &contract::Field)| {
        let is_its = |one: &ExpectedField| one.judge == Judge::Label && one.is_of(field, contract);
        let expected = suite.expect.iter().position(is_its)?;
        Some(TaskField { nth, expected, name: field.name(), options: field.values() })
    };
    contract.fields().iter().enumerate().filter_map(of).collect()
}

/// The rows whose every label is an allowed answer, and the others.
#[must_use]
pub fn task_rows(data: &Data, fields: &[TaskField]) -> (Vec<TaskRow>, Vec<LeftOut>) {
    let truth = |content: &Content, field: &TaskField| content.expected[field.expected].among(&field.options);
    rows_with(data, |content| fields.iter().map(|field| truth(content, field).map(Some)).collect())
}

/// The rows whose written answers the FORMAT allows, and the others.
fn written_rows(data: &Data, written: &mut Written) -> (Vec<TaskRow>, Vec<LeftOut>) {
    rows_with(data, |content| Some(vec![Some(written.truth(content)?)]))
}

/// The rows that have truths, and the others.
fn rows_with(
    data: &Data,
    mut truths: impl FnMut(&Content) -> Option<Vec<Option<usize>>>,
) -> (Vec<TaskRow>, Vec<LeftOut>) {
    let (mut rows, mut left) = (Vec::new(), Vec::new());
    for row in &data.rows {
        let at = data.place(row.place);
        match &row.content {
            Err(reason) => left.push(LeftOut { at, why: Why::Unreadable, text: reason.clone() }),
            Ok(content) => {
                let text = content.text().to_owned();
                match truths(content) {
                    Some(truths) => rows.push(TaskRow { at, text, truths }),
                    None => left.push(LeftOut { at, why: Why::NoLabel, text }),
                }
            }
        }
    }
    (rows, left)
}

/// How `slm fit` would read and ask the same.
#[must_use]
pub fn fit_args(args: &TuneArgs, name: &str) -> FitArgs {
    FitArgs {
        model: name.to_owned(),
        data: args.data.clone(),
        name: None,
        input: args.input.clone(),
        label: args.label.clone(),
        limit: args.limit,
        promise: Default::default(),
        other: Default::default(),
        asking: Default::default(),
        reading: args.reading,
        compute: args.compute.clone(),
        depth: None,
        examples: Default::default(),
    }
}

/// How an evaluation would ask the same.
#[must_use]
pub fn eval_args(args: &TuneArgs, name: &str, path: &Path) -> EvalArgs {
    EvalArgs {
        suite: Some(path.to_owned()),
        model: vec![name.to_owned()],
        reading: args.reading,
        compute: args.compute.clone(),
        ..EvalArgs::default()
    }
}

/// The labels of a task with how many rows each has, for a job; none where answers are written.
#[must_use]
pub fn labels(task: &Task, rows: &[TaskRow]) -> Vec<crate::tune::rows::FieldCounts> {
    let of = |(at, field): (usize, &TaskField)| crate::tune::rows::FieldCounts {
        field: field.name.clone(),
        labels: field.options.iter().cloned().zip(counts(rows, at, field.options.len())).collect(),
    };
    task.fields.iter().enumerate().map(of).collect()
}

/// The rows of a task as JSON, for their digest.
#[must_use]
pub fn as_json(task: &Task, rows: &[TaskRow]) -> Vec<Value> {
    rows.iter().map(|row| task.suite_row(row)).collect()
}
