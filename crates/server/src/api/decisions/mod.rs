//! Typed questions over HTTP: OpenAI's decisions and System One's.

mod openai;
mod systemone;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use serde_json::{Map, Value, json};

use super::extra::ExtraStep;
use super::service::{Answered, AnsweredQuestions, Service};
use slm_infer::decide::FieldAnswer;

pub use openai::{__path_decide, decide};
pub use systemone::{__path_answer, __path_answer_batch, answer, answer_batch};

/// The routes of these dialects.
pub fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/decisions", post(openai::decide))
        .route("/v1/systemone", post(systemone::answer))
        .route("/v1/systemone/batches", post(systemone::answer_batch))
}

/// Tokens of all questions together: those of the prompts, and of these the ones that were evaluated before.
fn usage(answered: &AnsweredQuestions) -> (usize, usize) {
    let counts = || answered.answers.iter().map(|answer| answer.counts);
    (counts().map(|counts| counts.prompt).sum(), counts().map(|counts| counts.reused).sum())
}

/// A reply with its evaluation id, where it has one.
fn with_evaluation_id<const N: usize>(
    reply: [(&str, Value); N],
    answered: Option<&AnsweredQuestions>,
) -> Map<String, Value> {
    let id = answered.and_then(|answered| answered.evaluation_id.as_deref()).map(|id| ("evaluation_id", id.into()));
    reply.into_iter().chain(id).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// An answer with its way through the tiers of a cascade, where it has one.
fn with_path(mut answer: Value, answered: &Answered) -> Value {
    if !answered.path().is_empty() {
        answer["path"] = answered.path().iter().map(|step| json!(ExtraStep::from(step))).collect();
    }
    if let Some(why) = &answered.answer.review {
        answer["review"] = (**why).into();
    }
    answer
}

/// The confidence of these dialects: 0 is a guess among all answers, 1 is certainty.
fn confidence(answer: &FieldAnswer) -> f64 {
    let guess = 1.0 / answer.probabilities.len() as f64;
    if guess < 1.0 { within_one((answer.probability() - guess) / (1.0 - guess)) } else { 1.0 }
}

/// A probability as clients check it: sums of floats may pass 1 by a last bit.
fn within_one(p: f64) -> f64 {
    p.clamp(0.0, 1.0)
}
