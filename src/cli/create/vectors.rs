//! The vectors of a model's examples, by the embedding model that is to find them.

use std::time::{Duration, Instant};

use crate::cli::compute::{self, ComputeArgs};
use crate::cli::environment::Environment;
use crate::cli::load;
use crate::failure::Failure;
use crate::infer::Embedder;
use crate::load_spec;
use crate::sampling::Parameters;
use crate::store::{self, NewExamples};
use crate::ui::output::say;

/// How long it is computed in silence, and between two messages.
const PATIENCE: Duration = Duration::from_secs(3);

/// Loads an embedding model that is to find examples.
///
/// # Errors
/// It cannot be loaded.
pub fn embedder(by: &store::Embedder, environment: &Environment) -> Result<Embedder, Failure> {
    let said = Parameters::default();
    let compute = compute::resolve(&ComputeArgs::default(), &said, &said, environment)?;
    load::embedder(load_spec::embedder_options(by, &compute)?)
}

/// Examples with what finds them: nothing more is needed where their words do.
///
/// # Errors
/// The embedding model cannot be loaded.
pub fn with_vectors(examples: NewExamples, environment: &Environment) -> Result<NewExamples, Failure> {
    let Some(by) = examples.by() else { return Ok(examples) };
    let embedder = embedder(by, environment)?;
    let texts: Vec<&str> = examples.rows().iter().map(|row| row.text.as_str()).collect();
    let mut told = Instant::now();
    let vectors = embedder.vectors(&texts, |n_done| {
        if told.elapsed() >= PATIENCE {
            say(format_args!("{n_done} of {} examples have their vectors", texts.len()));
            told = Instant::now();
        }
    })?;
    Ok(examples.with_vectors(&vectors))
}
