//! YAML that people write, bounded, and what its parser says of a mistake. It knows no keys.

use std::path::Path;

use serde_yaml::{Error, Options, Spanned, UserMessageFormatter};

/// Bounds that no honest file comes near: aliases that multiply, deep nesting and a second document are refused. `yes`, `no`, `on`
/// and `off` are texts (YAML 1.2), so that they can be labels.
#[must_use]
pub fn options(max_bytes: usize) -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 50_000,
            max_nodes: 20_000,
            max_aliases: 200,
            max_anchors: 200,
            max_depth: 32,
            flow_nesting_limit: 32,
            max_documents: 1,
            max_total_scalar_bytes: max_bytes,
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

/// Whether a file's name is that of YAML.
#[must_use]
pub fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"))
}

/// The line of a value, from 1.
#[must_use]
pub fn line<T>(at: &Spanned<T>) -> u64 {
    at.referenced.line().max(1)
}

/// The line of a mistake, from 1 where it has none, and the mistake itself, wherever an alias has brought it.
#[must_use]
pub fn mistake(mut error: Error) -> (u64, Error) {
    let line = error.location().map_or(1, |place| place.line().max(1));
    while let Error::AliasError { error: cause, .. } = error {
        error = *cause;
    }
    (line, error)
}

/// The parser's message without its own mention of the place, which ours opens with.
#[must_use]
pub fn message(error: &Error) -> String {
    let message = error.render_with_formatter(&UserMessageFormatter);
    let message = message.lines().next().unwrap_or_default();
    let message = message.split_once(": line ").map_or(message, |(before, _)| before);
    message.split_once(" at line ").map_or(message, |(before, _)| before).trim_end_matches('.').to_owned()
}
