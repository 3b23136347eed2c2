//! The arguments of `slm eval`, and what they change of a suite.

use std::path::PathBuf;

use clap::Args;

use crate::cli::complete;
use crate::cli::compute::ComputeArgs;
use crate::cli::load::EnginePlace;
use crate::cli::reading::ReadingArgs;
use crate::eval::data::{Selection, Shard};
use crate::eval::suite::Suite;
use crate::failure::Failure;
use crate::quantization::Quantization;

/// Measure models on labelled data
#[derive(Debug, Clone, Default, Args)]
pub struct EvalArgs {
    /// A suite: YAML with `model` or `models`, `data`, `input`, `expect` (docs/eval.md)
    #[arg(required_unless_present = "init")]
    pub suite: Option<PathBuf>,
    /// Look at labelled data and write a suite for it to standard output
    #[arg(long, value_name = "DATA", conflicts_with = "suite")]
    pub init: Option<PathBuf>,
    /// Use this model instead of the suite's; several are compared
    #[arg(long, value_name = "MODEL", add = complete::models())]
    pub model: Vec<String>,
    #[command(flatten)]
    pub rows: RowArgs,
    #[command(flatten)]
    pub asking: AskingArgs,
    #[command(flatten)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    pub gate: GateArgs,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub quantizing: QuantizationArgs,
}

/// What quantizing costs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Quantizing")]
pub struct QuantizationArgs {
    /// Quantize the suite's model to each of these types and compare them with it: `q8_0,q4_k_m,q3_k_m,q2_k`
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    pub quantizations: Vec<Quantization>,
    /// Keep the quantized models, each as NAME:TYPE
    #[arg(long, value_name = "NAME", requires = "quantizations")]
    pub keep: Option<String>,
    /// Also quantize weights that are quantized already; that loses more than quantizing once from F16
    #[arg(long, requires = "quantizations")]
    pub requantize: bool,
    /// Quantize by importance, see `slm create --imatrix`
    #[arg(long, value_name = "FILE", requires = "quantizations")]
    pub imatrix: Option<PathBuf>,
}

/// Which rows.
#[derive(Debug, Clone, Default, Args)]
pub struct RowArgs {
    /// Stop after N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Only rows with this value in a column; several must all hold
    #[arg(long, value_name = "COLUMN=VALUE")]
    pub filter: Vec<String>,
    /// Only part I of N; a row's id decides which part it is in
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
}

/// How they are asked.
#[derive(Debug, Clone, Default, Args)]
pub struct AskingArgs {
    /// Ask every row again, also those whose answers are kept
    #[arg(long, conflicts_with = "rescore")]
    pub fresh: bool,
    /// Judge the kept answers again and ask no model
    #[arg(long)]
    pub rescore: bool,
    /// Also ask with the labels in the opposite order, and count the answers that change
    #[arg(long)]
    pub permute: bool,
    /// Leave out the fit of a model that has one: by default its fitted and its own answers are compared
    #[arg(long)]
    pub no_fit: bool,
    /// Leave out the baselines: the most frequent label, and a bag of words
    #[arg(long)]
    pub no_baselines: bool,
    /// Rows in flight at once
    #[arg(long, value_name = "N")]
    pub parallel: Option<usize>,
    /// Load the model here, also where a running `slm serve` has this store
    #[arg(long)]
    pub local: bool,
}

/// What must hold.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Gate")]
pub struct GateArgs {
    /// Compare with the answers in FILE; exit code 3 if the paired test says that they got worse
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write this run's answers to the --baseline file
    #[arg(long, requires = "baseline")]
    pub bless: bool,
    /// Say whether each model is at most this much worse than the best: `5%` or `0.05`
    #[arg(long, value_name = "SHARE")]
    pub non_inferior: Option<String>,
    /// Write the gate's results to FILE as JUnit
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write GitHub annotations to standard output; on by itself where `GITHUB_ACTIONS` is set
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub github: bool,
}

/// How it is reported.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Report")]
pub struct ReportArgs {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// With --json: every row's answer too
    #[arg(long, requires = "json")]
    pub rows: bool,
    /// Write a table of rows as CSV: each row with every model's answer
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Write Markdown, for a pull request
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub markdown: bool,
    /// Also write an HTML page to FILE, which needs no network
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl EvalArgs {
    /// Takes over what the command line says in the suite's place.
    ///
    /// # Errors
    /// A filter or a part cannot be read.
    pub fn change(&self, suite: &mut Suite) -> Result<Selection, Failure> {
        if !self.model.is_empty() {
            let mut models: Vec<String> = Vec::new();
            for model in &self.model {
                if models.contains(model) {
                    return Err(Failure::usage(format!("--model names `{model}` twice")));
                }
                models.push(model.clone());
            }
            suite.ask_instead(&models);
        }
        if self.asking.no_baselines {
            suite.baselines.clear();
        }
        let mut filter = suite.filter.clone();
        for text in &self.rows.filter {
            let Some((column, value)) = text.split_once('=') else {
                return Err(Failure::usage(format!("--filter `{text}` has no `=`; write COLUMN=VALUE")));
            };
            filter.push((column.to_owned(), value.to_owned()));
        }
        let shard = self.rows.shard.as_deref().map(str::parse::<Shard>).transpose();
        let shard = shard.map_err(|error| Failure::usage(format!("--shard: {error}")))?;
        if self.rows.limit == Some(0) {
            return Err(Failure::usage("--limit is `0`; give 1 row or more"));
        }
        Ok(Selection { filter, shard, limit: self.rows.limit.or(suite.limit) })
    }

    /// The share of `--non-inferior`.
    ///
    /// # Errors
    /// It is no share between 0 and 1.
    pub fn margin(&self) -> Result<Option<f64>, Failure> {
        let Some(text) = &self.gate.non_inferior else { return Ok(None) };
        let number = match text.trim().strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
            None => text.trim().parse::<f64>(),
        };
        match number {
            Ok(margin) if margin > 0.0 && margin < 1.0 => Ok(Some(margin)),
            _ => Err(Failure::usage(format!("--non-inferior `{text}` is no share; write `5%` or `0.05`"))),
        }
    }

    /// Where models are computed.
    #[must_use]
    pub fn place(&self) -> EnginePlace {
        if self.asking.local { EnginePlace::ThisProcess } else { EnginePlace::Server }
    }
}
