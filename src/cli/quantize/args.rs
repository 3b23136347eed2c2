//! The arguments with which a command quantizes.

use std::path::PathBuf;

use clap::Args;

use super::Order;
use crate::engine::quantize::Requantize;
use crate::quantization::{Quantization, TensorOverride};

/// Another type for a new model's weights.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Quantizing")]
pub struct QuantizeArgs {
    /// Quantize the weights: q4_k_m, iq3_xxs, q8_0, or another type that llama.cpp has
    #[arg(short = 'q', long = "quantize", value_name = "TYPE")]
    pub kind: Option<Quantization>,
    /// Another type for the tensors whose names match a regular expression: `attn_v=q8_0`; the first that matches counts
    #[arg(long = "tensor-type", value_name = "PATTERN=TYPE", requires = "kind")]
    pub tensor_type: Vec<TensorOverride>,
    /// Also quantize weights that are quantized already; that loses more than quantizing once from F16
    #[arg(long, requires = "kind")]
    pub requantize: bool,
    /// Only say how large the model would be, and the type of its tensors
    #[arg(long, requires = "kind")]
    pub dry_run: bool,
    /// Threads of the quantizer [default: one per core that slm may use]
    #[arg(long, value_name = "N", requires = "kind", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub threads: Option<u32>,
    /// Quantize by importance: a matrix that llama-imatrix or slm made (.dat, .gguf), or rows of the task (.jsonl, .csv …, a suite,
    /// .txt) from which slm computes one
    #[arg(long, value_name = "FILE", requires = "kind")]
    pub imatrix: Option<PathBuf>,
    /// Also write the importance matrix to FILE, for other types and for llama.cpp
    #[arg(long, value_name = "FILE", requires = "imatrix")]
    pub imatrix_out: Option<PathBuf>,
    /// Afterwards ask the original and the new model about a suite or labelled rows, and say what changed [default: the
    /// `suite.yaml` beside the Modelfile, where there is one]; `none`: do not
    #[arg(long, value_name = "SUITE|ROWS", requires = "kind", conflicts_with = "dry_run")]
    pub check: Option<PathBuf>,
}

impl QuantizeArgs {
    /// What is asked for, but for an importance matrix that is yet to be computed; `None` where the weights stay as they are.
    #[must_use]
    pub fn order(&self) -> Option<Order> {
        Some(Order {
            kind: self.kind?,
            overrides: self.tensor_type.clone(),
            requantize: if self.requantize { Requantize::Allow } else { Requantize::Refuse },
            n_threads: self.threads,
            imatrix: None,
        })
    }
}
