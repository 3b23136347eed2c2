//! Texts to vectors, without a waiting thread.

use super::{InferError, Session, Task};
use crate::engine::{Cut, EmbedRequest, Embeddings, EngineError, Event, Request};

/// What becomes of a text that is longer than the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    /// It is refused with both numbers.
    Refused,
    /// Its end is cut away.
    Cut,
}

/// Vectors of texts, with what they took.
#[derive(Debug, Clone)]
pub struct Vectors {
    pub embeddings: Embeddings,
    /// Of all texts together.
    pub n_tokens_cut: usize,
}

impl Session {
    /// Embeds texts, in their order.
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`] where a text may not be cut; see [`InferError`].
    pub async fn vectors(&self, task: &Task, texts: Vec<String>, too_long: TooLong) -> Result<Vectors, InferError> {
        let mut n_tokens_cut = 0;
        let mut texts = texts;
        loop {
            let request = EmbedRequest { texts: texts.clone(), adapters: self.adapters(task).clone() };
            let (limit, n_tokens) = match self.engine.send(Request::Embed(request)).recv().await {
                Some(Event::Embedded(embeddings)) => return Ok(Vectors { embeddings, n_tokens_cut }),
                Some(Event::Failed(EngineError::TextTooLong { limit, n_tokens, .. })) if too_long == TooLong::Cut => {
                    (limit, n_tokens)
                }
                Some(Event::Failed(error)) => return Err(error.into()),
                _ => return Err(EngineError::Stopped.into()),
            };
            let n_bytes: usize = texts.iter().map(String::len).sum();
            let n_cut = self.cut_longer(&mut texts, limit).await?;
            if texts.iter().map(String::len).sum::<usize>() == n_bytes {
                // The model's own tokens around a text count as well: nothing that could be cut makes it fit.
                return Err(EngineError::TextTooLong { n_tokens, limit, n_ctx_train: limit }.into());
            }
            n_tokens_cut += n_cut;
        }
    }

    /// Cuts every text that is longer than `limit` with the model's own tokens around it; the number of tokens that went.
    async fn cut_longer(&self, texts: &mut [String], limit: usize) -> Result<usize, InferError> {
        let mut n_tokens_cut = 0;
        for text in texts {
            let n_tokens = limit.saturating_sub(AROUND);
            let request = Request::Cut { text: text.clone(), n_tokens };
            match self.engine.send(request).recv().await {
                Some(Event::Cut(Cut { n_bytes, n_tokens_cut: n, .. })) => {
                    n_tokens_cut += n;
                    text.truncate(n_bytes);
                }
                Some(Event::Failed(error)) => return Err(error.into()),
                _ => return Err(EngineError::Stopped.into()),
            }
        }
        Ok(n_tokens_cut)
    }
}

/// Tokens that a model puts around a text: a beginning and an end.
const AROUND: usize = 2;
