//! Why a Modelfile is refused, and where.

use crate::sampling::ParameterError;
use crate::source::SourceError;

/// A Modelfile that cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ModelfileError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    pub reason: ModelfileFault,
}

/// What is wrong in a Modelfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelfileFault {
    #[error("there is no instruction `{name}`; the nearest is `{nearest}`")]
    Instruction { name: String, nearest: &'static str },
    #[error("{0} has no value; write one on the same line, or `\"\"\"` for several lines")]
    NoValue(&'static str),
    #[error("the quotes that open here are never closed; close them with `{0}` at the end of a line")]
    Unclosed(&'static str),
    #[error("{0} is given twice; keep one of them")]
    Twice(&'static str),
    #[error("REQUIRES is `{0}`, but takes a version, for example `0.14.0`")]
    Version(String),
    #[error("FROM names neither a GGUF file (`./model.gguf`) nor a model: {0}")]
    From(SourceError),
    #[error("there is no FROM; begin with the model to build on, for example `FROM triage` or `FROM ./model.gguf`")]
    NoFrom,
    #[error("{0}")]
    Parameter(ParameterError),
    #[error("MESSAGE has the role `{0}`, but takes `system`, `user` or `assistant`")]
    Role(String),
    #[error(
        "FORMAT is not JSON: {0}; put a schema of several lines between `\"\"\"`, or in a file with `@schema.json`"
    )]
    FormatJson(String),
    #[error("FORMAT is `{0}`, but takes a JSON Schema (an object), `json` or `@file`")]
    FormatKind(String),
    #[error("the scale `{0}` is out of range; give a number from -1000 to 1000")]
    AdapterScale(String),
    #[error("EXAMPLES names no file; give one of JSON lines, for example `EXAMPLES rows.jsonl k=4`")]
    ExamplesPath,
    #[error("EXAMPLES has `k={0}`, but takes a number from 1 to {max}", max = super::examples::MAX_EXAMPLES)]
    ExamplesCount(String),
    #[error(
        "EXAMPLES has `by={0}`, which names no embedding model: {1}; give the name of one that you have, or leave it out"
    )]
    ExamplesBy(String, String),
    #[error("FORMAT has no file name after the `@`")]
    FormatPath,
}
