//! A reply as a stream of pieces, and all of it as one value; no thread waits for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::InferError;
use super::epilogue::{Closing, Epilogue};
use super::reader::{Last, Reader};
use crate::contract::Violation;
use crate::decide::{Answer, FieldAnswer};
use crate::engine::{Counts, Embeddings, EngineError, Event, Finish, Piece as Written, Timings, Token, TokenLogprob};
use crate::extract;
use crate::tools::ToolCall;

/// A part of a reply.
#[derive(Debug, Clone)]
pub enum Piece {
    /// With the tokens that wrote it, where they are wanted. A closed answer is one token, whose alternatives are the other
    /// answers.
    Text(Written),
    /// What the model thinks before it answers.
    Thinking(String),
    /// A whole call of a tool.
    Call(ToolCall),
    /// The last.
    End(Box<End>),
}

/// How a reply ended, with what it took.
#[derive(Debug, Clone)]
pub struct End {
    pub finish: Finish,
    /// The stop string that ended it; `None` where the model ended its turn, or something else did.
    pub stopped_by: Option<String>,
    pub counts: Counts,
    pub timings: Timings,
    /// From the question to the answer.
    pub elapsed: Duration,
    pub finding: Finding,
    /// What is known of each field of an answer that meets its schema, where [`Detail::Tokens`](crate::engine::Detail) asks
    /// for that.
    pub fields: Option<Vec<extract::Field>>,
    /// Identifies the prompt without the text: template, system, examples, contract and the wording of all of it.
    pub prompt_digest: String,
    /// Under which equal questions have equal probabilities.
    pub evaluation_id: String,
    /// The tokens after which the conversation goes on, where it is kept in tokens.
    pub context: Vec<Token>,
}

/// What came of the form that was asked for.
#[derive(Debug, Clone)]
pub enum Finding {
    /// Nothing had to be met.
    Free,
    /// The answer of a closed form, or to a typed question, with its probabilities.
    Closed(Answer),
    /// The answer as an open form reads it, or how it breaks that form.
    Open(Result<Value, Violation>),
    Vectors(Embeddings),
}

/// A reply on its way. Dropping it cancels it.
#[derive(Debug)]
#[must_use = "dropping it cancels the request"]
pub struct Reply {
    events: UnboundedReceiver<Event>,
    reader: Reader,
    epilogue: Option<Epilogue>,
    /// What is awaited behind the last event.
    closing: Option<Closing>,
    /// Made, and not yet given.
    made: VecDeque<Piece>,
    is_over: bool,
    origin: Origin,
}

/// What a reply comes of.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub started: Instant,
    pub prompt_digest: String,
    pub evaluation_id: String,
}

/// All of a reply.
#[derive(Debug, Clone)]
pub struct Finished {
    pub text: String,
    /// What wrote the text, where its tokens are told.
    pub tokens: Vec<TokenLogprob>,
    /// What the model thought before it answered.
    pub thinking: String,
    pub calls: Vec<ToolCall>,
    pub end: Box<End>,
}

/// The pieces of a reply so far.
#[derive(Debug, Default)]
pub struct Pieces {
    text: String,
    tokens: Vec<TokenLogprob>,
    thinking: String,
    calls: Vec<ToolCall>,
}

impl Reply {
    pub(super) fn new(
        events: UnboundedReceiver<Event>,
        reader: Reader,
        epilogue: Option<Epilogue>,
        origin: Origin,
    ) -> Reply {
        Reply { events, reader, epilogue, closing: None, made: VecDeque::new(), is_over: false, origin }
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
            let event = self.events.recv().await;
            let last = self.reader.take(event, &mut self.made);
            self.is_over = !matches!(last, Ok(None));
            if let Some(last) = last? {
                self.end(last);
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

    /// Under which equal questions have equal probabilities.
    #[must_use]
    pub fn evaluation_id(&self) -> &str {
        &self.origin.evaluation_id
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
            context: Vec::new(),
        });
        match self.epilogue.take() {
            Some(epilogue) => self.closing = Some(epilogue.begin(end, last)),
            None => self.made.push_back(Piece::End(end)),
        }
    }
}

impl Pieces {
    /// Adds the next piece; the last one makes them whole.
    pub fn add(&mut self, piece: Piece) -> Option<Finished> {
        match piece {
            Piece::Text(piece) => {
                self.text += &piece.text;
                self.tokens.extend(piece.tokens);
            }
            Piece::Thinking(piece) => self.thinking += &piece,
            Piece::Call(call) => self.calls.push(call),
            Piece::End(end) => {
                let Pieces { text, tokens, thinking, calls } = std::mem::take(self);
                return Some(Finished { text, tokens, thinking, calls, end });
            }
        }
        None
    }
}

impl End {
    /// The closed answer with its probabilities, where the form is closed.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match &self.finding {
            Finding::Closed(answer) => Some(answer),
            Finding::Free | Finding::Open(_) | Finding::Vectors(_) => None,
        }
    }

    /// The fields of a closed answer, in the contract's order.
    #[must_use]
    pub fn closed_fields(&self) -> &[FieldAnswer] {
        self.answer().map_or(&[], |answer| &answer.fields)
    }

    /// How the text breaks its form, where it does; one that came to the limit of tokens does.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        match &self.finding {
            Finding::Open(Err(violation)) => Some(violation),
            Finding::Free | Finding::Closed(_) | Finding::Open(Ok(_)) | Finding::Vectors(_) => None,
        }
    }
}
