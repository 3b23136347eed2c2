//! The arguments of `slm batch`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::decisions::DecisionArgs;
use crate::eval::data::Shard;
use crate::failure::Failure;

/// Answer a file of requests: OpenAI's batch lines in, their results out
///
/// Each line of REQUESTS is an object `{"custom_id", "method": "POST", "url", "body"}`, as OpenAI's batches and `vllm run-batch` have
/// them. All lines are checked before the first is asked; each is then answered as `slm serve` answers the same request
/// (docs/batch.md).
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  slm batch requests.jsonl --dry-run
  slm batch requests.jsonl -o results.jsonl --resume
  slm batch requests.jsonl -o results.jsonl --errors errors.jsonl --retry-errors
  slm batch requests.jsonl -o part2.jsonl --shard 2/4
  slm batch requests.jsonl -o results.jsonl --hosted-batch hosted.jsonl
  slm batch requests.jsonl -o results.jsonl --hosted-results output.jsonl --resume
  slm batch - < requests.jsonl > results.jsonl")]
pub struct BatchArgs {
    /// File with one request per line (`-`: standard input)
    pub requests: PathBuf,
    /// Write the results to FILE, which must not exist or be empty (`-`: standard output) [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write the results of requests that failed to FILE, instead of --output
    #[arg(long, value_name = "FILE", requires = "output")]
    pub errors: Option<PathBuf>,
    /// Continue where --output ends, for example after a crash; needs FILE.slm and the same requests
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// As --resume, and ask the requests that failed again
    #[arg(long, requires = "output", conflicts_with_all = ["overwrite", "ordered"])]
    pub retry_errors: bool,
    /// Overwrite --output and --errors if they exist
    #[arg(long, requires = "output", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Ask and write in the order of REQUESTS. Without it, requests of one model and one task are asked one after the other, which
    /// is faster
    #[arg(long)]
    pub ordered: bool,
    /// Only part I of N; a request's `custom_id` decides which part it is in
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// Requests in flight at once [default: 32]
    #[arg(long, value_name = "N")]
    pub parallel: Option<String>,
    /// Score several closed answers in one batch: faster, but the last digits of a probability then depend on the others
    #[arg(long)]
    pub throughput: bool,
    /// Load the models here, even if `slm serve` is running
    #[arg(long)]
    pub local: bool,
    /// Write what the remotes of a cascade would be asked to FILE, as a batch for their server, and answer the rest here
    #[arg(long, value_name = "FILE", requires = "output")]
    pub hosted_batch: Option<PathBuf>,
    /// Answer with the results of such a batch; repeat it for its file of errors
    #[arg(long, value_name = "FILE", requires = "output")]
    pub hosted_results: Vec<PathBuf>,
    /// Check every line, and show what would be asked of which model
    #[arg(long)]
    pub dry_run: bool,
    /// Report on standard error where requests are answered, and how many per second
    #[arg(long, short)]
    pub verbose: bool,
    #[command(flatten)]
    pub decisions: DecisionArgs,
}

impl BatchArgs {
    /// The file of results; `None` is standard output.
    ///
    /// # Errors
    /// There are flags that only a file can have.
    pub fn output(&self) -> Result<Option<&Path>, Failure> {
        let Some(path) = self.output.as_deref().filter(|path| *path != Path::new("-")) else {
            let only_with_file = [
                ("--errors", self.errors.is_some()),
                ("--resume", self.resume),
                ("--retry-errors", self.retry_errors),
                ("--overwrite", self.overwrite),
                ("--hosted-batch", self.hosted_batch.is_some()),
                ("--hosted-results", !self.hosted_results.is_empty()),
            ];
            return match only_with_file.into_iter().find(|(_, is_given)| *is_given) {
                Some((flag, _)) => Err(Failure::usage(format!("{flag} needs a file of results; give one to --output"))),
                None => Ok(None),
            };
        };
        Ok(Some(path))
    }

    /// Whether remotes are asked through a hosted batch.
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        self.hosted_batch.is_some() || !self.hosted_results.is_empty()
    }

    /// Which part of the requests is asked.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn shard(&self) -> Result<Option<Shard>, Failure> {
        let shard = self.shard.as_deref().map(str::parse::<Shard>).transpose();
        shard.map_err(|error| Failure::usage(format!("--shard: {error}")))
    }
}
