//! The part of slm's engine that reads grammars, with as much of the rest as it names.

#[path = "../../crates/engine/src/constraint/mod.rs"]
pub mod constraint;

use std::sync::LazyLock;

use constraint::{Compiler, Vocabulary};

pub type Token = i32;

/// One token for every byte.
pub static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
    let env = toktrie::ApproximateTokEnv::single_byte_env();
    let texts = (0..env.tok_trie().vocab_size()).map(|token| token < 255).collect();
    let ends = env.tok_trie().eos_tokens().to_vec();
    Compiler::new(Vocabulary { env, texts, ends }).expect("a vocabulary of bytes")
});

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
