//! The Python that trains: the one that was named, or the one that `slm tune --setup` made.

use std::path::PathBuf;

use super::args::TuneArgs;
use crate::cli::environment::Environment;
use crate::failure::Failure;

/// The interpreter of an environment's folder.
#[must_use]
pub fn in_folder(folder: &std::path::Path) -> PathBuf {
    folder.join("bin").join("python")
}

/// The Python to train with.
///
/// # Errors
/// No Python to train with was found.
pub fn found(args: &TuneArgs, environment: &Environment) -> Result<PathBuf, Failure> {
    if let Some(named) = &args.training.python {
        // An environment's folder means its interpreter.
        let python = if named.is_dir() { in_folder(named) } else { named.clone() };
        return Ok(python);
    }
    let made = environment.tuning_python().map(in_folder).filter(|python| python.exists());
    made.ok_or_else(|| {
        Failure::failed(
            "training needs Python with torch, trl and peft: give it with --python PATH, or let `slm tune --setup` make an \
             environment",
        )
    })
}
