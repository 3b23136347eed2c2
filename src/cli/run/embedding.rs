//! Embedding models in `slm run`: which flags they do not support, and a text's vector as JSON.

use serde_json::Value;

use super::args::RunArgs;
use crate::engine::{EmbeddingKind, Embeddings};
use crate::failure::Failure;
use crate::gguf::Pooling;
use crate::store::Model;

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
            "`{name}` is an embedding model: it gives a vector for each text, not an answer; remove {flag}, or use a text \
             model"
        )));
    }
    if model.format.is_some() {
        return Err(Failure::usage(format!(
            "`{name}` is an embedding model, which cannot follow the FORMAT of its Modelfile; create it again without FORMAT"
        )));
    }
    Ok(())
}

/// The vector as a list, a reranker's score as a number.
pub fn value(embeddings: &Embeddings) -> Value {
    match (embeddings.kind, embeddings.rows.first().map_or(&[][..], Vec::as_slice)) {
        (EmbeddingKind::Scores, &[score]) => number(score),
        (_, row) => row.iter().copied().map(number).collect(),
    }
}

/// What it is called.
pub fn name(pooling: Pooling) -> &'static str {
    if pooling == Pooling::Rank { "score" } else { "embedding" }
}

/// Through its shortest text, so that 0.1 does not become 0.10000000149011612.
fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
