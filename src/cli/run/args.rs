//! The arguments of `slm run`.

use crate::cli::complete;
use crate::cli::compute::ComputeArgs;
use crate::cli::load::EnginePlace;
use crate::cli::reading::ReadingArgs;
use crate::failure::Failure;
use crate::keep_alive::KeepAlive;
use clap::{ArgAction, Args, ValueEnum};
use std::path::PathBuf;

/// Ask a model: classify, score, or generate text
///
/// The prompt comes from the arguments, from standard input, or both (standard input first); without one, a session starts
/// at a terminal. With choices or a closed format (given here or by the model's Modelfile) every allowed answer is scored
/// exactly and has a probability.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  slm run triage \"I was charged twice for order 1182\"
  slm run llama3.2:3b --choices positive,negative,mixed \"Lovely hotel, awful breakfast\"
  slm run triage --lines < tickets.txt | sort | uniq -c
  slm run triage --jsonl body < tickets.jsonl > answered.jsonl
  slm run triage --csv body < tickets.csv > answered.csv
  slm run triage --jsonl body --output answered.jsonl --resume < tickets.jsonl")]
pub struct RunArgs {
    /// A model's name; `slm list` shows what there is
    #[arg(add = complete::models())]
    pub model: String,
    /// The text to answer
    #[arg(trailing_var_arg = false)]
    pub prompt: Vec<String>,
    /// Read the text from FILE, `-` for standard input
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["lines", "jsonl", "csv", "tsv"])]
    pub file: Option<PathBuf>,
    /// Choose one of these labels, separated by commas, or `@FILE` with one label per line, each with an optional description
    /// after a tab
    #[arg(long, value_name = "A,B,C|@FILE", conflicts_with = "format", allow_hyphen_values = true)]
    pub choices: Option<String>,
    /// A JSON schema, `@FILE` with one, `json` for any object, or `none` for open text from a model that has a format
    #[arg(long, value_name = "SCHEMA|@FILE", allow_hyphen_values = true)]
    pub format: Option<String>,
    /// A grammar that the answer follows, in llguidance's Lark, or `@FILE` with one
    #[arg(long, value_name = "LARK|@FILE", allow_hyphen_values = true, conflicts_with_all = ["format", "choices", "regex"])]
    pub grammar: Option<String>,
    /// A regular expression that the whole answer matches
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true, conflicts_with_all = ["format", "choices"])]
    pub regex: Option<String>,
    /// Load the model in this process, even where a running `slm serve` has this store
    #[arg(long)]
    pub local: bool,
    /// How long a running `slm serve` keeps the model loaded afterwards: seconds, a duration such as `10m`, `0` (not at
    /// all) or `-1` (forever)
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, conflicts_with = "local")]
    pub keepalive: Option<KeepAlive>,
    /// Instructions that come before the text, in place of the Modelfile's
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// A LoRA adapter in place of the model's own: a GGUF file, a model with adapters on the same base, or `none`; with
    /// `=SCALE` to apply it more or less. May be given several times
    #[arg(long, value_name = "FILE|NAME[=SCALE]")]
    pub adapter: Vec<String>,
    /// Treat each line of standard input as a separate text
    #[arg(long, conflicts_with_all = ["jsonl", "csv", "tsv", "prompt"])]
    pub lines: bool,
    /// Standard input is JSON objects, one per line or in an array: read the text from FIELD (a name, or a pointer like
    /// /ticket/body), write each object back on a line with `answer` added, or flat keys with --json
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["csv", "tsv", "prompt"])]
    pub jsonl: Option<String>,
    /// Standard input is a table in CSV with a header: read the text from COLUMN, write the table back with the answer's
    /// columns added
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["tsv", "json", "prompt"])]
    pub csv: Option<String>,
    /// The same for a table with tabs between its cells
    #[arg(long, value_name = "COLUMN", conflicts_with_all = ["json", "prompt"])]
    pub tsv: Option<String>,
    /// What separates the cells of --csv [default: `,`]
    #[arg(long, value_name = "CHARACTER", requires = "csv")]
    pub delimiter: Option<String>,
    /// Continue after a row that fails; `--keep-going=false` stops at the first
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = ArgAction::Set, value_name = "true|false")]
    pub keep_going: bool,
    /// With --lines, --jsonl or --csv: write to FILE, which must not exist yet or be empty
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Continue after the last complete line of --output, for example after a crash; the input must begin with the same rows,
    /// and FILE.slm beside it must still be there
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Overwrite --output if it exists
    #[arg(long, requires = "output", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Rows in flight at once; the default is 32 for answers that share batches and 4 for closed ones, scored one after the
    /// other while the next are made ready
    #[arg(long, value_name = "N")]
    pub parallel: Option<String>,
    /// Write JSON. Rows get flat keys, those of --csv; one text gets the full record: probabilities of all answers, token
    /// counts, timings and the evaluation id. `=full` and `=flat` choose for either (docs/json.md)
    #[arg(long, value_name = "SHAPE", value_enum, num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    pub json: Option<Option<JsonShape>>,
    /// Evaluate closed answers of several rows in one batch: more rows a second, but the last digits of a probability then
    /// depend on the rows beside it
    #[arg(long)]
    pub throughput: bool,
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Keep the first N tokens of the text, and say how many were cut
    #[arg(long, value_name = "N")]
    pub truncate: Option<usize>,
    /// Print the rendered prompt, its tokens and its segments instead of an answer; loads only the vocabulary
    #[arg(long)]
    pub dry_run: bool,
    /// Say on standard error what was loaded, and where tokens and time went
    #[arg(long, short)]
    pub verbose: bool,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
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

/// What generated text must keep; an answer that does not is withheld, and the exit code is 3.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits of generated text")]
pub struct LimitArgs {
    /// Maximum number of words (Unicode word boundaries)
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub max_words: Option<usize>,
    /// Maximum number of sentences (Unicode sentence boundaries, abbreviations like `Dr.` aside; a line break ends one)
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub max_sentences: Option<usize>,
    /// A regular expression (Rust's syntax) that the whole answer must match, without the white space at its ends
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    pub matches: Option<String>,
    /// If a limit is broken, ask once more with the limits behind the text
    #[arg(long)]
    pub retry: bool,
}

/// Ollama's option names.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Generation")]
pub struct SamplingArgs {
    /// Spread of the choice; 0 always takes the likeliest token
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<String>,
    /// Start of the random numbers
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<String>,
    /// Keep the K likeliest tokens
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub top_k: Option<String>,
    /// Keep the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<String>,
    /// Most tokens to generate
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_predict: Option<String>,
    /// Never guess ahead from what stands in the text already; shows what guessing gains
    #[arg(long)]
    pub no_drafts: bool,
    /// A text that ends the answer; may be given several times
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
