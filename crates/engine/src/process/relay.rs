//! The far end of an engine: what comes over a connection goes to the engine, its events go back, and a request that was cancelled
//! or whose connection is gone costs nothing from its next decode on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::task::{Poll, ready};

use futures_util::StreamExt as _;
use futures_util::future::AbortHandle;
use futures_util::stream::{self, Abortable, SelectAll, Stream};
use tokio::sync::mpsc;

use crate::link::connection::{Connection, ConnectionError};
use crate::link::{ClientMessage, EngineMessage, Id};
use crate::{Engine, EngineError, Event};

/// Why a relay has ended.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("request {0} was sent twice")]
    Twice(Id),
}

/// Serves a connection until it ends; requests that are still open then are cancelled.
pub async fn relay(engine: &Engine, connection: &mut Connection) -> RelayError {
    let mut open: HashMap<Id, AbortHandle> = HashMap::new();
    let mut answers = SelectAll::new();
    loop {
        tokio::select! {
            turned = connection.turn() => {
                if let Err(error) = turned {
                    return error.into();
                }
                loop {
                    match connection.take() {
                        Ok(Some(ClientMessage::Ask { id, request })) => {
                            let Entry::Vacant(vacant) = open.entry(id) else { return RelayError::Twice(id) };
                            let (handle, registration) = AbortHandle::new_pair();
                            vacant.insert(handle);
                            answers.push(Abortable::new(events(id, engine.send(*request)), registration));
                        }
                        Ok(Some(ClientMessage::Cancel { id })) => {
                            // One that was answered meanwhile is not there any more.
                            if let Some(handle) = open.remove(&id) {
                                handle.abort();
                            }
                        }
                        Ok(None) => break,
                        Err(error) => return ConnectionError::from(error).into(),
                    }
                }
            }
            Some(answer) = answers.next() => {
                if answer.event.is_last() {
                    open.remove(&answer.id);
                }
                let id = answer.id;
                if let Err(error) = connection.push(&answer) {
                    let failed = EngineError::Unsendable { reason: error.to_string() };
                    connection.push(&EngineMessage { id, event: Event::Failed(failed) }).expect("a short sentence is no long message");
                }
            }
        }
    }
}

/// A request's events up to its last. An engine that has stopped gives none, and the stream then ends with an error that says so.
fn events(id: Id, mut events: mpsc::UnboundedReceiver<Event>) -> impl Stream<Item = EngineMessage> + Unpin {
    let mut is_over = false;
    stream::poll_fn(move |context| {
        if is_over {
            return Poll::Ready(None);
        }
        let event = ready!(events.poll_recv(context)).unwrap_or(Event::Failed(EngineError::Stopped));
        is_over = event.is_last();
        Poll::Ready(Some(EngineMessage { id, event }))
    })
}
