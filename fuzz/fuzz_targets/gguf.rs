//! Any bytes are a header or an error, and so they are where the file claims to be longer than it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slm_values::gguf::{AdapterHeader, Arrays, Header, Shard};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::read(bytes, bytes.len() as u64) {
        let _ = (header.size_label(), header.quantization(), header.model_info(Arrays::Whole));
    }
    let _ = Header::read(bytes, u64::MAX);
    let _ = AdapterHeader::read(bytes, bytes.len() as u64);
    // A model of this file and itself again: wrong, and an error.
    if let Ok(shard) = Shard::read(bytes, bytes.len() as u64) {
        let _ = Header::of_shards(vec![shard.clone(), shard]);
    }
});
