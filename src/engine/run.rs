//! The engine's thread: takes one request after the other and answers with events. It knows nothing of llama.cpp's types.

use std::thread::JoinHandle;
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

/// The engine's thread, seen from outside. Dropping it waits until the thread has ended, at its next decode: a process that
/// left while native code runs would pull the ground from under it.
#[derive(Debug)]
pub struct Thread {
    commands: Option<mpsc::UnboundedSender<Command>>,
    handle: Option<JoinHandle<()>>,
    pub info: ModelInfo,
}

impl Thread {
    /// Queues a command. A stopped engine drops it and with it the sender of its events: the receiver sees the end.
    pub fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.commands.take());
        // A panic of the engine was seen by whoever waited for its events.
        let _ = self.handle.take().map(JoinHandle::join);
    }
}

/// Loads the model on a new thread; returns when it is loaded or refused.
pub fn spawn(options: Options) -> Result<Thread, EngineError> {
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
    let handle =
        thread.map_err(|error| EngineError::Load { reason: format!("no thread could be started: {error}") })?;
    match loaded.recv() {
        Ok(Ok(info)) => Ok(Thread { commands: Some(commands), handle: Some(handle), info }),
        refused => {
            let _ = handle.join();
            Err(refused.map_or(EngineError::Stopped, |refused| refused.err().unwrap_or(EngineError::Stopped)))
        }
    }
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
