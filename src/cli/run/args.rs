//! The arguments of `slm run`.

use crate::cli::complete;
use crate::cli::compute::ComputeArgs;
use crate::cli::decisions::DecisionArgs;
use crate::cli::load::EnginePlace;
use crate::cli::reading::ReadingArgs;
use crate::failure::Failure;
use crate::infer::FitUse;
use crate::keep_alive::KeepAlive;
use clap::{ArgAction, Args, ValueEnum};
use std::path::PathBuf;

/// Ask a model: classify, score, or generate text
///
/// The text comes from the arguments, from standard input, or both (standard input first); without a text, a session starts on
/// a terminal. With choices or a closed format, given here or in the Modelfile, every allowed answer is scored and has a
/// probability.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  slm run triage \"I was charged twice for order 1182\"
  slm run llama3.2:3b --choices positive,negative,mixed \"Lovely hotel, awful breakfast\"
  slm run triage --lines < tickets.txt | sort | uniq -c
  slm run triage --jsonl body < tickets.jsonl > answered.jsonl
  slm run triage --csv body < tickets.csv > answered.csv
  slm run triage --jsonl body --output answered.jsonl --resume < tickets.jsonl")]
pub struct RunArgs {
    /// Name of a model; `slm list` shows those you have
    #[arg(add = complete::models())]
    pub model: String,
    /// Text to answer
    #[arg(trailing_var_arg = false)]
    pub prompt: Vec<String>,
    /// Read the text from FILE (`-`: standard input)
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["lines", "jsonl", "csv", "tsv"])]
    pub file: Option<PathBuf>,
    /// Answer with one of these labels; in `@FILE` one label per line, each with an optional description after a tab
    #[arg(long, value_name = "A,B,C|@FILE", conflicts_with = "format", allow_hyphen_values = true)]
    pub choices: Option<String>,
    /// Answer in this JSON Schema; `json`: any object; `none`: free text from a model that has a format
    #[arg(long, value_name = "SCHEMA|@FILE", allow_hyphen_values = true)]
    pub format: Option<String>,
    /// Answer in this grammar (Lark, as llguidance reads it)
    #[arg(long, value_name = "LARK|@FILE", allow_hyphen_values = true, conflicts_with_all = ["format", "choices", "regex"])]
    pub grammar: Option<String>,
    /// Answer with a text that matches this regular expression
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true, conflicts_with_all = ["format", "choices"])]
    pub regex: Option<String>,
    /// Load the model in this process, even if `slm serve` is running
    #[arg(long)]
    pub local: bool,
    /// How long a running `slm serve` keeps the model loaded afterwards: seconds, `10m`, `0` (not at all) or `-1` (forever)
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, conflicts_with = "local")]
    pub keepalive: Option<KeepAlive>,
    /// System message, instead of the Modelfile's
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// LoRA adapter, instead of the model's own: a GGUF file, a model with adapters on the same base, or `none` (may be given
    /// several times)
    #[arg(long, value_name = "FILE|NAME[=SCALE]")]
    pub adapter: Vec<String>,
    /// Treat each line of standard input as a separate text
    #[arg(long, conflicts_with_all = ["jsonl", "csv", "tsv", "prompt"])]
    pub lines: bool,
    /// Treat standard input as JSON objects, one per line or in one array: read the text from FIELD (a name, or a pointer such as
    /// /ticket/body), write each object on a line with `answer` added, or with flat keys (--json)
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["csv", "tsv", "prompt"])]
    pub jsonl: Option<String>,
    /// Treat standard input as a CSV table with a header: read the text from COLUMN, write the table with columns added for the
    /// answer
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["tsv", "json", "prompt"])]
    pub csv: Option<String>,
    /// The same for a table with tabs between the cells
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["json", "prompt"])]
    pub tsv: Option<String>,
    /// Delimiter of --csv [default: `,`]
    #[arg(long, value_name = "CHARACTER", requires = "csv")]
    pub delimiter: Option<String>,
    /// Continue after a row that fails; `--keep-going=false` stops at the first
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = ArgAction::Set, value_name = "true|false")]
    pub keep_going: bool,
    /// Write the rows to FILE, which must not exist or be empty
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Continue after the last complete line of --output, for example after a crash; needs FILE.slm and the same input
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Overwrite --output if it exists
    #[arg(long, requires = "output", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Rows in flight at once [default: 32 for generated answers, 4 for scored ones]
    #[arg(long, value_name = "N")]
    pub parallel: Option<String>,
    /// Write JSON. Rows get flat keys, those of --csv; one text gets the full record: probabilities of all answers, token
    /// counts, timings and the evaluation id. `=full` and `=flat` choose for either (docs/json.md)
    #[arg(long, value_name = "SHAPE", value_enum, num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    pub json: Option<Option<JsonShape>>,
    /// Score several rows in one batch: faster, but the last digits of a probability then depend on the other rows
    #[arg(long)]
    pub throughput: bool,
    #[command(flatten)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    pub fit: FitArgs,
    /// Cut the text to its first N tokens, and report how many were cut
    #[arg(long, value_name = "N")]
    pub truncate: Option<usize>,
    /// Show the prompt and its tokens instead of an answer; loads only the vocabulary
    #[arg(long)]
    pub dry_run: bool,
    /// Report on standard error what was loaded, token counts and timings
    #[arg(long, short)]
    pub verbose: bool,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub decisions: DecisionArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// How closed answers are fitted, and what is written where one is withheld.
#[derive(Debug, Clone, Default, Args)]
pub struct FitArgs {
    /// Use the model's own probabilities, without the fit that `slm fit` made
    #[arg(long)]
    pub no_fit: bool,
    /// Write LABEL where the fit leaves an answer to a person, instead of an empty line or cell (in JSON it is always null)
    #[arg(long, value_name = "LABEL", allow_hyphen_values = true, conflicts_with = "no_fit")]
    pub abstain: Option<String>,
}

impl FitArgs {
    #[must_use]
    pub fn used(&self) -> FitUse {
        if self.no_fit { FitUse::None } else { FitUse::Own }
    }

    /// What is written in the place of a label that is withheld.
    #[must_use]
    pub fn abstained(&self) -> &str {
        self.abstain.as_deref().unwrap_or_default()
    }
}

/// How an answer is written as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JsonShape {
    /// A key for each part of the answer, as a table has columns.
    Flat,
    /// Everything that is known.
    Full,
}

impl RunArgs {
    /// How answers are written as JSON; `None` where they are not. Who asks for one answer looks at it, who asks for many puts them
    /// into a table.
    pub fn json(&self) -> Option<JsonShape> {
        let usual = if self.is_rows() { JsonShape::Flat } else { JsonShape::Full };
        self.json.map(|given| given.unwrap_or(usual))
    }

    /// Whether standard input is rows.
    pub fn is_rows(&self) -> bool {
        self.lines || self.jsonl.is_some() || self.csv.is_some() || self.tsv.is_some()
    }

    /// Where the model is loaded.
    pub fn place(&self) -> EnginePlace {
        if self.local { EnginePlace::ThisProcess } else { EnginePlace::Server }
    }

    /// The column with the text and the delimiter, where standard input is a table.
    ///
    /// # Errors
    /// The delimiter is not one ASCII character, or one that cells are quoted or rows ended with.
    pub fn table(&self) -> Result<Option<(&str, u8)>, Failure> {
        if let Some(column) = &self.tsv {
            return Ok(Some((column, b'\t')));
        }
        let Some(column) = &self.csv else { return Ok(None) };
        let delimiter = match self.delimiter.as_deref() {
            None => b',',
            Some("\\t") => b'\t',
            Some(given) => match given.as_bytes() {
                &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => byte,
                _ => {
                    let hint = "give one character, for example `;`";
                    return Err(Failure::usage(format!("--delimiter: `{given}` cannot separate cells; {hint}")));
                }
            },
        };
        Ok(Some((column, delimiter)))
    }
}

/// Limits of generated text; an answer that breaks one is withheld, and the exit code is 3.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits of generated text")]
pub struct LimitArgs {
    /// Maximum number of words (Unicode word boundaries)
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub max_words: Option<usize>,
    /// Maximum number of sentences (Unicode sentence boundaries and line breaks; abbreviations such as `Dr.` end none)
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub max_sentences: Option<usize>,
    /// Regular expression (Rust's syntax) that the whole trimmed answer must match
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    pub matches: Option<String>,
    /// If a limit is broken, ask once more, with the limits after the text
    #[arg(long)]
    pub retry: bool,
}

/// Ollama's option names.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Generation")]
pub struct SamplingArgs {
    /// Randomness of sampling; 0 always takes the most likely token
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<String>,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<String>,
    /// Sample from the K most likely tokens
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub top_k: Option<String>,
    /// Sample from the most likely tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<String>,
    /// Maximum number of tokens to generate
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_predict: Option<String>,
    /// Turn off speculative drafting from the prompt, to measure its gain
    #[arg(long)]
    pub no_drafts: bool,
    /// Text that ends the answer (may be given several times)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
}

impl SamplingArgs {
    /// The given flags that only change how text is generated.
    #[must_use]
    pub fn of_generation(&self) -> Vec<&'static str> {
        let given = [
            ("--temperature", self.temperature.is_some()),
            ("--seed", self.seed.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--num-predict", self.num_predict.is_some()),
            ("--stop", !self.stop.is_empty()),
            ("--no-drafts", self.no_drafts),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag).collect()
    }
}

fn at_least_one(given: &str) -> Result<usize, String> {
    match given.parse() {
        Ok(0) => Err("no answer has none; give at least 1".to_owned()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("{error}")),
    }
}
