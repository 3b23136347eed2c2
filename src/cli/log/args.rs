//! The arguments of `slm log`.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};

use crate::cli::environment::{time_of, timestamp};
use crate::failure::Failure;
use crate::keep_alive::KeepAlive;
use crate::model_ref::ModelRef;

/// List the decisions that were written down, correct them, and export the corrections as labelled rows
///
/// Reads the log that `--decisions FILE` of `slm serve`, `slm run` or `slm batch` wrote last, its older files (FILE.1, FILE.2, …)
/// included (docs/log.md).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slm log --model desk --since 24h --abstained
  slm log show 5f0c9a4be1d27733
  slm log correct 5f0c9a4be1d27733 queue=legal
  slm log correct labels.jsonl
  slm log export --corrected -o rows.jsonl")]
pub struct LogArgs {
    /// The log [default: the one that was written last]
    #[arg(long, value_name = "FILE", global = true)]
    pub decisions: Option<PathBuf>,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub shape: ShapeArgs,
    #[command(subcommand)]
    pub command: Option<LogCommand>,
}

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    Show(ShowArgs),
    Correct(CorrectArgs),
    Export(ExportArgs),
}

/// Which decisions are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only decisions of this model
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Only decisions since then: `30m`, `24h`, `7d`, `2026-11-30` or `2026-11-30T16:00:00Z` (UTC)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only answers that were left to a person
    #[arg(long)]
    pub abstained: bool,
    /// Only decisions that were corrected
    #[arg(long)]
    pub corrected: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub struct ShapeArgs {
    /// Show the last N [default: 40; all with --json]
    #[arg(short = 'n', long, value_name = "N")]
    pub last: Option<usize>,
    /// Write each decision as a line of JSON, as the log has it, with `corrected`
    #[arg(long)]
    pub json: bool,
}

/// Show all that was written down of a decision
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Id of the decision: the answer's `x-request-id`
    pub id: String,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Say which label is right; the last correction of a field holds
///
/// Corrections are kept in FILE.corrections beside the log, which is only ever appended to. A FILE.jsonl has lines such as `{"id":
/// "…", "label": "legal"}`, or with a key for each field: `{"id": "…", "queue": "legal"}`. All lines are checked before the first is
/// kept.
#[derive(Debug, Args)]
pub struct CorrectArgs {
    /// Id of the decision, or a file of ids and labels (`-`: standard input)
    #[arg(value_name = "ID|FILE.jsonl")]
    pub what: String,
    /// The right label; FIELD=LABEL where the answer has fields
    #[arg(value_name = "LABEL")]
    pub labels: Vec<String>,
}

/// Write decisions as rows for `slm fit` and `slm eval`: id, text, and a column for each corrected field
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Write the rows to FILE, which must not exist [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite --output if it exists
    #[arg(long, requires = "output")]
    pub overwrite: bool,
    /// Where the log has no texts: find them in FILE by their SHA-256 (lines of text, or JSONL or CSV with the text in any column)
    #[arg(long, value_name = "FILE")]
    pub texts: Option<PathBuf>,
}

/// A filter that was read.
#[derive(Debug, Default)]
pub struct Filter {
    pub model: Option<String>,
    /// In the form of the log, whose order is that of its texts.
    pub since: Option<String>,
    pub abstained: bool,
    pub corrected: bool,
}

impl FilterArgs {
    /// The filter.
    ///
    /// # Errors
    /// A name or a time cannot be read.
    pub fn read(&self) -> Result<Filter, Failure> {
        let model = self.model.as_deref().map(str::parse::<ModelRef>).transpose()?.map(|name| name.to_string());
        let since = self.since.as_deref().map(since).transpose()?;
        Ok(Filter { model, since, abstained: self.abstained, corrected: self.corrected })
    }
}

fn since(text: &str) -> Result<String, Failure> {
    let day = format!("{text}T00:00:00Z");
    if let Some(time) = time_of(text).or_else(|| time_of(&day)) {
        return Ok(timestamp(time));
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()).map(|days| format!("{}h", days * 24));
    match days.as_deref().unwrap_or(text).parse::<KeepAlive>() {
        Ok(KeepAlive::For(ago)) => Ok(timestamp(SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH))),
        _ => {
            Err(Failure::usage(format!("--since is `{text}`; write `30m`, `24h`, `7d`, or a day such as `2026-11-30`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::since;

    #[test]
    fn times_are_days_moments_or_ages() {
        assert_eq!(since("2026-11-30").unwrap(), "2026-11-30T00:00:00Z");
        assert_eq!(since("2026-11-30T16:02:11Z").unwrap(), "2026-11-30T16:02:11Z");
        assert!(since("7d").unwrap() < since("24h").unwrap() && since("24h").unwrap() < since("30m").unwrap());
        assert!(since("yesterday").unwrap_err().message.starts_with("--since is `yesterday`; write `30m`"));
    }
}
