//! `slm tune`: from labelled rows to a model with an adapter that is better than the model without it.

mod args;
mod check;
mod evaluate;
mod outcome;
mod plan;
mod python;
mod setup;
mod task;
mod train;
mod written;

use std::path::{Path, PathBuf};

pub use args::TuneArgs;

use super::environment::Environment;
use crate::failure::{Exit, Failure, Outcome};
use crate::model_ref::ModelRef;
use crate::tune::job::{JobFile, JobFolder, Trainer};
use crate::ui::output::{Output, say};
use train::Trained;

/// Trains an adapter and keeps it if it is better; or does one part of that: the environment, a look at the rows, a job for another
/// machine, what came back from there.
///
/// # Errors
/// The data, the model or the trainer cannot be used.
pub fn run(args: &TuneArgs, environment: &Environment) -> Outcome {
    if args.other.setup {
        return setup::run(args, environment);
    }
    if args.other.check {
        return check::run(args, environment);
    }
    if let Some(folder) = &args.other.import {
        return import(args, folder, environment);
    }
    let (model, data) = (asked(args.model.as_deref())?, args.data.as_deref().expect("clap asks for data otherwise"));
    let name = name(args, model)?;
    if let Some(folder) = &args.other.export {
        let job = plan::job(args, model, data, (&name, folder), environment)?;
        return exported(args, &job);
    }
    let folder = args.training.job.clone().unwrap_or_else(|| usual_folder(&name));
    let job = plan::job(args, model, data, (&name, &folder), environment)?;
    let place = JobFolder::at(&folder);
    if args.dry_run {
        return told(args, &job, &format!("the job is in `{}`; nothing was trained", folder.display()));
    }
    let trained = match job.engine {
        Trainer::Peft => train::train(&python::found(args, environment)?, &place, &job)?,
        Trainer::Mlx => train::mlx(&place)?,
    };
    match trained {
        Trained::Whole(training) => outcome::keep(args, &job, &place, training, environment),
        Trained::Stopped => {
            say(format_args!("stopped; the same command goes on from the checkpoint in `{}`", folder.display()));
            Ok(Exit::Interrupted)
        }
    }
}

fn asked(model: Option<&str>) -> Result<&str, Failure> {
    model.ok_or_else(|| Failure::usage("name the model to tune"))
}

/// What the tuned model is called.
fn name(args: &TuneArgs, model: &str) -> Result<ModelRef, Failure> {
    match &args.name {
        Some(name) => Ok(name.parse()?),
        None => {
            let reference: ModelRef = model.split('@').next().unwrap_or(model).parse()?;
            let text = reference.to_string();
            let bare = text.rsplit_once(':').map_or(text.as_str(), |(bare, _)| bare);
            Ok(format!("{bare}:tuned").parse()?)
        }
    }
}

/// Where a job is if nobody says: in this folder, under the tuned model's name.
fn usual_folder(name: &ModelRef) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name = name.to_string();
    let name: String = name.strip_suffix(":latest").unwrap_or(&name).chars().map(plain).collect();
    PathBuf::from(format!("{name}.tune"))
}

/// Takes in what was trained in a folder.
fn import(args: &TuneArgs, folder: &Path, environment: &Environment) -> Outcome {
    let place = JobFolder::at(folder);
    let mut job = place.read()?;
    if let Some(name) = &args.name {
        job.name = name.parse::<ModelRef>()?.to_string();
    }
    if place.trained().is_none() {
        let by_hand = match job.engine {
            Trainer::Peft => "python train.py .",
            Trainer::Mlx => "cd mlx && mlx_lm.lora --config config.yaml",
        };
        return Err(Failure::failed(format!(
            "`{}` has no adapter yet; train it with `{by_hand}` there",
            folder.display()
        )));
    }
    let training = train::told_in(&place);
    outcome::keep(args, &job, &place, training, environment)
}

fn exported(args: &TuneArgs, job: &JobFile) -> Outcome {
    let folder = args.other.export.as_deref().unwrap_or(Path::new(".")).display().to_string();
    let run = match job.engine {
        Trainer::Peft => format!("python {folder}/train.py {folder}"),
        Trainer::Mlx => format!("cd {folder}/mlx && mlx_lm.lora --config config.yaml"),
    };
    told(args, job, &format!("the job is in `{folder}`; train it with `{run}`, then `slm tune --import {folder}`"))
}

/// The job, and where it is.
fn told(args: &TuneArgs, job: &JobFile, line: &str) -> Outcome {
    let mut output = Output::default();
    if args.json {
        output.json(&serde_json::to_value(job).expect("a job is plain data"))?;
    } else {
        output.line(line)?;
    }
    Ok(Exit::Done)
}
