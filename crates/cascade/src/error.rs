//! Why a file is no cascade, with the line where that is known.

/// Why a cascade cannot be used. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CascadeError {
    #[error("{bytes} bytes are too many for a cascade; the most is {most}")]
    TooLarge { bytes: usize, most: usize },
    #[error("line {line}: {message}")]
    Yaml { line: u64, message: String },
    #[error("line {line}: unknown key `{key}`; the keys here are {known}")]
    UnknownKey { line: u64, key: String, known: String },
    #[error("line {line}: `{key}` is missing")]
    MissingKey { line: u64, key: &'static str },
    #[error("line {line}: `{key}` {problem}")]
    Value { line: u64, key: String, problem: String },
    #[error(
        "line {line}: the tier `{tier}` does not say what it accepts, and others come after it; add `accept: {{probability: \
         0.9}}`, `accept: fitted` or `accept: anything`"
    )]
    NoThreshold { line: u64, tier: String },
    #[error("line {line}: the tier `{tier}` is there twice; give one of them another `name`")]
    Twice { line: u64, tier: String },
}

impl CascadeError {
    /// A value of the wrong kind.
    pub(crate) fn value(line: u64, key: &str, problem: impl Into<String>) -> CascadeError {
        CascadeError::Value { line, key: key.to_owned(), problem: problem.into() }
    }
}
