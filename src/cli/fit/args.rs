//! The arguments of `slm fit`.

use std::path::PathBuf;

use clap::Args;
use slm_fit::promise::Demand;
use slm_stats::Confidence;
use slm_stats::guarantee::Promise;

use crate::cli::complete;
use crate::cli::compute::ComputeArgs;
use crate::cli::reading::ReadingArgs;
use crate::failure::Failure;

/// Learn from labelled rows what makes a model's answers right, and from which probability on they can be trusted
#[derive(Debug, Args)]
pub struct FitArgs {
    /// Name of the model
    #[arg(add = complete::models())]
    pub model: String,
    /// Labelled rows: a suite (docs/eval.md), JSONL, JSON, CSV or TSV
    #[arg(required_unless_present_any = ["unlabelled", "remove"])]
    pub data: Option<PathBuf>,
    /// Store the fitted model under this name [default: in place]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
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
    pub promise: PromiseArgs,
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
    /// How sure the promised risk is to hold
    #[arg(long, value_name = "SHARE", default_value = "0.95")]
    pub confidence: String,
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

/// What is done instead of learning from labels.
#[derive(Debug, Default, Args)]
pub struct OtherArgs {
    /// Without labels: subtract each label's mean log-probability over these texts (a data file, or a text a line)
    #[arg(long, value_name = "TEXTS", conflicts_with_all = ["data", "demand", "check"])]
    pub unlabelled: Option<PathBuf>,
    /// With --unlabelled: the share of a label, as LABEL=SHARE; all of them or none
    #[arg(long, value_name = "LABEL=SHARE", requires = "unlabelled")]
    pub share: Vec<String>,
    /// Say whether the model's fit still holds on these rows, labelled or not; exit code 3 if not
    #[arg(long, conflicts_with_all = ["demand", "name"])]
    pub check: bool,
    /// Learn to answer from the words of a text alone: no model is asked, and the fit is a tier `words: NAME` of a cascade
    #[arg(long, conflicts_with_all = ["unlabelled", "check", "remove"])]
    pub words_only: bool,
    /// Remove the model's fit
    #[arg(long, conflicts_with_all = ["data", "unlabelled", "check", "demand"])]
    pub remove: bool,
}

/// How rows are asked and results shown.
#[derive(Debug, Default, Args)]
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
    #[arg(long)]
    pub dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

impl PromiseArgs {
    /// How sure promises are to hold.
    ///
    /// # Errors
    /// It is not a share.
    pub fn confidence(&self) -> Result<Confidence, Failure> {
        let share = share("--confidence", &self.confidence)?;
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
