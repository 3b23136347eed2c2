//! Any text is a Modelfile or an error, and a Modelfile reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_values::modelfile::Modelfile;

fuzz_target!(|text: &str| {
    if let Ok(modelfile) = Modelfile::parse(text) {
        assert_eq!(Modelfile::parse(&modelfile.to_string()), Ok(modelfile));
    }
});
