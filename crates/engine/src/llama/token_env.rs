//! A vocabulary as llguidance wants it: the bytes of every token, and llama.cpp's own tokens for forced bytes.
//!
//! Forced bytes become tokens only where a tokenizer is canonical, that is where it gives the tokens that the model was
//! trained to write. llama-cpp-2's own environment is not: it takes the longest token at each place.

use std::sync::Arc;

use toktrie::{INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::super::TokenKind;
use super::super::constraint::Vocabulary;
use super::tokenizer::Tokenizer;

/// The most bytes of a token that a trie can hold.
const MAX_TOKEN_BYTES: usize = 1 << 10;

struct TokenEnv {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
}

/// The vocabulary of a tokenizer. Special tokens have no bytes, so no text can hold one.
pub fn vocabulary(tokenizer: Arc<Tokenizer>) -> Vocabulary {
    let n_tokens = tokenizer.n_tokens();
    let mut words = Vec::new();
    let mut ends = Vec::new();
    for token in 0..n_tokens {
        let is_end = tokenizer.is_end(token);
        if let (true, Ok(id)) = (is_end, TokenId::try_from(token)) {
            ends.push(id);
        }
        let is_text = !is_end
            && !tokenizer.is_special(token)
            && !matches!(tokenizer.kind(token), TokenKind::Control | TokenKind::Unknown | TokenKind::Unused);
        let bytes = if is_text { tokenizer.piece(token) } else { Vec::new() };
        // 0xff marks special tokens to llguidance, and no UTF-8 text holds it.
        let is_whole = bytes.len() <= MAX_TOKEN_BYTES && bytes.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER);
        words.push(if is_whole { bytes } else { Vec::new() });
    }
    let texts = words.iter().map(|word| !word.is_empty()).collect();
    let n_tokens = u32::try_from(words.len()).expect("token numbers are 32 bits");
    let trie = TokTrie::from(&TokRxInfo::new(n_tokens, ends.first().copied().unwrap_or(INVALID_TOKEN)), &words);
    let trie = if ends.is_empty() { trie } else { trie.with_eos_tokens(&ends) };
    let env: TokEnv = Arc::new(TokenEnv { tokenizer, trie });
    Vocabulary { env, texts, ends }
}

impl TokenizerEnv for TokenEnv {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let tokens = self.tokenizer.continuation(text);
            let tokens: Vec<TokenId> = tokens.into_iter().filter_map(|token| TokenId::try_from(token).ok()).collect();
            // A tokenizer that does not give back what it was given (it may drop or fold characters) would break the
            // count of bytes that llguidance keeps.
            if self.trie.decode_raw(&tokens) == text.as_bytes() {
                tokens
            } else {
                self.trie.greedy_tokenize(text.as_bytes())
            }
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::Model;
    use super::super::tokenizer::tests::model;
    use super::*;
    use crate::Token;

    const TEXTS: [&str; 8] = [
        "{\"name\": \"Ada\"}",
        " two",
        "two",
        "\n\n  x",
        "日本 é 🦙",
        "12345",
        "<|im_end|></s><|eot_id|><0x41>",
        "\", \"b\": [1, 2, 3], \"",
    ];

    fn environment(model: &Model) -> Vocabulary {
        vocabulary(Arc::clone(&model.tokenizer))
    }

    /// Whatever the text, its tokens are text tokens of just these bytes: nothing is added in front, nothing is special.
    #[test]
    fn tokens_of_a_text_have_its_bytes_and_are_never_special() {
        for name in ["llama-bpe", "qwen2", "phi-3", "llama-spm"] {
            let Some(model) = model(name) else { return };
            let vocabulary = environment(&model);
            for text in TEXTS {
                let tokens = vocabulary.env.tokenize_bytes(text.as_bytes());
                assert_eq!(vocabulary.env.tok_trie().decode_raw(&tokens), text.as_bytes(), "{name}: {text:?}");
                assert!(tokens.iter().all(|&token| vocabulary.texts[token as usize]), "{name}: {text:?} {tokens:?}");
            }
        }
    }

    /// In the middle of a text the tokens are llama.cpp's, not the longest ones of the vocabulary.
    #[test]
    fn tokens_are_llama_cpps() {
        for name in ["llama-bpe", "qwen2", "phi-3", "llama-spm"] {
            let Some(model) = model(name) else { return };
            let vocabulary = environment(&model);
            let mut n_differ = 0;
            for text in TEXTS {
                let whole: Vec<Token> = model.tokenizer().plain(&format!("\n{text}"));
                let ours: Vec<Token> =
                    vocabulary.env.tokenize_bytes(text.as_bytes()).into_iter().map(|token| token as Token).collect();
                let greedy = vocabulary.env.tok_trie().greedy_tokenize(text.as_bytes());
                n_differ += usize::from(greedy.iter().map(|&token| token as Token).ne(ours.iter().copied()));
                // Where the text begins with a line feed, the one in front may have joined it.
                if !text.starts_with('\n') {
                    assert!(whole.ends_with(&ours), "{name}: {text:?} {whole:?} {ours:?}");
                }
            }
            assert!(n_differ > 0, "{name}: these texts tell nothing");
        }
    }

    #[test]
    fn every_token_that_ends_a_generation_is_an_end_and_no_text() {
        for (name, at_least) in [("llama-bpe", 2), ("qwen2", 2), ("phi-3", 2), ("llama-spm", 1)] {
            let Some(model) = model(name) else { return };
            let vocabulary = environment(&model);
            let n_ends = (0..model.tokenizer().n_tokens()).filter(|&token| model.tokenizer().is_end(token)).count();
            assert!(n_ends >= at_least, "{name}: {n_ends}");
            assert_eq!(vocabulary.ends.len(), n_ends);
            assert_eq!(vocabulary.env.tok_trie().eos_tokens(), vocabulary.ends);
            assert!(vocabulary.ends.iter().all(|&end| !vocabulary.texts[end as usize]));
        }
    }

    /// Byte-fallback tokens are text: without them SentencePiece could not write a line feed or an emoji.
    #[test]
    fn byte_tokens_are_text() {
        let Some(model) = model("llama-spm") else { return };
        let vocabulary = environment(&model);
        let n_bytes = (0..model.tokenizer().n_tokens())
            .filter(|&token| model.tokenizer().kind(token) == TokenKind::Byte)
            .filter(|&token| vocabulary.texts[token as usize])
            .count();
        // 0xff itself is llguidance's mark, and no UTF-8 text holds it.
        assert_eq!(n_bytes, 255);
    }
}
