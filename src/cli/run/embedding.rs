//! Embedding models under `slm run`: a text's vector as one line of JSON.

use serde_json::{Value, json};

use super::{Run, answer};
use crate::cli::args::RunArgs;
use crate::engine::EmbeddingKind;
use crate::failure::{Exit, Failure, Outcome};
use crate::infer::{Cancel, Embedded};
use crate::store::Model;
use crate::ui::output::{Output, tell};

/// A model that gives vectors gives no answers.
///
/// # Errors
/// The command line asks for one, or the model's own Modelfile does.
pub fn refuse_answers(args: &RunArgs, model: &Model) -> Result<(), Failure> {
    let name = &model.name;
    let asked = [
        ("--choices", args.choices.is_some()),
        ("--format", args.format.is_some()),
        ("--grammar", args.grammar.is_some()),
        ("--regex", args.regex.is_some()),
        ("--dry-run", args.dry_run),
        ("--system", args.system.is_some()),
        ("--max-words", args.limits.max_words.is_some()),
        ("--max-sentences", args.limits.max_sentences.is_some()),
        ("--matches", args.limits.matches.is_some()),
    ];
    let asked = asked.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag);
    if let Some(flag) = asked.chain(args.sampling.of_generation()).next() {
        return Err(Failure::usage(format!(
            "`{name}` is an embedding model: it gives a vector for each text and no answers; leave {flag} away, or take a \
             model that writes"
        )));
    }
    if model.format.is_some() {
        return Err(Failure::usage(format!(
            "`{name}` is an embedding model, which cannot keep the FORMAT of its Modelfile; make it again without"
        )));
    }
    Ok(())
}

impl Run<'_> {
    pub fn embed(&self, text: &str) -> Outcome {
        let embedded = self.session.start_embedding(&self.task, text)?.finish(&Cancel::default())?;
        self.say_what_was_cut(embedded.n_tokens_cut);
        let mut output = Output::default();
        if self.args.json {
            output.json(&json(&embedded, self))?;
        } else {
            output.line(&value(&embedded).to_string())?;
        }
        if self.args.verbose {
            tell(&answer::figures(&embedded.counts, &embedded.timings));
        }
        Ok(Exit::Done)
    }
}

/// The vector as a list, a reranker's score as a number.
pub fn value(embedded: &Embedded) -> Value {
    match (embedded.kind, embedded.row.as_slice()) {
        (EmbeddingKind::Scores, &[score]) => number(score),
        (_, row) => row.iter().copied().map(number).collect(),
    }
}

/// Through its shortest text, so that 0.1 does not become 0.10000000149011612.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// Everything that is known about a vector.
pub fn json(embedded: &Embedded, run: &Run<'_>) -> Value {
    let name = if embedded.kind == EmbeddingKind::Scores { "score" } else { "embedding" };
    json!({
        "model": run.model_name,
        name: value(embedded),
        "tokens": answer::tokens(&embedded.counts, embedded.n_tokens_cut),
        "timings": answer::timings(&embedded.timings, embedded.elapsed, run),
        "evaluation_id": run.session.evaluation_id(&run.task),
    })
}
