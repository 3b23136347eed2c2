//! Checks of a grammar before anything is generated: texts that are too large or too deep, and grammars that no finite
//! text satisfies.

use std::collections::{HashMap, HashSet};

use llguidance::TokenParser;
use llguidance::earley::CGrammar;

use super::refused;
use crate::EngineError;

/// The most bytes of a grammar's text.
const MAX_GRAMMAR_BYTES: usize = 16 << 20;
/// Brackets inside brackets in a grammar's text, regexes and schemas in it included.
const MAX_NESTING: usize = 256;
/// Refuses a grammar whose text is too long or nested too deeply.
pub fn check_text(text: &str) -> Result<(), EngineError> {
    if text.len() > MAX_GRAMMAR_BYTES {
        let n_bytes = text.len();
        return Err(refused(&format!("it has {n_bytes} bytes, and at most {MAX_GRAMMAR_BYTES} are supported")));
    }
    // Counted without regard to strings: a bound for recursion, not a syntax.
    let mut depth = 0usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(refused(&format!("its brackets are nested more than {MAX_NESTING} deep")));
        }
    }
    Ok(())
}

/// Refuses a grammar that no finite text satisfies, such as `start: "a" start`.
pub fn check_end(parser: &TokenParser) -> Result<(), EngineError> {
    let grammar = parser.parser.grammar();
    if ends(grammar) {
        return Ok(());
    }
    Err(refused(&"no answer can satisfy it: a rule refers to itself without another way to end"))
}

/// Whether the start symbol derives some finite text. Every rule waits for the symbols in it, each visited once.
fn ends(grammar: &CGrammar) -> bool {
    let is_done = |symbol| {
        let data = grammar.sym_data(symbol);
        data.is_terminal || data.lexeme.is_some() || data.is_nullable || !data.cond_nullable.is_empty()
    };
    let mut found = vec![grammar.start()];
    let mut seen: HashSet<_> = found.iter().copied().collect();
    // For every rule whose symbol it makes and how many of its parts are not known to end; for a symbol its rules.
    let mut rules = Vec::new();
    let mut waiting: HashMap<_, Vec<usize>> = HashMap::new();
    let mut ending = HashSet::new();
    let mut fresh = Vec::new();
    let mut at = 0;
    while let Some(&symbol) = found.get(at) {
        at += 1;
        if is_done(symbol) && ending.insert(symbol) {
            fresh.push(symbol);
        }
        for &rule in grammar.rules_of(symbol) {
            let parts = grammar.rule_rhs(rule).0;
            for &part in parts {
                waiting.entry(part).or_default().push(rules.len());
                if seen.insert(part) {
                    found.push(part);
                }
            }
            rules.push((symbol, parts.len()));
        }
    }
    while let Some(symbol) = fresh.pop() {
        for &rule in waiting.get(&symbol).into_iter().flatten() {
            let (made, n_missing) = &mut rules[rule];
            *n_missing -= 1;
            if *n_missing == 0 && ending.insert(*made) {
                fresh.push(*made);
            }
        }
    }
    ending.contains(&grammar.start())
}
