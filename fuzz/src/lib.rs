//! The pure parsers of slm by their paths, without the engine that its library links.

#[path = "../../src/registry/challenge.rs"]
pub mod challenge;
#[path = "../../src/chat.rs"]
pub mod chat;
#[path = "../../src/contract/mod.rs"]
pub mod contract;
#[path = "../../src/digest.rs"]
pub mod digest;
pub mod engine;
#[path = "../../src/gguf/mod.rs"]
pub mod gguf;
#[path = "../../src/manifest.rs"]
pub mod manifest;
#[path = "../../src/model_ref.rs"]
pub mod model_ref;
#[path = "../../src/modelfile/mod.rs"]
pub mod modelfile;
#[path = "../../src/sampling.rs"]
pub mod sampling;
#[path = "../../src/source.rs"]
pub mod source;
#[path = "../../src/template/mod.rs"]
pub mod template;
#[path = "../../src/tools/mod.rs"]
pub mod tools;
