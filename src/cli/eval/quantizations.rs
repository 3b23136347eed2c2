//! `slm eval --quantizations`: the suite's model in each of several types, beside the model as it is.

use std::path::Path;

use super::args::EvalArgs;
use super::drift::Drifting;
use super::importance::Importance;
use crate::cli::environment::Environment;
use crate::cli::load;
use crate::cli::quantize::source::Source;
use crate::cli::quantize::{Order, report};
use crate::engine::quantize::{ImatrixFile, Requantize};
use crate::eval::suite::{Suite, Whom};
use crate::failure::{Exit, Failure, Outcome};
use crate::model_ref::ModelRef;
use crate::modelfile::{BaseSource, Modelfile};
use crate::quantization::Quantization;
use crate::store::{Made, Model, NewWeights, Store};
use crate::ui::output::{Output, say};
use crate::ui::progress::Bytes;

/// Quantizes, asks and compares.
///
/// # Errors
/// The suite is not of one model with weights, a type cannot be made of them, or what evaluating can fail with.
pub fn run(args: &EvalArgs, environment: &Environment) -> Outcome {
    let path = args.suite.as_deref().expect("clap asks for a suite where there is no --init");
    let mut suite = Suite::load(path)?;
    let selection = args.change(&mut suite)?;
    let name = model_of(&suite, path)?;
    let model = load::find_or_pull(&name, environment)?;
    let source = Source::of_model(&model)?;
    let store = environment.store()?;
    let keep = kept_names(args)?;
    // Each of them before the first is made, so that a mistake costs nothing.
    let imatrix = match &args.quantizing.imatrix {
        None => None,
        Some(path) => Some(Importance::of(path, || Ok(model.clone()), environment)?),
    };
    let imatrix = imatrix.as_ref().map(Importance::file);
    let order = |&kind: &Quantization| order(kind, args, imatrix.clone());
    let orders: Vec<Order> = args.quantizing.quantizations.iter().map(order).collect();
    let plans = orders.iter().map(|order| order.plan(&source)).collect::<Result<Vec<_>, Failure>>()?;
    let mut drifting = Drifting::begin((suite, &selection), &model, args, environment)?;
    drifting.ask(source.header.quantization(), model.clone(), &source.header)?;
    for (nth, (order, plan)) in orders.iter().zip(&plans).enumerate() {
        order.announce(&source, plan);
        let made = order.make(&source, plan, &store)?;
        let header = made.weights.header.clone();
        let quantized = model.clone().with_weights(&made.weights, vec![made.path().to_owned()]);
        drifting.ask(&order.kind.name.to_ascii_lowercase(), quantized, &header)?;
        if let Some(name) = keep.get(nth) {
            self::keep(name, &model, &made, &store)?;
        }
    }
    let report = drifting.report()?;
    let mut output = Output::default();
    if args.report.json {
        output.json(&serde_json::to_value(&report).expect("a report is plain data"))?;
    } else {
        output.text(&report::page(&report))?;
    }
    Ok(Exit::Done)
}

fn order(kind: Quantization, args: &EvalArgs, imatrix: Option<ImatrixFile>) -> Order {
    Order {
        kind,
        overrides: Vec::new(),
        requantize: if args.quantizing.requantize { Requantize::Allow } else { Requantize::Refuse },
        n_threads: None,
        imatrix,
    }
}

/// The one model that is asked.
fn model_of(suite: &Suite, path: &Path) -> Result<String, Failure> {
    match suite.variants.as_slice() {
        [only] => match &only.whom {
            Whom::Model(name) => Ok(name.clone()),
            Whom::Remote(_) => Err(Failure::usage(format!(
                "`{}` asks a remote, whose weights are not here; name a model with --model",
                path.display()
            ))),
        },
        several => Err(Failure::usage(format!(
            "--quantizations is of one model, and `{}` asks {}; name one with --model",
            path.display(),
            several.len()
        ))),
    }
}

/// The names under which quantized models are kept, in the order of their types.
fn kept_names(args: &EvalArgs) -> Result<Vec<ModelRef>, Failure> {
    let Some(keep) = &args.quantizing.keep else { return Ok(Vec::new()) };
    if keep.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        return Err(Failure::usage(format!(
            "--keep `{keep}` has a tag; the types become the tags, so give the name alone"
        )));
    }
    let name = |kind: &Quantization| format!("{keep}:{}", kind.name.to_ascii_lowercase()).parse::<ModelRef>();
    Ok(args.quantizing.quantizations.iter().map(name).collect::<Result<_, _>>()?)
}

fn keep(name: &ModelRef, model: &Model, made: &Made, store: &Store) -> Result<(), Failure> {
    let modelfile = Modelfile::new(BaseSource::Name(model.name.clone().into()));
    let creation = store.begin_creating_of(&modelfile, Path::new(""), NewWeights::Made(made), &Bytes::default())?;
    let kept = store.finish_creating(name, creation)?;
    say(format_args!("kept as `{}` ({})", kept.name, kept.digest.short()));
    Ok(())
}
