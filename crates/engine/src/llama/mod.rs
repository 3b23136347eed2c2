//! llama.cpp behind plain Rust: loading, and the contexts that a model's requests run in.
//!
//! The only folder that imports llama_cpp_2; nothing of it leaves through a signature of `engine`.

mod adapters;
mod branching;
pub mod devices;
mod embedding_lane;
mod generating;
mod generation;
mod kernels;
mod log;
mod measure;
pub mod native;
mod prepare;
mod product;
mod question;
mod sampler;
mod score_lane;
mod specials;
#[cfg(test)]
pub mod testing;
mod token_env;
mod tokenizer;
mod weights;

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;

use super::build::check_processor;
use super::compute::{Compute, DEFAULT_BATCH, Device, DeviceKind, FlashAttention, KvType};
use super::constraint::Compiler;
use super::evaluation::{Setting, evaluation_id};
use super::memory::{Need, Shortage, cell_bytes, layers_that_fit, rooms};
use super::run::Caller;
use super::{
    DEFAULT_CONTEXT, Embeddings, EngineError, Event, Load, Measure, Measured, ModelInfo, Options, Scores, Weights,
};
use adapters::Adapters;
use embedding_lane::EmbeddingLane;
use generation::GenerationLane;
use measure::MeasureLane;
pub use prepare::{Alone, Prepared, Work};
use question::Question;
use score_lane::ScoreLane;
use tokenizer::Tokenizer;
use weights::{How, Opened};

/// Tokens of one decode of the score lane, logical and physical: one chunk is one decode.
pub const N_BATCH: u32 = DEFAULT_BATCH;

/// The smallest batch of the generation lane's context, however small the chunks of prompts are: llama.cpp keeps room for
/// a row of logits of every sequence in it.
pub const LEAST_BATCH: u32 = 128;

/// Parameters below which a second thread costs more than it gives: threads wait for each other hundreds of times a decode,
/// and on a busy machine for a whole time slice each.
const ONE_THREAD_BELOW: u64 = 20_000_000;

/// A loaded model with what every lane of it shares.
#[derive(Debug)]
pub struct Model {
    llama: Arc<LlamaModel>,
    /// The header's name for the shape of the network.
    architecture: String,
    tokenizer: Arc<Tokenizer>,
    /// Made when the first grammar is compiled.
    compiler: OnceLock<Result<Compiler, EngineError>>,
    info: ModelInfo,
    load: Load,
    prefix_reuse: PrefixReuse,
    weights: Weights,
    /// Whether keys and values are in this process's memory and not on a device.
    cells: Cells,
    /// The numbers of the GPUs that compute.
    gpus: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cells {
    Here,
    OnDevices,
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
        check_processor().map_err(|reason| EngineError::Load { reason })?;
        let backend = backend()?;
        let compute = &options.compute;
        let kernels = kernels::choose(compute.kernels)?;
        let placed = Placed::new(options)?;
        let need = Need::of_model(&options.footprint, placed.n_ctx, compute);
        if options.load == Load::Everything && placed.cells == Cells::Here {
            need.check(&rooms()).map_err(EngineError::Memory)?;
        }
        let opened = Opened::new(&options.weights)?;
        log::clear();
        let how = How { load: options.load, compute, n_gpu_layers: placed.n_gpu_layers, gpus: &placed.gpus };
        let llama = opened.load(backend, &how).map_err(|error| match error {
            EngineError::Load { reason } => not_made(need, reason),
            error => error,
        })?;
        let llama = Arc::new(llama);
        let tokenizer = Arc::new(Tokenizer::new(Arc::clone(&llama)));
        let architecture = llama.meta_val_str("general.architecture").unwrap_or_default();
        let prefix_reuse = prefix_reuse(&llama, &architecture);
        let mut info = info(&llama, &tokenizer, options, &placed, kernels);
        info.load_duration = started.elapsed();
        let (load, compiler, weights) = (options.load, OnceLock::new(), options.weights.clone());
        let Placed { cells, gpus, .. } = placed;
        Ok(Model { llama, architecture, tokenizer, compiler, info, load, prefix_reuse, weights, cells, gpus })
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
        Lanes {
            model: self,
            adapters: Adapters::new(self),
            score: None,
            generation: None,
            embedding: None,
            measure: None,
        }
    }

    /// A context of the generation lane, of `n_cells` positions that all its sequences share: keys, values and batches as
    /// the caller of the engine chose.
    fn context(&self, shape: LlamaContextParams, n_cells: u32) -> Result<LlamaContext<'_>, EngineError> {
        let compute = &self.info.compute;
        let (n_batch, n_ubatch) = compute.batches();
        self.new_context(shape, n_cells, compute.kv_type, (n_batch.max(LEAST_BATCH), n_ubatch))
    }

    /// A context of the score lane, whose keys, values and batches never change.
    fn score_context(&self, shape: LlamaContextParams) -> Result<LlamaContext<'_>, EngineError> {
        self.new_context(shape, self.info.n_ctx, KvType::F16, (N_BATCH, N_BATCH))
    }

    fn new_context(
        &self,
        shape: LlamaContextParams,
        n_ctx: u32,
        kv_type: KvType,
        batches: (u32, u32),
    ) -> Result<LlamaContext<'_>, EngineError> {
        self.new_context_with(shape, n_ctx, kv_type, batches, self.info.compute.flash_attention)
    }

    fn new_context_with(
        &self,
        shape: LlamaContextParams,
        n_ctx: u32,
        kv_type: KvType,
        (n_batch, n_ubatch): (u32, u32),
        flash_attention: FlashAttention,
    ) -> Result<LlamaContext<'_>, EngineError> {
        if self.load == Load::Vocabulary {
            return Err(EngineError::VocabularyOnly);
        }
        // llama.cpp clips its batches to the context and then aborts on ours: a smaller limit is only counted.
        let n_ctx = n_ctx.max(n_batch);
        let need = Need::of_context(&self.info.footprint, n_ctx, kv_type, n_ubatch);
        if self.cells == Cells::Here {
            need.check(&rooms()).map_err(EngineError::Memory)?;
        }
        let n_threads = i32::try_from(self.info.n_threads).unwrap_or(1);
        let params = shape
            .with_n_ctx(NonZeroU32::new(n_ctx))
            .with_n_batch(n_batch)
            .with_n_ubatch(n_ubatch)
            .with_n_threads(n_threads)
            .with_n_threads_batch(n_threads)
            .with_type_k(devices::kv_cache_type(kv_type))
            .with_type_v(devices::kv_cache_type(kv_type))
            .with_no_perf(true);
        // Flash attention explicitly on, so that llama.cpp does not choose by itself; the few architectures that refuse
        // it run without, always, but not with keys and values that need it.
        log::clear();
        let with = |policy| params.clone().with_flash_attention_policy(policy);
        let on =
            || self.llama.new_context(backend()?, with(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED)).map_err(reason);
        let off = || {
            self.llama.new_context(backend()?, with(llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED)).map_err(reason)
        };
        let made = match flash_attention {
            FlashAttention::Off => off(),
            FlashAttention::Auto if !kv_type.is_quantized() => on().or_else(|_| off()),
            FlashAttention::Auto | FlashAttention::On => on(),
        };
        made.map_err(|error| match error {
            EngineError::Load { reason } => not_made(need, reason),
            other => other,
        })
    }
}

/// llama.cpp's own explanation of a context that it did not make.
fn reason(error: llama_cpp_2::LlamaContextLoadError) -> EngineError {
    EngineError::Load { reason: log::reason(&error.to_string()) }
}

/// A failed allocation as the shortage that it is; any other failure as it was told.
fn not_made(need: Need, reason: String) -> EngineError {
    let is_shortage = ["alloc", "out of memory", "too large for the address space", "mmap failed"];
    if !is_shortage.iter().any(|words| reason.contains(words)) {
        return EngineError::Load { reason };
    }
    match need.tightest(&rooms()) {
        Some(room) => EngineError::Memory(Box::new(Shortage { need, room, reason: Some(reason) })),
        None => EngineError::Load { reason },
    }
}

/// Where a model goes, decided before it is loaded.
struct Placed {
    gpus: Vec<usize>,
    n_gpu_layers: u32,
    n_ctx: u32,
    cells: Cells,
    /// The makers' names of the devices that compute.
    devices: Vec<String>,
}

impl Placed {
    fn new(options: &Options) -> Result<Placed, EngineError> {
        let all = devices::devices()?;
        let Options { compute, footprint, .. } = options;
        let gpus = compute.check(&all)?;
        let n_ctx = options.n_ctx.unwrap_or(DEFAULT_CONTEXT);
        // A header that nobody read says nothing.
        let n_ctx_train = u32::try_from(footprint.n_ctx_train).unwrap_or(u32::MAX);
        let n_ctx = if n_ctx_train > 0 { n_ctx.min(n_ctx_train) } else { n_ctx };
        let free: Vec<u64> = all.iter().filter(|device| gpus.contains(&device.index)).map(|d| d.memory_free).collect();
        let fit = match footprint.weights {
            _ if gpus.is_empty() => 0,
            0 => u32::MAX,
            _ => layers_that_fit(footprint, n_ctx, compute.kv_type, &free),
        };
        let n_gpu_layers = if gpus.is_empty() { 0 } else { compute.n_gpu_layers.unwrap_or(fit) };
        let cells = if n_gpu_layers == 0 { Cells::Here } else { Cells::OnDevices };
        let computes = |device: &&Device| device.kind == DeviceKind::Processor || gpus.contains(&device.index);
        let devices = all.iter().filter(computes).map(|device| device.description.clone()).collect();
        Ok(Placed { gpus, n_gpu_layers: n_gpu_layers.min(i32::MAX as u32), n_ctx, cells, devices })
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
    adapters: Adapters<'m>,
    score: Option<ScoreLane<'m>>,
    generation: Option<GenerationLane<'m>>,
    embedding: Option<EmbeddingLane<'m>>,
    measure: Option<MeasureLane<'m>>,
}

impl Lanes<'_> {
    /// Scores a question in the score lane.
    ///
    /// # Errors
    /// As [`ScoreLane::score`].
    fn score(&mut self, question: &Question, caller: &Caller) -> Result<Scores, EngineError> {
        if self.score.is_none() {
            self.score = Some(ScoreLane::new(self.model)?);
        }
        let lane = self.score.as_mut().expect("made above");
        lane.score(question, &mut self.adapters, caller)
    }

    /// Times decodes in a context that is kept while measurements of one kind come.
    pub fn measure(&mut self, measure: &Measure, caller: &Caller) -> Result<Measured, EngineError> {
        if let Measure::Product { n_tokens } = *measure {
            return self.product(n_tokens);
        }
        let lane = match self.measure.take() {
            Some(lane) if lane.serves(measure) => lane,
            // The old context goes before there is a new one.
            old => {
                drop(old);
                MeasureLane::new(self.model, measure)?
            }
        };
        self.measure.insert(lane).run(measure, caller)
    }

    fn product(&self, n_tokens: u32) -> Result<Measured, EngineError> {
        let info = self.model.info();
        let matrix = info.footprint.matrix.ok_or_else(|| failed("the model has no matrices"))?;
        let elapsed = product::time(&matrix, n_tokens, info.n_threads, self.model.gpus.first().copied())?;
        Ok(Measured { n_tokens, elapsed })
    }

    /// Answers what is evaluated alone.
    ///
    /// # Errors
    /// As the lanes.
    pub fn answer(&mut self, work: &Alone, caller: &Caller) -> Result<Event, EngineError> {
        match work {
            Alone::Question(question) => self.score(question, caller).map(Event::Scored),
            Alone::Embedding(texts) => self.embed(texts, caller).map(Event::Embedded),
        }
    }

    fn embed(&mut self, texts: &embedding_lane::Prepared, caller: &Caller) -> Result<Embeddings, EngineError> {
        if self.model.load == Load::Vocabulary {
            return Err(EngineError::VocabularyOnly);
        }
        let lane = self.embedding.get_or_insert_with(|| EmbeddingLane::new(self.model));
        lane.embed(texts, &mut self.adapters, caller)
    }

    /// Takes work into the generation lane; an error is the caller's.
    pub fn submit(&mut self, work: Work, caller: Caller) {
        let work = match work {
            Work::Measure(measure) => {
                let measured = self.measure(&measure, &caller).map(Event::Measured);
                return caller.send(measured.unwrap_or_else(Event::Failed));
            }
            other => other,
        };
        // Whoever names a wrong adapter hears it alone.
        if let Some(Err(error)) = work.adapters().map(|adapters| self.adapters.load(adapters)) {
            return caller.send(Event::Failed(error));
        }
        if let Work::Adapters(_) = work {
            return caller.send(Event::Prepared);
        }
        if self.generation.is_none() {
            match GenerationLane::new(self.model) {
                Ok(lane) => self.generation = Some(lane),
                Err(error) => return caller.send(Event::Failed(error)),
            }
        }
        let lane = self.generation.as_mut().expect("made above");
        match work {
            Work::Generation(prepared) => lane.generate(*prepared, caller),
            Work::Branches(prepared) => lane.branch(*prepared, caller),
            Work::Alone(_) | Work::Adapters(_) | Work::Measure(_) => {
                unreachable!("these go to other lanes, or to none")
            }
        }
    }

    /// Whether the generation lane has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.generation.as_ref().is_none_or(GenerationLane::is_idle)
    }

    /// One decode of the generation lane.
    pub fn step(&mut self) {
        if let Some(lane) = &mut self.generation {
            lane.step(&mut self.adapters);
        }
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

fn info(
    llama: &LlamaModel,
    tokenizer: &Tokenizer,
    options: &Options,
    placed: &Placed,
    kernels: Option<u32>,
) -> ModelInfo {
    let compute = &options.compute;
    let n_ctx_train = llama.n_ctx_train();
    // Positions beyond the training mean nothing to the model, and their memory could be any amount.
    let n_ctx = options.n_ctx.unwrap_or(DEFAULT_CONTEXT).min(n_ctx_train).max(1);
    let n_threads = compute
        .n_threads
        .unwrap_or_else(|| if llama.n_params() < ONE_THREAD_BELOW { 1 } else { default_threads() })
        .max(1);
    let n_layers = llama.n_layer();
    let n_gpu_layers = placed.n_gpu_layers.min(n_layers.saturating_add(1));
    let evaluation_id = evaluation_id(&Setting {
        weights_id: &options.weights_id,
        n_threads,
        n_gpu_layers,
        devices: &placed.devices,
        flash_attention: compute.flash_attention,
        kernels,
        c_library: &native::c_library(),
    });
    ModelInfo {
        chat_template: llama.meta_val_str("tokenizer.chat_template").ok(),
        specials: tokenizer.specials(),
        infill: tokenizer.infill(),
        n_params: llama.n_params(),
        size_bytes: llama.size(),
        n_ctx,
        n_ctx_train,
        n_threads,
        devices: placed.devices.clone(),
        n_gpu_layers,
        n_layers,
        kv_bytes: cell_bytes(&options.footprint, compute.kv_type).saturating_mul(u64::from(n_ctx)),
        footprint: options.footprint,
        compute: Compute { n_threads: Some(n_threads), ..compute.clone() },
        evaluation_id,
        load_duration: Duration::ZERO,
    }
}

fn prefix_reuse(llama: &LlamaModel, architecture: &str) -> PrefixReuse {
    if llama.is_recurrent() || llama.is_hybrid() {
        return PrefixReuse::Never;
    }
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
