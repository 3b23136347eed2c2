//! A GGUF file's header, checked before native code sees the file; it reads no weights and knows no llama.cpp types.
//!
//! The format is that of `docs/gguf.md` in ggml's repository. What is refused beyond it is what llama.cpp (as of
//! llama-cpp-sys-2 0.1.161) answers by aborting the process: shapes and vocabularies that its assertions exclude.

mod adapter;
mod error;
mod footprint;
mod header;
mod infill;
mod label;
mod model;
mod pooling;
mod reader;
mod shape;
mod shards;
mod tensor;
pub mod testing;
mod value;
mod vocabulary;
mod writer;

pub use adapter::{AdapterHeader, LoraPair};
pub use error::GgufError;
pub use footprint::{Footprint, Matrix};
pub use header::Header;
pub use pooling::Pooling;
pub use shards::Shard;
pub use tensor::{TensorInfo, TensorType};
pub use value::{Array, Arrays, MetadataValue, Strings};
pub use writer::GgufWriter;

#[cfg(test)]
mod tests;
