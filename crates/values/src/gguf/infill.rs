//! Whether a vocabulary has tokens to fill a gap with, found as llama.cpp finds them (`src/llama-vocab.cpp`): by the numbers
//! in the metadata, else by their texts.

use super::header::Header;
use super::value::{Array, MetadataValue};

/// The three tokens around a gap: the keys of their numbers, the older one last, and the texts that models give them.
const AROUND_A_GAP: [([&str; 2], [&str; 7]); 3] = [
    (
        ["tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"],
        ["<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>"],
    ),
    (
        ["tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"],
        ["<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>"],
    ),
    (
        ["tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"],
        ["<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>"],
    ),
];

impl Header {
    /// Whether the model can be asked for what is missing between two texts.
    #[must_use]
    pub fn can_infill(&self) -> bool {
        let tokens = || self.get("tokenizer.ggml.tokens").and_then(MetadataValue::as_array).and_then(Array::strings);
        let has = |texts: [&str; 7]| tokens().is_some_and(|tokens| tokens.iter().any(|token| texts.contains(&token)));
        AROUND_A_GAP.into_iter().all(|(keys, texts)| keys.iter().any(|key| self.number(key).is_some()) || has(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::tiny_llama;
    use super::Header;

    #[test]
    fn a_gap_needs_all_three_tokens() {
        let read = |writer: super::super::testing::Writer| {
            let bytes = writer.bytes();
            Header::read(&*bytes, bytes.len() as u64).unwrap()
        };
        assert!(!read(tiny_llama()).can_infill());
        let two =
            || tiny_llama().number("tokenizer.ggml.fim_pre_token_id", 0).number("tokenizer.ggml.suffix_token_id", 1);
        assert!(!read(two()).can_infill());
        assert!(read(two().number("tokenizer.ggml.fim_mid_token_id", 2)).can_infill());
    }
}
