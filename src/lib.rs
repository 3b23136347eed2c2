//! slm runs small language models for closed work: classification, extraction, routing, tagging, scoring.
//!
//! The modules in reading order; a module uses only floors below its own (held by `tests/it/tidy.rs`).

// Floor 0: values. Pure: no input or output, no clock, no async.
pub mod chat;
pub mod contract;
pub mod digest;
pub mod embedded;
pub mod gguf;
pub mod keep_alive;
pub mod limits;
pub mod manifest;
pub mod model_ref;
pub mod modelfile;
pub mod peft;
pub mod progress;
pub mod sampling;
pub mod source;
pub mod template;
pub mod thinking;
pub mod tools;

// Floor 1: the store (disk), registries (network) and the engine (llama.cpp), which do not know each other.
pub mod engine;
pub mod registry;
pub mod store;

// Floor 2: a chat to a reply, typed questions to probabilities, written answers to what is known of their fields; what is
// told of models; models between registries and the store.
pub mod card;
pub mod decide;
pub mod extract;
pub mod infer;
pub mod opening;
pub mod transfer;

// Floor 3: evaluation; speed; many records through one model; which models are loaded.
pub mod batch;
pub mod bench;
pub mod eval;
pub mod residents;

// Floor 4: the server, the command line, what it shows, and how failures leave.
pub mod api;
pub mod cli;
pub mod failure;
pub mod ui;
