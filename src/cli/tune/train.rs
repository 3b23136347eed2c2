//! Runs the trainer of a job as a child process: shows how far it is, lets it write a checkpoint on Ctrl-C, and says why it failed.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::interrupt;
use crate::failure::Failure;
use crate::tune::card::Training;
use crate::tune::event::TrainEvent;
use crate::tune::job::{JobFile, JobFolder};
use crate::ui::output::say;
use crate::ui::progress::Rows;

/// The lines of a failed trainer's log that are shown.
const N_LOG_LINES: usize = 5;

/// How a training ended.
pub enum Trained {
    Whole(Option<Training>),
    /// By Ctrl-C, with a checkpoint.
    Stopped,
}

/// Trains, or goes on where an earlier run stopped.
///
/// # Errors
/// There is no such Python, or it fails: with its own reason.
pub fn train(python: &Path, place: &JobFolder, job: &JobFile) -> Result<Trained, Failure> {
    let failed = |what: &str, error: std::io::Error| Failure::failed(format!("cannot {what}: {error}"));
    let log = OpenOptions::new().create(true).append(true).open(place.log());
    let log = log.map_err(|error| failed(&format!("write `{}`", place.log().display()), error))?;
    // The trainer stops when this end of its standard input is closed, by Ctrl-C or by the end of slm, whatever ends it.
    let mut child = Command::new(python)
        .args([place.path().join("train.py").as_path(), place.path(), Path::new("--until-eof")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| failed(&format!("run `{}`", python.display()), error))?;
    let stdin = Arc::new(Mutex::new(child.stdin.take()));
    let stop = |stdin: &Mutex<Option<ChildStdin>>| drop(stdin.lock().unwrap_or_else(PoisonError::into_inner).take());
    let held = Arc::clone(&stdin);
    let _listening = interrupt::listen(move || stop(&held));
    let heard = listen(&mut child, job)?;
    let status = child.wait().map_err(|error| failed("wait for the trainer", error))?;
    drop(stdin);
    match heard {
        Heard { error: Some(message), .. } => {
            let log = place.log();
            Err(Failure::failed(format!("the trainer failed: {message} (its log is `{}`)", log.display())))
        }
        Heard { done: Some(training), .. } => {
            place.put(JobFolder::TRAINING, &serde_json::to_string(&training).expect("plain data"))?;
            Ok(Trained::Whole(Some(training)))
        }
        _ if interrupt::happened() => Ok(Trained::Stopped),
        _ => Err(Failure::failed(format!("the trainer ended with {status}: {}", end_of(&place.log())))),
    }
}

/// What the trainer said in the end.
#[derive(Default)]
struct Heard {
    done: Option<Training>,
    error: Option<String>,
}

/// Shows what the trainer says until it closes its standard output.
fn listen(child: &mut Child, job: &JobFile) -> Result<Heard, Failure> {
    let stdout = child.stdout.take().ok_or_else(|| Failure::failed("the trainer has no standard output"))?;
    let mut heard = Heard::default();
    let (mut on, mut torch) = (String::new(), String::new());
    let mut bar: Option<Rows> = None;
    let (mut first, batch) = (0, u64::from(job.settings.batch_rows));
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(|error| Failure::failed(format!("cannot read what the trainer says: {error}")))?;
        let aside = |line: String| match &bar {
            Some(bar) => bar.aside(|| say(&line)),
            None => say(&line),
        };
        match TrainEvent::read(&line) {
            None | Some(TrainEvent::Checkpoint { .. } | TrainEvent::Stopped { .. }) => {}
            Some(TrainEvent::Begin { device, torch: version, steps, trained_parameters, .. }) => {
                say(format_args!(
                    "training {trained_parameters} parameters on {device} (torch {version}), {steps} steps"
                ));
                (on, torch) = (device, version);
                bar = Some(Rows::new(Some(steps)));
            }
            Some(TrainEvent::Resumed { step }) => {
                aside(format!("going on after step {step}"));
                first = step;
                bar.iter().for_each(|bar| bar.begin_at(step));
            }
            Some(TrainEvent::Step { step, epoch, loss, .. }) => {
                let rows = (step - first.min(step)) * batch;
                bar.iter().for_each(|bar| bar.at(step, rows, || format!("  epoch {epoch}  loss {loss:.3}")));
            }
            Some(TrainEvent::Valid { epoch, loss, accuracy, best }) => {
                let so = if best { "" } else { " (not better)" };
                aside(format!("epoch {epoch}: validation loss {loss:.3}, {accuracy:.3} of the answers right{so}"));
            }
            Some(TrainEvent::Done { epochs, seconds, best }) => {
                let (device, torch) = (on.clone(), torch.clone());
                heard.done = Some(Training { device, torch, seconds, epochs, best });
            }
            Some(TrainEvent::Error { message }) => heard.error = Some(message),
        }
    }
    Ok(heard)
}

/// What an earlier training in this folder said of itself.
#[must_use]
pub fn told_in(place: &JobFolder) -> Option<Training> {
    let text = std::fs::read_to_string(place.training()).ok()?;
    serde_json::from_str(&text).ok()
}

/// Trains with MLX-LM, where it is there.
///
/// # Errors
/// It is not there, or fails.
pub fn mlx(place: &JobFolder) -> Result<Trained, Failure> {
    let folder = place.path().join("mlx");
    let by_hand = format!("cd {} && mlx_lm.lora --config config.yaml", folder.display());
    let status = Command::new("mlx_lm.lora").args(["--config", "config.yaml"]).current_dir(&folder).status();
    match status {
        Ok(status) if status.success() => Ok(Trained::Whole(None)),
        Ok(status) => Err(Failure::failed(format!("mlx_lm.lora ended with {status}; try it by hand: `{by_hand}`"))),
        Err(error) => Err(Failure::failed(format!(
            "cannot run mlx_lm.lora: {error}; MLX-LM needs an Apple processor: there, run `{by_hand}`"
        ))),
    }
}

/// The last lines of a log.
fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines[lines.len().saturating_sub(N_LOG_LINES)..].join(" / ");
    if shown.is_empty() { format!("`{}` says nothing", log.display()) } else { shown }
}
