//! One base model behind a channel: plain-data requests in, plain-data events out.
//!
//! An engine knows text and tokens, not names: no manifest, no HTTP, no JSON. Its thread is the only place where
//! llama.cpp runs, and `llama/` the only place that imports it; the thread is one of this process or of a child
//! (`process/`), and nobody who asks can tell. Dropping the receiver of a request's events cancels the request at its next
//! decode; dropping every handle ends the thread or the child and frees the model.

pub mod adapters;
mod build;
pub mod cache;
pub mod chunks;
pub mod compute;
pub mod constraint;
mod evaluation;
#[cfg(test)]
mod facts;
#[allow(unsafe_code, reason = "llama.cpp and ggml are called here, and nowhere else")]
mod llama;
pub mod memory;
mod merge;
pub mod process;
mod reply;
mod run;
pub mod scheduler;
#[cfg(test)]
mod schemas;
pub mod scoring;
pub mod speculation;
pub mod text;
mod wire;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use slm_values::gguf::Footprint;
use slm_values::prompt::Prompt;
use slm_values::sampling::Sampling;

pub use adapters::{Adapter, AdapterSet};
pub use build::{Build, build, processor};
pub use compute::Compute;
pub use llama::default_threads;
pub use llama::devices::devices;
pub use llama::native::leave;
pub use reply::Reply;

/// A token's number in its model's vocabulary.
pub type Token = i32;

/// Where a model's weights are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Weights {
    File(#[serde(with = "wire::path")] PathBuf),
    /// The files of a split model, in their order.
    Shards(#[serde(with = "wire::paths")] Vec<PathBuf>),
    /// A whole GGUF in memory.
    Bytes(#[serde(with = "wire::bytes")] Cow<'static, [u8]>),
}

/// What an engine is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    pub weights: Weights,
    /// Identifies the weights in the evaluation id: the file's digest, or one of all shards' digests.
    pub weights_id: String,
    pub load: Load,
    /// Positions of a context, at most those that the model was trained for; `None` takes at most [`DEFAULT_CONTEXT`].
    pub n_ctx: Option<u32>,
    pub compute: Compute,
    /// What the file's header says of its memory; all zero where nobody read it, and then nothing is refused beforehand.
    pub footprint: Footprint,
}

/// How much of a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    Everything,
    /// The tokenizer alone: enough for [`Engine::tokenize`].
    Vocabulary,
}

/// Positions of a context where nobody asked for more: long contexts cost memory, and a file may claim 131,072.
pub const DEFAULT_CONTEXT: u32 = 8192;

/// What a loaded model says of itself, and what it runs with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The chat template in the file, if there is one.
    pub chat_template: Option<String>,
    /// The texts of the vocabulary's special tokens.
    pub specials: slm_values::prompt::SpecialTokens,
    /// The tokens with which it is asked to fill a gap, where its vocabulary has them all.
    pub infill: Option<slm_values::prompt::Infill>,
    pub n_params: u64,
    pub size_bytes: u64,
    /// Positions of a context.
    pub n_ctx: u32,
    /// Positions that the model was trained for.
    pub n_ctx_train: u32,
    pub n_threads: u32,
    /// The devices that compute, as their makers name them.
    pub devices: Vec<String>,
    /// Layers on GPUs, the output counted as one.
    pub n_gpu_layers: u32,
    pub n_layers: u32,
    /// What was asked for; the figures above are what came of it.
    pub compute: Compute,
    pub footprint: Footprint,
    /// Bytes of a generation context's keys and values.
    pub kv_bytes: u64,
    /// Equal ids promise equal probabilities to the last bit: build, processor, threads, backend and weights.
    pub evaluation_id: String,
    pub load_duration: Duration,
}

/// One closed question: how the answer begins, and the ways in which it may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The beginning that is taken as given (`queue:`); its probability is not counted.
    pub prefix: String,
    /// The text behind the prefix, one for each candidate.
    pub candidates: Vec<String>,
}

/// Exact log-probabilities for the continuations of a prompt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScoreRequest {
    pub prompt: Prompt,
    pub groups: Vec<Group>,
    pub adapters: AdapterSet,
    /// The text of the special token that ends an answer; `None` takes the model's own end of turn.
    pub turn_end: Option<String>,
    pub lane: Lane,
}

/// Vectors of texts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmbedRequest {
    pub texts: Vec<String>,
    pub adapters: AdapterSet,
}

/// What a model makes of texts, one row for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embeddings {
    pub kind: EmbeddingKind,
    pub rows: Vec<Vec<f32>>,
    /// Of all texts together.
    pub counts: Counts,
    pub timings: Timings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmbeddingKind {
    /// Vectors of length 1: their product is the cosine of their angle.
    UnitVectors,
    /// A classifier's raw outputs, as a reranker gives them.
    Scores,
}

/// Where a closed question is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Lane {
    /// Alone: equal questions have equal log-probabilities, to the last bit.
    #[default]
    Canonical,
    /// In one batch with others: more rows a second, and the last digits depend on the company.
    Throughput,
}

/// Exact log-probabilities of other continuations at places of a generated text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeRequest {
    /// The prompt of the generation.
    pub prompt: Prompt,
    /// The adapters of the generation.
    pub adapters: AdapterSet,
    /// What was generated behind it, from its beginning.
    pub generated: Vec<GeneratedToken>,
    /// In the order of their places.
    pub points: Vec<Point>,
}

/// A place in a generated text and what might have come there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Bytes of the generated text before it.
    pub at: usize,
    /// Texts of which none begins another, so that their probabilities can be compared.
    pub candidates: Vec<String>,
}

/// What a generated text must follow: a grammar in llguidance's dialect of Lark, beginning at its rule `start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Grammar(pub std::sync::Arc<str>);

impl From<String> for Grammar {
    fn from(text: String) -> Grammar {
        Grammar(text.into())
    }
}

impl From<Grammar> for String {
    fn from(grammar: Grammar) -> String {
        grammar.0.as_ref().to_owned()
    }
}

/// Text after a prompt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenerateRequest {
    pub prompt: Prompt,
    pub sampling: Sampling,
    pub adapters: AdapterSet,
    /// `None` lets the model write what it likes.
    pub grammar: Option<Grammar>,
    pub detail: Detail,
    pub drafts: Drafts,
    /// What is added to these tokens' logits before penalties, grammar and sampling; told probabilities are without it.
    pub bias: Vec<(Token, f32)>,
    /// Control tokens whose texts are shown where the model writes them (`[TOOL_CALLS]`); all others are not, and names that
    /// this vocabulary lacks say nothing. A token that ends an answer is never shown.
    pub visible: Vec<String>,
}

impl GenerateRequest {
    /// What the base model writes behind the prompt, held to nothing and with its text told alone.
    #[must_use]
    pub fn new(prompt: Prompt, sampling: Sampling) -> Self {
        GenerateRequest {
            prompt,
            sampling,
            adapters: AdapterSet::NONE,
            grammar: None,
            detail: Detail::default(),
            drafts: Drafts::default(),
            bias: Vec::new(),
            visible: Vec::new(),
        }
    }
}

/// Whether an answer's next tokens are guessed from what stands in the text already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Drafts {
    /// Where the measured costs say that it pays. The answer is the same where the likeliest token is always taken.
    #[default]
    Auto,
    Off,
}

/// What is told about a generation beside its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Detail {
    #[default]
    Text,
    /// Every token with its probability, at the end.
    Tokens,
    /// Every token with its probability and the `n` likeliest ones in its place, as it is written.
    Likely { n: u8 },
}

/// A piece of an answer as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    pub text: String,
    /// With [`Detail::Likely`] the tokens that wrote the text, all of them whole: one that ends inside a character comes
    /// with the token that completes it. A stop string cuts the last one's bytes as it cuts the text.
    pub tokens: Vec<TokenLogprob>,
}

/// A token of an answer with its probability and what else might have come.
///
/// Probabilities are the model's own: `log P(token | everything before)` in natural logarithms, before bias, penalties,
/// grammar and sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    pub id: Token,
    /// What it wrote in the text; a token that is not shown wrote nothing.
    pub bytes: Vec<u8>,
    pub logprob: f64,
    /// The likeliest tokens here, the likeliest first. Tokens that are impossible to the model are left out.
    pub likely: Vec<LikelyToken>,
}

/// A token that might have come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LikelyToken {
    pub id: Token,
    /// Its text; that of a control token or an end too.
    pub bytes: Vec<u8>,
    pub logprob: f64,
}

/// A token of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GeneratedToken {
    pub id: Token,
    /// Bytes of the answer that it wrote.
    pub n_bytes: usize,
    /// `log P(token | everything before)` in natural logarithms, before any grammar or sampling; `None` where the grammar left
    /// no choice and the model was not asked.
    pub logprob: Option<f64>,
}

/// Raw speed over an empty context, with the generation lane's settings and without sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// One sequence's prompt of random tokens.
    Prefill { n_tokens: u32 },
    /// `n_tokens` steps of `n_sequences` sequences at once.
    Decode { n_tokens: u32, n_sequences: u32, pass: Pass },
    /// The product of the model's most common matrix ([`Footprint::matrix`]) with `n_tokens` rows, alone: the fastest.
    Product { n_tokens: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pass {
    /// One step in the context of the whole measurement.
    WarmUp,
    Whole,
}

/// How long some tokens took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub n_tokens: u32,
    pub elapsed: Duration,
}

/// What an engine is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    Tokenize(Prompt),
    /// The longest beginning of the text that is at most `n_tokens` long.
    Cut {
        text: String,
        n_tokens: usize,
    },
    /// Load these adapters, so that a wrong one is found before the first prompt.
    Prepare(AdapterSet),
    Score(ScoreRequest),
    Embed(EmbedRequest),
    Generate(GenerateRequest),
    /// Answered by [`Event::Scored`] with a group for every point.
    Probe(ProbeRequest),
    Measure(Measure),
}

/// What an engine answers. `Text` may come many times; every other event is a request's last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    Tokenized(Tokenized),
    Cut(Cut),
    Prepared,
    Scored(Scores),
    Embedded(Embeddings),
    Text(Piece),
    Generated(Generation),
    Measured(Measured),
    Failed(EngineError),
}

impl Event {
    /// Whether its request is over with it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self {
            Event::Text(_) => false,
            Event::Tokenized(_)
            | Event::Cut(_)
            | Event::Prepared
            | Event::Scored(_)
            | Event::Embedded(_)
            | Event::Generated(_)
            | Event::Measured(_)
            | Event::Failed(_) => true,
        }
    }
}

/// A prompt as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenized {
    pub tokens: Vec<PromptToken>,
    /// Tokens before the stable border; 0 where there is none.
    pub border: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptToken {
    pub id: Token,
    pub text: String,
    pub kind: TokenKind,
}

/// What the vocabulary says a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenKind {
    Normal,
    Byte,
    Control,
    UserDefined,
    Unknown,
    Unused,
}

impl TokenKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TokenKind::Normal => "normal",
            TokenKind::Byte => "byte",
            TokenKind::Control => "control",
            TokenKind::UserDefined => "user-defined",
            TokenKind::Unknown => "unknown",
            TokenKind::Unused => "unused",
        }
    }
}

/// A text cut to a number of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Bytes of the text that stay; a character's border.
    pub n_bytes: usize,
    pub n_tokens_kept: usize,
    pub n_tokens_cut: usize,
}

/// The log-probabilities of a question's candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// For every group, in natural logarithms: `log P(candidate and the end of the answer | prompt, prefix)`.
    pub groups: Vec<Vec<f64>>,
    pub counts: Counts,
    pub timings: Timings,
}

/// Tokens of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// The prompt's tokens.
    pub prompt: usize,
    /// Of these, taken over from an earlier evaluation.
    pub reused: usize,
    /// Candidate tokens that were evaluated behind the prompt.
    pub branch: usize,
    /// Generated tokens.
    pub generated: usize,
    /// Of these, written by the grammar, which left the model no choice.
    pub forced: usize,
    /// Tokens that were guessed ahead, and how many of them were right.
    pub drafted: usize,
    pub accepted: usize,
}

/// Where a request's time went, in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// From sending the request to its turn.
    pub queued: Duration,
    /// Evaluating the prompt; scoring's branches included.
    pub prompt: Duration,
    pub generation: Duration,
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    pub finish: Finish,
    /// The stop string that ended it; `None` where the model ended its turn, or something else did.
    pub stopped_by: Option<String>,
    pub counts: Counts,
    pub timings: Timings,
    /// With [`Detail::Tokens`].
    pub tokens: Vec<GeneratedToken>,
    /// The answer's tokens, without those that a stop string begins in or covers: [`Run::Tokens`](slm_values::prompt::Run) of a
    /// prompt that goes on from here.
    pub ids: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model ended its turn, or a stop string came.
    Stop,
    /// The token limit or the context's end.
    Length,
}

/// Why an engine could not do what was asked.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
pub enum EngineError {
    #[error("cannot load the model: {reason}")]
    Load { reason: String },
    #[error(transparent)]
    Compute(#[from] compute::ComputeError),
    #[error("{0}")]
    Memory(Box<memory::Shortage>),
    #[error(
        "the prompt does not fit: {needed} tokens are needed, the context has {n_ctx}; raise --num-ctx or cut with --truncate"
    )]
    Context { needed: usize, n_ctx: usize },
    #[error("the answers `{0}` and `{1}` are the same tokens for this model, so they cannot be told apart; rename one")]
    SameTokens(String, String),
    #[error("this vocabulary has no token `{0}`, which the chat template writes")]
    NoSuchToken(String),
    #[error("there is no token {id}: this vocabulary's are numbered from 0 to {last}")]
    TokenOutOfRange { id: Token, last: Token },
    #[error("the bias of token {id} is `{bias}`, which is no finite number")]
    Bias { id: Token, bias: f32 },
    #[error("the model has no token that ends an answer, so answers cannot be scored")]
    NoTurnEnd,
    #[error("this model's state cannot be shared between answers, so they cannot be compared in the middle of a text")]
    NoBranches,
    #[error(
        "the text has {n_tokens} tokens, with the model's own around it, and {limit} fit; {}cut it with --truncate",
        if limit < n_ctx_train { "raise --num-ctx or " } else { "" }
    )]
    TextTooLong { n_tokens: usize, limit: usize, n_ctx_train: usize },
    #[error("the model's architecture `{0}` gives vectors and no text, so it cannot answer; take a model that writes")]
    NoText(String),
    #[error("the text is empty, and the model has no tokens of its own to put around it")]
    EmptyText,
    #[error("there is no token in front of the answer; give a longer prompt")]
    EmptyPrompt,
    #[error("the adapter `{}` cannot be applied: {reason}", .path.display())]
    Adapter {
        #[serde(with = "wire::path")]
        path: PathBuf,
        reason: String,
    },
    #[error("only the vocabulary is loaded")]
    VocabularyOnly,
    #[error("the grammar cannot be kept: {reason}")]
    Grammar { reason: String },
    #[error("a decode failed in llama.cpp: {reason}")]
    Decode { reason: String },
    #[error("the model's process {how}")]
    Crashed { how: String },
    #[error("the server that has the model is gone: {reason}; ask again, and the model is loaded here")]
    Disconnected { reason: String },
    #[error("the model runs in another process, and this cannot go there: {reason}")]
    Unsendable { reason: String },
    #[error("the request was cancelled")]
    Cancelled,
    #[error("the engine has stopped")]
    Stopped,
}

/// A handle to one engine. Cheap to clone; the engine ends with its last handle.
#[derive(Debug, Clone)]
pub struct Engine {
    home: Arc<Home>,
}

/// Where an engine lives.
#[derive(Debug)]
enum Home {
    Thread(run::Thread),
    Elsewhere(process::Link),
}

impl Engine {
    /// Starts an engine on a thread of its own and waits until its model is loaded.
    ///
    /// # Errors
    /// [`EngineError::Load`] with llama.cpp's own words where it refuses the file.
    pub fn load(options: Options) -> Result<Engine, EngineError> {
        Ok(Engine { home: Arc::new(Home::Thread(run::spawn(options)?)) })
    }

    /// Starts an engine in a process of its own: `program` is this program's file. Whatever native code does there, only
    /// that engine's requests fail, with [`EngineError::Crashed`]. In a runtime it must be one with time and input/output.
    pub fn spawn(program: impl Into<PathBuf>, options: Options) -> process::Loading {
        process::spawn(program.into(), options)
    }

    /// Uses an engine that the server at the other end of a stream shares; `wish` says which, in that server's terms.
    pub fn attach<W>(stream: std::os::unix::net::UnixStream, wish: W) -> process::Attaching
    where
        W: Serialize + Send + Sync + 'static,
    {
        process::attach(stream, wish)
    }

    /// The engine at the other end of a link.
    fn linked(link: process::Link) -> Engine {
        Engine { home: Arc::new(Home::Elsewhere(link)) }
    }

    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        match &*self.home {
            Home::Thread(thread) => &thread.info,
            Home::Elsewhere(link) => &link.info,
        }
    }

    /// Queues a request. Its events come through the receiver; dropping that cancels it.
    #[must_use]
    pub fn send(&self, request: Request) -> mpsc::UnboundedReceiver<Event> {
        let (events, receiver) = mpsc::unbounded_channel();
        let command = run::Command { request, events, sent: std::time::Instant::now() };
        match &*self.home {
            Home::Thread(thread) => thread.send(command),
            Home::Elsewhere(link) => link.send(command),
        }
        receiver
    }

    /// Waits until this engine is over, and says why: [`EngineError::Stopped`] where its last handle is gone (a process that
    /// it had is then gone as well), anything else where it ended by itself. Waiting keeps nothing alive.
    pub fn closed(&self) -> impl Future<Output = EngineError> + Send + use<> {
        let mut ended = match &*self.home {
            Home::Thread(thread) => thread.ended(),
            Home::Elsewhere(link) => link.ended(),
        };
        async move {
            // A sender that is gone without a word is an end as well.
            let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
            why.unwrap_or(EngineError::Stopped)
        }
    }

    /// The engine's own process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &*self.home {
            Home::Thread(_) => None,
            Home::Elsewhere(link) => link.pid,
        }
    }

    /// Bytes of memory that the engine's own process takes now; `None` where it has none, or the system does not say.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        self.pid().and_then(memory::of_process)
    }
}
