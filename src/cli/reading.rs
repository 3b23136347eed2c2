//! `--reading` and `--exact`: how the commands that score answers compute probabilities.

use clap::{Args, ValueEnum};

use crate::engine::{Reading, Search};
use crate::infer::Scoring;

/// How closed answers are scored.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ReadingArgs {
    /// Meaning of an answer's probability: `choices` multiplies those of the tokens where allowed answers differ, `likelihood`
    /// compares whole texts
    #[arg(long, value_name = "READING", value_enum, default_value_t)]
    pub reading: ReadingName,
    /// Evaluate all allowed answers, even those that change no probability by more than 0.01
    #[arg(long)]
    pub exact: bool,
}

/// A reading's name on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ReadingName {
    #[default]
    Choices,
    Likelihood,
}

impl ReadingArgs {
    /// How answers are scored, alone and in the wording of a contract that is given here.
    #[must_use]
    pub fn scoring(self) -> Scoring {
        let reading = match self.reading {
            ReadingName::Choices => Reading::Choices,
            ReadingName::Likelihood => Reading::Likelihood,
        };
        let search = if self.exact { Search::Exact } else { Search::BestFirst };
        Scoring { reading, search, ..Scoring::default() }
    }
}
