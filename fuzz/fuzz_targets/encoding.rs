//! Any bytes are a text or an error, the same whole and as they are read.
#![no_main]

use std::io::{BufReader, Read as _};

use libfuzzer_sys::fuzz_target;
use slm_values::encoding::{Utf8Reader, checked, decode, utf8};

fuzz_target!(|input: (u8, &[u8])| {
    let (capacity, bytes) = input;
    let mut read = Vec::new();
    Utf8Reader::new(BufReader::with_capacity(1 + usize::from(capacity), bytes)).read_to_end(&mut read).unwrap();
    assert_eq!(read, utf8(bytes).as_ref());
    assert_eq!(checked(read), decode(bytes));
});
