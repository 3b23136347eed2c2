//! What a reply says: its pieces, how it ended and what came of the form that was asked for, and all of it as one value.

use std::time::Duration;

use serde_json::Value;

use crate::decide::{Answer, FieldAnswer};
use crate::extract;
use slm_cascade::Step;
use slm_engine::{Counts, Embeddings, Finish, Piece as Written, PromptTokenLogprob, Timings, Token, TokenLogprob};
use slm_values::contract::Violation;
use slm_values::tools::ToolCall;

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
    /// What is known of each field of an answer that meets its schema, where [`Detail::Tokens`](slm_engine::Detail) asks
    /// for that.
    pub fields: Option<Vec<extract::Field>>,
    /// Identifies the prompt without the text: template, system, examples, contract and the wording of all of it.
    pub prompt_digest: String,
    /// Under which equal questions have equal probabilities, and equal texts equal vectors, to the last bit. `None` where the
    /// answer depends on what else the engine does: generated text, and answers that are scored for throughput.
    pub evaluation_id: Option<String>,
    /// The prompt's own tokens with their probabilities, where these were asked for.
    pub prompt_tokens: Vec<PromptTokenLogprob>,
    /// The hidden state before a closed answer, where it was asked for.
    pub state: Option<Vec<f32>>,
    /// The tokens after which the conversation continues, where it is kept in tokens.
    pub context: Vec<Token>,
    /// What it cost on other servers, in the currency of their prices; `None` where no other server was asked, or none with a
    /// price.
    pub cost: Option<f64>,
    /// The tiers of a cascade that the text went through; empty if the model is not a cascade.
    pub path: Vec<Step>,
    /// Why a person is to look at the text, whose answer is withheld: no tier's answer was taken.
    pub review: Option<String>,
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

impl Finished {
    /// The pieces of which it is made.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = Piece> {
        let Finished { text, tokens, thinking, calls, end } = self;
        let thinking = (!thinking.is_empty()).then_some(Piece::Thinking(thinking));
        let text = (!text.is_empty()).then_some(Piece::Text(Written { text, tokens }));
        thinking.into_iter().chain(text).chain(calls.into_iter().map(Piece::Call)).chain([Piece::End(end)])
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
