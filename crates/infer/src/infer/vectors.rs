//! Texts that are too long for an embedding model: they are cut and sent again.

use super::ask::Ask;
use super::pieces::Finished;
use super::{InferError, Session};
use slm_engine::{Cut, EngineError};

/// What becomes of a text that is longer than the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooLong {
    /// It is refused with both numbers.
    Refused,
    /// Its end is cut away.
    Cut,
}

/// Tokens that a model puts around a text: a beginning and an end.
const AROUND: usize = 2;

/// Embeds texts, in their order; with how many tokens of all of them were cut away.
///
/// # Errors
/// [`EngineError::TextTooLong`] where a text may not be cut; see [`InferError`].
pub async fn fitting_vectors(
    session: &Session,
    mut texts: Vec<String>,
    too_long: TooLong,
) -> Result<(Finished, usize), InferError> {
    let mut n_tokens_cut = 0;
    loop {
        let (limit, n_tokens) = match session.ask(Ask::Vectors { texts: texts.clone() })?.whole().await {
            Err(InferError::Engine(EngineError::TextTooLong { limit, n_tokens, .. })) if too_long == TooLong::Cut => {
                (limit, n_tokens)
            }
            finished => return Ok((finished?, n_tokens_cut)),
        };
        let n_bytes: usize = texts.iter().map(String::len).sum();
        let n_cut = cut_longer(session, &mut texts, limit).await?;
        if texts.iter().map(String::len).sum::<usize>() == n_bytes {
            // The model's own tokens around a text count as well: nothing that could be cut makes it fit.
            return Err(EngineError::TextTooLong { n_tokens, limit, n_ctx_train: limit }.into());
        }
        n_tokens_cut += n_cut;
    }
}

/// Cuts every text that is longer than `limit` with the model's own tokens around it; the number of tokens that went.
async fn cut_longer(session: &Session, texts: &mut [String], limit: usize) -> Result<usize, InferError> {
    let mut n_tokens_cut = 0;
    for text in texts {
        let cut: Cut = session.engine().cutting(text, limit.saturating_sub(AROUND)).await?;
        n_tokens_cut += cut.n_tokens_cut;
        text.truncate(cut.n_bytes);
    }
    Ok(n_tokens_cut)
}
