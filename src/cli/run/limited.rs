//! `--max-words`, `--max-sentences`, `--matches` and `--retry`: what is said of an answer under limits.

use serde_json::{Value, json};

use super::{Run, answer};
use crate::cli::args::LimitArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::{Cancel, InferError, Limited, Retry};
use crate::limits::{Breach, Limits, sentence};
use crate::ui::output::{Output, tell};

/// The limits on the command line.
///
/// # Errors
/// The pattern is none, or `--retry` has nothing to hold.
pub fn limits(args: &LimitArgs) -> Result<(Limits, Retry), Failure> {
    let pattern = args.matches.as_deref().map(str::parse).transpose();
    let pattern =
        pattern.map_err(|error: crate::limits::PatternError| Failure::usage(format!("--matches: {error}")))?;
    let limits = Limits { max_words: args.max_words, max_sentences: args.max_sentences, pattern };
    if args.retry && limits.is_empty() {
        return Err(Failure::usage(
            "--retry asks again where a limit is broken; give --max-words, --max-sentences or --matches",
        ));
    }
    Ok((limits, if args.retry { Retry::Once } else { Retry::Never }))
}

impl Run<'_> {
    /// Answers one text. Nothing is shown before all of it keeps its limits: half of it in a pipe could not be taken back.
    pub(super) fn generate_limited(&self, text: &str) -> Outcome {
        let generating = self.session.start_generating(&self.task, text)?;
        let limited = self.session.finish_limited(generating, &self.task, text, &Cancel::default())?;
        let mut output = Output::default();
        if self.args.json {
            output.json(&self.limited_json(text, &limited)?)?;
        } else if refusal(&limited).is_none() {
            output.line(limited.text.trim_end_matches('\n'))?;
        } else if self.args.verbose {
            tell(&format!("refused        {}\n", limited.text.trim()));
        }
        self.say_what_was_cut(limited.generated.n_tokens_cut);
        if self.args.verbose {
            tell(&answer::figures(&limited.generated.generation.counts, &limited.generated.generation.timings));
        }
        match refusal(&limited) {
            Some(message) => Err(Failure { message, exit: Exit::NotMet }),
            None => Ok(Exit::Done),
        }
    }

    /// An answer as [`Run::generated_json`] has it, with its contract where it has one.
    ///
    /// # Errors
    /// The engine cannot say more of the answer's fields.
    pub(super) fn limited_json(&self, input: &str, limited: &Limited) -> Result<Value, InferError> {
        // A second answer stands behind more turns than the text alone, and is not looked into.
        let input = (!limited.retried).then_some(input);
        let mut object = self.generated_json(input, &limited.text, &limited.generated)?;
        if !self.task.limits.is_empty() {
            object["contract"] = json!({
                "met": limited.breaches.is_empty(),
                "violations": limited.breaches.iter().map(Breach::to_json).collect::<Vec<_>>(),
                "retried": limited.retried,
            });
        }
        Ok(object)
    }
}

/// Why an answer is not given; `None` where it is.
pub fn refusal(limited: &Limited) -> Option<String> {
    if let Some(violation) = limited.generated.violation() {
        return Some(violation.to_string());
    }
    let again = if limited.retried { "asked again, " } else { "" };
    (!limited.breaches.is_empty()).then(|| format!("{again}{}", sentence(&limited.breaches)))
}
