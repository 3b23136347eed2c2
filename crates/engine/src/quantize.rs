//! Weights written in another type: what is to be done, and what is told of it, as plain data. It reads no file and knows no names.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use slm_values::imatrix::Imatrix;
use slm_values::quantization::TensorOverride;

/// What llama.cpp's quantizer is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QuantizeJob {
    /// A GGUF file; the first of the files of a split model, whose names lead to the others.
    pub source: PathBuf,
    /// The file to write, which is not the source; `None` only plans.
    pub target: Option<PathBuf>,
    /// llama.cpp's number of the type of file.
    pub file_type: u32,
    /// The first pattern that a tensor's name matches decides.
    pub overrides: Vec<TensorOverride>,
    pub n_threads: u32,
    /// The most bytes of one tensor that are in memory at once.
    pub max_buffer_bytes: u64,
    /// Whether tensors that are quantized already are quantized again.
    pub requantize: Requantize,
    pub imatrix: Option<ImatrixFile>,
}

/// What happens to tensors whose numbers have lost precision already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Requantize {
    Refuse,
    Allow,
}

/// An importance matrix, as the quantizer of another process reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImatrixFile {
    pub path: PathBuf,
    /// How the new file's metadata names it.
    pub named: String,
}

/// What is told while weights are quantized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuantizeEvent {
    /// The quantizer has come to a tensor.
    Begun { tensor: String },
    /// A plan's answer for a tensor: ggml's name of its new type, `None` where it stays as it is.
    Planned { tensor: String, kind: Option<String> },
    /// The plan needs an importance matrix, and has none.
    NeedsImatrix,
}

/// Why weights are not quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    #[error("{0}")]
    Refused(String),
    #[error("the importance matrix `{path}` {reason}", path = .path.display())]
    Imatrix { path: PathBuf, reason: String },
    #[error("`{0}` cannot be the path of a file")]
    Path(PathBuf),
}

/// The metadata that llama.cpp's own tool writes of an importance matrix: keys and values in its order.
#[must_use]
pub fn imatrix_entries(file: &ImatrixFile, imatrix: &Imatrix) -> Vec<(&'static str, ImatrixEntry)> {
    let mut entries = vec![("quantize.imatrix.file", ImatrixEntry::Text(file.named.clone()))];
    if let Some(dataset) = imatrix.datasets.first() {
        entries.push(("quantize.imatrix.dataset", ImatrixEntry::Text(dataset.clone())));
    }
    entries.push(("quantize.imatrix.entries_count", ImatrixEntry::Number(imatrix.entries.len() as i64)));
    if imatrix.n_chunks > 0 {
        entries.push(("quantize.imatrix.chunks_count", ImatrixEntry::Number(i64::from(imatrix.n_chunks))));
    }
    entries
}

/// A value of that metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImatrixEntry {
    Text(String),
    Number(i64),
}
