//! Any text is a schema that can be kept or an error, and what is kept has a grammar and checks any answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_values::contract::Form;

fuzz_target!(|texts: (&str, &str)| {
    let (schema, answer) = texts;
    if let Ok(Form::Open(open)) = Form::parse(schema) {
        assert!(open.grammar().starts_with("start: %json "));
        let _ = open.check(answer);
    }
});
