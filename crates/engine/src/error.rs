//! Why an engine could not do what was asked; it may come from another process.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Token;
use super::compute::ComputeError;
use super::memory::Shortage;
use super::wire;

/// Why an engine could not do what was asked.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
pub enum EngineError {
    #[error("cannot load the model: {reason}")]
    Load { reason: String },
    #[error(transparent)]
    Compute(#[from] ComputeError),
    #[error("{0}")]
    Memory(Box<Shortage>),
    #[error("the prompt is too long: {needed} tokens are needed, the context has {n_ctx}")]
    Context { needed: usize, n_ctx: usize },
    #[error("the answers `{0}` and `{1}` are the same tokens for this model, so they cannot be told apart; rename one")]
    SameTokens(String, String),
    #[error("this vocabulary has no token `{0}`, which the chat template writes")]
    NoSuchToken(String),
    #[error("there is no token {id}: this vocabulary's are numbered from 0 to {last}")]
    TokenOutOfRange { id: Token, last: Token },
    #[error("the bias of token {id} is `{bias}`, which is no finite number")]
    Bias { id: Token, bias: f32 },
    #[error("the model has no token that ends an answer, so answers cannot be scored")]
    NoTurnEnd,
    #[error("this model's state cannot be shared between answers, so they cannot be compared in the middle of a text")]
    NoBranches,
    #[error("the text has {n_tokens} tokens, with the model's own around it, and {limit} fit")]
    TextTooLong { n_tokens: usize, limit: usize, n_ctx_train: usize },
    #[error("the model's architecture `{0}` gives vectors and no text, so it cannot answer; take a model that writes")]
    NoText(String),
    #[error("the text is empty, and the model has no tokens of its own to put around it")]
    EmptyText,
    #[error("there is no token in front of the answer; give a longer prompt")]
    EmptyPrompt,
    #[error("the adapter `{}` cannot be applied: {reason}", .path.display())]
    Adapter {
        #[serde(with = "wire::path")]
        path: PathBuf,
        reason: String,
    },
    #[error("only the vocabulary is loaded")]
    VocabularyOnly,
    #[error("the grammar is not supported: {reason}")]
    Grammar { reason: String },
    #[error("a decode failed in llama.cpp: {reason}")]
    Decode { reason: String },
    #[error("the model's process {how}")]
    Crashed { how: String },
    #[error("the server that has the model is gone: {reason}; ask again, and the model is loaded here")]
    Disconnected { reason: String },
    #[error("the model runs in another process, and this cannot go there: {reason}")]
    Unsendable { reason: String },
    #[error("the request was cancelled")]
    Cancelled,
    #[error("the engine has stopped")]
    Stopped,
}
