//! `slm eval`: a model on labelled data.

use super::complete;
use super::compute::ComputeArgs;
use clap::Args;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::adapters;
use super::compute;
use super::environment::Environment;
use super::interrupt;
use super::load::{self, LoadOptions, Loaded};
use super::reading::ReadingArgs;
use crate::contract::{Contract, Form};
use crate::engine::{EngineError, Load};
use crate::eval::data::Data;
use crate::eval::suite::Suite;
use crate::eval::{self, Answered, Detail};
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::{Cancel, End, Finding, InferError, Session, Turn, wait};
use crate::load_spec;
use crate::sampling::Parameters;
use crate::store::Model;
use crate::ui::output::{Output, say_skipped};
use crate::ui::progress::Rows;

/// Measure a model on labelled data
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// A suite: YAML with model, data, input, expect
    pub suite: PathBuf,
    /// Another model than the suite's
    #[arg(long, value_name = "MODEL", add = complete::models())]
    pub model: Option<String>,
    /// Stop after N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// With --json: every row's answer too
    #[arg(long, requires = "json")]
    pub rows: bool,
    #[command(flatten)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Runs a suite and prints its report.
///
/// # Errors
/// The suite, its data or its model cannot be used. A row that fails is in the report.
pub fn run(args: &EvalArgs, environment: &Environment) -> Outcome {
    let mut suite = Suite::load(&args.suite)?;
    suite.model = args.model.clone().unwrap_or(suite.model);
    suite.limit = args.limit.or(suite.limit);
    let folder = args.suite.parent().unwrap_or(Path::new("."));
    let parameters = Parameters::from_json(&suite.parameters.clone().into())
        .map_err(|error| Failure::usage(format!("`{}`: {error}", args.suite.display())))?;
    let data = Data::load(&suite.data_in(folder), &suite)?;
    say_skipped(data.n_blank_lines);
    let model = load::find_or_pull(&suite.model, environment)?;
    let contract = contract(args, &suite, folder, &model)?;
    let names: Vec<Option<String>> = contract.fields().iter().map(crate::contract::Field::name).collect();
    suite.check_fields(&names.iter().map(Option::as_deref).collect::<Vec<_>>())?;

    let mut parameters = parameters;
    compute::say(&args.compute, &mut parameters)?;
    let adapters = adapters::chosen(&[], &model, environment)?;
    let wanted = LoadOptions {
        adapters: &adapters,
        parameters: &parameters,
        compute: &args.compute,
        load: Load::Everything,
        place: load::EnginePlace::ThisProcess,
        keep_alive: None,
    };
    let header = model.weights.header()?;
    let Loaded { session, .. } = load::open(model, &header, &wanted, environment)?;
    let (form, scoring) = (Form::Closed(contract), args.reading.scoring());
    let _listening = interrupt::listen(|| {});
    let bar = Rows::new(Some(data.rows.len() as u64));
    let started = Instant::now();
    let outcome = eval::run(
        &suite,
        &data,
        |text| {
            let (form, parameters) = (form.clone(), parameters.clone());
            let turn = Turn { form, parameters, scoring, ..Turn::to_text(suite.system.as_deref(), text) };
            answer(&session, turn).map_err(|error| Failure::from(error).message)
        },
        |progress| {
            bar.at(progress.done as u64, progress.done as u64, String::new);
            if interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    let elapsed = started.elapsed();
    drop(bar);
    let mut report = outcome.report(&suite, elapsed, if args.rows { Detail::Rows } else { Detail::Summary });
    report.evaluation_id = Some(session.evaluation_id(scoring));
    let mut output = Output::default();
    if args.json {
        output.json(&serde_json::to_value(&report).expect("a report is plain data"))?;
    } else {
        output.text(&report.to_text())?;
    }
    Ok(Exit::Done)
}

/// The closed contract that a suite measures: its own, or the model's.
fn contract(args: &EvalArgs, suite: &Suite, folder: &Path, model: &Model) -> Result<Arc<Contract>, Failure> {
    if let Some(schema) = suite.schema_in(folder)? {
        let contract = Contract::from_schema(schema);
        return contract
            .map(Arc::new)
            .map_err(|error| Failure::usage(format!("the format of `{}`: {error}", args.suite.display())));
    }
    match load_spec::own_form(model)? {
        Form::Closed(contract) => Ok(contract),
        Form::Open(_) => Err(Failure::usage(format!(
            "the FORMAT of `{}` is open, and a suite measures closed answers; add `format:` with a closed schema",
            suite.model
        ))),
        Form::Free => {
            let (suite, model) = (args.suite.display(), &suite.model);
            Err(Failure::usage(format!(
                "`{suite}` has no format and `{model}` has none of its own; add `format:` with a schema"
            )))
        }
    }
}

/// The answer to a row, with how long it took.
fn answer(session: &Session, turn: Turn) -> Result<Answered, InferError> {
    let End { finding, elapsed, .. } = *wait(session.ask(turn)?.whole(), &Cancel::default())?.end;
    match finding {
        Finding::Closed(answer) => Ok(Answered { answer, latency: elapsed }),
        Finding::Free | Finding::Open(_) | Finding::Vectors(_) => Err(EngineError::Stopped.into()),
    }
}
