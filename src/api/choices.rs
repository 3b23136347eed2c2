//! Several replies to one request at once, and all of a reply as one value.

use std::sync::Arc;

use futures_util::future::select_all;

use super::problem::{Kind, Problem};
use super::service::{Answering, Ask, Service};
use super::stream::Source;
use crate::engine::TokenLogprob;
use crate::infer::{End, Piece};
use crate::sampling::Parameters;
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

/// Asks one model for several answers to each of these at once; those to the first come first. Of the answers to one, each but
/// the first has another seed, where one was given.
///
/// # Errors
/// See [`Kind`].
pub async fn ask_all(service: &Service, asks: &[Ask], n_each: usize) -> Result<Vec<Answering>, Problem> {
    let Some(Ask { model, parameters, keep_alive, .. }) = asks.first() else { return Ok(Vec::new()) };
    let opened = Arc::new(service.open(model, parameters, *keep_alive).await?);
    let own_seed = if n_each > 1 { service.model(model)?.parameters.seed } else { None };
    let mut answering = Vec::with_capacity(asks.len() * n_each);
    for ask in asks {
        for number in 0..n_each {
            let seed = ask.parameters.seed.or(own_seed).map(|seed| nth_seed(seed, number));
            let parameters = Parameters { seed, ..ask.parameters.clone() };
            answering.push(service.ask_opened(opened.clone(), Ask { parameters, ..ask.clone() })?);
        }
    }
    Ok(answering)
}

/// The seed of one of several answers; a negative one is random, and stays so.
fn nth_seed(seed: i64, number: usize) -> i64 {
    if seed < 0 { seed } else { (seed + number as i64) % (i64::from(u32::MAX) + 1) }
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
    /// Waits for all of several replies.
    ///
    /// # Errors
    /// What ended one of them too early.
    pub async fn all(answering: Vec<Answering>) -> Result<Vec<Finished>, Problem> {
        let mut finished = Vec::with_capacity(answering.len());
        for answering in answering {
            finished.push(Finished::of(answering).await?);
        }
        Ok(finished)
    }

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

#[cfg(test)]
mod tests {
    use super::nth_seed;

    #[test]
    fn seeds_follow_each_other() {
        assert_eq!([nth_seed(7, 0), nth_seed(7, 2), nth_seed(-1, 2), nth_seed(u32::MAX.into(), 1)], [7, 9, -1, 0]);
    }
}
