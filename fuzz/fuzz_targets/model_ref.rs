//! Any text is a name or an error; a name reads back as itself and never leaves its folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_values::model_ref::ModelRef;
use std::path::Component;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<ModelRef>() {
        assert_eq!(name.to_string().parse(), Ok(name.clone()));
        let path = name.relative_path();
        assert_eq!(path.components().filter(|part| matches!(part, Component::Normal(_))).count(), 4);
        assert_eq!(path.components().count(), 4);
    }
});
