//! Tokens with their log-probabilities, as completions return them: one list per property.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::fields::finite;
use slm_engine::text::unfinished;
use slm_engine::{LikelyToken, PromptTokenLogprob, TokenLogprob};

/// The tokens of an answer, and of the prompt that it begins with, and their alternatives; all lists have the same length.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = openai::CompletionLogprobs)]
pub struct CompletionLogprobs {
    /// Offset of each token in the text, in characters.
    pub text_offset: Vec<usize>,
    /// Natural logarithms; `null` for a prompt's first token.
    pub token_logprobs: Vec<Option<f64>>,
    /// A token that is a part of a character is written as `bytes:\xe2\x80`.
    pub tokens: Vec<String>,
    /// For each token the most likely ones, the most likely first, and the token itself; `null` for a prompt's first token.
    #[schema(value_type = Vec<Option<std::collections::HashMap<String, f64>>>)]
    pub top_logprobs: Vec<Option<Map<String, Value>>>,
}

/// Where an answer's next token begins.
#[derive(Debug, Clone, Default)]
pub struct TextOffset {
    n_characters: usize,
    /// Bytes of a character that is not whole yet.
    begun: Vec<u8>,
}

impl CompletionLogprobs {
    /// Of what was written from this place on: nothing where no tokens are told.
    #[must_use]
    pub fn written(tokens: &[TokenLogprob], n_top: Option<u8>, place: &mut TextOffset) -> Option<CompletionLogprobs> {
        n_top?;
        let mut written = CompletionLogprobs::default();
        for token in tokens {
            let offset = place.pass(&token.bytes);
            written.push(offset, &token.bytes, Some(token.logprob), &token.likely);
        }
        Some(written)
    }

    /// Of a prompt's tokens, which wrote these bytes of its text from its beginning on.
    #[must_use]
    pub fn of_prompt(tokens: &[PromptTokenLogprob], written: &[&[u8]], place: &mut TextOffset) -> CompletionLogprobs {
        let mut told = CompletionLogprobs::default();
        for (token, bytes) in tokens.iter().zip(written) {
            told.push(place.pass(bytes), &token.bytes, token.logprob, &token.likely);
        }
        told
    }

    /// These lists before others.
    #[must_use]
    pub fn and(mut self, rest: CompletionLogprobs) -> CompletionLogprobs {
        self.text_offset.extend(rest.text_offset);
        self.token_logprobs.extend(rest.token_logprobs);
        self.tokens.extend(rest.tokens);
        self.top_logprobs.extend(rest.top_logprobs);
        self
    }

    fn push(&mut self, offset: usize, bytes: &[u8], logprob: Option<f64>, likely: &[LikelyToken]) {
        self.text_offset.push(offset);
        self.tokens.push(text(bytes));
        self.token_logprobs.push(logprob.map(finite));
        self.top_logprobs.push(logprob.map(|logprob| {
            let likely = likely.iter().map(|likely| (likely.bytes.as_slice(), likely.logprob));
            let mut top = Map::new();
            for (bytes, logprob) in likely.chain([(bytes, logprob)]) {
                // Of two tokens that write the same, the likelier is told.
                top.entry(text(bytes)).or_insert_with(|| finite(logprob).into());
            }
            top
        }));
    }
}

impl TextOffset {
    /// The characters before what is passed.
    pub fn pass(&mut self, bytes: &[u8]) -> usize {
        let before = self.n_characters;
        self.begun.extend_from_slice(bytes);
        let n_whole = self.begun.len() - unfinished(&self.begun);
        self.n_characters += String::from_utf8_lossy(&self.begun[..n_whole]).chars().count();
        self.begun.drain(..n_whole);
        before
    }
}

/// A token's text; what is not text is given byte by byte, as OpenAI does.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("bytes:".to_owned(), |text, byte| text + &format!("\\x{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(bytes: &[u8], logprob: f64, likely: &[(&str, f64)]) -> TokenLogprob {
        let likely = likely.iter().enumerate().map(|(id, (text, logprob))| LikelyToken {
            id: id as i32,
            bytes: text.as_bytes().to_vec(),
            logprob: *logprob,
        });
        TokenLogprob { id: 0, bytes: bytes.to_vec(), logprob, likely: likely.collect() }
    }

    #[test]
    fn every_thing_that_is_known_has_its_list() {
        let mut place = TextOffset::default();
        let first =
            [token("é".as_bytes(), -0.5, &[("é", -0.5), ("a", -1.0)]), token(b"\xe2\x80", -2.0, &[("a", -1.0)])];
        let written = CompletionLogprobs::written(&first, Some(2), &mut place).unwrap();
        let expected = json!({"text_offset": [0, 1], "token_logprobs": [-0.5, -2.0], "tokens": ["é", "bytes:\\xe2\\x80"],
            "top_logprobs": [{"é": -0.5, "a": -1.0}, {"a": -1.0, "bytes:\\xe2\\x80": -2.0}]});
        assert_eq!(json!(written), expected);
        // The character continues in the next part.
        let rest = [token(b"\xa6", -0.5, &[]), token(b"b", f64::NEG_INFINITY, &[])];
        let written = CompletionLogprobs::written(&rest, Some(0), &mut place).unwrap();
        assert_eq!((written.text_offset, &written.tokens[1]), (vec![1, 2], &"b".to_owned()));
        assert_eq!(written.token_logprobs, [Some(-0.5), Some(finite(f64::NEG_INFINITY))]);
        assert_eq!(CompletionLogprobs::written(&rest, None, &mut place), None);
    }

    #[test]
    fn of_two_tokens_that_write_the_same_the_likelier_is_told() {
        let tokens = [token(b"a", -3.0, &[("a", -0.1), ("a", -3.0)])];
        let written = CompletionLogprobs::written(&tokens, Some(2), &mut TextOffset::default()).unwrap();
        assert_eq!(json!(written.top_logprobs), json!([{"a": -0.1}]));
    }
}
