//! Any text is a grammar or an error, and what a grammar allows it also takes.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use slm_fuzz::engine::Grammar;
use slm_fuzz::engine::constraint::{Compiler, Vocabulary};

/// One token for every byte.
static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
    let env = toktrie::ApproximateTokEnv::single_byte_env();
    let texts = (0..env.tok_trie().vocab_size()).map(|token| token < 255).collect();
    let ends = env.tok_trie().eos_tokens().to_vec();
    Compiler::new(Vocabulary { env, texts, ends }).expect("a vocabulary of bytes")
});

fuzz_target!(|input: (&str, &[u8])| {
    let (grammar, dice) = input;
    let Ok(mut constraint) = COMPILER.compile(&Grammar(grammar.into())) else { return };
    for &number in dice.iter().take(64) {
        let Ok(mask) = constraint.mask() else { return };
        let allowed: Vec<_> = mask.iter().collect();
        assert!(!allowed.is_empty());
        let token = allowed[usize::from(number) % allowed.len()];
        match constraint.take(token) {
            Ok(taken) => assert!(taken),
            Err(_) => return,
        }
        if constraint.is_finished() {
            return;
        }
    }
});
