//! `slm log`: decisions that were written down, listed, shown, corrected by people, and handed on as rows to learn from.

mod args;
mod correct;
mod corrections;
mod entry;
mod export;
mod files;
mod listing;
mod show;
mod texts;

use std::path::PathBuf;

pub use args::LogArgs;
use args::LogCommand;
pub use corrections::Corrections;

use super::decisions;
use super::environment::Environment;
use crate::failure::{Failure, Outcome};

/// Runs the command.
///
/// # Errors
/// There is no log, or it cannot be read.
pub fn run(args: &LogArgs, environment: &Environment) -> Outcome {
    let log = place(args, environment)?;
    match &args.command {
        None => listing::run(&log, &args.filter, &args.shape),
        Some(LogCommand::Show(show)) => show::run(&log, show),
        Some(LogCommand::Correct(correct)) => correct::run(&log, correct),
        Some(LogCommand::Export(export)) => export::run(&log, export),
    }
}

/// The log that is meant.
fn place(args: &LogArgs, environment: &Environment) -> Result<PathBuf, Failure> {
    args.decisions.clone().map_or_else(|| decisions::noted(environment), Ok)
}
