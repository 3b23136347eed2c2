//! Any bytes, in any pieces, are values or an error; and a value that was read is written as bytes that read back as it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use slm_fuzz::frame::{Incoming, Outgoing};
use slm_values::sampling::Sampling;
use slm_values::prompt::Prompt;

/// What a request is made of, without the engine that its own type belongs to.
#[derive(Debug, Serialize, Deserialize)]
enum Value {
    Ask { id: u64, prompt: Prompt, sampling: Option<Sampling> },
    Cancel { id: u64 },
    Scores(Vec<Vec<f64>>),
}

fuzz_target!(|pieces: Vec<&[u8]>| {
    let mut incoming = Incoming::default();
    for piece in pieces {
        incoming.room().extend_from_slice(piece);
        loop {
            match incoming.take::<Value>() {
                Ok(Some(value)) => {
                    let mut outgoing = Outgoing::default();
                    outgoing.push(&value).expect("it came in one frame");
                    let mut again = Incoming::default();
                    again.room().extend_from_slice(outgoing.bytes());
                    let read = again.take::<Value>().expect("it was just written").expect("it is whole");
                    assert_eq!(format!("{read:?}"), format!("{value:?}"));
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});
