//! The part of slm's engine that reads grammars, with as much of the rest as it names.

#[path = "../../crates/engine/src/constraint/mod.rs"]
pub mod constraint;

pub type Token = i32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grammar(pub std::sync::Arc<str>);

#[derive(Debug, Clone)]
pub enum EngineError {
    Grammar { reason: String },
}

impl std::fmt::Display for EngineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let EngineError::Grammar { reason } = self;
        f.write_str(reason)
    }
}
