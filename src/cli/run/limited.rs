//! `--max-words`, `--max-sentences`, `--matches` and `--retry`: what is said of an answer under limits.

use serde_json::{Value, json};

use super::args::LimitArgs;
use crate::failure::{self, Failure};
use crate::infer::{Limited, Retry};
use crate::limits::{Breach, Limits, sentence};

/// The limits on the command line.
///
/// # Errors
/// The pattern is invalid, or `--retry` has no limit to check.
pub fn limits(args: &LimitArgs) -> Result<(Limits, Retry), Failure> {
    let pattern = args.matches.as_deref().map(str::parse).transpose();
    let pattern =
        pattern.map_err(|error: crate::limits::PatternError| Failure::usage(format!("--matches: {error}")))?;
    let limits = Limits { max_words: args.max_words, max_sentences: args.max_sentences, pattern };
    if args.retry && limits.is_empty() {
        return Err(Failure::usage(
            "--retry needs a limit that can be broken; give --max-words, --max-sentences or --matches",
        ));
    }
    Ok((limits, if args.retry { Retry::Once } else { Retry::Never }))
}

/// Whether the answer keeps its limits, and which it breaks, as JSON.
pub fn contract(limited: &Limited) -> Value {
    json!({
        "met": limited.breaches.is_empty(),
        "violations": limited.breaches.iter().map(Breach::to_json).collect::<Vec<_>>(),
        "retried": limited.before.is_some(),
    })
}

/// Why an answer is not given; `None` where it is.
pub fn refusal(limited: &Limited) -> Option<String> {
    if let Some(violation) = limited.finished.end.violation() {
        return Some(failure::violation(violation));
    }
    let again = if limited.before.is_some() { "after a retry: " } else { "" };
    (!limited.breaches.is_empty()).then(|| format!("{again}{}", sentence(&limited.breaches)))
}

/// That a first answer was not given, and why; `None` where there was one answer.
pub fn asked_again(limited: &Limited) -> Option<String> {
    limited.before.as_deref().map(|breaches| format!("asked again: {}", sentence(breaches)))
}
