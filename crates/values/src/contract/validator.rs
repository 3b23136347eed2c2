//! The independent check of a schema's answers: no network, no files, bounded regular expressions.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Bytes of a compiled regular expression of the validator.
const REGEX_BYTES: usize = 1 << 20;

/// A validator of a schema of draft 2020-12; its error is one line.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES))
        .offline()
        .build(schema)
        .map_err(|error| error.to_string().chars().take(300).collect())
}
