//! From rows to a job: what teaches, what says when to stop, what is held out, and which settings; a job that is there already goes on.

use std::path::{Path, PathBuf};

use super::args::TuneArgs;
use super::task::{self, Task, TaughtRows};
use crate::cli::environment::Environment;
use crate::cli::load;
use crate::failure::Failure;
use crate::model_ref::ModelRef;
use crate::peft;
use crate::store::{Model, Weights};
use crate::tune::job::{
    self, JOB_FORMAT, JobFile, JobFolder, NewJob, RowCounts, Teaching, Trainer, WeightsFile, WeightsKind,
};
use crate::tune::parts::{Parts, dealt};
use crate::tune::rows::{LeftOut, cleaned, tallied};
use crate::tune::settings::{ENOUGH_ROWS, Settings};
use crate::ui::output::say;

/// Fewer rows that teach, or that say when to stop, are not worth a training.
const LEAST_TRAIN: usize = 20;

/// Writes the job of these rows, or resumes the one in the folder.
///
/// # Errors
/// The rows or the model cannot be used, or the folder has another job.
pub fn job(
    args: &TuneArgs,
    model: &str,
    data: &Path,
    (name, folder): (&ModelRef, &Path),
    environment: &Environment,
) -> Result<JobFile, Failure> {
    let mut task = Task::read(args, model, data, environment)?;
    check_model(&task.model)?;
    let planned = Planned::of(args, &mut task, environment)?;
    let place = JobFolder::at(folder);
    let weights = weights(args, &task.model)?;
    let id = job::id(&planned.train, &planned.valid, &planned.settings, &task.model.weights_digest.to_string());
    if let Ok(known) = place.read()
        && !args.training.fresh
    {
        if known.id == id {
            return Ok(known);
        }
        return Err(Failure::failed(format!(
            "`{}` has another job (other rows, settings or weights); give --job another folder, or --fresh to begin anew there",
            folder.display()
        )));
    }
    let Parts { train, valid, held_out } = &planned.parts;
    let all: Vec<_> = [train, valid, held_out].into_iter().flatten().cloned().collect();
    let as_json = task::as_json(&task, &all);
    let (labelled, held_out) = as_json.split_at(train.len() + valid.len());
    let file = JobFile {
        format: JOB_FORMAT,
        id,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        model: task.model.name.to_string(),
        model_digest: task.model.digest.to_string(),
        weights_digest: task.model.weights_digest.to_string(),
        name: name.to_string(),
        engine: args.training.engine.unwrap_or(Trainer::Peft),
        weights: placed(&weights),
        settings: planned.settings,
        rows: RowCounts {
            train: train.len(),
            valid: valid.len(),
            held_out: held_out.len(),
            left_out: planned.left.len(),
        },
        labels: task::labels(&task, &all),
        schema: task.schema.clone(),
        expect: task.expect(),
        data_digest: job::data_digest(&as_json),
        longest_tokens: planned.train.iter().map(|one| one.tokens.len()).max().unwrap_or_default(),
    };
    say_plan(&file, &planned.left, folder);
    let new = NewJob {
        file: &file,
        train: &planned.train,
        valid: &planned.valid,
        labelled,
        held_out,
        left_out: &planned.left,
    };
    place.write(&new)?;
    put_weights(&weights, &file, &place)?;
    Ok(file)
}

/// The rows in their parts, as they teach.
struct Planned {
    parts: Parts,
    train: Vec<Teaching>,
    valid: Vec<Teaching>,
    settings: Settings,
    left: Vec<LeftOut>,
}

impl Planned {
    fn of(args: &TuneArgs, task: &mut Task, environment: &Environment) -> Result<Planned, Failure> {
        let mut left = std::mem::take(&mut task.left);
        let (rows, out) = cleaned(std::mem::take(&mut task.rows));
        left.extend(out);
        let held_out = match &args.held_out {
            Some(path) => {
                let (rows, _) = task.held_out(path)?;
                Some(cleaned(rows).0)
            }
            None => None,
        };
        let (mut parts, out) = dealt(rows, held_out, args.settings.seed.unwrap_or(0));
        left.extend(out);
        if parts.train.len() < LEAST_TRAIN || parts.valid.is_empty() {
            return Err(Failure::failed(format!(
                "{} rows would teach and {} say when to stop, which is too few; label at least {} rows, or use `slm fit`",
                parts.train.len(),
                parts.valid.len(),
                2 * LEAST_TRAIN
            )));
        }
        let settings = args.settings.settings(parts.train.len())?;
        let session = task.session(args, environment)?;
        let weights = task.weights(&parts.train, settings.class_weights);
        let how = (weights.as_slice(), settings.max_tokens);
        let TaughtRows { kept, teachings: train, left: out } =
            task.taught(&session, std::mem::take(&mut parts.train), how)?;
        parts.train = kept;
        left.extend(out);
        let TaughtRows { kept, teachings: valid, left: out } =
            task.taught(&session, std::mem::take(&mut parts.valid), how)?;
        parts.valid = kept;
        left.extend(out);
        Ok(Planned { parts, train, valid, settings, left })
    }
}

/// Whether an adapter of this model can be taken in.
fn check_model(model: &Model) -> Result<(), Failure> {
    let name = &model.name;
    if !model.adapters.is_empty() {
        return Err(Failure::usage(format!(
            "`{name}` has an adapter already; tune the model that it is built on, with all rows together"
        )));
    }
    let header = model.weights.header()?;
    if !peft::is_known(header.architecture()) {
        return Err(Failure::usage(format!(
            "`{name}` has the architecture `{}`, whose adapters slm cannot convert (docs/adapters.md lists those that it can)",
            header.architecture()
        )));
    }
    Ok(())
}

/// The weights to train on: those that were named, or the model's own GGUF.
fn weights(args: &TuneArgs, model: &Model) -> Result<WeightsFile, Failure> {
    let named = |kind, path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        WeightsFile { kind, path }
    };
    if let Some(path) = &args.training.weights {
        if path.join("config.json").is_file() {
            return Ok(named(WeightsKind::HuggingFace, path));
        }
        if path.is_file() && path.extension().is_some_and(|end| end == "gguf") {
            return Ok(named(WeightsKind::Gguf, path));
        }
        return Err(Failure::usage(format!(
            "--weights `{}` is neither a folder with a config.json nor a GGUF file",
            path.display()
        )));
    }
    match &model.weights {
        Weights::Blobs(files) => match files.as_slice() {
            [one] => Ok(named(WeightsKind::Gguf, one)),
            files => Err(Failure::usage(format!(
                "`{}` is split in {} files, which transformers cannot read; give the model's folder from Hugging Face with --weights",
                model.name,
                files.len()
            ))),
        },
        Weights::Embedded(_) | Weights::Elsewhere(_) => Err(Failure::usage(format!(
            "`{}` is built into slm; give the weights that it was made of with --weights",
            model.name
        ))),
    }
}

/// Where the job finds the weights: a GGUF lies in its folder, under a name that ends as transformers expects.
fn placed(weights: &WeightsFile) -> WeightsFile {
    match weights.kind {
        WeightsKind::Gguf => WeightsFile { kind: WeightsKind::Gguf, path: PathBuf::from("weights/base.gguf") },
        WeightsKind::HuggingFace => weights.clone(),
    }
}

/// Puts a GGUF into the job's folder: as a hard link, or as a copy where the file system refuses one.
fn put_weights(weights: &WeightsFile, file: &JobFile, place: &JobFolder) -> Result<(), Failure> {
    if weights.kind != WeightsKind::Gguf {
        return Ok(());
    }
    let to = place.path().join(&file.weights.path);
    let failed =
        |error: std::io::Error| Failure::failed(format!("cannot put the weights at `{}`: {error}", to.display()));
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    if to.exists() {
        std::fs::remove_file(&to).map_err(failed)?;
    }
    if std::fs::hard_link(&weights.path, &to).is_ok() {
        return Ok(());
    }
    std::fs::copy(&weights.path, &to).map(drop).map_err(failed)
}

fn say_plan(job: &JobFile, left: &[LeftOut], folder: &Path) {
    let RowCounts { train, valid, held_out, .. } = job.rows;
    say(format_args!("{train} rows teach, {valid} say when to stop, {held_out} are held out for the evaluation"));
    for (why, n) in tallied(left) {
        say(format_args!(
            "{n} rows {} and are left out (`{}`)",
            why.describe(),
            folder.join("left_out.jsonl").display()
        ));
    }
    if train + valid + held_out < ENOUGH_ROWS {
        // Written answers have no labels.
        let examples = if job.labels.is_empty() { " --examples" } else { "" };
        say(format_args!(
            "with fewer than {ENOUGH_ROWS} rows `slm fit {} DATA{examples}` often gains as much in seconds; try it first",
            job.model
        ));
    }
    let Settings { rank, learning_rate, epochs, batch_rows, .. } = job.settings;
    say(format_args!(
        "rank {rank}, learning rate {learning_rate}, at most {epochs} epochs of {} steps, rows of up to {} tokens",
        train.div_ceil(batch_rows as usize),
        job.longest_tokens
    ));
}

/// The model that a job is of, if it is still what it was.
///
/// # Errors
/// It is gone, or has other weights.
pub fn model_of(job: &JobFile, environment: &Environment) -> Result<Model, Failure> {
    let model = load::find(&job.model, environment)?;
    if model.weights_digest.to_string() != job.weights_digest {
        return Err(Failure::failed(format!(
            "`{}` has other weights than when the job was made; an adapter is of no use for them",
            job.model
        )));
    }
    Ok(model)
}
