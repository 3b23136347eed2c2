//! `slm stop`: the running server lets a model go.

use serde_json::json;

use super::args::StopArgs;
use super::environment::Environment;
use super::served::Served;
use crate::failure::{Exit, Outcome};
use crate::model_ref::ModelRef;

/// Unloads models; answers on their way are finished first.
///
/// # Errors
/// No server answers, or a name is none.
pub fn run(args: &StopArgs, environment: &Environment) -> Outcome {
    let names = args.names.iter().map(|name| name.parse()).collect::<Result<Vec<ModelRef>, _>>()?;
    let served = Served::of(environment)?;
    for name in names {
        served.post("/api/generate", &json!({ "model": name.to_string(), "keep_alive": 0, "stream": false }))?;
    }
    Ok(Exit::Done)
}
