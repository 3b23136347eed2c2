//! Any bytes are an importance matrix or an error, in both of its forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_values::imatrix::Imatrix;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(imatrix) = Imatrix::parse(bytes) {
        imatrix.entries.values().for_each(|entry| drop(entry.means()));
        assert_eq!(Imatrix::parse(&imatrix.to_gguf()).ok().map(|again| again.entries), Some(imatrix.entries));
    }
});
