//! `slm list`: every model, the newest first.

use clap::Args;
use std::time::SystemTime;

use serde_json::json;

use super::environment::{Environment, timestamp};
use crate::failure::{Exit, Outcome};
use crate::model_info::ModelSummary;
use crate::store::{FitListed, Listed, Origin};
use crate::ui::output::{Output, say};
use crate::ui::table::{size, span, table};

/// List your models
#[derive(Debug, Args)]
#[command(visible_alias = "ls")]
pub struct ListArgs {
    /// List only models whose names begin with this
    pub name: Option<String>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Lists the models; a name that cannot be read is reported beside them.
///
/// # Errors
/// The store cannot be read.
pub fn run(args: &ListArgs, environment: &Environment) -> Outcome {
    let mut listing = environment.store()?.list()?;
    if let Some(start) = args.name.as_deref().map(str::to_lowercase) {
        listing.models.retain(|model| model.name.to_string().to_lowercase().starts_with(&start));
    }
    for broken in &listing.broken {
        say(format_args!("`{}` is left out: {}", broken.path.display(), broken.error));
    }
    let mut output = Output::default();
    if args.json {
        let entry = |model: &Listed| ModelSummary::of(model, model.modified.map(timestamp));
        output.json(&json!({ "models": listing.models.iter().map(entry).collect::<Vec<_>>() }))?;
        return Ok(Exit::Done);
    }
    let now = SystemTime::now();
    let row = |model: &Listed| {
        vec![
            model.name.to_string(),
            model.digest.short(),
            size(model.n_bytes),
            model.config.model_type.clone(),
            model.config.file_type.clone(),
            match (model.origin, model.fit) {
                (Origin::Embedded, _) => "built in".to_owned(),
                (Origin::Stored, FitListed::No) => ago(model.modified, now),
                (Origin::Stored, FitListed::Yes) => format!("{}, fitted", ago(model.modified, now)),
            },
        ]
    };
    let rows: Vec<Vec<String>> = listing.models.iter().map(row).collect();
    output.text(&table(&["NAME", "ID", "SIZE", "PARAMETERS", "QUANTIZATION", "MODIFIED"], &rows))?;
    Ok(Exit::Done)
}

fn ago(modified: Option<SystemTime>, now: SystemTime) -> String {
    let Some(age) = modified.and_then(|modified| now.duration_since(modified).ok()) else {
        return "just now".to_owned();
    };
    match age.as_secs() {
        ..60 => "just now".to_owned(),
        _ => format!("{} ago", span(age)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ages_are_in_the_largest_whole_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let ago = |seconds| ago(Some(now - Duration::from_secs(seconds)), now);
        assert_eq!(
            [ago(3), ago(60), ago(7300), ago(86_400 * 15)],
            ["just now", "1 minute ago", "2 hours ago", "2 weeks ago"]
        );
    }
}
