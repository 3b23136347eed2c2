//! `slm fit MODEL DATA --examples`: whether the nearest labelled rows, put before each text, make answers better than none, and the
//! model with them where they do. A row's examples are always other rows.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::args::FitArgs;
use super::labelled_texts;
use super::with_examples::{Compared, Figures, Outcomes, Trial};
use crate::cli::create::{FIT_LEFT_OUT, vectors};
use crate::cli::environment::Environment;
use crate::cli::load::{self, EnginePlace, LoadOptions};
use crate::contract::Form;
use crate::engine::Load;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::{Defaults, Examples, FitUse, Session, Vectors};
use crate::load_spec;
use crate::model_ref::ModelRef;
use crate::modelfile::{BaseSource, FoundBy, Modelfile};
use crate::sampling::Parameters;
use crate::store::{FitKept, Model, NewExamples, NewWeights, Weights};
use crate::ui::output::{Output, say};
use crate::ui::progress::Bytes;
use crate::ui::table::table;

/// The rows from which on a difference has a chance to show.
const FEWEST: usize = 20;

/// Compares, and stores the model with its examples.
///
/// # Errors
/// The data or the model cannot be used.
pub fn run(args: &FitArgs, k: u8, data: &Path, environment: &Environment) -> Outcome {
    let model = load::find_or_pull(&args.model, environment)?;
    let form = form_of(&model, args)?;
    let rows = labelled_texts::read(args, data, &model, &form)?;
    if rows.len() < FEWEST {
        return Err(Failure::failed(format!(
            "`{}` has {} labelled rows, and {FEWEST} are the fewest on which examples can be told from none; label {} more",
            data.display(),
            rows.len(),
            FEWEST - rows.len()
        )));
    }
    let by = found_by(args, environment)?;
    let new = environment.store()?.examples_of(rows.clone(), k, &by, data)?;
    let new = vectors::with_vectors(new, environment)?;
    let without = session(&model, args, environment)?;
    let with = with_examples(&without, &new, k, environment)?;
    let trial = Trial { form: &form, rows: &rows, scoring: args.reading.scoring() };
    let started = Instant::now();
    let before = trial.run(&without, "without examples")?;
    let after = trial.run(&with, "with examples")?;
    let compared = before.compared(&after);
    tell(args, &[&before, &after], compared, started.elapsed().as_secs_f64())?;
    if !compared.helps() {
        let line = format!("nothing was stored: examples do not help `{}` beyond chance on these rows", args.model);
        super::tell(args, &line)?;
        return Ok(Exit::Done);
    }
    store(args, &model, &new, environment)?;
    Ok(Exit::Done)
}

fn form_of(model: &Model, args: &FitArgs) -> Result<Form, Failure> {
    let name = &args.model;
    if let Weights::Elsewhere(who) = &model.weights {
        return Err(Failure::usage(format!(
            "`{name}` is a {}, which is given no examples; fit a model with weights of its own",
            who.kind()
        )));
    }
    if let Some(examples) = &model.examples {
        return Err(Failure::usage(format!(
            "`{name}` has {} examples already, so nothing can be compared with none; fit the model that it is built on",
            examples.rows.len()
        )));
    }
    match load_spec::own_form(model)? {
        Form::Free => Err(Failure::usage(format!(
            "`{name}` has no FORMAT, so that nobody knows what its answers are; create a model with one first"
        ))),
        form => Ok(form),
    }
}

fn found_by(args: &FitArgs, environment: &Environment) -> Result<FoundBy, Failure> {
    let Some(by) = &args.examples.by else { return Ok(FoundBy::Words) };
    let mut by: FoundBy = by.parse().map_err(|error| Failure::usage(format!("--by: {error}")))?;
    if let FoundBy::Model(reference) = &mut by {
        reference.name = load::find_or_pull(&reference.to_string(), environment)?.name;
    }
    Ok(by)
}

/// The model as it is, without its fit.
fn session(model: &Model, args: &FitArgs, environment: &Environment) -> Result<std::sync::Arc<Session>, Failure> {
    let wanted = LoadOptions {
        parameters: &Parameters::default(),
        adapters: &load_spec::own_adapters(model),
        compute: &args.compute,
        load: Load::Everything,
        place: if args.asking.local { EnginePlace::ThisProcess } else { EnginePlace::Server },
        fit: FitUse::None,
        keep_alive: None,
    };
    let header = load::header(model)?;
    let loaded = load::open(model.clone(), header.as_ref(), &wanted, environment)?;
    Ok(std::sync::Arc::clone(loaded.responder.session()?))
}

/// The same engine with examples.
fn with_examples(without: &Session, new: &NewExamples, k: u8, environment: &Environment) -> Result<Session, Failure> {
    let rows = new.rows().to_vec();
    let Some(by) = new.by() else {
        let defaults = Defaults { examples: Some(Examples::new(rows, k)), ..without.defaults().clone() };
        return Ok(Session::over(without.engine().clone(), defaults)?);
    };
    let vectors = Vectors { numbers: new.vectors().to_vec(), by: by.digest.to_string() };
    let examples = Some(Examples::by_vectors(rows, k, vectors));
    let session = Session::over(without.engine().clone(), Defaults { examples, ..without.defaults().clone() })?;
    Ok(session.beside(vectors::embedder(by, environment)?))
}

fn tell(args: &FitArgs, outcomes: &[&Outcomes; 2], compared: Compared, elapsed_s: f64) -> Result<(), Failure> {
    let [before, after] = outcomes.map(Outcomes::figures);
    let slower = after.row_ms / before.row_ms.max(f64::MIN_POSITIVE);
    let mut output = Output::default();
    if args.asking.json {
        let value = json!({
            "model": args.model, "rows": before.rows, "before": before, "after": after,
            "p_value": compared.p_better, "p_fewer_right": compared.p_fewer_right,
            "slower": slower, "helps": compared.helps(),
        });
        return output.json(&value).map(drop);
    }
    let line = |name: &str, figures: &Figures| {
        let f1 = figures.f1.map_or(String::new(), |f1| format!("{f1:.3}"));
        let (right, loss, ms) = (figures.right, figures.loss, figures.row_ms);
        vec![name.to_owned(), format!("{right:.3}"), format!("{loss:.3}"), f1, format!("{ms:.1}")]
    };
    let loss = if before.f1.is_some() { "fields wrong" } else { "nll" };
    let f1 = if before.f1.is_some() { "F1" } else { "" };
    let mut text = format!("{} rows, each asked without examples and with those of the other rows\n", before.rows);
    text += &table(&["", "right", loss, f1, "ms a row"], &[line("without", &before), line("with", &after)]);
    text += &format!(
        "p = {:.3} that so much better answers come by chance; a row takes {slower:.1} times as long with examples ({elapsed_s:.0} s \
         were needed to ask all)\n",
        compared.p_better
    );
    if compared.has_fewer_right() {
        text += &format!("fewer answers are right with examples (p = {:.3})\n", compared.p_fewer_right);
    }
    output.text(&text).map(drop)
}

fn store(args: &FitArgs, model: &Model, new: &NewExamples, environment: &Environment) -> Result<(), Failure> {
    let name: ModelRef = match &args.name {
        Some(name) => name.parse()?,
        None => model.name.clone(),
    };
    let n = new.rows().len();
    if args.asking.dry_run {
        return super::tell(args, &format!("`{name}` would get these {n} examples; nothing was stored"));
    }
    let store = environment.store()?;
    let modelfile = Modelfile::new(BaseSource::Name(model.name.clone().into()));
    let made = (NewWeights::Named, Some(new));
    let creation = store.begin_creating_with(&modelfile, Path::new(""), made, &Bytes::default())?;
    let fit = creation.fit();
    store.finish_creating(&name, creation)?;
    if fit == FitKept::No {
        say(FIT_LEFT_OUT);
    }
    super::tell(args, &format!("`{name}` has these {n} examples now; `slm show {name}` says how they are found"))
}
