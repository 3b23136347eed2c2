//! Bytes choose a schema of every keyword, and dice: whatever is accepted is answered within it, by either lane.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use slm_fuzz::engine::{COMPILER, Grammar};
use slm_testing::schemas::{self, Choices};
use slm_values::contract::Form;

/// Bytes of an answer before it is given up.
const TOO_LONG: usize = 2000;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (choices, dice) = input;
    let schema = schemas::schema(&mut Choices::new(choices));
    match Form::from_schema(schema.clone()) {
        Ok(Form::Closed(contract)) => {
            for number in 0..contract.fields().iter().map(|field| field.options.len()).max().unwrap_or(0) {
                let values: Vec<Value> = contract
                    .fields()
                    .iter()
                    .map(|field| field.options[number % field.options.len()].value.clone())
                    .collect();
                let answer = contract.assemble(values);
                assert!(contract.check(&answer).is_ok(), "{answer} for {schema}");
            }
        }
        Ok(Form::Open(open)) => {
            if let Some(text) = written(open.grammar(), dice) {
                assert!(open.check(&text).is_ok(), "{text} for {schema}");
            }
        }
        Ok(Form::Free) => panic!("a schema is not free: {schema}"),
        Err(_) => {}
    }
});

/// A text under a grammar, by dice; nothing where it comes to no end.
fn written(grammar: &str, dice: &[u8]) -> Option<String> {
    let mut constraint = COMPILER.compile(&Grammar(grammar.into())).expect("what is accepted compiles");
    let mut bytes = Vec::new();
    while bytes.len() < TOO_LONG {
        if constraint.is_finished() {
            return String::from_utf8(bytes).ok();
        }
        let allowed: Vec<_> = constraint.mask().expect("an accepted grammar leads on").iter().collect();
        let number = dice.get(bytes.len()).copied().unwrap_or(0);
        let ends = bytes.len() > dice.len() && constraint.accepts_end().expect("checked by the mask");
        if ends {
            return String::from_utf8(bytes).ok();
        }
        let token = allowed[usize::from(number) % allowed.len()];
        if token > 255 {
            return String::from_utf8(bytes).ok();
        }
        assert!(constraint.take(token).expect("the mask allows it"));
        bytes.push(token as u8);
    }
    None
}
