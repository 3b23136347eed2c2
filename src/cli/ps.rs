//! `slm ps`: the models that the running server has loaded.

use std::time::SystemTime;

use clap::Args;
use serde_json::Value;

use super::environment::{self, Environment};
use super::served::Served;
use crate::failure::{Exit, Outcome};
use crate::ui::output::Output;
use crate::ui::table::{size, span, table};

/// List the models that the running server has loaded
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Write JSON, as Ollama's /api/ps
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
    let now = SystemTime::now();
    let rows: Vec<Vec<String>> = models.iter().map(|model| row(model, now)).collect();
    output.text(&table(&["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"], &rows))?;
    Ok(Exit::Done)
}

fn row(model: &Value, now: SystemTime) -> Vec<String> {
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
    let is_busy = model["answering"].as_u64().is_some_and(|n| n > 0);
    let until = match text("expires_at") {
        _ if is_busy => "in use".to_owned(),
        until if until.is_empty() => "in use".to_owned(),
        until if until.starts_with("0001") || until.as_str() > "2200" => "forever".to_owned(),
        until => environment::time_of(&until).map_or(until, |time| from_now(time, now)),
    };
    vec![text("name"), id, size(bytes("size")), processor, model["context_length"].to_string(), until]
}

/// When a model is unloaded, in words; one whose time is over is unloaded at any moment.
fn from_now(time: SystemTime, now: SystemTime) -> String {
    match time.duration_since(now) {
        Ok(left) if left.as_secs() > 0 => format!("{} from now", span(left)),
        _ => "now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_model_goes_in_the_largest_whole_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let said = |seconds| from_now(now + Duration::from_secs(seconds), now);
        assert_eq!(
            [said(299), said(3600), said(12), said(0)],
            ["4 minutes from now", "1 hour from now", "12 seconds from now", "now"]
        );
        assert_eq!(from_now(now - Duration::from_secs(1), now), "now");
    }
}
