//! The independent check of a schema's answers: no network, no files, bounded regular expressions.

use jsonschema::{PatternOptions, Registry, ValidationOptions, Validator};
use serde_json::Value;

use super::error::one_line;

/// Bytes of a compiled regular expression of the validator.
const REGEX_BYTES: usize = 1 << 20;
/// Steps back of one regular expression with look-around.
const BACKTRACKS: usize = 100_000;

/// How schemas are read: draft 2020-12, formats asserted.
pub(super) fn options<'r>() -> ValidationOptions<'r> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(
            PatternOptions::fancy_regex()
                .backtrack_limit(BACKTRACKS)
                .size_limit(REGEX_BYTES)
                .dfa_size_limit(REGEX_BYTES),
        )
        .offline()
}

/// A validator of a schema of draft 2020-12; its error is one line.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    options().build(schema).map_err(|error| refusal(&one_line(&error)))
}

/// The validator's words about a schema; about references in our own, as it also follows those where the reader does not look.
pub(super) fn refusal(reason: &str) -> String {
    let is_outside = ["not present in a registry", "does not exist"].iter().any(|sign| reason.contains(sign));
    if is_outside {
        "a `$ref` or `$id` in it leads out of this schema, which is not supported".to_owned()
    } else {
        reason.to_owned()
    }
}

/// Whether a regular expression is one without look-around and references back, and compiles to a bounded size.
pub(super) fn is_regular(pattern: &str) -> bool {
    options()
        .with_pattern_options(PatternOptions::regex().size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES))
        .build(&serde_json::json!({ "pattern": pattern }))
        .is_ok()
}

/// A schema that others refer to by its name.
pub(super) fn registered<'s>(name: &str, schema: &'s Value) -> Result<Registry<'s>, String> {
    Registry::new()
        .add(name, schema)
        .and_then(|builder| builder.prepare())
        .map_err(|error| refusal(&error.to_string().chars().take(300).collect::<String>()))
}
