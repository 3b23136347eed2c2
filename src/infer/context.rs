//! A conversation that goes on behind tokens: what stands in front of a request's own messages, and what the next one begins
//! with.

use tokio::sync::mpsc::UnboundedReceiver;

use super::chat::End;
use super::{InferError, Session};
use crate::engine::{Engine, EngineError, Event, Request, Token};
use crate::prompt::{Prompt, Run};

/// How a conversation is kept between two requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Memory {
    /// All of its messages come with every request.
    #[default]
    Messages,
    /// Behind exactly these tokens a request's own messages begin, and its reply's end tells those with which the next
    /// begins. The Modelfile's system and examples are among them; where there are none, the conversation is new.
    Tokens(Vec<Token>),
}

impl Memory {
    /// Whether a conversation has begun before this request.
    pub(super) fn goes_on(&self) -> bool {
        matches!(self, Memory::Tokens(tokens) if !tokens.is_empty())
    }

    /// Puts what was said before in front of a request's own prompt.
    pub(super) fn lead(&self, prompt: &mut Prompt) {
        let Memory::Tokens(tokens) = self else { return };
        if tokens.is_empty() {
            return;
        }
        prompt.runs.insert(0, Run::Tokens(tokens.clone()));
        if let Some(place) = &mut prompt.row_start {
            place.run += 1;
        }
        if let Some(row) = &mut prompt.row {
            row.run += 1;
        }
    }
}

/// Tells the tokens of a conversation once its answer is there.
#[derive(Debug)]
pub(super) struct Teller {
    engine: Engine,
    prompt: Prompt,
    /// The token that ends the answer's turn: the next turn must not begin inside of it.
    turn_end: Option<String>,
    waiting: Option<(UnboundedReceiver<Event>, Box<End>)>,
}

impl Session {
    /// For the reply to this prompt, where its tokens are to be told.
    pub(super) fn teller(&self, memory: &Memory, prompt: &Prompt) -> Option<Teller> {
        let Memory::Tokens(_) = memory else { return None };
        let known = &self.engine.info().specials.control;
        let turn_end = self.turn_end.clone().filter(|end| known.contains(end));
        Some(Teller { engine: self.engine.clone(), prompt: prompt.clone(), turn_end, waiting: None })
    }
}

impl Teller {
    /// Asks for the tokens of the prompt with its answer.
    pub(super) fn ask(&mut self, answer: Run, end: Box<End>) {
        let mut prompt = std::mem::take(&mut self.prompt);
        prompt.runs.push(answer);
        prompt.runs.extend(self.turn_end.take().map(Run::Control));
        self.waiting = Some((self.engine.send(Request::Tokenize(prompt)), end));
    }

    /// The reply's end with its tokens; `None` where it has not come yet. Nothing is lost where the future is dropped.
    pub(super) async fn told(&mut self) -> Result<Option<Box<End>>, InferError> {
        let Some((events, _)) = &mut self.waiting else { return Ok(None) };
        let tokenized = match events.recv().await {
            Some(Event::Tokenized(tokenized)) => tokenized,
            Some(Event::Failed(error)) => return Err(error.into()),
            _ => return Err(EngineError::Stopped.into()),
        };
        let end = self.waiting.take().map(|(_, end)| end);
        let context = tokenized.tokens.into_iter().map(|token| token.id).collect();
        Ok(end.map(|end| Box::new(End { context, ..*end })))
    }
}
