//! Any bytes are a manifest or an error, and a manifest reads back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_values::manifest::{Manifest, ModelConfig};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(Manifest::parse(&manifest.to_json()).expect("it was just written"), manifest);
        let _ = manifest.total_bytes();
    }
    let _ = ModelConfig::parse(bytes);
});
