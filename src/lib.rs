//! slm runs small language models for closed work: classification, extraction, routing, tagging, scoring.
//!
//! The modules in reading order; a module uses only floors below its own. The compiler holds that between crates,
//! `tests/it/tidy.rs` within this one.

// Floor 0: values. Pure: no input or output, no clock, no async.
pub use slm_values::{
    chat, contract, digest, embedded, gguf, keep_alive, limits, manifest, model_ref, modelfile, peft, progress, prompt,
    sampling, source, template, thinking, tools,
};

// Floor 1: the store (disk), registries (network), models between them, and the engine (llama.cpp).
pub use slm_engine as engine;
pub use slm_store::{registry, store, transfer};

// Floor 2: a chat to a reply, typed questions to probabilities, written answers to what is known of their fields; what is
// told of models.
pub mod decide;
pub mod extract;
pub mod infer;
pub mod load_spec;
pub mod model_info;

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
