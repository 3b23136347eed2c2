//! The embedding model that is loaded beside a model, whose vector of a text finds the text's examples.

use std::sync::Arc;

use super::ask::{Ask, Chat, Turn};
use super::pieces::Finding;
use super::vectors::{TooLong, fitting_vectors};
use super::wait::{Cancel, wait};
use super::{Defaults, InferError, Session};
use slm_engine::{EmbeddingKind, Engine};

/// Texts that are embedded in one request.
const N_TOGETHER: usize = 32;

/// A loaded embedding model. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Embedder(Arc<Session>);

impl Embedder {
    /// # Errors
    /// As [`Session::over`].
    pub fn over(engine: Engine) -> Result<Embedder, InferError> {
        Session::over(engine, Defaults::default()).map(|session| Embedder(Arc::new(session)))
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.0.engine()
    }

    /// The vector of a text; of one that is too long, that of its beginning.
    ///
    /// # Errors
    /// The engine is lost, or gives no vectors.
    pub async fn vector(&self, text: &str) -> Result<Vec<f32>, InferError> {
        let mut rows = self.rows(vec![text.to_owned()]).await?;
        rows.pop().ok_or(InferError::NoVector)
    }

    /// The vectors of texts, in their order. It waits on this thread, which must not be a runtime's; `done` hears how many there are.
    ///
    /// # Errors
    /// As [`Embedder::vector`].
    pub fn vectors(&self, texts: &[&str], mut done: impl FnMut(usize)) -> Result<Vec<Vec<f32>>, InferError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for part in texts.chunks(N_TOGETHER) {
            let part = part.iter().map(|text| (*text).to_owned()).collect();
            vectors.extend(wait(self.rows(part), &Cancel::default())?);
            done(vectors.len());
        }
        Ok(vectors)
    }

    async fn rows(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, InferError> {
        let (finished, _) = fitting_vectors(&self.0, texts, TooLong::Cut).await?;
        match finished.end.finding {
            Finding::Vectors(vectors) if vectors.kind == EmbeddingKind::UnitVectors => Ok(vectors.rows),
            _ => Err(InferError::NoVector),
        }
    }
}

impl Session {
    /// With the embedding model by whose vectors its examples are found.
    #[must_use]
    pub fn beside(self, embedder: Embedder) -> Session {
        Session { embedder: Some(embedder), ..self }
    }

    /// The embedding model that is loaded beside it.
    #[must_use]
    pub fn embedder(&self) -> Option<&Embedder> {
        self.embedder.as_ref()
    }

    /// What is asked, with the vector that its examples are found by: [`Session::ask`] then has nothing to wait for.
    ///
    /// # Errors
    /// The embedding model is lost.
    pub async fn prepared(&self, ask: Ask) -> Result<Ask, InferError> {
        match ask {
            Ask::Turn(turn) => Ok(self.prepared_turn(*turn).await?.into()),
            other => Ok(other),
        }
    }

    /// As [`Session::prepared`].
    ///
    /// # Errors
    /// As there.
    pub async fn prepared_turn(&self, mut turn: Turn) -> Result<Turn, InferError> {
        if let Some(chat) = turn.chat_mut()
            && self.lacks_vector(chat)
        {
            chat.vector = Some(self.beside_it()?.vector(chat.last_text()).await?.into());
        }
        Ok(turn)
    }

    /// The same on this thread, which must not be a runtime's.
    pub(super) fn prepared_here(&self, mut turn: Turn) -> Result<Turn, InferError> {
        if let Some(chat) = turn.chat_mut()
            && self.lacks_vector(chat)
        {
            let vector = wait(self.beside_it()?.vector(chat.last_text()), &Cancel::default())?;
            chat.vector = Some(vector.into());
        }
        Ok(turn)
    }

    fn lacks_vector(&self, chat: &Chat) -> bool {
        let examples = self.defaults.examples.as_ref().filter(|_| !chat.memory.goes_on());
        chat.vector.is_none() && examples.is_some_and(super::Examples::are_by_vectors)
    }

    fn beside_it(&self) -> Result<&Embedder, InferError> {
        self.embedder.as_ref().ok_or(InferError::NoVector)
    }
}
