//! Why bytes are no importance matrix.

use crate::gguf::GgufError;

#[derive(Debug, thiserror::Error)]
pub enum ImatrixError {
    #[error("is not a GGUF file that can be read: {0}")]
    Gguf(GgufError),
    #[error("is a GGUF file of the kind `{0}`, not `imatrix`")]
    Kind(String),
    #[error("does not say how many chunks of text it was computed from; make it anew with llama-imatrix or slm")]
    Metadata,
    #[error("has the sums of `{0}` without their counts")]
    NoCounts(String),
    #[error("has counts of `{0}` that do not divide its sums")]
    Shape(String),
    #[error("has the tensor `{tensor}` of type `{kind}`, which must be `F32`")]
    Type { tensor: String, kind: &'static str },
    #[error("has a negative or infinite number, or none, for `{0}`")]
    Value(String),
    #[error("is neither a GGUF file nor an importance matrix of the older form: {0}")]
    Legacy(&'static str),
    #[error("has no entries")]
    Empty,
}
