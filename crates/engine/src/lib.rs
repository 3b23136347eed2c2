//! One base model at the other end of a channel: plain-data requests in, plain-data events out.
//!
//! An engine knows text and tokens, not names: no manifest, no HTTP, no JSON. Its thread is the only place where
//! llama.cpp runs, and `llama/` the only place that imports it; the thread is one of this process or of a child
//! (`process/`), and callers see no difference. Dropping the receiver of a request's events cancels the request at its next
//! decode; dropping every handle ends the thread or the child and frees the model.

pub mod adapters;
mod build;
pub mod cache;
mod caller;
pub mod chunks;
pub mod compute;
pub mod constraint;
mod engine;
mod error;
mod evaluation;
mod event;
#[cfg(test)]
mod facts;
pub mod imatrix;
mod link;
#[allow(unsafe_code, reason = "llama.cpp and ggml are called here, and nowhere else")]
mod llama;
pub mod memory;
mod merge;
mod options;
pub mod process;
pub mod quantize;
mod reply;
mod request;
mod run;
pub mod scheduler;
#[cfg(test)]
mod schemas;
pub mod scoring;
pub mod speculation;
pub mod text;
mod threads;
pub mod waiting;
mod wire;

pub use adapters::{Adapter, AdapterSet};
pub use build::{Build, build, processor};
pub use compute::Compute;
pub use engine::Engine;
pub use error::EngineError;
pub use event::{
    Counts, Cut, EmbeddingKind, Embeddings, Event, Finish, GeneratedToken, Generation, GroupScores, LikelyToken,
    Measured, NextLogprob, Piece, PromptLogprobs, PromptToken, PromptTokenLogprob, Scores, Timings, TokenKind,
    TokenLogprob, Tokenized,
};
pub use llama::devices::devices;
pub use llama::imatrix::imatrix;
pub use llama::native::leave;
pub use llama::quantize::quantize;
pub use llama::waiting::leave_waiting_as_set;
pub use llama::{Granted, choose_kernels, default_threads, granted};
pub use options::{DEFAULT_CONTEXT, Load, ModelInfo, Options, Weights};
pub use reply::Reply;
pub use request::{
    Detail, Drafts, EmbedRequest, Ending, GenerateRequest, Grammar, Group, Lane, Measure, NextToken, Pass, Point,
    ProbeRequest, PromptLogprobsRequest, Reading, Request, ScoreRequest, Search, Spelling, StateAt,
};
pub use scoring::UNREAD;

/// A token's number in its model's vocabulary.
pub type Token = i32;
