//! A reply in progress: the engine's events, read into pieces as they arrive; no thread waits for it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;

use super::InferError;
use super::epilogue::{Closing, Epilogue};
use super::pieces::{End, Finding, Finished, Piece, Pieces};
use super::reader::{Last, Reader, Taken};
use slm_engine::{Engine, EngineError, Event, Request};

/// A reply on its way. Dropping it cancels it.
#[derive(Debug)]
#[must_use = "dropping it cancels the request"]
pub struct Reply {
    source: Source,
    epilogue: Option<Epilogue>,
    /// What is awaited after the last event.
    closing: Option<Closing>,
    /// Made, and not yet given.
    made: VecDeque<Piece>,
    is_over: bool,
    origin: Origin,
}

/// What pieces are made of.
#[derive(Debug)]
enum Source {
    /// An engine's events; what is sent when these have said that not all is known.
    Events { events: UnboundedReceiver<Event>, reader: Box<Reader>, rest: Option<Box<Rest>> },
    /// Work that gives the whole answer at once.
    Work(Work),
}

/// A request that is sent where the first one's answer leaves something open.
#[derive(Debug)]
pub(super) struct Rest {
    pub engine: Engine,
    pub request: Request,
}

struct Work(Pin<Box<dyn Future<Output = Result<Finished, InferError>> + Send>>);

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// What a reply comes of.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub started: Instant,
    pub prompt_digest: String,
    /// See [`End::evaluation_id`].
    pub evaluation_id: Option<String>,
}

impl Reply {
    pub(super) fn new(
        events: UnboundedReceiver<Event>,
        reader: Reader,
        epilogue: Option<Epilogue>,
        origin: Origin,
    ) -> Reply {
        let source = Source::Events { events, reader: Box::new(reader), rest: None };
        Reply { source, epilogue, closing: None, made: VecDeque::new(), is_over: false, origin }
    }

    /// The same, with what is sent where this leaves something open.
    pub(super) fn then(mut self, rest: Rest) -> Reply {
        if let Source::Events { rest: open, .. } = &mut self.source {
            *open = Some(Box::new(rest));
        }
        self
    }

    /// The reply that some work gives at its end. Dropping it drops the work.
    pub(super) fn of_work(work: impl Future<Output = Result<Finished, InferError>> + Send + 'static) -> Reply {
        let origin = Origin { started: Instant::now(), prompt_digest: String::new(), evaluation_id: None };
        let source = Source::Work(Work(Box::pin(work)));
        Reply { source, epilogue: None, closing: None, made: VecDeque::new(), is_over: false, origin }
    }

    /// The next piece; `None` after the last. Nothing is lost where the future is dropped.
    ///
    /// # Errors
    /// See [`InferError`]; no piece comes after one.
    pub async fn next(&mut self) -> Result<Option<Piece>, InferError> {
        loop {
            if let Some(piece) = self.made.pop_front() {
                return Ok(Some(piece));
            }
            if let Some(closing) = &mut self.closing {
                let finished = closing.finish().await;
                let closing = self.closing.take();
                finished?;
                return Ok(closing.map(|closing| Piece::End(closing.end)));
            }
            if self.is_over {
                return Ok(None);
            }
            let taken = match &mut self.source {
                Source::Work(Work(work)) => {
                    let finished = work.await;
                    self.is_over = true;
                    self.made.extend(finished?.into_pieces());
                    continue;
                }
                Source::Events { events, reader, rest } => {
                    let taken = reader.take(events.recv().await, &mut self.made);
                    if let (Ok(Taken::Open), Some(Rest { engine, request })) = (&taken, rest.take().map(|rest| *rest)) {
                        *events = engine.send(request);
                    }
                    taken
                }
            };
            self.is_over = matches!(taken, Ok(Taken::Last(_)) | Err(_));
            if let Taken::Last(last) = taken? {
                self.end(*last);
            }
        }
    }

    /// Waits for all of it.
    ///
    /// # Errors
    /// See [`InferError`].
    pub async fn whole(mut self) -> Result<Finished, InferError> {
        let mut pieces = Pieces::default();
        while let Some(piece) = self.next().await? {
            if let Some(whole) = pieces.add(piece) {
                return Ok(whole);
            }
        }
        Err(EngineError::Stopped.into())
    }

    /// Whether its pieces come while it is written: work that gives the whole answer has no first one.
    #[must_use]
    pub fn comes_in_pieces(&self) -> bool {
        matches!(self.source, Source::Events { .. })
    }

    /// See [`End::evaluation_id`].
    #[must_use]
    pub fn evaluation_id(&self) -> Option<&str> {
        self.origin.evaluation_id.as_deref()
    }

    /// Nothing comes after this but what the end has to wait for.
    fn end(&mut self, mut last: Last) {
        let end = Box::new(End {
            finish: last.finish,
            stopped_by: last.stopped_by.take(),
            counts: last.counts,
            timings: last.timings,
            elapsed: self.origin.started.elapsed(),
            finding: std::mem::replace(&mut last.finding, Finding::Free),
            fields: None,
            prompt_digest: self.origin.prompt_digest.clone(),
            evaluation_id: self.origin.evaluation_id.clone(),
            prompt_tokens: std::mem::take(&mut last.prompt_tokens),
            state: last.state.take(),
            context: Vec::new(),
            cost: None,
            path: Vec::new(),
            review: None,
        });
        match self.epilogue.take() {
            Some(epilogue) => self.closing = Some(epilogue.begin(end, last)),
            None => self.made.push_back(Piece::End(end)),
        }
    }
}
