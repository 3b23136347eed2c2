//! The arguments of `slm fit`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use slm_fit::promise::Demand;
use slm_stats::Confidence;
use slm_stats::guarantee::Promise;

use super::parts::DepthArg;
use crate::cli::complete;
use crate::cli::compute::ComputeArgs;
use crate::cli::reading::ReadingArgs;
use crate::failure::Failure;
use crate::modelfile::MAX_EXAMPLES;

/// The most labels that a message lists.
const LISTED: usize = 10;

/// How sure a promise is to hold where nobody says.
const CONFIDENCE: &str = "0.95";

const ROWS: &str = "Rows";
const CHECK: &str = "Check and remove";

/// Learn from labelled rows what makes a model's answers right, and from which probability on they can be trusted
#[derive(Debug, Args)]
pub struct FitArgs {
    /// Name of the model
    #[arg(add = complete::models())]
    pub model: String,
    /// Labelled rows: JSONL, JSON, CSV, TSV, Parquet, or a suite in YAML (docs/eval.md); with --check also texts, one a line in a
    /// .txt file, or a log that `slm serve --decisions` wrote
    #[arg(required_unless_present_any = ["unlabelled", "remove"])]
    pub data: Option<PathBuf>,
    /// Store the fitted model under this name [default: in place]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// The column with the text [default: guessed]
    #[arg(long, value_name = "COLUMN", help_heading = ROWS)]
    pub input: Option<String>,
    /// A column with labels, or FIELD=COLUMN; repeat it for several fields [default: guessed]
    #[arg(long, value_name = "COLUMN", help_heading = ROWS)]
    pub label: Vec<String>,
    /// Use at most N rows
    #[arg(long, value_name = "N", help_heading = ROWS, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub limit: Option<usize>,
    /// Answer from a part of the layers: 1/3, a number of layers, or `auto` for the smallest part that is as good as all of them; with
    /// thresholds the rows that it is not sure of are answered by all layers
    #[arg(long, value_name = "PART", conflicts_with_all = ["unlabelled", "check", "remove", "no_state"])]
    pub depth: Option<DepthArg>,
    #[command(flatten)]
    pub promise: PromiseArgs,
    #[command(flatten)]
    pub examples: ExamplesArgs,
    #[command(flatten)]
    pub other: OtherArgs,
    #[command(flatten)]
    pub asking: AskArgs,
    #[command(flatten)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// What accepted answers are to keep.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Thresholds")]
pub struct PromiseArgs {
    /// Accept answers of which at most this part is wrong, with --confidence: 0.02 or 2%
    #[arg(long, value_name = "SHARE", group = "demand")]
    pub risk: Option<String>,
    /// How sure the promised risk is to hold [default: 0.95]
    #[arg(long, value_name = "SHARE")]
    pub confidence: Option<String>,
    /// Accept this part of the answers, the most reliable ones
    #[arg(long, value_name = "SHARE", group = "demand")]
    pub coverage: Option<String>,
    /// Cost of a wrong answer, for all labels or as LABEL=COST; with --hand-over
    #[arg(long, value_name = "COST", group = "demand", requires = "hand_over")]
    pub cost: Vec<String>,
    /// Cost of handing a row over to a person
    #[arg(long, value_name = "COST", requires = "cost")]
    pub hand_over: Option<f64>,
    /// Answers with this label always go to a person
    #[arg(long, value_name = "LABEL")]
    pub person: Vec<String>,
}

/// Examples in the prompt, in the place of numbers beside it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Examples")]
pub struct ExamplesArgs {
    /// Put the K rows that are nearest to a text before it (EXAMPLES in docs/modelfile.md), if that beats none on these rows; also for
    /// extraction, with whole answers as labels in a .jsonl file [default: 4]
    #[arg(
        long,
        value_name = "K",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "4",
        value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_EXAMPLES)),
        conflicts_with_all = ["demand", "unlabelled", "check", "remove", "person"]
    )]
    pub examples: Option<u8>,
    /// With --examples: find the nearest rows by the vectors of this embedding model, not by their words
    #[arg(long, value_name = "MODEL", requires = "examples", add = complete::models())]
    pub by: Option<String>,
}

/// What is done instead of learning from labels.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Without labels")]
pub struct OtherArgs {
    /// Subtract each label's mean log-probability over these texts (a data file, or a text a line)
    #[arg(long, value_name = "TEXTS", conflicts_with_all = ["data", "demand", "check"])]
    pub unlabelled: Option<PathBuf>,
    /// With --unlabelled: how frequent a label is, as LABEL=SHARE; all of them or none
    #[arg(long, value_name = "LABEL=SHARE", requires = "unlabelled")]
    pub share: Vec<String>,
    /// Say whether the model's fit still holds on these rows, labelled or not; exit code 3 if not
    #[arg(long, conflicts_with_all = ["demand", "name"], help_heading = CHECK)]
    pub check: bool,
    /// Learn to answer from the words of a text alone: no model is asked, and the fit is a tier `words: NAME` of a cascade
    #[arg(long, conflicts_with_all = ["unlabelled", "check", "remove"])]
    pub words_only: bool,
    /// Remove the model's fit
    #[arg(long, conflicts_with_all = ["data", "unlabelled", "check", "demand"], help_heading = CHECK)]
    pub remove: bool,
}

/// How rows are asked and results shown.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Asking")]
pub struct AskArgs {
    /// Ask every row again, also those whose answers are kept
    #[arg(long)]
    pub fresh: bool,
    /// Do not use the model's hidden states
    #[arg(long)]
    pub no_state: bool,
    /// Rows in flight at once
    #[arg(long, value_name = "N")]
    pub parallel: Option<usize>,
    /// Load the model here, also where a running `slm serve` has this store
    #[arg(long)]
    pub local: bool,
    /// Say what would be stored, and store nothing
    #[arg(long, help_heading = None::<&str>)]
    pub dry_run: bool,
    /// Write JSON
    #[arg(long, help_heading = None::<&str>)]
    pub json: bool,
}

impl PromiseArgs {
    /// Whether some answers are not to be accepted.
    #[must_use]
    pub fn has_demand(&self) -> bool {
        self.risk.is_some() || self.coverage.is_some() || self.hand_over.is_some() || !self.person.is_empty()
    }

    /// How sure promises are to hold.
    ///
    /// # Errors
    /// It is not a share.
    pub fn confidence(&self) -> Result<Confidence, Failure> {
        let share = share("--confidence", self.confidence.as_deref().unwrap_or(CONFIDENCE))?;
        Confidence::new(share).map_err(|error| Failure::usage(format!("--confidence: {error}")))
    }

    /// The promised risk.
    ///
    /// # Errors
    /// It is not one.
    pub fn promised(&self) -> Result<Option<Promise>, Failure> {
        let Some(risk) = &self.risk else { return Ok(None) };
        let promise = Promise::new(share("--risk", risk)?, self.confidence()?);
        promise.map(Some).map_err(|error| Failure::usage(format!("--risk: {error}")))
    }

    /// Holds that every label that is named here is one of these, which are those of all fields.
    ///
    /// # Errors
    /// A named label is not among them.
    pub fn names_labels_of(&self, labels: &[String]) -> Result<(), Failure> {
        let of_costs = self.cost.iter().filter_map(|cost| Some(("--cost", cost.rsplit_once('=')?.0)));
        let named = self.person.iter().map(|label| ("--person", label.as_str())).chain(of_costs);
        for (flag, named) in named {
            if !labels.iter().any(|label| label == named) {
                let some: Vec<String> = labels.iter().take(LISTED).map(|label| format!("`{label}`")).collect();
                let more = labels.len().saturating_sub(LISTED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let known = some.join(", ");
                return Err(Failure::usage(format!(
                    "{flag} names `{named}`, which is no label; they are {known}{more}"
                )));
            }
        }
        Ok(())
    }

    /// What is asked of accepted answers of a field with these labels.
    ///
    /// # Errors
    /// A share or a cost is not one, or names no label.
    pub fn demand(&self, labels: &[String]) -> Result<Option<Demand>, Failure> {
        let confidence = self.confidence()?;
        if let Some(promise) = self.promised()? {
            return Ok(Some(Demand::Risk(promise)));
        }
        if let Some(coverage) = &self.coverage {
            return Ok(Some(Demand::Coverage { share: share("--coverage", coverage)?, confidence }));
        }
        let Some(of_handing_over) = self.hand_over else { return Ok(None) };
        let of_errors = costs(&self.cost, labels)?;
        Ok(Some(Demand::Costs { of_errors, of_handing_over, confidence }))
    }
}

fn costs(said: &[String], labels: &[String]) -> Result<Vec<f64>, Failure> {
    let wrong = |text: &str| Failure::usage(format!("--cost `{text}` is not a cost; write 5, or LABEL=5"));
    let mut costs = vec![None; labels.len()];
    let mut usual = None;
    for text in said {
        match text.rsplit_once('=') {
            None => usual = Some(text.parse::<f64>().map_err(|_| wrong(text))?),
            Some((label, cost)) => {
                let cost = cost.parse::<f64>().map_err(|_| wrong(text))?;
                if let Some(at) = labels.iter().position(|known| known == label) {
                    costs[at] = Some(cost);
                }
            }
        }
    }
    let cost = |(cost, label): (Option<f64>, &String)| {
        let cost = cost.or(usual).ok_or_else(|| {
            Failure::usage(format!(
                "--cost says nothing of the label `{label}`; add --cost {label}=COST, or one for all"
            ))
        })?;
        if cost >= 0.0 && cost.is_finite() { Ok(cost) } else { Err(wrong(&cost.to_string())) }
    };
    costs.into_iter().zip(labels).map(cost).collect()
}

/// A share as `0.02` or `2%`.
///
/// # Errors
/// It is not between 0 and 1.
pub fn share(flag: &str, text: &str) -> Result<f64, Failure> {
    let number = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse::<f64>(),
    };
    match number {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(Failure::usage(format!("{flag} `{text}` is not a share; write `2%` or `0.02`"))),
    }
}
