//! Several replies to one request at once, and all of a reply as one value.

use futures_util::future::select_all;

use super::problem::{Kind, Problem};
use super::service::Answering;
use super::stream::Source;
use crate::engine::TokenLogprob;
use crate::infer::{End, Piece};
use crate::tools::{MAX_CALLS, ToolCall};

/// Replies that are made at the same time. Dropping them cancels all.
#[derive(Debug)]
pub struct Choices {
    /// With the reply's number; those that are over have left.
    running: Vec<(usize, Answering)>,
}

impl Choices {
    #[must_use]
    pub fn new(answering: Vec<Answering>) -> Choices {
        Choices { running: answering.into_iter().enumerate().collect() }
    }
}

impl Source for Choices {
    /// A piece with the number of its reply.
    type Item = (usize, Piece);

    async fn next(&mut self) -> Result<Option<(usize, Piece)>, Problem> {
        while !self.running.is_empty() {
            let waiting = self.running.iter_mut().map(|(_, answering)| Box::pin(answering.next()));
            let (piece, at, _) = select_all(waiting).await;
            match piece? {
                Some(piece) => return Ok(Some((self.running[at].0, piece))),
                None => drop(self.running.remove(at)),
            }
        }
        Ok(None)
    }
}

/// How many calls of tools an answer may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    Any,
    One,
}

impl Calls {
    #[must_use]
    pub fn most(self) -> usize {
        match self {
            Calls::Any => MAX_CALLS,
            Calls::One => 1,
        }
    }
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

impl Finished {
    /// Waits for all of a reply.
    ///
    /// # Errors
    /// What ended it too early.
    pub async fn of(mut answering: Answering) -> Result<Finished, Problem> {
        let (mut text, mut tokens) = (String::new(), Vec::new());
        let (mut thinking, mut calls) = (String::new(), Vec::new());
        while let Some(piece) = answering.next().await? {
            match piece {
                Piece::Text(piece) => {
                    text += &piece.text;
                    tokens.extend(piece.tokens);
                }
                Piece::Thinking(piece) => thinking += &piece,
                Piece::Call(call) => calls.push(call),
                Piece::End(end) => return Ok(Finished { text, tokens, thinking, calls, end }),
            }
        }
        Err(Problem::new(Kind::Failed, "the answer ended without its last part"))
    }
}
