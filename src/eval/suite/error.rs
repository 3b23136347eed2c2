//! Why a suite cannot be used, with the line and the key where that is known.

use std::path::PathBuf;

use crate::encoding::EncodingError;

/// The most bytes that a suite, or a schema that it names, may have.
pub const MAX_BYTES: usize = 1 << 20;

/// Why a suite cannot be used. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{bytes} bytes are too many for a suite or a schema; the most is {MAX_BYTES}")]
    TooLarge { bytes: usize },
    #[error("line {line}: {message}")]
    Yaml { line: u64, message: String },
    #[error("line {line}: more nesting, values, aliases or documents than a suite may have")]
    Bounds { line: u64 },
    #[error("line {line}: unknown key `{key}`; the keys here are {known}")]
    UnknownKey { line: u64, key: String, known: String },
    #[error("the suite has no `{key}`; it needs `model` or `models`, `data`, `input` and `expect`")]
    MissingKey { key: &'static str },
    #[error(
        "this is not a suite; a suite is YAML with `model`, `data`, `input` and `expect` (`slm eval --init DATA` writes one)"
    )]
    NotASuite,
    #[error("line {line}: `{key}` {problem}")]
    Value { line: u64, key: String, problem: String },
    #[error("`expect` names `{field}`, which is no field of the answer; its fields are {known}")]
    UnknownField { field: String, known: String },
    #[error("`expect` names {count} fields, but the answer is one value; name the column that holds it")]
    BareAnswer { count: usize },
    #[error("`gate` names the field `{field}`, which `expect` does not; it has {known}")]
    UngatedField { field: String, known: String },
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error("the schema is not JSON: {source}")]
    Schema { source: serde_json::Error },
    #[error("`{}`: {source}", path.display())]
    In { path: PathBuf, source: Box<SuiteError> },
}

/// Names in backticks, with commas between them.
pub(crate) fn list(names: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    names.into_iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
