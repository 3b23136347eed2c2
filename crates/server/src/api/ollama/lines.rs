//! An answer as lines of JSON, or as one object.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::types::reply::{ChatResponse, DoneReason, GenerateResponse, ReplyCall, ReplyMessage, Tail};
use crate::api::dialect::Dialect;
use crate::api::problem::Problem;
use crate::api::stream::Encoder;
use slm_engine::{Token, TokenLogprob};
use slm_infer::infer::{Finished, Piece};

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// A line for each of its parts.
    Lines,
    /// One object.
    Whole,
}

impl Delivery {
    /// As a request's `stream` says: lines, unless it says no.
    #[must_use]
    pub fn of(stream: Option<bool>) -> Delivery {
        if stream == Some(false) { Delivery::Whole } else { Delivery::Lines }
    }
}

/// Which of the two an answer is for.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    Generate,
    Chat,
}

/// Writes a line for each piece.
#[derive(Debug)]
pub struct Lines {
    pub shape: Shape,
    /// The model's name as the request has it.
    pub model: String,
    pub timestamp: fn(SystemTime) -> String,
    /// Time that the request waited for the model to load.
    pub load: Duration,
}

/// What a line says.
#[derive(Debug, Default)]
struct Said {
    text: String,
    thinking: Option<String>,
    calls: Vec<ReplyCall>,
    /// The tokens of the conversation so far.
    context: Vec<Token>,
}

impl Lines {
    /// All of an answer as one object.
    pub fn whole(&self, finished: Finished) -> Response {
        let Finished { text, tokens, thinking, calls, end } = finished;
        let thinking = (!thinking.is_empty()).then_some(thinking);
        let (calls, context) = (calls.into_iter().map(ReplyCall::from).collect(), end.context.clone());
        let said = Said { text, thinking, calls, context };
        self.object(said, Tail { logprobs: logprobs(&tokens), ..Tail::end(&end, self.load) })
    }

    /// The one line of a request that asks nothing.
    pub fn nothing_asked(&self, reason: DoneReason) -> Response {
        self.object(Said::default(), Tail::nothing_asked(reason))
    }

    fn object(&self, said: Said, tail: Tail) -> Response {
        match self.shape {
            Shape::Generate => Json(self.generated(said, tail)).into_response(),
            Shape::Chat => Json(self.chatted(said, tail)).into_response(),
        }
    }

    fn line(&self, said: Said, tail: Tail, out: &mut String) {
        match self.shape {
            Shape::Generate => write(&self.generated(said, tail), out),
            Shape::Chat => write(&self.chatted(said, tail), out),
        }
    }

    fn generated(&self, said: Said, tail: Tail) -> GenerateResponse {
        let Said { text: response, thinking, context, .. } = said;
        GenerateResponse { model: self.model.clone(), created_at: self.now(), response, thinking, context, tail }
    }

    fn chatted(&self, said: Said, tail: Tail) -> ChatResponse {
        let Said { text: content, thinking, calls: tool_calls, .. } = said;
        let message = ReplyMessage { role: "assistant", content, thinking, tool_calls };
        ChatResponse { model: self.model.clone(), created_at: self.now(), message, tail }
    }

    fn now(&self) -> String {
        (self.timestamp)(SystemTime::now())
    }
}

impl Encoder for Lines {
    fn piece(&mut self, piece: Piece, out: &mut String) {
        let mut tail = Tail::default();
        let said = match piece {
            Piece::Text(piece) => {
                tail.logprobs = logprobs(&piece.tokens);
                Said { text: piece.text, ..Said::default() }
            }
            Piece::Thinking(text) => Said { thinking: Some(text), ..Said::default() },
            Piece::Call(call) => Said { calls: vec![call.into()], ..Said::default() },
            Piece::End(end) => {
                tail = Tail::end(&end, self.load);
                Said { context: end.context, ..Said::default() }
            }
        };
        self.line(said, tail, out);
    }

    fn problem(&mut self, problem: &Problem, out: &mut String) {
        write(&Dialect::Ollama.body(problem), out);
    }
}

fn logprobs(tokens: &[TokenLogprob]) -> Vec<super::types::reply::Logprob> {
    tokens.iter().map(Into::into).collect()
}

/// A line. JSON holds no line break of its own.
pub fn write(line: &impl Serialize, out: &mut String) {
    *out += &serde_json::to_string(line).expect("a line is plain data");
    out.push('\n');
}
