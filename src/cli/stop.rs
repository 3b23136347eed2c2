//! `slm stop`: unloads a model from the running server.

use clap::Args;
use serde_json::json;

use super::complete;
use super::environment::Environment;
use super::served::Served;
use crate::failure::{Exit, Outcome};
use crate::model_ref::ModelRef;

/// Unload a model from the running server
///
/// Requests in progress are finished first.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Names of the models
    #[arg(required = true, value_name = "NAME", add = complete::models())]
    pub names: Vec<String>,
}

/// Unloads models; answers on their way are finished first.
///
/// # Errors
/// No server answers, or a name is invalid.
pub fn run(args: &StopArgs, environment: &Environment) -> Outcome {
    let names = args.names.iter().map(|name| name.parse()).collect::<Result<Vec<ModelRef>, _>>()?;
    let served = Served::of(environment)?;
    for name in names {
        served.post("/api/generate", &json!({ "model": name.to_string(), "keep_alive": 0, "stream": false }))?;
    }
    Ok(Exit::Done)
}
