//! Open text under limits: checked when it is finished, and requested once more if that was asked for.

use std::time::Instant;

use super::ask::{Ask, Turn};
use super::pieces::Finished;
use super::reply::Reply;
use super::{InferError, Responder};
use slm_engine::{Detail, EngineError, Finish};
use slm_values::limits::{Breach, Limits};

/// What becomes of an answer that breaks a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    #[default]
    Never,
    /// The model is asked once more, with the limits after the person's text.
    Once,
}

/// A reply that must keep limits. Dropping it cancels it.
#[derive(Debug)]
#[must_use = "dropping it cancels the request"]
pub struct LimitedReply<'s> {
    responder: &'s Responder,
    limits: &'s Limits,
    reply: Reply,
    /// What may be asked once more.
    again: Option<Box<Turn>>,
    started: Instant,
}

/// A finished answer with what it breaks.
#[derive(Debug, Clone)]
pub struct Limited {
    pub finished: Finished,
    /// Empty where the answer keeps every limit.
    pub breaches: Vec<Breach>,
    /// What a first answer broke, where this is a second one.
    pub before: Option<Vec<Breach>>,
}

impl<'s> LimitedReply<'s> {
    /// Asks, and returns at once.
    ///
    /// # Errors
    /// As [`Responder::ask`].
    pub fn ask(responder: &'s Responder, ask: Ask, limits: &'s Limits, retry: Retry) -> Result<Self, InferError> {
        let started = Instant::now();
        let again = match &ask {
            Ask::Turn(turn) if retry == Retry::Once && !limits.is_empty() => Some(turn.clone()),
            _ => None,
        };
        Ok(LimitedReply { responder, limits, reply: responder.ask(ask)?, again, started })
    }

    /// Waits for the answer and checks it; may ask once more.
    ///
    /// # Errors
    /// As [`Reply::whole`]. If the second question does not fit, the first answer stands.
    pub async fn whole(self) -> Result<Limited, InferError> {
        let LimitedReply { responder, limits, reply, again, started } = self;
        let first = checked(reply.whole().await?, limits);
        let Some(turn) = again.filter(|_| !first.breaches.is_empty()) else { return Ok(first) };
        let second = async { responder.ask(reminded(*turn, limits))?.whole().await };
        match second.await {
            Ok(mut finished) => {
                finished.end.elapsed = started.elapsed();
                let mut second = checked(finished, limits);
                second.breaches.extend(limits.check_second(&second.finished.text));
                Ok(Limited { before: Some(first.breaches), ..second })
            }
            Err(InferError::Engine(EngineError::Context { .. })) => Ok(first),
            Err(error) => Err(error),
        }
    }
}

/// The turn with the limits after its last message. The first answer is left out, and what is wrong about it: small models
/// copy both.
fn reminded(mut turn: Turn, limits: &Limits) -> Turn {
    if let Some(message) = turn.chat_mut().and_then(|chat| chat.messages.last_mut()) {
        message.content = format!("{}\n\n{}", message.content, limits.request());
    }
    // The fields of a second answer are not looked into: they would be extracted from more than the person's text.
    Turn { detail: Detail::Text, ..turn }
}

fn checked(finished: Finished, limits: &Limits) -> Limited {
    let breaches = match finished.end.finish {
        _ if limits.is_empty() => Vec::new(),
        Finish::Length => vec![Breach::Unfinished { n_tokens: finished.end.counts.generated }],
        Finish::Stop => limits.check(&finished.text),
    };
    Limited { finished, breaches, before: None }
}
