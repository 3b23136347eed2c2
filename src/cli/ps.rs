//! `slm ps`: what the running server holds in memory.

use clap::Args;
use serde_json::Value;

use super::environment::Environment;
use super::served::Served;
use crate::failure::{Exit, Outcome};
use crate::ui::output::Output;
use crate::ui::table::{size, table};

/// List the models that the running server holds in memory
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Write Ollama's /api/ps
    #[arg(long)]
    pub json: bool,
}

/// Lists the loaded models.
///
/// # Errors
/// No server answers.
pub fn run(args: &PsArgs, environment: &Environment) -> Outcome {
    let answer = Served::of(environment)?.get("/api/ps")?;
    let mut output = Output::default();
    if args.json {
        output.json(&answer)?;
        return Ok(Exit::Done);
    }
    let models = answer["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = models.iter().map(row).collect();
    output.text(&table(&["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"], &rows))?;
    Ok(Exit::Done)
}

fn row(model: &Value) -> Vec<String> {
    let text = |name: &str| model[name].as_str().unwrap_or_default().to_owned();
    let bytes = |name: &str| model[name].as_u64().unwrap_or(0);
    let processor = match (bytes("size_vram"), bytes("size")) {
        (0, _) => "100% CPU".to_owned(),
        (vram, all) if vram >= all => "100% GPU".to_owned(),
        (vram, all) => {
            let share = vram as f64 / all as f64 * 100.0;
            format!("{:.0}%/{share:.0}% CPU/GPU", 100.0 - share)
        }
    };
    let id = text("digest").chars().take(12).collect();
    let until = match text("expires_at") {
        until if until.is_empty() => "in use".to_owned(),
        until if until.starts_with("0001") || until.as_str() > "2200" => "forever".to_owned(),
        until => until,
    };
    vec![text("name"), id, size(bytes("size")), processor, model["context_length"].to_string(), until]
}
