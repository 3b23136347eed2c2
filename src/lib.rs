//! slm runs small language models for closed work: classification, extraction, routing, tagging, scoring.
//!
//! The rooms in reading order; a room uses only floors below its own. The compiler holds that between crates, `tests/it/tidy`
//! within them.

// Floor 0: values. Pure: no input or output, no clock, no async.
pub use slm_values::{
    causes, chat, contract, digest, embedded, encoding, examples, gguf, imatrix, keep_alive, limits, manifest,
    model_ref, modelfile, peft, progress, prompt, quantization, sampling, source, template, thinking, tools,
};

// Floor 1: the store (disk), registries (network), models between them, the engine (llama.cpp), and remotes (other people's HTTP).
pub use slm_cascade as cascade;
pub use slm_engine as engine;
pub use slm_remote as remote;
pub use slm_store::{registry, store, transfer};

// Floor 2: a chat to a reply, typed questions to probabilities, written answers to what is known of their fields; what of
// stored models reaches an engine.
pub use slm_infer::{decide, extract, infer, load_spec, model_info};

// Floor 3: which models are loaded, and the server over them.
pub use slm_server::{api, residents};

// Floor 4: evaluation; speed; many records through one model; tuning jobs.
pub mod batch;
pub mod bench;
pub mod eval;
pub mod tune;

// Floor 5: the command line, what it shows, and how failures leave.
pub mod cli;
pub mod failure;
pub mod ui;
