//! YAML as a suite may have it: bounded, with the line of whatever is wrong; it knows no keys.

use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_yaml::Spanned;

use super::error::{MAX_BYTES, SuiteError, list};
use crate::encoding;

/// Reads YAML of one document. Aliases that multiply, deep nesting and a second document are refused; `yes`, `no`, `on` and
/// `off` are texts (YAML 1.2), so that they can be labels.
///
/// # Errors
///
/// It is not YAML of this shape; with the line where there is one.
pub fn parse<T: DeserializeOwned>(yaml: &str) -> Result<T, SuiteError> {
    if yaml.len() > MAX_BYTES {
        return Err(SuiteError::TooLarge { bytes: yaml.len() });
    }
    serde_yaml::from_str_with_options(yaml, options()).map_err(refused)
}

/// The text of a suite, or of a schema that it names.
///
/// # Errors
///
/// It cannot be read, is too large or no text; with the path.
pub fn read(path: &Path) -> Result<String, SuiteError> {
    let failed = |source| SuiteError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // A byte more than allowed tells that there are more.
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let text = if bytes.len() > MAX_BYTES {
        Err(SuiteError::TooLarge { bytes: bytes.len() })
    } else {
        encoding::decode(&bytes).map_err(SuiteError::from)
    };
    text.map_err(|source| SuiteError::In { path: path.to_owned(), source: Box::new(source) })
}

/// The line of a value, from 1.
pub fn line<T>(at: &Spanned<T>) -> u64 {
    at.referenced.line().max(1)
}

/// A value of the wrong kind.
pub fn invalid<T, V>(key: impl Into<String>, at: &Spanned<T>, problem: impl Into<String>) -> Result<V, SuiteError> {
    Err(SuiteError::Value { line: line(at), key: key.into(), problem: problem.into() })
}

/// A text that is not empty.
pub fn named(key: &str, value: Spanned<String>) -> Result<String, SuiteError> {
    if value.value.trim().is_empty() { invalid(key, &value, "is empty") } else { Ok(value.value) }
}

/// Bounds that no honest suite comes near.
fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 50_000,
            max_nodes: 20_000,
            max_aliases: 200,
            max_anchors: 200,
            max_depth: 32,
            flow_nesting_limit: 32,
            max_documents: 1,
            max_total_scalar_bytes: MAX_BYTES,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
        },
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn refused(mut error: serde_yaml::Error) -> SuiteError {
    let line = error.location().map_or(1, |l| l.line().max(1));
    while let serde_yaml::Error::AliasError { error: cause, .. } = error {
        error = *cause;
    }
    match error {
        serde_yaml::Error::SerdeUnknownField { field, expected, .. } => {
            SuiteError::UnknownKey { line, key: field, known: list(expected) }
        }
        serde_yaml::Error::SerdeMissingField { field, .. } => SuiteError::MissingKey { key: field },
        serde_yaml::Error::DuplicateMappingKey { key, .. } => {
            SuiteError::Yaml { line, message: format!("the key `{}` is there twice", key.unwrap_or_default()) }
        }
        serde_yaml::Error::Budget { .. }
        | serde_yaml::Error::AliasReplayLimitExceeded { .. }
        | serde_yaml::Error::AliasReplayStackDepthExceeded { .. } => SuiteError::Bounds { line },
        other => {
            let message = one_line(&other.render_with_formatter(&serde_yaml::UserMessageFormatter));
            SuiteError::Yaml { line, message }
        }
    }
}

/// The parser's message without its own mention of the place, which ours opens with.
fn one_line(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let message = message.split_once(": line ").map_or(message, |(before, _)| before);
    message.split_once(" at line ").map_or(message, |(before, _)| before).trim_end_matches('.').to_owned()
}
