//! Several replies to one request at once, and all of a reply as one value.

use std::sync::Arc;

use futures_util::future::select_all;

use super::problem::{Kind, Problem};
use super::service::{Answering, Opened, Service, TurnRequest};
use super::stream::Source;
use slm_infer::infer::{Finished, Piece, Pieces};
use slm_values::tools::MAX_CALLS;

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

/// Asks a model that is held for several answers to each of these at once; those to the first come first. Of the answers to
/// one, each but the first has another seed, where one was given.
///
/// # Errors
/// See [`Kind`].
pub async fn ask_all(
    service: &Service,
    opened: &Arc<Opened>,
    requests: Vec<TurnRequest>,
    n_each: usize,
) -> Result<Vec<Answering>, Problem> {
    let mut answering = Vec::with_capacity(requests.len() * n_each);
    for request in requests {
        let ready = service.ready(opened, request).await?;
        let numbers = 0..u32::try_from(n_each).unwrap_or(u32::MAX);
        for number in numbers {
            answering.push(service.send(opened.clone(), ready.nth(number))?);
        }
    }
    Ok(answering)
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

/// Waits for all of several replies.
///
/// # Errors
/// What ended one of them too early.
pub async fn all_whole(answering: Vec<Answering>) -> Result<Vec<Finished>, Problem> {
    let mut all = Vec::with_capacity(answering.len());
    for answering in answering {
        all.push(whole(answering).await?);
    }
    Ok(all)
}

/// Waits for all of a reply.
///
/// # Errors
/// What ended it too early.
pub async fn whole(mut answering: Answering) -> Result<Finished, Problem> {
    let mut pieces = Pieces::default();
    while let Some(piece) = answering.next().await? {
        if let Some(whole) = pieces.add(piece) {
            return Ok(whole);
        }
    }
    Err(Problem::new(Kind::Failed, "the answer is incomplete: its last part is missing"))
}
