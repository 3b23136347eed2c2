//! The evaluation id: under equal ids equal questions have equal probabilities, to the last bit. It covers what can change a
//! bit and nothing else, so that what was measured under an id stays good while the rest of slm changes.

use slm_values::digest::Hasher;

use super::build::{build, processor};
use super::compute::FlashAttention;

/// The version of what the engine itself does to a question: its tokens, how they are cut into decodes, which rows and cells a
/// decode has, the score lane's context, and how logits become log-probabilities. A change that changes a bit needs another
/// version; tests hold it to recorded digests.
pub const LANE: u32 = 3;

/// What of a machine and of a model's loading changes the bits of its probabilities.
#[derive(Debug, Clone, Copy)]
pub struct EvaluationSetting<'a> {
    pub weights_id: &'a str,
    pub n_threads: u32,
    pub n_gpu_layers: u32,
    pub devices: &'a [String],
    pub flash_attention: FlashAttention,
    /// The version of slm's kernels, where they compute; `None` where ggml's own do.
    pub kernels: Option<u32>,
    /// The C library by name and version: it computes exponentials, logarithms and angles.
    pub c_library: &'a str,
}

/// The id of probabilities that this build computes on this processor in a setting. Batch sizes and the type of keys and values
/// are the generation lane's own and not in it.
pub fn evaluation_id(setting: &EvaluationSetting<'_>) -> String {
    id_of(build().id, &processor(), LANE, setting)
}

fn id_of(build: &str, processor: &str, lane: u32, setting: &EvaluationSetting<'_>) -> String {
    let EvaluationSetting { weights_id, n_threads, n_gpu_layers, devices, flash_attention, kernels, c_library } =
        setting;
    let kernels = kernels.map_or_else(|| "ggml".to_owned(), |version| format!("ggml-x86 {version}"));
    let parts = [
        build.to_owned(),
        processor.to_owned(),
        (*c_library).to_owned(),
        kernels,
        format!("lane {lane}"),
        n_threads.to_string(),
        n_gpu_layers.to_string(),
        devices.join(", "),
        format!("flash attention {flash_attention}"),
        (*weights_id).to_owned(),
    ];
    let mut hash = Hasher::new();
    for part in parts {
        hash.update(&part.len().to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finish().id()
}

#[cfg(test)]
mod tests;
