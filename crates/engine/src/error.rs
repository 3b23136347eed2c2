//! Errors of an engine, which may come from another process.

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
    #[error(
        "the answers `{0}` and `{1}` are the same tokens for this model, so they cannot be distinguished; rename one"
    )]
    SameTokens(String, String),
    #[error("this vocabulary has no token `{0}`, which the chat template writes")]
    NoSuchToken(String),
    #[error("there is no token {id}: the tokens of this vocabulary are numbered from 0 to {last}")]
    TokenOutOfRange { id: Token, last: Token },
    #[error("the bias of token {id} is `{bias}`, which is not a finite number")]
    Bias { id: Token, bias: f32 },
    #[error("the model has no end-of-answer token, so answers cannot be scored")]
    NoTurnEnd,
    #[error("this model's state cannot be shared between answers, so they cannot be compared in the middle of a text")]
    NoBranches,
    #[error("hidden states of the architecture `{0}` cannot be read; ask without them")]
    NoState(String),
    #[error("the state after {wanted} layers cannot be read: the model has {n_layers}, so 1 to {} can be", .n_layers.saturating_sub(1))]
    Layers { wanted: u32, n_layers: u32 },
    #[error("the text has {n_tokens} tokens with the model's start and end tokens, and at most {limit} fit")]
    TextTooLong { n_tokens: usize, limit: usize, n_ctx_train: usize },
    #[error("the model's architecture `{0}` makes embeddings, not text, so it cannot answer; use a text model")]
    NoText(String),
    #[error("the text is empty, and the model adds no start or end tokens")]
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
    #[error("the server that had the model has stopped: {reason}; run the command again to load the model here")]
    Disconnected { reason: String },
    #[error("this cannot be sent to the process that runs the model: {reason}")]
    Unsendable { reason: String },
    #[error("the request was cancelled")]
    Cancelled,
    #[error("the engine has stopped")]
    Stopped,
}
