//! The engine's thread: takes one request after the other and answers with events. It knows nothing of llama.cpp's types.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::llama::Model;
use super::{EngineError, Event, ModelInfo, Options, Request};

/// A request on its way to the engine's thread.
#[derive(Debug)]
pub struct Command {
    pub request: Request,
    pub events: mpsc::UnboundedSender<Event>,
    pub sent: Instant,
}

/// Who waits for a request's events.
#[derive(Debug)]
pub struct Caller {
    events: mpsc::UnboundedSender<Event>,
    /// From sending the request to its turn.
    pub queued: Duration,
}

impl Caller {
    /// Asked between decodes: nobody listening is the request's cancellation.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`].
    pub fn check(&self) -> Result<(), EngineError> {
        if self.events.is_closed() { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    /// Gives a piece of generated text.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`].
    pub fn text(&self, text: String) -> Result<(), EngineError> {
        if text.is_empty() {
            return self.check();
        }
        self.events.send(Event::Text(text)).map_err(|_| EngineError::Cancelled)
    }
}

/// Loads the model on a new thread; returns when it is loaded or refused.
pub fn spawn(options: Options) -> Result<(mpsc::UnboundedSender<Command>, ModelInfo), EngineError> {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (ready, loaded) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || match Model::load(&options) {
        Ok(model) => {
            let info = model.info().clone();
            if ready.send(Ok(info)).is_ok() {
                serve(&model, inbox);
            }
        }
        Err(error) => drop(ready.send(Err(error))),
    });
    thread.map_err(|error| EngineError::Load { reason: format!("no thread could be started: {error}") })?;
    let info = loaded.recv().map_err(|_| EngineError::Stopped)??;
    Ok((commands, info))
}

fn serve(model: &Model, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let mut lanes = model.lanes();
    while let Some(Command { request, events, sent }) = inbox.blocking_recv() {
        let caller = Caller { events, queued: sent.elapsed() };
        if caller.check().is_err() {
            continue;
        }
        let done = match request {
            Request::Tokenize(prompt) => model.tokenizer().describe(&prompt).map(Event::Tokenized),
            Request::Cut { text, n_tokens } => Ok(Event::Cut(model.tokenizer().cut(&text, n_tokens))),
            Request::Score(request) => lanes.score(&request, &caller).map(Event::Scored),
            Request::Generate(request) => lanes.generate(&request, &caller).map(Event::Generated),
        };
        // Nobody listens any more where the request was cancelled.
        let _ = caller.events.send(done.unwrap_or_else(Event::Failed));
    }
}
