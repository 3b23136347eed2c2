//! The far end of an engine: what comes over a line goes to the engine, its events go back, and a request that was cancelled
//! or whose line is gone costs nothing from its next decode on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::task::{Poll, ready};

use futures_util::StreamExt as _;
use futures_util::future::AbortHandle;
use futures_util::stream::{self, Abortable, SelectAll, Stream};
use tokio::sync::mpsc;

use super::line::{Line, LineError};
use super::{Answer, Id, Order};
use crate::{Engine, EngineError, Event};

/// Why a relay is over.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("request {0} came twice")]
    Twice(Id),
}

/// Serves a line until it is over; every request that is open then is cancelled.
pub async fn relay(engine: &Engine, line: &mut Line) -> RelayError {
    let mut open: HashMap<Id, AbortHandle> = HashMap::new();
    let mut answers = SelectAll::new();
    loop {
        tokio::select! {
            turned = line.turn() => {
                if let Err(error) = turned {
                    return error.into();
                }
                loop {
                    match line.take() {
                        Ok(Some(Order::Ask { id, request })) => {
                            let Entry::Vacant(vacant) = open.entry(id) else { return RelayError::Twice(id) };
                            let (handle, registration) = AbortHandle::new_pair();
                            vacant.insert(handle);
                            answers.push(Abortable::new(events(id, engine.send(*request)), registration));
                        }
                        Ok(Some(Order::Cancel { id })) => {
                            // One that was answered meanwhile is not there any more.
                            if let Some(handle) = open.remove(&id) {
                                handle.abort();
                            }
                        }
                        Ok(None) => break,
                        Err(error) => return LineError::from(error).into(),
                    }
                }
            }
            Some(answer) = answers.next() => {
                if answer.event.is_last() {
                    open.remove(&answer.id);
                }
                let id = answer.id;
                if let Err(error) = line.push(&answer) {
                    let failed = EngineError::Unsendable { reason: error.to_string() };
                    line.push(&Answer { id, event: Event::Failed(failed) }).expect("a short sentence is no long message");
                }
            }
        }
    }
}

/// A request's events up to its last. An engine that has stopped gives none: then that is said.
fn events(id: Id, mut events: mpsc::UnboundedReceiver<Event>) -> impl Stream<Item = Answer> + Unpin {
    let mut is_over = false;
    stream::poll_fn(move |context| {
        if is_over {
            return Poll::Ready(None);
        }
        let event = ready!(events.poll_recv(context)).unwrap_or(Event::Failed(EngineError::Stopped));
        is_over = event.is_last();
        Poll::Ready(Some(Answer { id, event }))
    })
}
