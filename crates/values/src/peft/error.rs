//! Why an adapter cannot be converted.

use crate::gguf::GgufError;

/// Why an adapter cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    #[error("its `adapter_config.json` is wrong: {0}")]
    Config(String),
    #[error("it is trained with {0}, which a GGUF adapter cannot hold; {1}")]
    Unsupported(String, &'static str),
    #[error("its tensors cannot be read: {0}")]
    Safetensors(String),
    #[error("its tensor `{tensor}` {reason}")]
    Tensor { tensor: String, reason: String },
    #[error(
        "adapters for models of the architecture `{0}` cannot be converted yet; convert it with llama.cpp's \
         `convert_lora_to_gguf.py` and give the GGUF file"
    )]
    Architecture(String),
    #[error("it does not fit the base model: {0}")]
    Base(#[from] GgufError),
}

/// The error that a tensor has this fault.
pub(super) fn wrong(tensor: &str, reason: &str) -> PeftError {
    let tensor = tensor.escape_default().take(200).collect();
    PeftError::Tensor { tensor, reason: reason.to_owned() }
}
