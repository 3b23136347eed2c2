//! The engine's two threads: one makes tokens and grammars of requests, the other evaluates. They know nothing of
//! llama.cpp's types.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

use super::caller::{Caller, PendingRequest};
use super::error::EngineError;
use super::event::Event;
use super::llama::{Alone, LaneWork, Lanes, Model, Preparation};
use super::options::{ModelInfo, Options};

/// The engine's thread, seen from outside. Dropping it waits until the thread has ended, at its next decode: a process that
/// left while native code runs would pull the ground from under it.
#[derive(Debug)]
pub struct Thread {
    commands: Option<mpsc::UnboundedSender<PendingRequest>>,
    handle: Option<JoinHandle<()>>,
    ended: watch::Receiver<Option<EngineError>>,
    pub info: ModelInfo,
}

impl Thread {
    /// Queues a command. A stopped engine drops it and with it the sender of its events: the receiver sees the end.
    pub fn send(&self, command: PendingRequest) {
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
        // Callers have seen a panic of the engine as the end of their events.
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
    let handle = thread.map_err(|error| EngineError::Load { reason: format!("cannot start a thread: {error}") })?;
    match loaded.recv() {
        Ok(Ok(info)) => Ok(Thread { commands: Some(commands), handle: Some(handle), ended, info }),
        refused => {
            let _ = handle.join();
            Err(refused.map_or(EngineError::Stopped, |refused| refused.err().unwrap_or(EngineError::Stopped)))
        }
    }
}

fn serve(model: &Model, inbox: mpsc::UnboundedReceiver<PendingRequest>) {
    std::thread::scope(|scope| {
        let (prepared, mut work) = mpsc::unbounded_channel();
        let preparer = std::thread::Builder::new().name("tokenizer".to_owned());
        if preparer.spawn_scoped(scope, move || prepare(model, inbox, &prepared)).is_err() {
            return;
        }
        evaluate(model, &mut work);
        // The preparing thread sees that its work has no receiver, and ends.
        drop(work);
    });
}

/// Makes tokens of texts and answers at once what needs no more than that.
fn prepare(
    model: &Model,
    mut inbox: mpsc::UnboundedReceiver<PendingRequest>,
    work: &mpsc::UnboundedSender<(LaneWork, Caller)>,
) {
    while let Some(command) = inbox.blocking_recv() {
        let (request, caller) = command.split();
        if caller.check().is_err() {
            continue;
        }
        match model.prepare(request) {
            Ok(Preparation::Answer(event)) => caller.send(event),
            Ok(Preparation::Work(ready)) => {
                if work.send((ready, caller)).is_err() {
                    return;
                }
            }
            Err(error) => caller.send(Event::Failed(error)),
        }
    }
}

/// Evaluates until nothing is left and no more can come. Between two steps of the generation lane at most one question of
/// the score lane or one request for embeddings is answered, so neither waits for all of the other.
fn evaluate(model: &Model, work: &mut mpsc::UnboundedReceiver<(LaneWork, Caller)>) {
    let mut lanes = Lanes::new(model);
    let mut questions: std::collections::VecDeque<(Alone, Caller)> = std::collections::VecDeque::new();
    loop {
        let mut next =
            if lanes.is_idle() && questions.is_empty() { work.blocking_recv() } else { work.try_recv().ok() };
        if next.is_none() && lanes.is_idle() && questions.is_empty() {
            return;
        }
        while let Some((ready, caller)) = next {
            match ready {
                LaneWork::Alone(question) => questions.push_back((question, caller)),
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
