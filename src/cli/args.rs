//! Every argument of every command, with the help that people read.

use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Small language models for classification, extraction and scoring: answers in their contract, with probabilities.
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
    /// With --version: what this binary was built for, and what it uses here
    #[arg(long, requires = "version")]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Run(Box<RunArgs>),
    Serve(ServeArgs),
    Ps(PsArgs),
    Stop(StopArgs),
    Pull(PullArgs),
    Push(PushArgs),
    List(ListArgs),
    Show(ShowArgs),
    Create(CreateArgs),
    Rm(RmArgs),
    Cp(CpArgs),
    Verify(VerifyArgs),
    Prune(PruneArgs),
    Eval(Box<EvalArgs>),
    Bench(Box<BenchArgs>),
    Completions(CompletionsArgs),
    #[command(hide = true)]
    Man(ManArgs),
    #[command(hide = true)]
    Engine,
}

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

/// How a model is loaded and computed; Ollama's names where it has one.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Compute")]
pub struct ComputeArgs {
    /// Tokens of context
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_ctx: Option<String>,
    /// Threads that compute [default: one for each core]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_thread: Option<String>,
    /// Layers on GPUs [default: as many as fit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_gpu: Option<String>,
    /// Devices that compute, by name or number, separated by commas; `none` is the processor alone
    #[arg(long, value_name = "A,B")]
    pub device: Option<String>,
    /// Of several GPUs, the one that holds small tensors
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub main_gpu: Option<String>,
    /// Type of keys and values for generated text: f16, q8_0, q4_0 …; scored answers always have f16
    #[arg(long, value_name = "TYPE")]
    pub kv_type: Option<String>,
    /// Flash attention; auto is on wherever the model allows it
    #[arg(long, value_name = "on|off|auto")]
    pub flash_attn: Option<String>,
    /// Tokens of a decode of generated text and its prompts [default: 512]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_batch: Option<String>,
    /// Tokens of a decode that are computed at once [default: 512]
    #[arg(long, value_name = "N")]
    pub num_ubatch: Option<u32>,
    /// Read the weights into memory instead of mapping their file
    #[arg(long)]
    pub no_mmap: bool,
    /// Keep the weights in memory whatever else needs it
    #[arg(long)]
    pub mlock: bool,
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

/// List the models
#[derive(Debug, Args)]
#[command(visible_alias = "ls")]
pub struct ListArgs {
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Show what a model is made of
#[derive(Debug, Args)]
pub struct ShowArgs {
    pub model: String,
    /// Print it as a Modelfile
    #[arg(long, conflicts_with = "json")]
    pub modelfile: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Make a model from a Modelfile
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The new model's name
    pub name: String,
    /// The Modelfile; `-` reads standard input
    #[arg(short, long, value_name = "FILE", default_value = "Modelfile")]
    pub file: PathBuf,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Measure a model on labelled data
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// A suite: YAML with model, data, input, expect
    pub suite: PathBuf,
    /// Another model than the suite's
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Stop after N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// With --json: every row's answer too
    #[arg(long, requires = "json")]
    pub rows: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Measure a model's speed on this machine
///
/// Raw prefill and decode as llama-bench measures them, several sequences at once, rows scored and records extracted through
/// the path of `slm run`, memory, and what the machine could do at best. All of it is measured in this run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slm bench triage --quick
  slm bench llama3.2:1b --json > before.json
  slm bench llama3.2:1b --compare before.json")]
pub struct BenchArgs {
    /// A model's name; `slm list` shows what there is
    pub model: String,
    /// Measure for seconds instead of minutes: shorter, fewer, less sure
    #[arg(long)]
    pub quick: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
    /// Show the ratios to an earlier run, a file that --json wrote
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Runs of each measurement [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repetitions: Option<u32>,
    /// Lengths of the prompts [default: 32,128,512]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub prefill: Vec<u32>,
    /// Tokens to decode [default: 128; a fourth of it where several sequences are decoded at once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub decode: Option<u32>,
    /// Sequences to decode at once [default: 1,2,4,8,16]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    pub sequences: Vec<u32>,
    /// Rows to score and records to extract in each run; 0 leaves them out [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub rows: Option<u32>,
    /// Records in flight [default: all rows of a run, at most 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub parallel: Option<u32>,
    /// Leave out what the machine could do at best
    #[arg(long)]
    pub no_ceiling: bool,
    /// Say on standard error what computes and how
    #[arg(long, short)]
    pub verbose: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Remove models, and their blobs that no other model needs
///
/// What slm did not pull itself may be lost for ever, and is removed only where somebody at a terminal says so, or with
/// --yes.
#[derive(Debug, Args)]
#[command(visible_alias = "remove")]
pub struct RmArgs {
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<String>,
    /// Remove what may be lost for ever without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Give a model a second name; its blobs are shared
#[derive(Debug, Args)]
#[command(visible_alias = "copy")]
pub struct CpArgs {
    pub source: String,
    pub destination: String,
    /// Replace a model that may be lost for ever without asking
    #[arg(long, short)]
    pub yes: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Hash what is stored and say what is damaged
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The models [default: all]
    #[arg(value_name = "MODEL")]
    pub models: Vec<String>,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Remove what no model needs: blobs without a model, old downloads, traces of processes that died
///
/// What is in use stays, and so do blobs younger than an hour (another program may be about to name them) and downloads
/// that were gone on with within a day.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Young blobs too, and weights that a manifest without any readable digest may have had
    #[arg(long)]
    pub all: bool,
    /// Every download that nobody is at, and Ollama's that are older than a day
    #[arg(long)]
    pub partial: bool,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Write JSON
    #[arg(long)]
    pub json: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Write the man pages into a folder
#[derive(Debug, Args)]
pub struct ManArgs {
    pub folder: PathBuf,
}

/// Bring a model from a registry, an address or a file
///
/// What is here already is not downloaded again, and what an earlier try has brought is gone on with.
#[derive(Debug, Args)]
#[command(after_help = "Sources:
  llama3.2:1b                        Ollama's registry, or the one in SLM_REGISTRY
  hf.co/USER/REPOSITORY:Q4_K_M       Hugging Face; HF_TOKEN for private ones
  registry.example.com/team/model    any OCI registry; credentials as `docker login` leaves them
  model@sha256:DIGEST                pinned to a manifest
  https://example.com/model.gguf     a file, or the first of several shards
  ./model.gguf                       a file of this machine")]
pub struct PullArgs {
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Keep it under another name
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Say what would come and how large it is
    #[arg(long)]
    pub dry_run: bool,
    /// Write an event a line, in Ollama's words
    #[arg(long)]
    pub json: bool,
    /// Ranges to download at once [default: as many as make it faster]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64).map(usize::from))]
    pub streams: Option<usize>,
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// Whom to trust on the network.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// A host that may be spoken to without TLS; this machine may always
    #[arg(long, value_name = "HOST")]
    pub insecure: Vec<String>,
    /// A host that a registry may lead to although its address is private, or ask for tokens
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

/// Bring a model to a registry
///
/// What the registry has already is not uploaded again, and what an earlier try has brought there is gone on with as long
/// as the registry keeps it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  slm push registry.example.com/team/triage:v2
  slm push triage --as registry.example.com/team/triage:v2

Credentials are those that `docker login` leaves.")]
pub struct PushArgs {
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Push it under another name, `[HOST/]NAMESPACE/MODEL[:TAG]`; here it keeps its own
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// Say what would go and how large it is
    #[arg(long)]
    pub dry_run: bool,
    /// Write an event a line, in Ollama's words
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// Serve models to programs that speak Ollama's, OpenAI's, Anthropic's or System One's API
///
/// Listens on 127.0.0.1:11434, or where SLM_HOST says. Models are loaded when they are asked for, each in a process of its
/// own, and stay for five minutes after their last request. SIGTERM and Ctrl-C let requests end that have begun.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  slm serve
  slm serve --host 0.0.0.0:11434          with SLM_API_KEY in the environment
  slm serve --host unix:/run/slm.sock --inference-only")]
pub struct ServeArgs {
    /// Where to listen, `HOST:PORT` or `unix:PATH`; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub host: Vec<String>,
    /// Listen to other machines without asking for a key
    #[arg(long)]
    pub insecure_bind: bool,
    /// Answer requests, and let nobody change the store over the network
    #[arg(long)]
    pub inference_only: bool,
    /// Let the group of a Unix socket speak to it too, and not its owner alone
    #[arg(long)]
    pub group_socket: bool,
    /// How long a model stays after its last request: `10m`, seconds, `0`, or `-1` for ever
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub keepalive: Option<String>,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// List the models that the running server holds in memory
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Write Ollama's /api/ps
    #[arg(long)]
    pub json: bool,
}

/// Let the running server unload a model
///
/// Answers on their way are finished first.
#[derive(Debug, Args)]
pub struct StopArgs {
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}
