//! Any text is a grammar or an error, and what a grammar allows it also takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_fuzz::engine::{COMPILER, Grammar};

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
