//! An engine's answers that come in one piece: to be awaited, or waited for on a thread that has nothing else to do.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;

use super::{
    AdapterSet, Cut, EmbedRequest, Embeddings, Engine, EngineError, Event, Measure, Measured, ProbeRequest,
    PromptLogprobs, PromptLogprobsRequest, Request, ScoreRequest, Scores, Tokenized,
};
use slm_values::prompt::Prompt;

/// A request's one answer, on its way. Dropping it cancels the request.
#[derive(Debug)]
#[must_use = "dropping it cancels the request"]
pub struct Reply<T> {
    events: mpsc::UnboundedReceiver<Event>,
    pick: fn(Event) -> Option<T>,
}

impl<T> Reply<T> {
    /// Waits for it on this thread, which must not be a runtime's.
    ///
    /// # Errors
    /// As the request.
    pub fn wait(mut self) -> Result<T, EngineError> {
        let event = self.events.blocking_recv();
        self.picked(event)
    }

    fn picked(&self, event: Option<Event>) -> Result<T, EngineError> {
        match event {
            Some(Event::Failed(error)) => Err(error),
            Some(event) => (self.pick)(event).ok_or(EngineError::Stopped),
            None => Err(EngineError::Stopped),
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let event = ready!(self.events.poll_recv(context));
        Poll::Ready(self.picked(event))
    }
}

/// What a request answers with.
macro_rules! pick {
    ($event:ident) => {
        |event| match event {
            Event::$event(answer) => Some(answer),
            _ => None,
        }
    };
}

impl Engine {
    fn ask<T>(&self, request: Request, pick: fn(Event) -> Option<T>) -> Reply<T> {
        Reply { events: self.send(request), pick }
    }

    /// The prompt's tokens, as any request with this prompt would evaluate them; it fails with
    /// [`EngineError::NoSuchToken`] where the template writes a special token that the vocabulary lacks.
    pub fn tokenizing(&self, prompt: Prompt) -> Reply<Tokenized> {
        self.ask(Request::Tokenize(prompt), pick!(Tokenized))
    }

    /// The longest beginning of `text` that is at most `n_tokens` tokens.
    pub fn cutting(&self, text: &str, n_tokens: usize) -> Reply<Cut> {
        self.ask(Request::Cut { text: text.to_owned(), n_tokens }, pick!(Cut))
    }

    /// What might have come at places of a generated text; it fails with [`EngineError::NoBranches`] for models whose state
    /// cannot be shared.
    pub fn probing(&self, request: ProbeRequest) -> Reply<Scores> {
        self.ask(Request::Probe(request), pick!(Scored))
    }

    /// Loads adapters ahead of the requests that name them; it fails with [`EngineError::Adapter`] where one cannot be read
    /// or does not fit the model.
    pub fn preparing(&self, adapters: &AdapterSet) -> Reply<()> {
        self.ask(Request::Prepare(adapters.clone()), |event| matches!(event, Event::Prepared).then_some(()))
    }

    /// Vectors of texts.
    pub fn embedding(&self, request: EmbedRequest) -> Reply<Embeddings> {
        self.ask(Request::Embed(request), pick!(Embedded))
    }

    /// The log-probability of every candidate.
    pub fn scoring(&self, request: ScoreRequest) -> Reply<Scores> {
        self.ask(Request::Score(request), pick!(Scored))
    }

    /// The prompt's tokens; see [`Engine::tokenizing`].
    ///
    /// # Errors
    /// [`EngineError::NoSuchToken`].
    pub fn tokenize(&self, prompt: Prompt) -> Result<Tokenized, EngineError> {
        self.tokenizing(prompt).wait()
    }

    /// The longest beginning of `text` that is at most `n_tokens` tokens.
    ///
    /// # Errors
    /// The engine has stopped.
    pub fn cut(&self, text: &str, n_tokens: usize) -> Result<Cut, EngineError> {
        self.cutting(text, n_tokens).wait()
    }

    /// Scores what might have come at places of a generated text.
    ///
    /// # Errors
    /// [`EngineError::NoBranches`]; see [`EngineError`].
    pub fn probe(&self, request: ProbeRequest) -> Result<Scores, EngineError> {
        self.probing(request).wait()
    }

    /// Loads adapters ahead of the requests that name them.
    ///
    /// # Errors
    /// [`EngineError::Adapter`].
    pub fn prepare(&self, adapters: &AdapterSet) -> Result<(), EngineError> {
        self.preparing(adapters).wait()
    }

    /// Embeds texts; blocks until it is this request's turn and done.
    ///
    /// # Errors
    /// [`EngineError::TextTooLong`]; see [`EngineError`].
    pub fn embed(&self, request: EmbedRequest) -> Result<Embeddings, EngineError> {
        self.embedding(request).wait()
    }

    /// Scores every candidate; blocks until it is this request's turn and done.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn score(&self, request: ScoreRequest) -> Result<Scores, EngineError> {
        self.scoring(request).wait()
    }

    /// Reads how likely a prompt's own tokens are; blocks until it is this request's turn and done.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn prompt_logprobs(&self, request: PromptLogprobsRequest) -> Result<PromptLogprobs, EngineError> {
        self.ask(Request::PromptLogprobs(request), pick!(PromptLogprobs)).wait()
    }

    /// Times one pass; meaningful only while the engine has no other requests.
    ///
    /// # Errors
    /// There is no memory for the context, or a decode failed.
    pub fn measure(&self, measure: Measure) -> Result<Measured, EngineError> {
        self.ask(Request::Measure(measure), pick!(Measured)).wait()
    }
}
