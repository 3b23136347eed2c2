//! What an engine is started with, and what a loaded model says of itself.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::compute::Compute;
use super::waiting::Waiting;
use super::wire;
use slm_values::gguf::Footprint;
use slm_values::prompt::{Infill, SpecialTokens};

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
    /// What the file's header says of its memory; all zero if it was not read; then nothing is refused beforehand.
    pub footprint: Footprint,
}

/// How much of a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    Everything,
    /// The tokenizer alone: enough for [`Engine::tokenize`](super::Engine::tokenize).
    Vocabulary,
}

/// Positions of a context by default: long contexts cost memory, and a file may claim 131,072.
pub const DEFAULT_CONTEXT: u32 = 8192;

/// What a loaded model says of itself, and what it runs with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The chat template in the file, if there is one.
    pub chat_template: Option<String>,
    /// The texts of the vocabulary's special tokens.
    pub specials: SpecialTokens,
    /// The tokens with which it is asked to fill a gap, where its vocabulary has them all.
    pub infill: Option<Infill>,
    pub n_params: u64,
    pub size_bytes: u64,
    /// Positions of a context.
    pub n_ctx: u32,
    /// Positions that the model was trained for.
    pub n_ctx_train: u32,
    pub n_threads: u32,
    pub waiting: Waiting,
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
