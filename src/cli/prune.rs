//! `slm prune`: removes what no model needs.

use clap::Args;
use std::time::SystemTime;

use serde_json::json;

use super::environment::Environment;
use crate::failure::{Exit, Failure, Outcome};
use crate::store::{KeepReason, PruneAction, Pruned, PrunedFile, PrunedKind, Pruning, Young};
use crate::ui::output::{Output, say};
use crate::ui::table::{size, table};

/// Remove blobs without a model, old unfinished downloads, and leftovers of crashed processes
///
/// Nothing in use is removed, nor blobs younger than an hour (another program may be about to use them), nor downloads that
/// were active within a day.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Also remove blobs younger than an hour, and weights that a damaged manifest may still need
    #[arg(long)]
    pub all: bool,
    /// Also remove every unfinished download that no process is using (Ollama's after a day)
    #[arg(long)]
    pub partial: bool,
    /// Show what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Removes what no model needs, or lists it.
///
/// # Errors
/// The store cannot be locked, or something could not be removed.
pub fn run(args: &PruneArgs, environment: &Environment) -> Outcome {
    let young = |removed| if removed { Young::Removed } else { Young::Kept };
    let pruning = Pruning {
        now: SystemTime::now(),
        young_blobs: young(args.all),
        young_downloads: young(args.partial),
        action: if args.dry_run { PruneAction::Tell } else { PruneAction::Remove },
    };
    let pruned = environment.store()?.prune(&pruning)?;
    let mut output = Output::default();
    if args.json {
        output.json(&as_json(&pruned, pruning.action))?;
    } else {
        let name =
            |item: &PrunedFile| item.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
        let row = |item: &PrunedFile| vec![word(item.kind).to_owned(), size(item.n_bytes), name(item)];
        let rows: Vec<Vec<String>> = pruned.removed.iter().map(row).collect();
        if !rows.is_empty() {
            output.text(&table(&["KIND", "SIZE", "FILE"], &rows))?;
        }
        let freed = size(pruned.freed_bytes());
        output.line(&match (rows.is_empty(), pruning.action) {
            (true, _) => "nothing to prune".to_owned(),
            (false, PruneAction::Remove) => format!("{freed} freed"),
            (false, PruneAction::Tell) => format!("{freed} would be freed"),
        })?;
    }
    report(&pruned)
}

/// Reports what was kept and why, and what failed.
fn report(pruned: &Pruned) -> Outcome {
    for broken in &pruned.broken {
        say(&broken.error);
    }
    let kept = |kinds: &[PrunedKind], why: KeepReason| -> Vec<&PrunedFile> {
        let fits = |(item, reason): &&(PrunedFile, KeepReason)| kinds.contains(&item.kind) && *reason == why;
        pruned.kept.iter().filter(fits).map(|(item, _)| item).collect()
    };
    let told = |items: &[&PrunedFile], what: &str, more: &str| {
        if let n @ 1.. = items.len() {
            let n_bytes = items.iter().map(|item| item.n_bytes).sum();
            let [s, are] = if n == 1 { ["", "stays"] } else { ["s", "stay"] };
            say(format_args!("{n} {what}{s} ({}) {are}: {more}", size(n_bytes)));
        }
    };
    told(
        &kept(&[PrunedKind::Blob], KeepReason::Young),
        "blob",
        "another program may be about to use it; --all removes it",
    );
    told(
        &kept(&[PrunedKind::Download, PrunedKind::OllamaDownload], KeepReason::Young),
        "download",
        "it may still be resumed; --partial removes downloads that no process is using, Ollama's after a day",
    );
    told(&kept(&[PrunedKind::Blob, PrunedKind::Download], KeepReason::InUse), "file", "a pull needs it");
    for broken in &pruned.broken {
        let path = broken.path.display();
        told(
            &kept(&[PrunedKind::Blob], KeepReason::Broken(broken.path.clone())),
            "blob",
            &format!(
                "the damaged manifest `{path}` may need it; remove that model, or use --all if the file can be read"
            ),
        );
    }
    for error in &pruned.failed {
        say(error);
    }
    match pruned.failed.len() {
        0 => Ok(Exit::Done),
        1 => Err(Failure::failed("1 file could not be removed")),
        n => Err(Failure::failed(format!("{n} files could not be removed"))),
    }
}

fn as_json(pruned: &Pruned, action: PruneAction) -> serde_json::Value {
    let item = |item: &PrunedFile| json!({ "path": item.path.display().to_string(), "kind": word(item.kind), "size": item.n_bytes });
    let kept = |(kept, why): &(PrunedFile, KeepReason)| {
        let mut kept = item(kept);
        kept["why"] = match why {
            KeepReason::Young => "young".into(),
            KeepReason::InUse => "in use".into(),
            KeepReason::Broken(_) => "broken manifest".into(),
        };
        kept
    };
    let broken = pruned
        .broken
        .iter()
        .map(|broken| json!({ "path": broken.path.display().to_string(), "error": broken.error.to_string() }));
    json!({
        "dry_run": action == PruneAction::Tell,
        "freed": pruned.freed_bytes(),
        "removed": pruned.removed.iter().map(item).collect::<Vec<_>>(),
        "kept": pruned.kept.iter().map(kept).collect::<Vec<_>>(),
        "broken": broken.collect::<Vec<_>>(),
        "failed": pruned.failed.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn word(kind: PrunedKind) -> &'static str {
    match kind {
        PrunedKind::Blob => "blob",
        PrunedKind::Download => "download",
        PrunedKind::OllamaDownload => "ollama download",
        PrunedKind::Leftover => "leftover",
    }
}
