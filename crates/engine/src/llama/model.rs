//! A loaded model, and the contexts that its lanes make of it.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::model::LlamaModel;

use super::super::build::check_processor;
use super::super::compute::{Compute, FlashAttention, KvType};
use super::super::constraint::Compiler;
use super::super::evaluation::{EvaluationSetting, evaluation_id};
use super::super::memory::{Need, Shortage, cell_bytes, rooms};
use super::super::{DEFAULT_CONTEXT, EngineError, Load, ModelInfo, Options, Weights};
use super::placement::{KvPlacement, Placement};
use super::tokenizer::Tokenizer;
use super::weights::{LoadSettings, WeightFiles};
use super::{LEAST_BATCH, N_BATCH, backend, default_threads, devices, kernels, log, native, token_env, waiting};

/// Parameters below which a second thread costs more than it gives: threads wait for each other hundreds of times a decode,
/// and on a busy machine for a whole time slice each.
const ONE_THREAD_BELOW: u64 = 20_000_000;

/// A loaded model with what every lane of it shares.
#[derive(Debug)]
pub struct Model {
    pub(super) llama: Arc<LlamaModel>,
    /// The header's name for the shape of the network.
    pub(super) architecture: String,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// Made when the first grammar is compiled.
    compiler: OnceLock<Result<Compiler, EngineError>>,
    pub(super) info: ModelInfo,
    pub(super) load: Load,
    pub(super) prefix_reuse: PrefixReuse,
    pub(super) weights: Weights,
    /// Whether keys and values are in this process's memory and not on a device.
    cells: KvPlacement,
    /// The numbers of the GPUs that compute.
    pub(super) gpus: Vec<usize>,
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
        let placed = Placement::new(options)?;
        let need = Need::of_model(&options.footprint, placed.n_ctx, compute);
        if options.load == Load::Everything && placed.cells == KvPlacement::Here {
            need.check(&rooms()).map_err(EngineError::Memory)?;
        }
        let opened = WeightFiles::new(&options.weights)?;
        log::clear();
        let how = LoadSettings {
            load: options.load,
            compute,
            n_gpu_layers: placed.n_gpu_layers,
            gpus: &placed.gpus,
            layout: kernels::layout(),
        };
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
        let Placement { cells, gpus, .. } = placed;
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

    /// A context of the generation lane, of `n_cells` positions that all its sequences share: keys, values and batches as
    /// the caller of the engine chose.
    pub(super) fn context(&self, shape: LlamaContextParams, n_cells: u32) -> Result<LlamaContext<'_>, EngineError> {
        let compute = &self.info.compute;
        let (n_batch, n_ubatch) = compute.batches();
        self.new_context(shape, n_cells, compute.kv_type, (n_batch.max(LEAST_BATCH), n_ubatch))
    }

    /// A context of the score lane, whose keys, values and batches never change.
    pub(super) fn score_context(&self, shape: LlamaContextParams) -> Result<LlamaContext<'_>, EngineError> {
        self.new_context(shape, self.info.n_ctx, KvType::F16, (N_BATCH, N_BATCH))
    }

    pub(super) fn new_context(
        &self,
        shape: LlamaContextParams,
        n_ctx: u32,
        kv_type: KvType,
        batches: (u32, u32),
    ) -> Result<LlamaContext<'_>, EngineError> {
        self.new_context_with(shape, n_ctx, kv_type, batches, self.info.compute.flash_attention)
    }

    pub(super) fn new_context_with(
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
        if self.cells == KvPlacement::Here {
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

fn info(
    llama: &LlamaModel,
    tokenizer: &Tokenizer,
    options: &Options,
    placed: &Placement,
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
    let evaluation_id = evaluation_id(&EvaluationSetting {
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
        waiting: waiting::begin(n_threads),
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
