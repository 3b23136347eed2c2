//! The near end of an engine in another process: requests go out with numbers, events come back to their callers. It
//! does not know what is at the other end.
//!
//! `connection` carries values, made of bytes by `frame`.

pub mod connection;
mod frame;

use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::caller::PendingRequest;
use super::error::EngineError;
use super::event::Event;
use super::options::ModelInfo;
use super::request::Request;
use connection::{Connection, ConnectionError};

/// A request's number in its connection; the asking end chooses it, and never twice.
pub type Id = u64;

/// What the asking end sends once the model is loaded.
#[derive(Debug, Serialize, Deserialize)]
pub enum ClientMessage {
    Ask {
        id: Id,
        request: Box<Request>,
    },
    /// The answer is no longer wanted.
    Cancel {
        id: Id,
    },
}

/// An engine's answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct EngineMessage {
    pub id: Id,
    pub event: Event,
}

/// A handle to an engine elsewhere; the connection ends with it.
#[derive(Debug)]
pub struct Link {
    pub info: ModelInfo,
    /// The engine's process, where it is a child of this one.
    pub pid: Option<u32>,
    commands: mpsc::UnboundedSender<PendingRequest>,
    ended: watch::Receiver<Option<EngineError>>,
}

/// Carries a link's messages, in a task of its own.
#[derive(Debug)]
pub struct Driver {
    connection: Connection,
    commands: mpsc::UnboundedReceiver<PendingRequest>,
    ended: watch::Sender<Option<EngineError>>,
    open: HashMap<Id, OpenRequest>,
    next: Id,
}

/// A request whose last event has not come.
#[derive(Debug)]
struct OpenRequest {
    events: mpsc::UnboundedSender<Event>,
    /// Ends the watch over its cancellation.
    watch: AbortHandle,
}

/// Why a driver has nothing more to do.
#[derive(Debug)]
pub enum LinkEnd {
    /// The last handle is gone, and no request is open.
    Unwanted,
    Lost(ConnectionError),
}

impl Link {
    /// A link over a connection whose other end has loaded a model.
    pub fn new(connection: Connection, info: ModelInfo, pid: Option<u32>) -> (Link, Driver) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (ended, end) = watch::channel(None);
        let driver = Driver { connection, commands: inbox, ended, open: HashMap::new(), next: 0 };
        (Link { info, pid, commands, ended: end }, driver)
    }

    /// Queues a request; where the link has ended, the request fails with the reason.
    pub fn send(&self, command: PendingRequest) {
        if let Err(mpsc::error::SendError(command)) = self.commands.send(command) {
            let reason = self.ended.borrow().clone().unwrap_or(EngineError::Stopped);
            let _ = command.events.send(Event::Failed(reason));
        }
    }

    /// Why the link has ended, once it has.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<Option<EngineError>> {
        self.ended.clone()
    }
}

impl Driver {
    /// Carries requests and events until the last handle is gone and no request is open, or until the connection has ended. Open
    /// requests then learn why from [`ClosedLink::tell`].
    pub async fn run(&mut self) -> LinkEnd {
        let mut leaving = FuturesUnordered::new();
        let mut is_wanted = true;
        while is_wanted || !self.open.is_empty() {
            tokio::select! {
                command = self.commands.recv(), if is_wanted => match command {
                    Some(command) => {
                        let Some((id, events)) = self.ask(command) else { continue };
                        let (watch, registration) = AbortHandle::new_pair();
                        self.open.insert(id, OpenRequest { events: events.clone(), watch });
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
                        self.connection.push(&ClientMessage::Cancel { id }).expect("two numbers are no long message");
                    }
                }
                turned = self.connection.turn() => {
                    if let Err(lost) = turned.and_then(|()| self.deliver()) {
                        return LinkEnd::Lost(lost);
                    }
                }
            }
        }
        LinkEnd::Unwanted
    }

    /// Sends a request; gives its number and the channel of its events.
    fn ask(&mut self, command: PendingRequest) -> Option<(Id, mpsc::UnboundedSender<Event>)> {
        let PendingRequest { request, events, .. } = command;
        let id = self.next;
        self.next += 1;
        match self.connection.push(&ClientMessage::Ask { id, request: Box::new(request) }) {
            Ok(()) => Some((id, events)),
            Err(error) => {
                let _ = events.send(Event::Failed(EngineError::Unsendable { reason: error.to_string() }));
                None
            }
        }
    }

    /// Passes events that have come to their requests' channels. An event without a request was on its way when its
    /// request was cancelled.
    fn deliver(&mut self) -> Result<(), ConnectionError> {
        while let Some(EngineMessage { id, event }) = self.connection.take()? {
            if event.is_last() {
                if let Some(OpenRequest { events, watch }) = self.open.remove(&id) {
                    let _ = events.send(event);
                    watch.abort();
                }
            } else if let Some(OpenRequest { events, .. }) = self.open.get(&id) {
                let _ = events.send(event);
            }
        }
        Ok(())
    }

    /// Closes the connection and keeps the open requests.
    pub fn hang_up(self) -> ClosedLink {
        let Driver { commands, ended, open, .. } = self;
        ClosedLink { commands, ended, open }
    }
}

/// A link whose connection is closed, with the requests that are still open.
#[derive(Debug)]
pub struct ClosedLink {
    commands: mpsc::UnboundedReceiver<PendingRequest>,
    ended: watch::Sender<Option<EngineError>>,
    open: HashMap<Id, OpenRequest>,
}

impl ClosedLink {
    /// Fails the open requests, and every later one, with the reason.
    pub async fn tell(mut self, why: EngineError) {
        // In this order: a sender that finds the channel closed must find the reason.
        self.ended.send_replace(Some(why.clone()));
        self.commands.close();
        for (_, OpenRequest { events, .. }) in self.open.drain() {
            let _ = events.send(Event::Failed(why.clone()));
        }
        while let Some(PendingRequest { events, .. }) = self.commands.recv().await {
            let _ = events.send(Event::Failed(why.clone()));
        }
    }
}
