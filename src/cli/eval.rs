//! `slm eval`: a model on labelled data.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use super::adapters;
use super::args::EvalArgs;
use super::compute;
use super::environment::Environment;
use super::interrupt;
use super::load::{self, Loaded, Wanted};
use crate::contract::{Contract, Form};
use crate::engine::Load;
use crate::eval::data::Data;
use crate::eval::suite::Suite;
use crate::eval::{self, Answered, Detail};
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::Task;
use crate::opening;
use crate::sampling::Parameters;
use crate::ui::output::Output;
use crate::ui::progress::Rows;

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
    let model = load::find_or_pull(&suite.model, environment)?;
    let contract = match suite.schema_in(folder)? {
        Some(schema) => Some(
            Contract::from_schema(schema)
                .map_err(|error| Failure::usage(format!("the format of `{}`: {error}", args.suite.display())))?,
        ),
        None => match opening::own_form(&model)? {
            Some(Form::Closed(contract)) => Some(contract),
            Some(Form::Open(_)) => {
                return Err(Failure::usage(format!(
                    "the FORMAT of `{}` is open, and a suite measures closed answers; add `format:` with a closed schema",
                    suite.model
                )));
            }
            None => None,
        },
    };
    let contract = contract.ok_or_else(|| {
        let (suite, model) = (args.suite.display(), &suite.model);
        Failure::usage(format!(
            "`{suite}` has no format and `{model}` has none of its own; add `format:` with a schema"
        ))
    })?;
    let names: Vec<Option<String>> = contract.fields().iter().map(crate::contract::Field::name).collect();
    suite.check_fields(&names.iter().map(Option::as_deref).collect::<Vec<_>>())?;

    let mut parameters = parameters;
    compute::say(&args.compute, &mut parameters)?;
    let adapters = adapters::chosen(&[], &model, environment)?;
    let wanted = Wanted {
        adapters: &adapters,
        parameters: &parameters,
        compute: &args.compute,
        load: Load::Everything,
        place: load::Place::Here,
    };
    let Loaded { session, .. } = load::open(model, &wanted, environment)?;
    let task = Task { system: suite.system.clone(), parameters, ..Task::default() };
    let _listening = interrupt::listen(|| {});
    let bar = Rows::new(Some(data.rows.len() as u64));
    let started = Instant::now();
    let outcome = eval::run(
        &suite,
        &data,
        |text| {
            let decided = session.decide(&task, &contract, text).map_err(|error| error.to_string())?;
            Ok(Answered { latency: decided.elapsed, answer: decided.answer })
        },
        |progress| {
            bar.at(progress.done as u64, progress.done as u64, String::new);
            if interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    let elapsed = started.elapsed();
    drop(bar);
    let mut report = outcome.report(&suite, elapsed, if args.rows { Detail::Rows } else { Detail::Summary });
    report.evaluation_id = Some(session.evaluation_id(&task));
    let mut output = Output::default();
    if args.json {
        output.json(&serde_json::to_value(&report).expect("a report is plain data"))?;
    } else {
        output.text(&report.to_text())?;
    }
    Ok(Exit::Done)
}
