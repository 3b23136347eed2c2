//! All commands with their arguments; each command's own are beside its function.

use clap::{Parser, Subcommand};

use super::adapter::AdapterArgs;
use super::batch::BatchArgs;
use super::bench::BenchArgs;
use super::cp::CpArgs;
use super::create::CreateArgs;
use super::doctor::DoctorArgs;
use super::eval::EvalArgs;
use super::eval::parquet::ParquetRowsArgs;
use super::fit::FitArgs;
use super::generated::{CompletionsArgs, ManArgs};
use super::label::LabelArgs;
use super::list::ListArgs;
use super::log::LogArgs;
use super::prune::PruneArgs;
use super::ps::PsArgs;
use super::pull::PullArgs;
use super::push::PushArgs;
use super::rm::RmArgs;
use super::run::RunArgs;
use super::serve::ServeArgs;
use super::show::ShowArgs;
use super::stop::StopArgs;
use super::tune::TuneArgs;
use super::verify::VerifyArgs;
/// Small language models for classification, extraction and scoring: answers that always fit your format, with probabilities.
#[derive(Debug, Parser)]
#[command(
    name = "slm",
    disable_version_flag = true,
    arg_required_else_help = true,
    after_help = "Try it:  slm run triage \"I was charged twice for order 1182\""
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Print the version
    #[arg(short = 'V', long)]
    pub version: bool,
    /// With --version: also show what this binary was built for, and what it uses here
    #[arg(long, requires = "version")]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Run(Box<RunArgs>),
    Batch(BatchArgs),
    Serve(ServeArgs),
    Ps(PsArgs),
    Stop(StopArgs),
    Pull(PullArgs),
    Push(PushArgs),
    List(ListArgs),
    Show(ShowArgs),
    Create(CreateArgs),
    Adapter(AdapterArgs),
    Rm(RmArgs),
    Cp(CpArgs),
    Verify(VerifyArgs),
    Prune(PruneArgs),
    Eval(Box<EvalArgs>),
    Fit(Box<FitArgs>),
    Log(LogArgs),
    Tune(Box<TuneArgs>),
    Label(Box<LabelArgs>),
    Bench(Box<BenchArgs>),
    Doctor(DoctorArgs),
    Completions(CompletionsArgs),
    #[command(hide = true)]
    Man(ManArgs),
    #[command(hide = true)]
    Engine,
    #[command(hide = true)]
    ParquetRows(ParquetRowsArgs),
    #[command(hide = true)]
    Quantizer,
}
