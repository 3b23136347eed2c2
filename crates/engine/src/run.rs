//! The engine's two threads: one makes tokens and grammars of requests, the other evaluates. They know nothing of
//! llama.cpp's types.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::llama::{Alone, Model, Prepared, Work};
use super::{EngineError, Event, ModelInfo, Options, Piece, Request};

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
    sent: Instant,
}

impl Caller {
    /// From sending the request until now.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.sent.elapsed()
    }

    /// Gives an event. Nobody listens any more where the request was cancelled.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

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
    pub fn piece(&self, piece: Piece) -> Result<(), EngineError> {
        if piece.text.is_empty() && piece.tokens.is_empty() {
            return self.check();
        }
        self.events.send(Event::Text(piece)).map_err(|_| EngineError::Cancelled)
    }
}

/// The engine's thread, seen from outside. Dropping it waits until the thread has ended, at its next decode: a process that
/// left while native code runs would pull the ground from under it.
#[derive(Debug)]
pub struct Thread {
    commands: Option<mpsc::UnboundedSender<Command>>,
    handle: Option<JoinHandle<()>>,
    ended: watch::Receiver<Option<EngineError>>,
    pub info: ModelInfo,
}

impl Thread {
    /// Queues a command. A stopped engine drops it and with it the sender of its events: the receiver sees the end.
    pub fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }

    /// Closed when the thread has ended.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<Option<EngineError>> {
        self.ended.clone()
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
    let (running, ended) = watch::channel(None);
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        match Model::load(&options) {
            Ok(model) => {
                let info = model.info().clone();
                if ready.send(Ok(info)).is_ok() {
                    serve(&model, inbox);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        }
        // The model's memory is free by now.
        drop(running);
    });
    let handle =
        thread.map_err(|error| EngineError::Load { reason: format!("no thread could be started: {error}") })?;
    match loaded.recv() {
        Ok(Ok(info)) => Ok(Thread { commands: Some(commands), handle: Some(handle), ended, info }),
        refused => {
            let _ = handle.join();
            Err(refused.map_or(EngineError::Stopped, |refused| refused.err().unwrap_or(EngineError::Stopped)))
        }
    }
}

fn serve(model: &Model, inbox: mpsc::UnboundedReceiver<Command>) {
    std::thread::scope(|scope| {
        let (prepared, mut work) = mpsc::unbounded_channel();
        let preparer = std::thread::Builder::new().name("tokenizer".to_owned());
        if preparer.spawn_scoped(scope, move || prepare(model, inbox, &prepared)).is_err() {
            return;
        }
        evaluate(model, &mut work);
        // Whoever still prepares something sees that nobody takes it.
        drop(work);
    });
}

/// Makes tokens of texts and answers at once what needs no more than that.
fn prepare(model: &Model, mut inbox: mpsc::UnboundedReceiver<Command>, work: &mpsc::UnboundedSender<(Work, Caller)>) {
    while let Some(Command { request, events, sent }) = inbox.blocking_recv() {
        let caller = Caller { events, sent };
        if caller.check().is_err() {
            continue;
        }
        match model.prepare(request) {
            Ok(Prepared::Answer(event)) => caller.send(event),
            Ok(Prepared::Work(ready)) => {
                if work.send((ready, caller)).is_err() {
                    return;
                }
            }
            Err(error) => caller.send(Event::Failed(error)),
        }
    }
}

/// Evaluates until nothing is left and nobody can send more. Between two steps of the generation lane at most one question of
/// the score lane or one request for embeddings is answered, so neither waits for all of the other.
fn evaluate(model: &Model, work: &mut mpsc::UnboundedReceiver<(Work, Caller)>) {
    let mut lanes = model.lanes();
    let mut questions: std::collections::VecDeque<(Alone, Caller)> = std::collections::VecDeque::new();
    loop {
        let mut next =
            if lanes.is_idle() && questions.is_empty() { work.blocking_recv() } else { work.try_recv().ok() };
        if next.is_none() && lanes.is_idle() && questions.is_empty() {
            return;
        }
        while let Some((ready, caller)) = next {
            match ready {
                Work::Alone(question) => questions.push_back((question, caller)),
                other => lanes.submit(other, caller),
            }
            next = work.try_recv().ok();
        }
        if let Some((question, caller)) = questions.pop_front()
            && caller.check().is_ok()
        {
            caller.send(lanes.answer(&question, &caller).unwrap_or_else(Event::Failed));
        }
        lanes.step();
    }
}
