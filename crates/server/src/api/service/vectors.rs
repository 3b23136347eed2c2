//! Texts to vectors, by a named model.

use std::time::{Duration, Instant};

use super::Service;
use crate::api::ledger::Ledger;
use crate::api::problem::Problem;
use crate::api::request_context::RequestContext;
use slm_engine::{Embeddings, EngineError};
use slm_infer::infer::{Finding, InferError, TooLong, fitting_vectors};
use slm_values::keep_alive::KeepAlive;
use slm_values::sampling::Parameters;

/// Texts to embed.
#[derive(Debug, Clone)]
pub struct Embed {
    pub model: String,
    pub texts: Vec<String>,
    pub too_long: TooLong,
    /// Of these, those count that say how a model is computed.
    pub parameters: Parameters,
    pub keep_alive: Option<KeepAlive>,
}

/// The vectors of texts, with what they took.
#[derive(Debug, Clone)]
pub struct Embedded {
    pub load_duration: Duration,
    pub embeddings: Embeddings,
    /// Of all texts together.
    pub n_tokens_cut: usize,
    pub elapsed: Duration,
}

impl Service {
    /// Embeds texts, in their order.
    ///
    /// # Errors
    /// See [`Kind`](crate::api::problem::Kind).
    pub async fn embed(&self, embed: Embed) -> Result<Embedded, Problem> {
        let started = Instant::now();
        let opened = self.open(&embed.model, &embed.parameters, embed.keep_alive).await?;
        let vectors = fitting_vectors(opened.responder.session()?, embed.texts, embed.too_long);
        let (finished, n_tokens_cut) = RequestContext::current().within(vectors).await??;
        let Finding::Vectors(embeddings) = finished.end.finding else {
            return Err(InferError::from(EngineError::Stopped).into());
        };
        Ledger::new(self.metrics(), &opened.model).embedded(embeddings.counts.prompt);
        let load_duration = opened.load_duration;
        Ok(Embedded { load_duration, embeddings, n_tokens_cut, elapsed: started.elapsed() })
    }
}
