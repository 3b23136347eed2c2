//! Parsers of slm's engine and store by their paths, without llama.cpp and the network; those of `slm-values` come as a crate.

#[path = "../../crates/store/src/registry/challenge.rs"]
pub mod challenge;
pub mod engine;
#[path = "../../crates/engine/src/link/frame.rs"]
pub mod frame;

pub use engine::EngineError;
