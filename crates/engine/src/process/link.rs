//! The near end of an engine elsewhere: requests go out with numbers, events come back to whoever waits for them. It does not
//! know who is at the other end.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use super::line::{Line, LineError};
use super::{Answer, Id, Order};
use crate::run::Command;
use crate::{EngineError, Event, ModelInfo};

/// A handle to an engine elsewhere; the connection ends with it.
#[derive(Debug)]
pub struct Link {
    pub info: ModelInfo,
    /// The engine's process, where it is a child of this one.
    pub pid: Option<u32>,
    commands: mpsc::UnboundedSender<Command>,
    ended: watch::Receiver<Option<EngineError>>,
}

/// What drives a link, on a thread of its own.
#[derive(Debug)]
pub struct Driver {
    line: Line,
    commands: mpsc::UnboundedReceiver<Command>,
    ended: watch::Sender<Option<EngineError>>,
    open: HashMap<Id, Open>,
    next: Id,
}

/// Who waits for a request's events.
#[derive(Debug)]
struct Open {
    events: mpsc::UnboundedSender<Event>,
    /// Ends the watch over whether somebody still does.
    watch: AbortHandle,
}

/// Why a driver has nothing more to do.
#[derive(Debug)]
pub enum End {
    /// The last handle is gone, and nobody waits.
    Unwanted,
    Lost(LineError),
}

impl Link {
    /// A link over a line whose other end has loaded a model.
    pub fn new(line: Line, info: ModelInfo, pid: Option<u32>) -> (Link, Driver) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (ended, end) = watch::channel(None);
        let driver = Driver { line, commands: inbox, ended, open: HashMap::new(), next: 0 };
        (Link { info, pid, commands, ended: end }, driver)
    }

    /// Queues a command; where the link is over, it fails with the reason.
    pub fn send(&self, command: Command) {
        if let Err(mpsc::error::SendError(command)) = self.commands.send(command) {
            let reason = self.ended.borrow().clone().unwrap_or(EngineError::Stopped);
            let _ = command.events.send(Event::Failed(reason));
        }
    }

    /// Why the link is over, once it is.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<Option<EngineError>> {
        self.ended.clone()
    }
}

impl Driver {
    /// Carries requests and events until nobody wants any more, or none can come. Whoever still waits then learns why from
    /// [`Driver::end`].
    pub async fn run(&mut self) -> End {
        let mut leaving = FuturesUnordered::new();
        let mut is_wanted = true;
        while is_wanted || !self.open.is_empty() {
            tokio::select! {
                command = self.commands.recv(), if is_wanted => match command {
                    Some(command) => {
                        let Some((id, events)) = self.ask(command) else { continue };
                        let (watch, registration) = AbortHandle::new_pair();
                        self.open.insert(id, Open { events: events.clone(), watch });
                        let left = async move {
                            events.closed().await;
                            id
                        };
                        leaving.push(Abortable::new(left, registration));
                    }
                    None => is_wanted = false,
                },
                Some(left) = leaving.next() => {
                    if let Ok(id) = left && self.open.remove(&id).is_some() {
                        self.line.push(&Order::Cancel { id }).expect("two numbers are no long message");
                    }
                }
                turned = self.line.turn() => {
                    if let Err(lost) = turned.and_then(|()| self.deliver()) {
                        return End::Lost(lost);
                    }
                }
            }
        }
        End::Unwanted
    }

    /// Sends a request; gives its number and who waits for it.
    fn ask(&mut self, command: Command) -> Option<(Id, mpsc::UnboundedSender<Event>)> {
        let Command { request, events, .. } = command;
        let id = self.next;
        self.next += 1;
        match self.line.push(&Order::Ask { id, request: Box::new(request) }) {
            Ok(()) => Some((id, events)),
            Err(error) => {
                let _ = events.send(Event::Failed(EngineError::Unsendable { reason: error.to_string() }));
                None
            }
        }
    }

    /// Gives the events that have come to those who wait for them. An event that nobody waits for was on its way when its
    /// request was cancelled.
    fn deliver(&mut self) -> Result<(), LineError> {
        while let Some(Answer { id, event }) = self.line.take()? {
            if event.is_last() {
                if let Some(Open { events, watch }) = self.open.remove(&id) {
                    let _ = events.send(event);
                    watch.abort();
                }
            } else if let Some(Open { events, .. }) = self.open.get(&id) {
                let _ = events.send(event);
            }
        }
        Ok(())
    }

    /// Closes the line and keeps what must be told.
    pub fn hang_up(self) -> Ending {
        let Driver { commands, ended, open, .. } = self;
        Ending { commands, ended, open }
    }
}

/// A link whose line is closed, and those who still wait.
#[derive(Debug)]
pub struct Ending {
    commands: mpsc::UnboundedReceiver<Command>,
    ended: watch::Sender<Option<EngineError>>,
    open: HashMap<Id, Open>,
}

impl Ending {
    /// Tells everybody who waits, and everybody who asks from now on, why nothing comes.
    pub async fn tell(mut self, why: EngineError) {
        // In this order: whoever finds the channel closed finds the reason as well.
        self.ended.send_replace(Some(why.clone()));
        self.commands.close();
        for (_, Open { events, .. }) in self.open.drain() {
            let _ = events.send(Event::Failed(why.clone()));
        }
        while let Some(Command { events, .. }) = self.commands.recv().await {
            let _ = events.send(Event::Failed(why.clone()));
        }
    }
}
