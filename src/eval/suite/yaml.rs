//! YAML as a suite may have it: bounded, with the line of whatever is wrong; it knows no keys.

use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_yaml::Spanned;

use super::error::{MAX_BYTES, SuiteError, list};
use crate::encoding;
use slm_yaml as yaml;

pub use slm_yaml::line;

/// Reads YAML of one document, within the bounds of [`yaml::options`].
///
/// # Errors
///
/// It is not YAML of this shape; with the line where there is one.
pub fn parse<T: DeserializeOwned>(yaml: &str) -> Result<T, SuiteError> {
    if yaml.len() > MAX_BYTES {
        return Err(SuiteError::TooLarge { bytes: yaml.len() });
    }
    serde_yaml::from_str_with_options(yaml, yaml::options(MAX_BYTES)).map_err(refused)
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

/// A value of the wrong kind.
pub fn invalid<T, V>(key: impl Into<String>, at: &Spanned<T>, problem: impl Into<String>) -> Result<V, SuiteError> {
    Err(SuiteError::Value { line: line(at), key: key.into(), problem: problem.into() })
}

/// A text that is not empty.
pub fn named(key: &str, value: Spanned<String>) -> Result<String, SuiteError> {
    if value.value.trim().is_empty() { invalid(key, &value, "is empty") } else { Ok(value.value) }
}

fn refused(error: serde_yaml::Error) -> SuiteError {
    let (line, error) = yaml::mistake(error);
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
        other => SuiteError::Yaml { line, message: yaml::message(&other) },
    }
}
