//! The rows that a fit learns from or is checked with: what data says, what the model says of it, field by field.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use slm_fit::Evidence;
use slm_fit::learn::Labelled;

use super::args::FitArgs;
use crate::batch::N_CLOSED;
use crate::cli::environment::Environment;
use crate::cli::eval::args::{AskingArgs, EvalArgs};
use crate::cli::eval::course::{Asking, Course, Way};
use crate::cli::eval::local;
use crate::cli::eval::parquet;
use crate::cli::eval::subject::Subject;
use crate::cli::{interrupt, load};
use crate::contract::{self, Contract, Form};
use crate::engine::{EngineError, StateAt};
use crate::eval::answer::{Given, Said, Scores};
use crate::eval::data::hygiene::Impossible;
use crate::eval::data::{Content, Data, Row, Selection};
use crate::eval::init;
use crate::eval::label::{key, show};
use crate::eval::record::{Field, Record, Records};
use crate::eval::suite::{ExpectedField, Judge, Suite};
use crate::failure::Failure;
use crate::infer::{Cancel, FitUse, InferError, Session, Turn, wait};
use crate::load_spec;
use crate::store::{Model, Weights};
use crate::ui::output::say;

/// Rows with what the model says of them.
pub struct Gathered {
    pub subject: Subject,
    pub session: Arc<Session>,
    pub fields: Vec<FieldRows>,
    /// Whether hidden states were told.
    pub has_states: bool,
    /// Rows of the data, and those that have no answer to learn from.
    pub n_rows: usize,
    pub n_failed: usize,
}

/// The rows of one closed field.
#[derive(Debug)]
pub struct FieldRows {
    pub name: Option<String>,
    pub options: Vec<Value>,
    /// Whether the data has labels for it.
    pub is_labelled: bool,
    pub rows: Vec<FieldRow>,
}

/// What is known of one row.
#[derive(Debug, Clone)]
pub struct FieldRow {
    pub text: String,
    pub logprobs: Vec<f64>,
    pub state: Option<Vec<f32>>,
    /// The option that is right; `None` where the row has no label for the field.
    pub truth: Option<usize>,
    /// Where the row stands, in words.
    pub at: String,
}

impl FieldRow {
    #[must_use]
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence { text: &self.text, logprobs: &self.logprobs, state: self.state.as_deref() }
    }
}

impl FieldRows {
    /// The rows of the contract's field with this number; `expected` is the number of the suite's field with its labels.
    fn of((nth, field): (usize, &contract::Field), expected: Option<usize>, answered: &[Answered<'_>]) -> FieldRows {
        let options = field.values();
        let row = |answered: &Answered<'_>| {
            let truth = expected.and_then(|at| {
                let label = answered.content.expected[at].resolve(&options);
                options.iter().position(|option| key(option) == key(&label))
            });
            Some(FieldRow {
                text: answered.text().to_owned(),
                logprobs: answered.scores.get(nth)?.probabilities.iter().map(|p| p.ln()).collect(),
                state: answered.state.cloned(),
                truth,
                at: answered.at.to_owned(),
            })
        };
        let rows = answered.iter().filter_map(row).collect();
        FieldRows { name: field.name(), options, is_labelled: expected.is_some(), rows }
    }

    /// The name as people see it.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or("answer")
    }

    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        self.options.iter().map(show).collect()
    }

    /// The labelled rows at these places.
    #[must_use]
    pub fn labelled(&self, places: &[usize]) -> Vec<Labelled<'_>> {
        let row = |&at: &usize| {
            let row = &self.rows[at];
            row.truth.map(|truth| Labelled { evidence: row.evidence(), truth })
        };
        places.iter().filter_map(row).collect()
    }

    /// The places of the labelled rows.
    #[must_use]
    pub fn places(&self) -> Vec<usize> {
        (0..self.rows.len()).filter(|&at| self.rows[at].truth.is_some()).collect()
    }
}

/// Reads the data, asks the model about every row that is not known, and puts the answers beside the labels.
///
/// # Errors
/// The data or the model cannot be used, or nothing can be learned from them.
pub fn gather(args: &FitArgs, data: &Path, environment: &Environment) -> Result<Gathered, Failure> {
    let model = load::find_or_pull(&args.model, environment)?;
    if let Weights::Elsewhere(who) = &model.weights {
        let (name, kind) = (&args.model, who.kind());
        return Err(Failure::usage(format!(
            "`{name}` is a {kind}, and a fit is of a model with weights of its own; fit one that has, such as a tier of a cascade"
        )));
    }
    let LabelledSuite { suite, folder, labels, schema } = labelled(args, data, &model)?;
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
            "the answers of `{}` are written, not chosen; a fit is for labels, yes or no, and ratings: give the model a FORMAT with \
             `enum`, `boolean` or bounded integers",
            args.model
        )));
    };
    let asking = Asking { suite: &suite, data: &data, args: &eval, environment };
    let responder = local::open(&subject, asking, FitUse::None)?;
    let session = Arc::clone(responder.session()?);
    let first = data.rows.iter().find_map(|row| row.content.as_ref().ok()).map_or("text", |content| &content.input);
    let state = if args.asking.no_state { None } else { told_state(&subject, &session, first)? };
    let fields: Vec<Field> =
        suite.expect.iter().map(|expected| record_field(expected.field.clone(), &contract)).collect();
    let records = Records::new(String::new(), &data, fields);
    let by = local::computed_by(&subject, &subject.form, &responder);
    let asked = local::asking(&subject, &subject.form, state);
    let way = Way { name: &args.model, nth: 0, form: &subject.form, asking: asked, by: Some(by) };
    let mut course = Course::of(way, &records, asking);
    let turn = |text: &str| Turn { fit: FitUse::None, state, ..subject.turn(&subject.form, text) };
    course.run(args.asking.parallel.unwrap_or(N_CLOSED), |text| local::begin(&responder, turn(text)), local::finish)?;
    let given = course.given();
    if interrupt::happened() {
        return Err(Failure::failed(
            "interrupted; the answers that came are kept, so that the same command goes on there",
        ));
    }
    let answered: Vec<Answered<'_>> = data
        .rows
        .iter()
        .zip(&records.rows)
        .zip(&given)
        .filter_map(|((row, record), given)| Answered::of(row, record, given.as_ref()?))
        .collect();
    let expected = |field: &contract::Field| {
        let is_its = |one: &ExpectedField| contract.is_bare() || Some(&one.field) == field.name().as_ref();
        suite.expect.iter().position(|one| labels == Labels::Given && one.judge == Judge::Label && is_its(one))
    };
    let fields = contract.fields().iter().enumerate();
    let fields = fields.map(|(nth, field)| FieldRows::of((nth, field), expected(field), &answered)).collect();
    if labels == Labels::Given {
        let candidates: Vec<Vec<Value>> = records.fields.iter().map(|field| field.candidates.clone()).collect();
        data.findings(&suite, &candidates, Impossible::IsLeftOut).iter().for_each(say);
    }
    let (n_rows, n_failed) = (records.rows.len(), records.rows.len() - answered.len());
    Ok(Gathered { subject, session, fields, has_states: state.is_some(), n_rows, n_failed })
}

/// A row with the model's scores.
struct Answered<'a> {
    content: &'a Content,
    at: &'a str,
    scores: &'a [Scores],
    state: Option<&'a Vec<f32>>,
}

impl<'a> Answered<'a> {
    /// A row and what was given to it; `None` where it cannot be read or has no scores.
    fn of(row: &'a Row, record: &'a Record, given: &'a Given) -> Option<Answered<'a>> {
        let Said::Closed(scores) = &given.said else { return None };
        Some(Answered { content: row.content.as_ref().ok()?, at: &record.at, scores, state: given.state.as_ref() })
    }

    /// What the model read.
    fn text(&self) -> &str {
        self.content.prompts.first().and_then(Option::as_deref).unwrap_or(&self.content.input)
    }
}

fn record_field(name: String, contract: &Contract) -> Field {
    let own = contract.fields().iter().find(|field| contract.is_bare() || field.name().as_deref() == Some(&name));
    let candidates = own.map(contract::Field::values).unwrap_or_default();
    Field { name, judge: Judge::Label, candidates, limits: None }
}

/// Which state the model tells; `None` where it cannot, which is said.
fn told_state(subject: &Subject, session: &Session, text: &str) -> Result<Option<StateAt>, Failure> {
    let state = Some(StateAt::default());
    let turn = Turn { fit: FitUse::None, state, ..subject.turn(&subject.form, text) };
    match session.ask(turn).and_then(|reply| wait(reply.whole(), &Cancel::default())) {
        Ok(finished) => Ok(finished.end.state.and(state)),
        Err(InferError::Engine(error @ EngineError::NoState(_))) => {
            say(format_args!("hidden states are left out: {error}"));
            Ok(None)
        }
        // A text that is too long says nothing of the others.
        Err(InferError::Engine(EngineError::Context { .. } | EngineError::TextTooLong { .. })) => Ok(state),
        Err(error) => Err(error.into()),
    }
}

/// Whether data says what is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    Given,
    None,
}

/// Data as a suite.
pub struct LabelledSuite {
    pub suite: Suite,
    /// What its files are relative to.
    pub folder: PathBuf,
    pub labels: Labels,
    /// The answers that the labels are, where the model itself says nothing of its answers.
    pub schema: Option<Value>,
}

/// The suite that DATA is, or one made for it.
///
/// # Errors
/// The data cannot be read, or nobody knows what its text or its labels are.
pub fn labelled(args: &FitArgs, path: &Path, model: &Model) -> Result<LabelledSuite, Failure> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    if ["yaml", "yml"].contains(&extension.as_str()) {
        let mut suite = Suite::load(path)?;
        suite.ask_instead(std::slice::from_ref(&args.model));
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let labels = if args.other.unlabelled.is_some() { Labels::None } else { Labels::Given };
        return Ok(LabelledSuite { suite, folder, labels, schema: None });
    }
    let own = load_spec::own_form(model)?;
    if extension == "txt" {
        let suite =
            json!({"model": args.model, "data": lines(path)?, "input": "text", "expect": nothing(&own, "text")});
        let (suite, folder) = (Suite::parse(&suite.to_string())?, PathBuf::from("."));
        return Ok(LabelledSuite { suite, folder, labels: Labels::None, schema: None });
    }
    let (text, labels) = init::text_and_labels(path, &parquet::read_apart)?;
    let Some(input) = args.input.clone().or(text) else {
        return Err(Failure::failed(format!(
            "`{}` has no column that looks like a text; name it with --input COLUMN",
            path.display()
        )));
    };
    let wants_none = args.other.unlabelled.is_some();
    let expect = if wants_none { None } else { expected(args, &own, labels, path)? };
    let (expect, labels) = match expect {
        Some(expect) => (expect, Labels::Given),
        None => (nothing(&own, &input), Labels::None),
    };
    let mut suite = json!({"model": args.model, "data": path.display().to_string(), "input": input, "expect": expect});
    if !matches!(own, Form::Closed(_)) {
        if labels == Labels::None {
            return Err(Failure::usage(format!(
                "`{}` has no FORMAT, so that nobody knows its labels; give the model one, or labelled data",
                args.model
            )));
        }
        let Some(column) = expect.as_str() else {
            return Err(Failure::usage(format!(
                "`{}` has no FORMAT, so that one column of labels is needed; give the model a FORMAT, or one --label COLUMN",
                args.model
            )));
        };
        let values = init::values(path, column, &parquet::read_apart)?;
        say(format_args!("`{}` has no FORMAT: its answers are the {} labels of `{column}`", args.model, values.len()));
        suite["format"] = json!({"enum": values});
    }
    let schema = suite.get("format").cloned();
    Ok(LabelledSuite { suite: Suite::parse(&suite.to_string())?, folder: PathBuf::from("."), labels, schema })
}

/// A suite expects something always: where data has no labels, the text itself, which nobody looks at.
fn nothing(own: &Form, input: &str) -> Value {
    match own {
        Form::Closed(contract) if !contract.is_bare() => {
            let name = contract.fields().first().and_then(contract::Field::name).unwrap_or_default();
            json!({name: input})
        }
        _ => input.into(),
    }
}

/// The texts of a file, one a line, as rows.
fn lines(path: &Path) -> Result<Vec<Value>, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot read `{}`: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8_lossy(&crate::encoding::utf8(&bytes)).into_owned();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(|line| json!({"text": line})).collect())
}

/// What a suite calls `expect`; `None` where data without labels is checked.
fn expected(args: &FitArgs, own: &Form, guessed: Vec<String>, path: &Path) -> Result<Option<Value>, Failure> {
    let fields: Vec<String> = match own {
        Form::Closed(contract) if !contract.is_bare() => {
            contract.fields().iter().filter_map(contract::Field::name).collect()
        }
        _ => Vec::new(),
    };
    if args.other.check && args.label.is_empty() && guessed.is_empty() {
        return Ok(None);
    }
    if fields.is_empty() {
        let column = match args.label.as_slice() {
            [] => guessed.into_iter().next(),
            [one] => Some(one.clone()),
            _ => return Err(Failure::usage("the model's answer is one value; give one --label")),
        };
        return column.map(|column| Some(column.into())).ok_or_else(|| {
            Failure::failed(format!(
                "`{}` has no column that looks like labels; name it with --label COLUMN",
                path.display()
            ))
        });
    }
    let mut map = serde_json::Map::new();
    for label in &args.label {
        let (field, column) = label.split_once('=').unwrap_or((label, label));
        map.insert(field.to_owned(), column.into());
    }
    if map.is_empty() {
        map.extend(
            fields.iter().filter(|field| guessed.contains(field)).map(|field| (field.clone(), field.clone().into())),
        );
    }
    if map.is_empty() {
        return Err(Failure::failed(format!(
            "`{}` has no column named like a field of the answer ({}); name them with --label FIELD=COLUMN",
            path.display(),
            fields.join(", ")
        )));
    }
    Ok(Some(Value::Object(map)))
}

/// How an evaluation would ask the same.
fn eval_args(args: &FitArgs, path: &Path) -> EvalArgs {
    let asking = AskingArgs {
        fresh: args.asking.fresh,
        parallel: args.asking.parallel,
        local: args.asking.local,
        ..AskingArgs::default()
    };
    EvalArgs {
        suite: Some(path.to_owned()),
        init: None,
        model: vec![args.model.clone()],
        rows: Default::default(),
        asking,
        gate: Default::default(),
        report: Default::default(),
        reading: args.reading,
        compute: args.compute.clone(),
    }
}
