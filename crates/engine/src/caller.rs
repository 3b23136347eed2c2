//! A request on its way to an engine, and its caller, who gets the events.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::error::EngineError;
use super::event::{Event, Piece};
use super::request::Request;

/// A request on its way to the engine's thread.
#[derive(Debug)]
pub struct PendingRequest {
    pub request: Request,
    pub events: mpsc::UnboundedSender<Event>,
    pub sent: Instant,
}

/// Where a request's events go.
#[derive(Debug)]
pub struct Caller {
    events: mpsc::UnboundedSender<Event>,
    sent: Instant,
}

impl PendingRequest {
    /// The request, and where its events go.
    pub fn split(self) -> (Request, Caller) {
        let PendingRequest { request, events, sent } = self;
        (request, Caller { events, sent })
    }
}

impl Caller {
    /// From sending the request until now.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.sent.elapsed()
    }

    /// Sends an event, which is dropped if the request was cancelled.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Called between decodes: a request is cancelled by dropping the receiver of its events.
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
