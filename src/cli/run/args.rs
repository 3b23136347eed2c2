//! The arguments of `slm run`.

use crate::cli::complete;
use crate::cli::compute::ComputeArgs;
use crate::cli::reading::ReadingArgs;
use clap::{ArgAction, Args};
use std::path::PathBuf;

/// Ask a model: classify, score, or generate text
///
/// The prompt comes from the arguments, from standard input, or both (standard input first). With choices or a closed
/// format (given here or by the model's Modelfile) every allowed answer is scored exactly and has a probability.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  slm run triage \"I was charged twice for order 1182\"
  slm run llama3.2:3b --choices positive,negative,mixed \"Lovely hotel, awful breakfast\"
  slm run triage --lines < tickets.txt | sort | uniq -c
  slm run triage --jsonl body < tickets.jsonl > answered.jsonl
  slm run triage --jsonl body --output answered.jsonl --resume < tickets.jsonl")]
pub struct RunArgs {
    /// A model's name; `slm list` shows what there is
    #[arg(add = complete::models())]
    pub model: String,
    /// The text to answer
    #[arg(trailing_var_arg = false)]
    pub prompt: Vec<String>,
    /// Choose one of these labels, separated by commas
    #[arg(long, value_name = "A,B,C", conflicts_with = "format", allow_hyphen_values = true)]
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
    /// Instructions that come before the text, in place of the Modelfile's
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// A LoRA adapter in place of the model's own: a GGUF file, a model with adapters on the same base, or `none`; with
    /// `=SCALE` to apply it more or less. May be given several times
    #[arg(long, value_name = "FILE|NAME[=SCALE]")]
    pub adapter: Vec<String>,
    /// Each line of standard input is a text of its own
    #[arg(long, conflicts_with_all = ["jsonl", "prompt"])]
    pub lines: bool,
    /// Each line of standard input is a JSON object: read the text from FIELD (a name, or a pointer like /ticket/body),
    /// write the object back with `answer` added
    #[arg(long, value_name = "FIELD", conflicts_with = "prompt")]
    pub jsonl: Option<String>,
    /// Go on behind a row that fails; `--keep-going=false` ends at the first
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = ArgAction::Set, value_name = "true|false")]
    pub keep_going: bool,
    /// With --lines or --jsonl: write to FILE, which must not have anything in it yet
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Go on behind the last whole line of --output, after a kill for example; the input must be the same from its start
    /// on, and FILE.slm, which lies beside, must still be there
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Begin --output anew, whatever is in it
    #[arg(long, requires = "output", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Rows in flight at once; the default is 32 for answers that share batches and 4 for closed ones, scored one after the
    /// other while the next are made ready
    #[arg(long, value_name = "N")]
    pub parallel: Option<String>,
    /// Write JSON: the answer with probabilities, token counts, timings and the evaluation id
    #[arg(long)]
    pub json: bool,
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

/// What generated text must keep; an answer that does not is withheld, and the exit code is 3.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Limits of generated text")]
pub struct LimitArgs {
    /// Most words, as Unicode tells words
    #[arg(long, value_name = "N")]
    pub max_words: Option<usize>,
    /// Most sentences, as Unicode tells sentences, `Dr.` and the like aside; a line break ends one
    #[arg(long, value_name = "N")]
    pub max_sentences: Option<usize>,
    /// A regular expression (Rust's syntax) that the whole answer must match, without the white space at its ends
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    pub matches: Option<String>,
    /// Where a limit is broken, tell the model which and let it answer once more
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
