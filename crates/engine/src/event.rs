//! What an engine answers: plain data, which may go to another process.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Token;
use super::error::EngineError;

/// An engine's answers. `Text` may come many times; every other event is a request's last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    Tokenized(Tokenized),
    Cut(Cut),
    Prepared,
    Scored(Scores),
    PromptLogprobs(PromptLogprobs),
    Embedded(Embeddings),
    Text(Piece),
    Generated(Generation),
    Measured(Measured),
    Failed(EngineError),
}

impl Event {
    /// Whether it is its request's last event.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self {
            Event::Text(_) => false,
            Event::Tokenized(_)
            | Event::Cut(_)
            | Event::Prepared
            | Event::Scored(_)
            | Event::PromptLogprobs(_)
            | Event::Embedded(_)
            | Event::Generated(_)
            | Event::Measured(_)
            | Event::Failed(_) => true,
        }
    }
}

/// A prompt as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokenized {
    pub tokens: Vec<PromptToken>,
    /// Tokens before the stable border; 0 if the prompt has no stable border.
    pub border: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptToken {
    pub id: Token,
    /// Its text; a token may be a part of a character.
    pub bytes: Vec<u8>,
    pub kind: TokenKind,
}

impl PromptToken {
    /// Its text, with U+FFFD for what is not a whole character.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// What the vocabulary says a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenKind {
    Normal,
    Byte,
    Control,
    UserDefined,
    Unknown,
    Unused,
}

impl TokenKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TokenKind::Normal => "normal",
            TokenKind::Byte => "byte",
            TokenKind::Control => "control",
            TokenKind::UserDefined => "user-defined",
            TokenKind::Unknown => "unknown",
            TokenKind::Unused => "unused",
        }
    }
}

/// A text cut to a number of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Bytes of the text that stay; a character's border.
    pub n_bytes: usize,
    pub n_tokens_kept: usize,
    pub n_tokens_cut: usize,
}

/// The log-probabilities of a question's candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// For every group, in the request's order.
    pub groups: Vec<GroupScores>,
    /// The hidden state that was asked for ([`StateAt`](super::StateAt)), to the same bits whenever the question is asked. `None`
    /// where none was, and of a choice where there is nothing to choose: no group has two candidates.
    pub state: Option<Vec<f32>>,
    pub counts: Counts,
    pub timings: Timings,
}

/// What is known of a group's candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupScores {
    /// In natural logarithms. With [`Reading::Likelihood`](super::Reading::Likelihood) `log P(candidate and its end | prompt,
    /// prefix)`; with [`Reading::Choices`](super::Reading::Choices) those of all candidates are probabilities that sum to 1.
    pub logprobs: Vec<f64>,
    /// The model's own probability of going to any of the candidates, before normalisation.
    pub mass: f64,
}

impl GroupScores {
    /// Of whole candidates' own log-probabilities.
    #[must_use]
    pub fn likelihood(logprobs: Vec<f64>) -> GroupScores {
        let mass = logprobs.iter().map(|logprob| logprob.exp()).sum();
        GroupScores { logprobs, mass }
    }
}

/// The log-probabilities of a prompt's own tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptLogprobs {
    /// All of the prompt's tokens; at least one.
    pub tokens: Vec<PromptTokenLogprob>,
    /// What comes after them, where it is wanted.
    pub next: Option<NextLogprob>,
    pub counts: Counts,
    pub timings: Timings,
}

/// A token of a prompt with its probability and what else might have come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptTokenLogprob {
    pub id: Token,
    /// Its text; that of a control token too.
    pub bytes: Vec<u8>,
    /// `log P(token | everything before)` in natural logarithms; `None` for the first, before which there is nothing.
    pub logprob: Option<f64>,
    /// As [`TokenLogprob::likely`]; empty for the first.
    pub likely: Vec<LikelyToken>,
}

/// The token after a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextLogprob {
    /// A stop string cuts its bytes; one that ends an answer writes nothing.
    pub token: TokenLogprob,
    pub finish: Finish,
    /// As [`Generation::stopped_by`].
    pub stopped_by: Option<String>,
}

/// Tokens of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// The prompt's tokens.
    pub prompt: usize,
    /// Of these, taken over from an earlier evaluation.
    pub reused: usize,
    /// Candidate tokens that were evaluated after the prompt.
    pub branch: usize,
    /// Generated tokens.
    pub generated: usize,
    /// Of these, written by the grammar, which left the model no choice.
    pub forced: usize,
    /// Drafted tokens, and how many of them were accepted.
    pub drafted: usize,
    pub accepted: usize,
}

/// Where a request's time went, in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// From sending the request to its turn.
    pub queued: Duration,
    /// Evaluating the prompt.
    pub prompt: Duration,
    /// Writing the answer; of a question, evaluating its candidates. A decode that has tokens of both counts for each by the
    /// number of its tokens.
    pub generation: Duration,
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    pub finish: Finish,
    /// The stop string that ended it; `None` where the model ended its turn, or something else did.
    pub stopped_by: Option<String>,
    pub counts: Counts,
    pub timings: Timings,
    /// With [`Detail::Tokens`](super::Detail::Tokens).
    pub tokens: Vec<GeneratedToken>,
    /// The answer's tokens, without those that a stop string begins in or covers: [`Run::Tokens`](slm_values::prompt::Run) of a
    /// prompt that continues from here.
    pub ids: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model ended its turn, or a stop string came.
    Stop,
    /// The token limit or the context's end.
    Length,
}

/// The embeddings of texts, one row for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embeddings {
    pub kind: EmbeddingKind,
    pub rows: Vec<Vec<f32>>,
    /// Of all texts together.
    pub counts: Counts,
    pub timings: Timings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmbeddingKind {
    /// Vectors of length 1: their product is the cosine of their angle.
    UnitVectors,
    /// A classifier's raw outputs, as a reranker gives them.
    Scores,
}

/// A piece of an answer as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    pub text: String,
    /// With [`Detail::Likely`](super::Detail::Likely) the tokens that wrote the text, all of them whole: one that ends inside a character comes
    /// with the token that completes it. A stop string cuts the last one's bytes as it cuts the text.
    pub tokens: Vec<TokenLogprob>,
}

/// A token of an answer with its probability and what else might have come.
///
/// Probabilities are the model's own: `log P(token | everything before)` in natural logarithms, before bias, penalties,
/// grammar and sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    pub id: Token,
    /// What it wrote in the text; a token that is not shown wrote nothing.
    pub bytes: Vec<u8>,
    pub logprob: f64,
    /// The most likely tokens here, the most likely first. Tokens that are impossible to the model are left out.
    pub likely: Vec<LikelyToken>,
}

/// An alternative token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LikelyToken {
    pub id: Token,
    /// Its text; that of a control token or an end too.
    pub bytes: Vec<u8>,
    pub logprob: f64,
}

/// A token of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GeneratedToken {
    pub id: Token,
    /// Bytes of the answer that it wrote.
    pub n_bytes: usize,
    /// `log P(token | everything before)` in natural logarithms, before any grammar or sampling; `None` where the grammar left
    /// no choice and the model was not asked.
    pub logprob: Option<f64>,
}

/// How long some tokens took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub n_tokens: u32,
    pub elapsed: Duration,
}
