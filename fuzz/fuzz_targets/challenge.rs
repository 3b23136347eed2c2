//! Any `WWW-Authenticate` header is a challenge or none.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let _ = slm_fuzz::challenge::parse(header);
});
