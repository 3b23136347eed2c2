//! How many rows or requests are in flight at once: `--parallel`, or `SLM_NUM_PARALLEL`.

use super::environment::Environment;
use crate::failure::Failure;

/// More in flight only wait in the engine's queue.
const MAX_PARALLEL: usize = 1024;

/// How many are to be in flight, where somebody said so.
///
/// # Errors
/// It is no number of rows, or one that no engine has a use for.
pub fn asked(said: Option<&str>, environment: &Environment) -> Result<Option<usize>, Failure> {
    let (name, value) = match (said, environment.num_parallel()) {
        (Some(value), _) => ("--parallel", value),
        // Ollama's 0 leaves the number to the program.
        (None, Some("0") | None) => return Ok(None),
        (None, Some(value)) => ("SLM_NUM_PARALLEL", value),
    };
    let number = value.trim().parse().ok().filter(|number| (1..=MAX_PARALLEL).contains(number));
    number.map(Some).ok_or_else(|| {
        Failure::usage(format!(
            "{name}: `{value}` is not a number of rows in flight; give one from 1 to {MAX_PARALLEL}"
        ))
    })
}
