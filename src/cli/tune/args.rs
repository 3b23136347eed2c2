//! The arguments of `slm tune`, and what they change of a job's settings.

use std::path::PathBuf;

use clap::Args;

use crate::cli::complete;
use crate::cli::compute::ComputeArgs;
use crate::cli::reading::ReadingArgs;
use crate::failure::Failure;
use crate::tune::job::Trainer;
use crate::tune::settings::{ClassWeights, Settings};

/// Train a LoRA adapter on labelled rows, and keep it if it is better
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// Name of the model
    #[arg(add = complete::models(), required_unless_present_any = ["setup", "import"])]
    pub model: Option<String>,
    /// Labelled rows: a suite (docs/eval.md), JSONL, JSON, CSV, TSV or Parquet
    #[arg(required_unless_present_any = ["setup", "import", "check"])]
    pub data: Option<PathBuf>,
    /// Name of the tuned model [default: the model's, with the tag `tuned`]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Labelled rows to evaluate on [default: a fifth of DATA is held out]
    #[arg(long, value_name = "ROWS", conflicts_with = "import")]
    pub held_out: Option<PathBuf>,
    /// The column with the text [default: guessed]
    #[arg(long, value_name = "COLUMN")]
    pub input: Option<String>,
    /// A column with labels, or FIELD=COLUMN; repeat it for several fields [default: guessed]
    #[arg(long, value_name = "COLUMN")]
    pub label: Vec<String>,
    /// Use at most N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    #[command(flatten)]
    pub training: TrainingArgs,
    #[command(flatten)]
    pub settings: SettingArgs,
    #[command(flatten)]
    pub other: OtherArgs,
    /// Keep the tuned model, also where it is not better
    #[arg(long)]
    pub keep: bool,
    /// Do not ask before replacing a model, or before installing
    #[arg(long, short)]
    pub yes: bool,
    /// Write the job and its settings, and train nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Where and with what it is trained.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Training")]
pub struct TrainingArgs {
    /// Python with torch, trl and peft [default: the one that --setup made]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Who trains [default: peft]
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<Trainer>,
    /// The weights to train on: a folder from Hugging Face, or a GGUF [default: the model's own]
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
    /// Folder of the job; a second run goes on there [default: NAME.tune]
    #[arg(long, value_name = "FOLDER")]
    pub job: Option<PathBuf>,
    /// Begin the job anew
    #[arg(long)]
    pub fresh: bool,
}

/// Settings in place of those that the number of rows suggests.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingArgs {
    /// Rank of the adapter; its alpha is twice that
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub rank: Option<u32>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Most passes over the rows; it stops earlier where validation does not get better
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub epochs: Option<u32>,
    /// Rows of a step
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub batch: Option<u32>,
    /// Rows to compute at once: fewer take less memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub micro_batch: Option<u32>,
    /// Epochs without a better validation before it stops
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub patience: Option<u32>,
    /// Leave out rows of more tokens, prompt and answer together
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Whether rows of rare labels count more
    #[arg(long, value_name = "HOW")]
    pub class_weights: Option<ClassWeights>,
    /// Seed of the parts, the order and the adapter's first numbers
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads of PyTorch on a CPU
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub train_threads: Option<u32>,
}

/// What is done instead of training here.
#[derive(Debug, Default, Args)]
pub struct OtherArgs {
    /// Make a Python environment for training, after asking
    #[arg(long, conflicts_with_all = ["model", "data", "check", "export", "import"])]
    pub setup: bool,
    /// With --setup: the PyTorch to install [default: what this machine's devices need]
    #[arg(long, value_name = "BUILD", requires = "setup")]
    pub pytorch: Option<TorchBuild>,
    /// Say what the rows are good for, and train nothing; the model may be left out
    #[arg(long, conflicts_with_all = ["export", "import"])]
    pub check: bool,
    /// Write the job to FOLDER for another machine, with its weights and how to run it
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["import", "job"])]
    pub export: Option<PathBuf>,
    /// Measure and store what was trained in FOLDER
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["model", "data"])]
    pub import: Option<PathBuf>,
}

impl SettingArgs {
    /// The settings for so many rows that teach.
    ///
    /// # Errors
    /// A learning rate cannot be used.
    pub fn settings(&self, n_train: usize) -> Result<Settings, Failure> {
        let usual = Settings::for_rows(n_train);
        let learning_rate = self.learning_rate.unwrap_or(usual.learning_rate);
        if !(learning_rate > 0.0 && learning_rate <= 1.0) {
            return Err(Failure::usage(format!(
                "--learning-rate is `{learning_rate}`; give a number above 0, at most 1, such as 0.0003"
            )));
        }
        let rank = self.rank.unwrap_or(usual.rank);
        let batch_rows = self.batch.unwrap_or(usual.batch_rows);
        Ok(Settings {
            rank,
            alpha: 2 * rank,
            learning_rate,
            epochs: self.epochs.unwrap_or(usual.epochs),
            batch_rows,
            micro_rows: self.micro_batch.unwrap_or(usual.micro_rows).min(batch_rows),
            patience: self.patience.unwrap_or(usual.patience),
            max_tokens: self.max_tokens.unwrap_or(usual.max_tokens),
            class_weights: self.class_weights.unwrap_or(usual.class_weights),
            seed: self.seed.unwrap_or(usual.seed),
            threads: self.train_threads,
            ..usual
        })
    }
}

/// Which PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TorchBuild {
    Cpu,
    Cuda,
    /// For AMD's GPUs; needs uv.
    Rocm,
    /// What PyPI has for this system: with CUDA on Linux.
    Pypi,
}
