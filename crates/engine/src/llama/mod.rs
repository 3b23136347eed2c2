//! llama.cpp under a plain Rust interface: loading, and the contexts that a model's requests run in.
//!
//! The only folder that imports llama_cpp_2; nothing of it leaves through a signature of `engine`.

mod adapters;
mod branching;
mod buffers;
mod callback;
mod cleared;
pub mod devices;
mod embedding_lane;
mod generating;
mod generation;
mod hidden;
pub mod imatrix;
mod kernels;
mod lanes;
mod log;
mod mapped;
mod measure;
mod model;
pub mod native;
mod placement;
mod prepare;
mod product;
pub mod quantize;
mod question;
mod sampler;
mod score_lane;
mod specials;
#[cfg(test)]
pub mod testing;
mod token_env;
mod tokenizer;
pub mod waiting;
mod weights;

use std::sync::OnceLock;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;

use super::EngineError;
use super::compute::{DEFAULT_BATCH, Kernels};
use super::threads;
pub use lanes::Lanes;
pub use model::{Model, PrefixReuse};
pub use prepare::{Alone, LaneWork, Preparation};

/// Tokens of one decode of the score lane, logical and physical: one chunk is one decode.
pub const N_BATCH: u32 = DEFAULT_BATCH;

/// The smallest batch of the generation lane's context, however small the chunks of prompts are: llama.cpp keeps room for
/// a row of logits of every sequence in it.
pub const LEAST_BATCH: u32 = 128;

/// Evaluates a batch; an error says what llama.cpp said.
fn decode(context: &mut LlamaContext<'_>, batch: &mut LlamaBatch<'_>) -> Result<(), EngineError> {
    log::clear();
    waiting::watched(|| context.decode(batch)).map_err(|error| failed(&log::reason(&error.to_string())))
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

/// The process's one llama.cpp backend.
fn backend() -> Result<&'static LlamaBackend, EngineError> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    let made = BACKEND.get_or_init(|| {
        log::install();
        cleared::install();
        LlamaBackend::init().map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|reason| EngineError::Load { reason: reason.clone() })
}

/// The processors that this process is granted, and the threads that this makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// Processors that may be used at once, by affinity and by the group's quota.
    pub processors: usize,
    /// Processors by affinity alone; `None` where the system does not say.
    pub allowed: Option<usize>,
    /// Physical cores after these; `None` where the system does not say.
    pub cores: Option<usize>,
    /// Threads of a decode where nobody says otherwise.
    pub threads: u32,
}

/// What of the machine's processors this process may use.
#[must_use]
pub fn granted() -> Granted {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let siblings = |processor| {
        let file = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
        std::fs::read_to_string(file).ok()
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cores = threads::cores(&status, siblings);
    Granted { processors, allowed: threads::allowed(&status), cores, threads: threads::count(processors, cores) }
}

/// One thread for each physical core that this process is granted, by its affinity and by its group's quota.
#[must_use]
pub fn default_threads() -> u32 {
    granted().threads
}

/// Chooses the kernels of this process, as loading a model would, and tells the version of slm's own where they compute from now
/// on.
///
/// # Errors
/// llama.cpp does not start, or an earlier model of this process was loaded with the other choice.
pub fn choose_kernels(kernels: Kernels) -> Result<Option<u32>, EngineError> {
    backend()?;
    kernels::choose(kernels)
}
