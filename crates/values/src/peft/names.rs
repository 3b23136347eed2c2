//! Modules as HuggingFace names them, and the tensors of a GGUF that hold their weights (`gguf-py`'s `tensor_mapping.py`).

use super::error::{PeftError, wrong};
use crate::gguf::Header;

/// Where a tensor of an adapter belongs.
#[derive(Debug, PartialEq, Eq)]
pub struct AdapterTensor {
    /// The module, as patterns in a configuration name it.
    pub module: String,
    /// The base's tensor.
    pub weight: String,
    pub factor: Factor,
    pub rows: RowOrder,
}

/// Which of the two factors a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    A,
    B,
}

/// What a converter does to the rows of a module's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowOrder {
    #[default]
    AsTheyAre,
    /// Each head's rows in turn from its two halves.
    ByHead { n_heads: usize },
    /// An embedding, which is looked up and not multiplied.
    Embedding,
}

/// Families whose modules have the names below. Mistral's models are `llama` in a GGUF.
const FAMILIES: [&str; 7] = ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3"];

/// A layer's modules, and their tensors' names.
const LAYER: [(&str, &str); 9] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    // Phi-3 keeps gate and up in one weight, in both formats.
    ("mlp.gate_up_proj", "ffn_up"),
];

/// What is before a text model's own modules, by the class that holds them.
const PREFIXES: [&str; 4] = ["model.language_model.", "language_model.model.", "model.", ""];

/// Whether an architecture's adapters can be converted.
pub fn is_known(architecture: &str) -> bool {
    FAMILIES.contains(&architecture)
}

/// The place of a tensor in a base model.
///
/// # Errors
/// [`PeftError::Tensor`] where the name is not of a module that is supported.
pub fn adapter_tensor(tensor: &str, base: &Header) -> Result<AdapterTensor, PeftError> {
    let name = tensor.strip_prefix("base_model.model.").unwrap_or(tensor);
    if name.contains("lora_magnitude_vector") {
        return Err(wrong(tensor, "is DoRA's, which a GGUF adapter cannot hold"));
    }
    let (module, factor, is_embedding) = split(name)
        .ok_or_else(|| wrong(tensor, "is not a factor of LoRA: whole weights and biases cannot be in an adapter"))?;
    let unknown = || wrong(tensor, "is of a module that cannot be placed in a GGUF");
    let inner = PREFIXES.iter().find_map(|prefix| module.strip_prefix(prefix)).unwrap_or(module);
    let (weight, rows) = match inner {
        "embed_tokens" if is_embedding => ("token_embd.weight".to_owned(), RowOrder::Embedding),
        "lm_head" if !is_embedding => ("output.weight".to_owned(), RowOrder::AsTheyAre),
        inner if !is_embedding => {
            let (number, inner) =
                inner.strip_prefix("layers.").and_then(|rest| rest.split_once('.')).ok_or_else(unknown)?;
            let number: u32 = number.parse().map_err(|_| unknown())?;
            let (_, part) = LAYER.iter().find(|(module, _)| *module == inner).ok_or_else(unknown)?;
            (format!("blk.{number}.{part}.weight"), rows_of(part, base))
        }
        _ => return Err(unknown()),
    };
    Ok(AdapterTensor { module: module.to_owned(), weight, factor, rows })
}

/// A tensor's module, which factor it is, and whether it is an embedding's.
fn split(name: &str) -> Option<(&str, Factor, bool)> {
    for (mark, factor, is_embedding) in [
        (".lora_A", Factor::A, false),
        (".lora_B", Factor::B, false),
        (".lora_embedding_A", Factor::A, true),
        (".lora_embedding_B", Factor::B, true),
    ] {
        if let Some((module, rest)) = name.split_once(mark)
            && ["", ".weight", ".default", ".default.weight"].contains(&rest)
        {
            return Some((module, factor, is_embedding));
        }
    }
    None
}

/// Only models of the architecture `llama` rotate neighbouring rows, and have their queries and keys sorted for it.
fn rows_of(part: &str, base: &Header) -> RowOrder {
    let heads = |key: &str| base.number(&format!("{}.attention.{key}", base.architecture()));
    let n_heads = match (base.architecture(), part) {
        ("llama", "attn_q") => heads("head_count"),
        ("llama", "attn_k") => heads("head_count_kv").or_else(|| heads("head_count")),
        _ => return RowOrder::AsTheyAre,
    };
    // Without a number there is nothing to turn by, and the conversion refuses zero heads.
    RowOrder::ByHead { n_heads: n_heads.and_then(|n| usize::try_from(n).ok()).unwrap_or(0) }
}
