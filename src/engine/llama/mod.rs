//! llama.cpp behind plain Rust: loading, and the contexts that a model's requests run in.
//!
//! The only folder that imports llama_cpp_2; nothing of it leaves through a signature of `engine`.

pub mod build;
mod generation;
mod log;
mod question;
mod score_lane;
mod token_env;
mod tokenizer;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

use super::constraint::Compiler;
use super::run::Caller;
use super::{
    DEFAULT_CONTEXT, EngineError, GenerateRequest, Generation, Load, ModelInfo, Options, ScoreRequest, Scores, Weights,
};
use generation::GenerationLane;
use score_lane::ScoreLane;
use tokenizer::Tokenizer;

/// Tokens of one decode of either lane, logical and physical: one chunk is one decode.
pub const N_BATCH: u32 = 512;

/// Parameters below which a second thread costs more than it gives: threads wait for each other hundreds of times a decode,
/// and on a busy machine for a whole time slice each.
const ONE_THREAD_BELOW: u64 = 20_000_000;

/// A loaded model with what every lane of it shares.
#[derive(Debug)]
pub struct Model {
    llama: Arc<LlamaModel>,
    tokenizer: Arc<Tokenizer>,
    /// Made when the first grammar is compiled.
    compiler: OnceLock<Result<Compiler, EngineError>>,
    info: ModelInfo,
    load: Load,
    prefix_reuse: PrefixReuse,
}

/// Whether evaluated prefixes may serve again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixReuse {
    /// Plain attention: prefixes can be kept and restored from snapshots, to the bit.
    Exact,
    /// A sliding window: kept only while nothing of it has slid away, never restored.
    WhileWhole,
    /// Recurrent or hybrid state cannot be rolled back: evaluate again.
    Never,
}

impl Model {
    /// Loads a model, or its vocabulary alone.
    ///
    /// # Errors
    /// [`EngineError::Load`] with llama.cpp's own words.
    pub fn load(options: &Options) -> Result<Model, EngineError> {
        let started = Instant::now();
        build::check_processor().map_err(|reason| EngineError::Load { reason })?;
        let backend = backend()?;
        let mut params = LlamaModelParams::default().with_vocab_only(options.load == Load::Vocabulary);
        params = params.with_n_gpu_layers(options.n_gpu_layers.unwrap_or(i32::MAX as u32));
        let opened = Opened::new(&options.weights)?;
        log::clear();
        let llama = LlamaModel::load_from_file(backend, opened.path(), &params)
            .map_err(|error| EngineError::Load { reason: log::reason(&error.to_string()) })?;
        let llama = Arc::new(llama);
        let tokenizer = Arc::new(Tokenizer::new(Arc::clone(&llama)));
        let prefix_reuse = prefix_reuse(&llama);
        let mut info = info(&llama, &tokenizer, options);
        info.load_duration = started.elapsed();
        let (load, compiler) = (options.load, OnceLock::new());
        Ok(Model { llama, tokenizer, compiler, info, load, prefix_reuse })
    }

    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What compiles grammars for this vocabulary; the first call makes it.
    ///
    /// # Errors
    /// [`EngineError::Grammar`] where the vocabulary is nothing that grammars can be built on.
    pub fn compiler(&self) -> Result<&Compiler, EngineError> {
        let make = || Compiler::new(token_env::vocabulary(Arc::clone(&self.tokenizer)));
        self.compiler.get_or_init(make).as_ref().map_err(EngineError::clone)
    }

    /// The lanes of this model; their contexts are made on first use.
    pub fn lanes(&self) -> Lanes<'_> {
        Lanes { model: self, score: None, generation: None }
    }

    fn context(&self, shape: LlamaContextParams) -> Result<LlamaContext<'_>, EngineError> {
        if self.load == Load::Vocabulary {
            return Err(EngineError::VocabularyOnly);
        }
        let n_threads = i32::try_from(self.info.n_threads).unwrap_or(1);
        let params = shape
            // llama.cpp clips its batches to the context and then aborts on ours: a smaller limit is only counted.
            .with_n_ctx(NonZeroU32::new(self.info.n_ctx.max(N_BATCH)))
            .with_n_batch(N_BATCH)
            .with_n_ubatch(N_BATCH)
            .with_n_threads(n_threads)
            .with_n_threads_batch(n_threads)
            .with_no_perf(true);
        // Flash attention explicitly on, so that llama.cpp does not choose by itself; the few architectures that refuse
        // it run without, always.
        log::clear();
        let on = params.clone().with_flash_attention_policy(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED);
        let off = params.with_flash_attention_policy(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED);
        let backend = backend()?;
        self.llama.new_context(backend, on).or_else(|_| self.llama.new_context(backend, off)).map_err(|error| {
            let reason = log::reason(&error.to_string());
            EngineError::Load { reason: format!("no context of {} tokens could be made: {reason}", self.info.n_ctx) }
        })
    }
}

/// Evaluates a batch; an error says what llama.cpp said.
fn decode(context: &mut LlamaContext<'_>, batch: &mut LlamaBatch<'_>) -> Result<(), EngineError> {
    log::clear();
    context.decode(batch).map_err(|error| failed(&log::reason(&error.to_string())))
}

fn failed(reason: &str) -> EngineError {
    EngineError::Decode { reason: reason.to_owned() }
}

/// Empties a context without touching the memory behind it. Sequence by sequence: a recurrent memory refuses to forget
/// all of them in one call.
fn clear(context: &mut LlamaContext<'_>, n_sequences: u32) {
    for sequence in 0..n_sequences {
        let _ = context.clear_kv_cache_seq(Some(sequence), None, None);
    }
}

/// The contexts of one model, each made when the first request needs it.
pub struct Lanes<'m> {
    model: &'m Model,
    score: Option<ScoreLane<'m>>,
    generation: Option<GenerationLane<'m>>,
}

impl Lanes<'_> {
    /// Scores a question in the score lane.
    pub fn score(&mut self, request: &ScoreRequest, caller: &Caller) -> Result<Scores, EngineError> {
        if self.score.is_none() {
            self.score = Some(ScoreLane::new(self.model)?);
        }
        let lane = self.score.as_mut().expect("made above");
        lane.score(request, caller)
    }

    /// Generates text in the generation lane.
    pub fn generate(&mut self, request: &GenerateRequest, caller: &Caller) -> Result<Generation, EngineError> {
        if self.generation.is_none() {
            self.generation = Some(GenerationLane::new(self.model)?);
        }
        let lane = self.generation.as_mut().expect("made above");
        lane.generate(request, caller)
    }
}

/// The process's one llama.cpp backend.
fn backend() -> Result<&'static LlamaBackend, EngineError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    let made = BACKEND.get_or_init(|| {
        log::install();
        LlamaBackend::init().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|reason| EngineError::Load { reason: reason.clone() })
}

/// Weights that llama.cpp can open by a path, for as long as this value lives.
enum Opened {
    File(PathBuf),
    /// An anonymous file in memory (`memfd_create`), so that a model inside the binary needs no disk.
    Memory {
        _file: std::fs::File,
        path: PathBuf,
    },
}

impl Opened {
    fn new(weights: &Weights) -> Result<Self, EngineError> {
        match weights {
            Weights::File(path) if path.exists() => Ok(Opened::File(path.clone())),
            Weights::File(path) => Err(EngineError::Load { reason: format!("`{}` does not exist", path.display()) }),
            Weights::Bytes(bytes) => memory_file(bytes)
                .map_err(|error| EngineError::Load { reason: format!("no file in memory could be made: {error}") }),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Opened::File(path) | Opened::Memory { path, .. } => path,
        }
    }
}

#[cfg(target_os = "linux")]
fn memory_file(bytes: &[u8]) -> std::io::Result<Opened> {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    let descriptor = rustix::fs::memfd_create("slm-model", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(descriptor);
    file.write_all(bytes)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(Opened::Memory { _file: file, path })
}

#[cfg(not(target_os = "linux"))]
fn memory_file(bytes: &[u8]) -> std::io::Result<Opened> {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    let (file, path) = file.keep()?;
    Ok(Opened::Memory { _file: file, path })
}

fn info(llama: &LlamaModel, tokenizer: &Tokenizer, options: &Options) -> ModelInfo {
    let n_ctx_train = llama.n_ctx_train();
    // Positions beyond the training mean nothing to the model, and their memory could be any amount.
    let n_ctx = options.n_ctx.unwrap_or(DEFAULT_CONTEXT).min(n_ctx_train).max(1);
    let n_threads = options
        .n_threads
        .unwrap_or_else(|| if llama.n_params() < ONE_THREAD_BELOW { 1 } else { default_threads() })
        .max(1);
    let devices: Vec<String> =
        llama_cpp_2::list_llama_ggml_backend_devices().into_iter().map(|device| device.description).collect();
    let evaluation_id = build::evaluation_id(&options.weights_id, n_threads, options.n_gpu_layers, &devices);
    ModelInfo {
        chat_template: llama.meta_val_str("tokenizer.chat_template").ok(),
        specials: tokenizer.specials(),
        n_params: llama.n_params(),
        size_bytes: llama.size(),
        n_ctx,
        n_ctx_train,
        n_threads,
        devices,
        evaluation_id,
        load_duration: Duration::ZERO,
    }
}

fn prefix_reuse(llama: &LlamaModel) -> PrefixReuse {
    if llama.is_recurrent() || llama.is_hybrid() {
        return PrefixReuse::Never;
    }
    let architecture = llama.meta_val_str("general.architecture").unwrap_or_default();
    let window = llama.meta_val_str(&format!("{architecture}.attention.sliding_window"));
    let slides = window.is_ok_and(|n| n.parse::<u64>().map_or(true, |n| n > 0));
    if slides { PrefixReuse::WhileWhole } else { PrefixReuse::Exact }
}

/// One thread for each physical core that this process may run on: hyperthreads share the units that matter here.
#[must_use]
pub fn default_threads() -> u32 {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    let smt = std::fs::read_to_string("/sys/devices/system/cpu/smt/active").is_ok_and(|text| text.trim() == "1");
    u32::try_from(if smt { allowed.div_ceil(2) } else { allowed }).unwrap_or(1)
}
